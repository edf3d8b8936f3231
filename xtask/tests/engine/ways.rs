//! Ways to the engine, and what is said where there is none. Each way ends at the engine under test: a proxy in front of
//! its socket, a real sshd on loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::{env, fs};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, UnixStream};
use xtask::engine::{Endpoint, Engine, EngineError, EngineInfo};

use crate::bench::{Bench, endpoint, lines, request, with_engine};

/// The socket behind every way of these tests.
fn socket() -> PathBuf {
    match endpoint() {
        Endpoint::Unix(path) => path,
        other => panic!("these tests put proxies before a unix socket, not `{other}`"),
    }
}

fn resolve(variables: &[(&str, &str)]) -> Endpoint {
    let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
    Endpoint::resolve(&env, Path::new("/nonexistent")).expect("the endpoint is valid")
}

async fn forward(mut client: impl AsyncRead + AsyncWrite + Unpin) {
    let mut engine = UnixStream::connect(socket()).await.expect("the engine's socket");
    // Either side may end it at any time.
    let _ = copy_bidirectional(&mut client, &mut engine).await;
}

/// Everything that takes a connection of its own kind: plain requests, hijacked ones, a streamed body.
async fn works(endpoint: &Endpoint, bench: &Bench) {
    let engine = Engine::connect(endpoint).await.unwrap_or_else(|error| panic!("{endpoint}: {error}"));
    // The same engine; but its own files are looked at only where it is reached by a socket of this machine.
    assert_eq!(*engine.info(), EngineInfo { overlay2: None, ..bench.engine.info().clone() });
    let base = bench.busybox("ways").await;
    assert!(engine.inspect(&base).await.unwrap().is_some());
    let mut events = Vec::new();
    let mut build = request(&format!("FROM {base}\nRUN echo through {endpoint}\n"), &[]);
    build.no_cache = true;
    engine.build(build, &mut |event| events.push(event)).await.expect("the image is built");
    assert_eq!(lines(&events), [format!("through {endpoint}")]);
}

#[test]
fn over_tcp() {
    with_engine(async |bench: &Bench| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(forward(client));
            }
        });
        works(&resolve(&[("DOCKER_HOST", &format!("tcp://{address}"))]), bench).await;
        proxy.abort();
    });
}

fn openssl(folder: &Path, arguments: &str) {
    let done = Command::new("openssl").current_dir(folder).args(arguments.split(' ')).stderr(Stdio::null()).status();
    assert!(done.expect("these tests need `openssl`").success(), "openssl {arguments}");
}

/// An authority, a certificate for a server at 127.0.0.1 and one for a client, in docker's file names.
fn certificates(folder: &Path) {
    openssl(folder, "req -x509 -newkey rsa:2048 -nodes -subj /CN=authority -days 2 -keyout ca-key.pem -out ca.pem");
    for (name, extension) in
        [("server", "subjectAltName=IP:127.0.0.1\nextendedKeyUsage=serverAuth\n"), ("client", "extendedKeyUsage=clientAuth\n")]
    {
        fs::write(folder.join("extension"), extension).unwrap();
        openssl(folder, &format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}-key.pem -out {name}.csr"));
        openssl(
            folder,
            &format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial -days 2 -extfile extension -out {name}-cert.pem"
            ),
        );
    }
    let client = folder.join("docker");
    fs::create_dir(&client).unwrap();
    for (from, to) in [("ca.pem", "ca.pem"), ("client-cert.pem", "cert.pem"), ("client-key.pem", "key.pem")] {
        fs::copy(folder.join(from), client.join(to)).unwrap();
    }
}

/// A listener that wants a client certificate of the authority in `folder`.
async fn tls_proxy(folder: &Path) -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap()).unwrap();
    let clients = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(clients.build().unwrap())
        .with_single_cert(
            vec![CertificateDer::from_pem_file(folder.join("server-cert.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(folder.join("server-key.pem")).unwrap(),
        )
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let proxy = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                if let Ok(client) = acceptor.accept(client).await {
                    forward(client).await;
                }
            });
        }
    });
    (address, proxy)
}

