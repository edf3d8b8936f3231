//! Secrets leave no trace in a real container: planted ones are looked for by watchers that run beside the entrypoint, from
//! before its first instruction to its last sweep, as the workspace's user and as the jobs' (see `inside/watcher.py`).

use std::collections::BTreeSet;

use crate::docker::{Container, Recipe};
use crate::outside::{CLONE, ORIGIN, Outside, PAT, REGISTRATION};
use crate::ssh::Key;

/// Secrets that nothing here needs.
const IDLE: [&str; 6] =
    ["GITHUB_RUNNER_TOKEN", "GH_TOKEN", "CODER_SELF_TOKEN", "CLAUDE_POOL_SECRET", "GIT_BOT_TOKEN", "GITHUB_APP_PRIVATE_KEY"];
const WATCHED: [&str; 2] = ["1000", "1001"];

/// How secrets are given.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Way {
    Value,
    File,
}

/// With a secret; as a file, it is one that only root can read.
fn secret(recipe: Recipe, way: Way, name: &str, value: &str) -> Recipe {
    match way {
        Way::Value => recipe.set(name, value),
        Way::File => {
            let path = format!("/run/secrets/{name}");
            recipe.file(&path, 0, 0o400, &format!("{value}\n")).set(&format!("{name}_FILE"), &path)
        }
    }
}

/// The image's entrypoint, with the watchers beside it, and for each a decoy that it has to find.
fn watched(recipe: Recipe) -> Recipe {
    let watcher = |user: &str| {
        // Nothing of what the container was given: that would be a find.
        let as_user =
            format!("env -i PATH=/usr/bin DECOY=canary-DECOY-environ setpriv --reuid={user} --regid={user} --clear-groups");
        let decoy = "python3 -c 'import time; time.sleep(1e6)' canary-DECOY-argv";
        format!("again {as_user} {decoy} & again {as_user} python3 /srv/watcher.py {user} & ")
    };
    // What runs as the jobs' user is ended before a registration, as if a job had left it behind: it comes back.
    let again = "again() { while :; do \"$@\"; sleep 0.02; done; }; ";
    let script = again.to_owned() + &WATCHED.map(watcher).concat() + "exec /usr/local/bin/entrypoint";
    let recipe = recipe.folder("/var/decoy", 0, 0o755).file("/var/decoy/file", 0, 0o444, "canary-DECOY-file");
    let key = format!("-----BEGIN PRIVATE KEY-----\n{}\n", "A".repeat(64));
    let recipe = recipe.file("/var/decoy/key", 0, 0o444, &key);
    let recipe = recipe.file("/srv/watcher.py", 0, 0o644, include_str!("inside/watcher.py"));
    recipe.first("bash", &["-c", &script])
}

fn is_decoy(line: &str) -> bool {
    line.ends_with(" holds DECOY") || line.ends_with(" file of /var/decoy/key holds PRIVATE")
}

/// What the watchers have found, without the decoys, once they have shown that they do find.
fn found(container: &Container) -> BTreeSet<String> {
    let log = container.log();
    let lines: BTreeSet<_> = log.lines().filter(|line| line.starts_with("watcher ")).map(str::to_owned).collect();
    for user in WATCHED {
        for kind in ["argv of python3", "environ of python3", "file of /var/decoy/file", "file of /var/decoy/key"] {
            let seen = |line: &&String| line.starts_with(&format!("watcher {user}: {kind}")) && is_decoy(line);
            assert!(lines.iter().any(|line| seen(&line)), "{user} does not find the decoy: {kind}: {log}");
        }
        assert!(lines.iter().any(|line| line.starts_with(&format!("watcher {user}: ")) && line.ends_with(" passes")), "{log}");
    }
    assert!(!log.contains("canary-"), "{log}");
    // What the engine executes for this test has the container's environment until `env -i` has dropped it.
    let ours = |line: &str| line.contains(": environ of env -i ");
    let found = lines.into_iter().filter(|line| line.contains(" holds ") && !is_decoy(line) && !ours(line));
    // A file that is about to take its place.
    found.map(|line| line.replace(".gantry-new", "")).collect()
}

