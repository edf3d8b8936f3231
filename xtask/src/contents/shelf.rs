//! What was read of layers, by their diff IDs: a layer never changes, so it is read once.
//!
//! A file of a layer is JSON, compressed; its name says which layer and which shape of [`Layer`]. A file that cannot be read
//! is as good as none, and is written anew.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::{ContentsError, Layer};
use crate::folder::{self, FolderError};
use crate::oci::Digest;

/// Changes whenever [`Layer`] does, or what is looked for in one.
const SCHEMA: u32 = 5;
/// How well files are compressed: 3 of 22 is where zstd costs next to nothing.
const LEVEL: i32 = 3;
/// What was not used for so long goes.
const IDLE: Duration = Duration::from_hours(30 * 24);

/// The folder of what was read. Several processes may use one at the same time.
#[derive(Debug)]
pub struct Shelf {
    root: PathBuf,
    /// What this process has had already.
    known: Mutex<HashMap<Digest, Arc<Layer>>>,
}

impl Shelf {
    /// Opens the folder, or makes it, for this user alone.
    ///
    /// # Errors
    /// It cannot be made, or belongs to somebody else.
    pub fn open(root: &Path) -> Result<Self, FolderError> {
        match folder::private(root) {
            // Then nothing is kept.
            Err(FolderError::Io { source, .. }) if is_refused(&source) => {}
            made => made?,
        }
        Ok(Self { root: root.to_owned(), known: Mutex::default() })
    }

    /// A layer that was read before.
    pub fn layer(&self, diff_id: Digest) -> Option<Arc<Layer>> {
        if let Some(known) = self.known().get(&diff_id) {
            return Some(Arc::clone(known));
        }
        let path = self.path(diff_id);
        let layer = Arc::new(read(&path).filter(|layer| layer.diff_id == diff_id)?);
        // It counts as used now. Not in a folder that cannot be written; and then nobody trims it either.
        let _ = fs::File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        self.known().insert(diff_id, Arc::clone(&layer));
        Some(layer)
    }

    /// Whether a layer was read before. The file is read for that: a damaged one is none.
    pub fn has(&self, diff_id: Digest) -> bool {
        self.layer(diff_id).is_some()
    }

    /// Keeps what was read.
    ///
    /// # Errors
    /// It cannot be written, for another reason than that the folder is not to be written: then this process alone knows it.
    pub fn put(&self, layer: Layer) -> Result<Arc<Layer>, ContentsError> {
        let layer = Arc::new(layer);
        let path = self.path(layer.diff_id);
        match self.write(&layer, &path) {
            Err(error) if !is_refused(&error) => return Err(FolderError::Io { doing: "write", path, source: error }.into()),
            _ => {}
        }
        self.known().insert(layer.diff_id, Arc::clone(&layer));
        Ok(layer)
    }

    fn write(&self, layer: &Layer, path: &Path) -> io::Result<()> {
        // Whoever else reads the same layer writes the same; the last one stays.
        let mut file = tempfile::Builder::new().prefix(".").tempfile_in(&self.root)?;
        let packed = zstd::bulk::compress(&serde_json::to_vec(layer)?, LEVEL)?;
        file.write_all(&packed)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    }

    /// Removes what was not used for a month, and what an interrupted process has left.
    pub fn trim(&self) {
        let now = SystemTime::now();
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            let used = entry.metadata().and_then(|file| file.modified());
            let idle = used.ok().and_then(|used| now.duration_since(used).ok()).unwrap_or_default();
            let half = entry.file_name().to_string_lossy().starts_with('.');
            if idle > IDLE || (half && idle > Duration::from_hours(24)) {
                // Somebody else may trim, too.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    fn path(&self, diff_id: Digest) -> PathBuf {
        self.root.join(format!("{}-{SCHEMA}.json.zst", diff_id.hex()))
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<Digest, Arc<Layer>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> Option<Layer> {
    let packed = fs::read(path).ok()?;
    let text = zstd::stream::decode_all(packed.as_slice()).ok()?;
    serde_json::from_slice(&text).ok()
}

fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}