#[test]
fn over_tls_with_a_client_certificate() {
    with_engine(async |bench: &Bench| {
        let folder = tempfile::tempdir().unwrap();
        certificates(folder.path());
        let (address, proxy) = tls_proxy(folder.path()).await;
        let host = format!("tcp://{address}");
        let client = folder.path().join("docker");
        let path = client.to_str().unwrap();
        let verified = resolve(&[("DOCKER_HOST", &host), ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", path)]);
        works(&verified, bench).await;

        // An authority that does not know the server.
        let unreachable = async |endpoint: &Endpoint| match Engine::connect(endpoint).await {
            Err(EngineError::Unreachable { endpoint, why }) if endpoint == host => why,
            other => panic!("{other:?}"),
        };
        openssl(&client, "req -x509 -newkey rsa:2048 -nodes -subj /CN=other -days 2 -keyout other-key.pem -out ca.pem");
        let why = unreachable(&verified).await;
        assert!(why.contains("invalid peer certificate"), "{why}");
        let unverified = resolve(&[("DOCKER_HOST", &host), ("DOCKER_TLS", "1"), ("DOCKER_CERT_PATH", path)]);
        Engine::connect(&unverified).await.expect("the server is not verified");

        // No certificate of one's own, and plain HTTP.
        fs::remove_file(client.join("cert.pem")).unwrap();
        let why = unreachable(&unverified).await;
        assert!(why.contains("CertificateRequired"), "{why}");
        unreachable(&resolve(&[("DOCKER_HOST", &host)])).await;

        fs::write(client.join("ca.pem"), "nothing").unwrap();
        let why = unreachable(&verified).await;
        assert!(why.contains("ca.pem") && why.contains("no certificate"), "{why}");
        proxy.abort();
    });
}

/// A child that ends with the test.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(program: &str, arguments: &[&str]) {
    let status = Command::new(program).args(arguments).stdout(Stdio::null()).status();
    assert!(status.unwrap_or_else(|error| panic!("these tests need `{program}`: {error}")).success(), "{program} {arguments:?}");
}

/// Runs one of the tests below in a process of its own, which an environment can be given to.
fn in_a_child(test: &str, prepare: impl FnOnce(&mut Command)) {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("engine");
    fs::copy(env::current_exe().unwrap(), &program).unwrap();
    run("chmod", &["-R", "a+rx", folder.path().to_str().unwrap()]);
    let mut child = Command::new(&program);
    child.args(["--exact", test, "--ignored", "--nocapture"]).current_dir("/");
    prepare(&mut child);
    let output = child.output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
}

#[test]
fn over_ssh() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    for key in ["host", "client", "stranger"] {
        run("ssh-keygen", &["-q", "-t", "ed25519", "-N", "", "-f", &path(key)]);
    }
    fs::copy(path("client.pub"), path("authorized")).unwrap();
    // sshd of Debian insists on this folder when it runs as root.
    let _ = fs::create_dir_all("/run/sshd");
    // Kept from everybody else: not listening, and reused by sshd.
    let reserved = tokio::net::TcpSocket::new_v4().unwrap();
    reserved.set_reuseaddr(true).unwrap();
    reserved.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let port = reserved.local_addr().unwrap().port();
    let config = format!(
        "ListenAddress 127.0.0.1:{port}\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
         PermitRootLogin prohibit-password\nPidFile none\n",
        path("host"),
        path("authorized")
    );
    fs::write(path("sshd_config"), config).unwrap();
    let sshd = Command::new("/usr/sbin/sshd").args(["-D", "-e", "-f", &path("sshd_config")]).stderr(Stdio::null()).spawn();
    let _sshd = Ends(sshd.expect("these tests need `openssh-server`"));

    // ssh reads the home folder from the password file: the client's own settings come through a wrapper.
    let known = format!("[127.0.0.1]:{port} {}", fs::read_to_string(path("host.pub")).unwrap());
    fs::write(path("known"), known).unwrap();
    let bin = folder.path().join("bin");
    fs::create_dir(&bin).unwrap();
    let wrapper = format!(
        "#!/bin/sh\nexec /usr/bin/ssh -F none -o BatchMode=yes -o ConnectionAttempts=20 -o UserKnownHostsFile={} -i \"$KEY\" \"$@\"\n",
        path("known")
    );
    fs::write(bin.join("ssh"), wrapper).unwrap();
    run("chmod", &["+x", bin.join("ssh").to_str().unwrap()]);
    let search = format!("{}:{}", bin.display(), env::var("PATH").unwrap());
    let user = String::from_utf8(Command::new("id").arg("-un").output().unwrap().stdout).unwrap();
    // The other side's docker finds its own engine; it is told which one.
    let host = format!("ssh://{}@127.0.0.1:{port}{}", user.trim(), socket().display());
    for (test, key) in [("ways::ssh_gets_through", "client"), ("ways::ssh_is_turned_away", "stranger")] {
        in_a_child(test, |child| {
            child.env("PATH", &search).env("KEY", path(key)).env("THROUGH", &host).env("PORT", port.to_string());
        });
    }
}

