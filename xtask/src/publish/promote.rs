//! Promotion: tags are moved to an image that is published already. Nothing is built; what a destination lacks is copied from
//! one that has it. From where the image is found on, it is a [`Release`] like any other.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use super::attach::{Describe, Looking, Scope};
use super::image::{Head, Image};
use super::ledger::View;
use super::plan::{ReleasePlan, TagKind, VariantRelease, forbidden};
use super::refusal::Wanted;
use super::survey::{Found, Survey, configuration, look_at};
use super::{Choice, Failed, Item, PublishError, Refusal, Registries, Release};
use crate::family::Name;
use crate::oci::{Digest, Platform, Repository, media_type};
use crate::plan;
use crate::registry::{Registry, RegistryError};
use crate::store::Manifest;

/// What is published under a tag or digest: an image, or an index of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Located {
    /// The image; of an index its images, in its order.
    pub images: Vec<Held>,
    /// The index; none: it is one image.
    pub index: Option<Manifest>,
    /// As it was asked for.
    pub reference: String,
}

/// An image that is published, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// It.
    pub image: Image,
    /// The repositories that have its manifest.
    pub holders: BTreeSet<Repository>,
}

/// What an image of the family says about itself, or all images of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identified {
    /// Its variant.
    pub variant: Name,
    /// What each runs on, and what it was built from.
    pub images: Vec<(Platform, Digest)>,
}

impl Located {
    /// Finds what stands under a tag or digest in `among` (names of destinations and their repositories).
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
        let reference = reference.to_owned();
        let (manifest, members) = match held(digest, &reference, among, registries).await? {
            Read::Image(held) => return Ok(Self { images: vec![held], index: None, reference }),
            Read::Index { manifest, members } => (manifest, members),
        };
        let mut images = Vec::new();
        for member in members {
            match held(member, &member.to_string(), among, registries).await? {
                Read::Image(held) => images.push(held),
                Read::Index { .. } => {
                    let why = "it is an index of indexes".to_owned();
                    return Err(PublishError::Refused { refusals: vec![Refusal::Foreign { image: reference, why }] });
                }
            }
        }
        Ok(Self { images, index: Some(manifest), reference })
    }

    /// What the image says about itself, if it is one of `family`, or all images of the index.
    ///
    /// # Errors
    /// It is none, or they are not the platforms of one variant.
    pub fn identify(&self, family: &Name) -> Result<Identified, PublishError> {
        let foreign = |why| PublishError::Refused { refusals: vec![Refusal::Foreign { image: self.reference.clone(), why }] };
        let mut found: Option<Identified> = None;
        for held in &self.images {
            let (variant, platform, input) = identified(&held.image, family).map_err(foreign)?;
            let known = found.get_or_insert_with(|| Identified { variant: variant.clone(), images: Vec::new() });
            if known.variant != variant {
                return Err(foreign(format!("it is an index of the variants `{}` and `{variant}`", known.variant)));
            }
            if known.images.iter().any(|(other, _)| *other == platform) {
                return Err(foreign(format!("it is an index of two images for {platform}")));
            }
            known.images.push((platform, input));
        }
        found.ok_or_else(|| foreign("it is an index of nothing".to_owned()))
    }
}

