//! The tar of a layer, read once from its begin to its end.

use std::cell::Cell;
use std::collections::HashMap;
use std::io::{self, BufReader, Read};
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest as _, Sha256};
use tar::EntryType;

use super::{ContentsError, Entry, EntryKind, Evidence, Finding, Layer, Open, Package, PackageKind, Says, Shelf};
use super::{auditable, debian, forbidden, node, python, secrets};
use crate::oci::Digest;

/// How much of a file is looked at together.
const PIECE: usize = 256 << 10;
/// Larger evidence is none: the status of two thousand packages has 2 MB.
const LARGEST_EVIDENCE: u64 = 32 << 20;
/// Of larger binaries the crates are not looked for: that takes the whole of one in memory.
const LARGEST_ELF: u64 = 16 << 20;
/// What comes before an entry is kept in memory: names, extended attributes. A path has 4 kB at most, an attribute 64 kB.
const LARGEST_HEADERS: u64 = 4 << 20;
/// A sparse file may claim any size with hardly a byte of it in the tar.
const LARGEST_SPARSE: u64 = 64 << 30;
/// How much of a file tells whether it is text (as git does it).
const TELLING: usize = 8000;

/// What is in the layer `diff_id`, whose tar `reader` gives.
///
/// # Errors
/// It cannot be read, is no tar, or is another layer.
pub fn read_layer(reader: impl Read, diff_id: Digest) -> io::Result<Layer> {
    let from = BufReader::with_capacity(PIECE, reader);
    let left = Cell::new(LARGEST_HEADERS);
    let mut archive = tar::Archive::new(Hashing { from, sha256: Sha256::new(), bytes: 0, left: &left });
    let mut reading = Reading::default();
    for entry in archive.entries()? {
        let mut entry = entry?;
        left.set(u64::MAX);
        reading.entry(&mut entry)?;
        // What nobody wanted is not counted as headers of the next one.
        io::copy(&mut entry, &mut io::sink())?;
        left.set(LARGEST_HEADERS);
    }
    left.set(u64::MAX);
    let mut hashing = archive.into_inner();
    io::copy(&mut hashing, &mut io::sink())?;
    let found = Digest::from_hasher(hashing.sha256);
    if found != diff_id {
        return Err(invalid(&format!("its digest is {found}")));
    }
    Ok(reading.finish(diff_id, hashing.bytes))
}

/// Layers by name: from the shelf, or opened, read (by two threads) and put there. In the order of `wanted`.
///
/// # Errors
/// One cannot be read.
pub fn read_layers(shelf: &Shelf, wanted: Vec<(Digest, Open)>) -> Result<Vec<Arc<Layer>>, ContentsError> {
    let order: Vec<Digest> = wanted.iter().map(|(diff_id, _)| *diff_id).collect();
    let mut left = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for (diff_id, open) in wanted {
        if seen.insert(diff_id) && shelf.layer(diff_id).is_none() {
            left.push((diff_id, open));
        }
    }
    // The largest layers are mostly the upper ones: they begin.
    let left = Mutex::new(left);
    let next = || left.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || -> Result<(), ContentsError> {
        while let Some((diff_id, open)) = next() {
            let read = open().and_then(|tar| read_layer(tar, diff_id));
            shelf.put(read.map_err(|source| ContentsError::Layer { diff_id, source })?)?;
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(work);
        let own = work();
        other.join().map_err(|_| ContentsError::Worker)?.and(own)
    })?;
    let kept = |diff_id: &Digest| shelf.layer(*diff_id).ok_or(ContentsError::Worker);
    order.iter().map(kept).collect()
}

struct Hashing<'a, R> {
    from: R,
    sha256: Sha256,
    bytes: u64,
    /// So much may still be read.
    left: &'a Cell<u64>,
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        let left = self.left.get().checked_sub(read as u64);
        self.left.set(left.ok_or_else(|| invalid("the headers of an entry are larger than any path or attribute"))?);
        self.sha256.update(buffer.get(..read).unwrap_or_default());
        self.bytes += read as u64;
        Ok(read)
    }
}

#[derive(Default)]
struct Reading {
    entries: Vec<Entry>,
    removed: Vec<String>,
    hidden: Vec<String>,
    evidence: Vec<Evidence>,
    findings: Vec<Finding>,
    /// Files that a record lists, by the folder of the record.
    records: Vec<(String, Vec<String>)>,
    /// Hard links and what they name.
    links: Vec<(usize, String)>,
    buffer: Vec<u8>,
}

