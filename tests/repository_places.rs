//! Where the clone of `ANSIBLE_REPO_URL` goes: what it finds there, and what an end in the middle leaves.

mod cloning;
mod container;
mod doubles;

use cloning::{CLONED, URL, git, repositories, serve, setup};
use container::Setup;
use doubles::{Answer, Request, Server};
use std::path::Path;
use std::sync::{Arc, Barrier};

/// A setup whose home is a folder of the host, which a second container finds as the first one left it.
fn with_home(setup: Setup, home: &Path) -> Setup {
    std::fs::create_dir_all(home).unwrap();
    std::os::unix::fs::chown(home, Some(1000), Some(1000)).unwrap();
    setup.home(home)
}

#[test]
fn a_clone_that_was_killed_is_not_taken_for_a_whole_one() {
    let ground = Setup::new();
    let home = ground.folder().join("home");
    let repositories = repositories(&ground, None);
    for when in ["info/refs", "git-upload-pack"] {
        let first = with_home(setup(URL), &home);
        let (reached, repositories_then) = (Arc::new(Barrier::new(2)), repositories.clone());
        let at_server = reached.clone();
        let _server = Server::start(first.network().listen(7000), move |request| {
            if request.path.contains(when) {
                at_server.wait();
                std::thread::park();
            }
            repositories_then.answer(request)
        });
        let container = first.start();
        reached.wait();
        container.until("a partial clone", |_| home.join(partial()).exists().then_some(()));
        // SIGKILL to everything.
        drop(container);
        assert!(home.join(partial()).exists() && !home.join("project").exists());

        let second = with_home(setup(URL), &home);
        let _server = serve(&second, repositories.clone());
        let container = second.start();
        container.logged(CLONED);
        assert_eq!(git(&container, "-C project status --short --branch"), "## main...origin/main\n");
        assert!(!home.join(partial()).exists());
        drop(container);
        std::fs::remove_dir_all(home.join("project")).unwrap();
    }
    std::fs::remove_dir_all(ground.folder()).unwrap();
}

fn partial() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    format!(".project.gantry-partial-{}", host.trim())
}

#[test]
fn a_stop_while_it_clones_is_quick_and_clean() {
    let setup = setup(URL);
    let reached = Arc::new(Barrier::new(2));
    let at_server = reached.clone();
    let _server = Server::start(setup.network().listen(7000), move |_: &Request| {
        at_server.wait();
        std::thread::park();
        Answer::new(500, "")
    });
    let container = setup.start();
    reached.wait();
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("killed"), "{log}");
}

#[test]
fn a_volume_of_its_own_is_filled_in_place() {
    // As docker mounts a new volume: empty and root's.
    let mount = "mkdir /home/ansible/project; mount -t tmpfs -o noexec tmpfs /home/ansible/project; mkdir /home/ansible/project/lost+found";
    let setup = setup(URL).before(mount);
    let _server = serve(&setup, repositories(&setup, None));
    let container = setup.start();
    container.logged(CLONED);
    container.logged("is mounted noexec");
    assert_eq!(git(&container, "-C project status --short --branch"), "## main...origin/main\n");
    assert_eq!(container.sh("ls -A /home/ansible/project"), ".git\nlost+found\none\nthree\ntwo\n");
}

#[test]
fn what_came_into_a_volume_while_it_was_cloned_is_not_overwritten() {
    // Whoever works there; and another container on the same volume, which has no `.git` before it has all files.
    for (other, left) in [("", "one\n"), ("mkdir .gantry-partial-other;", ".gantry-partial-other\none\n")] {
        let setup = setup(URL).before("mkdir /home/ansible/project; mount -t tmpfs tmpfs /home/ansible/project");
        let repositories = repositories(&setup, None);
        let reached = Arc::new(Barrier::new(2));
        let at_server = reached.clone();
        let _server = Server::start(setup.network().listen(7000), move |request| {
            if request.path.contains("git-upload-pack") && request.method == "POST" && request.text().contains("want") {
                at_server.wait();
                at_server.wait();
            }
            repositories.answer(request)
        });
        let container = setup.start();
        reached.wait();
        container.sh(&format!("cd /home/ansible/project; {other} echo work > one"));
        reached.wait();
        container.logged("is not cloned: somebody else has put `one` into `/home/ansible/project` meanwhile");
        assert_eq!(container.sh("cd /home/ansible/project; cat one; ls -A"), format!("work\n{left}"));
    }
}

