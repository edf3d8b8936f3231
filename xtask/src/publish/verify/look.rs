//! Asks the registries for every tag, the manifests behind them, and every blob.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, stream};

use super::super::Registries;
use super::super::attach::{self, Artifact, Describe};
use super::super::image::{Descriptor, Head, Image};
use super::super::plan::Delivery;
use super::super::survey::configuration;
use super::{Asked, Evidence, Fault, Looking, SeenImage, SeenTag, deep};
use crate::oci::{Digest, Repository};
use crate::registry::{Registry, RegistryError};

/// Questions at the same time.
const AT_ONCE: usize = 8;
/// Blobs that are read at the same time: each takes a processor.
const READ_AT_ONCE: usize = 2;

/// Looks at all that is asked for, as closely as is said. What cannot be asked for is
/// part of the evidence, so that all that is wrong is told at once.
///
/// `describe` reads images to compare their SBOMs with, where everything is read.
pub async fn look(asked: &[Asked], registries: &Registries, looking: Looking, describe: Option<&dyn Describe>) -> Evidence {
    let mut evidence = Evidence::default();
    let places = asked.iter().flat_map(|asked| asked.deliveries.iter().map(move |to| (asked, to)));
    let tags = places.flat_map(|(asked, to)| to.tags.iter().map(move |tag| (asked, to, tag)));
    let asks = tags.filter_map(|(asked, to, tag)| Some((asked, to, tag, registries.get(&to.repository)?)));
    let asks = asks.map(|(asked, to, tag, registry)| async move {
        SeenTag {
            variant: asked.variant.clone(),
            destination: to.destination.clone(),
            repository: to.repository.clone(),
            tag: tag.clone(),
            found: registry.digest(&tag.name).await.map_err(|error| error.to_string()),
        }
    });
    let asks: Vec<_> = asks.collect();
    evidence.tags = stream::iter(asks).buffered(AT_ONCE).collect().await;

    let behind = |tag: &SeenTag| Some((tag.repository.clone(), tag.found.clone().ok()??));
    evidence.images = images(evidence.tags.iter().filter_map(behind).collect(), registries).await;
    let of_indexes = evidence.images.iter().flat_map(|(at, seen)| members(at, seen));
    let more = images(of_indexes.filter(|at| !evidence.images.contains_key(at)).collect(), registries).await;
    evidence.images.extend(more);

    let aside = |tag: &&SeenTag| asked.iter().any(|asked| asked.variant == tag.variant && asked.aside);
    let mut told: BTreeSet<_> = evidence.tags.iter().filter(|tag| !aside(tag)).filter_map(behind).collect();
    let of_indexes = told.iter().filter_map(|at| Some(members(at, evidence.images.get(at)?)));
    told.extend(of_indexes.flatten().collect::<Vec<_>>());
    let faults = blobs(&evidence, &told, registries, looking.deep).await;
    for (at, seen) in evidence.images.iter_mut().filter(|(at, _)| told.contains(at)) {
        for blob in seen.image.iter().flat_map(Image::blobs) {
            seen.faults.extend(faults.get(&(at.0.clone(), blob.digest)).cloned());
        }
    }
    if looking.sboms {
        let deep = looking.deep.then(|| Deep { describe, places: asked.iter().flat_map(|asked| &asked.deliveries).collect() });
        sboms(&mut evidence, &told, registries, deep.as_ref()).await;
    }
    evidence
}

/// What it takes to read SBOMs and compare them with their images.
struct Deep<'a> {
    describe: Option<&'a dyn Describe>,
    places: Vec<&'a Delivery>,
}

/// Looks for the SBOMs of the images that are `told` of.
async fn sboms(evidence: &mut Evidence, told: &BTreeSet<(Repository, Digest)>, registries: &Registries, deep: Option<&Deep<'_>>) {
    let images = evidence.images.iter_mut().filter(|(at, seen)| told.contains(at) && seen.image.is_some());
    let asks = images.filter_map(|(at, seen)| Some((registries.get(&at.0)?, at.1, seen)));
    let asks = asks.map(|(registry, digest, seen)| async move {
        match attached(registry, digest, seen.image.as_ref().filter(|_| seen.faults.is_empty()), deep).await {
            Ok(sboms) => seen.sboms = Some(sboms),
            Err(error) => seen.faults.push(Fault::Unreadable { why: error.to_string() }),
        }
    });
    let asks: Vec<_> = asks.collect();
    // Images are read for it one after the other: they have layers in common.
    stream::iter(asks).buffer_unordered(if deep.is_some() { 1 } else { AT_ONCE }).collect::<()>().await;
}

async fn attached(
    registry: &Registry,
    digest: Digest,
    whole: Option<&Image>,
    deep: Option<&Deep<'_>>,
) -> Result<BTreeMap<Digest, Vec<Fault>>, RegistryError> {
    let mut found = BTreeMap::new();
    for artifact in attach::ours(registry, digest).await? {
        let mut faults = Vec::new();
        for blob in &artifact.blobs {
            faults.extend(match deep {
                Some(_) => deep::blob(registry, blob, None).await?,
                None => presence(registry, blob).await?,
            });
        }
        if let (Some(deep), Some(image), true) = (deep, whole, faults.is_empty()) {
            faults.extend(deep.untrue(registry, image, &artifact).await?);
        }
        found.insert(artifact.digest(), faults);
    }
    Ok(found)
}

