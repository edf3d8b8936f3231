//! The clone of `ANSIBLE_REPO_URL`: the real git, from a real Git server, as the workspace's user.

mod cloning;
mod container;
mod doubles;

use cloning::{CLONED, URL, git, repositories, serve, setup};
use doubles::git::Repositories;
use doubles::{Answer, Request, Server};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Barrier};

const TOKEN: &str = "ghp_canary0123456789";

#[test]
fn a_public_repository_is_there_before_the_services_start() {
    let setup = setup(URL);
    let _server = serve(&setup, repositories(&setup, None));
    let container = setup.start().healthy();
    let log = container.log();
    let (cloned, started) = (log.find(CLONED).expect("it is cloned"), log.find("web: started").expect("it has started"));
    assert!(cloned < started, "{log}");
    assert_eq!(container.sh("cat /home/ansible/project/one; stat -c %U /home/ansible/project/one"), "oneansible\n");
    assert_eq!(git(&container, "-C project status --short --branch"), "## main...origin/main\n");
    assert_eq!(git(&container, "-C project log --format=%s"), "three\ntwo\none\n");
    assert_eq!(git(&container, "-C project remote get-url origin"), format!("{URL}\n"));
    assert_eq!(container.sh("ls -A /home/ansible | grep gantry || true"), "");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
}

#[test]
fn a_private_repository_is_cloned_with_the_token_which_nobody_sees() {
    let setup = setup(URL).set("GITHUB_TOKEN", TOKEN);
    let repositories = repositories(&setup, Some(TOKEN));
    // The server waits, with the token waiting to be read (0) and after it was read (1), while somebody looks.
    let (arrived, leave) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (at_server, from_server, seen) = (arrived.clone(), leave.clone(), AtomicU32::new(0));
    let _server = Server::start(setup.network().listen(7000), move |request| {
        let known = request.header("authorization").is_some();
        let stage = u32::from(known);
        if seen.compare_exchange(stage, stage + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            at_server.wait();
            from_server.wait();
        }
        repositories.answer(request)
    });
    let container = setup.start();
    // From now on, as root, which sees what others see and more; and what the user can open of other processes.
    let watch = "while [ ! -e /tmp/enough ]; do \
                 grep -l -a '[c]anary' /proc/[0-9]*/cmdline /proc/[0-9]*/environ; \
                 grep -r -l -a '[c]anary' /home /run /tmp; done > /opt/seen 2>/dev/null";
    let mut watcher = None;
    for stage in ["before it is read", "after it was read"] {
        arrived.wait();
        watcher.get_or_insert_with(|| container.command("sh").args(["-c", watch]).spawn().unwrap());
        let script =
            // One read, passed on at once: a pipe that is still open would keep other programs until the time is over.
            "for fd in /proc/[0-9]*/fd/*; do timeout 0.2 dd if=$fd bs=4096 count=1; done 2>/dev/null | grep -a -c '[c]anary' || true";
        let mut user = container.command("setpriv");
        let output = user.args(["--reuid=1000", "--regid=1000", "--clear-groups", "sh", "-c", script]).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "0\n", "{stage}");
        assert!(!container.sh("pgrep git").is_empty());
        leave.wait();
    }
    container.logged(CLONED);
    let container = container.healthy();
    assert_eq!(container.sh("cat /home/ansible/project/two"), "two");
    container.sh("touch /tmp/enough");
    watcher.unwrap().wait().unwrap();
    assert_eq!(container.sh("cat /opt/seen"), "");
    assert_eq!(container.sh("grep -r -l -a '[c]anary' /home /run /tmp || true"), "");
    let config = container.sh("cat /home/ansible/project/.git/config");
    assert!(!config.contains("canary") && !config.to_lowercase().contains("extraheader") && !config.contains('@'), "{config}");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(!log.contains("canary"), "{log}");
}

#[test]
fn nothing_on_this_machine_is_asked_for_through_a_proxy() {
    // Nobody listens there.
    let setup = setup(URL).set("GITHUB_TOKEN", TOKEN).set("HTTP_PROXY", "http://127.0.0.1:9").set("NO_PROXY", "example.com");
    let _server = serve(&setup, repositories(&setup, Some(TOKEN)));
    setup.start().healthy().logged(CLONED);
}

#[test]
fn a_helper_of_the_users_neither_sees_nor_keeps_the_token() {
    let helper =
        "printf '[credential]\\n\\thelper = store\\n' > /home/ansible/.gitconfig; chown 1000:1000 /home/ansible/.gitconfig";
    let setup = setup(URL).set("GITHUB_TOKEN", TOKEN).before(helper);
    let _server = serve(&setup, repositories(&setup, Some(TOKEN)));
    let container = setup.start();
    container.logged(CLONED);
    assert_eq!(container.sh("grep -r -l -a '[c]anary' /home || true"), "");
}

