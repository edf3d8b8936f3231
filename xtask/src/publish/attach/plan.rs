//! What is attached where, and what is not yet. Only reads; what is decided is pure.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde::Serialize;

use super::super::image::Image;
use super::super::release::Item;
use super::super::{Failed, PublishError, Registries};
use super::artifact::{Artifact, ours};
use super::untrue::sort_out;
use super::{Describe, Untrue};
use crate::oci::{Digest, Platform, Repository, media_type};
use crate::registry::{Registry, RegistryError};

/// What is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Scope {
    Nothing,
    Sboms,
    Copies,
}

/// Why an attachment is the one that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Because {
    /// No destination has one of this image.
    Made,
    /// A destination has it.
    Published,
}

/// An attachment of one image, at every destination of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttachmentPlan {
    /// What a destination has; none: it is made.
    pub artifact: Option<Artifact>,
    /// Who has it.
    pub holders: BTreeSet<Repository>,
}

/// What is looked for, and how it is judged.
#[derive(Clone, Copy)]
pub(in super::super) struct Looking<'a> {
    pub(in super::super) scope: Scope,
    /// Who knows what is true of an image.
    pub(in super::super) describe: Option<&'a dyn Describe>,
    /// What this machine has attached.
    pub(in super::super) own: &'a BTreeSet<Digest>,
}

/// What repositories have attached to an image.
pub(super) type Seen = BTreeMap<Repository, Vec<Artifact>>;

/// Looks at every destination of an image. Also what is there and not true.
///
/// # Errors
/// A destination cannot be asked: [`PublishError::Untagged`].
pub(in super::super) async fn plan(
    item: &Item,
    image: &Image,
    looking: Looking<'_>,
    also: &BTreeSet<Repository>,
    registries: &Registries,
) -> Result<(Vec<AttachmentPlan>, Vec<Untrue>), PublishError> {
    let (scope, subject) = (looking.scope, image.manifest.digest);
    if scope == Scope::Nothing {
        return Ok(Default::default());
    }
    let own = item.release.destinations.iter().map(|to| (to.destination.clone(), &to.repository));
    let more = also.iter().map(|repository| (repository.to_string(), repository));
    let places: BTreeMap<&Repository, String> = more.chain(own).map(|(name, repository)| (repository, name)).collect();
    let asks = places.into_iter().filter_map(|(repository, name)| Some((registries.get(repository)?, repository, name)));
    let asks = asks.map(|(registry, repository, name)| async move {
        let found = match scope {
            Scope::Copies => all(registry, subject).await,
            _ => ours(registry, subject).await,
        };
        (repository.clone(), name, found)
    });
    let (mut seen, mut failures) = (Seen::new(), Vec::new());
    for (repository, destination, found) in join_all(asks).await {
        match found {
            Ok(found) => drop(seen.insert(repository, found)),
            Err(error) => failures.push(Failed { destination, error }),
        }
    }
    if !failures.is_empty() {
        return Err(PublishError::Untagged { failures });
    }
    let failed = |error| PublishError::Untagged { failures: vec![Failed { destination: "an SBOM".to_owned(), error }] };
    let untrue = sort_out(&mut seen, image, &item.release.variant, &looking, registries).await.map_err(failed)?;
    Ok((decide(seen, scope), untrue))
}

/// Everything that refers to `subject` and can be copied: manifests with blobs.
async fn all(registry: &Registry, subject: Digest) -> Result<Vec<Artifact>, RegistryError> {
    let mut found = Vec::new();
    for entry in registry.referrers(subject, None).await? {
        if let Some(manifest) = registry.manifest(&entry.digest.to_string()).await?
            && manifest.media_type == media_type::MANIFEST
        {
            found.extend(Artifact::read(manifest.bytes, subject));
        }
    }
    Ok(found)
}

