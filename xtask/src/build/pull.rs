//! An image of a registry, in the engine under a tag of ours.

use crate::engine::{Engine, EngineError};
use crate::event::{Event, Events};
use crate::oci::Reference;
use crate::registry::Credential;

/// Pulls `reference` by its digest and gives it `tag`. The name that it was pulled by goes, unless it was there before: ours is
/// enough, and goes when it is superseded or cleaned.
///
/// # Errors
/// [`EngineError::MissingImage`] where its registry does not have it, or does not answer the engine.
pub async fn pull(
    engine: &Engine,
    credential: Option<&Credential>,
    reference: &Reference,
    tag: &str,
    events: &Events,
) -> Result<(), EngineError> {
    let by_digest = Reference { tag: None, ..reference.clone() };
    let (what, name) = (reference.to_string(), by_digest.to_string());
    let mut progress = |bytes: u64, total: Option<u64>| {
        events.emit(Event::Transfer { id: what.clone(), what: format!("pull {what}"), bytes, total });
    };
    let login = match credential {
        Some(Credential::Basic { username, password }) => Some((username.as_str(), password.expose())),
        _ => None,
    };
    // What somebody has pulled is theirs, and keeps its name.
    let was_there = engine.inspect(&name).await.is_ok_and(|found| found.is_some());
    engine.pull(&by_digest, login, &mut progress).await.map_err(|error| match error {
        // The registry does not answer the engine, or not as it should: the image is what is missing.
        EngineError::Refused { message, .. } => EngineError::MissingImage { reference: name.clone(), why: message },
        other => other,
    })?;
    engine.tag(&name, tag).await?;
    if was_there { Ok(()) } else { engine.untag(&name).await }
}
