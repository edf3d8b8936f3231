//! GHCR's habits in front of a real `docker-registry`, as the contract "registries" has them. A double: nobody asked
//! GHCR itself.
//!
//! - Tokens of `/token` are opaque and live shortly; it is asked with a token as the password, of any name. No request is
//!   refused twice for that, however many there are at once: real tokens end by the clock.
//! - A commit (`PUT` of a blob) is answered by 404 though it is carried out (40 of 51 observed failures), or it is lost
//!   (11 of 51): here every commit but each fifth, in these proportions.
//! - 502 and 504 come as HTML pages: here at every eleventh request.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, header};
use serde_json::json;

use super::front::{Asked, Front, Say, answer, error, page};

/// How many requests a token is good for.
const USES: usize = 7;

#[derive(Default)]
struct State {
    requests: usize,
    commits: usize,
    tokens: usize,
    /// What is left of the last token.
    uses: usize,
    /// What was refused because its token had ended.
    refused: BTreeSet<String>,
    /// What happened at least once.
    habits: BTreeSet<&'static str>,
}

/// The double.
pub struct Ghcr {
    /// Where it listens, and what it saw.
    pub front: Front,
    state: Arc<Mutex<State>>,
}

impl Ghcr {
    /// In front of the registry at `address`; `token` may read and write.
    pub fn before(address: &str, token: &str) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let (kept, token) = (Arc::clone(&state), token.to_owned());
        let front = Front::before(address, move |asked, behind| {
            let path = asked.uri().path().to_owned();
            let host = asked.headers()[header::HOST].to_str().expect("a host").to_owned();
            let commit = {
                let mut state = state.lock().expect("the state");
                state.requests += 1;
                if state.requests.is_multiple_of(11) {
                    state.habits.insert("page");
                    return Say::Answer(page(if state.requests.is_multiple_of(2) { 502 } else { 504 }));
                }
                if path == "/token" {
                    return grant(&mut state, asked, &token);
                }
                let newest = format!("Bearer opaque-{}", state.tokens);
                let ended = authorization(asked) != newest || state.uses == 0;
                let granted = authorization(asked).starts_with("Bearer opaque-");
                if !granted || (ended && state.refused.insert(name(asked))) {
                    if granted {
                        state.habits.insert("token ended");
                    }
                    let realm =
                        format!("Bearer realm=\"http://{host}/token\",service=\"ghcr.io\",scope=\"repository:team/image:pull\"");
                    let mut refused = error(401, "UNAUTHORIZED", "authentication required");
                    refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_str(&realm).expect("a value"));
                    return Say::Answer(refused);
                }
                state.uses = state.uses.saturating_sub(1);
                if asked.method() == Method::PUT && path.contains("/blobs/uploads/") {
                    state.commits += 1;
                    Some(state.commits % 5)
                } else {
                    None
                }
            };
            let unknown = || Say::Answer(error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"));
            match commit {
                Some(0) | None => Say::Answer(behind.answer(asked)),
                Some(3) => {
                    state.lock().expect("the state").habits.insert("commit lost");
                    unknown()
                }
                Some(_) => {
                    behind.answer(asked);
                    state.lock().expect("the state").habits.insert("commit denied");
                    unknown()
                }
            }
        });
        Self { front, state: kept }
    }

    /// Which habits showed.
    pub fn habits(&self) -> Vec<&'static str> {
        self.state.lock().expect("the state").habits.iter().copied().collect()
    }
}

/// What is asked for, however often. (A commit is of its blob, whatever session it is in.)
fn name(asked: &Asked) -> String {
    let digest = asked.uri().query().and_then(|query| query.split_once("digest=")).map(|(_, digest)| digest);
    format!("{} {}", asked.method(), digest.unwrap_or(asked.uri().path()))
}

fn authorization(asked: &Asked) -> &str {
    asked.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn grant(state: &mut State, asked: &Asked, token: &str) -> Say {
    let told = authorization(asked).strip_prefix("Basic ").and_then(|told| STANDARD.decode(told).ok());
    let told = told.and_then(|told| String::from_utf8(told).ok()).unwrap_or_default();
    if told.split_once(':').is_none_or(|(name, password)| name.is_empty() || password != token) {
        return Say::Answer(error(403, "DENIED", "permission_denied: write_package"));
    }
    state.tokens += 1;
    state.uses = USES;
    let granted = json!({"token": format!("opaque-{}", state.tokens), "expires_in": 300});
    Say::Answer(answer(200, "application/json", granted.to_string()))
}
