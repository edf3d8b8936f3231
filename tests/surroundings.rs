//! Surroundings that are not the usual ones: streams that nobody reads, a `/proc` that hides, any grace.

mod container;
mod doubles;
mod github;

use container::{ENTRYPOINT, Setup, server};

#[test]
fn streams_that_take_nothing_are_no_hindrance() {
    let gone = "mkfifo /run/pipe; true </run/pipe & exec ENTRYPOINT >/run/pipe 2>&1";
    for launch in ["exec ENTRYPOINT <&- >&- 2>&-", "exec ENTRYPOINT >/dev/full 2>/dev/full", gone] {
        let container = Setup::web(&server("")).launch(launch).start().healthy();
        let (status, _) = container.stop();
        assert_eq!(status.code(), Some(0), "{launch}");
    }
}

#[test]
fn who_ignored_the_deaths_of_children_before_does_not_matter() {
    let ignoring = "exec perl -e '$SIG{CHLD} = \"IGNORE\"; exec \"ENTRYPOINT\"'";
    let (status, log) = Setup::web("exit 7;").launch(ignoring).run();
    assert_eq!(status.code(), Some(7), "{log}");
}

#[test]
fn a_proc_that_hides_others_is_no_hindrance() {
    let unprivileged = "cd /; exec setpriv --reuid=1000 --regid=1000 --clear-groups ENTRYPOINT";
    for launch in ["exec ENTRYPOINT", unprivileged] {
        let container = Setup::web(&server("")).before("mount -o remount,hidepid=2 /proc").launch(launch).start().healthy();
        assert!(container.sh(&format!("{ENTRYPOINT} status")).contains("\nweb      ready "), "{}", container.log());
        let (status, log) = container.stop();
        assert_eq!(status.code(), Some(0), "{launch}: {log}");
    }
}

#[test]
fn a_runner_leaves_in_time_whatever_the_grace() {
    for grace in ["1", "3600"] {
        let (setup, github) = github::with_pat();
        let container = setup.set("STOP_GRACE_SECONDS", grace).start().healthy();
        github::online(&container, &github, &["fixed"]);
        github::leaves(container, &github);
    }
}
