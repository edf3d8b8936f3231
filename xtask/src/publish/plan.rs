//! What is to be published where, as a value, and the policies that forbid it. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Refusal;
use crate::family::Name;
use crate::oci::{Digest, Platform, Repository};
use crate::plan::{CA_BUNDLE, OMITTED};
use crate::store::Want;

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
    /// The digest of everything that it is built from. What is published already with this input is not published anew.
    pub input: Digest,
    /// As the engine of this machine has it; none where it was not built here.
    pub built: Option<Built>,
    /// The identity that was smoke-tested; if given, no other is published.
    pub config_digest: Option<Digest>,
    /// The variants that it is built on, nearest first.
    pub ancestors: Vec<Name>,
    /// Where it goes.
    pub destinations: Vec<Delivery>,
}

/// An image of the engine on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Built {
    /// Its name for people: `ansible-epic:aws`.
    pub image: String,
    /// What is exported. Not by the local tag, which may be anybody's by now.
    #[serde(skip)]
    pub want: Want,
    /// Its manifest, where every layer of it was compressed before.
    pub manifest: Option<Digest>,
    /// The digests of its layers, uncompressed, lowest first.
    #[serde(skip)]
    pub diff_ids: Vec<Digest>,
    /// Its labels: some policies look at them, some become the manifest's annotations.
    #[serde(skip)]
    pub labels: BTreeMap<String, String>,
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
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

impl ReleasePlan {
    /// The plan, unless a policy forbids it.
    ///
    /// # Errors
    /// Everything that is forbidden, not only the first.
    pub fn new(variants: Vec<VariantRelease>, circumstances: Circumstances) -> Result<Self, Vec<Refusal>> {
        let mut refusals = Vec::new();
        let mut owners = BTreeMap::new();
        for release in &variants {
            let owner = format!("{} ({})", release.variant, release.platform);
            for delivery in &release.destinations {
                if let Some(built) = &release.built {
                    refusals.extend(forbidden(&release.variant, &built.labels, delivery));
                }
                for tag in &delivery.tags {
                    let named = delivery.repository.tag(&tag.name).to_string();
                    // A registry of one's own machine is for trying.
                    let for_trying = delivery.origin == Origin::CommandLine && delivery.repository.is_loopback();
                    if tag.uses_revision && circumstances.tree != Tree::Clean && !for_trying && !circumstances.allow_dirty {
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

    /// What the labels of a variant's image forbid at its destinations.
    pub fn forbidden(&self, variant: &Name, labels: &BTreeMap<String, String>) -> Vec<Refusal> {
        let its = self.variants.iter().filter(|release| release.variant == *variant).flat_map(|release| &release.destinations);
        its.flat_map(|delivery| forbidden(variant, labels, delivery)).collect()
    }

    /// The same, where these images were tried: no others are published of these variants.
    #[must_use]
    pub fn tested(mut self, tested: &BTreeMap<Name, Digest>) -> Self {
        for release in &mut self.variants {
            release.config_digest = tested.get(&release.variant).copied();
        }
        self
    }

    /// The name of the destination that has this repository.
    pub(super) fn name_of(&self, repository: &Repository) -> String {
        let mut destinations = self.variants.iter().flat_map(|release| &release.destinations);
        destinations.find(|to| to.repository == *repository).map_or_else(|| repository.to_string(), |to| to.destination.clone())
    }

    /// The same, where what the engine has can be completed.
    pub(super) fn variants_mut(&mut self) -> &mut [VariantRelease] {
        &mut self.variants
    }

    /// The variants themselves.
    pub(super) fn into_variants(self) -> Vec<VariantRelease> {
        self.variants
    }

    /// Every tag in full: `ghcr.io/team/image:aws`.
    pub fn references(&self) -> Vec<String> {
        let deliveries = self.variants.iter().flat_map(|release| &release.destinations);
        deliveries.flat_map(|to| to.tags.iter().map(|tag| to.repository.tag(&tag.name).to_string())).collect()
    }

    /// The variants, in the order in which they were given.
    pub fn variants(&self) -> &[VariantRelease] {
        &self.variants
    }
}

/// What an image's labels forbid at a destination.
pub(super) fn forbidden(variant: &Name, labels: &BTreeMap<String, String>, delivery: &Delivery) -> Vec<Refusal> {
    if delivery.repository.is_loopback() {
        return Vec::new();
    }
    let destination = || delivery.destination.clone();
    let label = |name: &str| labels.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let mut refusals = Vec::new();
    if let Some(components) = label(OMITTED) {
        let components = components.split(',').map(|name| format!("`{}`", name.trim()));
        let components = components.collect::<Vec<_>>().join(", ");
        refusals.push(Refusal::Omitted { variant: variant.clone(), components, destination: destination() });
    }
    if label(CA_BUNDLE) == Some("host") {
        refusals.push(Refusal::HostBundle { variant: variant.clone(), destination: destination() });
    }
    refusals
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