impl Deep<'_> {
    async fn untrue(&self, registry: &Registry, image: &Image, artifact: &Artifact) -> Result<Option<Fault>, RegistryError> {
        let at = self.places.iter().find(|to| to.repository == *registry.repository());
        let (Some(describe), Some(at)) = (self.describe, at) else { return Ok(None) };
        let Some(document) = attach::document(registry, artifact).await? else { return Ok(None) };
        Ok(match describe.learns(image, at).await {
            Ok(truth) => truth(&document).map(|why| Fault::Untrue { why }),
            Err(why) => Some(Fault::Untrue { why: format!("it cannot be compared with the image: {why}") }),
        })
    }
}

fn wrong(fault: Fault) -> SeenImage {
    SeenImage { faults: vec![fault], ..SeenImage::default() }
}

/// The platforms' manifests of an index, beside it.
fn members(at: &(Repository, Digest), seen: &SeenImage) -> impl Iterator<Item = (Repository, Digest)> {
    seen.members.iter().map(|member| (at.0.clone(), *member))
}

async fn images(wanted: BTreeSet<(Repository, Digest)>, registries: &Registries) -> BTreeMap<(Repository, Digest), SeenImage> {
    let wanted = wanted.into_iter().filter_map(|at| Some((registries.get(&at.0)?, at)));
    let reads = wanted.map(|(registry, at)| async move {
        let seen = image(registry, at.1).await.unwrap_or_else(|error| wrong(Fault::Unreadable { why: error.to_string() }));
        (at, seen)
    });
    let reads: Vec<_> = reads.collect();
    stream::iter(reads).buffer_unordered(AT_ONCE).collect().await
}

async fn image(registry: &Registry, digest: Digest) -> Result<SeenImage, RegistryError> {
    // By its digest: the client compares the bytes with it.
    let Some(manifest) = registry.manifest(&digest.to_string()).await? else { return Ok(wrong(Fault::NoManifest)) };
    let Some(head) = Head::read(&manifest.bytes) else {
        return Ok(wrong(Fault::Foreign { why: "its manifest cannot be read".to_owned() }));
    };
    let annotations = head.annotations().cloned().unwrap_or_default();
    let Some(named) = head.config() else {
        return Ok(SeenImage { annotations, ..index(registry, &head).await? });
    };
    let Some(bytes) = configuration(registry, named).await? else {
        return Ok(SeenImage { annotations, ..wrong(Fault::NoConfiguration { digest: named.digest }) });
    };
    Ok(match Image::published(manifest.bytes, bytes) {
        Ok(image) => SeenImage { image: Some(image), annotations, ..SeenImage::default() },
        Err(why) => SeenImage { annotations, ..wrong(Fault::Foreign { why }) },
    })
}

/// What an index names, and which platform's manifest is not there.
async fn index(registry: &Registry, head: &Head) -> Result<SeenImage, RegistryError> {
    if head.members().is_empty() {
        return Ok(wrong(Fault::Foreign { why: "it is neither an image nor an index of images".to_owned() }));
    }
    let mut seen = SeenImage::default();
    for Descriptor { digest, .. } in head.members().iter().cloned() {
        match registry.digest(&digest.to_string()).await? {
            Some(_) => drop(seen.members.insert(digest)),
            None => seen.faults.push(Fault::NoMember { digest }),
        }
    }
    Ok(seen)
}

/// What is wrong with the blobs of the images that are `told` of, each looked at once per repository.
async fn blobs(
    evidence: &Evidence,
    told: &BTreeSet<(Repository, Digest)>,
    registries: &Registries,
    read: bool,
) -> BTreeMap<(Repository, Digest), Fault> {
    let mut wanted: BTreeMap<(Repository, Digest), (Descriptor, Option<Digest>)> = BTreeMap::new();
    for ((repository, _), seen) in evidence.images.iter().filter(|(at, _)| told.contains(at)) {
        let Some(image) = &seen.image else { continue };
        // The configuration first, which has no diff ID.
        let diff_ids = std::iter::once(None).chain(image.diff_ids.iter().copied().map(Some));
        for (blob, diff_id) in image.blobs().zip(diff_ids) {
            wanted.insert((repository.clone(), blob.digest), (blob, diff_id));
        }
    }
    let asks = wanted.into_iter().filter_map(|(at, wanted)| Some((registries.get(&at.0)?, at, wanted)));
    let asks = asks.map(|(registry, at, (blob, diff_id))| async move {
        let fault = match read {
            true => deep::blob(registry, &blob, diff_id).await,
            false => presence(registry, &blob).await,
        };
        let fault = fault.unwrap_or_else(|error| Some(Fault::Unreadable { why: error.to_string() }));
        fault.map(|fault| (at, fault))
    });
    let asks: Vec<_> = asks.collect();
    let found = stream::iter(asks).buffer_unordered(if read { READ_AT_ONCE } else { AT_ONCE });
    found.filter_map(std::future::ready).collect().await
}

async fn presence(registry: &Registry, blob: &Descriptor) -> Result<Option<Fault>, RegistryError> {
    let (digest, wanted) = (blob.digest, blob.size);
    // A registry need not say how long it is.
    if registry.holds_blob(digest, wanted).await? {
        return Ok(None);
    }
    Ok(match registry.blob_size(digest).await? {
        None => Some(Fault::NoBlob { digest }),
        Some(found) => Some(Fault::Size { digest, found, wanted }),
    })
}
