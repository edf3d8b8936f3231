//! The GitHub runner gets off GitHub's list, whichever way it goes.

mod container;
mod doubles;
mod github;

use container::{Setup, server};
use doubles::Answer;
use github::{LISTENER, PAT, WORKER, leaves, online, status, with_pat, with_runner_of};
use nix::sys::signal::Signal;

#[test]
fn an_idle_runner_is_off_the_list_before_anything_else_ends() {
    let (setup, github) = with_pat();
    // A listener that does not want to end.
    let container = setup.before("touch /home/runner/stubborn").start().healthy();
    online(&container, &github, &["fixed"]);
    let log = leaves(container, &github);
    let at = |text: &str| log.find(text).unwrap_or_else(|| panic!("{text}: {log}"));
    let removed = at("removed `fixed` (id 21) from GitHub");
    assert!(removed < at("the listener does not end and is killed"), "the listener still lives: {log}");
    assert!(removed < at("stopped: "), "{log}");
}

#[test]
fn a_running_job_may_end_first() {
    let (setup, github) = with_pat();
    let container = setup.set("STOP_GRACE_SECONDS", "60").start().healthy();
    online(&container, &github, &["fixed"]);
    github.job("fixed", "build");
    container.until("the job", |container| status(container).contains("runs job build").then_some(()));
    container.signal(Signal::SIGTERM);
    container.logged("a job is running: it has");
    assert_eq!(github.names(), ["fixed"]);
    github.finish("fixed");
    let log = leaves(container, &github);
    assert!(!log.contains("cancelled"), "{log}");
}

#[test]
fn a_job_that_does_not_end_is_cancelled_and_the_runner_removed() {
    let (setup, github) = with_pat();
    let container = setup.set("RUNNER_DEBUG", "1").start().healthy();
    online(&container, &github, &["fixed"]);
    github.job("fixed", "build");
    container.until("the job", |container| status(container).contains("runs job build").then_some(()));
    let log = leaves(container, &github);
    for text in ["a job is running: it has", "the running job is cancelled", "removed `fixed` (id 21) from GitHub"] {
        assert!(log.contains(text), "{text}: {log}");
    }
    // That is the listener's business, which knows how to ask a job.
    assert!(log.contains("the step is cancelled") && !log.contains("the step is terminated"), "{log}");
}

#[test]
fn a_listener_that_crashes_or_is_killed_leaves_nothing_on_the_list() {
    for end in ["kill -9", "kill -SEGV", "exit 1", "exit 42", "exit 5", "exit 0"] {
        let (setup, github) = with_pat();
        let container = setup.start().healthy();
        match end.split_once(' ') {
            Some(("exit", code)) => {
                container.logged("runner: ready");
                github.exits(&[code.parse().unwrap()]);
                // Connects again, and is sent away.
                online(&container, &github, &["fixed"]);
                container.sh(&format!("{} restart runner", container::ENTRYPOINT));
            }
            _ => {
                online(&container, &github, &["fixed"]);
                container.sh(&format!("{end} $({LISTENER})"));
            }
        }
        container.logged("the listener ended with");
        container.until("a new registration", |_| {
            let runners = github.runners();
            runners.first().is_some_and(|runner| runner.id > 21 && runner.online).then_some(())
        });
        assert_eq!(github.most(), 1, "{end}");
        leaves(container, &github);
    }
}

#[test]
fn a_worker_that_is_killed_is_started_again_and_cleans_up() {
    let (setup, github) = with_pat();
    let container = setup.start().healthy();
    online(&container, &github, &["fixed"]);
    github.job("fixed", "build");
    container.until("the job", |container| container.sh("pgrep -f '^sleep 2000' || true").contains('\n').then_some(()));
    let listener = container.sh(LISTENER);
    container.sh(&format!("kill -9 $({WORKER})"));
    container.logged("removed `fixed` (id 21) from GitHub");
    container.until("a new registration", |_| {
        let runners = github.runners();
        runners.first().is_some_and(|runner| runner.id == 22 && runner.online).then_some(())
    });
    assert_ne!(container.sh(LISTENER), listener, "the old one went with its worker");
    assert_eq!(container.sh("pgrep -f '^sleep 2000' || true"), "", "and so did the job");
    leaves(container, &github);
}

#[test]
fn a_worker_that_is_killed_while_it_registers_leaves_nothing() {
    for place in ["POST registration-token", "register", "registered", "session"] {
        let (setup, github) = with_pat();
        github.hold(place);
        let container = setup.start().healthy();
        container.until(place, |_| github.arrived(place).then_some(()));
        let programs = container.sh("pgrep -f '^/usr/bin/perl .*(config.sh|Runner.Listener)' || true");
        container.sh(&format!("kill -9 $({WORKER})"));
        container.until("the end of what it had started", |container| {
            let left = container.sh("pgrep -f '^/usr/bin/perl .*(config.sh|Runner.Listener)' || true");
            programs.lines().all(|pid| !left.lines().any(|other| other == pid)).then_some(())
        });
        github.release();
        container.until("a runner", |_| {
            let runners = github.runners();
            (runners.len() == 1 && runners[0].online && runners[0].name == "fixed").then_some(())
        });
        assert!(github.most() <= 2, "{place}");
        leaves(container, &github);
    }
}

