//! The images, run as a user runs them.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::docker::{Container, docker, try_docker};
use crate::family::{WEB, image, xtask};

/// The first line of the answer to a GET.
fn status(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the port answers");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a timeout");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n").expect("a request");
    let mut answer = String::new();
    stream.take(4096).read_to_string(&mut answer).ok();
    answer.lines().next().unwrap_or_default().to_owned()
}

#[test]
fn web_variants_serve_code_on_8080_to_whoever_has_the_password() {
    for variant in WEB {
        let container =
            Container::start(&image(variant), &["VSCODE_WEB=1", "VSCODE_WEB_TOKEN=canary-password"], Some(8080)).healthy();
        let port = container.port(8080);
        assert!(status(port, "/healthz").contains("200"), "{variant}");
        // Without the password there is the login page, not a shell.
        assert!(status(port, "/").contains("302"), "{variant}");
        let environments =
            docker(&["exec", &container.name, "bash", "-c", "cat /proc/1/environ /proc/*/cmdline 2>/dev/null | tr '\\0' '\\n'"]);
        assert!(!environments.contains("canary-password"), "{environments}");
    }
}

#[test]
fn a_stop_is_clean_and_quick() {
    let container = Container::start(&image("aws-web"), &["VSCODE_WEB=1", "VSCODE_WEB_AUTH=none"], Some(8080)).healthy();
    // What is not quick is killed, and does not end with 0.
    assert_eq!(container.stop(), 0, "{}\n{}", container.state(), container.log());
}

#[test]
fn a_service_that_was_left_out_is_answered_with_the_starts_that_work() {
    let container = Container::start(&image("aws"), &[], None);
    let code = docker(&["wait", &container.name]);
    assert_ne!(code.trim(), "0");
    let log = container.log();
    assert!(log.contains("AUTHORIZED_KEYS"), "{log}");
}

#[test]
fn no_zombies_are_left() {
    let container = Container::start(
        &image("aws"),
        &["AUTHORIZED_KEYS=ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIP5M5x8J6b1n9dW0mM1J0lSxW9o0Jf3cR0yY0vE0oD0d x"],
        None,
    );
    let container = container.healthy();
    docker(&[
        "exec",
        &container.name,
        "bash",
        "-c",
        "(sleep 0.1 & exec sleep 0) ; for i in 1 2 3 4 5 6 7 8; do setsid -f sleep 0.1; done",
    ]);
    container.until("reaping", |container| {
        let states = docker(&["exec", &container.name, "ps", "-eo", "stat=,comm="]);
        (!states.lines().any(|line| line.starts_with('Z'))).then_some(())
    });
}

#[test]
fn quickstart_ends_with_a_healthy_workspace_and_takes_it_away_again() {
    image("aws-web");
    let name = format!("gantry-test-quickstart-{}", std::process::id());
    let quickstart = ["--format", "json", "quickstart", "--yes", "--name", &name];
    let started = xtask(&[&quickstart[..], &["--port", "0"]].concat());
    let stderr = String::from_utf8_lossy(&started.stderr);
    assert!(started.status.success(), "{stderr}");
    let result: serde_json::Value = serde_json::from_slice(&started.stdout).expect("a result is JSON");
    let url = result["url"].as_str().expect("an address");
    let port = url.trim_end_matches('/').rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    assert!(status(port, "/healthz").contains("200"), "{url}");
    assert_eq!(crate::docker::inspect(&name)["State"]["Health"]["Status"], "healthy");

    // Again: the container is replaced, not a second one started beside it.
    assert!(xtask(&[&quickstart[..], &["--port", "0"]].concat()).status.success());
    assert!(xtask(&[&quickstart[..], &["--down"]].concat()).status.success());
    assert!(!try_docker(&["inspect", &name]).0, "the container is gone");
}
