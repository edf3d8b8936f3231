//! A registry as a company runs one: `docker-registry` over TLS with a certificate of an own CA, and a token server
//! (RS256, `x5c`) that knows one name and password. Both have names that no resolver knows; a proxy on loopback leads
//! there, and nowhere else.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tempfile::TempDir;
use tokio_rustls::TlsAcceptor;

use super::front::{Asked, Front, Say, answer, error};

/// The registry's name.
pub const REGISTRY: &str = "registry.example";
/// The token server's.
const AUTH: &str = "auth.example";

/// The registry, its token server and the proxy. They end when this is dropped.
pub struct SecureRegistry {
    /// `http://127.0.0.1:PORT`, for `HTTPS_PROXY`.
    pub proxy: String,
    /// The token server, with what it saw.
    pub tokens: Front,
    folder: TempDir,
    child: Mutex<Child>,
}

impl SecureRegistry {
    /// One that lets `user` in with `password`; tokens live for `life` seconds.
    pub fn start(user: &str, password: &str, life: u64) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        authority(folder.path());
        for name in [REGISTRY, AUTH] {
            certificate(folder.path(), name);
        }
        let tls = acceptor(&at(&format!("{AUTH}.crt")), &at(&format!("{AUTH}.key")));
        let (signer, login) = (folder.path().to_owned(), format!("{user}:{password}"));
        let tokens = Front::secure(tls, move |asked| token(asked, &signer, &login, life));

        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr()).expect("a free port").port();
        let address = format!("127.0.0.1:{port}");
        let config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {data}}}, delete: {{enabled: true}}}}\n\
             http: {{addr: '{address}', host: 'https://{REGISTRY}', tls: {{certificate: {cert}, key: {key}}}}}\n\
             auth: {{token: {{realm: 'https://{AUTH}/token', service: the-service, issuer: the-issuer, rootcertbundle: {ca}}}}}\n",
            data = at("data").display(),
            cert = at(&format!("{REGISTRY}.crt")).display(),
            key = at(&format!("{REGISTRY}.key")).display(),
            ca = at("ca.crt").display(),
        );
        fs::write(at("config.yml"), config).expect("the configuration");
        let mut command = Command::new("docker-registry");
        command.arg("serve").arg(at("config.yml")).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("docker-registry (Debian: docker-registry) starts");
        while TcpStream::connect(&address).is_err() {
            assert_eq!(child.try_wait().expect("the registry's state"), None, "the registry ended");
            std::thread::sleep(Duration::from_millis(10));
        }
        let ways = vec![(format!("{REGISTRY}:443"), address), (format!("{AUTH}:443"), tokens.address.clone())];
        Self { proxy: proxy(ways), tokens, folder, child: Mutex::new(child) }
    }

    /// The CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }

    /// Whether the registry holds this file of a repository: what was asked of it is in its folder.
    pub fn holds(&self, path: &str) -> bool {
        self.folder.path().join("data/docker/registry/v2").join(path).exists()
    }
}

impl Drop for SecureRegistry {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A host of any name that answers what it is told to, over TLS with a certificate of an own CA; a proxy leads there.
pub struct SecureSite {
    /// `http://127.0.0.1:PORT`, for `HTTPS_PROXY`.
    pub proxy: String,
    folder: TempDir,
    _front: Front,
}

impl SecureSite {
    /// Starts it.
    pub fn start(name: &str, says: impl Fn(&Asked) -> Say + Send + Sync + 'static) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        authority(folder.path());
        certificate(folder.path(), name);
        let at = |end: &str| folder.path().join(format!("{name}.{end}"));
        let front = Front::secure(acceptor(&at("crt"), &at("key")), says);
        Self { proxy: proxy(vec![(format!("{name}:443"), front.address.clone())]), folder, _front: front }
    }

    /// The CA's certificate.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.crt")
    }
}

fn openssl(folder: &Path, args: &str) {
    let status = Command::new("openssl").args(args.split_whitespace()).current_dir(folder).stderr(Stdio::null()).status();
    assert!(status.expect("openssl (Debian: openssl) runs").success(), "openssl {args}");
}

