//! An artifact as an image of one layer, in the format that every engine loads (`docker load`): the same download gives
//! the same bytes, so the same diff ID and the same config digest, on every machine and every day.
//!
//! The layer is spooled in a nameless file; nothing of its size is ever in memory.

mod config;
mod layer;
mod root;
mod unpack;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Cursor, Seek as _};
use std::path::{Path, PathBuf};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use crate::family::Place;
use crate::oci::{Digest, Platform};
use layer::Layer;

/// What the layer is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LayerSource {
    /// A download, laid at its place: see [`Place`]. Everything belongs to the place's owner and changed at
    /// [`ImageSpec::epoch`]; the folders that lead to it are root's, 0755; set-user-id bits are dropped.
    Artifact {
        /// The file, verified.
        file: PathBuf,
        /// How it lies in the image.
        place: Place,
    },
    /// A root file system as a tar archive, from mmdebstrap: taken as it is, without its device nodes (an engine gives
    /// every container a `/dev` of its own, and one without root's rights cannot make any).
    Root {
        /// The archive, not compressed.
        file: PathBuf,
    },
}

/// What the image is beside its layer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSpec {
    /// The tag that it is loaded under, in full.
    pub tag: String,
    /// What it is for.
    pub platform: Platform,
    /// `created` of the image config, RFC 3339.
    pub created: String,
    /// When everything in the layer changed, seconds since 1970.
    pub epoch: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its environment, `NAME=value`.
    pub env: Vec<String>,
    /// Its command.
    pub cmd: Vec<String>,
}

/// Why no image could be made.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// Reading or writing failed. `No space left` on the folder that is spooled in is among it.
    #[error("cannot {what} `{path}`: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The file is no archive, or a damaged one.
    #[error("`{path}` is not an archive that can be unpacked: {source}")]
    Archive {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// The archive holds something that cannot be taken.
    #[error("`{path}` holds `{entry}`, which is refused: {why}")]
    Entry {
        /// The archive.
        path: PathBuf,
        /// The entry's name.
        entry: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The place is not an absolute path without `.` and `..`.
    #[error("`{0}` is not a place in an image: expected an absolute path without `.` and `..`")]
    Place(String),
    /// The archive holds nothing.
    #[error("`{0}` holds nothing")]
    Empty(PathBuf),
}

impl ImageError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { what, path, source }
    }
}

/// An image that is ready to be loaded.
#[derive(Debug)]
pub struct Archive {
    /// The digest of its one layer, uncompressed.
    pub diff_id: Digest,
    /// The digest of its config: its identity.
    pub config_digest: Digest,
    /// How many bytes [`Archive::into_reader`] gives.
    pub length: u64,
    head: Vec<u8>,
    layer: File,
    tail: Vec<u8>,
}

/// Makes an image from `source`. The layer is spooled in `spool_dir` (on a disk with room for it unpacked).
///
/// # Errors
/// See [`ImageError`].
pub async fn archive(source: LayerSource, spec: ImageSpec, spool_dir: &Path) -> Result<Archive, ImageError> {
    let spool_dir = spool_dir.to_owned();
    match tokio::task::spawn_blocking(move || make(&source, &spec, &spool_dir)).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(ImageError::io("make", Path::new("image"))(io::Error::other(error))),
        },
    }
}

fn make(source: &LayerSource, spec: &ImageSpec, spool_dir: &Path) -> Result<Archive, ImageError> {
    let mut layer = Layer::spool(spool_dir)?;
    match source {
        LayerSource::Artifact { file, place } => unpack::artifact(file, place, spec.epoch, &mut layer)?,
        LayerSource::Root { file } => root::copy(file, &mut layer)?,
    }
    let mut finished = layer.finish()?;
    finished.file.rewind().map_err(ImageError::io("read", spool_dir))?;
    let config = config::image_config(spec, finished.diff_id);
    let (head, tail) =
        config::around_layer(spec, &config, finished.diff_id, finished.length).map_err(ImageError::io("make", spool_dir))?;
    Ok(Archive {
        diff_id: finished.diff_id,
        config_digest: Digest::of(&config),
        length: head.len() as u64 + finished.length + tail.len() as u64,
        head,
        layer: finished.file,
        tail,
    })
}

impl Archive {
    /// The whole archive. The spooled file goes with the reader.
    pub fn into_reader(self) -> impl AsyncRead + Send + Unpin + 'static {
        // Every read of a file is a hop to another thread: few and large ones.
        let layer = tokio::io::BufReader::with_capacity(1 << 20, tokio::fs::File::from_std(self.layer));
        Cursor::new(self.head).chain(layer).chain(Cursor::new(self.tail))
    }
}

#[cfg(test)]
mod tests;
