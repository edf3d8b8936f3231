//! A download as a layer: laid at its place, and nowhere else.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek as _};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use tar::EntryType;

use super::ImageError;
use super::layer::{Attributes, Layer};
use crate::family::{Place, Unpack};

/// What was written at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Written {
    Folder,
    File,
    Link,
}

/// Writes the download `path` into the layer.
pub(super) fn artifact(path: &Path, place: &Place, epoch: u64, layer: &mut Layer) -> Result<(), ImageError> {
    let parts = match place.path.strip_prefix('/') {
        Some(rest) if !rest.split('/').any(|part| matches!(part, "" | "." | "..")) => rest,
        _ => return Err(ImageError::Place(place.path.clone())),
    };
    for (slash, _) in parts.match_indices('/') {
        layer.folder(&parts.as_bytes()[..slash], Attributes { mode: 0o755, owner: (0, 0), mtime: epoch })?;
    }
    match place.unpack {
        Unpack::File => single(path, parts, place.owner, epoch, layer),
        Unpack::TarGz => Unpacker { path, root: parts.as_bytes(), place, epoch, layer, written: HashMap::new() }.run(),
    }
}

/// One file: to be executed where it begins like something that can be.
fn single(path: &Path, target: &str, owner: (u32, u32), mtime: u64, layer: &mut Layer) -> Result<(), ImageError> {
    let failed = || ImageError::io("read", path);
    let mut file = File::open(path).map_err(failed())?;
    let size = file.metadata().map_err(failed())?.len();
    let mut start = Vec::new();
    (&mut file).take(4).read_to_end(&mut start).map_err(failed())?;
    file.rewind().map_err(failed())?;
    let program = start.starts_with(b"#!") || start == b"\x7fELF";
    let attributes = Attributes { mode: if program { 0o755 } else { 0o644 }, owner, mtime };
    layer.file(target.as_bytes(), attributes, size, &mut file, failed())
}

struct Unpacker<'a> {
    path: &'a Path,
    /// The folder that is unpacked in, without its leading slash.
    root: &'a [u8],
    place: &'a Place,
    epoch: u64,
    layer: &'a mut Layer,
    written: HashMap<Vec<u8>, Written>,
}

impl Unpacker<'_> {
    fn run(mut self) -> Result<(), ImageError> {
        let path = self.path;
        let broken = |source| ImageError::Archive { path: path.to_owned(), source };
        let file = File::open(path).map_err(ImageError::io("read", path))?;
        let mut archive = tar::Archive::new(MultiGzDecoder::new(BufReader::with_capacity(128 * 1024, file)));
        self.folder(self.root.to_vec(), 0o755)?;
        for entry in archive.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            self.entry(&mut entry)?;
        }
        if self.written.len() > 1 { Ok(()) } else { Err(ImageError::Empty(path.to_owned())) }
    }

    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> Result<(), ImageError> {
        let kind = entry.header().entry_type();
        if kind == EntryType::XGlobalHeader {
            return Ok(());
        }
        let name = entry.path_bytes().into_owned();
        let refused = |why| {
            let entry = String::from_utf8_lossy(&name).into_owned();
            ImageError::Entry { path: self.path.to_owned(), entry, why }
        };
        let Some(target) = self.placed(&name).map_err(refused)? else {
            return if kind.is_dir() { Ok(()) } else { Err(refused("nothing is left of its name without the folders before")) };
        };
        for (slash, _) in target.iter().enumerate().filter(|(at, byte)| **byte == b'/' && *at > self.root.len()) {
            if self.written.get(&target[..slash]).is_some_and(|written| *written != Written::Folder) {
                return Err(refused("it leads through something that is no folder"));
            }
        }
        let mode = entry.header().mode().map_err(|_| refused("it has no mode"))? & 0o777;
        let attributes = Attributes { mode, owner: self.place.owner, mtime: self.epoch };
        let written = match kind {
            EntryType::Directory => {
                self.parents(&target)?;
                return self.folder(target, mode);
            }
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Written::File,
            EntryType::Symlink => Written::Link,
            EntryType::Link => Written::File,
            EntryType::Char | EntryType::Block => return Err(refused("it is a device node")),
            _ => return Err(refused("it is neither a file, a folder nor a link")),
        };
        if self.written.get(&target) == Some(&Written::Folder) {
            return Err(refused("a folder stands there"));
        }
        let link = entry.link_name_bytes().map(|link| link.into_owned()).unwrap_or_default();
        let link = match kind {
            EntryType::Link => match self.placed(&link).map_err(refused)? {
                Some(link) if self.written.get(&link) == Some(&Written::File) => link,
                _ => return Err(refused("it is a hard link to no file before it")),
            },
            EntryType::Symlink if link.is_empty() => return Err(refused("it is a link to nothing")),
            _ => link,
        };
        self.parents(&target)?;
        match kind {
            EntryType::Symlink => self.layer.link(&target, Attributes { mode: 0o777, ..attributes }, &link, false)?,
            EntryType::Link => self.layer.link(&target, attributes, &link, true)?,
            _ => {
                let (path, size) = (self.path, entry.size());
                let broken = |source: io::Error| ImageError::Archive { path: path.to_owned(), source };
                self.layer.file(&target, attributes, size, entry, broken)?;
            }
        }
        self.written.insert(target, written);
        Ok(())
    }

    /// Where an entry comes to lie, without a leading slash; none for the place itself and the folders before it.
    fn placed(&self, name: &[u8]) -> Result<Option<Vec<u8>>, &'static str> {
        if name.starts_with(b"/") {
            return Err("its name is absolute");
        }
        let mut target = self.root.to_vec();
        let mut parts = 0;
        for part in name.split(|byte| *byte == b'/').filter(|part| !part.is_empty() && *part != b".") {
            if part == b".." {
                return Err("its name leads out of the archive");
            }
            // In a layer such a name would delete what lies below.
            if part.starts_with(b".wh.") {
                return Err("its name has a meaning of its own in a layer");
            }
            parts += 1;
            if parts > self.place.strip {
                target.push(b'/');
                target.extend_from_slice(part);
            }
        }
        Ok((parts > self.place.strip).then_some(target))
    }

    /// The folders that an entry lies in, where the archive does not name them.
    fn parents(&mut self, target: &[u8]) -> Result<(), ImageError> {
        let slashes = (self.root.len() + 1..target.len()).filter(|at| target[*at] == b'/');
        for slash in slashes.collect::<Vec<_>>() {
            self.folder(target[..slash].to_vec(), 0o755)?;
        }
        Ok(())
    }

    /// A folder, once.
    fn folder(&mut self, path: Vec<u8>, mode: u32) -> Result<(), ImageError> {
        if self.written.contains_key(&path) {
            return Ok(());
        }
        self.layer.folder(&path, Attributes { mode, owner: self.place.owner, mtime: self.epoch })?;
        self.written.insert(path, Written::Folder);
        Ok(())
    }
}