fn authority(folder: &Path) {
    openssl(folder, "req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -days 2 -subj /CN=own-ca");
}

fn certificate(folder: &Path, name: &str) {
    openssl(folder, &format!("req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj /CN={name}"));
    fs::write(folder.join("ext"), format!("subjectAltName=DNS:{name}\nbasicConstraints=CA:FALSE\n")).expect("a file");
    openssl(
        folder,
        &format!("x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile ext -out {name}.crt"),
    );
}

fn acceptor(certificate: &Path, key: &Path) -> TlsAcceptor {
    rustls::crypto::ring::default_provider().install_default().ok();
    let certificates: Vec<_> =
        CertificateDer::pem_file_iter(certificate).expect("a file").collect::<Result<_, _>>().expect("certificates");
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let config = rustls::ServerConfig::builder().with_no_client_auth().with_single_cert(certificates, key);
    TlsAcceptor::from(Arc::new(config.expect("a configuration")))
}

/// What a token server answers: a JSON web token for the scope that is asked for.
fn token(asked: &Asked, folder: &Path, login: &str, life: u64) -> Say {
    let told = asked.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Basic "));
    let told = told.and_then(|told| STANDARD.decode(told).ok()).and_then(|told| String::from_utf8(told).ok());
    if told.as_deref() != Some(login) {
        return Say::Answer(error(401, "UNAUTHORIZED", "wrong name or password"));
    }
    let url = reqwest::Url::parse(&format!("https://{AUTH}{}", asked.uri())).expect("a URL");
    let access: Vec<_> = url
        .query_pairs()
        .filter(|(name, _)| name == "scope")
        .filter_map(|(_, scope)| {
            let [kind, name, actions] = scope.split(':').collect::<Vec<_>>()[..] else { return None };
            Some(json!({"type": kind, "name": name, "actions": actions.split(',').collect::<Vec<_>>()}))
        })
        .collect();
    let pem = fs::read_to_string(folder.join("ca.crt")).expect("the CA");
    let der: String = pem.lines().filter(|line| !line.starts_with("-----")).collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
    let head = json!({"typ": "JWT", "alg": "RS256", "x5c": [der]});
    let claims = json!({
        "iss": "the-issuer", "sub": "somebody", "aud": "the-service", "exp": now + life, "nbf": now - 5, "iat": now,
        "jti": format!("{now}"), "access": access,
    });
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(head.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut signing = Command::new("openssl")
        .args(["dgst", "-sha256", "-sign"])
        .arg(folder.join("ca.key"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl runs");
    signing.stdin.take().expect("piped").write_all(text.as_bytes()).expect("the text");
    let signature = signing.wait_with_output().expect("a signature").stdout;
    let token = format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature));
    let granted = json!({"token": token, "expires_in": life, "issued_at": "yesterday"});
    Say::Answer(answer(200, "application/json", granted.to_string()))
}

/// A proxy that knows `CONNECT` and these ways; its URL. It lives as long as the test program.
fn proxy(ways: Vec<(String, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let ways = ways.clone();
            std::thread::spawn(move || connect(near, &ways));
        }
    });
    url
}

fn connect(mut near: TcpStream, ways: &[(String, String)]) -> Option<()> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        near.read_exact(&mut byte).ok()?;
        head.extend(byte);
    }
    let head = String::from_utf8(head).ok()?;
    let wanted = head.strip_prefix("CONNECT ")?.split(' ').next()?;
    let Some((_, address)) = ways.iter().find(|(name, _)| name == wanted) else {
        near.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n").ok()?;
        return None;
    };
    let far = TcpStream::connect(address).ok()?;
    near.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
    let (mut from, mut to) = (near.try_clone().ok()?, far.try_clone().ok()?);
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
    let (mut from, mut to) = (far, near);
    std::io::copy(&mut from, &mut to).ok()?;
    to.shutdown(std::net::Shutdown::Write).ok()
}
