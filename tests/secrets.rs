//! Where secrets are, from the first instant to the last: in containers that run everything at once, with a secret of
//! its own in every variable that holds one, somebody who looks at every process all the time, and probes by each user
//! whenever something is under way.

mod canary;
mod container;
mod doubles;
mod github;

use canary::{Hit, Needles, Probed, SECRETS, Sampler, User, Way, canary as secret, files, kept, planted, probe};
use container::{Container, ENTRYPOINT, Setup, server};
use doubles::Server;
use doubles::git::Repositories;
use github::online;
use nix::sys::signal::Signal;
use std::collections::BTreeSet;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};

/// What a container may do by default.
const AS_BY_DEFAULT: &str = "ulimit -c unlimited; exec setpriv --inh-caps=-all --bounding-set=-all,+chown,+dac_override,\
                             +fsetid,+fowner,+mknod,+net_raw,+setgid,+setuid,+setfcap,+setpcap,+net_bind_service,\
                             +sys_chroot,+kill,+audit_write ENTRYPOINT";

/// A web server with sockets of its own, as VS Code has them: in its home and in /tmp.
fn editor() -> String {
    server(
        "use IO::Socket::UNIX;
         my @sockets = map { IO::Socket::UNIX->new(Local => $_, Listen => 64) or die $! } '/tmp/vscode-ipc.sock', \"$ENV{HOME}/ipc.sock\";",
    )
}

/// Everything at once but Coder, which takes the place of sshd.
struct Everything {
    container: Container,
    needles: Needles,
    github: github::GitHub,
    sampler: Sampler,
    /// Met by the Git server with the token waiting to be read, and with the token read: on arrival, to go on.
    clone: (Arc<Barrier>, Arc<Barrier>),
    _git: Server,
}

fn everything(way: Way, more: impl FnOnce(Setup) -> Setup) -> Everything {
    let (setup, github) = github::with_runner(kept(Setup::web(&editor())));
    let setup = more(setup).launch(AS_BY_DEFAULT).set("ANSIBLE_REPO_URL", "http://127.0.0.1:7100/project.git");
    let (setup, needles) =
        planted(setup, way, SECRETS.into_iter().filter(|name| *name != "CODER_AGENT_TOKEN").map(|name| (name, secret(name))));
    let key = setup.folder().join("mine");
    let made = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(made.is_ok_and(|made| made.success()), "`ssh-keygen` is missing: apt-get install openssh-client");
    let setup = setup.set("AUTHORIZED_KEYS", std::fs::read_to_string(key.with_extension("pub")).unwrap().trim());
    let folder = setup.folder().join("repositories");
    std::fs::create_dir_all(&folder).unwrap();
    let repositories = Repositories::new(&folder, Some(&secret("GITHUB_TOKEN"))).with("project", &["one"]);
    let clone = (Arc::new(Barrier::new(2)), Arc::new(Barrier::new(2)));
    let (arrived, on, seen) = (clone.0.clone(), clone.1.clone(), AtomicU32::new(0));
    let git = Server::start(setup.network().listen(7100), move |request| {
        let stage = u32::from(request.header("authorization").is_some());
        if seen.compare_exchange(stage, stage + 1, Ordering::SeqCst, Ordering::SeqCst).is_ok() {
            arrived.wait();
            on.wait();
        }
        repositories.answer(request)
    });
    let container = setup.start();
    let sampler = Sampler::start(&container, &needles);
    Everything { container, needles, github, sampler, clone, _git: git }
}

#[test]
fn first() {
    for way in [Way::Value, Way::File] {
        eprintln!("================ {way:?}");
        let Everything { mut container, needles, github, sampler, clone, _git } = everything(way, |setup| setup);
        let show = |what: &str, container: &Container| {
            for user in [User::Workspace, User::Job, User::Root] {
                eprintln!("--- {what} {user:?}");
                for line in probe(container, user, &needles) {
                    eprintln!("    {line}");
                }
            }
        };
        clone.0.wait();
        show("unread", &container);
        github.hold("POST runners/registration-token");
        clone.1.wait();
        clone.0.wait();
        show("read", &container);
        clone.1.wait();
        container.until("curl", |_| github.arrived("POST runners/registration-token").then_some(()));
        sampler.phase("registers");
        show("curl", &container);
        github.release();
        github.hold("registered");
        container.until("config.sh", |_| github.arrived("registered").then_some(()));
        show("config", &container);
        github.release();
        online(&container, &github, &["fixed"]);
        sampler.phase("works");
        github.job("fixed", "build");
        container.until("job", |c| c.sh("cat /opt/actions-runner/_work/user 2>/dev/null || true").ends_with('\n').then_some(()));
        show("job", &container);
        sampler.phase("stop");
        container.signal(Signal::SIGTERM);
        let status = container.wait();
        let sampled = sampler.end();
        eprintln!("{:?} {:#?} {:?} rounds {}", status, sampled.hits, sampled.programs, sampled.rounds);
        eprintln!("{:#?}", files(&container.host_folder().join("kept"), &needles));
        eprintln!("{}", container.log());
    }
}
