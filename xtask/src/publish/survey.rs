//! What the destinations hold before anything is sent: where every tag of the release points, and which of the images
//! behind them were built from what this release is built from. Only reads.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::io::AsyncReadExt;

use super::image::{Descriptor, Head, Image};
use super::ledger::View;
use super::plan::{Delivery, ReleasePlan, TagKind};
use super::{Failed, PublishError, Registries};
use crate::oci::{Digest, Repository};
use crate::plan;
use crate::registry::{Registry, RegistryError};

/// Questions at the same time.
const AT_ONCE: usize = 8;
/// How often a blob that comes damaged is read.
pub(super) const READS: u32 = 3;
/// No image configuration is larger.
const LARGEST_CONFIGURATION: u64 = 8 << 20;

/// What the destinations hold.
#[derive(Debug, Clone, Default)]
pub struct Survey {
    /// Where tags point, by reference (`ghcr.io/team/image:aws`); none where there is no such tag.
    pub tags: BTreeMap<String, Option<Digest>>,
    /// What was found behind them.
    pub found: BTreeMap<Digest, Found>,
}

/// A manifest that was found.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its bytes.
    pub manifest: Bytes,
    /// The image, where it was built from an input of this release.
    pub image: Option<Image>,
    /// Of what it was built, as its manifest says.
    pub input: Option<Digest>,
    /// The repositories in which it was seen.
    pub holders: BTreeSet<Repository>,
}

impl Survey {
    /// Where a tag pointed.
    pub fn tag(&self, delivery: &Delivery, tag: &str) -> Option<Digest> {
        self.tags.get(&delivery.repository.tag(tag).to_string()).copied().flatten()
    }

    /// The image behind `digest`, if it was built from `input`.
    pub fn image(&self, digest: Digest, input: Digest) -> Option<&Image> {
        let found = self.found.get(&digest).filter(|found| found.input == Some(input))?;
        found.image.as_ref().filter(|image| label(image, plan::INPUT) == Some(input))
    }
}

fn label(image: &Image, name: &str) -> Option<Digest> {
    image.labels.get(name)?.parse().ok()
}

/// Looks at every tag of the plan, and at what the `ledger` remembers where an image was not built here.
///
/// # Errors
/// A destination cannot be asked: [`PublishError::Untagged`].
pub async fn survey(plan: &ReleasePlan, registries: &Registries, ledger: &View) -> Result<Survey, PublishError> {
    let inputs: BTreeSet<Digest> = plan.variants().iter().map(|release| release.input).collect();
    let deliveries: Vec<&Delivery> = plan.variants().iter().flat_map(|release| &release.destinations).collect();
    let (tags, failures) = look(&deliveries, registries).await;
    if !failures.is_empty() {
        return Err(PublishError::Untagged { failures });
    }
    let mut survey = Survey::default();
    let mut holders: BTreeMap<Digest, Holders<'_>> = BTreeMap::new();
    for (reference, repository, found) in tags {
        if let Some(digest) = found {
            holders.entry(digest).or_default().insert(repository, true);
        }
        survey.tags.insert(reference, found);
    }
    // Begun on another day and not built here: then it may be in a registry without any tag.
    for release in plan.variants().iter().filter(|release| release.built.is_none()) {
        let key = (release.variant.clone(), release.platform);
        if let Some(line) = ledger.images.get(&key).filter(|line| line.input == release.input) {
            let holders = holders.entry(line.digest).or_default();
            for to in &release.destinations {
                holders.entry(&to.repository).or_insert(false);
            }
        }
    }
    let reads = holders.into_iter().map(|(digest, holders)| read(digest, holders, registries, &inputs));
    let reads: Vec<_> = stream::iter(reads).buffer_unordered(AT_ONCE).collect().await;
    let mut failures = Vec::new();
    for read in reads {
        match read {
            Ok(Some((digest, found))) => drop(survey.found.insert(digest, found)),
            Ok(None) => {}
            Err((repository, error)) => failures.push(Failed { destination: plan.name_of(&repository), error }),
        }
    }
    if failures.is_empty() { Ok(survey) } else { Err(PublishError::Untagged { failures }) }
}

/// Where the tags of these deliveries point, and nothing else.
///
/// # Errors
/// As [`survey`].
pub(super) async fn look_at(deliveries: &[&Delivery], registries: &Registries) -> Result<Survey, PublishError> {
    let (tags, failures) = look(deliveries, registries).await;
    let tags = tags.into_iter().map(|(reference, _, found)| (reference, found)).collect();
    if failures.is_empty() { Ok(Survey { tags, ..Survey::default() }) } else { Err(PublishError::Untagged { failures }) }
}

