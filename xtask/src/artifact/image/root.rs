//! A root file system as a layer: byte for byte, without device nodes.

use std::fs::File;
use std::io::{BufReader, Read as _};
use std::path::Path;

use super::ImageError;
use super::layer::Layer;

/// Copies the archive `path`. Entries are copied with their own headers, extended ones included, so that nothing that
/// they say (capabilities among it) is lost.
pub(super) fn copy(path: &Path, layer: &mut Layer) -> Result<(), ImageError> {
    let broken = |source| ImageError::Archive { path: path.to_owned(), source };
    let file = File::open(path).map_err(ImageError::io("read", path))?;
    let mut archive = tar::Archive::new(BufReader::with_capacity(256 * 1024, file));
    // Headers that speak of the entry that follows: written with it, or not at all.
    let mut before = Vec::new();
    let mut any = false;
    for entry in archive.entries().map_err(broken)?.raw(true) {
        let mut entry = entry.map_err(broken)?;
        let kind = entry.header().entry_type();
        let size = entry.header().entry_size().map_err(broken)?;
        if kind.is_pax_local_extensions() || kind.is_gnu_longname() || kind.is_gnu_longlink() {
            before.extend_from_slice(entry.header().as_bytes());
            entry.read_to_end(&mut before).map_err(broken)?;
            before.resize(before.len().next_multiple_of(super::layer::BLOCK), 0);
            continue;
        }
        let ahead = std::mem::take(&mut before);
        if kind.is_character_special() || kind.is_block_special() {
            continue;
        }
        if kind.is_gnu_sparse() {
            let entry = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            return Err(ImageError::Entry { path: path.to_owned(), entry, why: "it is a sparse file" });
        }
        any = true;
        layer.raw(&ahead)?;
        layer.raw(entry.header().as_bytes())?;
        layer.data(size, &mut entry, broken)?;
    }
    if any { Ok(()) } else { Err(ImageError::Empty(path.to_owned())) }
}
