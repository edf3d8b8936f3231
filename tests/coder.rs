//! The Coder agent, got from a double of its server and run for real: a small program that calls itself Coder.

mod container;
mod doubles;

use container::{Container, Setup};
use doubles::{Answer, Server};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const TOKEN: &str = "canary-0123456789";
const PORT: u16 = 3000;

/// `--version` says what a Coder agent says; `agent` writes down how it was started and waits for a stop.
const AGENT: &str = r#"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void stop(int signal) { _exit(0); }
int main(int argc, char **argv) {
    if (argc == 2 && !strcmp(argv[1], "--version")) {
        printf("Coder v2.99.0-test+1234567 Thu Nov 20 12:00:00 UTC 2026\nmore\n");
        return 0;
    }
    if (argc != 2 || strcmp(argv[1], "agent")) return 2;
    char self[4096] = {0}, token[4096] = {0};
    signal(SIGTERM, stop);
    readlink("/proc/self/exe", self, sizeof self - 1);
    FILE *file = fopen(getenv("CODER_AGENT_TOKEN_FILE"), "r");
    if (!file || !fgets(token, sizeof token, file)) { perror("token"); return 1; }
    file = fopen("/home/ansible/started", "w");
    fprintf(file, "%s\n%d\n%s\n%s\n%s\n%s\n", self, getuid(), getenv("CODER_AGENT_AUTH"), getenv("CODER_AGENT_URL"),
        getenv("CODER_AGENT_TOKEN") ? "token in the environment" : "no token in the environment", token);
    fclose(file);
    fprintf(stderr, "connected\n");
    for (;;) pause();
}
"#;

/// Compiles `source`, as everything here was compiled.
fn compile(setup: &Setup, source: &str) -> Vec<u8> {
    let (from, to) = (setup.folder().join("agent.c"), setup.folder().join("agent"));
    std::fs::write(&from, source).unwrap();
    let made = Command::new("cc").arg("-o").args([&to, &from]).status();
    assert!(made.is_ok_and(|made| made.success()), "`cc` is missing: apt-get install gcc libc6-dev");
    std::fs::read(to).unwrap()
}

fn sha1(bytes: &[u8], folder: &Path) -> String {
    let path: PathBuf = folder.join("sum");
    std::fs::write(&path, bytes).unwrap();
    let output = Command::new("sha1sum").arg(path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

/// As a Coder server answers.
fn good(agent: &[u8], folder: &Path) -> Answer {
    Answer::new(200, agent)
        .header("ETag", &format!("\"{}\"", sha1(agent, folder)))
        .header("X-Original-Content-Length", &agent.len().to_string())
        .header("Content-Type", "application/octet-stream")
}

fn setup() -> Setup {
    Setup::new().set("CODER_AGENT_TOKEN", TOKEN).set("CODER_AGENT_URL", &format!("http://127.0.0.1:{PORT}/"))
}

/// A server that has the agent, and says so when it is asked whether it has changed.
fn serve(container_or_setup: &container::Network, answer: Answer) -> Server {
    Server::start(container_or_setup.listen(PORT), move |request| {
        let etag = answer.headers.iter().find(|(name, _)| name == "ETag").map(|(_, value)| value.as_str());
        match request.header("if-none-match") {
            Some(known) if Some(known) == etag => Answer::new(304, ""),
            _ => answer.clone(),
        }
    })
}

fn machine() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        _ => "armv7",
    }
}

/// Waits until the agent has written down how it was started.
fn started(container: &Container) -> String {
    container.until("agent", |container| {
        let text = container.sh("cat /home/ansible/started 2>/dev/null || true");
        text.contains(TOKEN).then_some(text)
    })
}