/// Of several SBOMs of one image the one that most destinations have, so that it becomes the one that all have; everything
/// that one has, where it is copied.
fn decide(seen: Seen, scope: Scope) -> Vec<AttachmentPlan> {
    let mut known: BTreeMap<Digest, AttachmentPlan> = BTreeMap::new();
    for (repository, artifacts) in seen {
        for artifact in artifacts {
            let plan = known.entry(artifact.digest());
            let plan = plan.or_insert_with(|| AttachmentPlan { artifact: Some(artifact), holders: BTreeSet::new() });
            plan.holders.insert(repository.clone());
        }
    }
    if scope == Scope::Copies {
        return known.into_values().collect();
    }
    // The last of those that are equal in number is the one with the smallest digest.
    let chosen = known.into_values().rev().max_by_key(|plan| plan.holders.len());
    vec![chosen.unwrap_or_else(AttachmentPlan::unknown)]
}

impl AttachmentPlan {
    /// An SBOM of what no destination can have yet.
    pub(in super::super) fn unknown() -> Self {
        Self { artifact: None, holders: BTreeSet::new() }
    }

    /// Why it is this one.
    pub fn because(&self) -> Because {
        if self.artifact.is_some() { Because::Published } else { Because::Made }
    }

    /// As a dry run shows it.
    pub(in super::super) fn preview(&self, item: &Item) -> AttachmentPreview {
        let artifact_type = self.artifact.as_ref().and_then(|artifact| artifact.referrer.artifact_type.clone());
        let action = |there| if there { "keep" } else { "attach" };
        let at = item.release.destinations.iter();
        AttachmentPreview {
            variant: item.release.variant.to_string(),
            platform: item.release.platform,
            artifact_type: artifact_type.unwrap_or_else(|| media_type::CYCLONEDX.to_owned()),
            because: self.because(),
            digest: self.artifact.as_ref().map(Artifact::digest),
            destinations: at.map(|to| (to.destination.clone(), action(self.holders.contains(&to.repository)))).collect(),
        }
    }
}

/// An attachment in a dry run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AttachmentPreview {
    /// Of which variant.
    pub variant: String,
    /// For which platform.
    pub platform: Platform,
    /// What it is.
    pub artifact_type: String,
    /// Why it is this one.
    pub because: Because,
    /// Its manifest; none before it is made.
    pub digest: Option<Digest>,
    /// Every destination's name: `attach` or `keep`.
    pub destinations: BTreeMap<String, &'static str>,
}

impl std::fmt::Display for AttachmentPreview {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let digest = self.digest.map_or_else(|| "digest known once made".to_owned(), |digest| digest.short(12));
        write!(f, "{} ({})  {}, {digest}", self.variant, self.platform, self.artifact_type)?;
        for (action, words) in [("attach", "to"), ("keep", "there already in")] {
            let names = self.destinations.iter().filter(|(_, is)| **is == action).map(|(name, _)| name.as_str());
            let names = names.collect::<Vec<_>>().join(", ");
            if !names.is_empty() {
                write!(f, ", {words} {names}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::artifact::tests::image;
    use super::*;

    fn repository(name: &str) -> Repository {
        format!("127.0.0.1:5000/{name}").parse().expect("a repository")
    }

    fn sbom(text: &'static str) -> Artifact {
        Artifact::sbom(&image("an image"), Bytes::from_static(text.as_bytes())).expect("made")
    }

    #[test]
    fn what_most_destinations_have_becomes_what_all_have() {
        let (one, two) = (sbom("one"), sbom("two"));
        let small = if one.digest() < two.digest() { &one } else { &two };
        for (seen, expected, holders) in [
            (vec![], None, 0),
            (vec![("a", vec![])], None, 0),
            (vec![("a", vec![&one]), ("b", vec![])], Some(&one), 1),
            (vec![("a", vec![&one]), ("b", vec![&two]), ("c", vec![&two])], Some(&two), 2),
            (vec![("a", vec![&two]), ("b", vec![&one])], Some(small), 1),
            (vec![("a", vec![&one, &two]), ("b", vec![&one])], Some(&one), 2),
        ] {
            let seen: Seen = seen.into_iter().map(|(at, found)| (repository(at), found.into_iter().cloned().collect())).collect();
            let decided = decide(seen.clone(), Scope::Sboms);
            assert_eq!(decided.len(), 1);
            assert_eq!((decided[0].artifact.as_ref(), decided[0].holders.len()), (expected, holders));
            let different: BTreeSet<Digest> = seen.values().flatten().map(Artifact::digest).collect();
            assert_eq!(decide(seen, Scope::Copies).len(), different.len());
        }
    }
}
