//! Blobs at a registry: whether they are there, and sending them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};
use http::{Method, StatusCode, header};
use reqwest::{Body, Url};
use tokio_util::io::ReaderStream;

use super::answer::{Answer, Trouble};
use super::transport::Ask;
use super::{Registry, RegistryError};
use crate::oci::Digest;

/// A file is read in pieces of this size: with what HTTP holds back, what an upload takes of memory.
const PIECE: usize = 128 << 10;

/// The bytes of a blob.
#[derive(Debug, Clone)]
pub enum BlobSource {
    /// In a file: streamed, never in memory as a whole.
    File(PathBuf),
    /// In memory: image configurations.
    Memory(Bytes),
}

/// A blob that can be uploaded.
#[derive(Debug, Clone)]
pub struct Blob {
    /// What it is called.
    pub digest: Digest,
    /// Its bytes in all.
    pub size: u64,
    /// Where they are.
    pub source: BlobSource,
}

impl Registry {
    /// Whether the blob is there.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn has_blob(&self, digest: Digest) -> Result<bool, RegistryError> {
        Ok(self.head_blob(digest).await?.is_some())
    }

    /// Whether the blob is there in full, as far as the registry says: it need not tell a size.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn holds_blob(&self, digest: Digest, size: u64) -> Result<bool, RegistryError> {
        Ok(self.head_blob(digest).await?.is_some_and(|answer| told_size(&answer).is_none_or(|told| told == size)))
    }

    /// How many bytes the registry says that the blob has; none where it is not there. One `HEAD`.
    ///
    /// # Errors
    /// The registry cannot be asked, or does not say.
    pub async fn blob_size(&self, digest: Digest) -> Result<Option<u64>, RegistryError> {
        let Some(answer) = self.head_blob(digest).await? else { return Ok(None) };
        let what = format!("look for blob {}", digest.short(12));
        told_size(&answer).map(Some).ok_or_else(|| self.transport.protocol(&what, "it does not say how long it is"))
    }

    async fn head_blob(&self, digest: Digest) -> Result<Option<Answer>, RegistryError> {
        let what = format!("look for blob {}", digest.short(12));
        let ask = self.transport.ask(Method::HEAD, &format!("blobs/{digest}"))?;
        let mut attempts = self.transport.attempts();
        loop {
            let trouble = match self.transport.once(&ask).await {
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => return Ok(None),
                Ok(answer) if !answer.status.is_success() => return Err(self.transport.unexpected(&what, &answer)),
                Ok(answer) => match answer.digest() {
                    Some(other) if other != digest => Trouble::Garbled { why: format!("it speaks of {other}") },
                    _ => return Ok(Some(answer)),
                },
                Err(trouble) => trouble,
            };
            self.transport.wait(&mut attempts, trouble, &what).await?;
        }
    }

    /// Sends a blob that is not there: one `POST` and one `PUT` with all of it. After any failure of the `PUT` the blob
    /// is looked for before it is sent again, in a session of its own. `progress` counts the bytes of the current
    /// attempt.
    ///
    /// # Errors
    /// The blob could not be sent, or not be read here.
    pub async fn send(&self, blob: &Blob, progress: &Arc<AtomicU64>) -> Result<(), RegistryError> {
        let what = format!("take blob {}", blob.digest.short(12));
        let (mut attempts, mut renewed) = (self.transport.attempts(), false);
        loop {
            let mut location = match self.begin(&what).await? {
                Ok(location) => location,
                Err(trouble) => {
                    self.transport.wait(&mut attempts, trouble, &what).await?;
                    continue;
                }
            };
            location.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
            let mut refused = None;
            let trouble = match self.commit(blob, location, progress).await? {
                Ok(answer) if answer.status == StatusCode::CREATED && answer.digest().is_none_or(|it| it == blob.digest) => {
                    return Ok(());
                }
                Ok(answer) if answer.status.is_success() => {
                    Trouble::Garbled { why: format!("{} without the blob", answer.status.as_u16()) }
                }
                // GHCR answers so to a commit that it has carried out, and to one that it has lost.
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                    Trouble::Status { status: answer.status, message: answer.message(), pause: None }
                }
                Ok(answer) => {
                    let status = answer.status;
                    refused = Some(self.transport.unexpected(&what, &answer));
                    Trouble::Protocol { why: status.to_string() }
                }
                // The session may have ended with the token: another one, and no failure.
                Err(Trouble::Stale { .. }) if !std::mem::replace(&mut renewed, true) => continue,
                Err(denied @ Trouble::Denied { .. }) => {
                    self.transport.wait(&mut attempts, denied, &what).await?;
                    continue;
                }
                Err(trouble) => trouble,
            };
            if self.has_blob(blob.digest).await? {
                return Ok(());
            }
            if let Some(refused) = refused {
                return Err(refused);
            }
            self.transport.wait(&mut attempts, trouble, &what).await?;
            // Attempts take their time: the token of the next one may end as well.
            renewed = false;
            // All of it is there, and what takes its time may be the commit.
            if progress.load(Ordering::Relaxed) >= blob.size && self.has_blob(blob.digest).await? {
                return Ok(());
            }
        }
    }

    /// Opens an upload session.
    pub(super) async fn begin(&self, what: &str) -> Result<Result<Url, Trouble>, RegistryError> {
        let ask = self.transport.ask(Method::POST, "blobs/uploads/")?.header(header::CONTENT_LENGTH, 0);
        match self.transport.once(&ask).await {
            Ok(answer) if answer.status.is_success() => Ok(self.transport.location(&ask, &answer)),
            Ok(answer) if answer.status == StatusCode::NOT_FOUND => Err(self.missing(&answer)),
            Ok(answer) => Err(self.transport.unexpected(what, &answer)),
            Err(trouble) => Ok(Err(trouble)),
        }
    }

    /// One `PUT` of all bytes.
    async fn commit(
        &self,
        blob: &Blob,
        location: Url,
        progress: &Arc<AtomicU64>,
    ) -> Result<Result<Answer, Trouble>, RegistryError> {
        let unreadable = Arc::new(OnceLock::new());
        let body = {
            let (blob, progress, unreadable) = (blob.clone(), Arc::clone(progress), Arc::clone(&unreadable));
            move || {
                progress.store(0, Ordering::Relaxed);
                body(&blob, &progress, &unreadable)
            }
        };
        let ask = Ask::new(Method::PUT, location)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, blob.size)
            .body(body)
            .only_once();
        let stalled = self.transport.patience.blob;
        let outcome = tokio::select! {
            outcome = self.transport.unhurried(&ask) => outcome,
            () = standing_still(progress, stalled) => {
                Err(Trouble::Connection { why: format!("no byte moved for {stalled:?}"), passing: true })
            }
        };
        // A file that is gone is no fault of the registry.
        let path = match &blob.source {
            BlobSource::File(path) => path.as_path(),
            BlobSource::Memory(_) => Path::new("memory"),
        };
        match unreadable.get() {
            Some((kind, why)) => {
                let source = std::io::Error::new(*kind, String::clone(why));
                Err(RegistryError::Read { path: path.display().to_string(), source })
            }
            None => Ok(outcome),
        }
    }
}

