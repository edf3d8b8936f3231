//! A layer while it is written: a tar archive in a nameless file, hashed as it grows.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use sha2::Digest as _;
use tar::{EntryType, Header};

use super::ImageError;
use crate::oci::Digest;

/// The size of a tar archive's parts.
pub(super) const BLOCK: usize = 512;

/// A layer that is being written.
pub(super) struct Layer {
    /// For messages: the file has no name.
    spool_dir: PathBuf,
    writer: BufWriter<Hashing>,
}

/// A layer that is whole.
pub(super) struct Finished {
    pub(super) file: File,
    pub(super) diff_id: Digest,
    pub(super) length: u64,
}

/// What an entry is, beside its path.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attributes {
    pub(super) mode: u32,
    pub(super) owner: (u32, u32),
    pub(super) mtime: u64,
}

struct Hashing {
    file: File,
    hasher: sha2::Sha256,
    length: u64,
}

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.hasher.update(&bytes[..written]);
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Layer {
    pub(super) fn spool(spool_dir: &Path) -> Result<Self, ImageError> {
        let file = tempfile::tempfile_in(spool_dir).map_err(ImageError::io("spool in", spool_dir))?;
        let hashing = Hashing { file, hasher: sha2::Sha256::new(), length: 0 };
        Ok(Self { spool_dir: spool_dir.to_owned(), writer: BufWriter::with_capacity(256 * 1024, hashing) })
    }

    /// Bytes as they are: whole blocks.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> Result<(), ImageError> {
        self.writer.write_all(bytes).map_err(ImageError::io("spool in", &self.spool_dir))
    }

    /// A folder. `path` has no slash at either end.
    pub(super) fn folder(&mut self, path: &[u8], attributes: Attributes) -> Result<(), ImageError> {
        self.header(&[path, b"/"].concat(), EntryType::Directory, attributes, 0, b"")
    }

    /// A symbolic link, or (`hard`) another name of a file of this layer, which `target` then names in full.
    pub(super) fn link(&mut self, path: &[u8], attributes: Attributes, target: &[u8], hard: bool) -> Result<(), ImageError> {
        let kind = if hard { EntryType::Link } else { EntryType::Symlink };
        self.header(path, kind, attributes, 0, target)
    }

    /// A file of `size` bytes, which `data` gives; `broken` makes the error when it does not.
    pub(super) fn file(
        &mut self,
        path: &[u8],
        attributes: Attributes,
        size: u64,
        data: &mut dyn Read,
        broken: impl FnOnce(io::Error) -> ImageError,
    ) -> Result<(), ImageError> {
        self.header(path, EntryType::Regular, attributes, size, b"")?;
        self.data(size, data, broken)
    }

    /// `size` bytes of `data`, filled up to whole blocks.
    pub(super) fn data(
        &mut self,
        size: u64,
        data: &mut dyn Read,
        broken: impl FnOnce(io::Error) -> ImageError,
    ) -> Result<(), ImageError> {
        let mut buffer = vec![0; 128 * 1024];
        let mut left = size;
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match data.read(&mut buffer[..most]) {
                Ok(0) => return Err(broken(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => {
                    self.raw(&buffer[..read])?;
                    left -= read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
        self.raw(padding(size))
    }

    fn header(
        &mut self,
        path: &[u8],
        kind: EntryType,
        attributes: Attributes,
        size: u64,
        target: &[u8],
    ) -> Result<(), ImageError> {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(attributes.mode);
        header.set_uid(u64::from(attributes.owner.0));
        header.set_gid(u64::from(attributes.owner.1));
        header.set_mtime(attributes.mtime);
        header.set_size(size);
        self.long(path, EntryType::GNULongName)?;
        self.long(target, EntryType::GNULongLink)?;
        let fields = header.as_old_mut();
        let (name, link) = (shortened(path), shortened(target));
        fields.name[..name.len()].copy_from_slice(name);
        fields.linkname[..link.len()].copy_from_slice(link);
        header.set_cksum();
        self.raw(header.as_bytes())
    }

    /// GNU tar's way to write names that the header has no room for. (The `tar` crate's own writer takes paths apart and
    /// puts them together again; link targets should stay as they are.)
    fn long(&mut self, text: &[u8], kind: EntryType) -> Result<(), ImageError> {
        if text.len() <= shortened(text).len() {
            return Ok(());
        }
        let mut header = Header::new_gnu();
        let name = b"././@LongLink";
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(text.len() as u64 + 1);
        header.set_cksum();
        self.raw(header.as_bytes())?;
        self.raw(text)?;
        self.raw(b"\0")?;
        self.raw(padding(text.len() as u64 + 1))
    }

    /// Ends the archive.
    pub(super) fn finish(mut self) -> Result<Finished, ImageError> {
        self.raw(&[0; 2 * BLOCK])?;
        let hashing =
            self.writer.into_inner().map_err(|error| ImageError::io("spool in", &self.spool_dir)(error.into_error()))?;
        Ok(Finished { file: hashing.file, diff_id: Digest::from_hasher(hashing.hasher), length: hashing.length })
    }
}

/// What the header's field of 100 bytes holds of a name.
fn shortened(text: &[u8]) -> &[u8] {
    &text[..text.len().min(100)]
}

fn padding(size: u64) -> &'static [u8] {
    static ZEROES: [u8; BLOCK] = [0; BLOCK];
    let over = usize::try_from(size % BLOCK as u64).unwrap_or_default();
    if over == 0 { &[] } else { &ZEROES[over..] }
}
