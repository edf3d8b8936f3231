//! What stands beside a release in the registries, and must not be torn from it: the published parent of a child that goes out
//! alone, and later commits that moving tags are at.

use std::collections::BTreeSet;

use super::decide::Choice;
use super::image::Head;
use super::plan::TagKind;
use super::release::{Item, Release};
use super::survey;
use super::verify::unfinished;
use super::{Failed, PublishError, Refusal, Registries};
use crate::family::Name;
use crate::oci::Digest;
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
            match layers(registry, tag, &parent.pins).await {
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

/// The layers below those that finish the image behind `tag`; none where there is no such image.
async fn layers(registry: &Registry, tag: &str, pins: &BTreeSet<Name>) -> Result<Option<Vec<Digest>>, RegistryError> {
    let Some(manifest) = registry.manifest(tag).await? else { return Ok(None) };
    let head = Head::read(&manifest.bytes);
    let Some(config) = head.as_ref().and_then(Head::config) else { return Ok(None) };
    let image = survey::image(registry, manifest.bytes.clone(), config).await?;
    Ok(image.map(|image| unfinished(&image, pins).to_vec()))
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
        let head = Head::read(&release.survey.found.get(&now)?.manifest)?;
        Some((to.repository.tag(&tag.name).to_string(), head.annotations()?.get(plan::REVISION)?.clone()))
    });
    found.collect()
}
