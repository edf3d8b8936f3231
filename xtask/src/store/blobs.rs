//! The blob folder: `blobs/sha256/<hex>`, an index that is only ever appended to, and a spool for layers on their way.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use super::spool::Spool;
use super::{Exported, LayerBlob, StoreError, diff_ids};
use crate::folder;
use crate::oci::{Compression, Digest};

/// A content-addressed folder. Several processes may use one at the same time.
#[derive(Debug)]
pub struct Blobs {
    root: PathBuf,
    index: Mutex<Index>,
}

/// What the index knows.
#[derive(Debug, Default)]
struct Index {
    /// Per uncompressed layer: the blobs it became, first come first.
    layers: HashMap<Digest, Vec<LayerRecord>>,
    /// Per identity that an engine gives an image: the digest of its configuration.
    images: HashMap<Digest, Digest>,
    /// Whether the file ends in the middle of a line: somebody was interrupted.
    torn: bool,
}

/// Who compressed a layer, and how: the key of a record, beside its diff ID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Maker {
    /// Compressor and version: `gzip/2` is this program's, in its second form. Or where it was had from: [`ENGINE`].
    pub(super) compressor: String,
    /// The level, where known.
    pub(super) level: Option<u32>,
}

/// What an engine held compressed and was taken as it was.
pub(super) const ENGINE: &str = "engine";
/// What somebody published, unpacked and checked before it was trusted.
pub(super) const PUBLISHED: &str = "published";

impl Maker {
    /// This program, asked for `compression`.
    pub(super) fn of(compression: Compression) -> Self {
        Self { compressor: super::compress::compressor(compression), level: Some(compression.level()) }
    }

    /// Somebody else.
    pub(super) fn other(compressor: &str) -> Self {
        Self { compressor: compressor.to_owned(), level: None }
    }
}

/// A line of the index about a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    pub(super) diff_id: Digest,
    #[serde(flatten)]
    pub(super) maker: Maker,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Line {
    Layer(LayerRecord),
    Image { id: Digest, config: Digest },
}

