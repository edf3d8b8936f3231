//! An export of the engine, streamed: what `docker save` writes, of either kind. 20.10 writes `<id>.json`,
//! `<id>/layer.tar` (a layer that is there already as a symbolic link) and `manifest.json` at the end; 25 and later an OCI
//! layout, `blobs/sha256/*`, beside the same `manifest.json`. So `manifest.json` leads, and layers are known by diff ID.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::compress::{Form, Hashing, Spooled, into_blob};
use super::layout::{self, Contents};
use super::spool::Spool;
use super::{Blobs, Exported, Finished, LayerBlob, StoreError, diff_ids};
use crate::event::{Event, Events};
use crate::oci::{Compression, Digest};

/// How much is handed on at once.
const CHUNK: usize = 256 << 10;
/// No manifest and no configuration is larger.
const LARGEST_JSON: u64 = 8 << 20;

/// Reads an export to its end and gives the `wanted` images (names as in `manifest.json`'s `RepoTags`), in that order.
/// Layers are spooled to the disk as they come and compressed on all cores meanwhile; one that is known is not
/// compressed again. Each goes to `finished` as soon as it is a blob. Memory is bounded by a few buffers per core.
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
    let spool = Arc::new(blobs.spool()?);
    let (bytes, incoming) = mpsc::channel(8);
    let (found, layers) = mpsc::unbounded_channel();
    let parser = tokio::task::spawn_blocking({
        let spool = Arc::clone(&spool);
        move || parse(Incoming { chunks: incoming, current: Bytes::new() }, &spool, &found)
    });
    let pump = async {
        pump(export, bytes, events).await;
        Ok(())
    };
    let parsed = async { parser.await.map_err(|_| StoreError::Worker)? };
    let ((), contents, (mut done, zstd)) =
        tokio::try_join!(pump, parsed, compress(layers, compression, blobs, &spool, finished))?;
    for (path, layer) in zstd {
        let expected = layout::diff_id_of(&contents, &path)?;
        let (blobs, spool) = (Arc::clone(blobs), Arc::clone(&spool));
        let blob = tokio::task::spawn_blocking(move || into_blob(&blobs, &spool, layer, compression, expected));
        let blob = blob.await.map_err(|_| StoreError::Worker)??;
        let _ = finished.send(blob.clone());
        done.insert(path, blob);
    }
    wanted.iter().map(|name| assemble(name, &contents, &done, blobs)).collect()
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

/// From the engine to the parser. A parser that ends early says why itself.
async fn pump(mut export: impl AsyncRead + Send + Unpin, to: mpsc::Sender<io::Result<Bytes>>, events: &Events) {
    let (mut total, mut told) = (0_u64, 0_u64);
    let tell = |bytes, total| {
        events.emit(Event::Transfer { id: "export".to_owned(), what: "export from the engine".to_owned(), bytes, total });
    };
    loop {
        let mut chunk = BytesMut::with_capacity(CHUNK);
        match export.read_buf(&mut chunk).await {
            Ok(0) => break,
            Ok(read) => total += read as u64,
            Err(error) => {
                let _ = to.send(Err(error)).await;
                return;
            }
        }
        if to.send(Ok(chunk.freeze())).await.is_err() {
            return;
        }
        if total - told >= 4 << 20 {
            told = total;
            tell(total, None);
        }
    }
    tell(total, Some(total));
}

type Found = (String, Spooled);

