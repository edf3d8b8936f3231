//! One request to a registry: authorisation, another attempt where that makes sense, and what became of it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use oci_distribution::client::{ClientConfig, ClientProtocol};
use oci_distribution::errors::{OciDistributionError, OciEnvelope};
use oci_distribution::secrets::RegistryAuth;
use oci_distribution::{Client as OciClient, Reference as OciReference, RegistryOperation};
use reqwest::{RequestBuilder, Url, redirect};
use tokio::sync::Mutex;

use super::{Credential, RegistryError, api_host, innermost};
use crate::oci::Repository;
use crate::retry::{Clock, Policy, is_passing, retry_after};
use crate::secret::Secret;

/// What is asked of the registry's token server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading only.
    Pull,
    /// Reading and writing.
    Push,
}

/// A request that gets no answer for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Tokens of unknown life count as fresh for so long (the token specification's default is 60 s).
const TOKEN_LIFE: Duration = Duration::from_secs(50);
/// No manifest and no error is larger (the specification asks registries to take manifests up to 4 MiB).
const LARGEST_BODY: usize = 8 << 20;

/// An answer that is not worth another attempt: a success, or a failure that stays.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why one attempt failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No answer.
    Connection { why: String, passing: bool },
    /// A status that may pass.
    Status { status: StatusCode, message: String, pause: Option<Duration> },
    /// Refused: never tried again.
    Denied { why: String },
    /// Not what the specification says.
    Protocol { why: String },
}

/// The attempts at one thing.
pub(super) struct Attempts {
    failed: u32,
    since: Duration,
}

pub(super) struct Transport {
    http: reqwest::Client,
    oci: OciClient,
    reference: OciReference,
    pub(super) host: String,
    pub(super) base: Url,
    access: RegistryOperation,
    credential: Option<Credential>,
    identity: String,
    authorization: Mutex<Option<Authorization>>,
    policy: Policy,
    clock: Arc<dyn Clock>,
}

#[derive(Clone)]
struct Authorization {
    kind: Kind,
    since: Duration,
}

#[derive(Clone)]
enum Kind {
    Nothing,
    Basic,
    Bearer(Secret),
}