#[test]
fn a_container_that_was_killed_cleans_up_when_it_is_started_again() {
    // What stays of a container in its file system: the record, and the configuration.
    let (setup, github) = with_pat();
    let old = github.plant("fixed-000001", true, false);
    let record = format!(
        r#"[{{"list":"http://127.0.0.1:7000/repos/o/r/actions/runners","name":"fixed-000001","id":{old},"group":99,"life":1,"since":1}}]"#
    );
    std::fs::write(setup.folder().join("record"), record).unwrap();
    let container = setup
        .before("install -d /run/gantry; install -m 600 /mnt/files/record /run/gantry/runner.json")
        .before("touch /opt/actions-runner/.runner; chown 1001 /opt/actions-runner/.runner")
        .start()
        .healthy();
    container.logged("removed `fixed-000001`");
    online(&container, &github, &["fixed"]);
    assert_eq!(container.sh("stat -c '%a %U' /run/gantry/runner.json"), "600 root\n");
    leaves(container, &github);
}

#[test]
fn what_counts_as_busy_with_a_job_of_before_is_nobody_to_wait_for() {
    let (setup, github) = with_pat();
    let old = github.plant("fixed", false, true);
    let record = format!(
        r#"[{{"list":"http://127.0.0.1:7000/repos/o/r/actions/runners","name":"fixed","id":{old},"group":99,"life":1,"since":1}},
            {{"list":"http://127.0.0.1:7002/repos/o/r/actions/runners","name":"foreign","id":1,"group":99,"life":1,"since":1}}]"#
    );
    std::fs::write(setup.folder().join("record"), record).unwrap();
    let record = "install -d /run/gantry; install -m 600 /mnt/files/record /run/gantry/runner.json";
    let container = setup.before(record).set("STOP_GRACE_SECONDS", "600").start().healthy();
    container.logged("the runner `fixed` (id 21) of before counts as busy");
    container.logged("runner: ready");
    assert!(github.names()[1].starts_with("fixed-"), "{:?}", github.names());
    assert!(!container.sh("cat /run/gantry/runner.json").contains("7002"), "nobody else is asked with our token");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(github.names(), ["fixed"]);
    assert!(log.contains("left behind on GitHub: the runner `fixed` (id 21): GitHub still counts it as busy"), "{log}");
}

#[test]
fn what_is_not_ours_any_more_is_left_alone() {
    let (setup, github) = with_pat();
    let container = setup.start().healthy();
    online(&container, &github, &["fixed"]);
    // The id belongs to somebody with another name now.
    github.rename("fixed", "other");
    container.stop();
    assert_eq!(github.names(), ["other"]);
}

#[test]
fn a_github_that_is_down_at_the_stop_is_asked_until_it_is_up() {
    let (setup, github) = with_pat();
    let container = setup.set("STOP_GRACE_SECONDS", "60").start().healthy();
    online(&container, &github, &["fixed"]);
    github.down(true);
    container.signal(Signal::SIGTERM);
    // It does not wait for GitHub with what it can do alone.
    container.until("the listener's end", |container| container.sh(&format!("{LISTENER} || true")).is_empty().then_some(()));
    assert_eq!(github.names(), ["fixed"]);
    github.down(false);
    leaves(container, &github);
}

#[test]
fn what_could_not_be_removed_is_said() {
    let (setup, github) = with_pat();
    let container = setup.start().healthy();
    online(&container, &github, &["fixed"]);
    github.down(true);
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("left behind on GitHub: the runner `fixed` (id 21): GitHub was not reached"), "{log}");

    let (setup, github) = with_pat();
    let container = setup.set("STOP_GRACE_SECONDS", "600").start().healthy();
    online(&container, &github, &["fixed"]);
    github.accept(&[]);
    // There is no sense in waiting for this one.
    let (_, log) = container.stop();
    assert!(
        log.contains("left behind on GitHub: the runner `fixed` (id 21): to remove the runner: GitHub does not accept"),
        "{log}"
    );
}