impl Blobs {
    /// Opens the folder, or makes it, for this user alone.
    ///
    /// # Errors
    /// It cannot be made or read, or belongs to somebody else.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        folder::private(root)?;
        for name in ["blobs", "blobs/sha256", "spool"] {
            folder::private(&root.join(name))?;
        }
        super::spool::sweep(&root.join("spool"));
        let path = root.join("index.jsonl");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(source) => return Err(StoreError::Folder { what: "read", path, source }),
        };
        Ok(Self { root: root.to_owned(), index: Mutex::new(Index::read(&text)) })
    }

    /// The file of a blob.
    pub fn path(&self, digest: Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// The blob that an uncompressed layer is asked for as, if its file is there in full: one that this program made with
    /// this compression, else one that an engine held compressed however, else one that somebody published with this
    /// compressor.
    pub fn layer(&self, diff_id: Digest, compression: &Compression) -> Option<LayerBlob> {
        let exact = Maker::of(*compression);
        let rank = |record: &LayerRecord| match record.maker.compressor.as_str() {
            _ if record.maker == exact => Some(0),
            ENGINE => Some(1),
            PUBLISHED if record.media_type == compression.media_type() => Some(2),
            _ => None,
        };
        let mut records = self.index().layers.get(&diff_id).cloned().unwrap_or_default();
        records.retain(|record| rank(record).is_some());
        records.sort_by_key(rank);
        records.into_iter().find_map(|record| {
            let path = self.path(record.digest);
            let whole = fs::symlink_metadata(&path).is_ok_and(|file| file.is_file() && file.len() == record.size);
            let LayerRecord { diff_id, digest, size, media_type, .. } = record;
            whole.then_some(LayerBlob { diff_id, digest, size, path, media_type })
        })
    }

    /// The image that an engine calls `id`, if all of it is here in this compression: then no export is needed.
    pub fn known(&self, name: &str, id: Digest, compression: &Compression) -> Option<Exported> {
        let config_digest = self.index().images.get(&id).copied()?;
        let config = Bytes::from(fs::read(self.path(config_digest)).ok()?);
        if Digest::of(&config) != config_digest {
            return None;
        }
        let layers =
            diff_ids(&config).ok()?.into_iter().map(|diff_id| self.layer(diff_id, compression)).collect::<Option<_>>()?;
        Some(Exported { name: name.to_owned(), config, config_digest, layers })
    }

    /// Reads a blob in full and compares its digest; a blob that is damaged is removed, so that the next run makes it
    /// anew. Blocks: for a thread of its own.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub fn verify(&self, digest: Digest) -> Result<(), StoreError> {
        let path = self.path(digest);
        let failed = |source| StoreError::Folder { what: "read", path: path.clone(), source };
        let mut file = BufReader::with_capacity(256 << 10, File::open(&path).map_err(failed)?);
        let mut hasher = sha2::Sha256::new();
        let mut buffer = vec![0; 256 << 10];
        loop {
            match file.read(&mut buffer).map_err(failed)? {
                0 => break,
                read => hasher.update(&buffer[..read]),
            }
        }
        let found = Digest::from_hasher(hasher);
        if found == digest {
            return Ok(());
        }
        fs::remove_file(&path).map_err(|source| StoreError::Folder { what: "remove", path: path.clone(), source })?;
        Err(StoreError::Mismatch { what: format!("the cached blob `{}` (now removed)", path.display()), found, expected: digest })
    }

    /// A place for files on their way into the folder; whatever stays in it is removed with it.
    pub(super) fn spool(&self) -> Result<Spool, StoreError> {
        Spool::new(&self.root.join("spool"))
    }

    /// Takes a finished, synced file of the spool in under its digest.
    pub(super) fn adopt(&self, file: &Path, digest: Digest) -> Result<PathBuf, StoreError> {
        let path = self.path(digest);
        let failed = |source| StoreError::Folder { what: "write", path: path.clone(), source };
        fs::rename(file, &path).map_err(failed)?;
        sync_folder(&self.root.join("blobs/sha256")).map_err(failed)?;
        Ok(path)
    }

    /// Keeps an image configuration as a blob, and the identities of its image.
    pub(super) fn remember_image(&self, config: &[u8], digest: Digest, ids: &[Digest]) -> Result<(), StoreError> {
        if !fs::symlink_metadata(self.path(digest)).is_ok_and(|file| file.is_file() && file.len() == config.len() as u64) {
            let spool = self.spool()?;
            let (path, mut file) = spool.file()?;
            let failed = |source| StoreError::Folder { what: "write", path: path.clone(), source };
            file.write_all(config).and_then(|()| file.sync_all()).map_err(failed)?;
            self.adopt(&path, digest)?;
        }
        let mut index = self.index();
        for id in ids {
            if index.images.get(id) != Some(&digest) {
                self.append(&mut index, &Line::Image { id: *id, config: digest })?;
                index.images.insert(*id, digest);
            }
        }
        Ok(())
    }

    /// Remembers what an uncompressed layer became.
    pub(super) fn remember_layer(&self, record: LayerRecord) -> Result<(), StoreError> {
        let mut index = self.index();
        if index.layers.get(&record.diff_id).is_some_and(|known| known.contains(&record)) {
            return Ok(());
        }
        self.append(&mut index, &Line::Layer(record.clone()))?;
        index.layers.entry(record.diff_id).or_default().push(record);
        Ok(())
    }

    fn append(&self, index: &mut Index, line: &Line) -> Result<(), StoreError> {
        let path = self.root.join("index.jsonl");
        let failed = |source| StoreError::Folder { what: "write", path: path.clone(), source };
        let mut text = if std::mem::take(&mut index.torn) { String::from("\n") } else { String::new() };
        text += &serde_json::to_string(line).map_err(|error| failed(error.into()))?;
        text.push('\n');
        let mut file = private(OpenOptions::new().append(true).create(true)).open(&path).map_err(failed)?;
        // One write: lines of two processes do not mix.
        file.write_all(text.as_bytes()).and_then(|()| file.sync_data()).map_err(failed)
    }

    fn index(&self) -> std::sync::MutexGuard<'_, Index> {
        // A panic elsewhere leaves the maps whole: every change is one insertion.
        self.index.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Index {
    fn read(text: &[u8]) -> Self {
        let mut index = Self { torn: text.last().is_some_and(|last| *last != b'\n'), ..Self::default() };
        // A line that was torn when its writer was killed says nothing, wherever it stands.
        for line in text.split(|byte| *byte == b'\n') {
            match serde_json::from_slice(line) {
                Ok(Line::Layer(record)) => index.layers.entry(record.diff_id).or_default().push(record),
                Ok(Line::Image { id, config }) => {
                    index.images.insert(id, config);
                }
                Err(_) => {}
            }
        }
        index
    }
}

/// Only this user may read what is opened so.
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options
}

/// Makes a rename in the folder survive a power cut, where the system can.
fn sync_folder(path: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(path)?.sync_all() } else { Ok(()) }
}

/// Rewinds a file that was just written.
pub(super) fn rewound(mut file: File) -> io::Result<File> {
    file.seek(SeekFrom::Start(0))?;
    Ok(file)
}
