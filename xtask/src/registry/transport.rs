//! One request at a time, well behaved: authorised, renewed once at a 401, redirects followed without the credential,
//! retried as [`crate::retry`] says.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use reqwest::{Body, Response, Url};

use super::answer::{self, Answer, Trouble, connection};
use super::challenge::Challenge;
use super::login::{Grant, Login};
use super::trace::Sent;
use super::web::{Web, may_go, same_origin};
use super::{Identity, RegistryError, api_host};
use crate::oci::Repository;
use crate::retry::{Clock, Policy, is_passing, retry_after};

/// What is asked of the registry's token server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Pull,
    /// Reading and writing.
    Push,
}

/// No manifest, no list and no error is larger (the specification asks registries to take manifests up to 4 MiB).
const LARGEST_BODY: usize = 8 << 20;
/// A blob may be behind a few doors.
const REDIRECTS: usize = 5;

/// How long is waited for what does not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For the whole answer to a request that carries no blob.
    pub answer: Duration,
    /// For the next byte of a blob, and for the registry's word that it has one: it may take its time to commit a
    /// large layer.
    pub blob: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { answer: Duration::from_secs(60), blob: Duration::from_secs(180) }
    }
}

/// A request that can be made again and again.
pub(super) struct Ask {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Option<Box<dyn Fn() -> Body + Send + Sync>>,
    /// Whether a refused token ends the attempt instead of being renewed in it.
    only_once: bool,
    /// How often it was sent.
    sent: AtomicU32,
}

impl Ask {
    pub(super) fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: None, only_once: false, sent: AtomicU32::new(0) }
    }

    pub(super) fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        // What is no header's value (a media type with a line break) is left out, and the registry says what it lacks.
        if let Ok(value) = value.try_into() {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) fn bytes(self, bytes: &Bytes) -> Self {
        let bytes = bytes.clone();
        self.body(move || Body::from(bytes.clone()))
    }

    pub(super) fn body(mut self, body: impl Fn() -> Body + Send + Sync + 'static) -> Self {
        self.body = Some(Box::new(body));
        self
    }

    pub(super) fn only_once(mut self) -> Self {
        self.only_once = true;
        self
    }

    pub(super) fn query(&mut self, name: &str, value: &str) {
        self.url.query_pairs_mut().append_pair(name, value);
    }

    /// The same request for what a link in its answer leads to, within the registry.
    pub(super) fn on(&self, link: &str) -> Option<Self> {
        let next = self.url.join(link).ok().filter(|next| same_origin(next, &self.url))?;
        Some(Self::new(self.method.clone(), next))
    }

    fn reads(&self) -> bool {
        matches!(self.method, Method::GET | Method::HEAD)
    }
}

/// The attempts at one thing.
pub(super) struct Attempts {
    failed: u32,
    /// When the first of them failed: what takes long and then fails may be tried again.
    since: Option<Duration>,
}

impl Attempts {
    /// Forgets the failures: there is progress since.
    pub(super) fn reset(&mut self) {
        *self = Self { failed: 0, since: None };
    }
}

pub(super) struct Transport {
    web: Web,
    login: Login,
    pub(super) host: String,
    base: Url,
    policy: Policy,
    pub(super) patience: Patience,
    clock: Arc<dyn Clock>,
}

impl Transport {
    pub(super) fn new(
        repository: &Repository,
        plain: bool,
        access: Access,
        identity: Arc<dyn Identity>,
        policy: Policy,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RegistryError> {
        let host = api_host(repository).to_owned();
        let failed = |why: String| RegistryError::Client { registry: host.clone(), why };
        let scheme = if plain { "http" } else { "https" };
        let root = Url::parse(&format!("{scheme}://{host}/v2/")).map_err(|error| failed(error.to_string()))?;
        let base = root.join(&format!("{}/", repository.path())).map_err(|error| failed(error.to_string()))?;
        let (web, patience) = (Web::default(), Patience::default());
        web.client(&base).map_err(failed)?;
        let login = Login::new(identity, root, repository.path(), access, patience.answer);
        Ok(Self { web, login, host, base, policy, patience, clock })
    }

    pub(super) fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
        self.login.set_patience(patience.answer);
    }

