//! One repository of a registry: who talks to it, and what can be asked of it besides [blobs](super::blobs) and
//! [manifests](super::manifests).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Method, StatusCode, header};
use serde::Deserialize;

use super::answer::{Answer, Trouble};
use super::identity::{Configured, Fixed};
use super::transport::{Ask, Patience, Transport};
use super::{Access, Credential, Identified, Identity, RegistryError, Sources, api_host};
use crate::oci::{Digest, Repository};
use crate::retry::{Clock, Policy, SystemClock};

/// Tags that are asked for at a time.
const PAGE: &str = "1000";

/// One repository of a registry, with one identity. Cheap to clone and to share between tasks.
#[derive(Clone)]
pub struct Registry {
    pub(super) repository: Repository,
    pub(super) transport: Arc<Transport>,
    /// What was written by its tag or digest: where the registry does not show it yet, it is asked again.
    pub(super) written: Arc<Mutex<BTreeMap<String, Digest>>>,
}

/// For a look at something: few attempts, soon.
const LOOK: Policy =
    Policy { attempts: 4, base: Duration::from_millis(400), cap: Duration::from_secs(2), total: Duration::from_secs(30) };

impl Registry {
    /// A client for `repository` with the credential that `sources` has for it, which is asked for now and again when
    /// the registry refuses it. Nothing is sent yet. Plain http is spoken to loopback and where `insecure` is set.
    ///
    /// # Errors
    /// The credential cannot be had, or TLS has no roots.
    pub async fn connect(
        repository: &Repository,
        insecure: bool,
        access: Access,
        sources: &Sources,
    ) -> Result<Self, RegistryError> {
        Self::configured(repository, insecure, access, sources, Policy::default()).await
    }

    /// The same for looking at something: somebody waits, and a network that is down is told soon.
    ///
    /// # Errors
    /// The credential cannot be had, or TLS has no roots.
    pub async fn looking(repository: &Repository, insecure: bool, sources: &Sources) -> Result<Self, RegistryError> {
        Self::configured(repository, insecure, Access::Pull, sources, LOOK).await
    }

    async fn configured(
        repository: &Repository,
        insecure: bool,
        access: Access,
        sources: &Sources,
        policy: Policy,
    ) -> Result<Self, RegistryError> {
        let identity = Configured::new(sources.clone(), repository.registry());
        identity.credential(false).await?;
        Self::identified(repository, insecure, access, Arc::new(identity), policy, Arc::new(SystemClock::default()))
    }

    /// The same with everything given: the credential and where it came from, the bounds of retries and the clock.
    ///
    /// # Errors
    /// TLS has no roots.
    pub fn with(
        repository: &Repository,
        insecure: bool,
        access: Access,
        credential: Option<(Credential, String)>,
        policy: Policy,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RegistryError> {
        let known = credential.map(|(credential, origin)| Identified::new(credential, origin));
        Self::identified(repository, insecure, access, Arc::new(Fixed(known)), policy, clock)
    }

    /// The same with an identity that may have other credentials later.
    ///
    /// # Errors
    /// TLS has no roots.
    pub fn identified(
        repository: &Repository,
        insecure: bool,
        access: Access,
        identity: Arc<dyn Identity>,
        policy: Policy,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RegistryError> {
        let plain = insecure || repository.is_loopback();
        let transport = Arc::new(Transport::new(repository, plain, access, identity, policy, clock)?);
        Ok(Self { repository: repository.clone(), transport, written: Arc::default() })
    }

    /// The same, waiting for longer or shorter than by default. For clients that were not cloned yet.
    #[must_use]
    pub fn patient(mut self, patience: Patience) -> Self {
        if let Some(transport) = Arc::get_mut(&mut self.transport) {
            transport.set_patience(patience);
        }
        self
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Whether this identity may push, tried: an upload is opened and cancelled. Nothing stays.
    ///
    /// # Errors
    /// It may not ([`RegistryError::Denied`]), the repository is not there ([`RegistryError::NoRepository`]), or the
    /// registry cannot be asked.
    pub async fn probe_push(&self) -> Result<(), RegistryError> {
        let what = "open an upload";
        let mut attempts = self.transport.attempts();
        let location = loop {
            match self.begin(what).await? {
                Ok(location) => break location,
                Err(trouble) => self.transport.wait(&mut attempts, trouble, what).await?,
            }
        };
        // A registry forgets what is not cancelled by itself, after some time.
        let _ = self.transport.once(&Ask::new(Method::DELETE, location)).await;
        Ok(())
    }

    /// Whether this identity may pull, tried; false: the repository is not there, or nothing is in it.
    ///
    /// # Errors
    /// It may not ([`RegistryError::Denied`]), or the registry cannot be asked.
    pub async fn probe_pull(&self) -> Result<bool, RegistryError> {
        let what = "list tags";
        let mut ask = self.transport.ask(Method::GET, "tags/list")?;
        ask.query("n", "1");
        let answer = self.transport.call(what, &ask).await?;
        match answer.status {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.transport.unexpected(what, &answer)),
        }
    }

    /// All tags, sorted; none where the repository is not there.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn tags(&self) -> Result<Vec<String>, RegistryError> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let what = "list tags";
        let mut ask = self.transport.ask(Method::GET, "tags/list")?;
        ask.query("n", PAGE);
        let (mut tags, mut attempts) = (Vec::new(), self.transport.attempts());
        loop {
            let trouble = match self.transport.once(&ask).await {
                Ok(answer) if answer.status.is_success() => match serde_json::from_slice::<Page>(&answer.body) {
                    Ok(page) => {
                        let found = page.tags.unwrap_or_default();
                        let next = next_page(&answer).filter(|_| !found.is_empty());
                        tags.extend(found);
                        match next.and_then(|next| ask.on(&next)) {
                            Some(next) => ask = next,
                            None => break,
                        }
                        continue;
                    }
                    Err(_) => Trouble::Garbled { why: "its list of tags cannot be read".to_owned() },
                },
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => return Ok(Vec::new()),
                Ok(answer) => return Err(self.transport.unexpected(what, &answer)),
                Err(trouble) => trouble,
            };
            self.transport.wait(&mut attempts, trouble, what).await?;
        }
        tags.sort();
        tags.dedup();
        Ok(tags)
    }

    pub(super) fn missing(&self, answer: &Answer) -> RegistryError {
        RegistryError::NoRepository { repository: self.repository.to_string(), message: answer.message() }
    }
}

/// `Link: </v2/…?last=b&n=1000>; rel="next"` (RFC 5988)
pub(super) fn next_page(answer: &Answer) -> Option<String> {
    let link = answer.header(header::LINK)?;
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then(|| target.to_owned())
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry({} at {})", self.repository, api_host(&self.repository))
    }
}
