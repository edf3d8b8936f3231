//! What the workspace's user may do, and whom the container trusts: sudo, the home, certificates.

mod container;

use container::{Container, Setup, server};
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// An sshd that the key `mine` in the setup's folder opens.
fn sshd() -> Setup {
    let setup = Setup::new();
    let key = setup.folder().join("mine");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.unwrap().success());
    setup.set("AUTHORIZED_KEYS", &fs::read_to_string(key.with_extension("pub")).unwrap())
}

fn ssh(container: &Container, command: &str) -> String {
    let mut ssh = container.command("ssh");
    ssh.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=no", "-o", "LogLevel=ERROR"]);
    ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-i"]).arg(container.folder().join("mine"));
    let output = ssh.args(["ansible@127.0.0.1", command]).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

/// A folder for sudo's files of the container's own, and a program that makes whoever executes it root, as sudo does.
const SUDO: &str = "mkdir /mnt/etc /mnt/work; mount -t overlay -o lowerdir=/etc,upperdir=/mnt/etc,workdir=/mnt/work overlay /etc\n\
                    for file in passwd group shadow; do mount --bind /mnt/files/$file /etc/$file; done\n\
                    mount -t tmpfs -o mode=755 tmpfs /etc/ssh; mkdir -p /etc/sudoers.d; mount -t tmpfs tmpfs /etc/sudoers.d\n\
                    echo 'ansible ALL=(ALL:ALL) NOPASSWD: ALL' > /etc/sudoers.d/ansible\n\
                    install -m 4755 /usr/bin/id /opt/root";

#[test]
fn without_sudo_no_session_ever_becomes_root() {
    for (value, expected, files) in [("1", "0\n", "ansible\n"), ("0", "1000\n", "ansible.off\n")] {
        let container = sshd().before(SUDO).set("WORKSPACE_SUDO", value).start().healthy();
        assert_eq!(ssh(&container, "/opt/root -u"), expected, "{value}");
        assert_eq!(ssh(&container, "grep NoNewPrivs /proc/self/status | cut -f 2"), format!("{}\n", u8::from(value == "0")));
        // For `docker exec`, which is no service of ours.
        assert_eq!(container.sh("ls /etc/sudoers.d"), files);
    }
}

#[test]
fn sudo_comes_back() {
    let before = format!("{SUDO}; mv /etc/sudoers.d/ansible /etc/sudoers.d/ansible.off");
    let container = Setup::web(&server("")).before(&before).start().healthy();
    assert_eq!(container.sh("ls /etc/sudoers.d"), "ansible\n");
    assert!(!container.log().contains("sudo"), "{}", container.log());
}

#[test]
fn sudo_that_cannot_be_taken_away_is_said() {
    let before = format!("{SUDO}; mount -o remount,ro /etc/sudoers.d");
    let container = sshd().before(&before).set("WORKSPACE_SUDO", "off").start().healthy();
    assert!(container.log().contains("`docker exec --user ansible` has"), "{}", container.log());
    assert_eq!(ssh(&container, "/opt/root -u"), "1000\n");
}

#[test]
fn the_home_is_closed_where_jobs_run_beside_it() {
    for (runner, expected) in [(false, "755\n"), (true, "700\n")] {
        let mut setup = Setup::web(&server(""));
        if runner {
            setup = setup.set("GITHUB_RUNNER_URL", "https://github.com/o").set("GITHUB_RUNNER_TOKEN", "A".repeat(29).as_str());
            // It comes no further than to look for GitHub.
            setup = setup.before("install -D -m 755 /bin/false /opt/actions-runner/bin/Runner.Listener");
        }
        let container = setup.start().healthy();
        assert_eq!(container.sh("stat -c %a /home/ansible"), expected, "{}", container.log());
    }
}

/// A server of https on port 7443 in the container's network, with a certificate of a company's own authority; the
/// authority's certificate is `ca.pem` in the setup's folder.
struct Tls(Child);

impl Tls {
    fn start(setup: &Setup) -> Self {
        let folder = setup.folder().to_owned();
        let openssl = |arguments: &str| {
            let made = Command::new("/usr/bin/openssl").current_dir(&folder).args(arguments.split(' ')).output().unwrap();
            assert!(made.status.success(), "{arguments}: {}", String::from_utf8_lossy(&made.stderr));
        };
        openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -subj /CN=company -days 2");
        openssl("req -newkey rsa:2048 -nodes -keyout tls.key -out tls.csr -subj /CN=localhost");
        fs::write(folder.join("names"), "subjectAltName=DNS:localhost\n").unwrap();
        openssl("x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out tls.pem -days 2 -extfile names");
        let child = setup.network().within(move || {
            let mut server = Command::new("/usr/bin/openssl");
            server.current_dir(&folder).args("s_server -quiet -accept 7443 -cert tls.pem -key tls.key -www".split(' '));
            let mut child = server.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            while TcpStream::connect(("127.0.0.1", 7443)).is_err() {
                assert_eq!(child.try_wait().unwrap(), None, "the server ended");
                std::thread::sleep(Duration::from_millis(10));
            }
            child
        });
        Self(child)
    }
}

impl Drop for Tls {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What git says about the server, which is none of git's.
fn cloned(container: &Container) -> String {
    container.logged("https://localhost:7443/o/r");
    container.until("a verdict", |container| {
        let log = container.log();
        (log.contains("cannot be cloned now") || log.contains("is not cloned")).then_some(log)
    })
}

#[test]
fn a_companys_certificates_are_trusted_by_whatever_fetches() {
    let repository = |setup: Setup| setup.set("ANSIBLE_REPO_URL", "https://localhost:7443/o/r");
    let setup = repository(sshd());
    let _tls = Tls::start(&setup);
    let log = cloned(&setup.start());
    assert!(log.contains("EXTRA_CA_FILE names certificates to trust"), "{log}");

    let setup = repository(sshd()).set("EXTRA_CA_FILE", "/run/company.pem").set("AWS_CA_BUNDLE", "/mine");
    let _tls = Tls::start(&setup);
    // A mounted secret may be root's alone.
    let mount = "install -m 600 /mnt/files/ca.pem /run/company.pem; cat /mnt/files/ca.key >> /run/company.pem";
    let container = setup.before(mount).start();
    let log = cloned(&container);
    assert!(log.contains("is this a git repository?") || log.contains("not valid"), "{log}");
    let container = container.healthy();
    let code = ssh(&container, "curl -s -o /dev/null -w %{http_code} https://localhost:7443/");
    assert_eq!(code, "200", "{}", container.log());
    let variables = ssh(&container, "env | grep -E '_CA|CERT' | grep -v EXTRA_CA_FILE | sort");
    let expected = "AWS_CA_BUNDLE=/mine\nCURL_CA_BUNDLE=/run/gantry/ca-bundle.crt\nGIT_SSL_CAINFO=/run/gantry/ca-bundle.crt\n\
                    NODE_EXTRA_CA_CERTS=/run/gantry/extra-ca.crt\nREQUESTS_CA_BUNDLE=/run/gantry/ca-bundle.crt\n\
                    SSL_CERT_FILE=/run/gantry/ca-bundle.crt\n";
    assert_eq!(variables, expected);
    // Those of the image are in it too; a key that lay beside is not.
    let count = ssh(
        &container,
        "grep -c BEGIN.CERT /run/gantry/ca-bundle.crt /run/gantry/extra-ca.crt; grep -c PRIVATE.KEY /run/gantry/*.crt",
    );
    let image = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default().matches("BEGIN CERT").count();
    assert!(count.starts_with(&format!("/run/gantry/ca-bundle.crt:{}\n/run/gantry/extra-ca.crt:1\n", image + 1)), "{count}");
    assert!(count.ends_with("/run/gantry/ca-bundle.crt:0\n/run/gantry/extra-ca.crt:0\n"), "{count}");
}

#[test]
fn a_file_that_is_no_certificate_is_said() {
    let table = [("/run/none.pem", "cannot be read"), ("/etc/passwd", "has no certificate in it")];
    for (path, expected) in table {
        assert!(path.starts_with("/run") || Path::new(path).exists());
        let container = Setup::web(&server("")).set("EXTRA_CA_FILE", path).start().healthy();
        let log = container.log();
        assert!(log.contains(&format!("EXTRA_CA_FILE: `{path}` {expected}")) && log.contains("NONE OF IT IS TRUSTED"), "{log}");
        assert_eq!(container.sh("ls /run/gantry | grep crt || true"), "");
        let (status, log) = Setup::web(&server("")).set("EXTRA_CA_FILE", path).set("STRICT", "1").run();
        assert!(status.code() == Some(69) && log.contains(expected), "{log}");
    }
}
