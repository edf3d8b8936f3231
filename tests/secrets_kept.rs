//! What keeps secrets where they are: the entrypoint hides itself and its workers even from its own user, hands nothing
//! on by accident, and is not fooled.

mod canary;
mod container;
mod doubles;
mod github;

use canary::{Hit, Needles, SECRETS, Sampler, User, Way, canary as secret, kept, planted, probe};
use container::{Container, ENTRYPOINT, Setup, server};
use github::{LISTENER, online};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

/// As an ordinary user, whose jobs, sessions and entrypoint are all the same to the kernel.
const ORDINARY: &str = "cd /; exec setpriv --reuid=1000 --regid=1000 --clear-groups ENTRYPOINT";

#[test]
fn every_variable_that_holds_a_secret_is_planted() {
    let help = Command::new(env!("CARGO_BIN_EXE_entrypoint")).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let known: BTreeSet<_> = help.split_whitespace().filter_map(|word| word.strip_suffix("[_FILE]")).collect();
    assert_eq!(known.into_iter().filter(|name| *name != "NAME").collect::<Vec<_>>(), SECRETS);
}

/// What uid 1000 gets hold of: secrets, and whose processes it can look into.
fn got(container: &Container, needles: &Needles) -> (Vec<String>, BTreeSet<String>) {
    let found = probe(container, User::Workspace, needles);
    let open = found.iter().filter_map(|line| line.strip_suffix(" can be traced").map(str::to_owned)).collect();
    let secrets = found.into_iter().filter(|line| !line.starts_with("socket ") && line.contains(": ")).collect();
    (secrets, open)
}

#[test]
fn an_ordinary_users_own_jobs_see_what_programs_hold_while_they_run_and_nothing_else() {
    let (setup, github) = github::with_runner(kept(Setup::web(&server(""))));
    let all = SECRETS.into_iter().filter(|name| *name != "CODER_AGENT_TOKEN").map(|name| (name, secret(name)));
    let (setup, needles) = planted(setup, Way::Value, all);
    github.hold("POST runners/registration-token");
    let container = setup.launch(ORDINARY).start();
    let sampler = Sampler::start(&container, &needles);
    let own = ["code-server.yaml", "web-url"].map(|file| format!("file /tmp/gantry-1000/{file}: VSCODE_WEB_TOKEN"));
    let with = |more: &[&str]| own.iter().cloned().chain(more.iter().map(|line| (*line).to_owned())).collect::<BTreeSet<_>>();

    container.until("curl", |_| github.arrived("POST runners/registration-token").then_some(()));
    let (secrets, open) = got(&container, &needles);
    assert_eq!(secrets.into_iter().collect::<BTreeSet<_>>(), with(&["memory of curl: GITHUB_RUNNER_PAT"]));
    assert!(open.contains("code-server") && !open.contains("exe") && !open.contains("entrypoint"), "{open:?}");
    github.release();
    online(&container, &github, &["fixed"]);
    sampler.phase("works");
    github.job("fixed", "build");
    container.until("the job", |container| container.sh("pgrep -x sleep || true").contains('\n').then_some(()));
    let (secrets, open) = got(&container, &needles);
    assert_eq!(secrets.into_iter().collect::<BTreeSet<_>>(), with(&[]), "nothing lasts");
    assert!(open.contains("Runner.Listener") && !open.contains("exe") && !open.contains("entrypoint"), "{open:?}");
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    let hit = |phase: &str| Hit {
        phase: phase.to_owned(),
        program: "config.sh".to_owned(),
        user: 1000,
        file: "environ",
        secret: "registration token".to_owned(),
    };
    assert_eq!(sampler.end().hits, BTreeSet::from([hit("start")]));
    assert_eq!(needles.found(log.as_bytes()).next(), None, "{log}");
}

