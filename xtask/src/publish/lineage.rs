//! What stands beside a release in the registries, and must not be torn from it: the published parent of a child that goes out
//! alone, and later commits that moving tags are at.

use std::collections::BTreeSet;

use super::decide::Choice;
use super::image::{Head, Image};
use super::index::IndexRelease;
use super::plan::TagKind;
use super::release::{Item, Release};
use super::survey;
use super::verify::unfinished;
use super::{Failed, PublishError, Refusal, Registries};
use crate::family::Name;
use crate::oci::{Digest, Platform};
use crate::plan;
use crate::registry::{Registry, RegistryError};

/// The published image that a child stands on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Its name.
    pub variant: Name,
    /// The tags that move with its releases.
    pub moving: Vec<String>,
    /// The pins that it and the images below it install themselves.
    pub pins: BTreeSet<Name>,
}

/// Children that are published anew, as the engine has them, without their parent, and stand on another one than the parent that
/// is published: nobody could tell what they stand on. Reads only.
///
/// # Errors
/// A destination cannot be asked.
pub async fn torn(
    release: &Release,
    parent: impl Fn(&Name) -> Option<Parent>,
    registries: &Registries,
) -> Result<Vec<Refusal>, PublishError> {
    let (mut refusals, mut failures) = (Vec::new(), Vec::new());
    for Item { release: child, choice, .. } in &release.items {
        let (Some(built), Some(parent)) = (&child.built, parent(&child.variant)) else { continue };
        if *choice != Choice::Built || release.items.iter().any(|item| item.release.variant == parent.variant) {
            continue;
        }
        for to in &child.destinations {
            let (Some(registry), Some(tag)) = (registries.get(&to.repository), parent.moving.first()) else { continue };
            match layers(registry, tag, child.platform, &parent.pins).await {
                Ok(Some(layers)) if !built.diff_ids.starts_with(&layers) => {
                    let (variant, tag) = (child.variant.clone(), to.repository.tag(tag).to_string());
                    refusals.push(Refusal::Torn { variant, parent: parent.variant.clone(), tag });
                }
                Ok(_) => {}
                Err(error) => failures.push(Failed { destination: to.destination.clone(), error }),
            }
        }
    }
    if failures.is_empty() { Ok(refusals) } else { Err(PublishError::Untagged { failures }) }
}

/// Children that are published anew and stand on another build of their parent than the one that this release's immutable tag is at:
/// a run before this one, on another machine, has set that and got no further. Nothing can move it, and the child is whole.
pub fn apart(release: &Release, parent: impl Fn(&Name) -> Option<Parent>) -> Vec<Refusal> {
    let one = |child: &Item| {
        let (built, parent) = (child.release.built.as_ref()?, parent(&child.release.variant)?);
        let is_it = |item: &&Item| item.release.variant == parent.variant && item.release.platform == child.release.platform;
        let item = release.items.iter().find(is_it).filter(|_| child.choice == Choice::Built)?;
        let (Choice::Adopted { tag, .. }, Some(image)) = (&item.choice, &item.image) else { return None };
        let differs = !built.diff_ids.starts_with(unfinished(image, &parent.pins));
        differs.then(|| Refusal::Torn { variant: child.release.variant.clone(), parent: parent.variant, tag: tag.clone() })
    };
    release.items.iter().filter_map(one).collect()
}

/// The layers below those that finish the image for `platform` behind `tag`; none where there is no such image.
async fn layers(
    registry: &Registry,
    tag: &str,
    platform: Platform,
    pins: &BTreeSet<Name>,
) -> Result<Option<Vec<Digest>>, RegistryError> {
    let Some(manifest) = registry.manifest(tag).await? else { return Ok(None) };
    let members = Head::read(&manifest.bytes).map(|head| head.members().to_vec()).unwrap_or_default();
    let mut manifests = vec![manifest.bytes];
    for member in members {
        manifests.extend(registry.manifest(&member.digest.to_string()).await?.map(|manifest| manifest.bytes));
    }
    for manifest in manifests {
        let head = Head::read(&manifest);
        let Some(config) = head.as_ref().and_then(Head::config) else { continue };
        let image = survey::image(registry, manifest.clone(), config).await?;
        let is_for = |image: &Image| image.labels.get(plan::PLATFORM).is_none_or(|label| *label == platform.to_string());
        if let Some(image) = image.filter(is_for) {
            return Ok(Some(unfinished(&image, pins).to_vec()));
        }
    }
    Ok(None)
}

/// The same as [`later`] for tags of all platforms. Reads only.
///
/// # Errors
/// A destination cannot be asked.
pub async fn later_indexes(indexes: &[IndexRelease], registries: &Registries) -> Result<Vec<(String, String)>, PublishError> {
    let mut found = Vec::new();
    for to in indexes.iter().flat_map(|index| &index.destinations) {
        let Some(registry) = registries.get(&to.repository) else { continue };
        for tag in to.tags.iter().filter(|tag| tag.kind == TagKind::Moving) {
            let failed = |error| PublishError::Untagged { failures: vec![Failed { destination: to.destination.clone(), error }] };
            let Some(manifest) = registry.manifest(&tag.name).await.map_err(failed)? else { continue };
            found.extend(revision(&manifest.bytes).map(|revision| (to.repository.tag(&tag.name).to_string(), revision)));
        }
    }
    Ok(found)
}

fn revision(manifest: &[u8]) -> Option<String> {
    Head::read(manifest)?.annotations()?.get(plan::REVISION).cloned()
}

/// The commits that moving tags are at and would be taken from: the tag in full, and the commit.
pub fn later(release: &Release) -> Vec<(String, String)> {
    let anew = release.deliveries().filter(|(item, _)| !matches!(item.choice, Choice::Unchanged { .. }));
    let tags = anew.flat_map(|(item, to)| to.tags.iter().map(move |tag| (item, to, tag)));
    let moving = tags.filter(|(.., tag)| tag.kind == TagKind::Moving);
    let found = moving.filter_map(|(item, to, tag)| {
        let now = release.survey.tag(to, &tag.name)?;
        if item.image.as_ref().is_some_and(|image| image.manifest.digest == now) {
            return None;
        }
        Some((to.repository.tag(&tag.name).to_string(), revision(&release.survey.found.get(&now)?.manifest)?))
    });
    found.collect()
}
