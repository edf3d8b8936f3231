//! One layer into one blob, both digests computed while it streams.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use flate2::{GzBuilder, read::MultiGzDecoder};
use sha2::Digest as _;

use super::blobs::{ENGINE, LayerRecord, Maker, rewound};
use super::spool::Spool;
use super::{Blobs, LayerBlob, StoreError};
use crate::oci::{Compression, Digest, media_type};

/// What the index calls this program's compressor: changes whenever the bytes that come out for the same layer change.
pub(super) fn compressor(compression: Compression) -> String {
    match compression {
        Compression::Gzip { .. } => "gzip/1".to_owned(),
        Compression::Zstd { .. } => format!("zstd/1-{}", zstd::zstd_safe::version_string()),
    }
}

const BUFFER: usize = 256 << 10;

/// A file of the export, on disk.
#[derive(Debug)]
pub(super) struct Spooled {
    pub(super) path: PathBuf,
    pub(super) file: File,
    pub(super) size: u64,
    /// The digest of the file as it is.
    pub(super) digest: Digest,
    pub(super) form: Form,
}

/// How the engine had the layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Tar,
    Gzip,
    Zstd,
}

impl Form {
    /// Told by the first bytes.
    pub(super) fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Tar,
        }
    }
}

/// Turns a spooled layer into a blob. `expected` is its diff ID where the export has told it already (it must for a zstd
/// layer, which is taken at its word). Blocks.
pub(super) fn into_blob(
    blobs: &Blobs,
    spool: &Spool,
    layer: Spooled,
    compression: Compression,
    expected: Option<Digest>,
) -> Result<LayerBlob, StoreError> {
    let Spooled { path, file, size, digest, form } = layer;
    let record = match form {
        Form::Tar => {
            if let Some(known) = blobs.layer(digest, &compression) {
                remove(&path);
                return Ok(known);
            }
            let (blob_path, blob) = spool.file()?;
            let failed = |source| StoreError::Folder { what: "write", path: blob_path.clone(), source };
            let (blob_digest, blob_size) = compressed(file, blob, compression).map_err(failed)?;
            remove(&path);
            blobs.adopt(&blob_path, blob_digest)?;
            let media_type = compression.media_type().to_owned();
            LayerRecord { diff_id: digest, maker: Maker::of(compression), digest: blob_digest, size: blob_size, media_type }
        }
        Form::Gzip => {
            let failed = |source| StoreError::Folder { what: "unpack", path: path.clone(), source };
            let mut unpacked = Hashing::new(io::sink());
            let mut packed = MultiGzDecoder::new(BufReader::with_capacity(BUFFER, rewound(file).map_err(failed)?));
            copy(&mut packed, &mut unpacked).map_err(failed)?;
            let (diff_id, _) = unpacked.finish();
            if let Some(known) = blobs.layer(diff_id, &compression) {
                remove(&path);
                return Ok(known);
            }
            keep(&path)?;
            blobs.adopt(&path, digest)?;
            let media_type = media_type::LAYER_GZIP.to_owned();
            LayerRecord { diff_id, maker: Maker::other(ENGINE), digest, size, media_type }
        }
        Form::Zstd => {
            let Some(diff_id) = expected else {
                return Err(StoreError::Format { why: format!("nothing names the zstd layer {digest}") });
            };
            if let Some(known) = blobs.layer(diff_id, &compression) {
                remove(&path);
                return Ok(known);
            }
            keep(&path)?;
            blobs.adopt(&path, digest)?;
            let media_type = media_type::LAYER_ZSTD.to_owned();
            LayerRecord { diff_id, maker: Maker::other(ENGINE), digest, size, media_type }
        }
    };
    blobs.remember_layer(record.clone())?;
    let LayerRecord { diff_id, digest, size, media_type, .. } = record;
    Ok(LayerBlob { diff_id, digest, size, path: blobs.path(digest), media_type })
}

/// What becomes a blob as it is has to be on the disk before it gets its name.
fn keep(path: &Path) -> Result<(), StoreError> {
    let failed = |source| StoreError::Folder { what: "write", path: path.to_owned(), source };
    File::open(path).and_then(|file| file.sync_all()).map_err(failed)
}

/// The spool is removed as a whole anyway; early is kinder to the disk.
fn remove(path: &Path) {
    let _ = std::fs::remove_file(path);
}

/// A stream that depends on nothing but the bytes: no name, no time, no operating system.
fn compressed(tar: File, blob: File, compression: Compression) -> io::Result<(Digest, u64)> {
    let mut tar = rewound(tar)?;
    let hashing = Hashing::new(io::BufWriter::with_capacity(BUFFER, blob));
    let mut hashing = match compression {
        Compression::Gzip { level } => {
            let level = flate2::Compression::new(level.min(9));
            let mut encoder = GzBuilder::new().mtime(0).operating_system(255).write(hashing, level);
            copy(&mut tar, &mut encoder)?;
            encoder.finish()?
        }
        Compression::Zstd { level } => {
            let mut encoder = zstd::Encoder::new(hashing, i32::try_from(level).unwrap_or_default())?;
            copy(&mut tar, &mut encoder)?;
            encoder.finish()?
        }
    };
    hashing.flush()?;
    hashing.inner.get_ref().sync_all()?;
    Ok(hashing.finish())
}

fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer)? {
            0 => return Ok(()),
            read => to.write_all(&buffer[..read])?,
        }
    }
}

/// Counts and hashes what is written.
pub(super) struct Hashing<W> {
    inner: W,
    hasher: sha2::Sha256,
    size: u64,
}

impl<W: Write> Hashing<W> {
    pub(super) fn new(inner: W) -> Self {
        Self { inner, hasher: sha2::Sha256::new(), size: 0 }
    }

    pub(super) fn finish(self) -> (Digest, u64) {
        (Digest::from_hasher(self.hasher), self.size)
    }
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}
