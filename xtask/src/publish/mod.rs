//! Publishing: the same bytes, and so the same digest, to every destination; tags last, the moving ones at the very end.

mod execute;
mod plan;
mod tagging;
mod upload;

pub use execute::{Published, PublishedImage, PublishedTag, Registries, TagState, connect, execute};
pub use plan::{Circumstances, Delivery, Origin, Refusal, ReleasePlan, Tag, TagKind, Tree, VariantRelease};

use crate::failure::{Exit, Failure};
use crate::registry::RegistryError;
use crate::store::StoreError;

/// One thing that failed at one destination.
#[derive(Debug)]
pub struct Failed {
    /// The destination's name.
    pub destination: String,
    /// Why.
    pub error: RegistryError,
}

/// Why a release did not come about.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A policy forbids it. Nothing was tagged.
    #[error("refused: {}", listed(refusals))]
    Refused {
        /// Everything that is forbidden.
        refusals: Vec<Refusal>,
    },
    /// The images could not be got ready. Nothing was sent.
    #[error("the images could not be made ready")]
    Store(#[from] StoreError),
    /// A destination has no usable credential or client. Nothing was sent.
    #[error("`{destination}` cannot be used: {error}")]
    Connect {
        /// The destination's name.
        destination: String,
        /// Why.
        error: RegistryError,
    },
    /// A destination failed before any tag was touched.
    #[error("publishing failed, nothing was tagged: {}", listed(failures))]
    Untagged {
        /// What failed.
        failures: Vec<Failed>,
    },
    /// A destination failed when some tags were set, or may have been.
    #[error("publishing failed when {} tags were set: {}{}", tags.len(), listed(failures), listed(refusals))]
    Partly {
        /// The tags that are set: `ghcr.io/team/image:aws@sha256:…`.
        tags: Vec<String>,
        /// What failed.
        failures: Vec<Failed>,
        /// What somebody else changed meanwhile.
        refusals: Vec<Refusal>,
    },
}

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "`{}`: {}", self.destination, self.error)
    }
}

fn listed(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl PublishError {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused { .. } => Exit::Refused,
            Self::Connect { .. } => Exit::Missing,
            Self::Store(_) | Self::Untagged { .. } => Exit::PublishUntagged,
            Self::Partly { .. } => Exit::PublishPartly,
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        const AGAIN: &str = "run the same command again: what was uploaded is not uploaded twice";
        let mut hints: Vec<String> = match &error {
            PublishError::Refused { refusals } => refusals.iter().map(Refusal::hint).collect(),
            PublishError::Store(_) => vec![],
            PublishError::Connect { error, .. } => error.hint().into_iter().collect(),
            PublishError::Untagged { failures } => failures.iter().filter_map(|failed| failed.error.hint()).collect(),
            PublishError::Partly { failures, refusals, .. } => {
                let registries = failures.iter().filter_map(|failed| failed.error.hint());
                registries.chain(refusals.iter().map(Refusal::hint)).chain([AGAIN.to_owned()]).collect()
            }
        };
        let mut seen = std::collections::BTreeSet::new();
        hints.retain(|hint| seen.insert(hint.clone()));
        let failure = Self::new(error.exit(), error.to_string());
        let failure = match &error {
            PublishError::Partly { tags, .. } if !tags.is_empty() => failure.detail(format!("set: {}", tags.join("\n     "))),
            _ => failure,
        };
        let failure = if hints.is_empty() { failure } else { failure.hint(hints.join("\n")) };
        match error {
            PublishError::Store(source) => failure.source(source),
            _ => failure,
        }
    }
}