/// Compresses layers as they are found, at most one per core at a time; gives those back that need `manifest.json` first.
async fn compress(
    mut layers: mpsc::UnboundedReceiver<Found>,
    compression: Compression,
    blobs: &Arc<Blobs>,
    spool: &Arc<Spool>,
    finished: &Finished,
) -> Result<(HashMap<String, LayerBlob>, Vec<Found>), StoreError> {
    let cores = std::thread::available_parallelism().map_or(2, usize::from);
    let permits = Arc::new(Semaphore::new(cores));
    let mut tasks = JoinSet::new();
    let (mut done, mut zstd) = (HashMap::new(), Vec::new());
    while let Some((path, layer)) = layers.recv().await {
        if layer.form == Form::Zstd {
            zstd.push((path, layer));
            continue;
        }
        let permit = Arc::clone(&permits).acquire_owned().await.map_err(|_| StoreError::Worker)?;
        let (blobs, spool, finished) = (Arc::clone(blobs), Arc::clone(spool), finished.clone());
        tasks.spawn_blocking(move || {
            let blob = into_blob(&blobs, &spool, layer, compression, None);
            drop(permit);
            let blob = blob?;
            // Nobody has to listen.
            let _ = finished.send(blob.clone());
            Ok::<_, StoreError>((path, blob))
        });
        while let Some(ended) = tasks.try_join_next() {
            done.extend([ended.map_err(|_| StoreError::Worker)??]);
        }
    }
    while let Some(ended) = tasks.join_next().await {
        done.extend([ended.map_err(|_| StoreError::Worker)??]);
    }
    Ok((done, zstd))
}

/// The chunks as a blocking reader. It ends where the sender is dropped.
struct Incoming {
    chunks: mpsc::Receiver<io::Result<Bytes>>,
    current: Bytes,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.chunks.blocking_recv() {
                Some(chunk) => self.current = chunk?,
                None => return Ok(0),
            }
        }
        let take = self.current.len().min(buffer.len());
        self.current.copy_to_slice(&mut buffer[..take]);
        Ok(take)
    }
}

/// Reads the archive: small JSON into memory, layers into the spool.
fn parse(export: Incoming, spool: &Spool, found: &mpsc::UnboundedSender<Found>) -> Result<Contents, StoreError> {
    let broken = |source| StoreError::Export { source };
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
        } else if kind.is_file() {
            if path.ends_with("/layer.tar") || path.starts_with("blobs/") {
                let mut head = Vec::with_capacity(512);
                entry.by_ref().take(512).read_to_end(&mut head).map_err(broken)?;
                if is_json(&head) {
                    if entry.size() <= LARGEST_JSON {
                        entry.read_to_end(&mut head).map_err(broken)?;
                        whole(head.len() as u64, entry.size())?;
                        contents.json.insert(path, Bytes::from(head));
                    }
                } else {
                    let layer = spooled(&head, &mut entry, spool)?;
                    whole(layer.size, entry.size())?;
                    layout::check_name(&path, layer.digest)?;
                    // Nobody listens any more when the work was given up: then the result does not matter.
                    let _ = found.send((path, layer));
                }
            } else if path.ends_with(".json") && entry.size() <= LARGEST_JSON {
                let mut text = Vec::new();
                entry.read_to_end(&mut text).map_err(broken)?;
                whole(text.len() as u64, entry.size())?;
                contents.json.insert(path, Bytes::from(text));
            }
        }
    }
    // The engine is let to finish its last padding.
    io::copy(&mut archive.into_inner(), &mut io::sink()).map_err(broken)?;
    Ok(contents)
}

/// An archive that ends in the middle of a file is not told by the reader of the file.
fn whole(read: u64, size: u64) -> Result<(), StoreError> {
    if read == size { Ok(()) } else { Err(StoreError::Export { source: io::ErrorKind::UnexpectedEof.into() }) }
}

/// A file in `blobs/` is a layer or JSON. A tar archive may begin with any name, but says `ustar` where docker writes it.
fn is_json(head: &[u8]) -> bool {
    head.first() == Some(&b'{') && head.get(257..262) != Some(b"ustar")
}

fn spooled(head: &[u8], rest: &mut impl Read, spool: &Spool) -> Result<Spooled, StoreError> {
    let (path, file) = spool.file()?;
    let mut hashing = Hashing::new(&file);
    let failed = |source| StoreError::Folder { what: "write", path: path.clone(), source };
    hashing.write_all(head).map_err(failed)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match rest.read(&mut buffer).map_err(|source| StoreError::Export { source })? {
            0 => break,
            read => hashing.write_all(&buffer[..read]).map_err(failed)?,
        }
    }
    let (digest, size): (Digest, u64) = hashing.finish();
    Ok(Spooled { path, file, size, digest, form: Form::of(head) })
}