#[test]
fn a_token_in_a_file_is_read_by_root() {
    let setup = setup(URL).set("GITHUB_TOKEN_FILE", "/run/token");
    let setup = setup.before(&format!("echo {TOKEN} > /run/token; chmod 600 /run/token"));
    let _server = serve(&setup, repositories(&setup, Some(TOKEN)));
    let container = setup.start();
    container.logged(CLONED);
    assert!(!container.log().contains("canary"), "{}", container.log());
}

#[test]
fn a_refusal_is_explained_and_ends_nothing() {
    let table = [(Some("ghp_another"), "Contents → Read"), (None, "there is no GITHUB_TOKEN")];
    for (token, expected) in table {
        let mut setup = setup(URL);
        if let Some(token) = token {
            setup = setup.set("GITHUB_TOKEN", token);
        }
        let server = serve(&setup, repositories(&setup, Some(TOKEN)));
        let container = setup.start().healthy();
        let log = container.log();
        assert!(log.contains("is not cloned") && log.contains(expected) && log.contains("given up on"), "{log}");
        assert!(!log.contains("ghp_") && !log.contains("tries again in"), "{log}");
        assert!(server.asked().len() <= 3, "{:?}", server.asked());
        // Why it failed is not lost in what followed from it, and it does nothing any more.
        let status = container.sh("/mnt/entrypoint status");
        let said = |start: &str| status.lines().find(|line| line.starts_with(start)).unwrap_or_default().to_owned();
        assert!(said("repository: last error").contains(expected), "{status}");
        assert!(said("repository ").contains("failed") && said("repository ").ends_with('-'), "{status}");
        let (status, log) = container.stop();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}

#[test]
fn a_token_that_is_renewed_is_read_again() {
    let setup = setup(URL).set("GITHUB_TOKEN_FILE", "/run/token").before("echo ghp_expired > /run/token").set("STRICT", "1");
    let _server = serve(&setup, repositories(&setup, Some(TOKEN)));
    let container = setup.start();
    container.logged("given up on");
    let container = container.healthy();
    assert!(container.sh("/mnt/entrypoint status").contains("repository"), "{}", container.log());
    // Whoever renews it may get it wrong, and is told.
    let told = container.sh(": > /run/token; ! /mnt/entrypoint restart repository");
    assert!(told.contains("`repository` is failed: GITHUB_TOKEN_FILE names `/run/token`, which is empty"), "{told}");
    container.logged("repository: ended by itself: exit code 78");
    container.sh(&format!("echo {TOKEN} > /run/token; /mnt/entrypoint restart repository"));
    container.logged(CLONED);
    assert_eq!(container.sh("cat /home/ansible/project/one"), "one");
    let status = container.sh("/mnt/entrypoint status");
    assert!(status.contains("is in /home/ansible/project") || status.contains("done"), "{status}");
}

#[test]
fn the_token_is_for_the_repositorys_own_server_only() {
    let setup = setup("http://127.0.0.1:7000/project.git").set("GITHUB_TOKEN", TOKEN);
    let _moved = Server::start(setup.network().listen(7000), |request: &Request| {
        Answer::new(301, "").header("Location", &format!("http://127.0.0.1:7001{}", request.path))
    });
    let elsewhere = Server::start(setup.network().listen(7001), |_: &Request| {
        Answer::new(401, "").header("WWW-Authenticate", "Basic realm=\"x\"")
    });
    let container = setup.start();
    container.logged("is not given to `http://127.0.0.1:7001`");
    assert!(elsewhere.asked().iter().all(|request| request.header("authorization").is_none()));
    assert!(!container.log().contains("canary"), "{}", container.log());
}

#[test]
fn a_server_that_is_down_is_asked_again() {
    let setup = setup(URL);
    let repositories = repositories(&setup, None);
    let container = setup.start();
    container.logged("cannot be cloned now");
    // Nobody waits for it any longer.
    let container = container.healthy();
    let _server = Server::start(container.network().listen(7000), move |request| repositories.answer(request));
    container.logged(CLONED);
    assert_eq!(container.sh("cat /home/ansible/project/three"), "three");
}

#[test]
fn an_answer_that_breaks_off_is_asked_for_again() {
    let setup = setup(URL);
    let (repositories, broken) = (repositories(&setup, None), AtomicBool::new(false));
    let _server = Server::start(setup.network().listen(7000), move |request| {
        let mut answer = repositories.answer(request);
        if answer.body.windows(4).any(|four| four == b"PACK") && !broken.swap(true, Ordering::SeqCst) {
            answer.cut = Some(answer.body.len() / 2);
        }
        answer
    });
    let container = setup.start();
    container.logged("cannot be cloned now");
    container.logged(CLONED);
    assert_eq!(git(&container, "-C project fsck"), "");
    assert_eq!(container.sh("ls -A /home/ansible | grep gantry || true"), "");
}

#[test]
fn branches_and_depths() {
    let table = [
        (vec![("ANSIBLE_REPO_BRANCH", "feat/x")], "## feat/x...origin/feat/x\n", "on-branch\nthree\ntwo\none\n"),
        (vec![("ANSIBLE_REPO_DEPTH", "1")], "## main...origin/main\n", "three\n"),
        (
            vec![("ANSIBLE_REPO_BRANCH", "feat/x"), ("ANSIBLE_REPO_DEPTH", "2")],
            "## feat/x...origin/feat/x\n",
            "on-branch\nthree\n",
        ),
    ];
    for (variables, branch, commits) in table {
        let mut setup = setup(URL);
        let _server = serve(&setup, repositories(&setup, None));
        for (name, value) in variables {
            setup = setup.set(name, value);
        }
        let container = setup.start();
        container.logged(CLONED);
        assert_eq!(git(&container, "-C project status --short --branch"), branch);
        assert_eq!(git(&container, "-C project log --format=%s"), commits);
    }
}

#[test]
fn the_address_of_a_page_names_the_branch() {
    let setup = setup("http://127.0.0.1:7000/group/project/tree/feat/x");
    let folder = setup.folder().join("repositories");
    std::fs::create_dir_all(folder.join("group")).unwrap();
    let repositories = Repositories::new(&folder, None).with("group/project", &["one"]);
    let _server = serve(&setup, repositories);
    let container = setup.start();
    container.logged(CLONED);
    assert_eq!(git(&container, "-C project branch --show-current"), "feat/x\n");
}

#[test]
fn a_branch_that_is_not_there_is_named() {
    let setup = setup(URL).set("ANSIBLE_REPO_BRANCH", "nowhere");
    let _server = serve(&setup, repositories(&setup, None));
    let container = setup.start().healthy();
    assert!(container.log().contains("it has no branch `nowhere`"), "{}", container.log());
    assert_eq!(container.sh("ls -A /home/ansible | grep project || true"), "");
}

#[test]
fn an_empty_repository_is_one_too() {
    let setup = setup("http://127.0.0.1:7000/empty.git");
    let folder = setup.folder().join("repositories");
    let made = std::process::Command::new("/usr/bin/git").args(["init", "-q", "--bare"]).arg(folder.join("empty.git")).status();
    assert!(made.unwrap().success());
    let _server = serve(&setup, Repositories::new(&folder, None));
    let container = setup.start();
    container.logged("is in `/home/ansible/empty`");
    container.sh("test -d /home/ansible/empty/.git");
}

#[test]
fn what_is_there_stays() {
    let mine = "install -d -o 1000 -g 1000 /home/ansible/project; echo mine > /home/ansible/project/file";
    let setup = setup(URL).before(mine);
    let server = serve(&setup, repositories(&setup, None));
    let container = setup.start().healthy();
    assert!(container.log().contains("is there already"), "{}", container.log());
    assert_eq!(container.sh("ls /home/ansible/project"), "file\n");
    assert_eq!(server.asked().len(), 0);
}

#[test]
fn scripts_run_before_and_in_the_clone() {
    let setup = setup(URL)
        .set("ANSIBLE_REPO_PRE_CLONE", "echo before at $PWD as $(id -un), there: $(ls); git config --global a.b c")
        .set("ANSIBLE_REPO_POST_CLONE", "#!/usr/bin/perl\nprint 'after at ', `pwd`; print <*>;")
        .set("GITHUB_TOKEN", TOKEN);
    let _server = serve(&setup, repositories(&setup, Some(TOKEN)));
    let container = setup.start().healthy();
    let log = container.log();
    let places: Vec<_> =
        ["before at /home/ansible as ansible", "is in `/home/ansible/project`", "after at /home/ansible/project"]
            .map(|text| log.find(text).unwrap_or_else(|| panic!("{text}: {log}")))
            .into();
    assert!(places.is_sorted(), "{log}");
    assert!(log.contains("onethreetwo") && !log.contains("canary"), "{log}");
    // At each start, cloned or not.
    container.sh("/mnt/entrypoint restart repository");
    container.logged("is there already");
    container.until("both scripts again", |container| {
        let log = container.log();
        (log.matches("before at").count() == 2 && log.matches("after at").count() == 2).then_some(())
    });
}

#[test]
fn scripts_that_fail_are_said_and_end_nothing() {
    // The first of them may be there to find out whether this is a place to clone into.
    for (name, cloned) in [("ANSIBLE_REPO_PRE_CLONE", ""), ("ANSIBLE_REPO_POST_CLONE", "project\n")] {
        let setup = setup(URL).set(name, "echo so; exit 42");
        let _server = serve(&setup, repositories(&setup, None));
        let container = setup.start().healthy();
        let log = container.log();
        assert!(log.contains(&format!("{name}: the script ended with exit code 42")) && log.contains("given up on"), "{log}");
        assert_eq!(container.sh("ls /home/ansible"), cloned);
        let (status, log) = container.stop();
        assert_eq!(status.code(), Some(0), "{log}");
    }
}
