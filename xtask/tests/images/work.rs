//! What runs beside the access: the clone of a private repository, the GitHub runner.

use crate::docker::{Recipe, Volume};
use crate::outside::{CLONE, ORIGIN, Outside, PAT};
use crate::sockets;
use crate::ssh::Key;

/// With a service that gives access.
fn with_sshd(recipe: Recipe, port: u16) -> Recipe {
    recipe.set("AUTHORIZED_KEYS", &Key::new().public()).set("SSH_PORT", &port.to_string())
}

#[test]
fn a_private_repository_is_cloned_with_the_token_and_no_trace_of_it() {
    let outside = Outside::start(&[]);
    let recipe = with_sshd(outside.workspace("aws"), 22).set("ANSIBLE_REPO_URL", &format!("{ORIGIN}/git/o/private.git"));
    let container = recipe.set("GITHUB_TOKEN", CLONE).start().healthy();
    container.until("clone", |container| container.attempt("1000", "test -e ~ansible/private/.git/HEAD").0.then_some(()));
    let own = |script: &str| container.sh("1000", &format!("cd ~ansible/private && {script}"));
    assert_eq!(own("git log --format=%s"), "first\n");
    assert_eq!(own("git status --porcelain --branch"), "## main...origin/main\n");
    assert_eq!(own("git remote get-url origin"), format!("{ORIGIN}/git/o/private.git\n"));
    assert_eq!(own("grep -r -s -l canary .git /home/ansible/.git* || true"), "");
    assert_eq!(container.stop(), 0, "{}", container.log());
}

#[test]
fn a_repository_that_cannot_be_cloned_is_said_and_disturbs_nothing() {
    let outside = Outside::start(&[]);
    let recipe = with_sshd(outside.workspace("aws"), 22).set("ANSIBLE_REPO_URL", &format!("{ORIGIN}/git/o/private.git"));
    let container = recipe.set("GITHUB_TOKEN", "canary-WRONG-token").start();
    container.logged("sshd: ready");
    container.logged("repository: ");
    let log = container.log();
    assert!(!log.contains("canary"), "{log}");
    assert!(container.attempt("1000", "test ! -e ~ansible/private").0, "half a clone: {log}");
    assert_eq!(container.stop(), 0, "{}", container.log());
}

#[test]
fn a_runner_registers_works_and_leaves() {
    let outside = Outside::start(&[]);
    let recipe = with_sshd(outside.runner("aws"), 22).set("GITHUB_RUNNER_PAT", PAT).set("GITHUB_RUNNER_NAME", "one");
    let container = recipe.start().healthy();
    outside.until("online runner", |list| list == [("one".into(), "online".into(), false)]);
    let job = "id -un > result; env > environment; sleep 0.3; touch over";
    container.sh("1001", &format!("cd /opt/actions-runner && echo '{job}' > job.new && mv job.new job"));
    container.until("job", |container| container.attempt("1001", "test -e /opt/actions-runner/over").0.then_some(()));
    assert_eq!(container.sh("1001", "cat /opt/actions-runner/result"), "runner\n");
    let environment = container.sh("1001", "cat /opt/actions-runner/environment");
    assert!(environment.contains("HOME=/home/runner\n") && !environment.contains("canary"), "{environment}");
    // Its output is the workspace user's to read.
    container.until("output", |container| {
        let output = container.sh("1000", "cat ~ansible/runner.log");
        (output.contains("Listening for Jobs") && output.contains("Running job: build")).then_some(())
    });
    assert!(container.sh("1000", "entrypoint status").contains("runner"), "{}", container.log());
    assert_eq!(container.stop(), 0, "{}", container.log());
    assert_eq!(outside.runners(), [], "{}", container.log());
}

#[test]
fn a_runner_that_is_killed_with_its_container_is_replaced_by_the_next() {
    let outside = Outside::start(&[]);
    let start = || {
        let recipe = with_sshd(outside.runner("aws"), 22).set("GITHUB_RUNNER_PAT", PAT).set("GITHUB_RUNNER_NAME", "one");
        let container = recipe.start();
        outside.until("online runner", |list| list == [("one".into(), "online".into(), false)]);
        container
    };
    let first = start();
    crate::docker::docker(&["kill", &first.name]);
    // GitHub finds out after a while.
    outside.forget("one");
    drop(first);
    let second = start();
    assert_eq!(second.stop(), 0, "{}", second.log());
    assert_eq!(outside.runners(), [], "{}", second.log());
}

#[test]
fn the_new_container_of_a_rolling_update_is_safe_from_the_old_one() {
    let outside = Outside::start(&[]);
    // Both have the same name by nature: that of the host.
    let start = |port| with_sshd(outside.runner("aws"), port).set("GITHUB_RUNNER_PAT", PAT).start();
    let old = start(22);
    outside.until("the old one", |list| list.iter().filter(|(_, status, _)| status == "online").count() == 1);
    let name = outside.runners()[0].0.clone();
    let new = start(2222);
    outside.until("both", |list| list.iter().filter(|(_, status, _)| status == "online").count() == 2);
    assert_eq!(old.stop(), 0, "{}", old.log());
    let left = outside.runners();
    assert!(left.len() == 1 && left[0].0 != name && left[0].0.starts_with(&name) && left[0].1 == "online", "{left:?}");
    assert_eq!(new.stop(), 0, "{}", new.log());
    assert_eq!(outside.runners(), [], "{}", new.log());
}

#[test]
fn the_jobs_user_gets_neither_at_the_persons_files_nor_at_what_they_run() {
    let outside = Outside::start(&[8080]);
    let volume = Volume::new();
    let recipe = with_sshd(outside.runner("aws-web"), 22).set("GITHUB_RUNNER_PAT", PAT).set("VSCODE_WEB", "1");
    let container = recipe.set("VSCODE_WEB_TOKEN", "only-for-the-person").set("PERSIST_DIR", "/persist");
    let container = container.options(&[&volume.at("/persist")]).start().healthy();
    outside.until("online runner", |list| list.len() == 1 && list[0].1 == "online");
    // An agent of the person's, as ssh forwards it.
    let agent = container.sh("1000", "mkdir -m 700 /tmp/ssh-person && ssh-agent -a /tmp/ssh-person/agent.1");
    assert!(agent.contains("SSH_AGENT_PID"), "{agent}");

    for folder in ["/home/ansible", "/home/ansible/.ssh", "/persist/.ssh", "/root", "/tmp/ssh-person"] {
        let (readable, text) = container.attempt("1001", &format!("ls {folder}"));
        assert!(!readable, "{folder}: {text}");
    }
    let web = container.attempt("1001", "cat /run/gantry/code-server.yaml");
    assert!(!web.0 && !web.1.contains("only-for"), "{}", web.1);
    let person = sockets::as_seen_by(&container, "1000");
    for name in ["control.sock answers", "code-server-ipc.sock", "agent.1"] {
        assert!(person.contains(name), "{name}: {person}");
    }
    sockets::assert_closed_to(&container, "1001");
    let (status, text) = container.attempt("1001", "entrypoint status");
    assert!(!status && !text.contains("web"), "{text}");
    let (sudo, text) = container.attempt("1001", "sudo -n true");
    assert!(!sudo, "{text}");
    assert_eq!(container.stop(), 0, "{}", container.log());
}
