//! GitHub, as far as its runners are concerned: the REST API (from GitHub's documentation) and, in a little protocol
//! of lines of its own, what `config.sh` and the listener do with it. The runner's double speaks that: a runner is
//! online while its connection is open, as with GitHub.

#![allow(dead_code, reason = "each test file uses its part")]

mod api;

pub(crate) use api::Runner;

use crate::container::{Container, ENTRYPOINT, Network, Setup, server};
use crate::doubles::{Answer, Request, serve};
use api::{Prepared, State, pipe};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

/// The ports of the API and of the runners' own protocol.
const API: u16 = 7000;
const RUNNERS: u16 = 7001;
/// Tokens that are accepted.
pub(crate) const PAT: &str = "github_pat_canary0123456789";
pub(crate) const INSTALLATION_TOKEN: &str = "ghs_canary0123456789";
/// What every registration token begins with.
pub(crate) const REGISTRATION: &str = "REGISTRATIONcanary";
/// The process ids of the listener and of its worker, as the container sees them.
pub(crate) const LISTENER: &str = "pgrep -o -f '^/usr/bin/perl .*/Runner.Listener run'";
pub(crate) const WORKER: &str = "pgrep -o -f '^/proc/self/exe worker runner'";
/// The double of `config.sh` and of the listener.
const PROGRAM: &str = include_str!("runner.pl");

/// The server.
#[derive(Clone)]
pub(crate) struct GitHub {
    state: Arc<(Mutex<State>, Condvar)>,
}

impl GitHub {
    pub(crate) fn start(network: &Network) -> Self {
        let state = State {
            runners: Vec::new(),
            most: 0,
            last_id: 20,
            tokens: vec![format!("{REGISTRATION}0")],
            pats: vec![PAT.to_owned()],
            prepared: Vec::new(),
            held: Vec::new(),
            arrived: Vec::new(),
            down: false,
            visibility: "private".to_owned(),
            exits: Vec::new(),
            sessions: HashMap::new(),
            asked: Vec::new(),
            key: String::new(),
        };
        let github = Self { state: Arc::new((Mutex::new(state), Condvar::new())) };
        github.listen(network);
        github
    }

