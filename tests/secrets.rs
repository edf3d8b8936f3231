//! Where secrets are, from the first instant to the last: in containers that run everything at once, with a secret of
//! its own in every variable that holds one, somebody who looks at every process all the time, and probes by each user
//! whenever something is under way. What is found is just what the documents say.

mod canary;
mod container;
mod doubles;
mod github;

use canary::{Hit, Needles, SECRETS, Sampler, User, Way, canary as secret, files, kept, planted, probe};
use container::{Container, ENTRYPOINT, Setup, server};
use doubles::git::Repositories;
use doubles::{Answer, Server};
use github::{GitHub, online};
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};

/// What a container may do by default, and with core files wherever something crashes.
const AS_BY_DEFAULT: &str = "ulimit -c unlimited; exec setpriv --inh-caps=-all --bounding-set=-all,+chown,+dac_override,\
                             +fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,+net_bind_service,\
                             +sys_chroot,+kill,+audit_write ENTRYPOINT";
/// The token of the web server, which is its user's.
const OWN: [&str; 2] = ["file /run/gantry/code-server.yaml: VSCODE_WEB_TOKEN", "file /run/gantry/web-url: VSCODE_WEB_TOKEN"];

/// A web server with sockets of its own, as VS Code has them: in its home and in /tmp.
fn editor() -> String {
    server(
        "use IO::Socket::UNIX;
         my @sockets = map { IO::Socket::UNIX->new(Local => $_, Listen => 64) or die $! }
             '/tmp/vscode-ipc.sock', \"$ENV{HOME}/ipc.sock\";",
    )
}

/// A container, and what is looked for in it.
struct Watched {
    container: Container,
    needles: Needles,
    way: Way,
}

impl Watched {
    /// What `user` gets hold of is `expected`, beside what the user's own is.
    fn gets(&self, user: User, when: &str, expected: &[&str]) {
        let found = probe(&self.container, user, &self.needles);
        let at = format!("{user:?}, {when}");
        let of = |kind: &str| found.iter().filter_map(|line| line.strip_suffix(kind)).collect::<BTreeSet<_>>();
        let open: BTreeSet<_> = of(" can be traced")
            .into_iter()
            .chain(of(" can be read").into_iter().map(|line| line.trim_start_matches("environ of ")))
            .collect();
        let closed: &[&str] = match user {
            User::Workspace => &["entrypoint", "exe", "curl", "config.sh", "Runner.Listener"],
            User::Job => {
                &["entrypoint", "exe", "curl", "git", "git-remote-http", "code-server", "sshd", "coder-agent", "ssh-agent"]
            }
            User::Root => &["entrypoint", "exe"],
        };
        assert!(closed.iter().all(|closed| !open.contains(closed)), "{at}: {open:?}");
        assert_eq!(of(" can be opened"), BTreeSet::new(), "{at}");
        let sockets: Vec<_> = found.iter().filter_map(|line| line.strip_prefix("socket ")?.split_once(": ")).collect();
        let answers = |(_, answer): &&(&str, &str)| *answer != "refused";
        let open: Vec<_> = sockets.iter().filter(answers).collect();
        match user {
            // It answers, and says no.
            User::Job => assert_eq!(open, [&("/run/gantry/control.sock", "error")], "{at}"),
            _ => assert!(open.contains(&&("/run/gantry/control.sock", "entrypoint")), "{at}: {open:?}"),
        }
        let secrets: BTreeSet<_> = found
            .iter()
            .filter(|line| !line.starts_with("socket ") && line.contains(": "))
            // Files that root was given are root's.
            .filter(|line| !(user == User::Root && self.way == Way::File && line.starts_with("file /mnt/files/")))
            .map(String::as_str)
            .collect();
        assert_eq!(secrets, expected.iter().copied().collect(), "{at}");
    }