/// A volume for the clone, and a filter that fetches, as LFS does, and cannot where a command succeeds, when it comes to the last file.
fn filtered(fails: &str) -> String {
    format!(
        "mkdir /home/ansible/project; mount -t tmpfs tmpfs /home/ansible/project\n\
         printf '#!/bin/sh\\n[ \"$1\" = two ] && {fails} && exit 1\\nexec cat\\n' > /home/ansible/filter\n\
         chmod 755 /home/ansible/filter; echo '* filter=fetches' > /home/ansible/attributes\n\
         printf '[core]\\nattributesFile = ~/attributes\\n[filter \"fetches\"]\\nrequired\\nsmudge = ~/filter %%f\\nclean = cat\\n' \
         > /home/ansible/.gitconfig; chown -R 1000:1000 /home/ansible"
    )
}

#[test]
fn a_check_out_into_a_volume_that_failed_is_tried_again_over_its_own_files() {
    let setup = setup(URL).before(&filtered("mkdir /tmp/failed"));
    let _server = serve(&setup, repositories(&setup, None));
    let container = setup.start();
    container.logged(CLONED);
    assert!(container.log().contains("cannot be cloned now"), "{}", container.log());
    assert_eq!(git(&container, "-C project status --short --branch"), "## main...origin/main\n");
}

#[test]
fn half_a_check_out_in_a_volume_is_not_taken_for_somebodys_files() {
    let setup = setup(URL).before(&format!("touch /tmp/fails; {}", filtered("[ -e /tmp/fails ]")));
    let _server = serve(&setup, repositories(&setup, None));
    let container = setup.start();
    container.logged("cannot be cloned now");
    assert_eq!(container.sh("cat /home/ansible/project/one"), "one", "a part of it is there");
    container.sh("rm /tmp/fails; /mnt/entrypoint restart repository");
    container.logged(CLONED);
    assert_eq!(git(&container, "-C project status --short --branch"), "## main...origin/main\n");
    assert!(!container.sh("ls -A /home/ansible/project").contains("gantry"), "no mark is left");
}

#[test]
fn a_home_that_root_may_not_enter_is_entered_by_its_user() {
    // As on NFS with root squash.
    let launch = "exec setpriv --bounding-set=-dac_override,-dac_read_search ENTRYPOINT";
    let setup = setup(URL).before("chmod 700 /home/ansible").launch(launch);
    let _server = serve(&setup, repositories(&setup, None));
    let container = setup.start().healthy();
    container.logged(CLONED);
    assert_eq!(git(&container, "-C project status --short --branch"), "## main...origin/main\n");
}

#[test]
fn a_folder_of_somebody_else_is_said() {
    let setup = setup(URL).set("ANSIBLE_REPO_DIR", "/opt/other/project").before("mkdir /opt/other; touch /opt/other/file");
    let _server = serve(&setup, repositories(&setup, None));
    let container = setup.start().healthy();
    let log = container.log();
    assert!(log.contains("`/opt/other` cannot be written to by `ansible`: it belongs to root:root"), "{log}");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn no_hook_of_the_users_runs() {
    let hook = "mkdir -p /home/ansible/t/hooks; printf '#!/bin/sh\\ntouch /tmp/hooked\\n' > /home/ansible/t/hooks/post-checkout\n\
                chmod 755 /home/ansible/t/hooks/post-checkout\n\
                printf '[init]\\n\\ttemplateDir = /home/ansible/t\\n' > /home/ansible/.gitconfig; chown -R 1000:1000 /home/ansible";
    let setup = setup(URL).before(hook);
    let _server = serve(&setup, repositories(&setup, None));
    let container = setup.start();
    container.logged(CLONED);
    container.sh("test -e /home/ansible/project/.git/hooks/post-checkout && test ! -e /tmp/hooked");
}