    /// Is there for one more container.
    pub(crate) fn listen(&self, network: &Network) {
        let (api, runners) = (network.listen(API), network.listen(RUNNERS));
        let this = self.clone();
        thread::spawn(move || {
            for stream in api.incoming().flatten() {
                let this = this.clone();
                thread::spawn(move || {
                    if this.lock().down {
                        return;
                    }
                    // A client that goes away is its own business.
                    let _ = serve(stream, &Mutex::new(Vec::new()), &|request| this.answer(request));
                });
            }
        });
        let this = self.clone();
        thread::spawn(move || {
            for stream in runners.incoming().flatten() {
                let this = this.clone();
                thread::spawn(move || this.talk(stream));
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.0.lock().expect("no test panicked in here")
    }

    /// Who is on the list.
    pub(crate) fn runners(&self) -> Vec<Runner> {
        self.lock().runners.clone()
    }

    /// Their names, in the order of their registration.
    pub(crate) fn names(&self) -> Vec<String> {
        self.lock().runners.iter().map(|runner| runner.name.clone()).collect()
    }

    /// The longest that the list has been.
    pub(crate) fn most(&self) -> usize {
        self.lock().most
    }

    /// Everything that the API was asked.
    pub(crate) fn asked(&self) -> Vec<Request> {
        self.lock().asked.clone()
    }

    /// How often it was asked for something with this method and a part of this address.
    pub(crate) fn count(&self, method: &str, part: &str) -> usize {
        self.lock().asked.iter().filter(|request| request.method == method && request.path.contains(part)).count()
    }

    /// The next `times` such requests are answered like this.
    pub(crate) fn prepare(&self, method: &'static str, part: &str, times: usize, answer: Answer) {
        self.lock().prepared.push(Prepared { method, part: part.to_owned(), answer, times });
    }

    /// From now on what comes to `place` waits: `METHOD part`, `register`, `registered`, `session`, `remove`.
    pub(crate) fn hold(&self, place: &str) {
        self.lock().held.push(place.to_owned());
    }

    /// Lets everything go on.
    pub(crate) fn release(&self) {
        self.lock().held.clear();
        self.state.1.notify_all();
    }

    /// Lets go what waits, and holds what comes to `place`, with nothing in between.
    pub(crate) fn release_until(&self, place: &str) {
        self.lock().held = vec![place.to_owned()];
        self.state.1.notify_all();
    }

    /// Whether something waits at `place`.
    pub(crate) fn arrived(&self, place: &str) -> bool {
        self.lock().arrived.iter().any(|arrived| arrived == place)
    }

    /// Whether it can be reached.
    pub(crate) fn down(&self, down: bool) {
        self.lock().down = down;
    }

    pub(crate) fn visibility(&self, visibility: &str) {
        self.lock().visibility = visibility.to_owned();
    }

    /// The tokens that it accepts from now on.
    pub(crate) fn accept(&self, pats: &[&str]) {
        self.lock().pats = pats.iter().map(|pat| (*pat).to_owned()).collect();
    }

    /// The public key of the App.
    pub(crate) fn key(&self, pem: &str) {
        self.lock().key = pem.to_owned();
    }

    /// The next listeners end with these codes, one after the other, as soon as they connect.
    pub(crate) fn exits(&self, codes: &[u8]) {
        self.lock().exits.extend(codes);
    }

    /// Somebody else's runner.
    pub(crate) fn plant(&self, name: &str, online: bool, busy: bool) -> u64 {
        let id = self.lock().add(name, false, "");
        let mut state = self.lock();
        let planted = state.runners.iter_mut().find(|runner| runner.id == id).expect("it was just added");
        (planted.online, planted.busy) = (online, busy);
        id
    }

    /// Gives the runner `name` a job.
    pub(crate) fn job(&self, name: &str, job: &str) {
        let mut state = self.lock();
        let runner = state.runners.iter_mut().find(|runner| runner.name == name).expect("it is there");
        runner.busy = true;
        let id = runner.id;
        state.tell(id, &format!("job {job}"));
    }

    /// The job of the runner `name` comes to its end.
    pub(crate) fn finish(&self, name: &str) {
        let mut state = self.lock();
        let id = state.runners.iter().find(|runner| runner.name == name).expect("it is there").id;
        state.tell(id, "finish");
    }

    /// The runner `name` is called `other`, whoever did that.
    pub(crate) fn rename(&self, name: &str, other: &str) {
        let mut state = self.lock();
        let runner = state.runners.iter_mut().find(|runner| runner.name == name).expect("it is there");
        runner.name = other.to_owned();
    }

    /// The runner is forgotten, as if somebody had removed it in the settings.
    pub(crate) fn forget(&self, name: &str) {
        let mut state = self.lock();
        let id = state.runners.iter().find(|runner| runner.name == name).expect("it is there").id;
        state.remove(id);
    }

    /// Waits where a test wants it to.
    fn pass(&self, place: &str) {
        let mut state = self.lock();
        if !state.held.iter().any(|held| held == place) {
            return;
        }
        state.arrived.push(place.to_owned());
        while state.held.iter().any(|held| held == place) {
            state = self.state.1.wait_timeout(state, Duration::from_millis(100)).expect("no test panicked in here").0;
        }
    }

    fn answer(&self, request: &Request) -> Answer {
        let path = request.path.split('?').next().unwrap_or_default();
        // Where an Enterprise Server has it.
        let path = path.strip_prefix("/api/v3").unwrap_or(path).to_owned();
        let held = self.lock().held.clone();
        self.lock().asked.push(request.clone());
        for place in held {
            if let Some((method, part)) = place.split_once(' ')
                && request.method == method
                && path.contains(part)
            {
                self.pass(&place);
            }
        }
        let mut state = self.lock();
        let prepared =
            state.prepared.iter_mut().find(|p| p.times > 0 && p.method == request.method && request.path.contains(&p.part));
        if let Some(prepared) = prepared {
            prepared.times -= 1;
            return prepared.answer.clone();
        }
        state.answer(request, &path)
    }

    /// A connection of `config.sh` or of a listener.
    fn talk(&self, stream: TcpStream) {
        let Ok(writer) = stream.try_clone() else { return };
        let mut online = None;
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            let words: Vec<_> = line.split(' ').collect();
            let mut writer = &writer;
            match words.as_slice() {
                ["register", token, name, ephemeral, labels] => {
                    self.pass("register");
                    let said = self.lock().register(token, name, *ephemeral == "1", labels);
                    self.pass("registered");
                    let _ = writeln!(writer, "{said}");
                }
                ["remove", token, id] => {
                    self.pass("remove");
                    let mut state = self.lock();
                    let known = state.tokens.iter().any(|known| known == token);
                    if known {
                        state.remove(id.parse().unwrap_or_default());
                    }
                    let _ = writeln!(writer, "{}", if known { "ok" } else { "error Http response code: NotFound" });
                }
                ["session", id] => {
                    self.pass("session");
                    let id: u64 = id.parse().unwrap_or_default();
                    let mut state = self.lock();
                    if !state.exits.is_empty() {
                        let code = state.exits.remove(0);
                        let _ = writeln!(writer, "exit {code}");
                        continue;
                    }
                    let Some(runner) = state.runners.iter_mut().find(|runner| runner.id == id) else {
                        let _ = writeln!(writer, "gone");
                        continue;
                    };
                    runner.online = true;
                    online = Some(id);
                    let kept = writer.try_clone().expect("a second descriptor");
                    state.sessions.insert(id, kept);
                    let _ = writeln!(writer, "ok");
                }
                ["done"] => {
                    let mut state = self.lock();
                    let Some(runner) = state.runners.iter_mut().find(|runner| Some(runner.id) == online) else { continue };
                    runner.busy = false;
                    if runner.ephemeral {
                        let id = runner.id;
                        state.runners.retain(|runner| runner.id != id);
                    }
                }
                other => panic!("the runner said {other:?}"),
            }
        }
        let mut state = self.lock();
        if let Some(runner) = state.runners.iter_mut().find(|runner| Some(runner.id) == online) {
            (runner.online, runner.busy) = (false, false);
        }
        if let Some(id) = online {
            state.sessions.remove(&id);
        }
    }
}

/// A private key of an App as GitHub hands it out, and its public one.
pub(crate) fn app_key() -> (String, String) {
    let (made, key) = pipe(&["openssl", "genrsa", "-traditional", "2048"], b"");
    let (read, public) = pipe(&["openssl", "rsa", "-pubout"], &key);
    assert!(made && read);
    (String::from_utf8(key).unwrap(), String::from_utf8(public).unwrap())
}

/// A container with a runner in it, which belongs to the repository `o/r`, and GitHub.
pub(crate) fn with_runner(setup: Setup) -> (Setup, GitHub) {
    let github = GitHub::start(setup.network());
    (with_runner_of(setup), github)
}

/// The same for a GitHub that is there already, and listens in its network.
pub(crate) fn with_runner_of(setup: Setup) -> Setup {
    std::fs::write(setup.folder().join("runner.pl"), PROGRAM).unwrap();
    setup
        .set("GITHUB_RUNNER_URL", "https://github.com/o/r")
        .set("GITHUB_RUNNER_API_URL", &format!("http://127.0.0.1:{API}"))
        .set("GITHUB_RUNNER_NAME", "fixed")
        .before(
            "install -d -m 700 -o 1001 -g 1001 /home/runner
             install -d -o 1001 -g 1001 /opt/actions-runner /opt/actions-runner/bin /opt/actions-runner/externals
             install -o 1001 -g 1001 -m 755 /mnt/files/runner.pl /opt/actions-runner/config.sh
             install -o 1001 -g 1001 -m 755 /mnt/files/runner.pl /opt/actions-runner/bin/Runner.Listener",
        )
}

/// The same with a personal access token, and VS Code in the browser to give access.
pub(crate) fn with_pat() -> (Setup, GitHub) {
    let (setup, github) = with_runner(Setup::web(&server("")));
    (setup.set("GITHUB_RUNNER_PAT", PAT), github)
}

/// What `entrypoint status` says.
pub(crate) fn status(container: &Container) -> String {
    container.sh(&format!("{ENTRYPOINT} status"))
}

/// Waits until the list shows just these, all online.
pub(crate) fn online(container: &Container, github: &GitHub, names: &[&str]) {
    container.until(&format!("online runners {names:?}, but {:?}", github.runners()), |_| {
        let runners = github.runners();
        let there: Vec<_> = runners.iter().filter(|runner| runner.online).map(|runner| runner.name.as_str()).collect();
        (there == names && runners.len() == names.len()).then_some(())
    });
}

/// Stops it, and checks that this was clean and that nothing is left on the list.
pub(crate) fn leaves(container: Container, github: &GitHub) -> String {
    let (status, log) = container.stop();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(github.names(), [""; 0], "{log}");
    log
}
