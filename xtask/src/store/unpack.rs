//! Layers that somebody else compressed: unpacked once, to see that they are what they are called.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;

use flate2::bufread::MultiGzDecoder;

use super::blobs::{CHUNK, copy};
use super::index::{ENGINE, LayerRecord, Maker, PUBLISHED};
use super::pack::Hashing;
use super::{Blobs, LayerBlob, StoreError};
use crate::oci::{Compression, Digest, media_type};

/// A compressed layer of the export, on disk.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) path: PathBuf,
    pub(super) size: u64,
    /// The digest of the file as it is.
    pub(super) digest: Digest,
    pub(super) form: Form,
}

/// A layer as it is.
const LAYER_TAR: &str = "application/vnd.oci.image.layer.v1.tar";

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

    /// Of a layer in a manifest, OCI's or Docker's.
    fn of_media_type(media_type: &str) -> Option<Self> {
        match media_type {
            media_type::LAYER_GZIP | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Some(Self::Gzip),
            media_type::LAYER_ZSTD => Some(Self::Zstd),
            LAYER_TAR => Some(Self::Tar),
            _ => None,
        }
    }

    /// The media type of a layer of this form.
    fn media_type(self) -> &'static str {
        match self {
            Self::Tar => LAYER_TAR,
            Self::Gzip => media_type::LAYER_GZIP,
            Self::Zstd => media_type::LAYER_ZSTD,
        }
    }
}

/// The digest and the bytes of what is in a file, unpacked; and the digest of the file.
fn unpacked(file: File, form: Form) -> io::Result<(Digest, u64, Digest)> {
    let mut whole = Hashing::new(io::sink());
    let mut tar = Hashing::new(io::sink());
    let mut packed = BufReader::with_capacity(CHUNK, Tee { from: file, to: &mut whole });
    match form {
        Form::Tar => copy(&mut packed, &mut tar)?,
        Form::Gzip => copy(&mut MultiGzDecoder::new(&mut packed), &mut tar)?,
        Form::Zstd => copy(&mut zstd::Decoder::with_buffer(&mut packed)?, &mut tar)?,
    }
    // A decoder may leave something behind that it does not need.
    copy(&mut packed, &mut io::sink())?;
    drop(packed);
    let (diff_id, size) = tar.finish();
    Ok((diff_id, size, whole.finish().0))
}

/// Hands what is read on to somebody else, too.
struct Tee<R, W> {
    from: R,
    to: W,
}

impl<R: Read, W: Write> Read for Tee<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.to.write_all(buffer.get(..read).unwrap_or_default())?;
        Ok(read)
    }
}

/// Takes a layer in that an engine held compressed, as it is. Blocks.
pub(super) fn take(blobs: &Blobs, layer: Held, compression: Compression) -> Result<LayerBlob, StoreError> {
    let Held { path, size, digest, form } = layer;
    let failed = |source| StoreError::Folder { what: "unpack", path: path.clone(), source };
    let (diff_id, unpacked, _) = File::open(&path).and_then(|file| unpacked(file, form)).map_err(failed)?;
    if let Some(known) = blobs.layer(diff_id, &compression) {
        let _ = std::fs::remove_file(&path);
        return Ok(known);
    }
    blobs.adopt(&path, digest)?;
    let media_type = form.media_type().to_owned();
    blobs.remember_layer(LayerRecord { diff_id, unpacked, maker: Maker::other(ENGINE), digest, size, media_type })
}

impl Blobs {
    /// The tar of a layer. Whoever reads it compares its digest with the diff ID.
    ///
    /// # Errors
    /// The blob cannot be opened, or is neither tar nor gzip nor zstd.
    pub fn tar(&self, layer: &LayerBlob) -> io::Result<Box<dyn Read + Send>> {
        let packed = BufReader::with_capacity(CHUNK, File::open(&layer.path)?);
        match Form::of_media_type(&layer.media_type) {
            Some(Form::Gzip) => Ok(Box::new(MultiGzDecoder::new(packed))),
            Some(Form::Zstd) => Ok(Box::new(zstd::Decoder::with_buffer(packed)?)),
            Some(Form::Tar) => Ok(Box::new(packed)),
            None => Err(io::Error::other(format!("its media type is `{}`", layer.media_type))),
        }
    }

    /// Trusts that the blob `digest`, which was [taken in](Blobs::take_in), is the layer `diff_id`, after unpacking it once.
    /// Blocks: for a thread of its own.
    ///
    /// # Errors
    /// It is another layer, or damaged, or neither gzip nor zstd, or cannot be read. Then nothing was written.
    pub fn seed(&self, diff_id: Digest, digest: Digest, size: u64, media_type: &str) -> Result<LayerBlob, StoreError> {
        let unknown = || StoreError::Format { why: format!("the layer {digest} is of the type `{media_type}`") };
        let form = Form::of_media_type(media_type).ok_or_else(unknown)?;
        let path = self.path(digest);
        let failed = |source| StoreError::Folder { what: "unpack", path: path.clone(), source };
        let (found, unpacked, whole) = File::open(&path).and_then(|file| unpacked(file, form)).map_err(failed)?;
        if whole != digest {
            return Err(self.damaged(whole, digest));
        }
        if found != diff_id {
            let what = format!("the published layer {digest}, unpacked,");
            return Err(StoreError::Mismatch { what, found, expected: diff_id });
        }
        let media_type = form.media_type().to_owned();
        self.remember_layer(LayerRecord { diff_id, unpacked, maker: Maker::other(PUBLISHED), digest, size, media_type })
    }
}
