//! Secrets leave no trace: planted ones are looked for wherever another process could find them.

mod container;

use container::{Setup, server};

const SECRETS: [&str; 9] = [
    "CLAUDE_POOL_SECRET",
    "CODER_SELF_TOKEN",
    "GH_TOKEN",
    "GITHUB_APP_PRIVATE_KEY",
    "GITHUB_RUNNER_PAT",
    "GITHUB_RUNNER_TOKEN",
    "GITHUB_TOKEN",
    "GIT_BOT_TOKEN",
    "VSCODE_WEB_TOKEN",
];
const CANARY: &str = "canary-0123456789";

fn planted(setup: Setup) -> Setup {
    SECRETS.into_iter().fold(setup, |setup, name| setup.set(name, CANARY))
}

#[test]
fn no_process_and_no_log_shows_a_secret() {
    let container = planted(Setup::web(&server(""))).start().healthy();
    // As the container's root, which sees what the workspace's user sees and more.
    let found = container.sh("grep -l -a '[c]anary' /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true");
    assert_eq!(found, "");
    // Only the server's own settings and the answer of `web-url` hold the password, for its user alone.
    let files = container.sh("grep -r -l -a '[c]anary' /run /tmp /home | sort | xargs stat -c '%n %a %U'");
    assert_eq!(files, "/run/gantry/code-server.yaml 600 ansible\n/run/gantry/web-url 600 ansible\n");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn the_entrypoint_keeps_nothing_that_its_user_could_read() {
    // Without root in between: the services have the same user as the entrypoint.
    let launch = "cd /; exec setpriv --reuid=1000 --regid=1000 --clear-groups ENTRYPOINT";
    let container = planted(Setup::web(&server(""))).launch(launch).start();
    container.logged("web: ready on port 8080");
    for file in ["environ", "mem", "maps"] {
        let mut read = container.command("setpriv");
        let output = read.args(["--reuid=1000", "--regid=1000", "--clear-groups", "cat", &format!("/proc/1/{file}")]).output();
        let output = output.unwrap();
        assert!(!output.status.success() && output.stdout.is_empty(), "{file} can be read");
    }
    assert_eq!(container.sh("ls -l /proc/1/fd | grep -c memfd || true").trim(), "0", "the sealed file is closed");
}

#[test]
fn a_secret_from_a_file_is_used_and_not_shown() {
    let setup = Setup::web(&server("")).set("VSCODE_WEB_TOKEN_FILE", "/run/secret");
    let container = setup.before(&format!("printf '{CANARY}\\n' > /run/secret; chmod 600 /run/secret")).start().healthy();
    assert!(container.sh("cat /run/gantry/code-server.yaml").contains(&format!("password: \"{CANARY}\"\n")));
    assert!(!container.log().contains("canary"), "{}", container.log());
}

#[test]
fn the_descriptor_of_sealed_secrets_cannot_be_forged() {
    let forged = "exec 7</etc/passwd; exec ENTRYPOINT";
    let (status, log) = Setup::web(&server("")).set("GANTRY_SEALED_SECRETS", "7").launch(forged).run();
    assert_eq!(status.code(), Some(71), "{log}");
    assert!(log.contains("not a sealed memory file"), "{log}");
}
