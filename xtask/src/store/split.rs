//! An export of the engine, streamed: what `docker save` writes, of either kind. 20.10 writes `<id>.json`,
//! `<id>/layer.tar` (a layer that is there already as a symbolic link) and `manifest.json` at the end; 25 and later an OCI
//! layout, `blobs/sha256/*`, beside the same `manifest.json`. So `manifest.json` leads, and layers are known by diff ID.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::blobs::CHUNK;
use super::incoming::{Incoming, PATIENCE, pump};
use super::index::{LayerRecord, Maker};
use super::layout::{self, Contents};
use super::pack::{Hashing, Packed, Packer};
use super::spool::Spool;
use super::unpack::{self, Form, Held};
use super::{Blobs, Exported, Finished, LayerBlob, StoreError, diff_ids};
use crate::event::Events;
use crate::oci::Compression;

/// No manifest and no configuration is larger.
const LARGEST_JSON: u64 = 8 << 20;

/// Reads an export to its end and gives the `wanted` images (names as in `manifest.json`'s `RepoTags`), in that order.
/// Layers are compressed on all cores as they come; one that is known is not compressed again. Each goes to `finished` as
/// soon as it is a blob. Memory is bounded by a few blocks per core.
///
/// # Errors
/// The export breaks off, lacks an image, or holds something else than its digests say; or the disk is full.
pub async fn split(
    export: impl AsyncRead + Send + Unpin,
    wanted: &[String],
    compression: Compression,
    blobs: &Arc<Blobs>,
    events: &Events,
    finished: &Finished,
) -> Result<Vec<Exported>, StoreError> {
    match split_beyond(&HashSet::new(), export, wanted, compression, blobs, events, finished).await? {
        Split::Whole(images) => Ok(images),
        Split::Skipped(_) => Err(StoreError::Worker),
    }
}

/// What came of an export.
pub(super) enum Split {
    /// The images.
    Whole(Vec<Exported>),
    /// Tars of these sizes were taken for others that are known. Everything else of the export is in the store.
    Skipped(Vec<u64>),
}

/// As [`split`], but tars of the sizes `known` are only hashed: they are most likely those that are blobs already.
pub(super) async fn split_beyond(
    known: &HashSet<u64>,
    export: impl AsyncRead + Send + Unpin,
    wanted: &[String],
    compression: Compression,
    blobs: &Arc<Blobs>,
    events: &Events,
    finished: &Finished,
) -> Result<Split, StoreError> {
    let (bytes, incoming) = mpsc::channel(8);
    let (found, layers) = mpsc::unbounded_channel();
    let spool = Arc::new(blobs.spool()?);
    let sorter = Sorter { blobs: Arc::clone(blobs), compression, known: known.clone(), spool, found };
    let parser = tokio::task::spawn_blocking(move || {
        let packer = Packer::start(compression).map_err(|source| StoreError::Threads { source })?;
        sorter.parse(Incoming::new(incoming), &packer)
    });
    let pump = async {
        pump(export, bytes, events, PATIENCE).await;
        Ok(())
    };
    let parsed = async { parser.await.map_err(|_| StoreError::Worker)? };
    let ((), contents, (done, skipped)) = tokio::try_join!(pump, parsed, collect(layers, compression, blobs, finished))?;
    if !skipped.is_empty() {
        return Ok(Split::Skipped(skipped));
    }
    let images = wanted.iter().map(|name| assemble(name, &contents, &done, blobs));
    Ok(Split::Whole(images.collect::<Result<_, _>>()?))
}

/// One image out of what was found.
fn assemble(name: &str, contents: &Contents, layers: &HashMap<String, LayerBlob>, blobs: &Blobs) -> Result<Exported, StoreError> {
    let image = layout::image(contents, name)?;
    let diff_ids = diff_ids(&image.config)?;
    if diff_ids.len() != image.layers.len() {
        let why = format!("`{name}` has {} layers, its configuration names {}", image.layers.len(), diff_ids.len());
        return Err(StoreError::Format { why });
    }
    let layers = image.layers.iter().zip(diff_ids).map(|(path, expected)| {
        let lacking = || StoreError::Format { why: format!("the layer `{path}` of `{name}` is missing") };
        let layer = layers.get(path).ok_or_else(lacking)?;
        if layer.diff_id != expected {
            let what = format!("the layer `{path}` of `{name}`");
            return Err(StoreError::Mismatch { what, found: layer.diff_id, expected });
        }
        Ok(layer.clone())
    });
    let layers = layers.collect::<Result<_, _>>()?;
    blobs.remember_image(&image.config, image.config_digest, &image.ids)?;
    Ok(Exported { name: name.to_owned(), config: image.config, config_digest: image.config_digest, layers })
}

