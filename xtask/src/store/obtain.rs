//! Images ready to be published, with an export only of what is not known.

use std::sync::Arc;

use tokio::io::AsyncRead;

use super::{Blobs, Exported, Finished, StoreError, split};
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
/// names of all others together (they share layers), or not at all. Every layer goes to `finished` as soon as its blob is
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
        let exported = match export(&missing).await {
            Ok(stream) => split(stream, &missing, compression, blobs, events, &finished).await,
            Err(error) => Err(StoreError::Engine { source: error.into() }),
        };
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
