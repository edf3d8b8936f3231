//! Carrying a release out: look, blobs, manifests, immutable tags, moving tags, look again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use serde::Serialize;

use super::plan::{Delivery, ReleasePlan, TagKind, VariantRelease};
use super::tagging::{self, Journal, Target};
use super::upload::{self, Volume};
use super::{Failed, PublishError, Refusal};
use crate::event::{Event, Events, Outcome};
use crate::family::Name;
use crate::oci::{Digest, Platform, Repository};
use crate::registry::{Access, Registry, Sources};
use crate::store::{Blobs, Exported, Manifest, image_manifest};

/// A client for every repository of a plan.
pub type Registries = BTreeMap<Repository, Registry>;

/// What was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Every image, as the plan has them.
    pub images: Vec<PublishedImage>,
}

/// One image that was published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PublishedImage {
    /// Its variant.
    pub variant: Name,
    /// What it runs on.
    pub platform: Platform,
    /// The manifest's digest: the same in every registry.
    pub digest: Digest,
    /// The image's identity.
    pub config_digest: Digest,
    /// Bytes of all its blobs.
    pub size: u64,
    /// Every destination's name, with its tags.
    pub destinations: BTreeMap<String, Vec<PublishedTag>>,
}

/// One tag that now points to the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PublishedTag {
    /// In full: `ghcr.io/team/image:aws`.
    pub reference: String,
    /// Whether it may move.
    pub kind: TagKind,
    /// What was done.
    #[serde(flatten)]
    pub state: TagState,
}

/// What was done about a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum TagState {
    /// It was not there.
    Set,
    /// It pointed elsewhere.
    Moved {
        /// There.
        from: Digest,
    },
    /// It pointed to this image before.
    AlreadyThere,
}

/// An image with its manifest.
pub(super) struct Ready<'a> {
    pub(super) release: &'a VariantRelease,
    pub(super) image: &'a Exported,
    pub(super) manifest: Manifest,
}

/// Makes a client for every repository of the plan. Nothing is sent to a registry yet; credential helpers are asked.
///
/// # Errors
/// [`PublishError::Connect`].
pub async fn connect(plan: &ReleasePlan, sources: &Sources) -> Result<Registries, PublishError> {
    let mut registries = Registries::new();
    for delivery in plan.variants().iter().flat_map(|release| &release.destinations) {
        if !registries.contains_key(&delivery.repository) {
            let made = Registry::connect(&delivery.repository, delivery.insecure, Access::Push, sources).await;
            let failed = |error| PublishError::Connect { destination: delivery.destination.clone(), error };
            registries.insert(delivery.repository.clone(), made.map_err(failed)?);
        }
    }
    Ok(registries)
}

/// Publishes the `images` of the plan (one per variant, in the plan's order). No tag is touched before every blob and
/// manifest is in every destination and was read back, no moving tag before every immutable one is set; at the end
/// every tag is looked at again.
///
/// # Errors
/// [`PublishError`]: whether nothing or some of the tags were set.
pub async fn execute(
    plan: &ReleasePlan,
    images: &[Exported],
    registries: &Registries,
    blobs: &Arc<Blobs>,
    events: &Events,
) -> Result<Published, PublishError> {
    let ready = ready(plan, images)?;
    let targets = targets(&ready, registries)?;
    let looked = tagging::look(&targets).await?;
    let stores = join_all(destinations(&targets).into_values().map(|(name, registry, images)| async move {
        let (step, started) = (format!("push {name}"), Instant::now());
        events.emit(Event::StepStarted { step: step.clone(), title: format!("push to {}", registry.repository()) });
        let sent = upload::store(&step, registry, &images, blobs, events).await;
        let (outcome, detail) = match &sent {
            Ok(Volume { sent: 0, .. }) => (Outcome::UpToDate, "every blob was there".to_owned()),
            Ok(Volume { sent, bytes, there }) => {
                (Outcome::Done, format!("{sent} blobs sent ({bytes} bytes), {there} were there"))
            }
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        events.emit(Event::StepFinished { step, outcome, seconds: started.elapsed(), detail });
        (name, sent)
    }))
    .await;
    let mut failures = Vec::new();
    for (destination, sent) in stores {
        match sent {
            Ok(_) => {}
            Err(upload::UploadError::Registry(error)) => failures.push(Failed { destination, error }),
            Err(upload::UploadError::Store(error)) => return Err(PublishError::Store(error)),
        }
    }
    if !failures.is_empty() {
        return Err(PublishError::Untagged { failures });
    }
    let mut journal = Journal::default();
    for kind in [TagKind::Immutable, TagKind::Moving] {
        tagging::set(&targets, kind, &looked, &mut journal, events).await?;
    }
    tagging::check(&targets, &journal).await?;
    Ok(published(&ready, journal))
}

/// The images with their manifests; none is another one than was tested.
fn ready<'a>(plan: &'a ReleasePlan, images: &'a [Exported]) -> Result<Vec<Ready<'a>>, PublishError> {
    let mut ready = Vec::with_capacity(images.len());
    let mut refusals = Vec::new();
    for (release, image) in plan.variants().iter().zip(images) {
        if let Some(tested) = release.config_digest.filter(|tested| *tested != image.config_digest) {
            refusals.push(Refusal::OtherImage { image: release.image.clone(), found: image.config_digest, tested });
        }
        ready.push(Ready { release, image, manifest: image_manifest(image, &release.annotations)? });
    }
    if refusals.is_empty() { Ok(ready) } else { Err(PublishError::Refused { refusals }) }
}

fn targets<'a>(ready: &'a [Ready<'a>], registries: &'a Registries) -> Result<Vec<Target<'a>>, PublishError> {
    let mut targets = Vec::new();
    for image in ready {
        for delivery in &image.release.destinations {
            let Some(registry) = registries.get(&delivery.repository) else {
                let (registry, why) = (delivery.repository.registry().to_owned(), "none was made".to_owned());
                let error = crate::registry::RegistryError::Client { registry, why };
                return Err(PublishError::Connect { destination: delivery.destination.clone(), error });
            };
            targets.push(Target { image, delivery, registry });
        }
    }
    Ok(targets)
}

/// Per repository: the destination's name, its client, its images.
fn destinations<'a>(targets: &[Target<'a>]) -> BTreeMap<&'a Repository, (String, &'a Registry, Vec<&'a Ready<'a>>)> {
    let mut destinations = BTreeMap::new();
    for Target { image, delivery: Delivery { destination, repository, .. }, registry } in targets {
        let entry = destinations.entry(repository).or_insert_with(|| (destination.clone(), *registry, Vec::new()));
        entry.2.push(*image);
    }
    destinations
}

fn published(ready: &[Ready<'_>], journal: Journal) -> Published {
    let mut tags = journal.into_tags();
    let images = ready.iter().map(|Ready { release, image, manifest }| {
        let destinations = release.destinations.iter().map(|delivery| {
            let mut tag = |name: &String| tags.remove(&delivery.repository.tag(name).to_string());
            let tags = delivery.tags.iter().filter_map(|wanted| tag(&wanted.name)).collect();
            (delivery.destination.clone(), tags)
        });
        PublishedImage {
            variant: release.variant.clone(),
            platform: release.platform,
            digest: manifest.digest,
            config_digest: image.config_digest,
            size: image.config.len() as u64 + image.layers.iter().map(|layer| layer.size).sum::<u64>(),
            destinations: destinations.collect(),
        }
    });
    Published { images: images.collect() }
}