/// What the export has, as far as it is known what becomes of it.
pub(super) enum Found {
    /// A layer whose blob is there.
    Done(LayerBlob),
    /// A layer that the engine held compressed, and the spool that it is in.
    Held(Held, Arc<Spool>),
    /// A layer of this size that was taken for another one.
    Skipped(u64),
}

pub(super) type Layers = mpsc::UnboundedReceiver<Result<(String, Found), StoreError>>;

/// The blobs by their paths in the export, and the sizes of layers that were skipped in vain. Those that the engine held
/// compressed are unpacked, at most one per core at a time.
pub(super) async fn collect(
    mut layers: Layers,
    compression: Compression,
    blobs: &Arc<Blobs>,
    finished: &Finished,
) -> Result<(HashMap<String, LayerBlob>, Vec<u64>), StoreError> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let permits = Arc::new(Semaphore::new(cores));
    let (mut tasks, mut done, mut skipped, mut open) = (JoinSet::new(), HashMap::new(), Vec::new(), true);
    while open || !tasks.is_empty() {
        let (path, blob) = tokio::select! {
            layer = layers.recv(), if open => match layer.transpose()? {
                None => {
                    open = false;
                    continue;
                }
                Some((path, Found::Done(blob))) => (path, blob),
                Some((_, Found::Skipped(size))) => {
                    skipped.push(size);
                    continue;
                }
                Some((path, Found::Held(layer, spool))) => {
                    let (blobs, permits) = (Arc::clone(blobs), Arc::clone(&permits));
                    tasks.spawn(async move {
                        let permit = permits.acquire_owned().await.map_err(|_| StoreError::Worker)?;
                        let taken = tokio::task::spawn_blocking(move || unpack::take(&blobs, layer, compression));
                        let blob = taken.await.map_err(|_| StoreError::Worker)??;
                        drop((permit, spool));
                        Ok::<_, StoreError>((path, blob))
                    });
                    continue;
                }
            },
            Some(ended) = tasks.join_next() => ended.map_err(|_| StoreError::Worker)??,
        };
        // Nobody has to listen.
        let _ = finished.send(blob.clone());
        done.insert(path, blob);
    }
    Ok((done, skipped))
}

/// Reads the archive: small JSON into memory, layers into blobs.
pub(super) struct Sorter {
    pub(super) blobs: Arc<Blobs>,
    pub(super) compression: Compression,
    /// Sizes of uncompressed tars that are blobs already.
    pub(super) known: HashSet<u64>,
    pub(super) spool: Arc<Spool>,
    pub(super) found: mpsc::UnboundedSender<Result<(String, Found), StoreError>>,
}

