//! Files on their way: a folder per user of it, locked as long as it is in use, so that what a killed process left can
//! be told from what another one is writing.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::StoreError;
use super::blobs::private;
use crate::folder;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A folder that is removed with this value.
#[derive(Debug)]
pub(super) struct Spool {
    folder: PathBuf,
    files: AtomicU32,
    _lock: File,
}

impl Spool {
    /// The lock stands beside the folder and is taken first: a folder whose lock nobody holds is garbage.
    pub(super) fn new(parent: &Path) -> Result<Self, StoreError> {
        loop {
            let folder = parent.join(format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
            let lock_path = folder.with_extension("lock");
            let failed = |source| StoreError::Folder { what: "lock", path: lock_path.clone(), source };
            let lock = match private(OpenOptions::new().write(true).create_new(true)).open(&lock_path) {
                Ok(lock) => lock,
                // A process of another PID namespace has this number.
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(source) => return Err(failed(source)),
            };
            lock.lock().map_err(failed)?;
            if !lock_path.exists() {
                // Swept between its making and its locking.
                continue;
            }
            folder::private(&folder)?;
            return Ok(Self { folder, files: AtomicU32::new(0), _lock: lock });
        }
    }

    /// A new file, for writing and reading.
    pub(super) fn file(&self) -> Result<(PathBuf, File), StoreError> {
        let path = self.folder.join(self.files.fetch_add(1, Ordering::Relaxed).to_string());
        match private(OpenOptions::new().read(true).write(true).create_new(true)).open(&path) {
            Ok(file) => Ok((path, file)),
            Err(source) => Err(StoreError::Folder { what: "write", path, source }),
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        // What cannot be removed now is swept by the next run.
        let _ = fs::remove_dir_all(&self.folder);
        let _ = fs::remove_file(self.folder.with_extension("lock"));
    }
}

/// Removes what processes left that are no more.
pub(super) fn sweep(parent: &Path) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for path in entries.flatten().map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|e| e == "lock")) {
        // The lock is held while its folder goes.
        let Ok(lock) = File::open(&path) else { continue };
        if lock.try_lock().is_ok() {
            let _ = fs::remove_dir_all(path.with_extension(""));
            let _ = fs::remove_file(&path);
        }
    }
}