    /// Beside its own three, no program holds a pipe of the entrypoint or of a worker, and nobody a memory file.
    fn descriptors_are_closed(&self, programs: &[&str]) {
        let script = "for process in /proc/[0-9]*; do
                name=$(cat $process/comm 2>/dev/null) || continue
                for number in $(ls $process/fd 2>/dev/null); do echo \"$name $number $(readlink $process/fd/$number)\"; done
            done; true";
        let found = self.container.sh(script);
        for program in programs {
            let own: Vec<_> = found.lines().filter_map(|line| line.strip_prefix(program)?.trim_start().split_once(' ')).collect();
            assert!(!own.is_empty(), "{program}: {found}");
            for (number, target) in own {
                let pipe = target.starts_with("pipe:") && !["0", "1", "2"].contains(&number);
                let ours = |line: &&str| line.starts_with("exe ") || line.starts_with("entrypoint ");
                let others = found.lines().filter(|line| line.ends_with(target)).filter(ours).count();
                assert!(!(pipe && others > 0), "{program}: {number} {target}\n{found}");
            }
        }
        assert!(!found.contains("memfd:"), "{found}");
    }

    /// What the programs write when they crash lies in nobody's folder.
    fn no_core_of(&self, program: &str) {
        let script = format!("grep '^Max core' /proc/$(pgrep -o -x {program})/limits");
        let limits = self.container.sh(&script);
        assert_eq!(limits.split_whitespace().nth(4), Some("0"), "{program}: {limits}");
    }

    /// Stops it; `only` is all that was seen. Nothing stays in the files but `left`.
    fn ends(mut self, sampler: Sampler, only: &[Hit], left: &[&str]) {
        for command in ["status", "status --json", "logs runner", "logs web", "logs repository", "logs agent", "logs sshd"] {
            let said = self.container.sh(&format!("{ENTRYPOINT} {command} 2>&1 || true"));
            assert_eq!(self.needles.found(said.as_bytes()).next(), None, "{command}: {said}");
        }
        sampler.phase("stops");
        self.container.signal(Signal::SIGTERM);
        let status = self.container.wait();
        let (sampled, log) = (sampler.end(), self.container.log());
        assert_eq!(status.code(), Some(0), "{log}");
        assert_eq!(sampled.hits, only.iter().cloned().collect(), "after {} rounds", sampled.rounds);
        for program in ["curl", "Runner.Listener", "exe"] {
            assert!(sampled.programs.contains(program), "{program} was not seen: {:?}", sampled.programs);
        }
        assert_eq!(self.needles.found(log.as_bytes()).next(), None, "{log}");
        let found = files(&self.container.host_folder().join("kept"), &self.needles);
        assert_eq!(found, left.iter().map(|line| (*line).to_owned()).collect(), "files");
    }
}

/// The registration token, while `config.sh` runs: the first exception.
fn while_registering(phase: &str, secret: &str) -> Hit {
    let (phase, secret) = (phase.to_owned(), secret.to_owned());
    Hit { phase, program: "config.sh".to_owned(), user: 1001, file: "environ", secret }
}

/// A Git server with one private repository, on port 7100, and two moments at which it waits: with the token waiting to be
/// read, and with the token read; for each, on arrival and to go on.
fn private_repository(setup: &Setup) -> (Server, Arc<Barrier>, Arc<Barrier>) {
    let folder = setup.folder().join("repositories");
    std::fs::create_dir_all(&folder).unwrap();
    let repositories = Repositories::new(&folder, Some(&secret("GITHUB_TOKEN"))).with("project", &["one"]);
    let (arrived, on, seen) = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)), AtomicU32::new(0));
    let (at_server, from_server) = (arrived.clone(), on.clone());
    let server = Server::start(setup.network().listen(7100), move |request| {
        let stage = u32::from(request.header("authorization").is_some());
        if seen.compare_exchange(stage, stage + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            at_server.wait();
            from_server.wait();
        }
        repositories.answer(request)
    });
    (server, arrived, on)
}

/// An open session with an agent for keys.
fn session(container: &Container) -> Child {
    let mut ssh = container.command("ssh");
    ssh.args(["-F", "/dev/null", "-o", "BatchMode=yes", "-o", "IdentitiesOnly=yes", "-o", "StrictHostKeyChecking=no"]);
    ssh.args(["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", "-i", "/mnt/files/mine", "ansible@127.0.0.1"]);
    let child = ssh.arg("exec ssh-agent sh -c 'touch session; exec sleep 1000'").stdout(Stdio::null()).spawn().unwrap();
    container.until("session", |container| {
        container.command("test").args(["-e", "/home/ansible/session"]).status().unwrap().success().then_some(())
    });
    child
}

