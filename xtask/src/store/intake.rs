//! Blobs that were downloaded.

use std::io::Write as _;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::compress::Hashing;
use super::{Blobs, StoreError};
use crate::oci::Digest;

impl Blobs {
    /// Takes in what was downloaded: a blob of this digest and size.
    ///
    /// # Errors
    /// It ends early, is something else, or cannot be written; then nothing of it stays.
    pub async fn take_in(&self, digest: Digest, size: u64, from: impl AsyncRead + Unpin) -> Result<(), StoreError> {
        let spool = self.spool()?;
        let (path, file) = spool.file()?;
        let mut hashing = Hashing::new(file);
        let mut from = from.take(size.saturating_add(1));
        let mut chunk = vec![0; 256 << 10];
        loop {
            let read = from.read(&mut chunk).await.map_err(|source| StoreError::Export { source })?;
            if read == 0 {
                break;
            }
            let written = hashing.write_all(chunk.get(..read).unwrap_or_default());
            written.map_err(|source| StoreError::Folder { what: "write", path: path.clone(), source })?;
        }
        let (found, _) = hashing.finish();
        if found != digest {
            return Err(StoreError::Mismatch { what: "a downloaded blob".to_owned(), found, expected: digest });
        }
        self.adopt(&path, digest).map(drop)
    }
}
