//! Engines that are not there, not for us, or not new enough: exit code 3 and what helps.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::process::Command;

use crate::support::family::TinyFamily;
use crate::support::registry::run;
use crate::support::xtask::ran;

#[test]
fn an_engine_that_was_named_and_does_not_answer_is_not_replaced_by_another() {
    let family = TinyFamily::new();
    let [build, push] = ["build", "push"].map(|command| family.planning(&[command, "--variant", "azure"]));
    let [clean, setup] = ["clean", "setup"].map(|command| family.command(&[command]));
    for mut command in [build, push, clean, setup] {
        command.env("DOCKER_HOST", "unix:///nonexistent.sock");
        let failed = ran(command).ends(3).says(&["no Docker Engine answers", "unix:///nonexistent.sock", "hint:", "DOCKER_HOST"]);
        assert!(!failed.stderr.contains("cargo xtask setup"), "{}", failed.stderr);
    }
    let mut doctor = family.command(&["doctor", "--format", "json"]);
    doctor.env("DOCKER_HOST", "unix:///nonexistent.sock");
    let told = ran(doctor).ends(3).json();
    let engine = &told["requirements"][0];
    assert!(engine["why"].as_str().is_some_and(|why| why.contains("no Docker Engine answers")), "{engine}");
    assert!(engine["mend"].as_str().is_some_and(|mend| mend.contains("DOCKER_HOST")), "{engine}");
}

#[test]
fn a_docker_host_that_is_none_is_a_usage_error() {
    let family = TinyFamily::new();
    let build = family.planning(&["build", "--variant", "azure"]);
    let clean = family.command(&["clean"]);
    for mut command in [build, clean] {
        command.env("DOCKER_HOST", "gopher://x");
        ran(command).ends(2).says(&["`DOCKER_HOST`", "`gopher://`", "`unix://`"]);
    }
}

/// As a user who is in no group: root may do everything.
#[test]
fn a_socket_without_permission_says_which_group_helps() {
    let family = TinyFamily::new();
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("docker.sock");
    let _listens = UnixListener::bind(&socket).expect("a socket");
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o600)).expect("closed");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("open");
    let root = family.root();
    let all = root.parent().expect("a folder");
    fs::set_permissions(all, fs::Permissions::from_mode(0o755)).expect("open");
    // The workspace may lie where nobody else can look.
    let program = all.join("xtask");
    fs::copy(env!("CARGO_BIN_EXE_xtask"), &program).expect("a copy");
    run("chown", &["-R", "65534:65534", &all.display().to_string()]);

    let xtask = family.planning(&["build", "--variant", "azure"]);
    let mut build = Command::new("setpriv");
    build.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]).arg(&program).args(xtask.get_args());
    build.current_dir(&root).env_clear().envs(xtask.get_envs().filter_map(|(name, value)| Some((name, value?))));
    build.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let failed = ran(build);
    run("chown", &["-R", "0:0", &all.display().to_string()]);
    failed.ends(3).says(&["no permission", &socket.display().to_string(), "usermod -aG docker"]);
}

#[test]
fn an_engine_that_is_too_old_is_told_with_the_version_that_is_needed() {
    let family = TinyFamily::new();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let engine = std::thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut lines = BufReader::new(connection.try_clone().expect("cloned")).lines();
        let first = lines.next().expect("a request").expect("text");
        lines.find(|line| line.as_ref().is_ok_and(String::is_empty));
        let body = r#"{"Version":"19.03.15","ApiVersion":"1.40","MinAPIVersion":"1.12","Os":"linux","Arch":"amd64"}"#;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n", body.len());
        connection.write_all((head + body).as_bytes()).expect("answered");
        first
    });
    let mut build = family.planning(&["build", "--variant", "azure"]);
    build.env("DOCKER_HOST", format!("tcp://{address}"));
    ran(build).ends(3).says(&["too old", "19.03.15", "20.10", "update docker.io"]);
    assert!(engine.join().expect("it answered").contains("/version"));
}
