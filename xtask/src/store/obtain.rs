//! Images ready to be published, with an export only of what is not known.

use std::sync::Arc;

use tokio::io::AsyncRead;

use super::{Blobs, Exported, StoreError, split};
use crate::event::{Event, Events, Outcome};
use crate::oci::Digest;

/// An image that is to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Want {
    /// Its name in the engine, in full, as the engine lists it: `ansible-epic:aws`.
    pub name: String,
    /// What the engine calls it now.
    pub id: Digest,
}

/// The images in the order of `wanted`. Those of which every byte is known come from the store; `export` is asked once,
/// for the names of all others together (they share layers), or not at all.
///
/// # Errors
/// The engine does not export, or its export is not usable.
pub async fn obtain<R, E>(
    wanted: &[Want],
    blobs: &Arc<Blobs>,
    events: &Events,
    export: impl AsyncFnOnce(&[String]) -> Result<R, E>,
) -> Result<Vec<Exported>, StoreError>
where
    R: AsyncRead + Send + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut images: Vec<_> = wanted.iter().map(|want| blobs.known(&want.name, want.id)).collect();
    let unknown = |(want, image): (&Want, &Option<Exported>)| image.is_none().then(|| want.name.clone());
    let missing: Vec<String> = wanted.iter().zip(&images).filter_map(unknown).collect();
    if !missing.is_empty() {
        let step = "export".to_owned();
        let started = std::time::Instant::now();
        events.emit(Event::StepStarted { step: step.clone(), title: format!("export {}", missing.join(", ")) });
        let exported = match export(&missing).await {
            Ok(stream) => split(stream, &missing, blobs, events).await,
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
