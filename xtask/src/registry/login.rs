//! What requests to a registry are authorised by: the registry says how (a challenge), the identity who we are, and a
//! token server hands out what lives for a minute or an hour. One login serves all requests of a [`Transport`], and is
//! renewed by one of them while the others wait.
//!
//! [`Transport`]: super::transport::Transport

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use http::{HeaderMap, StatusCode, header};
use reqwest::{RequestBuilder, Url};
use tokio::sync::Mutex;

use super::answer::{self, Trouble, connection};
use super::challenge::{Challenge, Token};
use super::trace::Sent;
use super::web::{Web, may_hold_token_server};
use super::{Access, Credential, Identified, Identity};
use crate::retry::{Clock, is_passing, retry_after};
use crate::secret::Secret;

/// A credential is given up so long before its end: an upload that starts with it may be looked at a little later.
const MARGIN: Duration = Duration::from_secs(60);
/// No token and no complaint is larger.
const LARGEST_ANSWER: usize = 1 << 20;

pub(super) struct Login {
    identity: Arc<dyn Identity>,
    /// `https://ghcr.io/v2/`
    root: Url,
    /// `repository:team/image:pull,push`
    scope: String,
    patience: Duration,
    state: Mutex<State>,
    /// Where the credential came from, for errors.
    origin: std::sync::Mutex<Option<String>>,
}

#[derive(Default)]
struct State {
    grant: Option<Grant>,
    /// The registry's last word on how; outer none: it was not asked.
    challenge: Option<Option<Challenge>>,
    /// Whether the credential itself was refused.
    refused: bool,
    number: u64,
}

/// What a request is authorised by.
#[derive(Clone)]
pub(super) struct Grant {
    kind: Kind,
    /// Tells it from the one before.
    number: u64,
    /// By the clock.
    ends: Option<Duration>,
}

#[derive(Clone)]
enum Kind {
    Nothing,
    Basic(String, Secret),
    Bearer(Secret),
}

impl Grant {
    pub(super) fn authorize(&self, request: RequestBuilder) -> RequestBuilder {
        match &self.kind {
            Kind::Nothing => request,
            Kind::Basic(username, password) => request.basic_auth(username, Some(password.expose())),
            Kind::Bearer(token) => request.bearer_auth(token.expose()),
        }
    }

    /// Whether nothing was said about who we are.
    pub(super) fn is_anonymous(&self) -> bool {
        matches!(self.kind, Kind::Nothing)
    }
}

impl Login {
    pub(super) fn new(identity: Arc<dyn Identity>, root: Url, path: &str, access: Access, patience: Duration) -> Self {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        let scope = format!("repository:{path}:{actions}");
        Self { identity, root, scope, patience, state: Mutex::default(), origin: std::sync::Mutex::default() }
    }

    pub(super) fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Who we are, in words.
    pub(super) fn origin(&self) -> String {
        match self.origin.lock().unwrap_or_else(PoisonError::into_inner).as_ref() {
            Some(origin) => format!("the credential of {origin} was used"),
            None => "no credential was found for it".to_owned(),
        }
    }

    /// What requests are authorised by now; asked for where there is nothing, or it ends.
    pub(super) async fn grant(&self, web: &Web, clock: &dyn Clock) -> Result<Grant, Trouble> {
        let mut state = self.state.lock().await;
        if let Some(grant) = &state.grant
            && grant.ends.is_none_or(|ends| clock.now() < ends)
        {
            return Ok(grant.clone());
        }
        let (kind, ends) = self.authenticate(&mut state, web, clock).await?;
        state.number += 1;
        state.refused = false;
        let grant = Grant { kind, number: state.number, ends };
        state.grant = Some(grant.clone());
        Ok(grant)
    }

    /// Takes note that the registry refused `grant`, and what it said it wants.
    pub(super) async fn refused(&self, grant: &Grant, challenge: Option<Challenge>) {
        let mut state = self.state.lock().await;
        // Another request may have been refused before, and have it renewed already.
        if state.grant.as_ref().is_some_and(|known| known.number == grant.number) {
            // A refused token may just be an old one; a refused password calls for another.
            state.refused = !matches!((&grant.kind, &state.challenge), (Kind::Bearer(_), Some(Some(Challenge::Bearer { .. }))));
            state.grant = None;
            state.challenge = challenge.map(Some);
        }
    }

