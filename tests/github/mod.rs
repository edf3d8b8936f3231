//! GitHub, as far as its runners are concerned: the REST API (from GitHub's documentation) and, in a little protocol
//! of lines of its own, what `config.sh` and the listener do with it. The runner's double speaks that: a runner is
//! online while its connection is open, as with GitHub.

#![allow(dead_code, reason = "each test file uses its part")]

use crate::container::{Container, ENTRYPOINT, Network, Setup, server};
use crate::doubles::{Answer, Request, serve};
use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};
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

/// A runner on the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runner {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) online: bool,
    pub(crate) busy: bool,
    ephemeral: bool,
    pub(crate) labels: String,
}

/// An answer that was prepared for requests with this method and a part of this address.
#[derive(Debug, Clone)]
struct Prepared {
    method: &'static str,
    part: String,
    answer: Answer,
    times: usize,
}

#[derive(Debug)]
struct State {
    runners: Vec<Runner>,
    /// The longest that the list has ever been.
    most: usize,
    last_id: u64,
    /// Registration and removal tokens that were given out.
    tokens: Vec<String>,
    pats: Vec<String>,
    prepared: Vec<Prepared>,
    /// What waits to be let go, and what has come there.
    held: Vec<String>,
    arrived: Vec<String>,
    down: bool,
    visibility: String,
    /// Exit codes that the next listeners are sent away with.
    exits: Vec<u8>,
    sessions: HashMap<u64, TcpStream>,
    asked: Vec<Request>,
    /// The public key of the App, as PEM.
    key: String,
}

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

    /// From now on what comes to `place` waits: `METHOD part`, `register`, `registered`.
    pub(crate) fn hold(&self, place: &str) {
        self.lock().held.push(place.to_owned());
    }

    /// Lets everything go on.
    pub(crate) fn release(&self) {
        self.lock().held.clear();
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
        let path = request.path.split('?').next().unwrap_or_default().to_owned();
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

impl State {
    fn add(&mut self, name: &str, ephemeral: bool, labels: &str) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.runners.push(Runner { id, name: name.into(), online: false, busy: false, ephemeral, labels: labels.into() });
        self.most = self.most.max(self.runners.len());
        id
    }

    fn taken(&self, name: &str) -> bool {
        self.runners.iter().any(|runner| runner.name.eq_ignore_ascii_case(name))
    }

    fn register(&mut self, token: &str, name: &str, ephemeral: bool, labels: &str) -> String {
        if !self.tokens.iter().any(|known| known == token) {
            return "error Http response code: NotFound from 'POST /actions/runner-registration'".to_owned();
        }
        if self.taken(name) {
            return format!("error A runner exists with the same name {name}.");
        }
        format!("id {}", self.add(name, ephemeral, labels))
    }

    fn remove(&mut self, id: u64) {
        self.runners.retain(|runner| runner.id != id);
        self.tell(id, "gone");
    }

    fn tell(&mut self, id: u64, command: &str) {
        if let Some(stream) = self.sessions.get_mut(&id) {
            let _ = writeln!(stream, "{command}");
        }
    }

    /// Whether the request shows a token that is accepted.
    fn authorized(&self, request: &Request) -> bool {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        token == INSTALLATION_TOKEN || self.pats.iter().any(|pat| pat == token)
    }

    fn answer(&mut self, request: &Request, path: &str) -> Answer {
        let method = request.method.as_str();
        if path.ends_with("/installation") || path.ends_with("/access_tokens") {
            return self.app(request, path);
        }
        let public = self.visibility == "public" && method == "GET" && path == "/repos/o/r";
        if !self.authorized(request) && !public {
            let anonymous = request.header("authorization").is_none();
            let (status, message) = if anonymous { (404, "Not Found") } else { (401, "Bad credentials") };
            return Answer::new(status, format!(r#"{{"message":"{message}"}}"#));
        }
        if path == "/repos/o/r" {
            let private = self.visibility != "public";
            return Answer::new(200, format!(r#"{{"private":{private},"visibility":"{}"}}"#, self.visibility));
        }
        let owners = ["/repos/o/r/actions/", "/orgs/o/actions/", "/enterprises/e/actions/"];
        let Some(rest) = owners.iter().find_map(|owner| path.strip_prefix(owner)) else {
            return Answer::new(404, r#"{"message":"Not Found"}"#);
        };
        match (method, rest) {
            ("GET", "runner-groups") => {
                Answer::new(200, r#"{"runner_groups":[{"id":1,"name":"Default"},{"id":5,"name":"builders"}]}"#)
            }
            ("GET", "runners") => Answer::new(200, self.page(&request.path)),
            ("POST", "runners/registration-token" | "runners/remove-token") => {
                let token = format!("{REGISTRATION}{}", self.tokens.len());
                self.tokens.push(token.clone());
                Answer::new(201, format!(r#"{{"token":"{token}","expires_at":"2030-01-01T00:00:00Z"}}"#))
            }
            ("POST", "runners/generate-jitconfig") => self.just_in_time(&request.text()),
            ("GET" | "DELETE", other) => {
                let id = other.strip_prefix("runners/").and_then(|id| id.parse::<u64>().ok());
                let found = self.runners.iter().find(|runner| Some(runner.id) == id).cloned();
                match (method, found) {
                    (_, None) => Answer::new(404, r#"{"message":"Not Found"}"#),
                    ("GET", Some(runner)) => Answer::new(200, shown(&runner)),
                    (_, Some(runner)) if runner.busy => {
                        let message = format!("Bad request - Runner \\\"{}\\\" is still running a job", runner.name);
                        Answer::new(422, format!(r#"{{"message":"{message}"}}"#))
                    }
                    (_, Some(runner)) => {
                        self.remove(runner.id);
                        Answer::new(204, "")
                    }
                }
            }
            _ => Answer::new(404, r#"{"message":"Not Found"}"#),
        }
    }

    fn page(&self, path: &str) -> String {
        let number = |name: &str, default| {
            let query = path.split_once('?').map_or("", |(_, query)| query);
            let value = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
            value.map_or(default, |value| value.parse::<usize>().expect("a number"))
        };
        let (size, page) = (number("per_page", 30).min(100), number("page", 1));
        let runners = self.runners.iter().skip((page - 1) * size).take(size).map(shown);
        format!(r#"{{"total_count":{},"runners":[{}]}}"#, self.runners.len(), runners.collect::<Vec<_>>().join(","))
    }

    fn just_in_time(&mut self, body: &str) -> Answer {
        let field = |name: &str| {
            let rest = body.split_once(&format!("\"{name}\":\"")).expect("the field is there").1;
            rest.split('"').next().unwrap_or_default().to_owned()
        };
        let name = field("name");
        if self.taken(&name) {
            return Answer::new(409, r#"{"message":"Already exists"}"#);
        }
        let labels = body.split_once("\"labels\":[").expect("labels").1.split(']').next().unwrap_or_default().to_owned();
        let group = body.split_once("\"runner_group_id\":").expect("a group").1.split(',').next().unwrap_or_default().to_owned();
        let id = self.add(&name, true, &format!("{labels} in {group}"));
        // Not Base64 here: only the runner looks into it.
        Answer::new(201, format!(r#"{{"runner":{{"id":{id},"name":"{name}"}},"encoded_jit_config":"jitcanary.{id}.{name}"}}"#))
    }

    /// The two requests that an App makes as itself.
    fn app(&self, request: &Request, path: &str) -> Answer {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        if !signed(token, &self.key) {
            return Answer::new(401, r#"{"message":"A JSON web token could not be decoded"}"#);
        }
        match path {
            "/repos/o/r/installation" | "/orgs/o/installation" | "/enterprises/e/installation" => {
                Answer::new(200, r#"{"id":42,"app_id":7}"#)
            }
            "/app/installations/42/access_tokens" => {
                Answer::new(201, format!(r#"{{"token":"{INSTALLATION_TOKEN}","expires_at":"2030-01-01T00:00:00Z"}}"#))
            }
            _ => Answer::new(404, r#"{"message":"Not Found"}"#),
        }
    }
}

fn shown(runner: &Runner) -> String {
    let status = if runner.online { "online" } else { "offline" };
    format!(r#"{{"id":{},"name":"{}","os":"linux","status":"{status}","busy":{}}}"#, runner.id, runner.name, runner.busy)
}

/// Whether `token` was signed, with RS256, by the owner of the public key.
fn signed(token: &str, key: &str) -> bool {
    let Some((signed, signature)) = token.rsplit_once('.') else { return false };
    let folder = tempfile();
    let (key_file, signature_file) = (format!("{folder}/key"), format!("{folder}/signature"));
    std::fs::write(&key_file, key).unwrap();
    let padded = signature.replace('-', "+").replace('_', "/") + &"=".repeat((4 - signature.len() % 4) % 4);
    std::fs::write(&signature_file, pipe(&["base64", "-d"], padded.as_bytes()).1).unwrap();
    let verify = ["openssl", "dgst", "-sha256", "-verify", &key_file, "-signature", &signature_file];
    let good = pipe(&verify, signed.as_bytes()).0;
    std::fs::remove_dir_all(folder).unwrap();
    good
}

fn tempfile() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NUMBER: AtomicU32 = AtomicU32::new(0);
    let name = format!("github-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder.display().to_string()
}

/// Runs a command with `input` and returns whether it ended well, and its output.
pub(crate) fn pipe(command: &[&str], input: &[u8]) -> (bool, Vec<u8>) {
    let mut child =
        Command::new(command[0]).args(&command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect(command[0]);
    child.stdin.take().expect("it is piped").write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), output.stdout)
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
