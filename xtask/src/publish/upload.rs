//! Everything that a destination has to hold before a tag may point to it: blobs, then manifests by digest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::execute::Ready;
use crate::event::{Event, Events};
use crate::registry::{Blob, BlobSource, Registry, RegistryError};
use crate::store::{Blobs, StoreError};

/// Uploads at one destination at the same time. Every destination has its own: a slow one does not hold up the others.
const AT_ONCE: usize = 4;

/// How much went over the wire.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Volume {
    /// Blobs sent.
    pub(super) sent: u64,
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
}

/// Makes sure that the registry holds all of the images, and reads the manifests back.
pub(super) async fn store(
    step: &str,
    registry: &Registry,
    images: &[&Ready<'_>],
    blobs: &Arc<Blobs>,
    events: &Events,
) -> Result<Volume, UploadError> {
    let mut wanted = BTreeMap::new();
    for Ready { image, .. } in images {
        let size = image.config.len() as u64;
        let source = BlobSource::Memory(image.config.clone());
        wanted.insert(image.config_digest, Blob { digest: image.config_digest, size, source });
        for layer in &image.layers {
            let source = BlobSource::File(layer.path.clone());
            wanted.insert(layer.digest, Blob { digest: layer.digest, size: layer.size, source });
        }
    }
    let mut wanted: Vec<_> = wanted.into_values().collect();
    // The largest first: it is what the end waits for.
    wanted.sort_by_key(|blob| std::cmp::Reverse(blob.size));
    let volume = stream::iter(wanted)
        .map(|blob| async move {
            if registry.has_blob(blob.digest).await? {
                return Ok(Volume { there: 1, ..Volume::default() });
            }
            verify(&blob, blobs).await?;
            send(step, registry, &blob, events).await?;
            Ok::<_, UploadError>(Volume { sent: 1, bytes: blob.size, there: 0 })
        })
        .buffer_unordered(AT_ONCE)
        .try_fold(Volume::default(), |a, b| async move {
            Ok(Volume { sent: a.sent + b.sent, bytes: a.bytes + b.bytes, there: a.there + b.there })
        })
        .await?;
    for Ready { manifest, .. } in images {
        registry.put_manifest(&manifest.bytes, manifest.media_type).await?;
    }
    Ok(volume)
}

/// What lay in the cache is hashed before it leaves: a registry would only say that something is wrong with it.
async fn verify(blob: &Blob, blobs: &Arc<Blobs>) -> Result<(), StoreError> {
    if let BlobSource::File(_) = blob.source {
        let (blobs, digest) = (Arc::clone(blobs), blob.digest);
        tokio::task::spawn_blocking(move || blobs.verify(digest)).await.map_err(|_| StoreError::Worker)??;
    }
    Ok(())
}

async fn send(step: &str, registry: &Registry, blob: &Blob, events: &Events) -> Result<(), RegistryError> {
    let progress = Arc::new(AtomicU64::new(0));
    let tell = |bytes| {
        let what = format!("{} to {}", blob.digest.short(12), registry.repository().registry());
        let id = format!("{step} {}", blob.digest.short(12));
        events.emit(Event::Transfer { id, what, bytes, total: Some(blob.size) });
    };
    let mut sending = std::pin::pin!(registry.send(blob, &progress));
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
