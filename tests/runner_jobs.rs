//! Whom the GitHub runner's jobs run as, and in which folder.

mod container;
mod doubles;
mod github;

use container::Container;
use github::{GitHub, LISTENER, leaves, online, status, with_pat};

/// Whom the job of the online runner `fixed` runs as.
fn job_user(container: &Container, github: &GitHub, folder: &str) -> String {
    online(container, github, &["fixed"]);
    github.job("fixed", "build");
    let file = format!("{folder}/_work/user");
    container.until("a job", |container| {
        let text = container.sh(&format!("cat {file} 2>/dev/null || true"));
        text.ends_with('\n').then(|| text.trim().to_owned())
    })
}

#[test]
fn jobs_run_as_a_user_of_their_own_and_never_gain_rights() {
    let (setup, github) = with_pat();
    let container = setup.set("GITHUB_RUNNER_USER", "").start().healthy();
    assert_eq!(job_user(&container, &github, "/opt/actions-runner"), "1001");
    let status = container.sh(&format!("cat /proc/$({LISTENER})/status"));
    assert!(status.contains("NoNewPrivs:\t1"), "{status}");
    assert!(!container.log().contains("the workspace's own user"), "{}", container.log());
    leaves(container, &github);

    let (setup, github) = with_pat();
    let container = setup.set("GITHUB_RUNNER_USER", "ansible").start().healthy();
    container.logged("jobs run as `ansible`, the workspace's own user: a job can do and read everything");
    // The runner's folder is not theirs: they work in a copy.
    assert_eq!(job_user(&container, &github, "/home/ansible/actions-runner"), "1000");
    leaves(container, &github);
}

#[test]
fn a_runner_whose_folder_is_read_only_works_in_a_copy() {
    let read_only = "mount --bind /opt/actions-runner /opt/actions-runner; mount -o remount,bind,ro /opt/actions-runner";
    let (setup, github) = with_pat();
    let container = setup.before(read_only).start().healthy();
    container.logged("it runs from `/home/runner/actions-runner`");
    assert_eq!(job_user(&container, &github, "/home/runner/actions-runner"), "1001");
    assert_eq!(container.sh("readlink /home/runner/actions-runner/externals"), "/opt/actions-runner/externals\n");
    leaves(container, &github);

    let (setup, github) = with_pat();
    let volume = "install -d -o 1001 /run/volume; mount --bind /home/runner /home/runner; mount -o remount,bind,ro /home/runner";
    let setup = setup.before(read_only).before(volume).set("GITHUB_RUNNER_WORKDIR", "/run/volume");
    let container = setup.start().healthy();
    container.logged("it runs from `/run/volume/.actions-runner`");
    online(&container, &github, &["fixed"]);
    leaves(container, &github);

    // An ephemeral one empties the folder for each job, and neither itself nor what a volume has is in the way.
    let (setup, github) = with_pat();
    let found = "install -d -m 700 /run/volume/lost+found; touch /run/volume/lost+found/1";
    let setup = setup.before(read_only).before(volume).before(found).set("GITHUB_RUNNER_WORKDIR", "/run/volume");
    let container = setup.set("GITHUB_RUNNER_EPHEMERAL", "1").start().healthy();
    container.logged("it runs from `/run/volume/.actions-runner`");
    for id in [21, 22] {
        container.until("a runner", |_| (github.runners().first().is_some_and(|r| r.id == id && r.online)).then_some(()));
        github.job("fixed", "build");
        container.until("the job", |container| status(container).contains("runs job build").then_some(()));
        github.finish("fixed");
    }
    container.until("a third runner", |_| (github.runners().first().is_some_and(|r| r.id == 23 && r.online)).then_some(()));
    leaves(container, &github);

    // Where nothing can be executed, nothing is copied to.
    let (setup, _github) = with_pat();
    let noexec = "mount -o remount,noexec /tmp; mount --bind /home/runner /home/runner; mount -o remount,bind,ro /home/runner";
    let container = setup.before(read_only).before(noexec).start().healthy();
    container.logged("nothing can be executed there (`noexec`)");
    container.logged("set GITHUB_RUNNER_WORKDIR to a folder on a volume without `noexec`");
}

#[test]
fn what_a_job_left_in_the_place_of_the_configuration_goes() {
    let (setup, github) = with_pat();
    let left = "cd /opt/actions-runner; install -d -o 1001 .credentials .credentials/x; mkfifo .runner; ln -s / .runner_migrated
                chmod 500 .credentials";
    // And it may have closed its work folder to itself.
    let work = "install -d -m 500 -o 1001 /run/work";
    let container = setup.before(left).before(work).set("GITHUB_RUNNER_WORKDIR", "/run/work").start().healthy();
    online(&container, &github, &["fixed"]);
    leaves(container, &github);
}

#[test]
fn an_ordinary_user_runs_jobs_and_is_told_what_that_means() {
    let (setup, github) = with_pat();
    let container = setup.launch("cd /; exec setpriv --reuid=1000 --regid=1000 --clear-groups ENTRYPOINT").start();
    container.logged("jobs run as `ansible`, the workspace's own user");
    assert_eq!(job_user(&container, &github, "/home/ansible/actions-runner"), "1000");
    leaves(container, &github);
}