/// The specification only asks for the length.
fn told_size(answer: &Answer) -> Option<u64> {
    answer.header(header::CONTENT_LENGTH)?.parse().ok()
}

/// Why a file could not be read: errors of this kind are swallowed by what sends.
type Unreadable = Arc<OnceLock<(std::io::ErrorKind, String)>>;

/// The bytes as a stream that counts what has been taken from it.
fn body(blob: &Blob, progress: &Arc<AtomicU64>, unreadable: &Unreadable) -> Body {
    let path = match &blob.source {
        BlobSource::Memory(bytes) => {
            progress.store(bytes.len() as u64, Ordering::Relaxed);
            return Body::from(bytes.clone());
        }
        BlobSource::File(path) => path.clone(),
    };
    let (progress, unreadable, size) = (Arc::clone(progress), Arc::clone(unreadable), blob.size);
    let count = {
        let progress = Arc::clone(&progress);
        move |piece: &Bytes| {
            progress.fetch_add(piece.len() as u64, Ordering::Relaxed);
        }
    };
    let stream = async move {
        let file = tokio::fs::File::open(path).await?;
        Ok::<_, std::io::Error>(ReaderStream::with_capacity(file, PIECE).inspect_ok(count))
    };
    let whole = futures_util::stream::once(async move {
        match progress.load(Ordering::Relaxed) {
            sent if sent < size => {
                Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, format!("it has {sent} bytes instead of {size}")))
            }
            _ => Ok(Bytes::new()),
        }
    });
    let stream = futures_util::stream::once(stream).try_flatten().chain(whole);
    Body::wrap_stream(stream.inspect_err(move |error| {
        let _ = unreadable.set((error.kind(), error.to_string()));
    }))
}

/// Ends when the counter has not changed for so long.
async fn standing_still(progress: &AtomicU64, patience: Duration) {
    loop {
        let before = progress.load(Ordering::Relaxed);
        tokio::time::sleep(patience).await;
        if progress.load(Ordering::Relaxed) == before {
            return;
        }
    }
}
