//! What a release came to, as a value. Pure.

use std::collections::{BTreeMap, HashSet};

use serde::Serialize;

use super::attach::{self, Attached};
use super::decide::Choice;
use super::image::{Head, Image};
use super::plan::{TagKind, VariantRelease};
use super::release::{Item, Release};
use super::survey::Survey;
use super::tagging::{Journal, PublishedTag};
use crate::family::Name;
use crate::oci::{Digest, Platform, Repository};

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Every image, as the plan has them.
    pub images: Vec<PublishedImage>,
    /// What went to each destination.
    pub transfers: Vec<Sent>,
}

/// What went to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sent {
    /// Its name.
    pub destination: String,
    /// Its repository.
    pub repository: Repository,
    /// Layers that were sent.
    pub sent: u64,
    /// Their bytes.
    pub sent_bytes: u64,
    /// Layers of these images that were there.
    pub reused: u64,
    /// Their bytes.
    pub reused_bytes: u64,
}

/// What a moving tag pointed to before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Before {
    /// Its manifest.
    pub digest: Digest,
    /// Bytes of all its blobs, where that is known.
    pub size: Option<u64>,
}

/// One image that was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PublishedImage {
    /// Its variant.
    pub variant: Name,
    /// What it runs on.
    pub platform: Platform,
    /// Which image it is, and why.
    #[serde(flatten)]
    pub choice: Choice,
    /// The manifest's digest: the same in every registry.
    pub digest: Digest,
    /// The image's identity.
    pub config_digest: Digest,
    /// Bytes of all its blobs.
    pub size: u64,
    /// What its moving tags pointed to before.
    pub before: Option<Before>,
    /// Every destination's name, with its tags.
    pub destinations: BTreeMap<String, Vec<PublishedTag>>,
    /// What is attached to it.
    pub attachments: Vec<Attached>,
}

/// Per repository: the blobs that were sent.
pub(super) type Uploaded = BTreeMap<Repository, HashSet<Digest>>;

/// All of it, from what was decided and what was done.
pub(super) fn published(
    release: &Release,
    images: &[Image],
    attached: &[Vec<attach::Done>],
    sent: &Uploaded,
    journal: Journal<'_>,
) -> Published {
    let mut tags = journal.into_tags();
    let of_items = release.items.iter().zip(images).enumerate();
    let published = of_items.map(|(place, (Item { release: wanted, choice, .. }, image))| {
        let destinations = wanted.destinations.iter().map(|delivery| {
            let mut tag = |name: &String| tags.remove(&delivery.repository.tag(name).to_string());
            let tags = delivery.tags.iter().filter_map(|wanted| tag(&wanted.name)).collect();
            (delivery.destination.clone(), tags)
        });
        PublishedImage {
            variant: wanted.variant.clone(),
            platform: wanted.platform,
            choice: choice.clone(),
            digest: image.manifest.digest,
            config_digest: image.config_digest,
            size: image.size(),
            before: before(wanted, &release.survey, image.manifest.digest),
            destinations: destinations.collect(),
            attachments: attached.get(place).into_iter().flatten().map(attach::Done::told).collect(),
        }
    });
    Published { images: published.collect(), transfers: transfers(release, images, sent) }
}

/// What the first moving tag that is anywhere pointed to: another image than `now`, where one of them did. (A run that was cut
/// short has moved some already.)
fn before(wanted: &VariantRelease, survey: &Survey, now: Digest) -> Option<Before> {
    let tags = wanted.destinations.iter().flat_map(|to| to.tags.iter().map(move |tag| (to, tag)));
    let moving = tags.filter(|(_, tag)| tag.kind == TagKind::Moving);
    let known: Vec<Digest> = moving.filter_map(|(to, tag)| survey.tag(to, &tag.name)).collect();
    let digest = *known.iter().find(|digest| **digest != now).or(known.first())?;
    let manifest = survey.found.get(&digest).and_then(|found| Head::read(&found.manifest));
    Some(Before { digest, size: manifest.and_then(|head| head.size()) })
}

/// Per destination, each layer once.
fn transfers(release: &Release, images: &[Image], sent: &Uploaded) -> Vec<Sent> {
    let mut all: BTreeMap<&Repository, (Sent, HashSet<Digest>)> = BTreeMap::new();
    for (item, image) in release.items.iter().zip(images) {
        for to in &item.release.destinations {
            let (destination, repository) = (to.destination.clone(), to.repository.clone());
            let empty = Sent { destination, repository, sent: 0, sent_bytes: 0, reused: 0, reused_bytes: 0 };
            let (transfer, seen) = all.entry(&to.repository).or_insert_with(|| (empty, HashSet::new()));
            for layer in image.layers.iter().filter(|layer| seen.insert(layer.digest)) {
                match sent.get(&to.repository).is_some_and(|sent| sent.contains(&layer.digest)) {
                    true => (transfer.sent, transfer.sent_bytes) = (transfer.sent + 1, transfer.sent_bytes + layer.size),
                    false => (transfer.reused, transfer.reused_bytes) = (transfer.reused + 1, transfer.reused_bytes + layer.size),
                }
            }
        }
    }
    all.into_values().map(|(transfer, _)| transfer).collect()
}