impl Sorter {
    fn parse(&self, export: Incoming, packer: &Packer) -> Result<Contents, StoreError> {
        let mut archive = tar::Archive::new(export);
        let mut contents = Contents::default();
        for entry in archive.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let path = layout::normal(&String::from_utf8_lossy(&entry.path_bytes()));
            let kind = entry.header().entry_type();
            if kind.is_symlink() || kind.is_hard_link() {
                let target = entry.link_name_bytes().unwrap_or_default();
                let target = String::from_utf8_lossy(&target).into_owned();
                // A symbolic link is relative to its folder, a hard link to the archive.
                let base = if kind.is_symlink() { path.rsplit_once('/').map_or("", |(folder, _)| folder) } else { "" };
                contents.links.insert(path.clone(), layout::normal(&format!("{base}/{target}")));
            } else if kind.is_file() && (path.ends_with("/layer.tar") || path.starts_with("blobs/")) {
                let size = entry.size();
                let mut head = Vec::with_capacity(512);
                entry.by_ref().take(512).read_to_end(&mut head).map_err(broken)?;
                if !is_json(&head) {
                    self.layer(path, Bytes::from(head), size, &mut entry, packer)?;
                } else if size <= LARGEST_JSON {
                    entry.read_to_end(&mut head).map_err(broken)?;
                    whole(head.len() as u64, size)?;
                    contents.json.insert(path, Bytes::from(head));
                }
            } else if kind.is_file() && path.ends_with(".json") && entry.size() <= LARGEST_JSON {
                let mut text = Vec::new();
                entry.read_to_end(&mut text).map_err(broken)?;
                whole(text.len() as u64, entry.size())?;
                contents.json.insert(path, Bytes::from(text));
            }
        }
        // The engine is let to finish its last padding.
        io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
        Ok(contents)
    }

    /// Makes a blob of a layer, or finds it.
    fn layer(&self, path: String, head: Bytes, size: u64, rest: &mut impl Read, packer: &Packer) -> Result<(), StoreError> {
        let form = Form::of(&head);
        // Where the name is a digest, nothing has to be read to know what is known.
        let name = layout::named(&path);
        let there = name.and_then(|name| match form {
            Form::Tar => self.blobs.layer(name, &self.compression),
            Form::Gzip | Form::Zstd => self.blobs.held(name),
        });
        if let Some(blob) = there {
            let rest = io::copy(rest, &mut io::sink()).map_err(broken)?;
            whole(head.len() as u64 + rest, size)?;
            self.tell(Ok((path, Found::Done(blob))));
            return Ok(());
        }
        let mut tar = Read::chain(io::Cursor::new(head), rest);
        if form == Form::Tar && (name.is_some() || !self.known.contains(&size)) {
            return self.pack(path, Some(size), &mut tar, packer);
        }
        if form == Form::Tar {
            let mut hashing = Hashing::new(io::sink());
            io::copy(&mut tar, &mut hashing).map_err(broken)?;
            let (digest, read) = hashing.finish();
            whole(read, size)?;
            let blob = self.blobs.layer(digest, &self.compression);
            self.tell(Ok((path, blob.map_or(Found::Skipped(size), Found::Done))));
            return Ok(());
        }
        let (file_path, file) = self.spool.file()?;
        let mut hashing = Hashing::new(&file);
        read_into(&mut tar, &mut hashing).map_err(|failed| failed.at(&file_path))?;
        let (digest, read) = hashing.finish();
        whole(read, size)?;
        layout::check_name(&path, digest)?;
        self.tell(Ok((path, Found::Held(Held { path: file_path, size, digest, form }, Arc::clone(&self.spool)))));
        Ok(())
    }

    /// Compresses a layer while it is read; checks its `size`, where that is known. It is told when the last of its blocks is
    /// written; if it turns out to be known, that was in vain.
    pub(super) fn pack(&self, path: String, size: Option<u64>, tar: &mut impl Read, packer: &Packer) -> Result<(), StoreError> {
        let (file_path, file) = self.spool.file()?;
        let mut packing = packer.layer(file);
        let read = read_into(tar, &mut packing).map_err(|failed| failed.at(&file_path))?;
        whole(read, size.unwrap_or(read))?;
        let (blobs, compression) = (Arc::clone(&self.blobs), self.compression);
        let (found, spool, written) = (self.found.clone(), Arc::clone(&self.spool), file_path.clone());
        let done = move |packed: io::Result<Packed>| {
            let blob = packed.map_err(|source| StoreError::Folder { what: "write", path: written.clone(), source });
            let blob = blob.and_then(|Packed { diff_id, unpacked, digest, size }| {
                layout::check_name(&path, diff_id)?;
                if let Some(known) = blobs.layer(diff_id, &compression) {
                    let _ = std::fs::remove_file(&written);
                    return Ok(known);
                }
                blobs.adopt(&written, digest)?;
                let (maker, media_type) = (Maker::of(compression), compression.media_type().to_owned());
                blobs.remember_layer(LayerRecord { diff_id, unpacked, maker, digest, size, media_type })
            });
            let _ = found.send(blob.map(|blob| (path, Found::Done(blob))));
            drop(spool);
        };
        packing.finish(done).map_err(|source| StoreError::Folder { what: "write", path: file_path, source })
    }

    /// Nobody listens any more when the work was given up: then the result does not matter.
    fn tell(&self, layer: Result<(String, Found), StoreError>) {
        let _ = self.found.send(layer);
    }
}

fn broken(source: io::Error) -> StoreError {
    StoreError::Export { source }
}

/// An archive that ends in the middle of a file is not told by the reader of the file.
fn whole(read: u64, size: u64) -> Result<(), StoreError> {
    if read == size { Ok(()) } else { Err(broken(io::ErrorKind::UnexpectedEof.into())) }
}

/// A file in `blobs/` is a layer or JSON. A tar archive may begin with any name, but says `ustar` where docker writes it.
fn is_json(head: &[u8]) -> bool {
    head.first() == Some(&b'{') && head.get(257..262) != Some(b"ustar")
}

/// Which side failed.
enum CopyError {
    Export(io::Error),
    File(io::Error),
}

impl CopyError {
    fn at(self, path: &Path) -> StoreError {
        match self {
            Self::Export(source) => broken(source),
            Self::File(source) => StoreError::Folder { what: "write", path: path.to_owned(), source },
        }
    }
}

fn read_into(from: &mut impl Read, to: &mut impl Write) -> Result<u64, CopyError> {
    let (mut buffer, mut total) = (vec![0; CHUNK], 0);
    loop {
        match from.read(&mut buffer).map_err(CopyError::Export)? {
            0 => return Ok(total),
            read => {
                to.write_all(buffer.get(..read).unwrap_or_default()).map_err(CopyError::File)?;
                total += read as u64;
            }
        }
    }
}
