//! Registries that fail at a chosen moment: a proxy on loopback in front of each real one. All requests to all of them
//! are counted together, in the order in which they come, and a plan says which of them meets which fault.

mod proxy;
pub mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use proxy::Proxy;
use wire::{Answer, Head};

/// What can happen to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The connection is reset before the registry has seen anything.
    DropBefore,
    /// The connection is reset in the middle of the request's body; the registry gets that half.
    DropDuring,
    /// The registry carries it out, the connection ends without an answer.
    DropAfter,
    /// The registry carries it out, its answer ends in the middle.
    Truncated,
    /// 401, once.
    Unauthorized,
    /// The registry carries the `PUT` out, the answer is 404 (GHCR).
    CommittedNotFound,
    /// The `PUT` is lost, and the answer is 404 (GHCR).
    LostNotFound,
    /// 408.
    Timeout,
    /// 429 with `Retry-After`.
    BusyUntil,
    /// 429 without.
    Busy,
    /// 500.
    Error,
    /// 502 with a page.
    Page,
    /// 503, before the body was read.
    Unavailable,
    /// The registry carries it out, a gateway answers 504.
    CommittedTimeout,
    /// An answer that comes late, and in pieces.
    Slow,
    /// An answer to a `GET` with one byte changed.
    Garbled,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::DropBefore,
        Self::DropDuring,
        Self::DropAfter,
        Self::Truncated,
        Self::Unauthorized,
        Self::CommittedNotFound,
        Self::LostNotFound,
        Self::Timeout,
        Self::BusyUntil,
        Self::Busy,
        Self::Error,
        Self::Page,
        Self::Unavailable,
        Self::CommittedTimeout,
        Self::Slow,
        Self::Garbled,
    ];

    /// Whether it only makes sense where the request has a body. Such faults count those requests alone.
    pub fn wants_body(self) -> bool {
        matches!(self, Self::DropDuring | Self::CommittedNotFound | Self::LostNotFound)
    }

    /// The answer in place of the registry's.
    fn answer(self) -> Option<Answer> {
        let json = |status, words, code| Answer::new(status, words, &[("Content-Type", "application/json")], &errors(code));
        Some(match self {
            Self::Unauthorized => {
                let challenge = ("WWW-Authenticate", "Basic realm=\"faults\"");
                Answer::new(401, "Unauthorized", &[challenge, ("Content-Type", "application/json")], &errors("UNAUTHORIZED"))
            }
            Self::CommittedNotFound | Self::LostNotFound => json(404, "Not Found", "BLOB_UPLOAD_UNKNOWN"),
            Self::Timeout => Answer::new(408, "Request Timeout", &[], ""),
            Self::BusyUntil => Answer::new(429, "Too Many Requests", &[("Retry-After", "7")], &errors("TOOMANYREQUESTS")),
            Self::Busy => json(429, "Too Many Requests", "TOOMANYREQUESTS"),
            Self::Error => json(500, "Internal Server Error", "UNKNOWN"),
            Self::Page => {
                let page = "<!DOCTYPE html><html><title>502 Bad Gateway</title><body>a unicorn</body></html>";
                Answer::new(502, "Bad Gateway", &[("Content-Type", "text/html")], page)
            }
            Self::Unavailable => Answer::new(503, "Service Unavailable", &[], ""),
            Self::CommittedTimeout => Answer::new(504, "Gateway Timeout", &[("Content-Type", "text/html")], "<html>504</html>"),
            Self::DropBefore | Self::DropDuring | Self::DropAfter | Self::Truncated | Self::Slow | Self::Garbled => return None,
        })
    }
}

fn errors(code: &str) -> String {
    format!(r#"{{"errors":[{{"code":"{code}","message":"injected"}}]}}"#)
}

/// A request that came through a proxy.
#[derive(Debug, Clone)]
pub struct Seen {
    /// Its place among all requests to all registries.
    pub index: usize,
    /// Which registry.
    pub destination: usize,
    /// Method and path.
    pub request: String,
    /// What happened to it.
    pub fault: Option<Kind>,
    /// The registry's own status; none where it got no whole request or gave no answer.
    pub status: Option<u16>,
    /// Bytes of the body that came.
    pub bytes: u64,
    /// Whether the blob was there before, as this proxy has seen.
    pub again: bool,
}

impl Seen {
    /// Whether this sets a tag; which.
    pub fn tag(&self) -> Option<&str> {
        let name = self.request.strip_prefix("PUT ")?.split_once("/manifests/")?.1;
        // Neither by a digest, nor the one that stands in for a list of referrers.
        (!name.starts_with("sha256")).then_some(name)
    }

    /// Whether it commits a blob; which.
    pub fn blob(&self) -> Option<String> {
        let query = self.request.strip_prefix("PUT ").filter(|request| request.contains("/blobs/uploads/"))?.split_once('?')?.1;
        let digest = query.split('&').find_map(|part| part.strip_prefix("digest="))?;
        Some(digest.replace("%3A", ":").replace("%3a", ":"))
    }
}

/// How far a request has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It came; the registry knows nothing of it.
    Arrived,
    /// Half of its body went on.
    Halfway,
    /// The registry has answered; the client knows nothing of it.
    Answered,
}

