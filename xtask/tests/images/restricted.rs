//! Started with next to no rights, as Kubernetes' restricted pods and OpenShift do it.

use crate::docker::{Recipe, docker, try_docker};
use crate::family::image;
use crate::outside::{Outside, PAT};
use crate::ssh::Key;

/// No capabilities, nothing that gains rights, a root that nobody can write to, a /tmp from which nothing is executed.
fn restricted(recipe: Recipe, user: &str) -> Recipe {
    let uid = user.split(':').next().unwrap_or_default();
    let home = format!("/home/ansible:exec,mode=0700,uid={uid}");
    let recipe = recipe.options(&["--user", user, "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--read-only"]);
    recipe.options(&["--tmpfs", "/tmp:noexec", "--tmpfs", &home])
}

#[test]
fn ssh_works_for_the_workspaces_user_and_for_any_other_uid() {
    for user in ["1000", "123456:0"] {
        let key = Key::new();
        let recipe = Recipe::new(&image("aws")).set("AUTHORIZED_KEYS", &key.public()).set("SSH_PORT", "2222").set("MY_OWN", "1");
        let container = restricted(recipe, user).publish(2222).start().healthy();
        let port = container.port(2222);
        let script = "id -u; whoami; pwd; echo $MY_OWN; touch file && git config --global user.name me && echo written";
        let uid = user.split(':').next().unwrap_or_default();
        assert_eq!(key.prints(port, script), format!("{uid}\nansible\n/home/ansible\n1\nwritten\n"));
        assert!(key.prints(port, "ansible --version").starts_with("ansible [core"));
        let refused = key.ssh(port, "root").arg("true").output().expect("ssh runs");
        assert!(!refused.status.success());
        assert!(key.prints(port, "entrypoint status").contains("sshd"), "{}", container.log());
        assert_eq!(container.stop(), 0, "{}", container.log());
    }
}

#[test]
fn a_browser_is_served() {
    for user in ["1000", "123456:0"] {
        let recipe = Recipe::new(&image("aws-web")).set("VSCODE_WEB", "1");
        let container = restricted(recipe, user).start().healthy();
        container.sh(user, "curl --silent --fail http://127.0.0.1:8080/healthz");
        assert_eq!(container.stop(), 0, "{}", container.log());
    }
}

#[test]
fn a_runner_runs_from_a_folder_that_can_be_written_to() {
    let outside = Outside::start(&[]);
    let recipe = outside.workspace("aws").set("AUTHORIZED_KEYS", &Key::new().public()).set("SSH_PORT", "2222");
    let recipe = recipe.set("GITHUB_RUNNER_URL", &format!("{}/o/r", crate::outside::ORIGIN)).set("GITHUB_RUNNER_PAT", PAT);
    // A read-only container takes no files: the runner is on a volume.
    let volume = outside.runner_volume();
    // Nor does the engine's health check, a process with the whole environment, come in between.
    let recipe = restricted(recipe, "1000").options(&["--no-healthcheck", &volume.at("/opt/actions-runner:ro")]);
    let container = recipe.start();
    container.logged("sshd: ready");
    outside.until("online runner", |list| list.len() == 1 && list[0].1 == "online");
    // Nobody but the kernel is between a job and the entrypoint here: it is the same user.
    let look = "grep -s -l -a '[c]anary-' /proc/[0-9]*/environ /proc/[0-9]*/cmdline; find /proc/[0-9]*/fd -lname '/memfd:*'; \
                for process in /proc/[0-9]*; do read -r word < $process/comm; \
                case $word in entrypoint|exe) echo one >&3; head -c 1 $process/maps;; esac; done; true";
    let found = container.sh("1000", &format!("{{ {look}; }} 2> /dev/null 3>&1"));
    // PID 1 and the runner's worker are there (and perhaps what is about to become another program), and show nothing.
    assert!(found.lines().count() >= 2 && found.lines().all(|line| line == "one"), "{found}\n{}", container.log());
    assert_eq!(container.stop(), 0, "{}", container.log());
    assert_eq!(outside.runners(), [], "{}", container.log());
}

#[test]
fn what_is_missing_is_said_at_once() {
    let recipe = Recipe::new(&image("aws")).set("AUTHORIZED_KEYS", &Key::new().public()).set("SSH_PORT", "22");
    let container = recipe.options(&["--user", "123456:0", "--read-only", "--cap-drop", "ALL"]).start();
    assert_ne!(container.ended(), 0);
    let log = container.log();
    for text in ["`/home/ansible` cannot be written to", "--tmpfs /tmp"] {
        assert!(log.contains(text), "{text}: {log}");
    }
}

#[test]
fn settings_are_tried_without_starting_anything() {
    let run = |arguments: &[&str]| try_docker(&[&["run", "--rm"], arguments].concat());
    let image = image("aws");
    let (good, text) = run(&["--env", &format!("AUTHORIZED_KEYS={}", Key::new().public()), &image, "check"]);
    assert!(good && text.contains("sshd"), "{text}");
    let (good, text) = run(&["--env", "AUTHORIZED_KEYS=nonsense", "--env", "STOP_GRACE_SECONDS=x", &image, "check"]);
    assert!(!good && text.contains("AUTHORIZED_KEYS") && text.contains("STOP_GRACE_SECONDS"), "{text}");
    assert!(docker(&["run", "--rm", &image, "--help"]).contains("AUTHORIZED_KEYS"));
}

#[test]
fn a_running_container_is_asked_and_given_orders() {
    let outside = Outside::start(&[]);
    let recipe = outside.runner("aws").set("AUTHORIZED_KEYS", &Key::new().public()).set("GITHUB_RUNNER_PAT", PAT);
    let container = recipe.set("GITHUB_RUNNER_AUTOSTART", "off").start().healthy();
    // The workspace's user may ask, and start what waits for that, as a workspace's template does.
    let status = |user| {
        let text = container.sh(user, "entrypoint status --json");
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON")
    };
    let names: Vec<_> = status("1000")["services"].as_array().expect("a list").iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["sshd", "runner"], "{}", status("1000"));
    assert_eq!(outside.runners(), []);
    container.sh("1000", "entrypoint start runner");
    outside.until("online runner", |list| list.len() == 1 && list[0].1 == "online");
    let lines = container.sh("1000", "timeout 60 entrypoint logs -f runner | grep -m 1 registered");
    assert!(lines.contains("registered as"), "{lines}");
    container.sh("1000", "entrypoint healthcheck");
    container.sh("1000", "entrypoint stop runner");
    outside.until("empty list", <[_]>::is_empty);
    assert_eq!(container.stop(), 0, "{}", container.log());
}