#[test]
fn the_agent_is_downloaded_checked_and_run() {
    let setup = setup();
    let agent = compile(&setup, AGENT);
    let server = serve(setup.network(), good(&agent, setup.folder()));
    let container = setup.start();
    let expected =
        format!("/opt/gantry/coder-agent\n1000\ntoken\nhttp://127.0.0.1:{PORT}\nno token in the environment\n{TOKEN}\n");
    assert_eq!(started(&container), expected);
    container.logged("downloaded and checked: Coder v2.99.0-test+1234567");
    let container = container.healthy();
    let request = &server.asked()[0];
    assert_eq!((request.method.as_str(), request.path.clone()), ("GET", format!("/bin/coder-linux-{}", machine())));
    assert_eq!(request.header("accept-encoding"), Some("identity"));
    // Root's, so that the workspace cannot exchange it, and where terminals expect it.
    let files = container.sh("stat -c '%n %a %U' /opt/gantry /opt/gantry/coder-agent; readlink /tmp/coder-agent; ls /opt/gantry");
    let expected = "/opt/gantry 755 root\n/opt/gantry/coder-agent 755 root\n/opt/gantry/coder-agent\ncoder-agent\n";
    assert_eq!(files, expected);
    // The token is where the agent reads it, for its user alone, and nowhere else.
    let found = "grep -l -a '[c]anary' /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true";
    assert_eq!(container.sh(found), "");
    container.sh("rm /home/ansible/started");
    let files = container.sh("grep -r -l -a '[c]anary' /run /tmp /home /opt | xargs stat -c '%n %a %U'");
    assert_eq!(files, "/run/gantry/coder-agent-token 600 ansible\n");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("canary") && log.contains("agent: stopped: exit code 0"), "{log}");
}

#[test]
fn nonsense_is_named_and_the_agent_taken_as_soon_as_there_is_one() {
    type Spoil = fn(Answer) -> Answer;
    let page = |_| Answer::new(200, "<!DOCTYPE html><title>Sign in</title>").header("Content-Type", "text/html");
    let etag = |answer| Answer { headers: vec![("ETag".into(), format!("\"{}\"", "0".repeat(40)))], ..answer };
    let half = |answer: Answer| Answer { cut: Some(answer.body.len() / 2), ..answer };
    let shorter = |answer: Answer| Answer { body: answer.body[..answer.body.len() / 2].to_vec(), ..answer };
    let unannounced = |answer: Answer| Answer::new(200, &answer.body[..answer.body.len() / 2]);
    let other = |answer: Answer| {
        let mut body = answer.body;
        body[18..20].copy_from_slice(&(if cfg!(target_arch = "x86_64") { 183_u16 } else { 62 }).to_le_bytes());
        Answer::new(200, body)
    };
    let foreign = |_| Answer::new(200, std::fs::read("/bin/true").unwrap());
    let missing = |_| Answer::new(404, "{}");
    let moved = |_| Answer::new(302, "").header("Location", "https://sso.example.com/");
    let table: Vec<(Spoil, &str)> = vec![
        (page, "is a web page, not a program"),
        (etag, "arrived damaged: its SHA-1 is "),
        (half, "cannot be downloaded: "),
        (shorter, "did not arrive whole: "),
        (unannounced, "did not arrive whole: "),
        (other, "is a program for "),
        (foreign, "no Coder agent: `--version` does not say so"),
        (missing, "is not there: CODER_AGENT_URL has to be the address of a Coder server (status 404)"),
        (moved, "leads to `https://sso.example.com/`"),
    ];
    let containers: Vec<_> = table
        .into_iter()
        .map(|(spoil, expected)| {
            let setup = setup();
            let answer = good(&compile(&setup, AGENT), setup.folder());
            let asked = Arc::new(AtomicUsize::new(0));
            let server = Server::start(setup.network().listen(PORT), move |_| match asked.fetch_add(1, Ordering::Relaxed) {
                0 => spoil(answer.clone()),
                _ => answer.clone(),
            });
            (setup.start(), server, expected)
        })
        .collect();
    for (container, _server, expected) in containers {
        container.logged(expected);
        started(&container);
        let (status, log) = container.healthy().stop();
        assert_eq!(status.code(), Some(0), "{expected}: {log}");
        assert!(!log.contains("canary"), "{log}");
    }
}

#[test]
fn a_server_that_comes_up_later_is_waited_for() {
    let setup = setup();
    let agent = compile(&setup, AGENT);
    let answer = good(&agent, setup.folder());
    let container = setup.start();
    container.logged("cannot be downloaded: Failed to connect");
    assert!(!container.health().status.success(), "nobody can get in");
    // In between it tries again.
    let waits = |container: &Container| container.sh("/mnt/entrypoint status").contains("waits for the agent: ").then_some(());
    container.until("the reason in the status", waits);
    let _server = serve(container.network(), answer);
    started(&container);
    let (status, log) = container.healthy().stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_stop_ends_the_wait_at_once() {
    let container = setup().start();
    container.logged("cannot be downloaded: Failed to connect");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("killed"), "{log}");
}

