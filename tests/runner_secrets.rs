//! What the runner registers with is seen by nobody: not by its jobs, not by the workspace, not in any file.

mod container;
mod doubles;
mod github;

use container::{Container, Setup, server};
use github::{PAT, app_key, leaves, online, status, with_pat, with_runner};

/// Every process of the container whose command line or environment holds a planted secret, and where: seen as root.
fn seen(container: &Container) -> Vec<String> {
    let script = "cd /proc; for file in [0-9]*/cmdline [0-9]*/environ; do
        name=$(cat ${file%/*}/comm 2>/dev/null)
        cat $file 2>/dev/null | tr '\\0' '\\n' | grep -a '[c]anary' | sed \"s|^|${file#*/} $name |\"
    done; true";
    container.sh(script).lines().map(str::to_owned).collect()
}

/// Files that hold a planted secret and that the user can read.
fn readable(container: &Container, uid: u32) -> String {
    let search =
        "grep -r -l -a '[c]anary' /home /opt /run /tmp /etc 2>/dev/null | grep -v '^/opt/actions-runner/\\(config.sh\\|bin/\\)'";
    let user = format!("setpriv --reuid={uid} --regid={uid} --clear-groups");
    container.sh(&format!("{user} sh -c \"{search}\" || true"))
}

#[test]
fn nothing_secret_is_seen_from_the_registration_to_the_end() {
    let (setup, github) = with_pat();
    github.hold("registered");
    let container = setup.start().healthy();
    container.until("config.sh", |_| github.arrived("registered").then_some(()));
    // While `config.sh` runs, its token stands in its environment: there, and nowhere else.
    let during = seen(&container);
    assert!(
        !during.is_empty()
            && during.iter().all(|line| line.starts_with("environ config.sh ACTIONS_RUNNER_INPUT_TOKEN=REGISTRATION"))
    );
    for uid in [1000, 1001] {
        assert_eq!(readable(&container, uid), "", "as {uid}");
    }
    github.release();
    online(&container, &github, &["fixed"]);
    assert_eq!(seen(&container), [""; 0]);
    github.job("fixed", "build");
    let file = "/opt/actions-runner/_work/user";
    container
        .until("the job", |container| container.sh(&format!("cat {file} 2>/dev/null || true")).ends_with('\n').then_some(()));
    assert_eq!(seen(&container), [""; 0]);
    for uid in [1000, 1001] {
        assert_eq!(readable(&container, uid), "", "as {uid}");
    }
    assert!(!container.sh("cat /opt/actions-runner/.env").contains("canary"));
    let log = leaves(container, &github);
    assert!(!log.contains("canary"), "{log}");
    assert!(github.asked().iter().all(|request| request.header("authorization") == Some(&format!("Bearer {PAT}"))));
}

/// What a process that looks all the time has seen, from before the entrypoint's start to its end.
#[test]
fn nothing_secret_is_seen_in_between() {
    // With the job's user, and the workspace's, planting is done; the one that looks is root.
    for ephemeral in ["", "1"] {
        let (setup, github) = with_pat();
        std::fs::write(setup.folder().join("sampler.pl"), include_str!("github/sampler.pl")).unwrap();
        let found = setup.folder().join("seen");
        let launch = "env -i perl /mnt/files/sampler.pl & exec ENTRYPOINT";
        let setup = setup.set("GITHUB_TOKEN", "canary-clone").set("GITHUB_RUNNER_EPHEMERAL", ephemeral).launch(launch);
        let mut container = setup.start().healthy();
        online(&container, &github, &["fixed"]);
        container.until("a whole round", |_| std::fs::read_to_string(&found).ok()?.contains("round").then_some(()));
        for _ in 0..2 {
            github.job("fixed", "build");
            container.until("the job", |container| status(container).contains("runs job").then_some(()));
            github.finish("fixed");
            container.until("its end", |container| status(container).contains("waits for jobs").then_some(()));
            // GitHub hears of it a moment later; a runner of one job is off the list then.
            container.until("its end on GitHub", |_| github.runners().iter().all(|runner| !runner.busy).then_some(()));
            online(&container, &github, &["fixed"]);
        }
        container.signal(nix::sys::signal::Signal::SIGTERM);
        container.wait();
        let seen = std::fs::read_to_string(&found).unwrap();
        // What the entrypoint was started with is there until it has executed itself again: with no process beside it.
        let allowed = ["round", "environ sh GITHUB_RUNNER_PAT", "environ sh GITHUB_TOKEN"];
        let first = ["environ entrypoint GITHUB_RUNNER_PAT", "environ entrypoint GITHUB_TOKEN"];
        // The exceptions: what the runner's own programs take out of their environment.
        let program = if ephemeral.is_empty() {
            ["environ config.sh ACTIONS_RUNNER_INPUT_TOKEN"]
        } else {
            ["environ Runner.Listener ACTIONS_RUNNER_INPUT_JITCONFIG"]
        };
        let fine = |line: &&str| allowed.contains(line) || first.contains(line) || program.contains(line);
        let others: Vec<_> = seen.lines().filter(|line| !fine(line)).collect();
        assert_eq!(others, [""; 0], "{seen}");
        assert_eq!(github.names(), [""; 0], "{}", container.log());
    }
}

#[test]
fn an_apps_key_is_seen_by_nobody() {
    let (key, public) = app_key();
    let line = key.lines().nth(3).unwrap().to_owned();
    let (setup, github) = with_runner(Setup::web(&server("")));
    github.key(&public);
    github.hold("GET /installation");
    let container = setup.set("GITHUB_APP_ID", "7").set("GITHUB_APP_PRIVATE_KEY", &key).start().healthy();
    container.until("the App", |_| github.arrived("GET /installation").then_some(()));
    // curl runs now, with the App's own token.
    let found = |container: &Container| {
        // Brackets, so that it does not find itself.
        let (first, rest) = line.split_at(1);
        let patterns = format!("-e '[{first}]{rest}' -e '[c]anary' -e 'eyJ[h]bGci'");
        container.sh(&format!("grep -l -a {patterns} /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true"))
    };
    assert_eq!(found(&container), "");
    github.release();
    online(&container, &github, &["fixed"]);
    assert_eq!(found(&container), "");
    let log = leaves(container, &github);
    assert!(!log.contains(&line) && !log.contains("canary"), "{log}");
}

#[test]
fn a_job_sees_an_allow_list_of_variables() {
    let (setup, github) = with_pat();
    let setup = setup.set("GITHUB_TOKEN", "canary-clone").set("MY_OWN", "mine").set("HTTPS_PROXY", "http://127.0.0.1:1");
    // A proxy for https: the API of this test is asked by http.
    let container = setup.set("NO_PROXY", "127.0.0.1").set("LANG", "C.UTF-8").set("RUNNER_DEBUG", "1").start().healthy();
    online(&container, &github, &["fixed"]);
    github.job("fixed", "build");
    let file = "/opt/actions-runner/_work/environment";
    container.until("the job", |container| {
        container.sh("cat /opt/actions-runner/_work/user 2>/dev/null || true").ends_with('\n').then_some(())
    });
    let variables = container.sh(&format!("cat {file}"));
    for present in ["HOME=/home/runner\n", "USER=runner\n", "HTTPS_PROXY=http://127.0.0.1:1\n", "LANG=C.UTF-8\n"] {
        assert!(variables.contains(present), "{present}: {variables}");
    }
    for absent in ["canary", "MY_OWN", "RUNNER_DEBUG", "GITHUB_RUNNER_", "GITHUB_TOKEN", "GANTRY_", "ACTIONS_RUNNER_INPUT"] {
        assert!(!variables.contains(absent), "{absent}: {variables}");
    }
    leaves(container, &github);
}

#[test]
fn a_job_reaches_neither_the_workspace_nor_the_entrypoint() {
    let (setup, github) = with_pat();
    let container = setup.before("echo private > /home/ansible/file").start().healthy();
    online(&container, &github, &["fixed"]);
    let as_job = |script: &str| {
        let output = container.command("setpriv");
        let mut output = output;
        let output = output.args(["--reuid=1001", "--regid=1001", "--clear-groups", "sh", "-c", script]).output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    for script in [
        "ls /home/ansible",
        "cat /home/ansible/file",
        "cat /home/ansible/runner.log",
        "cat /run/gantry/runner.json",
        &format!("{} status", container::ENTRYPOINT),
        &format!("{} stop runner", container::ENTRYPOINT),
        "cat /proc/1/environ",
    ] {
        let (done, text) = as_job(script);
        assert!(!done, "{script}: {text}");
    }
    container.until("its phase", |container| status(container).contains("waits for jobs").then_some(()));
    leaves(container, &github);
}