    async fn authenticate(&self, state: &mut State, web: &Web, clock: &dyn Clock) -> Result<(Kind, Option<Duration>), Trouble> {
        let challenge = match &state.challenge {
            Some(challenge) => challenge.clone(),
            None => {
                let challenge = self.ping(web, clock).await?;
                state.challenge = Some(challenge.clone());
                challenge
            }
        };
        let Some(challenge) = challenge else { return Ok((Kind::Nothing, None)) };
        let mut found = self.identify(state.refused, clock).await?;
        match &challenge {
            Challenge::Basic => Ok(match found {
                Some(Identified { credential: Credential::Basic { username, password }, ends, .. }) => {
                    (Kind::Basic(username, password), ends.map(|ends| until(ends, clock)))
                }
                Some(Identified { credential: Credential::Bearer(token), ends, .. }) => {
                    (Kind::Bearer(token), ends.map(|ends| until(ends, clock)))
                }
                _ => (Kind::Nothing, None),
            }),
            Challenge::Bearer { realm, service, .. } => {
                if let Some(Identified { credential: Credential::Bearer(token), ends, .. }) = found {
                    return Ok((Kind::Bearer(token), ends.map(|ends| until(ends, clock))));
                }
                let realm = self.realm(realm, found.as_ref())?;
                let mut asked_again = state.refused;
                loop {
                    let now = clock.now();
                    match self.token(&realm, service.as_deref(), found.as_ref(), web, clock).await {
                        Ok(token) => return Ok((Kind::Bearer(token.secret), Some(now.saturating_add(token.life)))),
                        Err(Trouble::Stale { .. }) if !asked_again => {
                            asked_again = true;
                            found = self.identify(true, clock).await?;
                        }
                        Err(Trouble::Stale { why }) => return Err(Trouble::Denied { why }),
                        Err(trouble) => return Err(trouble),
                    }
                }
            }
        }
    }

    async fn identify(&self, fresh: bool, clock: &dyn Clock) -> Result<Option<Identified>, Trouble> {
        let mut found = self.identity.credential(fresh).await.map_err(Trouble::Credential)?;
        let near = |found: &Identified| found.ends.is_some_and(|ends| ends - MARGIN <= clock.date());
        if !fresh && found.as_ref().is_some_and(near) {
            found = match self.identity.credential(true).await {
                Ok(renewed) => renewed,
                // What still lives is used as long as it does.
                Err(_) if found.as_ref().and_then(|found| found.ends).is_some_and(|ends| ends > clock.date()) => found,
                Err(error) => return Err(Trouble::Credential(error)),
            };
        }
        let origin = found.as_ref().map(|found| found.origin.clone());
        *self.origin.lock().unwrap_or_else(PoisonError::into_inner) = origin;
        Ok(found)
    }

    fn realm(&self, realm: &str, found: Option<&Identified>) -> Result<Url, Trouble> {
        let url = Url::parse(realm);
        let realm = url.map_err(|_| Trouble::Protocol { why: "its token server has no valid address".to_owned() })?;
        may_hold_token_server(&self.root, &realm)?;
        match found.filter(|found| found.confined && realm.host_str() != self.root.host_str()) {
            Some(found) => {
                let host = realm.host_str().unwrap_or_default();
                let why = format!("the credential of {} is for it alone, and it asks for a token of `{host}`", found.origin);
                Err(Trouble::Denied { why })
            }
            None => Ok(realm),
        }
    }

    /// How the registry wants to be asked; none: it is open.
    async fn ping(&self, web: &Web, clock: &dyn Clock) -> Result<Option<Challenge>, Trouble> {
        let request = client(web, &self.root)?.get(self.root.clone());
        let asked = self.answered(request, "", clock).await?;
        match asked.status {
            // Without a word on how: the oldest way.
            StatusCode::UNAUTHORIZED => Ok(Some(Challenge::of(&asked.headers).unwrap_or(Challenge::Basic))),
            _ => Ok(Challenge::of(&asked.headers)),
        }
    }