    pub(super) fn attempts(&self) -> Attempts {
        Attempts { failed: 0, since: None }
    }

    /// A request for something in the repository: `blobs/sha256:…`.
    pub(super) fn ask(&self, method: Method, path: &str) -> Result<Ask, RegistryError> {
        let url = self.base.join(path).map_err(|error| self.protocol("be addressed", error.to_string()))?;
        Ok(Ask::new(method, url))
    }

    /// Where an answer to `ask` sends us to.
    pub(super) fn location(&self, ask: &Ask, answer: &Answer) -> Result<Url, Trouble> {
        let location = answer.header(header::LOCATION).and_then(|location| ask.url.join(location).ok());
        let location = location.ok_or_else(|| Trouble::Garbled { why: "it does not say where to upload to".to_owned() })?;
        may_go(&ask.url, &location).map(|()| location)
    }

    /// Sends a request until it is answered; for those that may be repeated.
    pub(super) async fn call(&self, what: &str, ask: &Ask) -> Result<Answer, RegistryError> {
        let mut attempts = self.attempts();
        loop {
            match self.once(ask).await {
                Ok(answer) => return Ok(answer),
                Err(trouble) => self.wait(&mut attempts, trouble, what).await?,
            }
        }
    }

    /// One attempt, within [`Patience::answer`].
    pub(super) async fn once(&self, ask: &Ask) -> Result<Answer, Trouble> {
        let late = || Trouble::Connection { why: format!("no answer within {:?}", self.patience.answer), passing: true };
        tokio::time::timeout(self.patience.answer, self.unhurried(ask)).await.unwrap_or_else(|_| Err(late()))
    }

    /// One attempt that may take as long as it takes.
    pub(super) async fn unhurried(&self, ask: &Ask) -> Result<Answer, Trouble> {
        answer::collect(self.open(ask).await?, LARGEST_BODY).await
    }

    /// One attempt, up to the head of an answer that is neither a refusal nor passing. A 401 is answered by another
    /// token or password, once, and does not count as a failure.
    pub(super) async fn open(&self, ask: &Ask) -> Result<Response, Trouble> {
        let (mut introduced, mut renewed) = (false, false);
        loop {
            let grant = match same_origin(&ask.url, &self.base) {
                true => Some(self.login.grant(&self.web, self.clock.as_ref()).await?),
                // An upload's location may be anywhere.
                false => None,
            };
            let response = self.follow(ask, grant.as_ref()).await?;
            let (status, ours) = (response.status(), same_origin(response.url(), &self.base));
            match (status, grant) {
                (StatusCode::UNAUTHORIZED, Some(grant)) if ours => {
                    // A registry that lets everybody in at its door may still want to know who asks for this.
                    let spent = if grant.is_anonymous() { &mut introduced } else { &mut renewed };
                    let again = !std::mem::replace(spent, true);
                    let challenge = Challenge::of(response.headers());
                    let why = self.words(response).await;
                    self.login.refused(&grant, challenge).await;
                    match again {
                        true if ask.only_once => return Err(Trouble::Stale { why }),
                        true => {}
                        false => return Err(Trouble::Denied { why }),
                    }
                }
                (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, _) => {
                    return Err(Trouble::Denied { why: self.words(response).await });
                }
                (status, _) if is_passing(status.as_u16()) => {
                    let asked = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                    let pause = asked.and_then(|value| retry_after(value, self.clock.date()));
                    let message = answer::collect(response, LARGEST_BODY).await.map(|answer| answer.message());
                    return Err(Trouble::Status { status, message: message.unwrap_or_default(), pause });
                }
                (status, _) if status.is_success() && answer::is_page(response.headers()) => {
                    return Err(Trouble::Garbled { why: format!("a page came with {}", status.as_u16()) });
                }
                _ => return Ok(response),
            }
        }
    }

    /// `401: UNAUTHORIZED authentication required`
    async fn words(&self, response: Response) -> String {
        let status = response.status();
        let message = answer::collect(response, LARGEST_BODY).await.map(|answer| answer.message());
        format!("{}{}", status.as_u16(), message.unwrap_or_default())
    }