impl Reading {
    fn entry(&mut self, entry: &mut tar::Entry<'_, impl Read>) -> io::Result<()> {
        let path = normal(&entry.path_bytes());
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
        if name == ".wh..wh..opq" {
            self.hidden.push(folder.to_owned());
            return Ok(());
        }
        if let Some(name) = name.strip_prefix(".wh.") {
            // `.wh..wh.…` is what aufs keeps for itself.
            if !name.starts_with(".wh.") {
                self.removed.push(if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") });
            }
            return Ok(());
        }
        if path.is_empty() {
            return Ok(());
        }
        let header = entry.header();
        let kind = match header.entry_type() {
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => EntryKind::File,
            EntryType::Directory => EntryKind::Folder,
            EntryType::Symlink => EntryKind::Link,
            EntryType::Link => EntryKind::HardLink,
            EntryType::Char | EntryType::Block | EntryType::Fifo => EntryKind::Other,
            // Headers of the archive as a whole.
            _ => return Ok(()),
        };
        // Fields may be empty.
        let (mode, uid, gid) = (header.mode().unwrap_or_default() & 0o7777, number(header.uid()), number(header.gid()));
        let bytes = if kind == EntryKind::File { entry.size() } else { 0 };
        if header.entry_type() == EntryType::GNUSparse && bytes > LARGEST_SPARSE {
            return Err(invalid(&format!("`{path}` claims to be a sparse file of {bytes} bytes")));
        }
        if let Some(what) = forbidden::forbidden(&path, kind, bytes) {
            self.findings.push(Finding { path: path.clone(), what: what.to_owned() });
        }
        let content = match kind {
            EntryKind::File => self.file(&path, bytes, entry)?,
            EntryKind::Link => {
                let target = entry.link_name_bytes().unwrap_or_default();
                let says = debian::read_link(&path, &String::from_utf8_lossy(&target));
                self.evidence.extend(says.map(|says| Evidence { path: path.clone(), says }));
                Digest::of(target).short(16)
            }
            EntryKind::HardLink => {
                self.links.push((self.entries.len(), normal(&entry.link_name_bytes().unwrap_or_default())));
                String::new()
            }
            EntryKind::Folder | EntryKind::Other => String::new(),
        };
        self.entries.push(Entry { path, kind, bytes, mode, uid, gid, content });
        Ok(())
    }

    /// Reads a file; the hash of its content.
    fn file(&mut self, path: &str, size: u64, file: &mut impl Read) -> io::Result<String> {
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let speaks = debian::is_evidence(path) || python::is_evidence(path) || python::is_record(path);
        let speaks = speaks || node::is_evidence(path) || node::is_collection(path) || secrets::may_hold(path);
        // One more than there is: what is read to its end is known to be whole.
        let whole = usize::try_from(size).map_or(PIECE, |size| size + 1).max(PIECE);
        let whole = if speaks && size <= LARGEST_EVIDENCE { whole } else { PIECE };
        let mut sha256 = Sha256::new();
        let mut more = fill(file, &mut buffer, whole)?;
        sha256.update(&buffer);
        let is_elf = auditable::is_elf(&buffer);
        if is_elf && size <= LARGEST_ELF {
            let start = buffer.len();
            file.read_to_end(&mut buffer)?;
            sha256.update(buffer.get(start..).unwrap_or_default());
            let packages = auditable::read(path, &buffer);
            if !packages.is_empty() {
                self.evidence.push(Evidence { path: path.to_owned(), says: Says::Packages(packages) });
            }
            more = false;
        }
        if speaks && !more {
            self.speaks(path, &buffer);
        }
        let is_text = !buffer.get(..TELLING.min(buffer.len())).unwrap_or_default().contains(&0);
        let scans = is_text && !secrets::is_example(path);
        let mut found = if scans { secrets::in_text(&buffer) } else { Vec::new() };
        while more {
            // The end of one piece is the begin of the next: what lies on the edge is in one of them.
            let kept = if scans { secrets::OVERLAP.min(buffer.len()) } else { 0 };
            let start = buffer.len() - kept;
            buffer.drain(..start);
            more = fill(file, &mut buffer, PIECE + kept)?;
            sha256.update(buffer.get(kept..).unwrap_or_default());
            if scans {
                found.extend(secrets::in_text(&buffer));
            }
        }
        found.sort_unstable();
        found.dedup();
        self.findings.extend(found.into_iter().map(|what| Finding { path: path.to_owned(), what: what.to_owned() }));
        buffer.shrink_to(4 * PIECE);
        self.buffer = buffer;
        Ok(Digest::from_hasher(sha256).short(16))
    }

    fn speaks(&mut self, path: &str, bytes: &[u8]) {
        if python::is_record(path) {
            self.records.push((path.rsplit_once('/').map_or("", |(folder, _)| folder).to_owned(), python::recorded(path, bytes)));
        }
        if let Some(what) = secrets::in_file(path, bytes) {
            self.findings.push(Finding { path: path.to_owned(), what: what.to_owned() });
        }
        let one = |package: Option<Package>| package.map(|package| Says::Packages(vec![package]));
        let says = match path {
            _ if debian::is_evidence(path) => debian::read(path, bytes),
            _ if python::is_evidence(path) => one(python::read(path, bytes)),
            _ if node::is_evidence(path) => one(node::read(path, bytes)),
            _ if node::is_collection(path) => one(node::read_collection(path, bytes)),
            _ => None,
        };
        self.evidence.extend(says.map(|says| Evidence { path: path.to_owned(), says }));
    }

    fn finish(mut self, diff_id: Digest, bytes: u64) -> Layer {
        let places: HashMap<String, usize> =
            self.entries.iter().enumerate().map(|(at, entry)| (entry.path.clone(), at)).collect();
        for (link, target) in std::mem::take(&mut self.links) {
            let content = places.get(&target).and_then(|at| self.entries.get(*at)).map(|target| target.content.clone());
            if let (Some(content), Some(link)) = (content, self.entries.get_mut(link)) {
                link.content = content;
            }
        }
        self.weigh(&places);
        self.findings.sort();
        self.findings.dedup();
        let Self { entries, removed, hidden, evidence, findings, .. } = self;
        Layer { diff_id, bytes, entries, removed, hidden, evidence, findings }
    }

    /// The bytes of packages, as far as their files are of this layer (an installer writes all of one at once).
    fn weigh(&mut self, places: &HashMap<String, usize>) {
        let size = |path: &String| places.get(path).and_then(|at| self.entries.get(*at)).map_or(0, |entry| entry.bytes);
        let recorded: HashMap<&str, u64> =
            self.records.iter().map(|(folder, files)| (folder.as_str(), files.iter().map(size).sum())).collect();
        let mut in_folders: HashMap<&str, u64> = HashMap::new();
        for entry in &self.entries {
            for owner in [node::owner(&entry.path), collection(&entry.path)].into_iter().flatten() {
                *in_folders.entry(owner).or_default() += entry.bytes;
            }
        }
        for evidence in &mut self.evidence {
            let Says::Packages(packages) = &mut evidence.says else { continue };
            let folder = evidence.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            for package in packages {
                match package.kind {
                    PackageKind::Python => package.bytes = recorded.get(folder).copied().unwrap_or_default(),
                    PackageKind::Npm | PackageKind::Collection => {
                        package.bytes = in_folders.get(folder).copied().unwrap_or_default();
                    }
                    PackageKind::Debian | PackageKind::Pin | PackageKind::Crate => {}
                }
            }
        }
    }
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The folder of the collection that a file belongs to.
fn collection(path: &str) -> Option<&str> {
    const ABOVE: &str = "ansible_collections/";
    let start = path.find(ABOVE)? + ABOVE.len();
    let (end, _) = path.get(start..)?.match_indices('/').nth(1)?;
    path.get(..start + end)
}

/// Reads until `buffer` has `length` bytes; whether there may be more.
fn fill(from: &mut impl Read, buffer: &mut Vec<u8>, length: usize) -> io::Result<bool> {
    let wanted = length.saturating_sub(buffer.len());
    let read = from.by_ref().take(wanted as u64).read_to_end(buffer)?;
    Ok(read == wanted && wanted > 0)
}

/// `./usr/bin/` as `usr/bin`. What is no UTF-8 is replaced.
fn normal(path: &[u8]) -> String {
    let path = String::from_utf8_lossy(path);
    let path = path.trim_end_matches('/');
    let mut path = path.trim_start_matches('/');
    while let Some(rest) = path.strip_prefix("./") {
        path = rest.trim_start_matches('/');
    }
    if path == "." { String::new() } else { path.to_owned() }
}

fn number(id: io::Result<u64>) -> u32 {
    u32::try_from(id.unwrap_or_default()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tar_that_claims_anything_takes_neither_memory_nor_time() {
        let refused =
            |bytes: &[u8]| read_layer(bytes, Digest::of(bytes)).map(|layer| layer.entries.len()).unwrap_err().to_string();
        let header = |kind: EntryType, size: u64| {
            let mut header = tar::Header::new_gnu();
            header.set_path("name").unwrap();
            header.set_entry_type(kind);
            header.set_size(size);
            header
        };
        let one = |mut header: tar::Header, content: &[u8]| {
            header.set_cksum();
            [header.as_bytes(), content].concat()
        };
        let rest = [one(header(EntryType::Regular, 0), b""), vec![0; 1024]].concat();
        for kind in [EntryType::GNULongName, EntryType::GNULongLink, EntryType::XHeader] {
            let long = vec![b'a'; 8 << 20];
            let bytes = [one(header(kind, long.len() as u64), &long), rest.clone()].concat();
            assert!(refused(&bytes).contains("larger than any path"), "{kind:?}: {}", refused(&bytes));
        }
        // What is no header may be of any size, wanted or not.
        let file = vec![0; 8 << 20];
        for kind in [EntryType::Regular, EntryType::Directory, EntryType::XGlobalHeader] {
            let bytes = [one(header(kind, file.len() as u64), &file), rest.clone()].concat();
            assert!(read_layer(bytes.as_slice(), Digest::of(&bytes)).is_ok(), "{kind:?}");
        }
        let mut sparse = header(EntryType::GNUSparse, 0);
        let gnu = sparse.as_gnu_mut().unwrap();
        gnu.set_real_size(1 << 60);
        gnu.sparse[0].set_offset(1 << 60);
        gnu.sparse[0].set_length(0);
        let bytes = [one(sparse, b""), rest].concat();
        assert!(
            refused(&bytes).contains("`name` claims to be a sparse file of 1152921504606846976 bytes"),
            "{}",
            refused(&bytes)
        );
    }
}
