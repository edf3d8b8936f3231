//! Everything that a destination has to hold before a tag may point to it: blobs, then manifests by digest.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use tokio::sync::mpsc;

use super::image::{Descriptor, Image};
use super::supply::Supply;
use crate::event::{Event, Events};
use crate::oci::Digest;
use crate::registry::{Blob, Registry, RegistryError};
use crate::store::StoreError;

/// Uploads at one destination at the same time. Every destination has its own: a slow one does not hold up the others.
const AT_ONCE: usize = 4;

/// How much went over the wire.
#[derive(Debug, Default)]
pub(super) struct Volume {
    /// Blobs sent.
    pub(super) sent: HashSet<Digest>,
    /// Their bytes.
    pub(super) bytes: u64,
    /// Blobs that were there.
    pub(super) there: u64,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum UploadError {
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the layer {digest} is published, but no destination has it any more")]
    Nowhere { digest: Digest },
}

/// What goes to one destination.
pub(super) struct Lane<'a> {
    /// The step's name in events.
    pub(super) step: String,
    /// Where it goes.
    pub(super) registry: &'a Registry,
    /// Blobs that were looked for before and are missing.
    pub(super) missing: &'a HashSet<Digest>,
}

impl Lane<'_> {
    /// Sends every blob of `queue` that is not there, until the queue is closed.
    pub(super) async fn blobs(
        &self,
        queue: mpsc::UnboundedReceiver<Descriptor>,
        supply: &Supply<'_>,
        events: &Events,
    ) -> Result<Volume, UploadError> {
        let queue = stream::unfold(queue, |mut queue| async move { queue.recv().await.map(|blob| (blob, queue)) });
        let mut seen = HashSet::new();
        queue
            .filter(move |blob| std::future::ready(seen.insert(blob.digest)))
            .map(|blob| async move {
                if !self.missing.contains(&blob.digest) && self.registry.holds_blob(blob.digest, blob.size).await? {
                    return Ok(Volume { there: 1, ..Volume::default() });
                }
                let blob = supply.blob(&blob).await?;
                self.send(&blob, events).await?;
                self.verify(&blob).await?;
                Ok::<_, UploadError>(Volume { sent: HashSet::from([blob.digest]), bytes: blob.size, there: 0 })
            })
            .buffer_unordered(AT_ONCE)
            .try_fold(Volume::default(), |mut a, b| async move {
                a.sent.extend(b.sent);
                Ok(Volume { sent: a.sent, bytes: a.bytes + b.bytes, there: a.there + b.there })
            })
            .await
    }

    /// A registry that had a damaged blob of this digest may keep it, and say that it took ours.
    async fn verify(&self, blob: &Blob) -> Result<(), RegistryError> {
        match self.registry.holds_blob(blob.digest, blob.size).await? {
            true => Ok(()),
            false => Err(RegistryError::ReadBack {
                reference: self.registry.repository().digest(blob.digest).to_string(),
                found: format!("nothing, or not its {} bytes", blob.size),
                sent: blob.digest,
            }),
        }
    }

    /// Writes the manifests by their digests and reads them back.
    pub(super) async fn manifests(&self, images: &[&Image]) -> Result<(), RegistryError> {
        let put = |image: &Image| {
            let manifest = image.manifest.clone();
            async move { self.registry.put_manifest(&manifest.bytes, manifest.media_type).await.map(drop) }
        };
        stream::iter(images.iter().map(|image| put(image))).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await.map(drop)
    }

    async fn send(&self, blob: &Blob, events: &Events) -> Result<(), RegistryError> {
        let progress = Arc::new(AtomicU64::new(0));
        let tell = |bytes| {
            let what = format!("{} to {}", blob.digest.short(12), self.registry.repository().registry());
            let id = format!("{} {}", self.step, blob.digest.short(12));
            events.emit(Event::Transfer { id, what, bytes, total: Some(blob.size) });
        };
        let mut sending = std::pin::pin!(self.registry.send(blob, &progress));
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                sent = &mut sending => {
                    if sent.is_ok() {
                        tell(blob.size);
                    }
                    return sent;
                }
                // All bytes are handed over before the registry has them all: the end is told when it is one.
                _ = ticks.tick() => tell(progress.load(Ordering::Relaxed).min(blob.size.saturating_sub(1))),
            }
        }
    }
}
