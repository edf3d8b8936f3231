//! Reads a blob that a registry holds: its digest, and what it unpacks to.

use std::io::{self, Read};

use sha2::Digest as _;
use tokio::io::AsyncReadExt as _;
use tokio::runtime::Handle;

use super::super::image::Descriptor;
use super::Fault;
use crate::oci::{Digest, media_type};
use crate::registry::{BlobReader, Registry, RegistryError};

/// Bytes that are unpacked at a time.
const PIECE: usize = 128 << 10;

/// What is wrong with `wanted`, whose uncompressed form has the digest `diff_id` if it is a layer.
pub(super) async fn blob(
    registry: &Registry,
    wanted: &Descriptor,
    diff_id: Option<Digest>,
) -> Result<Option<Fault>, RegistryError> {
    let digest = wanted.digest;
    let Some(reader) = registry.read_blob(digest).await? else { return Ok(Some(Fault::NoBlob { digest })) };
    let (handle, wanted) = (Handle::current(), wanted.clone());
    let work = move || judge(Hashed::new(Waiting { reader, handle }), &wanted, diff_id);
    Ok(tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Some(Fault::Packed { digest, why: error.to_string() })))
}

fn judge(mut bytes: Hashed<impl Read>, wanted: &Descriptor, diff_id: Option<Digest>) -> Option<Fault> {
    let digest = wanted.digest;
    let unpacked = diff_id.map(|_| unpack(&mut bytes, &wanted.media_type));
    // What follows the end of a compressed stream is part of the blob as well, and so is all that could not be unpacked.
    if let Err(error) = io::copy(&mut bytes, &mut io::sink()) {
        return Some(Fault::Unreadable { why: format!("the blob {digest} cannot be read: {error}") });
    }
    let (found, size) = bytes.finish();
    if size != wanted.size {
        return Some(Fault::Size { digest, found: size, wanted: wanted.size });
    }
    if found != digest {
        return Some(Fault::Bytes { digest, found });
    }
    match (diff_id, unpacked) {
        (Some(wanted), Some(Ok(found))) if found != wanted => Some(Fault::DiffId { digest, found, wanted }),
        (_, Some(Err(error))) => Some(Fault::Packed { digest, why: error.to_string() }),
        _ => None,
    }
}

/// The digest of what a layer unpacks to.
fn unpack(bytes: &mut impl Read, kind: &str) -> io::Result<Digest> {
    match kind {
        media_type::LAYER_GZIP => drained(flate2::read::MultiGzDecoder::new(bytes)),
        media_type::LAYER_ZSTD => drained(zstd::Decoder::new(bytes)?),
        _ => drained(bytes),
    }
}

fn drained(bytes: impl Read) -> io::Result<Digest> {
    let mut bytes = Hashed::new(bytes);
    let mut piece = vec![0; PIECE];
    while bytes.read(&mut piece)? > 0 {}
    Ok(bytes.finish().0)
}

/// Hashes and counts what is read.
struct Hashed<R> {
    inner: R,
    hasher: sha2::Sha256,
    size: u64,
}

impl<R> Hashed<R> {
    fn new(inner: R) -> Self {
        Self { inner, hasher: sha2::Sha256::new(), size: 0 }
    }

    fn finish(self) -> (Digest, u64) {
        (Digest::from_hasher(self.hasher), self.size)
    }
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hasher.update(buffer.get(..read).unwrap_or_default());
        self.size += read as u64;
        Ok(read)
    }
}

/// A registry's blob, for a thread that may wait.
struct Waiting {
    reader: BlobReader,
    handle: Handle,
}

impl Read for Waiting {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.handle.block_on(self.reader.read(buffer))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text).and_then(|()| encoder.finish()).expect("compressed")
    }

    #[test]
    fn a_blob_is_what_its_manifest_and_configuration_say() {
        let tar = b"a layer";
        // Two members are one stream.
        let members = [gzip(b"a "), gzip(b"layer")].concat();
        let frame = zstd::encode_all(&tar[..], 3).expect("compressed");
        let layer = |bytes: &[u8], kind: &str| Descriptor {
            media_type: kind.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
        };
        let (gz, zst) = (media_type::LAYER_GZIP, media_type::LAYER_ZSTD);
        let whole = layer(&members, gz);
        let cut = &members[..members.len() - 9];
        let (diff_id, other) = (Digest::of(tar), Digest::of("other"));
        let mut damaged = members.clone();
        damaged[4] ^= 1;
        for (bytes, wanted, diff_id, expected) in [
            (&members[..], &whole, Some(diff_id), None),
            (&members, &whole, None, None),
            (&frame, &layer(&frame, zst), Some(diff_id), None),
            (&members, &whole, Some(other), Some(Fault::DiffId { digest: whole.digest, found: diff_id, wanted: other })),
            (&damaged, &whole, None, Some(Fault::Bytes { digest: whole.digest, found: Digest::of(&damaged) })),
            (cut, &whole, Some(diff_id), Some(Fault::Size { digest: whole.digest, found: cut.len() as u64, wanted: whole.size })),
        ] {
            assert_eq!(judge(Hashed::new(bytes), wanted, diff_id), expected);
        }
        let text = layer(b"no gzip", gz);
        let found = judge(Hashed::new(&b"no gzip"[..]), &text, Some(diff_id));
        assert!(matches!(found, Some(Fault::Packed { .. })), "{found:?}");
    }
}
