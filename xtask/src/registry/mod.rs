//! Registries, as the OCI distribution specification has them, and what they do beyond it.
//!
//! oci-client (the maintained successor of oci-distribution) names the errors and the media types. The requests
//! themselves are made here, those for tokens included: it has no retries and hides the headers (`Retry-After`) and
//! statuses that good ones need, assumes how long a token lives, and panics where a registry answers a manifest by
//! digest without `Location`.

mod answer;
mod blobs;
mod challenge;
mod client;
mod credentials;
mod download;
pub mod ecr;
mod gh;
mod helper;
mod identity;
mod login;
mod manifests;
mod platforms;
mod referrers;
mod trace;
mod transport;
mod web;

use std::collections::BTreeSet;
use std::error::Error;

pub use blobs::{Blob, BlobSource};
pub use client::Registry;
pub use credentials::{Choice, Credential, CredentialError, Sources};
pub use download::BlobReader;
pub use identity::{Asking, Configured, Fixed, Identified, Identity};
pub use manifests::Found;
pub(crate) use platforms::Member;
pub use referrers::{Referrer, fallback_tag};
pub use trace::trace;
pub use transport::{Access, Patience};

use crate::oci::{Digest, Reference, Repository};

/// What can go wrong at a registry.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// It cannot be reached, or breaks off.
    #[error("`{registry}` cannot be reached to {what} (tried {attempts} times): {why}")]
    Unreachable {
        /// Host and port.
        registry: String,
        /// What was being done.
        what: String,
        /// How often.
        attempts: u32,
        /// The innermost cause.
        why: String,
    },
    /// It answered with a failure.
    #[error("`{registry}` answered {status} to {what} (tried {attempts} times){message}")]
    Status {
        /// Host and port.
        registry: String,
        /// What was being done.
        what: String,
        /// The HTTP status.
        status: u16,
        /// How often.
        attempts: u32,
        /// `: CODE message` as the registry words it; empty where it sent a page or nothing.
        message: String,
    },
    /// It wants another credential (401), or this one may not (403).
    #[error("`{registry}` refused to {what}: {why}; {identity}")]
    Denied {
        /// Host and port.
        registry: String,
        /// What was being done.
        what: String,
        /// The registry's words.
        why: String,
        /// Where the credential came from.
        identity: String,
    },
    /// The repository is not there, and pushing does not create it.
    #[error("`{repository}` does not exist, and its registry does not create it by a push{message}")]
    NoRepository {
        /// The repository.
        repository: String,
        /// The registry's words.
        message: String,
    },
    /// What it holds is not what was sent.
    #[error("`{reference}` reads back as {found}, {sent} was sent")]
    ReadBack {
        /// What was read.
        reference: String,
        /// The digest of what came back.
        found: String,
        /// The digest of what was sent.
        sent: Digest,
    },
    /// The registry does not move the tag, and it points to something else.
    #[error("`{reference}` is immutable in its registry and is {found} already; {wanted} was to be set")]
    Immutable {
        /// The tag in full.
        reference: String,
        /// Where it points.
        found: Digest,
        /// Where it was to point.
        wanted: Digest,
    },
    /// The registry keeps no list of what refers to an image, and does not move the tag that stands in for it.
    #[error("`{reference}`, the list of what refers to the image, cannot be completed: the tag is immutable in its registry")]
    FixedList {
        /// The tag in full.
        reference: String,
    },
    /// Somebody else set the tag while it was being set here; it was left to them.
    #[error("somebody else has set `{reference}` to {found} meanwhile; {wanted} was to be set")]
    Overtaken {
        /// The tag in full.
        reference: String,
        /// Where it points.
        found: Digest,
        /// Where it was to point.
        wanted: Digest,
    },
    /// A request that sets a tag got no answer, and then the registry does not say where the tag points.
    #[error("`{reference}` may be set or not: {error}")]
    Unsure {
        /// The tag in full.
        reference: String,
        /// Why it cannot be looked at.
        error: Box<RegistryError>,
    },
    /// It does not follow the specification.
    #[error("`{registry}` does not follow the OCI specification when asked to {what}: {why}")]
    Protocol {
        /// Host and port.
        registry: String,
        /// What was being done.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// The blob cannot be read on this machine.
    #[error("`{path}` cannot be read")]
    Read {
        /// The file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// No client could be made: TLS has no provider or no roots.
    #[error("no HTTP client for `{registry}`: {why}")]
    Client {
        /// Host and port.
        registry: String,
        /// Why.
        why: String,
    },
    /// The credential cannot be had.
    #[error(transparent)]
    Credential(#[from] CredentialError),
}

impl RegistryError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        const AGAIN: &str = "run the same command again: what was uploaded is not uploaded twice";
        match self {
            Self::Unsure { error, .. } => error.hint(),
            Self::Denied { registry, .. } => {
                Some(format!("`docker login {registry}`, or check that this identity may push to the repository"))
            }
            Self::FixedList { .. } => Some(
                "let tags that begin with `sha256-` move in this repository (an exception to its immutability); `--no-sbom` publishes \
                 without"
                    .to_owned(),
            ),
            Self::NoRepository { .. } => Some("create the repository first; in Amazon ECR: `cargo xtask ecr init`".to_owned()),
            Self::Credential(CredentialError::Ecr(error)) => error.hint(),
            Self::Credential(CredentialError::Helper { program, .. }) => {
                Some(format!("is `{program}` installed and on the PATH? docker's `config.json` names it"))
            }
            Self::Unreachable { .. } => {
                Some("check the network, HTTPS_PROXY and NO_PROXY, then run the same command again".to_owned())
            }
            Self::Status { status, .. } if crate::retry::is_passing(*status) => Some(AGAIN.to_owned()),
            Self::Status { .. } | Self::Protocol { .. } | Self::ReadBack { .. } => {
                Some(format!("{AGAIN}; `-vv` shows what the registry is asked and answers"))
            }
            _ => None,
        }
    }
}

/// The digest that `reference` points to in its registry now; none where there is no such image. One `HEAD`, and few attempts.
///
/// # Errors
/// The registry cannot be asked.
pub async fn digest_of(reference: &Reference, insecure: bool, sources: &Sources) -> Result<Option<Digest>, RegistryError> {
    let registry = Registry::looking(&reference.repository, insecure, sources).await?;
    let asked = match (&reference.digest, &reference.tag) {
        (Some(digest), _) => digest.to_string(),
        (None, Some(tag)) => tag.clone(),
        (None, None) => "latest".to_owned(),
    };
    registry.digest(&asked).await
}

/// The platforms of the image that `repository` has under `digest`; none where there is no such image.
///
/// # Errors
/// As [`Registry::platforms`].
pub async fn platforms_of(
    repository: &Repository,
    digest: Digest,
    sources: &Sources,
) -> Result<Option<BTreeSet<String>>, RegistryError> {
    Registry::looking(repository, false, sources).await?.platforms(&digest.to_string()).await
}

/// The host that answers for a registry's name: Docker Hub has another one for its API.
fn api_host(repository: &Repository) -> &str {
    match repository.registry() {
        "docker.io" => "registry-1.docker.io",
        host => host,
    }
}

/// The innermost cause: reqwest and hyper hide it behind "error sending request".
pub(crate) fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