/// Its variant, what it runs on, and what it was built from.
fn identified(image: &Image, family: &Name) -> Result<(Name, Platform, Digest), String> {
    let label = |name: &str| {
        let value = image.labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
        value.ok_or_else(|| format!("it has no label `{name}`"))
    };
    let unreadable = |name: &str| format!("its label `{name}` cannot be read");
    let of = label(plan::FAMILY)?;
    if of != family.as_str() {
        return Err(format!("it is an image of the family `{of}`"));
    }
    let variant = label(plan::VARIANT)?.parse().map_err(|_| unreadable(plan::VARIANT))?;
    let platform = label(plan::PLATFORM)?.parse().map_err(|_| unreadable(plan::PLATFORM))?;
    Ok((variant, platform, label(plan::INPUT)?.parse().map_err(|_| unreadable(plan::INPUT))?))
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

/// What a digest is.
enum Read {
    Image(Held),
    Index { manifest: Manifest, members: Vec<Digest> },
}

/// The image or index of this digest, from whichever destination has it whole.
async fn held(
    digest: Digest,
    reference: &str,
    among: &[(String, Repository)],
    registries: &Registries,
) -> Result<Read, PublishError> {
    // A destination whose tag is missing may have the image all the same.
    let by_digest = ask(&digest.to_string(), among, registries).await?;
    let holders: Vec<_> = by_digest.into_iter().filter(|(.., is)| is.is_some()).collect();
    let mut last = PublishError::Unknown { reference: reference.to_owned() };
    for (destination, registry, _) in &holders {
        match read(registry, digest).await {
            Ok(Ok(Read::Image(held))) => {
                let holders = holders.iter().map(|(_, registry, _)| registry.repository().clone()).collect();
                return Ok(Read::Image(Held { holders, ..held }));
            }
            Ok(Ok(index)) => return Ok(index),
            Ok(Err(why)) => {
                let image = registry.repository().digest(digest).to_string();
                last = PublishError::Refused { refusals: vec![Refusal::Foreign { image, why }] };
            }
            Err(error) => last = PublishError::Untagged { failures: vec![Failed { destination: destination.clone(), error }] },
        }
    }
    Err(last)
}

/// The image or index, or why it is neither.
async fn read(registry: &Registry, digest: Digest) -> Result<Result<Read, String>, RegistryError> {
    let Some(manifest) = registry.manifest(&digest.to_string()).await? else { return Ok(Err("it went away".to_owned())) };
    let head = Head::read(&manifest.bytes);
    let members = head.iter().flat_map(Head::members).map(|member| member.digest).collect::<Vec<_>>();
    let Some(config) = head.as_ref().and_then(Head::config) else {
        if members.is_empty() || manifest.media_type != media_type::INDEX {
            return Ok(Err("it is neither an image nor an index".to_owned()));
        }
        let manifest = Manifest { bytes: manifest.bytes, digest, media_type: media_type::INDEX };
        return Ok(Ok(Read::Index { manifest, members }));
    };
    Ok(match configuration(registry, config).await? {
        Some(bytes) => Image::published(manifest.bytes, bytes).map(|image| Read::Image(Held { image, holders: BTreeSet::new() })),
        None => Err(format!("its configuration {} is missing or damaged", config.digest)),
    })
}

impl Release {
    /// The release of images that are given, instead of decided on: `plan` has a variant for each of them, with the tags that are
    /// to point to it. `describe` tells which SBOMs are not copied.
    ///
    /// # Errors
    /// An immutable tag points elsewhere, a policy forbids an image in a destination, or one cannot be asked.
    pub async fn given(
        plan: ReleasePlan,
        located: Located,
        registries: &Registries,
        ledger: &View,
        describe: Option<&dyn Describe>,
    ) -> Result<Self, PublishError> {
        let Located { images, reference, .. } = located;
        let deliveries: Vec<_> = plan.variants().iter().flat_map(|release| &release.destinations).collect();
        let mut survey = look_at(&deliveries, registries).await?;
        let given = plan.variants().iter().zip(&images);
        let refusals: Vec<_> = given.flat_map(|(release, held)| refusals(release, &survey, &held.image, ledger)).collect();
        if !refusals.is_empty() {
            return Err(PublishError::Refused { refusals });
        }
        let everywhere = images.iter().flat_map(|held| &held.holders).cloned().collect();
        let mut items = Vec::new();
        for (release, Held { image, holders }) in plan.into_variants().into_iter().zip(images) {
            let digest = image.manifest.digest;
            let holders = complete(&image, holders, registries).await;
            let manifest = image.manifest.bytes.clone();
            let found = Found { manifest, image: Some(image.clone()), input: Some(release.input), holders };
            survey.found.insert(digest, found);
            let choice = Choice::Given { reference: reference.clone(), digest };
            items.push(Item { release, choice, image: Some(image), attachments: None });
        }
        let mut release = Self::of(items, survey);
        release.look_for_blobs(registries).await?;
        let looking = Looking { scope: Scope::Copies, describe, own: &ledger.attached() };
        release.look_for_attachments(looking, &everywhere, registries).await?;
        Ok(release)
    }
}

fn refusals(release: &VariantRelease, survey: &Survey, image: &Image, ledger: &View) -> Vec<Refusal> {
    let mut refusals = Vec::new();
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