/// Waits until the job has written down who it is.
fn working(container: &Container, github: &GitHub) {
    github.job("fixed", "build");
    let done = "cat /opt/actions-runner/_work/user 2>/dev/null || true";
    container.until("the job", |container| container.sh(done).ends_with('\n').then_some(()));
}

/// Everything but Coder, which takes the place of sshd.
fn everything(way: Way) {
    let (setup, github) = github::with_runner(kept(Setup::web(&editor())));
    let all = SECRETS.into_iter().filter(|name| *name != "CODER_AGENT_TOKEN").map(|name| (name, secret(name)));
    let (setup, needles) = planted(setup, way, all);
    let key = setup.folder().join("mine");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.is_ok_and(|made| made.success()), "`ssh-keygen` is missing: apt-get install openssh-client");
    let setup = setup
        .set("AUTHORIZED_KEYS", std::fs::read_to_string(key.with_extension("pub")).unwrap().trim())
        .set("ANSIBLE_REPO_URL", "http://127.0.0.1:7100/project.git")
        .launch(AS_BY_DEFAULT);
    let (_git, arrived, on) = private_repository(&setup);
    let container = setup.start();
    let sampler = Sampler::start(&container, &needles);
    let watched = Watched { container, needles, way };

    arrived.wait();
    for user in [User::Workspace, User::Job, User::Root] {
        let expected: &[_] = if user == User::Job { &[] } else { &OWN };
        watched.gets(user, "with the token for git waiting to be read", expected);
    }
    watched.no_core_of("git-remote-http");
    github.hold("POST runners/registration-token");
    on.wait();
    arrived.wait();
    // Whose clone it is can look into git, which has the token now: that user may be given it.
    let memory = ["memory of git-remote-http: GITHUB_TOKEN", "memory of git-remote-http: GITHUB_TOKEN in Base64"];
    watched.gets(User::Workspace, "with the token read by git", &[&OWN[..], &memory].concat());
    watched.gets(User::Job, "with the token read by git", &[]);
    watched.descriptors_are_closed(&["git", "git-remote-http"]);
    on.wait();

    let Watched { container, .. } = &watched;
    container.until("curl", |_| github.arrived("POST runners/registration-token").then_some(()));
    sampler.phase("registers");
    watched.gets(User::Workspace, "while GitHub is asked", &OWN);
    watched.gets(User::Job, "while GitHub is asked", &[]);
    // With sudo, what root runs is no secret.
    watched.gets(User::Root, "while GitHub is asked", &[&OWN[..], &["memory of curl: GITHUB_RUNNER_PAT"]].concat());
    watched.descriptors_are_closed(&["curl"]);
    watched.no_core_of("curl");
    github.release_until("registered");
    container.until("config.sh", |_| github.arrived("registered").then_some(()));
    let token = ["environ of config.sh: registration token", "memory of config.sh: registration token"];
    watched.gets(User::Workspace, "while `config.sh` runs", &OWN);
    watched.gets(User::Job, "while `config.sh` runs", &token);
    watched.gets(User::Root, "while `config.sh` runs", &OWN);
    watched.descriptors_are_closed(&["config.sh"]);
    watched.no_core_of("config.sh");
    github.release();

    online(container, &github, &["fixed"]);
    sampler.phase("works");
    let mut session = session(container);
    working(container, &github);
    watched.gets(User::Workspace, "at work", &OWN);
    watched.gets(User::Job, "at work", &[]);
    watched.gets(User::Root, "at work", &OWN);
    watched.descriptors_are_closed(&["sshd", "code-server", "Runner.Listener", "sleep"]);
    let left = ["run/gantry/code-server.yaml 600 1000: VSCODE_WEB_TOKEN", "run/gantry/web-url 600 1000: VSCODE_WEB_TOKEN"];
    watched.ends(sampler, &[while_registering("registers", "registration token")], &left);
    session.wait().unwrap();
}

#[test]
fn secrets_given_by_value_are_seen_only_where_they_have_to_be() {
    everything(Way::Value);
}

#[test]
fn secrets_given_as_files_are_seen_only_where_they_have_to_be() {
    everything(Way::File);
}

