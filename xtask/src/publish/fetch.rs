//! A blob that a registry holds, brought into the store.

use super::survey::READS;
use super::upload::UploadError;
use crate::oci::Digest;
use crate::registry::Registry;
use crate::store::{Blobs, StoreError};

/// Takes the blob from the first of `holders` that has it whole; false: none of them has it. What comes damaged is read again.
///
/// # Errors
/// The last holder that failed; at once where the store itself does.
pub(super) async fn fetch<'r>(
    holders: impl Iterator<Item = &'r Registry>,
    blobs: &Blobs,
    digest: Digest,
    size: u64,
) -> Result<bool, UploadError> {
    let mut last = None;
    for registry in holders {
        for _ in 0..READS {
            match registry.read_blob(digest).await {
                Ok(Some(bytes)) => match blobs.take_in(digest, size, bytes).await {
                    Ok(()) => return Ok(true),
                    // On the way: another reading may be whole.
                    Err(error @ (StoreError::Mismatch { .. } | StoreError::Download { .. })) => last = Some(error.into()),
                    Err(error) => return Err(error.into()),
                },
                Ok(None) => break,
                Err(error) => {
                    last = Some(error.into());
                    break;
                }
            }
        }
    }
    last.map_or(Ok(false), Err)
}