#[test]
#[ignore = "started by `over_ssh`"]
fn ssh_gets_through() {
    with_engine(async |bench: &Bench| works(&resolve(&[("DOCKER_HOST", &env::var("THROUGH").unwrap())]), bench).await);
}

#[test]
#[ignore = "started by `over_ssh`"]
fn ssh_is_turned_away() {
    with_engine(async |_: &Bench| {
        let why = async |host: &str| match Engine::connect(&resolve(&[("DOCKER_HOST", host)])).await {
            Err(EngineError::Unreachable { why, .. }) => why,
            other => panic!("{other:?}"),
        };
        let denied = why(&env::var("THROUGH").unwrap()).await;
        assert!(denied.contains("ssh: ") && denied.contains("Permission denied (publickey"), "{denied}");
        let unknown = why("ssh://gantry.invalid").await;
        assert!(unknown.contains("gantry.invalid"), "{unknown}");
    });
}

fn on_a_runtime(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}

#[test]
fn nobody_is_there() {
    on_a_runtime(async {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("docker.sock");
        let left = folder.path().join("left.sock");
        drop(std::os::unix::net::UnixListener::bind(&left).unwrap());
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        for (host, said) in [
            (format!("unix://{}", gone.display()), "No such file"),
            (format!("unix://{}", left.display()), "Connection refused"),
            (format!("tcp://{closed}"), "Connection refused"),
        ] {
            let error = Engine::connect(&resolve(&[("DOCKER_HOST", &host)])).await.unwrap_err();
            let EngineError::Unreachable { endpoint, why } = &error else { panic!("{error:?}") };
            assert!(*endpoint == host && why.contains(said), "{error}");
        }
    });
}

#[test]
fn something_else_is_there() {
    on_a_runtime(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = format!("tcp://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                tokio::io::AsyncWriteExt::write_all(&mut client, b"SSH-2.0-OpenSSH_9.2\r\n").await.unwrap();
            }
        });
        let error = Engine::connect(&resolve(&[("DOCKER_HOST", &host)])).await.unwrap_err();
        assert!(matches!(&error, EngineError::Unreachable { endpoint, .. } if *endpoint == host), "{error:?}");
        server.abort();
    });
}

#[test]
fn the_socket_may_not_be_opened() {
    use std::os::unix::process::CommandExt;
    let folder = tempfile::tempdir().unwrap();
    run("chmod", &["755", folder.path().to_str().unwrap()]);
    let socket = folder.path().join("docker.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    run("chmod", &["0", socket.to_str().unwrap()]);
    in_a_child("ways::permission_is_denied", |child| {
        child.env("CLOSED", &socket);
        // No permission stops root; as anybody else, this test is just run.
        if fs::metadata(folder.path()).is_ok_and(|folder| std::os::unix::fs::MetadataExt::uid(&folder) == 0) {
            child.uid(65534).gid(65534);
        }
    });
}

#[test]
#[ignore = "started by `the_socket_may_not_be_opened`"]
fn permission_is_denied() {
    on_a_runtime(async {
        let host = format!("unix://{}", env::var("CLOSED").unwrap());
        let error = Engine::connect(&resolve(&[("DOCKER_HOST", &host)])).await.unwrap_err();
        assert!(matches!(&error, EngineError::PermissionDenied { endpoint } if *endpoint == host), "{error:?}");
    });
}