/// Calls itself Coder, and has read its token.
const AGENT: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
int main(int argc, char **argv) {
    if (argc == 2 && argv[1][0] == '-') { puts("Coder v2.99.0-test"); return 0; }
    char token[4096];
    FILE *file = fopen(getenv("CODER_AGENT_TOKEN_FILE"), "r");
    if (!file || !fgets(token, sizeof token, file)) return 1;
    fclose(file);
    fclose(fopen("/home/ansible/connected", "w"));
    for (;;) pause();
}
"#;

/// The Coder agent, VS Code behind it, and a runner for each job, which an App registers.
fn behind_coder(way: Way) {
    let (setup, github) = github::with_runner(kept(Setup::web(&editor())));
    let (source, agent) = (setup.folder().join("agent.c"), setup.folder().join("agent"));
    std::fs::write(&source, AGENT).unwrap();
    let made = Command::new("cc").arg("-o").args([&agent, &source]).status();
    assert!(made.is_ok_and(|made| made.success()), "`cc` is missing: apt-get install gcc libc6-dev");
    let agent = std::fs::read(agent).unwrap();
    let _coder = Server::start(setup.network().listen(3000), move |_| Answer::new(200, agent.clone()));
    let (key, public) = github::app_key();
    github.key(&public);
    // A web server behind Coder has no token, and the App is used when there is no PAT.
    let others = SECRETS.into_iter().filter(|name| !["VSCODE_WEB_TOKEN", "GITHUB_RUNNER_PAT"].contains(name));
    let value = |name: &str| if name == "GITHUB_APP_PRIVATE_KEY" { key.trim().to_owned() } else { secret(name) };
    let (setup, needles) = planted(setup, way, others.map(|name| (name, value(name))));
    let setup = setup
        .set("CODER_AGENT_URL", "http://127.0.0.1:3000")
        .set("GITHUB_APP_ID", "7")
        .set("GITHUB_RUNNER_EPHEMERAL", "on")
        .launch(AS_BY_DEFAULT);
    let listener = |phase: &str| Hit {
        phase: phase.to_owned(),
        program: "Runner.Listener".to_owned(),
        user: 1001,
        file: "environ",
        secret: "just-in-time configuration".to_owned(),
    };
    github.hold("POST access_tokens");
    let container = setup.start();
    let sampler = Sampler::start(&container, &needles);
    let watched = Watched { container, needles, way };

    let Watched { container, .. } = &watched;
    container.until("curl", |_| github.arrived("POST access_tokens").then_some(()));
    let connected = ["-e", "/home/ansible/connected"];
    container.until("agent", |container| container.command("test").args(connected).status().unwrap().success().then_some(()));
    // The second exception: the agent's token is the workspace's own, which its commands in terminals read.
    let own = ["file /run/gantry/coder-agent-token: CODER_AGENT_TOKEN", "memory of coder-agent: CODER_AGENT_TOKEN"];
    watched.gets(User::Workspace, "while GitHub is asked", &own);
    watched.gets(User::Job, "while GitHub is asked", &[]);
    github.release_until("session");
    sampler.sees(container, &listener("start"));
    github.release();
    online(container, &github, &["fixed"]);
    sampler.phase("works");
    working(container, &github);
    watched.gets(User::Workspace, "at work", &own);
    // The runner's own registration, for one job: its job could always read that.
    let configuration =
        ["environ of Runner.Listener: just-in-time configuration", "memory of Runner.Listener: just-in-time configuration"];
    watched.gets(User::Job, "at work", &configuration);
    watched.gets(User::Root, "at work", &own[..1]);
    watched.descriptors_are_closed(&["coder-agent", "code-server", "Runner.Listener", "sleep"]);
    let left = ["run/gantry/coder-agent-token 600 1000: CODER_AGENT_TOKEN"];
    watched.ends(sampler, &[listener("start"), listener("works"), listener("stops")], &left);
}

#[test]
fn the_token_of_the_coder_agent_is_its_users_alone() {
    behind_coder(Way::Value);
}

#[test]
fn the_token_of_the_coder_agent_in_a_file_is_its_users_alone() {
    behind_coder(Way::File);
}