    /// Sends a request and follows redirects: what reads to anywhere, what writes within the registry.
    async fn follow(&self, ask: &Ask, grant: Option<&Grant>) -> Result<Response, Trouble> {
        let attempt = ask.sent.fetch_add(1, Ordering::Relaxed) + 1;
        let mut url = ask.url.clone();
        for _ in 0..=REDIRECTS {
            let client = self.web.client(&url).map_err(|why| Trouble::Connection { why, passing: false })?;
            let mut request = client.request(ask.method.clone(), url.clone()).headers(ask.headers.clone());
            if let Some(body) = &ask.body {
                request = request.body(body());
            }
            if let Some(grant) = grant.filter(|_| same_origin(&url, &self.base)) {
                request = grant.authorize(request);
            }
            let (started, home) = (Instant::now(), &self.base);
            let told = Sent { method: &ask.method, url: &url, home, headers: &ask.headers, attempt, started };
            let sent = request.send().await.map_err(connection);
            told.ended(sent.as_ref().ok().map(|response| (response.status(), response.headers())));
            let response = sent?;
            let location = response.headers().get(header::LOCATION).and_then(|location| location.to_str().ok());
            let next = match response.status().as_u16() {
                301 | 302 | 303 | 307 | 308 if ask.reads() => location.and_then(|location| url.join(location).ok()),
                307 | 308 => location.and_then(|to| url.join(to).ok()).filter(|next| same_origin(next, &url)),
                _ => return Ok(response),
            };
            let Some(next) = next else { return Ok(response) };
            may_go(&url, &next)?;
            url = next;
        }
        Err(Trouble::Protocol { why: format!("it redirects more than {REDIRECTS} times") })
    }

    /// Waits before the next attempt, or gives up with the error that `trouble` is.
    pub(super) async fn wait(&self, attempts: &mut Attempts, trouble: Trouble, what: &str) -> Result<(), RegistryError> {
        let asked = match &trouble {
            Trouble::Connection { passing: true, .. } | Trouble::Garbled { .. } => None,
            Trouble::Status { pause, .. } => *pause,
            _ => return Err(self.failure(attempts.failed + 1, trouble, what)),
        };
        match self.pause(attempts, asked).await {
            true => Ok(()),
            false => Err(self.failure(attempts.failed, trouble, what)),
        }
    }

    /// Waits before the next attempt; false: there is none.
    pub(super) async fn pause(&self, attempts: &mut Attempts, asked: Option<Duration>) -> bool {
        attempts.failed += 1;
        let now = self.clock.now();
        let spent = now.saturating_sub(*attempts.since.get_or_insert(now));
        let pause = self.policy.pause(attempts.failed, spent, asked, self.clock.random());
        if let Some(pause) = pause {
            self.clock.sleep(pause).await;
        }
        pause.is_some()
    }

    fn failure(&self, attempts: u32, trouble: Trouble, what: &str) -> RegistryError {
        let (registry, what) = (self.host.clone(), what.to_owned());
        match trouble {
            Trouble::Connection { why, .. } => RegistryError::Unreachable { registry, what, attempts, why },
            Trouble::Status { status, message, .. } => {
                RegistryError::Status { registry, what, status: status.as_u16(), attempts, message }
            }
            Trouble::Denied { why } | Trouble::Stale { why } => {
                RegistryError::Denied { registry, what, why, identity: self.login.origin() }
            }
            Trouble::Protocol { why } | Trouble::Garbled { why } => RegistryError::Protocol { registry, what, why },
            Trouble::Credential(error) => RegistryError::Credential(error),
        }
    }

    /// The error for an answer that the caller did not expect.
    pub(super) fn unexpected(&self, what: &str, answer: &Answer) -> RegistryError {
        RegistryError::Status {
            registry: self.host.clone(),
            what: what.to_owned(),
            status: answer.status.as_u16(),
            attempts: 1,
            message: answer.message(),
        }
    }

    pub(super) fn protocol(&self, what: &str, why: impl Into<String>) -> RegistryError {
        RegistryError::Protocol { registry: self.host.clone(), what: what.to_owned(), why: why.into() }
    }
}
