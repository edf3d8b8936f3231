//! Promotion: tags are moved to an image that is published already. Nothing is built; what a destination lacks is copied from
//! one that has it. From where the image is found on, it is a [`Release`] like any other.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::attach::{Describe, Looking, Scope};
use super::image::{Head, Image};
use super::ledger::View;
use super::plan::{ReleasePlan, TagKind, forbidden};
use super::refusal::Wanted;
use super::survey::{Found, Survey, configuration, look_at};
use super::{Choice, Failed, Item, PublishError, Refusal, Registries, Release};
use crate::family::Name;
use crate::oci::{Digest, Platform, Repository};
use crate::plan;
use crate::registry::{Registry, RegistryError};

/// An image that is published, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// It.
    pub image: Image,
    /// The repositories that have its manifest.
    pub holders: BTreeSet<Repository>,
    /// As it was asked for.
    pub reference: String,
}

/// What an image of the family says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// Its variant.
    pub variant: Name,
    /// What it runs on.
    pub platform: Platform,
    /// What it was built from.
    pub input: Digest,
}

impl Located {
    /// Finds the image under a tag or digest in `among` (names of destinations and their repositories).
    ///
    /// # Errors
    /// It is nowhere, is not the same everywhere, is no image of ours, or a destination cannot be asked.
    pub async fn find(reference: &str, among: &[(String, Repository)], registries: &Registries) -> Result<Self, PublishError> {
        let found = ask(reference, among, registries).await?;
        let digests: BTreeMap<Digest, &String> = found.iter().filter_map(|(name, _, is)| Some(((*is)?, name))).collect();
        let digest = match digests.len() {
            0 => return Err(PublishError::Unknown { reference: reference.to_owned() }),
            1 => digests.into_keys().next(),
            _ => None,
        };
        let Some(digest) = digest else {
            let all = found.iter().filter_map(|(name, _, is)| is.map(|digest| format!("{digest} in `{name}`")));
            let found = all.collect::<Vec<_>>().join(", ");
            let refusals = vec![Refusal::Ambiguous { reference: reference.to_owned(), found }];
            return Err(PublishError::Refused { refusals });
        };
        // A destination whose tag is missing may have the image all the same.
        let by_digest = ask(&digest.to_string(), among, registries).await?;
        let holders: Vec<_> = by_digest.into_iter().filter(|(.., is)| is.is_some()).collect();
        let mut last = PublishError::Unknown { reference: reference.to_owned() };
        for (destination, registry, _) in &holders {
            match read(registry, digest).await {
                Ok(Ok(image)) => {
                    let holders = holders.iter().map(|(_, registry, _)| registry.repository().clone()).collect();
                    return Ok(Self { image, holders, reference: reference.to_owned() });
                }
                Ok(Err(why)) => {
                    let image = registry.repository().digest(digest).to_string();
                    last = PublishError::Refused { refusals: vec![Refusal::Foreign { image, why }] };
                }
                Err(error) => {
                    last = PublishError::Untagged { failures: vec![Failed { destination: destination.clone(), error }] };
                }
            }
        }
        Err(last)
    }

    /// What the image says about itself, if it is one of `family`.
    ///
    /// # Errors
    /// It is none.
    pub fn identify(&self, family: &Name) -> Result<Identified, PublishError> {
        let image = || self.reference.clone();
        identified(&self.image, family)
            .map_err(|why| PublishError::Refused { refusals: vec![Refusal::Foreign { image: image(), why }] })
    }
}

fn identified(image: &Image, family: &Name) -> Result<Identified, String> {
    let label = |name: &str| {
        let value = image.labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("it has no label `{name}`"))
    };
    let unreadable = |name: &str| format!("its label `{name}` cannot be read");
    let of = label(plan::FAMILY)?;
    if of != family.as_str() {
        return Err(format!("it is an image of the family `{of}`"));
    }
    Ok(Identified {
        variant: label(plan::VARIANT)?.parse().map_err(|_| unreadable(plan::VARIANT))?,
        platform: label(plan::PLATFORM)?.parse().map_err(|_| unreadable(plan::PLATFORM))?,
        input: label(plan::INPUT)?.parse().map_err(|_| unreadable(plan::INPUT))?,
    })
}

type Asked<'a> = (String, &'a Registry, Option<Digest>);

