//! A machine that knows no layers yet (a runner of a CI service, a new laptop) learns from what is published which blob a
//! layer became: then the layer is not compressed once more, and keeps the digest that the registries have.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Instant;

use super::execute::Means;
use super::image::{Descriptor, Head, Image};
use super::survey::{Found, Survey, image};
use super::upload::UploadError;
use crate::event::{Event, Outcome};
use crate::oci::{Digest, Repository};
use crate::registry::Registry;
use crate::store::StoreError;

/// A layer of a published image.
struct Published<'a> {
    registry: &'a Registry,
    diff_id: Digest,
    blob: Descriptor,
}

/// Learns what it can of the `wanted` layers. Every blob is unpacked and compared before it is believed. What cannot be had
/// is compressed as if nothing were published.
pub(super) async fn seed(survey: &Survey, wanted: HashSet<Digest>, means: &Means<'_>) {
    let unknown = |diff_id: &Digest| means.blobs.layer(*diff_id, &means.compression).is_none();
    let mut wanted: BTreeSet<Digest> = wanted.into_iter().filter(unknown).collect();
    if wanted.is_empty() || survey.found.is_empty() {
        return;
    }
    let (step, started) = ("learn".to_owned(), Instant::now());
    let title = "look for layers in what is published".to_owned();
    means.events.emit(Event::StepStarted { step: step.clone(), title });
    let (mut learned, mut bytes) = (0, 0);
    for found in survey.found.values() {
        if wanted.is_empty() {
            break;
        }
        for layer in layers(found, &wanted, means).await {
            match learn(&layer, means).await {
                Ok(()) => {
                    wanted.remove(&layer.diff_id);
                    (learned, bytes) = (learned + 1, bytes + layer.blob.size);
                }
                Err(error) => {
                    let text = format!("the published layer {} is of no use here: {error}", layer.blob.digest);
                    means.events.emit(Event::Note { text });
                }
            }
        }
    }
    let outcome = if learned > 0 { Outcome::Done } else { Outcome::UpToDate };
    let detail = format!("{learned} layers taken as they are published ({bytes} bytes), {} not known", wanted.len());
    means.events.emit(Event::StepFinished { step, outcome, seconds: started.elapsed(), detail });
}

/// The wanted layers of one published image. One that is no image of one platform has none.
async fn layers<'a>(found: &Found, wanted: &BTreeSet<Digest>, means: &Means<'a>) -> Vec<Published<'a>> {
    let holder = |repository: &Repository| means.registries.get(repository);
    let Some(registry) = found.holders.iter().find_map(holder) else { return Vec::new() };
    let read: Image;
    let image = match &found.image {
        Some(image) => image,
        None => {
            let Some(head) = Head::read(&found.manifest) else { return Vec::new() };
            let Some(config) = head.config() else { return Vec::new() };
            let Ok(Some(image)) = image(registry, found.manifest.clone(), config).await else { return Vec::new() };
            read = image;
            &read
        }
    };
    let pairs = image.diff_ids.iter().zip(&image.layers).filter(|(diff_id, _)| wanted.contains(diff_id));
    let fitting = pairs.filter(|(_, blob)| blob.media_type == means.compression.media_type());
    fitting.map(|(diff_id, blob)| Published { registry, diff_id: *diff_id, blob: blob.clone() }).collect()
}

async fn learn(layer: &Published<'_>, means: &Means<'_>) -> Result<(), UploadError> {
    let Descriptor { digest, size, media_type } = layer.blob.clone();
    let Some(bytes) = layer.registry.read_blob(digest).await? else { return Err(UploadError::Nowhere { digest }) };
    means.blobs.take_in(digest, size, bytes).await?;
    let (blobs, diff_id) = (Arc::clone(means.blobs), layer.diff_id);
    let seeding = tokio::task::spawn_blocking(move || blobs.seed(diff_id, digest, size, &media_type));
    seeding.await.map_err(|_| StoreError::Worker)??;
    Ok(())
}