#[test]
fn a_registration_token_alone_is_seen_while_config_runs() {
    let (setup, github) = github::with_runner(kept(Setup::web(&server(""))));
    let token = [("GITHUB_RUNNER_TOKEN", format!("{}0", github::REGISTRATION))];
    let (setup, needles) = planted(setup, Way::Value, token);
    let hit = |phase: &str, secret: &str| Hit {
        phase: phase.to_owned(),
        program: "config.sh".to_owned(),
        user: 1001,
        file: "environ",
        secret: secret.to_owned(),
    };
    let both = ["GITHUB_RUNNER_TOKEN", "registration token"];
    github.hold("registered");
    let container = setup.set("STOP_GRACE_SECONDS", "60").start();
    let sampler = Sampler::start(&container, &needles);
    both.iter().for_each(|secret| sampler.sees(&container, &hit("start", secret)));
    github.release();
    online(&container, &github, &["fixed"]);
    sampler.phase("works");
    container.logged("runner: ready");
    for user in [User::Workspace, User::Job] {
        let found = probe(&container, user, &needles);
        assert!(!found.iter().any(|line| line.contains("TOKEN") || line.contains("token")), "{user:?}: {found:?}");
    }
    sampler.phase("stops");
    github.hold("remove");
    container.signal(Signal::SIGTERM);
    both.iter().for_each(|secret| sampler.sees(&container, &hit("stops", secret)));
    github.release();
    let (status, log) = container.stop_only();
    assert_eq!((status.code(), github.names()), (Some(0), vec![]), "{log}");
    let expected = ["start", "stops"].iter().flat_map(|phase| both.map(|secret| hit(phase, secret)));
    assert_eq!(sampler.end().hits, expected.collect());
}

#[test]
fn a_command_with_the_containers_environment_hides_it() {
    // As `docker exec` starts it, and a health check.
    let container = Setup::web(&server("")).launch(ORDINARY).start();
    container.logged("web: ready");
    let user = ["--reuid=1000", "--regid=1000", "--clear-groups", ENTRYPOINT, "logs", "-f", "web"];
    let needles = Needles::new().with("GITHUB_RUNNER_PAT", "canary-of-exec");
    let mut follower = container.command("setpriv");
    let mut follower = follower.args(user).env("GITHUB_RUNNER_PAT", "canary-of-exec").stdout(Stdio::piped()).spawn().unwrap();
    // With its first line it is past its beginning, and goes on.
    let mut output = BufReader::new(follower.stdout.take().unwrap());
    assert!(output.read_line(&mut String::new()).unwrap() > 0, "it says something");
    let (secrets, open) = got(&container, &needles);
    assert!(secrets.is_empty() && !open.contains("entrypoint"), "{secrets:?} {open:?}");
    follower.kill().unwrap();
    follower.wait().unwrap();
}

#[test]
fn the_descriptor_of_sealed_secrets_cannot_be_forged() {
    let forged = "exec 7</etc/passwd; exec ENTRYPOINT";
    let (status, log) = Setup::web(&server("")).set("GANTRY_SEALED_SECRETS", "7").launch(forged).run();
    assert_eq!(status.code(), Some(71), "{log}");
    assert!(log.contains("not a sealed memory file"), "{log}");
}

#[test]
fn what_a_job_leaves_behind_is_gone_before_the_next_registration() {
    for ephemeral in ["off", "on"] {
        let (setup, github) = github::with_pat();
        let container = setup.set("GITHUB_RUNNER_EPHEMERAL", ephemeral).start().healthy();
        online(&container, &github, &["fixed"]);
        // Away from the listener's group and session, as a job may start something.
        let left = "setpriv --reuid=1001 --regid=1001 --clear-groups setsid --fork sleep 12345 > /dev/null 2>&1";
        container.sh(left);
        // `setsid` comes back before its child has become the program.
        container.until("what stays", |container| container.sh("pgrep -f '^sleep 12345' || true").contains('\n').then_some(()));
        if ephemeral == "on" {
            github.job("fixed", "build");
            container.until("the job", |container| container.sh("pgrep -f '^sleep 2000' || true").contains('\n').then_some(()));
            github.finish("fixed");
        } else {
            container.sh(&format!("kill -9 $({LISTENER})"));
        }
        container.logged("runner: ended what jobs have left behind");
        assert_eq!(container.sh("pgrep -f '^sleep 12345' || true"), "", "{ephemeral}");
        online(&container, &github, &["fixed"]);
        github::leaves(container, &github);
    }
}
