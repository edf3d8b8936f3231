//! Publishing: the same bytes, and so the same digest, to every destination; tags last, the moving ones at the very end.
//!
//! `plan` says what goes where and what policies forbid; `survey` looks at the destinations; `decide` chooses the image of
//! every variant: what the engine has, or what is published of the same input; `release` is the decided value that a dry
//! run shows and `execute` carries out; `ledger` remembers.

mod attach;
mod decide;
mod execute;
mod fetch;
mod image;
mod index;
mod ledger;
mod lineage;
mod plan;
mod promote;
mod published;
mod refusal;
mod release;
mod seed;
mod supply;
mod survey;
mod tagging;
mod upload;
pub mod verify;

pub use attach::{
    Artifact, Attached, Attaching, AttachmentPlan, AttachmentPreview, AttachmentState, Because, Describe, Described, Learned,
    SBOM_FILE, Truth, Untrue,
};
pub use decide::Choice;
pub use execute::{Means, Registries, Verdict, connect, connect_to, execute};
pub use image::{Descriptor, Image};
pub use index::{GivenIndex, IndexPreview, IndexRelease, PublishedIndex, complete, member_tag};
pub use ledger::{AttachmentLine, ImageLine, Ledger, LedgerError, Remembered, State, TagLine, View};
pub use lineage::{Parent, apart, later, later_indexes, torn};
pub use plan::{Built, Circumstances, Delivery, Origin, ReleasePlan, Tag, TagKind, Tree, VariantRelease};
pub use promote::{Held, Identified, Located};
pub use published::{Before, Published, PublishedImage, Sent};
pub use refusal::{Refusal, Wanted};
pub use release::{Circumstances as Deciding, Item, Preview, Release, TagPreview, Transfer, VariantPreview};
pub use survey::{Found, Survey, survey};
pub use tagging::{PublishedTag, TagState};

use crate::failure::{Exit, Failure};
use crate::family::Name;
use crate::oci::Digest;
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
    /// Variants that are neither in the engine nor published. Nothing was sent.
    #[error("not built as variants.toml and the Dockerfiles are now: {}", names(variants))]
    Missing {
        /// They.
        variants: Vec<Name>,
    },
    /// No destination has what was asked for.
    #[error("no destination has `{reference}`")]
    Unknown {
        /// A tag or digest.
        reference: String,
    },
    /// A layer of a published image is in no destination.
    #[error("the layer {digest} of a published image is in no destination any more")]
    Nowhere {
        /// The layer.
        digest: Digest,
    },
    /// The SBOM of an image cannot be made. Nothing was tagged.
    #[error("the SBOM of `{variant}` cannot be made: {why}")]
    Sbom {
        /// The image's variant.
        variant: Name,
        /// Why.
        why: String,
    },
    /// What is wanted cannot be written down, so nothing is begun.
    #[error("{0}: {why}", why = .0.why())]
    Ledger(#[from] LedgerError),
    /// A destination has no usable credential or client. Nothing was sent.
    #[error("`{destination}` cannot be used: {error}")]
    Connect {
        /// The destination's name.
        destination: String,
        /// Why.
        error: RegistryError,
    },
    /// A destination failed before any tag was touched.
    #[error("publishing failed, nothing was tagged by this run: {}", listed(failures))]
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
        write!(f, "`{}`: {}", self.destination, self.error)?;
        let mut cause = std::error::Error::source(&self.error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

fn names(variants: &[Name]) -> String {
    variants.iter().map(Name::as_str).collect::<Vec<_>>().join(", ")
}

fn listed(items: &[impl ToString]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

impl PublishError {
    /// The same in the light of the `ledger`: where former runs of this release have set some of the tags of `plan` and this
    /// one failed before it set any, some tags are set all the same.
    #[must_use]
    pub fn remembering(self, ledger: &View, plan: &[String]) -> Self {
        let Self::Untagged { failures } = self else { return self };
        let pushed: Vec<String> = ledger
            .pushed()
            .filter(|line| plan.contains(&line.reference))
            .map(|line| format!("{}@{}", line.reference, line.digest))
            .collect();
        match pushed.is_empty() || pushed.len() == plan.len() {
            true => Self::Untagged { failures },
            false => Self::Partly { tags: pushed, failures, refusals: Vec::new() },
        }
    }

    /// The same where it comes after `published`: what that has set is set.
    #[must_use]
    pub fn after(self, published: &Published) -> Self {
        let Self::Untagged { failures } = self else { return self };
        let tags = published.images.iter().flat_map(|image| {
            let set = image.destinations.values().flatten().filter(|tag| tag.state != TagState::AlreadyThere);
            set.map(|tag| format!("{}@{}", tag.reference, image.digest))
        });
        let tags: Vec<String> = tags.collect();
        match tags.is_empty() {
            true => Self::Untagged { failures },
            false => Self::Partly { tags, failures, refusals: Vec::new() },
        }
    }

    /// The exit code.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused { .. } => Exit::Refused,
            Self::Connect { .. } | Self::Missing { .. } | Self::Unknown { .. } => Exit::Missing,
            Self::Store(_) | Self::Untagged { .. } | Self::Sbom { .. } | Self::Nowhere { .. } | Self::Ledger(_) => {
                Exit::PublishUntagged
            }
            Self::Partly { .. } => Exit::PublishPartly,
        }
    }
}

impl From<PublishError> for Failure {
    fn from(error: PublishError) -> Self {
        const AGAIN: &str = "run the same command again: what was uploaded is not uploaded twice";
        let mut hints: Vec<String> = match &error {
            PublishError::Refused { refusals } => refusals.iter().map(Refusal::hint).collect(),
            PublishError::Store(error) => error.hint().into_iter().collect(),
            PublishError::Missing { .. } => vec![],
            PublishError::Unknown { .. } => vec!["`skopeo list-tags docker://REPOSITORY` lists what there is".to_owned()],
            PublishError::Nowhere { .. } => vec![
                "push from the machine that published it, which may have it in its cache; or commit, so that the release has a \
                 tag of its own, build here and push with `--force`"
                    .to_owned(),
            ],
            PublishError::Sbom { .. } => vec!["`--no-sbom` publishes without".to_owned()],
            PublishError::Ledger(_) => vec!["make room, or name another folder with XDG_STATE_HOME".to_owned()],
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_told_with_its_cause() {
        let source = std::io::Error::other("the disk is gone");
        let error = RegistryError::Read { path: "/cache/x".to_owned(), source };
        let failed = Failed { destination: "ghcr".to_owned(), error };
        assert_eq!(failed.to_string(), "`ghcr`: `/cache/x` cannot be read: the disk is gone");
    }

    #[test]
    fn what_may_pass_has_a_hint() {
        let status = |status| RegistryError::Status {
            registry: "ghcr.io".to_owned(),
            what: "take a blob".to_owned(),
            status,
            attempts: 7,
            message: String::new(),
        };
        for (code, hint) in [(503, "run the same command again"), (429, "run the same command again"), (400, "`-vv` shows")] {
            let failures = vec![Failed { destination: "ghcr".to_owned(), error: status(code) }];
            let failure = Failure::from(PublishError::Untagged { failures });
            assert!(failure.hint.as_ref().is_some_and(|told| told.contains(hint)), "{code}: {:?}", failure.hint);
        }
    }
}
