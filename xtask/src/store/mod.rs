//! Layers: an export of the engine is split into them, each is compressed once and kept by its digest, and a small
//! index knows which uncompressed layer became which blob, so that nothing known is exported or compressed again.

mod blobs;
mod direct;
mod incoming;
mod index;
mod layout;
mod manifest;
mod obtain;
mod pack;
mod split;
mod spool;
mod trim;
mod unpack;

use std::path::PathBuf;

use bytes::Bytes;

pub use blobs::Blobs;
pub use direct::{Direct, DirectImage, DirectLayer, Open};
pub use manifest::{Manifest, image_manifest};
pub use obtain::{Want, obtain};
pub use split::split;
pub use trim::{Limit, Trimmed};

pub use crate::oci::Compression;

use crate::folder::FolderError;
use crate::oci::{Digest, ImageConfig};

/// A compressed layer in the blob folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerBlob {
    /// The digest of the uncompressed tar.
    pub diff_id: Digest,
    /// The digest of the blob.
    pub digest: Digest,
    /// The blob's bytes.
    pub size: u64,
    /// The blob's file.
    pub path: PathBuf,
    /// The blob's media type.
    pub media_type: String,
}

/// Where layers are told as soon as their blob is there, so that they are sent while others are compressed. One may be told
/// more than once.
pub type Finished = tokio::sync::mpsc::UnboundedSender<LayerBlob>;

/// An image, ready to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// The name it was asked for by.
    pub name: String,
    /// The configuration, byte for byte as the engine wrote it: its digest is the image's identity.
    pub config: Bytes,
    /// The digest of [`Exported::config`].
    pub config_digest: Digest,
    /// Lowest first.
    pub layers: Vec<LayerBlob>,
}

/// What can go wrong between the engine's export and the blob folder.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file or folder of the store.
    #[error("cannot {what} `{}`", path.display())]
    Folder {
        /// `write`, `read`, …
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The folder belongs to somebody else, or is a link.
    #[error("`{}` cannot be used: {why}", path.display())]
    NotOurs {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The engine could not be asked for the export.
    #[error("the engine does not export the images")]
    Engine {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The export broke off.
    #[error("the engine's export broke off")]
    Export {
        /// Why.
        source: std::io::Error,
    },
    /// The export is not what `docker save` writes.
    #[error("the engine's export is not what was expected: {why}")]
    Format {
        /// What is wrong.
        why: String,
    },
    /// The export lacks an image.
    #[error("the engine's export lacks the image `{name}`")]
    Missing {
        /// The image.
        name: String,
    },
    /// Bytes that are not what their digest says.
    #[error("{what} has the digest {found}, {expected} was expected")]
    Mismatch {
        /// A layer, a configuration, a blob.
        what: String,
        /// As computed.
        found: Digest,
        /// As written.
        expected: Digest,
    },
    /// A download broke off.
    #[error("the download of {digest} broke off")]
    Download {
        /// The blob.
        digest: Digest,
        /// Why.
        source: std::io::Error,
    },
    /// No threads could be had.
    #[error("cannot start the threads that compress layers")]
    Threads {
        /// Why.
        source: std::io::Error,
    },
    /// A worker thread ended early.
    #[error("a thread that compresses layers ended early")]
    Worker,
}

impl StoreError {
    /// What helps, where it is known.
    pub fn hint(&self) -> Option<String> {
        use std::io::ErrorKind;
        let Self::Folder { source, .. } = self else { return None };
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(
                "make room (`cargo xtask clean --cache` removes what can be made again), or set `GANTRY_CACHE_DIR` to a folder \
                 on a larger disk; what is in the cache already is not made again"
                    .to_owned(),
            ),
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
                Some("the cache lacks something and cannot be written: set `GANTRY_CACHE_DIR` to a folder that can".to_owned())
            }
            _ => None,
        }
    }
}

impl From<FolderError> for StoreError {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Refused { path, why } => Self::NotOurs { path, why },
            FolderError::Io { doing, path, source } => Self::Folder { what: doing, path, source },
        }
    }
}

/// The uncompressed layers that an image configuration names, lowest first.
///
/// # Errors
/// The bytes are no image configuration.
pub fn diff_ids(config: &[u8]) -> Result<Vec<Digest>, StoreError> {
    let unreadable = |error| StoreError::Format { why: format!("an image configuration cannot be read: {error}") };
    Ok(ImageConfig::read(config).map_err(unreadable)?.diff_ids)
}