type Looked<'a> = (String, &'a Repository, Option<Digest>);

/// Where every tag points now.
async fn look<'a>(deliveries: &[&'a Delivery], registries: &Registries) -> (Vec<Looked<'a>>, Vec<Failed>) {
    // Immutable tags first: where one is taken, nothing else matters.
    let tags = deliveries.iter().copied().flat_map(|to| to.tags.iter().map(move |tag| (tag.kind == TagKind::Moving, to, tag)));
    let mut tags: Vec<_> = tags.collect();
    tags.sort_by_key(|(moving, ..)| *moving);
    let asks = tags.into_iter().filter_map(|(_, to, tag)| Some((to, tag, registries.get(&to.repository)?)));
    let asks = asks.map(|(to, tag, registry)| async move { (to, tag, registry.digest(&tag.name).await) });
    let (mut looked, mut failures) = (Vec::new(), Vec::new());
    for (to, tag, found) in stream::iter(asks).buffered(AT_ONCE).collect::<Vec<_>>().await {
        match found {
            Ok(found) => looked.push((to.repository.tag(&tag.name).to_string(), &to.repository, found)),
            // A destination that fails at one tag fails at all of them: said once.
            Err(_) if failures.iter().any(|failed: &Failed| failed.destination == to.destination) => {}
            Err(error) => failures.push(Failed { destination: to.destination.clone(), error }),
        }
    }
    (looked, failures)
}

/// Where a manifest may be, and whether a tag points to it there.
type Holders<'a> = BTreeMap<&'a Repository, bool>;

/// Reads one manifest, and its configuration if the release could do with the image. None: it went away meanwhile.
async fn read(
    digest: Digest,
    holders: Holders<'_>,
    registries: &Registries,
    inputs: &BTreeSet<Digest>,
) -> Result<Option<(Digest, Found)>, (Repository, RegistryError)> {
    let mut found = None;
    for (repository, tagged) in holders {
        let Some(registry) = registries.get(repository) else { continue };
        let failed = |error| (repository.clone(), error);
        match &mut found {
            None => {
                let Some(manifest) = registry.manifest(&digest.to_string()).await.map_err(failed)? else { continue };
                let input = Head::read(&manifest.bytes).and_then(|head| head.input());
                found =
                    Some(Found { manifest: manifest.bytes, image: None, input, holders: BTreeSet::from([repository.clone()]) });
            }
            Some(found) => {
                if tagged || registry.digest(&digest.to_string()).await.map_err(failed)?.is_some() {
                    found.holders.insert(repository.clone());
                }
            }
        }
        // One that has lost the configuration keeps nobody from the image: another one may have it.
        if let Some(Found { manifest, image: place @ None, input: Some(input), holders }) = &mut found
            && inputs.contains(input)
            && holders.contains(repository)
            && let Some(config) = Head::read(manifest).as_ref().and_then(Head::config)
        {
            *place = image(registry, manifest.clone(), config).await.map_err(failed)?;
        }
    }
    Ok(found.map(|found| (digest, found)))
}

/// The image, if it is one that could be adopted.
pub(super) async fn image(registry: &Registry, manifest: Bytes, config: &Descriptor) -> Result<Option<Image>, RegistryError> {
    let Some(config) = configuration(registry, config).await? else { return Ok(None) };
    Ok(Image::published(manifest, config).ok())
}

/// An image configuration; none where it is missing or too large to be one: then the image is not adopted. What comes
/// damaged is read again: an image that is ours must not be taken for another one's.
pub(super) async fn configuration(registry: &Registry, wanted: &Descriptor) -> Result<Option<Bytes>, RegistryError> {
    if wanted.size > LARGEST_CONFIGURATION {
        return Ok(None);
    }
    let mut found = None;
    for _ in 0..READS {
        let Some(reader) = registry.read_blob(wanted.digest).await? else { return Ok(None) };
        let mut bytes = Vec::new();
        if reader.take(LARGEST_CONFIGURATION).read_to_end(&mut bytes).await.is_ok() {
            let digest = Digest::of(&bytes);
            if digest == wanted.digest {
                return Ok(Some(Bytes::from(bytes)));
            }
            found = Some(digest);
        }
    }
    Err(RegistryError::ReadBack {
        reference: registry.repository().digest(wanted.digest).to_string(),
        found: found.map_or_else(|| "a part of it".to_owned(), |found| found.to_string()),
        sent: wanted.digest,
    })
}