impl Transport {
    pub(super) fn new(
        repository: &Repository,
        plain: bool,
        access: Access,
        credential: Option<(Credential, String)>,
        policy: Policy,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RegistryError> {
        let host = api_host(repository).to_owned();
        let failed = |why: String| RegistryError::Client { registry: host.clone(), why };
        let scheme = if plain { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{host}/v2/{}/", repository.path())).map_err(|e| failed(e.to_string()))?;
        let redirects = redirect::Policy::custom(|attempt| {
            let secure = attempt.previous().last().is_some_and(|url| url.scheme() == "https");
            match attempt.url().scheme() {
                "http" if secure => attempt.error("a redirect from https to http is not followed"),
                _ if attempt.previous().len() > 5 => attempt.error("too many redirects"),
                _ => attempt.follow(),
            }
        });
        let agent = concat!("gantry/", env!("CARGO_PKG_VERSION"));
        let builder = reqwest::Client::builder().user_agent(agent).connect_timeout(Duration::from_secs(20)).redirect(redirects);
        // A proxy of the environment does not know this machine's loopback.
        let builder = if repository.is_loopback() { builder.no_proxy() } else { builder };
        let http = builder.build().map_err(|error| failed(innermost(&error)))?;
        let mut config = ClientConfig {
            protocol: if plain { ClientProtocol::HttpsExcept(vec![host.clone()]) } else { ClientProtocol::Https },
            read_timeout: Some(PATIENCE),
            connect_timeout: Some(Duration::from_secs(20)),
            user_agent: agent,
            ..ClientConfig::default()
        };
        if repository.is_loopback() {
            // A proxy that is named and then excluded for every host is the only way to say "none" to oci-client.
            config.http_proxy = Some("http://localhost:9".to_owned());
            config.no_proxy = Some("*,0.0.0.0/0,::/0".to_owned());
        }
        let oci = OciClient::try_from(config).map_err(|error| failed(innermost(&error)))?;
        let reference = OciReference::with_tag(host.clone(), repository.path().to_owned(), "latest".to_owned());
        let (credential, identity) = match credential {
            Some((credential, origin)) => (Some(credential), format!("the credential of {origin} was used")),
            None => (None, "no credential was found for it".to_owned()),
        };
        let access = match access {
            Access::Pull => RegistryOperation::Pull,
            Access::Push => RegistryOperation::Push,
        };
        let authorization = Mutex::new(None);
        Ok(Self { http, oci, reference, host, base, access, credential, identity, authorization, policy, clock })
    }

    pub(super) fn attempts(&self) -> Attempts {
        Attempts { failed: 0, since: self.clock.now() }
    }

    /// The URL of something in the repository: `blobs/sha256:…`.
    pub(super) fn url(&self, path: &str) -> Result<Url, RegistryError> {
        self.base.join(path).map_err(|error| self.protocol("be addressed", error.to_string()))
    }

    /// Sends what `request` makes until it is answered; for requests that may be repeated.
    pub(super) async fn call(
        &self,
        what: &str,
        url: &Url,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<Answer, RegistryError> {
        let mut attempts = self.attempts();
        loop {
            let sending = tokio::time::timeout(PATIENCE, self.once(url, &request));
            let trouble = match sending.await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(trouble)) => trouble,
                Err(_) => Trouble::Connection { why: format!("no answer within {} s", PATIENCE.as_secs()), passing: true },
            };
            self.wait(&mut attempts, trouble, what).await?;
        }
    }

    /// One attempt. A 401 is answered by a new token, once, and does not count as a failure.
    pub(super) async fn once(&self, url: &Url, request: impl Fn(&reqwest::Client) -> RequestBuilder) -> Result<Answer, Trouble> {
        let mut renewed = false;
        loop {
            let request = self.authorize(url, request(&self.http)).await?;
            let mut response = request.send().await.map_err(connection)?;
            let (status, headers) = (response.status(), response.headers().clone());
            let mut body = BytesMut::new();
            while let Some(chunk) = response.chunk().await.map_err(connection)? {
                body.extend_from_slice(&chunk);
                if body.len() > LARGEST_BODY {
                    return Err(Trouble::Protocol { why: format!("the answer has more than {LARGEST_BODY} bytes") });
                }
            }
            let answer = Answer { status, headers, body: body.freeze() };
            match status {
                StatusCode::UNAUTHORIZED if !renewed => {
                    renewed = true;
                    *self.authorization.lock().await = None;
                }
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                    return Err(Trouble::Denied { why: format!("{}{}", status.as_u16(), answer.message()) });
                }
                status if is_passing(status.as_u16()) => {
                    let asked = answer.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok());
                    let pause = asked.and_then(|value| retry_after(value, self.clock.date()));
                    return Err(Trouble::Status { status, message: answer.message(), pause });
                }
                _ => return Ok(answer),
            }
        }
    }

    /// Waits before the next attempt, or gives up with the error that `trouble` is.
    pub(super) async fn wait(&self, attempts: &mut Attempts, trouble: Trouble, what: &str) -> Result<(), RegistryError> {
        attempts.failed += 1;
        let asked = match &trouble {
            Trouble::Connection { passing: true, .. } => None,
            Trouble::Status { pause, .. } => *pause,
            _ => return Err(self.failure(attempts, trouble, what)),
        };
        let spent = self.clock.now().saturating_sub(attempts.since);
        match self.policy.pause(attempts.failed, spent, asked, self.clock.random()) {
            Some(pause) => {
                self.clock.sleep(pause).await;
                Ok(())
            }
            None => Err(self.failure(attempts, trouble, what)),
        }
    }

    fn failure(&self, attempts: &Attempts, trouble: Trouble, what: &str) -> RegistryError {
        let (registry, what, attempts) = (self.host.clone(), what.to_owned(), attempts.failed);
        match trouble {
            Trouble::Connection { why, .. } => RegistryError::Unreachable { registry, what, attempts, why },
            Trouble::Status { status, message, .. } => {
                RegistryError::Status { registry, what, status: status.as_u16(), attempts, message }
            }
            Trouble::Denied { why } => RegistryError::Denied { registry, what, why, identity: self.identity.clone() },
            Trouble::Protocol { why } => RegistryError::Protocol { registry, what, why },
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

    /// Adds the authorisation, where the request goes to the registry itself: an upload's location may be anywhere.
    async fn authorize(&self, url: &Url, request: RequestBuilder) -> Result<RequestBuilder, Trouble> {
        let home = (self.base.scheme(), self.base.host_str(), self.base.port_or_known_default());
        if (url.scheme(), url.host_str(), url.port_or_known_default()) != home {
            return Ok(request);
        }
        let mut known = self.authorization.lock().await;
        let now = self.clock.now();
        let kind = match known.as_ref() {
            Some(Authorization { kind: Kind::Bearer(_), since }) if now.saturating_sub(*since) > TOKEN_LIFE => None,
            Some(known) => Some(known.kind.clone()),
            None => None,
        };
        let kind = match kind {
            Some(kind) => kind,
            None => {
                let kind = self.authenticate().await?;
                *known = Some(Authorization { kind: kind.clone(), since: now });
                kind
            }
        };
        drop(known);
        Ok(match (kind, &self.credential) {
            (Kind::Bearer(token), _) => request.bearer_auth(token.expose()),
            (Kind::Basic, Some(Credential::Basic { username, password })) => {
                request.basic_auth(username, Some(password.expose()))
            }
            _ => request,
        })
    }

    async fn authenticate(&self) -> Result<Kind, Trouble> {
        let auth = match &self.credential {
            Some(Credential::Basic { username, password }) => RegistryAuth::Basic(username.clone(), password.expose().to_owned()),
            Some(Credential::Bearer(token)) => RegistryAuth::Bearer(token.expose().to_owned()),
            None => RegistryAuth::Anonymous,
        };
        match self.oci.auth(&self.reference, &auth, self.access).await {
            Ok(Some(token)) => Ok(Kind::Bearer(Secret::new(token))),
            Ok(None) if matches!(auth, RegistryAuth::Basic(..)) => Ok(Kind::Basic),
            Ok(None) => Ok(Kind::Nothing),
            Err(OciDistributionError::RequestError(error)) => Err(connection(error)),
            // The token server's status is lost; what refuses answers JSON, what is overloaded a page or nothing.
            Err(OciDistributionError::AuthenticationFailure(body)) => match serde_json::from_str::<serde_json::Value>(&body) {
                Ok(_) => Err(Trouble::Denied { why: format!("its token server refuses{}", message(body.as_bytes())) }),
                Err(_) => Err(Trouble::Connection { why: "its token server failed".to_owned(), passing: true }),
            },
            // What went wrong in detail may quote the token.
            Err(_) => Err(Trouble::Protocol { why: "the answer of its token server cannot be read".to_owned() }),
        }
    }
}

impl Answer {
    /// `: CODE message`, as the registry words it; nothing where it sent a page.
    pub(super) fn message(&self) -> String {
        message(&self.body)
    }

    /// Whether the registry gave this as a reason.
    pub(super) fn has_code(&self, code: &str) -> bool {
        self.message().contains(code)
    }
}

/// The registry's own words, one line of at most 300 characters.
fn message(body: &[u8]) -> String {
    let Ok(envelope) = serde_json::from_slice::<OciEnvelope>(body) else { return String::new() };
    let Some(error) = envelope.errors.into_iter().next() else { return String::new() };
    let code = serde_json::to_value(&error.code).ok().and_then(|code| code.as_str().map(str::to_owned)).unwrap_or_default();
    let words: String = error.message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    format!(": {code} {words}").trim_end().to_owned()
}

fn connection(error: reqwest::Error) -> Trouble {
    // The URL is left out on purpose: one that a registry redirected to is signed, and so a secret.
    let error = error.without_url();
    let passing = !(error.is_builder() || error.is_redirect() || is_certificate(&error));
    Trouble::Connection { why: innermost(&error), passing }
}

/// Whether the registry's certificate is not trusted: that does not pass.
fn is_certificate(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref()));
        if let Some(rustls::Error::InvalidCertificate(_)) = tls {
            return true;
        }
        cause = error.source();
    }
    false
}
