//! Who we are at a registry. An identity is asked for its credential when the work begins, and again when the registry
//! refuses what it gave or its end is near: passwords and tokens may live for less time than a release takes.

use std::pin::Pin;

use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::{Credential, CredentialError, Sources};

/// A credential and what is known about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// What the registry is told.
    pub credential: Credential,
    /// Where it comes from, for people: `` `GITHUB_TOKEN` ``.
    pub origin: String,
    /// When it ends, where that is known. The identity is asked for a fresh one shortly before.
    pub ends: Option<OffsetDateTime>,
    /// Whether it is for the registry's host alone: it is then not given to a token server at another host, whatever
    /// the registry says.
    pub confined: bool,
}

impl Identified {
    /// One of unknown life that any token server of the registry may have.
    pub fn new(credential: Credential, origin: impl Into<String>) -> Self {
        Self { credential, origin: origin.into(), ends: None, confined: false }
    }
}

/// An answer of an [`Identity`] under way.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Option<Identified>, CredentialError>> + Send + 'a>>;

/// Something that has a credential for one registry, or none: then requests are anonymous.
pub trait Identity: Send + Sync {
    /// The credential; with `fresh` not one that was given before: the registry refused it, or it ends. What cannot
    /// have another one gives the same again.
    fn credential(&self, fresh: bool) -> Asking<'_>;
}

/// One credential, always.
#[derive(Debug, Clone)]
pub struct Fixed(pub Option<Identified>);

impl Identity for Fixed {
    fn credential(&self, _fresh: bool) -> Asking<'_> {
        Box::pin(async { Ok(self.0.clone()) })
    }
}

/// What docker's configuration and the environment have for a host; helpers and AWS are asked again when a fresh one is
/// wanted.
pub struct Configured {
    sources: Sources,
    host: String,
    known: Mutex<Option<Option<Identified>>>,
}

impl Configured {
    /// Nothing is asked yet.
    pub fn new(sources: Sources, host: impl Into<String>) -> Self {
        Self { sources, host: host.into(), known: Mutex::new(None) }
    }
}

impl Identity for Configured {
    fn credential(&self, fresh: bool) -> Asking<'_> {
        Box::pin(async move {
            let mut known = self.known.lock().await;
            if let Some(known) = known.as_ref().filter(|_| !fresh) {
                return Ok(known.clone());
            }
            let found = self.sources.identified(&self.host).await?;
            *known = Some(found.clone());
            Ok(found)
        })
    }
}
