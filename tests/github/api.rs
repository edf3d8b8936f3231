//! What the double of GitHub knows, and what its API answers.

use super::{INSTALLATION_TOKEN, REGISTRATION};
use crate::doubles::{Answer, Request};
use std::collections::HashMap;
use std::io::Write as _;
use std::net::TcpStream;
use std::process::{Command, Stdio};

/// A runner on the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Runner {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) online: bool,
    pub(crate) busy: bool,
    pub(super) ephemeral: bool,
    pub(crate) labels: String,
}

/// An answer that was prepared for requests with this method and a part of this address.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub(super) method: &'static str,
    pub(super) part: String,
    pub(super) answer: Answer,
    pub(super) times: usize,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) runners: Vec<Runner>,
    /// The longest that the list has ever been.
    pub(super) most: usize,
    pub(super) last_id: u64,
    /// Registration and removal tokens that were given out.
    pub(super) tokens: Vec<String>,
    pub(super) pats: Vec<String>,
    pub(super) prepared: Vec<Prepared>,
    /// What waits to be let go, and what has come there.
    pub(super) held: Vec<String>,
    pub(super) arrived: Vec<String>,
    pub(super) down: bool,
    pub(super) visibility: String,
    /// Exit codes that the next listeners are sent away with.
    pub(super) exits: Vec<u8>,
    pub(super) sessions: HashMap<u64, TcpStream>,
    pub(super) asked: Vec<Request>,
    /// The public key of the App, as PEM.
    pub(super) key: String,
}

impl State {
    pub(super) fn add(&mut self, name: &str, ephemeral: bool, labels: &str) -> u64 {
        self.last_id += 1;
        let id = self.last_id;
        self.runners.push(Runner { id, name: name.into(), online: false, busy: false, ephemeral, labels: labels.into() });
        self.most = self.most.max(self.runners.len());
        id
    }

    fn taken(&self, name: &str) -> bool {
        self.runners.iter().any(|runner| runner.name.eq_ignore_ascii_case(name))
    }

    pub(super) fn register(&mut self, token: &str, name: &str, ephemeral: bool, labels: &str) -> String {
        if !self.tokens.iter().any(|known| known == token) {
            return "error Http response code: NotFound from 'POST /actions/runner-registration'".to_owned();
        }
        if self.taken(name) {
            return format!("error A runner exists with the same name {name}.");
        }
        format!("id {}", self.add(name, ephemeral, labels))
    }

    pub(super) fn remove(&mut self, id: u64) {
        self.runners.retain(|runner| runner.id != id);
        self.tell(id, "gone");
    }

    pub(super) fn tell(&mut self, id: u64, command: &str) {
        if let Some(stream) = self.sessions.get_mut(&id) {
            let _ = writeln!(stream, "{command}");
        }
    }

    /// Whether the request shows a token that is accepted.
    fn authorized(&self, request: &Request) -> bool {
        let token = request.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        token == INSTALLATION_TOKEN || self.pats.iter().any(|pat| pat == token)
    }

    pub(super) fn answer(&mut self, request: &Request, path: &str) -> Answer {
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
pub(super) fn pipe(command: &[&str], input: &[u8]) -> (bool, Vec<u8>) {
    let mut child = Command::new(command[0])
        .args(&command[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect(command[0]);
    child.stdin.take().expect("it is piped").write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), output.stdout)
}
