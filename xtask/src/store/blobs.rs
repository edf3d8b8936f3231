//! The blob folder: `blobs/sha256/<hex>`, its index, and a spool for layers on their way.
//!
//! Nothing is flushed to the disk by hand. What a power cut took has another size or another digest, and both are looked at
//! before a blob is used: then it is made anew, as any other that is missing.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt};

use super::index::{Index, LayerRecord, Line};
use super::pack::Hashing;
use super::spool::Spool;
use super::{Direct, DirectImage, Exported, LayerBlob, StoreError, diff_ids};
use crate::folder::{self, FolderError};
use crate::oci::{Compression, Digest};

/// How much is read at once.
pub(super) const CHUNK: usize = 256 << 10;

/// A content-addressed folder. Several processes may use one at the same time.
#[derive(Debug)]
pub struct Blobs {
    root: PathBuf,
    index: Mutex<Index>,
    /// Per blob: whether this process knows what is in it, because it wrote or read it in full.
    checked: Mutex<HashMap<Digest, Arc<Mutex<bool>>>>,
    direct: Option<Direct>,
}

impl Blobs {
    /// Opens the folder, or makes it, for this user alone. One that cannot be written is good for what is in it.
    ///
    /// # Errors
    /// It cannot be made or read, or belongs to somebody else.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        for name in ["", "blobs", "blobs/sha256", "spool"] {
            match folder::private(&root.join(name)) {
                Err(FolderError::Io { source, .. }) if !name.is_empty() && is_refused(&source) => {}
                made => made?,
            }
        }
        super::spool::sweep(&root.join("spool"));
        let path = root.join("index.jsonl");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(StoreError::Folder { what: "read", path, source }),
        };
        Ok(Self { root: root.to_owned(), index: Mutex::new(Index::read(&text)), checked: Mutex::default(), direct: None })
    }

    /// What is not known is looked for there before an export is asked for.
    pub fn beside(self, direct: Direct) -> Self {
        Self { direct: Some(direct), ..self }
    }

    /// The images with these ids, where they can be read without an export.
    pub(super) fn directly(&self, ids: &[Digest]) -> Option<Vec<DirectImage>> {
        self.direct.as_ref()?.images(ids)
    }

    /// The folder that it was opened as.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file of a blob.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// The blob that an uncompressed layer is asked for as, if its file is there in full: one that this program made with
    /// this compression, else one that an engine held compressed however, else one that somebody published with this
    /// compressor.
    pub fn layer(&self, diff_id: Digest, compression: &Compression) -> Option<LayerBlob> {
        let records = self.index().layer(diff_id, *compression);
        records.into_iter().find_map(|record| self.whole(record))
    }

    /// The layer that an engine holds as the blob `digest`.
    pub(super) fn held(&self, digest: Digest) -> Option<LayerBlob> {
        let record = self.index().held(digest)?;
        self.whole(record)
    }

    /// How large the uncompressed tars are that need not be compressed any more.
    pub(super) fn unpacked(&self, compression: Compression) -> HashSet<u64> {
        self.index().unpacked(compression)
    }

    /// The blob of a record, if its file is there in full. It counts as used now.
    fn whole(&self, record: LayerRecord) -> Option<LayerBlob> {
        let LayerRecord { diff_id, digest, size, media_type, .. } = record;
        let path = self.path(digest);
        if !self.holds(digest, size) {
            return None;
        }
        // Not in a folder that cannot be written; and then nobody trims it either.
        let _ = OpenOptions::new().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        Some(LayerBlob { diff_id, digest, size, path, media_type })
    }

    /// Whether a blob's file is there in full, as far as its size tells.
    fn holds(&self, digest: Digest, size: u64) -> bool {
        fs::symlink_metadata(self.path(digest)).is_ok_and(|file| file.is_file() && file.len() == size)
    }

    /// The image that an engine calls `id`, if all of it is here in this compression: then no export is needed.
    pub fn known(&self, name: &str, id: Digest, compression: &Compression) -> Option<Exported> {
        let (config, config_digest) = self.config(id)?;
        let diff_ids = diff_ids(&config).ok()?;
        let layers = diff_ids.into_iter().map(|diff_id| self.layer(diff_id, compression)).collect::<Option<_>>()?;
        Some(Exported { name: name.to_owned(), config, config_digest, layers })
    }

    /// The configuration of the image that an engine calls `id`, with its digest.
    pub fn config(&self, id: Digest) -> Option<(Bytes, Digest)> {
        let digest = self.index().image(id)?;
        let config = Bytes::from(fs::read(self.path(digest)).ok()?);
        (Digest::of(&config) == digest).then_some((config, digest))
    }

    /// Makes sure that a blob is what its digest says, by reading it in full: once per process, and not at all where this
    /// process wrote it. A blob that is damaged is removed, so that the next run makes it anew. Blocks: for a thread of its
    /// own.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn verify(&self, digest: Digest) -> Result<(), StoreError> {
        let checked = Arc::clone(unpoisoned(&self.checked).entry(digest).or_default());
        // Whoever else wants to know waits for the one that reads.
        let mut checked = unpoisoned(&checked);
        if *checked {
            return Ok(());
        }
        let path = self.path(digest);
        let failed = |source| StoreError::Folder { what: "read", path: path.clone(), source };
        let mut hashing = Hashing::new(io::sink());
        copy(&mut File::open(&path).map_err(failed)?, &mut hashing).map_err(failed)?;
        let (found, _) = hashing.finish();
        if found != digest {
            return Err(self.damaged(found, digest));
        }
        *checked = true;
        Ok(())
    }

    /// Removes a blob that is not what its digest says.
    pub(super) fn damaged(&self, found: Digest, expected: Digest) -> StoreError {
        let path = self.path(expected);
        match fs::remove_file(&path) {
            Ok(()) => {
                let what = format!("the cached blob `{}` (now removed)", path.display());
                StoreError::Mismatch { what, found, expected }
            }
            Err(source) => StoreError::Folder { what: "remove", path, source },
        }
    }

    /// Takes in what was downloaded: a blob of this digest and size. What is there already is not read.
    ///
    /// # Errors
    /// It ends early, is something else, or cannot be written; then nothing of it stays.
    pub async fn take_in(&self, digest: Digest, size: u64, mut from: impl AsyncRead + Unpin) -> Result<(), StoreError> {
        if self.holds(digest, size) {
            return Ok(());
        }
        let spool = self.spool()?;
        let (path, file) = spool.file()?;
        let mut hashing = Hashing::new(file);
        let mut chunk = vec![0; CHUNK];
        loop {
            let read = match from.read(&mut chunk).await {
                Ok(0) => break,
                Ok(read) => read,
                Err(source) => return Err(StoreError::Download { digest, source }),
            };
            let written = hashing.write_all(chunk.get(..read).unwrap_or_default());
            written.map_err(|source| StoreError::Folder { what: "write", path: path.clone(), source })?;
            if hashing.size() > size {
                break;
            }
        }
        let (found, read) = hashing.finish();
        if read != size {
            let why = format!("{} bytes, {size} were expected", if read > size { "more".to_owned() } else { read.to_string() });
            return Err(StoreError::Download { digest, source: io::Error::other(why) });
        }
        if found != digest {
            return Err(StoreError::Mismatch { what: "a downloaded blob".to_owned(), found, expected: digest });
        }
        self.adopt(&path, digest)
    }

    /// A place for files on their way into the folder; whatever stays in it is removed with it.
    pub(super) fn spool(&self) -> Result<Spool, StoreError> {
        Spool::new(&self.root.join("spool"))
    }

    /// Takes a finished file of the spool in under its digest, which whoever wrote it has computed.
    pub(super) fn adopt(&self, file: &Path, digest: Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        fs::rename(file, &path).map_err(|source| StoreError::Folder { what: "write", path, source })?;
        unpoisoned(&self.checked).insert(digest, Arc::new(Mutex::new(true)));
        Ok(())
    }

    /// Keeps an image configuration as a blob, and the identities of its image.
    pub(super) fn remember_image(&self, config: &[u8], digest: Digest, ids: &[Digest]) -> Result<(), StoreError> {
        if !self.holds(digest, config.len() as u64) {
            let spool = self.spool()?;
            let (path, mut file) = spool.file()?;
            file.write_all(config).map_err(|source| StoreError::Folder { what: "write", path: path.clone(), source })?;
            self.adopt(&path, digest)?;
        }
        ids.iter().try_for_each(|id| self.remember(Line::Image { id: *id, config: digest }))
    }

    /// Remembers what an uncompressed layer became, and gives it.
    pub(super) fn remember_layer(&self, record: LayerRecord) -> Result<LayerBlob, StoreError> {
        self.remember(Line::Layer(record.clone()))?;
        let LayerRecord { diff_id, digest, size, media_type, .. } = record;
        Ok(LayerBlob { diff_id, digest, size, path: self.path(digest), media_type })
    }

    fn remember(&self, line: Line) -> Result<(), StoreError> {
        let mut index = self.index();
        if index.has(&line) {
            return Ok(());
        }
        let path = self.root.join("index.jsonl");
        let failed = |source| StoreError::Folder { what: "write", path: path.clone(), source };
        let mut text = if std::mem::take(&mut index.torn) { String::from("\n") } else { String::new() };
        text += &serde_json::to_string(&line).map_err(|error| failed(error.into()))?;
        text.push('\n');
        let mut file = private(OpenOptions::new().append(true).create(true)).open(&path).map_err(failed)?;
        // One write: lines of two processes do not mix. What a full disk cut off is closed by the next line.
        let written = file.write(text.as_bytes()).map_err(failed)?;
        if written != text.len() {
            index.torn = true;
            return Err(failed(io::ErrorKind::StorageFull.into()));
        }
        index.insert(line);
        Ok(())
    }

    fn index(&self) -> MutexGuard<'_, Index> {
        unpoisoned(&self.index)
    }

    /// The folder of the blobs.
    pub(super) fn folder(&self) -> PathBuf {
        self.root.join("blobs/sha256")
    }
}

/// A panic elsewhere leaves what is locked here whole: every change is one insertion.
fn unpoisoned<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a folder cannot be written, rather than something being wrong.
pub(super) fn is_refused(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Only this user may read what is opened so.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// In larger pieces than the standard library's.
pub(super) fn copy(from: &mut impl io::Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => to.write_all(buffer.get(..read).unwrap_or_default())?,
        }
    }
}
