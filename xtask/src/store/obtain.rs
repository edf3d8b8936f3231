//! Images ready to be published, with an export only of what is not known.

use std::sync::Arc;

use tokio::io::AsyncRead;

use super::incoming::{PATIENCE, stalled};
use super::split::{Split, split_beyond};
use super::{Blobs, Exported, Finished, StoreError, direct};
use crate::event::{Event, Events, Outcome};
use crate::oci::{Compression, Digest};

/// An image that is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Its name in the engine, in full, as the engine lists it: `ansible-epic:aws`.
    pub name: String,
    /// What the engine calls it now.
    pub id: Digest,
}

/// The images in the order of `wanted`. Those of which every byte is known come from the store; `export` is asked for the
/// names of all others together (they share layers), or not at all: not for those that can be read directly. Every layer goes to `finished` as soon as its blob is
/// there: known ones at once. The channel ends with this call.
///
/// # Errors
/// The engine does not export, or its export is not usable.
pub async fn obtain<R, E>(
    wanted: &[Want],
    compression: Compression,
    blobs: &Arc<Blobs>,
    events: &Events,
    finished: Finished,
    export: impl AsyncFn(&[String]) -> Result<R, E>,
) -> Result<Vec<Exported>, StoreError>
where
    R: AsyncRead + Send + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    take_directly(wanted, compression, blobs, events, &finished).await?;
    let mut images: Vec<_> = wanted.iter().map(|want| blobs.known(&want.name, want.id, &compression)).collect();
    for layer in images.iter().flatten().flat_map(|image| &image.layers) {
        // Nobody has to listen.
        let _ = finished.send(layer.clone());
    }
    let unknown = |(want, image): (&Want, &Option<Exported>)| image.is_none().then(|| want.name.clone());
    let missing: Vec<String> = wanted.iter().zip(&images).filter_map(unknown).collect();
    if !missing.is_empty() {
        let step = "export".to_owned();
        let started = std::time::Instant::now();
        events.emit(Event::StepStarted { step: step.clone(), title: format!("export {}", missing.join(", ")) });
        let exported = exported(&missing, compression, blobs, events, &finished, export).await;
        let (outcome, detail) = match &exported {
            Ok(_) => (Outcome::Done, String::new()),
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        events.emit(Event::StepFinished { step, outcome, seconds: started.elapsed(), detail });
        let mut exported = exported?.into_iter();
        for image in images.iter_mut().filter(|image| image.is_none()) {
            *image = exported.next();
        }
    }
    let lacking = |want: &Want| StoreError::Missing { name: want.name.clone() };
    wanted.iter().zip(images).map(|(want, image)| image.ok_or_else(|| lacking(want))).collect()
}

/// Larger tars are taken for those of the same size that are known, until their digest tells otherwise: hashing is several
/// times faster than compressing, and two layers of one size are rare. (Small ones are not: a program that was built anew
/// often has its old size.)
const GUESSED: u64 = 16 << 20;

/// The images out of an export; out of another one in the rare case that something was taken for what it is not.
async fn exported<R, E>(
    names: &[String],
    compression: Compression,
    blobs: &Arc<Blobs>,
    events: &Events,
    finished: &Finished,
    export: impl AsyncFn(&[String]) -> Result<R, E>,
) -> Result<Vec<Exported>, StoreError>
where
    R: AsyncRead + Send + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut known = blobs.unpacked(compression);
    known.retain(|size| *size >= GUESSED);
    loop {
        let asked = tokio::time::timeout(PATIENCE, export(names)).await;
        let asked = asked.map_err(|_| StoreError::Engine { source: stalled(PATIENCE).into() })?;
        let stream = asked.map_err(|error| StoreError::Engine { source: error.into() })?;
        match split_beyond(&known, stream, names, compression, blobs, events, finished).await? {
            Split::Whole(images) => return Ok(images),
            Split::Skipped(sizes) => {
                let text = "a layer has the size of another one: the images are exported once more".to_owned();
                events.emit(Event::Note { text });
                known.retain(|size| !sizes.contains(size));
            }
        }
    }
}

/// Takes in what can be read without an export. Where that does not succeed, the export is asked.
async fn take_directly(
    wanted: &[Want],
    compression: Compression,
    blobs: &Arc<Blobs>,
    events: &Events,
    finished: &Finished,
) -> Result<(), StoreError> {
    let unknown = wanted.iter().filter(|want| blobs.known(&want.name, want.id, &compression).is_none());
    let ids: Vec<Digest> = unknown.map(|want| want.id).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let Some(images) = blobs.directly(&ids) else { return Ok(()) };
    match direct::take(images, compression, blobs, events, finished).await {
        Err(error @ (StoreError::Export { .. } | StoreError::Mismatch { .. } | StoreError::Format { .. })) => {
            let text = format!("the engine's files are not what was expected, so the images are exported: {error}");
            events.emit(Event::Note { text });
            Ok(())
        }
        taken => taken,
    }
}
