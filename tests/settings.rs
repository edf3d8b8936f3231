//! Wrong settings in a running container: what stays away, what stops the start, and how that is said.

mod container;

use container::{Setup, server};

fn with_wrong_runner() -> Setup {
    Setup::web(&server("")).set("GITHUB_RUNNER_URL", "https://github.com/o/r/settings").set("ANSIBLE_REPO_URL", "canary-token")
}

#[test]
fn wrong_settings_of_runner_and_repository_keep_nobody_out() {
    let container = with_wrong_runner().start().healthy();
    let log = container.log();
    for line in [
        "gantry: error: repository: ANSIBLE_REPO_URL is no address",
        "gantry: error: runner: GITHUB_RUNNER_URL has more parts",
        "gantry: error: runner: GITHUB_RUNNER_URL is set, but nothing to register with",
        "gantry: error: runner: is not started for that; everything else is",
    ] {
        assert!(log.contains(line), "{line}: {log}");
    }
    assert!(!log.contains("canary"), "{log}");
    let status = container.command(container::ENTRYPOINT).arg("status").output().unwrap();
    let status = String::from_utf8(status.stdout).unwrap();
    assert!(status.contains("GITHUB_RUNNER_URL has more parts") && status.contains("ANSIBLE_REPO_URL is no address"), "{status}");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn strictness_stops_such_a_start() {
    let (status, log) = with_wrong_runner().set("STRICT", "1").run();
    assert_eq!(status.code(), Some(78), "{log}");
    assert_eq!(log.matches("gantry: error: ").count(), 3, "{log}");
}

#[test]
fn a_pipe_in_the_place_of_a_file_is_not_waited_for() {
    for path in ["/run/pipe", "/dev/zero", "/run"] {
        let (status, log) = Setup::web(&server("")).set("VSCODE_WEB_TOKEN_FILE", path).before("mkfifo /run/pipe").run();
        assert_eq!(status.code(), Some(78), "{log}");
        assert!(log.contains(&format!("VSCODE_WEB_TOKEN_FILE names `{path}`, which cannot be read: is no file")), "{log}");
    }
    let container = Setup::web(&server("")).set("EXTRA_CA_FILE", "/run/pipe").before("mkfifo /run/pipe").start().healthy();
    assert!(container.log().contains("`/run/pipe` cannot be read: is no file"), "{}", container.log());
}