    /// Asks the token server.
    async fn token(
        &self,
        realm: &Url,
        service: Option<&str>,
        found: Option<&Identified>,
        web: &Web,
        clock: &dyn Clock,
    ) -> Result<Token, Trouble> {
        let mut words = vec![("scope", self.scope.as_str())];
        words.extend(service.map(|service| ("service", service)));
        let client = client(web, realm)?;
        let request = match found.map(|found| &found.credential) {
            Some(Credential::Refresh(token)) => {
                words.extend([("grant_type", "refresh_token"), ("client_id", "gantry"), ("refresh_token", token.expose())]);
                let mut form = realm.clone();
                form.set_query(None);
                form.query_pairs_mut().extend_pairs(words);
                let request = client.post(realm.clone()).header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
                request.body(form.query().unwrap_or_default().to_owned())
            }
            Some(Credential::Basic { username, password }) => {
                words.push(("account", username));
                client.get(with_query(realm, &words)).basic_auth(username, Some(password.expose()))
            }
            _ => client.get(with_query(realm, &words)),
        };
        let asked = self.answered(request, "its token server: ", clock).await?;
        match asked.status {
            // The words of what is refused may be anything; the registry's envelope is shown, nothing else.
            StatusCode::UNAUTHORIZED => Err(Trouble::Stale { why: format!("its token server: 401{}", asked.message()) }),
            status if status.is_success() => Token::parse(&asked.body, clock.date())
                .ok_or_else(|| Trouble::Garbled { why: "the answer of its token server cannot be read".to_owned() }),
            status => Err(Trouble::Denied { why: format!("its token server: {}{}", status.as_u16(), asked.message()) }),
        }
    }

    /// One request that may carry the credential. Redirects are not followed.
    async fn answered(&self, request: RequestBuilder, who: &str, clock: &dyn Clock) -> Result<answer::Answer, Trouble> {
        let (client, request) = request.build_split();
        let request = request.map_err(connection)?;
        let (method, url, nothing) = (request.method().clone(), request.url().clone(), HeaderMap::new());
        // A token server is shown by its path, too: it is no secret, what is asked of it is.
        let told = Sent { method: &method, url: &url, home: &url, headers: &nothing, attempt: 1, started: Instant::now() };
        let named = |trouble: Trouble| match trouble {
            Trouble::Connection { why, passing } => Trouble::Connection { why: format!("{who}{why}"), passing },
            other => other,
        };
        let asking = async {
            let response = client.execute(request).await.map_err(connection)?;
            answer::collect(response, LARGEST_ANSWER).await
        };
        let late = || Trouble::Connection { why: format!("no answer within {} s", self.patience.as_secs()), passing: true };
        let asked = tokio::time::timeout(self.patience, asking).await.unwrap_or_else(|_| Err(late())).map_err(named);
        told.ended(asked.as_ref().ok().map(|asked| (asked.status, &asked.headers)));
        let asked = asked?;
        let status = asked.status;
        if is_passing(status.as_u16()) {
            let pause = asked.header(header::RETRY_AFTER).and_then(|value| retry_after(value, clock.date()));
            return Err(Trouble::Status { status, message: asked.message(), pause });
        }
        if status.is_success() && answer::is_page(&asked.headers) {
            return Err(Trouble::Garbled { why: format!("{who}a page came instead of an answer") });
        }
        Ok(asked)
    }
}

fn client<'a>(web: &'a Web, url: &Url) -> Result<&'a reqwest::Client, Trouble> {
    web.client(url).map_err(|why| Trouble::Connection { why, passing: false })
}

fn with_query(realm: &Url, words: &[(&str, &str)]) -> Url {
    let mut url = realm.clone();
    url.query_pairs_mut().extend_pairs(words);
    url
}

/// When something that ends at `ends` is given up, by the clock.
fn until(ends: time::OffsetDateTime, clock: &dyn Clock) -> Duration {
    let left = Duration::try_from(ends - MARGIN - clock.date()).unwrap_or_default();
    // What comes nearly ended from its source cannot be had any fresher: it is used until it is refused.
    clock.now().saturating_add(left.max(MARGIN))
}