#[test]
fn a_workspace_with_everything_shows_no_secret() {
    for way in [Way::Value, Way::File] {
        let (outside, key) = (Outside::start(&[22]), Key::new());
        let recipe = watched(outside.runner("aws")).set("AUTHORIZED_KEYS", &key.public()).set("WORKSPACE_SUDO", "off");
        let recipe = recipe.set("ANSIBLE_REPO_URL", &format!("{ORIGIN}/git/o/private.git"));
        let recipe = secret(secret(recipe, way, "GITHUB_TOKEN", CLONE), way, "GITHUB_RUNNER_PAT", PAT);
        let recipe = IDLE.iter().fold(recipe, |recipe, name| secret(recipe, way, name, &format!("canary-{name}-idle")));
        let container = recipe.start();
        // Start.
        container.until("clone", |container| container.does("1000", "test -e ~ansible/private/.git/HEAD").then_some(()));
        outside.until("online runner", |list| list.len() == 1 && list[0].1 == "online");
        let over = container.does("1001", "! grep -s -l -a '[c]anary-REGISTRATION' /proc/[0-9]*/environ");
        assert!(over, "the registration token outlives the registration");
        // Work: a job, a session, git, orders.
        let job = "env > environment; cat /proc/*/environ /proc/*/cmdline > processes 2>/dev/null; sleep 1; touch over";
        assert!(container.does("1001", &format!("cd /opt/actions-runner && echo '{job}' > job.new && mv job.new job")));
        container.until("job", |container| container.does("1001", "test -e /opt/actions-runner/over").then_some(()));
        container.logged("sshd: ready");
        let port = outside.port(22);
        let session =
            key.prints(port, "env; cd private && git status && cat .git/config; entrypoint status; entrypoint logs runner");
        assert!(!session.contains("canary-"), "{session}");
        assert!(!key.run(port, "sudo -n true").status.success(), "the workspace's user can become root");
        for path in ["/home/ansible/private/.git/config", "/opt/actions-runner/.env", "/home/ansible/runner.log"] {
            let text = container.sh("root", &format!("cat {path}"));
            assert!(!text.contains("canary-"), "{path}: {text}");
        }
        container.sh("root", "kill -9 $(pgrep -P 1 -x sshd)");
        container.logged("starts again");
        // Stop.
        assert_eq!(container.stop(), 0, "{}", container.log());
        assert_eq!(outside.runners(), [], "{}", container.log());
        // The one exception: the registration token, for the jobs' user, in the environment of `config.sh` and what that runs.
        let (exception, found): (Vec<_>, Vec<_>) = found(&container)
            .into_iter()
            .partition(|line| line.starts_with("watcher 1001: environ of ") && line.ends_with(" holds REGISTRATION"));
        assert_eq!(found, [""; 0], "{way:?}: {}", container.log());
        assert!(!exception.iter().any(|line| line.contains("Runner.Listener") || line.contains(" job ")), "{exception:?}");
    }
}

#[test]
fn the_coder_agents_token_is_seen_by_its_user_alone_and_only_in_its_file() {
    for way in [Way::Value, Way::File] {
        let outside = Outside::start(&[]);
        let recipe = watched(outside.runner("aws-web")).set("CODER_AGENT_URL", ORIGIN).set("VSCODE_WEB", "1");
        let recipe =
            secret(secret(recipe, way, "GITHUB_RUNNER_PAT", PAT), way, "CODER_AGENT_TOKEN", "canary-CODER_AGENT_TOKEN-1");
        // What the agent's double does.
        let script = "import time\nprint('the agent runs', flush=True)\nwhile True: time.sleep(0.1)\n";
        let container = recipe.file("/home/ansible/agent", 1000, 0o644, script).start();
        container.logged("the agent runs");
        container.logged("web: ready");
        outside.until("online runner", |list| list.len() == 1 && list[0].1 == "online");
        // The document's path.
        assert!(container.sh("1000", "/tmp/coder-agent --version").starts_with("Coder"));
        assert_eq!(container.stop(), 0, "{}", container.log());
        assert_eq!(outside.runners(), [], "{}", container.log());
        let found: Vec<_> = found(&container).into_iter().filter(|line| !line.ends_with(" holds REGISTRATION")).collect();
        assert_eq!(found, ["watcher 1000: file of /run/gantry/coder-agent-token holds CODER_AGENT_TOKEN"], "{way:?}");
    }
}

#[test]
fn the_browsers_token_is_seen_by_the_person_alone() {
    for way in [Way::Value, Way::File] {
        let outside = Outside::start(&[]);
        let recipe = watched(outside.runner("aws-web")).set("VSCODE_WEB", "1");
        let token = "canary-VSCODE_WEB_TOKEN-1";
        let recipe = secret(secret(recipe, way, "GITHUB_RUNNER_PAT", PAT), way, "VSCODE_WEB_TOKEN", token);
        let container = recipe.start();
        container.logged("web: ready");
        outside.until("online runner", |list| list.len() == 1 && list[0].1 == "online");
        assert_eq!(container.stop(), 0, "{}", container.log());
        let found: Vec<_> = found(&container).into_iter().filter(|line| !line.ends_with(" holds REGISTRATION")).collect();
        // The server's settings, and what `entrypoint web-url` prints.
        let own = ["code-server.yaml", "web-url"]
            .map(|file| format!("watcher 1000: file of /run/gantry/{file} holds VSCODE_WEB_TOKEN"));
        assert_eq!(found, own, "{way:?}");
    }
}

#[test]
fn neither_an_apps_key_nor_a_registration_token_shows() {
    let key = std::process::Command::new("openssl").args(["genrsa", "2048"]).output().expect("openssl runs").stdout;
    let key = String::from_utf8(key).expect("text");
    let app = [("GITHUB_APP_ID", "7"), ("GITHUB_APP_PRIVATE_KEY", key.trim())];
    for way in [Way::Value, Way::File] {
        for given in [&app[..], &[("GITHUB_RUNNER_TOKEN", REGISTRATION)]] {
            let outside = Outside::start(&[]);
            let recipe = watched(outside.runner("aws")).set("AUTHORIZED_KEYS", &Key::new().public());
            let recipe = given.iter().fold(recipe, |recipe, (name, value)| match *name {
                "GITHUB_APP_ID" => recipe.set(name, value),
                _ => secret(recipe, way, name, value),
            });
            let container = recipe.start();
            outside.until("online runner", |list| list.len() == 1 && list[0].1 == "online");
            assert_eq!(container.stop(), 0, "{}", container.log());
            assert_eq!(outside.runners(), [], "{}", container.log());
            // The registration token, while `config.sh` runs.
            let exception =
                |line: &String| line.starts_with("watcher 1001: environ of ") && line.ends_with(" holds REGISTRATION");
            let found: Vec<_> = found(&container).into_iter().filter(|line| !exception(line)).collect();
            assert_eq!(found, [""; 0], "{way:?} {}: {}", given[0].0, container.log());
        }
    }
}