/// What stands under a tag or digest at each destination.
async fn ask<'a>(
    reference: &str,
    among: &[(String, Repository)],
    registries: &'a Registries,
) -> Result<Vec<Asked<'a>>, PublishError> {
    let known = among.iter().filter_map(|(name, repository)| Some((name, registries.get(repository)?)));
    let asks = known.map(|(name, registry)| async move { (name, registry, registry.digest(reference).await) });
    let (mut found, mut failures) = (Vec::new(), Vec::new());
    for (name, registry, answer) in join_all(asks).await {
        match answer {
            Ok(digest) => found.push((name.clone(), registry, digest)),
            Err(error) => failures.push(Failed { destination: name.clone(), error }),
        }
    }
    if failures.is_empty() { Ok(found) } else { Err(PublishError::Untagged { failures }) }
}

/// The image, or why it is none.
async fn read(registry: &Registry, digest: Digest) -> Result<Result<Image, String>, RegistryError> {
    let Some(manifest) = registry.manifest(&digest.to_string()).await? else { return Ok(Err("it went away".to_owned())) };
    let head = Head::read(&manifest.bytes);
    let Some(config) = head.as_ref().and_then(Head::config) else { return Ok(Err("it is an index, or no manifest".to_owned())) };
    Ok(match configuration(registry, config).await? {
        Some(bytes) => Image::published(manifest.bytes, bytes),
        None => Err(format!("its configuration {} is missing or damaged", config.digest)),
    })
}

impl Release {
    /// The release of an image that is given, instead of decided on: `plan` names the tags that are to point to it. `describe` tells
    /// which SBOMs are not copied.
    ///
    /// # Errors
    /// An immutable tag points elsewhere, a policy forbids the image in a destination, or one cannot be asked.
    pub async fn given(
        plan: ReleasePlan,
        located: Located,
        registries: &Registries,
        ledger: &View,
        describe: Option<&dyn Describe>,
    ) -> Result<Self, PublishError> {
        let Located { image, holders, reference } = located;
        let digest = image.manifest.digest;
        let deliveries: Vec<_> = plan.variants().iter().flat_map(|release| &release.destinations).collect();
        let mut survey = look_at(&deliveries, registries).await?;
        let refusals = refusals(&plan, &survey, &image, ledger);
        if !refusals.is_empty() {
            return Err(PublishError::Refused { refusals });
        }
        let everywhere = holders.clone();
        let whole = complete(&image, holders, registries).await;
        let input = plan.variants().first().map(|release| release.input);
        survey
            .found
            .insert(digest, Found { manifest: image.manifest.bytes.clone(), image: Some(image.clone()), input, holders: whole });
        let choice = Choice::Given { reference, digest };
        let item = |release| Item { release, choice: choice.clone(), image: Some(image.clone()), attachments: None };
        let items = plan.into_variants().into_iter().map(item).collect();
        let mut release = Self::of(items, survey);
        release.look_for_blobs(registries).await?;
        let looking = Looking { scope: Scope::Copies, describe, own: &ledger.attached() };
        release.look_for_attachments(looking, &everywhere, registries).await?;
        Ok(release)
    }
}

fn refusals(plan: &ReleasePlan, survey: &Survey, image: &Image, ledger: &View) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for release in plan.variants() {
        for to in &release.destinations {
            refusals.extend(forbidden(&release.variant, &image.labels, to));
            for tag in to.tags.iter().filter(|tag| tag.kind == TagKind::Immutable) {
                if let Some(found) = survey.tag(to, &tag.name).filter(|found| *found != image.manifest.digest) {
                    let tag = to.repository.tag(&tag.name).to_string();
                    let remembered = ledger.tags.get(&tag).cloned();
                    refusals.push(Refusal::Taken { tag, found, wanted: Wanted::Manifest(image.manifest.digest), remembered });
                }
            }
        }
    }
    refusals
}

/// The holders that have every blob. Whoever has lost one gets it again; one that cannot be asked will say so when it is
/// written to.
async fn complete(image: &Image, holders: BTreeSet<Repository>, registries: &Registries) -> BTreeSet<Repository> {
    let checks = holders.into_iter().filter_map(|repository| Some((registries.get(&repository)?, repository)));
    let checks = checks.map(|(registry, repository)| async move {
        for blob in image.blobs() {
            if !registry.holds_blob(blob.digest, blob.size).await.unwrap_or(false) {
                return None;
            }
        }
        Some(repository)
    });
    join_all(checks).await.into_iter().flatten().collect()
}