#[test]
fn a_token_that_was_renewed_in_its_file_is_the_one_that_removes() {
    let (setup, github) = with_pat();
    let setup = setup.set("GITHUB_RUNNER_PAT", "").set("GITHUB_RUNNER_PAT_FILE", "/run/pat");
    let container = setup.before(&format!("printf '{PAT}\\n' > /run/pat; chmod 600 /run/pat")).start().healthy();
    online(&container, &github, &["fixed"]);
    // A worker that begins with a bad one says so, and has it as soon as it is good.
    container.sh(&format!(": > /run/pat; kill -9 $({WORKER})"));
    container.logged("runner: GITHUB_RUNNER_PAT_FILE names `/run/pat`, which is empty");
    assert!(!container.log().contains("are not set"), "{}", container.log());
    container.sh(&format!("printf '{PAT}\\n' > /run/pat"));
    container.until("its next registration", |_| github.runners().iter().any(|r| r.id == 22 && r.online).then_some(()));
    github.accept(&["renewed"]);
    container.sh("printf 'renewed\\n' > /run/pat");
    leaves(container, &github);
}

#[test]
fn a_stop_in_any_phase_of_the_start_leaves_nothing_on_the_list() {
    let phases = [
        // In front of GitHub: what is being asked when the stop comes.
        ("GET /repos/o/r", "repository"),
        ("GET /actions/runners", "list"),
        ("DELETE /actions/runners/21", "namesake"),
        ("POST registration-token", "token"),
        // In `config.sh`: before and after it is on the list.
        ("register", "before"),
        ("registered", "after"),
        // In the listener.
        ("session", "session"),
        // With a just-in-time configuration.
        ("POST generate-jitconfig", "jit"),
    ];
    for (place, phase) in phases {
        for released in [true, false] {
            let (setup, github) = with_pat();
            if phase == "namesake" {
                github.plant("fixed", false, false);
            }
            let setup = if phase == "jit" { setup.set("GITHUB_RUNNER_EPHEMERAL", "1") } else { setup };
            github.hold(place);
            let container = setup.set("STOP_GRACE_SECONDS", "12").start().healthy();
            container.until(phase, |_| github.arrived(place).then_some(()));
            container.signal(Signal::SIGTERM);
            container.logged("stopping");
            if released {
                github.release();
            }
            let (status, log) = container.stop_only();
            assert_eq!(status.code(), Some(0), "{phase}: {log}");
            // What went through in the end, after everybody has left, is a request of before.
            let left: Vec<_> = github.names().into_iter().filter(|_| phase != "namesake").collect();
            assert_eq!(left, [""; 0], "{phase}, released: {released}: {log}");
            github.release();
        }
    }
}

#[test]
fn a_registration_that_arrives_after_the_stop_is_removed_too() {
    let (setup, github) = with_pat();
    github.hold("register");
    let container = setup.set("STOP_GRACE_SECONDS", "12").start().healthy();
    container.until("the registration", |_| github.arrived("register").then_some(()));
    let looked = github.count("GET", "/actions/runners");
    container.signal(Signal::SIGTERM);
    // `config.sh` is gone by then; what it has sent is not.
    container.until("a look at the list", |_| (github.count("GET", "/actions/runners") > looked).then_some(()));
    github.release();
    let (status, log) = container.stop_only();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(log.contains("removed `fixed` (id 21) from GitHub"), "{log}");
    assert_eq!(github.names(), [""; 0], "{log}");
}

#[test]
fn a_stop_while_it_waits_to_try_again_is_quick_and_clean() {
    let (setup, github) = with_pat();
    github.prepare("POST", "registration-token", 100, Answer::new(403, "{}"));
    let container = setup.set("STOP_GRACE_SECONDS", "600").start().healthy();
    container.logged("GITHUB_RUNNER_PAT needs");
    leaves(container, &github);
}

#[test]
fn an_old_and_a_new_container_with_one_name_do_not_harm_each_other() {
    let (setup, github) = with_pat();
    let old = setup.start().healthy();
    online(&old, &github, &["fixed"]);
    let setup = Setup::web(&server("")).set("GITHUB_RUNNER_PAT", PAT);
    github.listen(setup.network());
    let new = with_runner_of(setup).start().healthy();
    new.logged("runner: ready");
    let (status, log) = old.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    let names = github.names();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(names[0].starts_with("fixed-"), "{names:?}");
    online(&new, &github, &[&names[0]]);
    leaves(new, &github);
}

#[test]
fn a_runner_is_stopped_and_started_while_the_workspace_goes_on() {
    let (setup, github) = with_pat();
    let container = setup.set("GITHUB_RUNNER_AUTOSTART", "0").start().healthy();
    let order = |order: &str| container.sh(&format!("{} {order} runner", container::ENTRYPOINT));
    assert_eq!(github.asked().len(), 0);
    order("start");
    online(&container, &github, &["fixed"]);
    order("stop");
    container.until("an empty list", |_| github.names().is_empty().then_some(()));
    order("start");
    online(&container, &github, &["fixed"]);
    leaves(container, &github);
}
