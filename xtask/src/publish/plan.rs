//! What is to be published where, as a value, and the policies that forbid it. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::family::Name;
use crate::oci::{Digest, Platform, Repository};

/// A release: every variant, every destination, every tag. Whoever holds one knows that the policies allow it, but for
/// those that need to look into a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ReleasePlan {
    variants: Vec<VariantRelease>,
}

/// One variant, for one platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VariantRelease {
    /// Its name.
    pub variant: Name,
    /// What it runs on.
    pub platform: Platform,
    /// Its name in the engine: `ansible-epic:aws`.
    pub image: String,
    /// The identity that was smoke-tested; if given, no other is published.
    pub config_digest: Option<Digest>,
    /// Of the manifest: `org.opencontainers.image.created`, `gantry.input-digest`, …
    pub annotations: BTreeMap<String, String>,
    /// The image's labels, which some policies look at.
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
    /// Where it goes.
    pub destinations: Vec<Delivery>,
}

/// One variant at one destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Delivery {
    /// The destination's name: `ghcr`.
    pub destination: String,
    /// Its repository.
    pub repository: Repository,
    /// Plain http even though it is not loopback.
    pub insecure: bool,
    /// Who named the repository.
    pub origin: Origin,
    /// Its tags.
    pub tags: Vec<Tag>,
}

/// Who named a destination's repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// variants.toml.
    File,
    /// `--destination`.
    CommandLine,
}

/// A tag that is to be set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tag {
    /// `aws-2026.11.20-3f2c1ab`
    pub name: String,
    /// Whether it may move.
    pub kind: TagKind,
    /// Whether its template has `{revision}`.
    pub uses_revision: bool,
}

/// Whether a tag may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TagKind {
    /// Set once.
    Immutable,
    /// Moves with every release.
    Moving,
}

/// The state of the source tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tree {
    /// All is committed.
    Clean,
    /// Something is not.
    Dirty,
    /// No git, no revision.
    NoGit,
}

/// What the policies look at beside the images.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// The source tree.
    pub tree: Tree,
    /// `--allow-dirty`: the tags then say so themselves.
    pub allow_dirty: bool,
}

/// Something that a policy forbids.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Components were left out of the image.
    #[error("`{variant}` lacks {components}, so it does not go to `{destination}`")]
    Omitted {
        /// The variant.
        variant: Name,
        /// As in the label `gantry.omitted`.
        components: String,
        /// The destination.
        destination: String,
    },
    /// The image was built with a CA bundle that variants.toml does not name.
    #[error("`{variant}` was built with this host's CA bundle, so it does not go to `{destination}`")]
    HostBundle {
        /// The variant.
        variant: Name,
        /// The destination.
        destination: String,
    },
    /// The tag would name a revision that the image was not built from.
    #[error("`{tag}` names a revision, and {}", if *.no_git { "there is no git" } else { "the tree has changes that are not committed" })]
    Revision {
        /// The tag.
        tag: String,
        /// Whether there is no revision at all.
        no_git: bool,
    },
    /// Two images want one tag.
    #[error("`{tag}` is wanted by `{first}` and by `{second}`")]
    Clash {
        /// Repository and tag.
        tag: String,
        /// A variant and platform.
        first: String,
        /// Another.
        second: String,
    },
    /// A tag is asked to be immutable and moving.
    #[error("`{tag}` is both an immutable tag and one that moves")]
    BothKinds {
        /// Repository and tag.
        tag: String,
    },
    /// The image is not the one that was tested.
    #[error("`{image}` is {found} now, {tested} was tested")]
    OtherImage {
        /// The local name.
        image: String,
        /// Its config digest.
        found: Digest,
        /// The config digest that was recorded.
        tested: Digest,
    },
    /// An immutable tag is there, with something else.
    #[error("`{tag}` is immutable and is {found} already; this release is {wanted}")]
    Taken {
        /// Repository and tag.
        tag: String,
        /// What it points to.
        found: Digest,
        /// What it should point to.
        wanted: Digest,
    },
}

impl Refusal {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Omitted { .. } => "build where every vendor or a mirror can be reached, or push to a loopback `--destination`",
            Self::HostBundle { .. } => "name the bundle as `ca-bundle` in variants.toml and build again",
            Self::Revision { .. } => "commit first, or `--allow-dirty`, which shows in the tag",
            Self::Clash { .. } | Self::BothKinds { .. } => "change `[tags]` or the aliases in variants.toml",
            Self::OtherImage { .. } => "run `cargo xtask smoke` on what is built now",
            Self::Taken { .. } => "commit, so that the release has a tag of its own: an immutable tag is never moved",
        }
        .to_owned()
    }
}

impl ReleasePlan {
    /// The plan, unless a policy forbids it.
    ///
    /// # Errors
    /// Everything that is forbidden, not only the first.
    pub fn new(variants: Vec<VariantRelease>, circumstances: Circumstances) -> Result<Self, Vec<Refusal>> {
        let mut refusals = Vec::new();
        let mut owners = BTreeMap::new();
        for release in &variants {
            let variant = || release.variant.clone();
            let owner = format!("{} ({})", release.variant, release.platform);
            for delivery in &release.destinations {
                let destination = || delivery.destination.clone();
                let label = |name: &str| release.labels.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
                if !delivery.repository.is_loopback() {
                    if let Some(components) = label("gantry.omitted") {
                        let components = components.split(',').map(|name| format!("`{}`", name.trim()));
                        let components = components.collect::<Vec<_>>().join(", ");
                        refusals.push(Refusal::Omitted { variant: variant(), components, destination: destination() });
                    }
                    if label("gantry.ca-bundle") == Some("host") {
                        refusals.push(Refusal::HostBundle { variant: variant(), destination: destination() });
                    }
                }
                for tag in &delivery.tags {
                    let named = delivery.repository.tag(&tag.name).to_string();
                    let from_file = delivery.origin == Origin::File;
                    if tag.uses_revision && circumstances.tree != Tree::Clean && from_file && !circumstances.allow_dirty {
                        let no_git = circumstances.tree == Tree::NoGit;
                        refusals.push(Refusal::Revision { tag: named.clone(), no_git });
                    }
                    match owners.insert(named.clone(), (owner.clone(), tag.kind)) {
                        Some((first, _)) if first != owner => {
                            refusals.push(Refusal::Clash { tag: named, first, second: owner.clone() });
                        }
                        Some((_, kind)) if kind != tag.kind => refusals.push(Refusal::BothKinds { tag: named }),
                        _ => {}
                    }
                }
            }
        }
        if refusals.is_empty() { Ok(Self { variants }) } else { Err(refusals) }
    }

    /// The variants, in the order in which they were given.
    pub fn variants(&self) -> &[VariantRelease] {
        &self.variants
    }
}

/// As `--dry-run` shows it: the order of things, in full.
impl fmt::Display for ReleasePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for release in &self.variants {
            writeln!(f, "{} ({}), from `{}`", release.variant, release.platform, release.image)?;
            for delivery in &release.destinations {
                writeln!(f, "  {}: {}", delivery.destination, delivery.repository)?;
                for (kind, words) in [(TagKind::Immutable, "once"), (TagKind::Moving, "moves")] {
                    for tag in delivery.tags.iter().filter(|tag| tag.kind == kind) {
                        writeln!(f, "    {words:<5} {}", tag.name)?;
                    }
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
