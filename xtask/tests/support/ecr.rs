//! Amazon ECR's habits in front of a real `docker-registry`, as the contract "registries" has them. A double: nobody
//! asked ECR itself.
//!
//! - Basic authentication, `AWS` and a password that ends.
//! - A chunk (`PATCH`) is answered by 201, and `Range` stays at the first chunk's end: who trusts it gets 416. A blob
//!   that comes in one `PUT` without a length is refused.
//! - A repository that is not there is 404 `NAME_UNKNOWN`.
//! - An immutable tag is refused even for the digest that it has.
//! - Requests beyond a rate are answered by 429, here by turns instead of by the clock: every ninth.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, Request, header};

use super::front::{Asked, Behind, Front, Say, answer, error};

struct State {
    requests: usize,
    password: String,
    exists: bool,
    habits: BTreeSet<&'static str>,
}

/// The double.
pub struct Ecr {
    /// Where it listens, and what it saw.
    pub front: Front,
    state: Arc<Mutex<State>>,
}

impl Ecr {
    /// In front of the registry at `address`, with a repository that has immutable tags but for those that `moves`
    /// names.
    pub fn before(address: &str, password: &str, moves: fn(&str) -> bool) -> Self {
        let state = State { requests: 0, password: password.to_owned(), exists: true, habits: BTreeSet::new() };
        let state = Arc::new(Mutex::new(state));
        let kept = Arc::clone(&state);
        let front = Front::before(address, move |asked, behind| {
            let path = asked.uri().path().to_owned();
            {
                let mut state = state.lock().expect("the state");
                let wanted = format!("Basic {}", STANDARD.encode(format!("AWS:{}", state.password)));
                let told = asked.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
                if told != Some(wanted.as_str()) {
                    let mut refused = answer(401, "text/plain", "Not Authorized");
                    let challenge = "Basic realm=\"https://ecr.example/\",service=\"ecr.amazonaws.com\"";
                    refused.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
                    return Say::Answer(refused);
                }
                state.requests += 1;
                if state.requests.is_multiple_of(9) {
                    state.habits.insert("rate");
                    return Say::Answer(error(429, "TOOMANYREQUESTS", "Rate exceeded"));
                }
                if !state.exists && path != "/v2/" {
                    let text = "The repository with name 'team/image' does not exist in the registry with id '123456789012'";
                    return Say::Answer(error(404, "NAME_UNKNOWN", text));
                }
            }
            match *asked.method() {
                Method::PATCH => {
                    state.lock().expect("the state").habits.insert("chunk");
                    let mut taken = behind.answer(asked);
                    *taken.status_mut() = http::StatusCode::CREATED;
                    taken.headers_mut().insert(header::RANGE, HeaderValue::from_static("0-0"));
                    Say::Answer(taken)
                }
                Method::PUT if path.contains("/blobs/uploads/") && !asked.headers().contains_key(header::CONTENT_LENGTH) => {
                    Say::Answer(error(400, "SIZE_INVALID", "the length is missing"))
                }
                Method::PUT if is_taken(asked, behind, moves) => {
                    state.lock().expect("the state").habits.insert("immutable");
                    let tag = path.rsplit('/').next().unwrap_or_default();
                    let text = format!(
                        "The image tag '{tag}' already exists in the 'team/image' repository and cannot be overwritten because the repository is immutable."
                    );
                    Say::Answer(error(400, "TAG_INVALID", &text))
                }
                _ => Say::Answer(behind.answer(asked)),
            }
        });
        Self { front, state: kept }
    }

    /// From now on this is the password: the one before has ended.
    pub fn set_password(&self, password: &str) {
        password.clone_into(&mut self.state.lock().expect("the state").password);
    }

    /// Whether the repository is there.
    pub fn set_exists(&self, exists: bool) {
        self.state.lock().expect("the state").exists = exists;
    }

    /// Which habits showed.
    pub fn habits(&self) -> Vec<&'static str> {
        self.state.lock().expect("the state").habits.iter().copied().collect()
    }
}

/// Whether this sets an immutable tag that is there.
fn is_taken(asked: &Asked, behind: &Behind, moves: fn(&str) -> bool) -> bool {
    let path = asked.uri().path();
    let Some((_, reference)) = path.rsplit_once("/manifests/") else { return false };
    if reference.contains(':') || moves(reference) {
        return false;
    }
    let look = Request::head(path).header(header::ACCEPT, "application/vnd.oci.image.manifest.v1+json");
    behind.answer(&look.body(bytes::Bytes::new()).expect("a request")).status().is_success()
}
