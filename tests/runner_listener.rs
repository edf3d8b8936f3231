//! The runner's listener: its exit codes, its output, and what is done about either.

mod container;
mod doubles;
mod github;

use container::Container;
use github::{GitHub, LISTENER, leaves, online, status, with_pat};

/// Waits until the runner with this id is online.
fn registered(container: &Container, github: &GitHub, id: u64) {
    container.until(&format!("runner {id}"), |_| {
        let runners = github.runners();
        (runners.len() == 1 && runners[0].id == id && runners[0].online).then_some(())
    });
}

#[test]
fn what_can_be_run_again_is_run_again_with_the_same_registration() {
    let (setup, github) = with_pat();
    github.exits(&[6, 2, 3, 4]);
    let container = setup.start().healthy();
    for text in [
        "ended with exit code 6: its configuration was refreshed; runs again in 1 s",
        "ended with exit code 2: it asks to be started again; runs again in 5 s",
        "ended with exit code 3: it has updated itself; runs again in 10 s",
        "ended with exit code 4: it has updated itself; runs again in 10 s",
    ] {
        container.logged(text);
    }
    registered(&container, &github, 21);
    leaves(container, &github);
}

#[test]
fn what_ends_for_good_is_removed_and_registered_anew_and_never_floods_the_list() {
    let (setup, github) = with_pat();
    github.exits(&[1, 5, 42, 0]);
    let container = setup.start().healthy();
    for (id, text) in [
        (21, "ended with exit code 1: it cannot run"),
        (22, "ended with exit code 5: another runner has a session"),
        (23, "ended with exit code 42: it failed"),
        (24, "ended with exit code 0: it ended by itself"),
    ] {
        container.logged(text);
        container.logged(&format!("removed `fixed` (id {id}) from GitHub"));
    }
    registered(&container, &github, 25);
    assert_eq!(github.most(), 1);
    leaves(container, &github);
}

#[test]
fn a_runner_that_github_forgot_registers_again() {
    let (setup, github) = with_pat();
    let container = setup.start().healthy();
    online(&container, &github, &["fixed"]);
    github.forget("fixed");
    container.logged("ended with exit code 0: GitHub has removed its registration");
    registered(&container, &github, 22);
    leaves(container, &github);
}

#[test]
fn a_runner_that_is_too_old_says_what_helps_and_leaves_the_list() {
    let (setup, github) = with_pat();
    github.exits(&[7, 7, 7]);
    let container = setup.start().healthy();
    container.logged("error: runner: ");
    container.logged("GitHub does not take this version of the runner any more: '2.337.0'");
    container.logged("move the pin `github-runner` in variants.toml");
    container.until("an empty list", |_| github.names().is_empty().then_some(()));
    let told = "waits to try again: GitHub does not take this version";
    container.until(told, |container| status(container).contains(told).then_some(()));
    leaves(container, &github);
    assert_eq!(github.count("POST", "registration-token"), 1, "it is not tried again and again");
}

#[test]
fn its_output_is_in_the_workspace_and_not_in_the_containers_log() {
    let (setup, github) = with_pat();
    let container = setup.start().healthy();
    container.logged("runner: ready");
    let file = "/home/ansible/runner.log";
    assert!(container.sh(&format!("cat {file}")).contains("Settings Saved.\n"));
    assert!(container.sh(&format!("cat {file}")).contains("Z: Listening for Jobs\n"));
    assert_eq!(container.sh(&format!("stat -c '%a %U' {file}")), "640 ansible\n");
    assert!(!container.log().contains("Listening for Jobs"), "{}", container.log());
    assert!(container.sh(&format!("{} logs runner", container::ENTRYPOINT)).contains("Listening for Jobs"));
    // Somebody cleans up; and something has grown.
    container.sh(&format!("rm {file}"));
    github.job("fixed", "one");
    container.until("the job", |container| status(container).contains("runs job one").then_some(()));
    github.finish("fixed");
    container.until("the file", |container| container.sh(&format!("cat {file} || true")).contains("Succeeded").then_some(()));
    container.sh(&format!("truncate -s 10M {file}"));
    github.job("fixed", "two");
    container.until("the old file", |container| container.sh(&format!("ls {file}.1 || true")).starts_with(file).then_some(()));
    leaves(container, &github);
}

#[test]
fn its_output_is_in_the_containers_log_when_that_is_asked_for() {
    let (setup, github) = with_pat();
    let container = setup.set("RUNNER_DEBUG", "1").start().healthy();
    container.logged("Z: Listening for Jobs");
    assert_eq!(container.sh("ls /home/ansible/runner.log 2>/dev/null || true"), "");
    assert!(container.sh(&format!("{} logs runner", container::ENTRYPOINT)).contains("Listening for Jobs"));
    let variables = container.sh(&format!("tr '\\0' '\\n' < /proc/$({LISTENER})/environ"));
    assert!(!variables.contains("RUNNER_DEBUG"), "it means something to jobs: {variables}");
    leaves(container, &github);
}

#[test]
fn a_link_in_the_place_of_its_log_leads_nowhere() {
    let (setup, github) = with_pat();
    let link = "touch /run/victim; ln -s /run/victim /home/ansible/runner.log";
    let container = setup.before(link).start().healthy();
    container.logged("its output is only in `entrypoint logs runner`: `/home/ansible/runner.log`");
    container.logged("runner: ready");
    assert_eq!(container.sh("cat /run/victim"), "");
    leaves(container, &github);
}