#[test]
fn an_agent_that_ends_is_started_again_and_downloaded_only_when_it_has_changed() {
    let setup = setup();
    let agent = compile(&setup, AGENT);
    let server = serve(setup.network(), good(&agent, setup.folder()));
    let container = setup.start();
    started(&container);
    container.sh("rm /home/ansible/started; kill -9 $(pgrep -x coder-agent)");
    container.logged("agent: ended by itself: signal 9");
    container.logged("the agent is the server's present one already");
    started(&container);
    let asked = server.asked();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[1].header("if-none-match").map(|etag| etag.len()), Some(42));
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn what_somebody_planted_is_replaced_and_never_followed() {
    let planted = [
        "ln -s /home/precious /tmp/coder-agent",
        "echo mine > /tmp/coder-agent",
        "mkdir /tmp/coder-agent; touch /tmp/coder-agent/file",
        "mkdir -p /home/ansible/gantry; ln -s /home/ansible/gantry /opt/gantry",
    ];
    let containers = planted.map(|plant| {
        let setup = setup();
        let agent = compile(&setup, AGENT);
        let server = serve(setup.network(), good(&agent, setup.folder()));
        let before = format!(
            "echo precious > /home/precious; {plant}; find /tmp /home/ansible -mindepth 1 -exec chown -h 1000:1000 {{}} +"
        );
        (setup.before(&before).start(), server, plant)
    });
    for (container, _server, plant) in containers {
        let text = started(&container);
        container.until("link", |container| {
            let link = container.sh("readlink /tmp/coder-agent || true");
            link.trim().ends_with("/coder-agent").then_some(())
        });
        assert_eq!(container.sh("cat /home/precious"), "precious\n", "{plant}");
        assert_eq!(container.sh("stat -c %U /tmp/coder-agent; ls /home/ansible/gantry 2>/dev/null || true"), "root\n", "{plant}");
        if plant.contains("/opt/gantry") {
            assert!(text.starts_with("/run/gantry/coder/coder-agent\n"), "{text}");
        }
    }
}

#[test]
fn it_finds_a_place_where_programs_may_be_executed() {
    let root = "mount -o remount,noexec /opt; mount -o remount,noexec /run; mount -o remount,noexec /tmp";
    let ordinary = "mount -o remount,noexec /tmp";
    let as_user = "cd /; exec setpriv --reuid=1000 --regid=1000 --clear-groups --no-new-privs ENTRYPOINT";
    for (before, launch) in [(root, "exec ENTRYPOINT"), (ordinary, as_user)] {
        let setup = setup();
        let agent = compile(&setup, AGENT);
        let _server = serve(setup.network(), good(&agent, setup.folder()));
        let container = setup.before(before).launch(launch).start();
        let text = started(&container);
        assert!(text.starts_with("/home/ansible/.cache/gantry/coder-agent\n1000\n"), "{text}");
        let files = container.sh("cd /home/ansible; stat -c '%n %U' .cache .cache/gantry .cache/gantry/*");
        assert_eq!(files, ".cache ansible\n.cache/gantry ansible\n.cache/gantry/coder-agent ansible\n");
        let (status, log) = container.healthy().stop();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
fn what_is_no_file_in_the_users_own_folder_is_replaced_and_what_is_one_is_kept() {
    let setup = setup();
    let agent = compile(&setup, AGENT);
    let server = serve(setup.network(), good(&agent, setup.folder()));
    let before = "mount -o remount,noexec /opt; mount -o remount,noexec /run; mount -o remount,noexec /tmp
                  cd /home/ansible; mkdir -p .cache/gantry; mkfifo .cache/gantry/coder-agent; chown -R 1000:1000 .cache";
    let container = setup.before(before).start();
    assert!(started(&container).starts_with("/home/ansible/.cache/gantry/coder-agent\n1000\n"));
    container.sh("rm /home/ansible/started; kill -9 $(pgrep -x coder-agent)");
    container.logged("the agent is the server's present one already");
    started(&container);
    assert_eq!(server.asked().len(), 2);
}

#[test]
fn a_token_from_a_file_is_read_anew_at_each_start() {
    let setup =
        Setup::new().set("CODER_AGENT_URL", &format!("http://127.0.0.1:{PORT}")).set("CODER_AGENT_TOKEN_FILE", "/run/token");
    let agent = compile(&setup, AGENT);
    let _server = serve(setup.network(), good(&agent, setup.folder()));
    let container = setup.before(&format!("echo {TOKEN}-1 > /run/token; chmod 600 /run/token")).start();
    assert!(started(&container).contains(&format!("{TOKEN}-1\n")));
    container.sh(&format!("rm /home/ansible/started; echo {TOKEN}-2 > /run/token; kill -9 $(pgrep -x coder-agent)"));
    assert!(started(&container).contains(&format!("{TOKEN}-2\n")));
}