/// What happens at certain moments beside the faults: a registry dies, a publisher is killed.
pub type Hook = Box<dyn Fn(&Seen, Moment) + Send + Sync>;

/// What all proxies of one publish share.
#[derive(Default)]
pub struct Course {
    state: Mutex<State>,
    hook: Option<Hook>,
    guard: Option<Mutex<Guard>>,
}

/// Tokens that are refused after a number of requests, whatever they were said to be good for.
#[derive(Default)]
struct Guard {
    life: usize,
    left: BTreeMap<String, usize>,
}

impl Guard {
    fn admits(&mut self, destination: usize, head: &Head) -> bool {
        let token = head.header("authorization").and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
        let ours = token.starts_with(&format!("token-{destination}-"));
        match self.left.get_mut(token).filter(|left| ours && **left > 0) {
            Some(left) => {
                *left -= 1;
                true
            }
            None => false,
        }
    }

    fn token(&mut self, destination: usize) -> Answer {
        let token = format!("token-{destination}-{}", self.left.len());
        let text = format!(r#"{{"token":"{token}","access_token":"{token}","expires_in":300}}"#);
        self.left.insert(token, self.life);
        Answer::new(200, "OK", &[("Content-Type", "application/json")], &text)
    }
}

#[derive(Default)]
struct State {
    plan: BTreeMap<usize, Kind>,
    of_bodies: BTreeMap<usize, Kind>,
    requests: usize,
    bodies: usize,
    seen: Vec<Seen>,
    committed: BTreeSet<(usize, String)>,
}

impl Course {
    /// Faults by the place of a request: among all, or, where the kind wants one, among those with a body.
    pub fn new(faults: &[(usize, Kind)], hook: Option<Hook>) -> Arc<Self> {
        let (of_bodies, plan) = faults.iter().copied().partition(|(_, kind)| kind.wants_body());
        Arc::new(Self { state: Mutex::new(State { plan, of_bodies, ..State::default() }), hook, guard: None })
    }

    /// No faults, but tokens (for anybody who asks) that end after so many requests.
    pub fn with_tokens(life: usize) -> Arc<Self> {
        Arc::new(Self { guard: Some(Mutex::new(Guard { life, left: BTreeMap::new() })), ..Self::default() })
    }

    /// Tokens that were handed out.
    pub fn tokens(&self) -> usize {
        self.guard.as_ref().map_or(0, |guard| guard.lock().unwrap_or_else(PoisonError::into_inner).left.len())
    }

    /// What is answered before anything is counted or handed on: a token, or that one is needed.
    fn before(&self, destination: usize, own: &str, head: &Head) -> Option<Answer> {
        let mut guard = self.guard.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        if head.target().starts_with("/token") {
            return Some(guard.token(destination));
        }
        if guard.admits(destination, head) {
            return None;
        }
        let challenge = format!(r#"Bearer realm="http://{own}/token",service="faults",error="invalid_token""#);
        let headers = [("WWW-Authenticate", &challenge[..]), ("Content-Type", "application/json")];
        Some(Answer::new(401, "Unauthorized", &headers, &errors("UNAUTHORIZED")))
    }

    /// Every request so far, in the order in which they came.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    /// No faults from now on.
    pub fn forgive(&self) {
        let mut state = self.state();
        state.plan.clear();
        state.of_bodies.clear();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, destination: usize, head: &Head) -> (usize, Option<Kind>) {
        let mut state = self.state();
        let index = state.requests;
        state.requests += 1;
        let mut fault = state.plan.get(&index).copied();
        if head.length() != Some(0) {
            fault = fault.or(state.of_bodies.get(&state.bodies).copied());
            state.bodies += 1;
        }
        let request = format!("{} {}", head.method(), head.target());
        let mut seen = Seen { index, destination, request, fault, status: None, bytes: 0, again: false };
        seen.again = seen.blob().is_some_and(|blob| state.committed.contains(&(destination, blob)));
        state.seen.push(seen);
        (index, fault)
    }

    fn answered(&self, index: usize, status: u16) {
        let mut state = self.state();
        let Some(seen) = state.seen.get_mut(index) else { return };
        seen.status = Some(status);
        let committed = seen.blob().filter(|_| status == 201).map(|blob| (seen.destination, blob));
        state.committed.extend(committed);
    }

    fn took(&self, index: usize, bytes: usize) {
        if let Some(seen) = self.state().seen.get_mut(index) {
            seen.bytes += bytes as u64;
        }
    }

    fn tell(&self, index: usize, moment: Moment) {
        let seen = self.state().seen.get(index).cloned();
        if let (Some(hook), Some(seen)) = (&self.hook, seen) {
            hook(&seen, moment);
        }
    }
}
