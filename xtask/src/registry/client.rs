//! What Gantry does at a registry: see whether a blob is there, upload it, read and write manifests.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use http::{StatusCode, header};
use reqwest::{Body, RequestBuilder, Url};
use tokio_util::io::ReaderStream;

use super::transport::{Answer, Transport, Trouble};
use super::{Access, Credential, RegistryError, Sources, api_host};
use crate::oci::{Digest, Repository, media_type};
use crate::retry::{Clock, Policy, SystemClock};

/// An upload of which no byte moves for so long is given up. A registry may take its time to commit a large layer.
const STALLED: Duration = Duration::from_secs(180);
/// Every kind of manifest that a tag may point to.
const MANIFESTS: [&str; 4] = [
    media_type::MANIFEST,
    media_type::INDEX,
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];

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

/// One repository of a registry, with one identity. Cheap to share by reference between tasks.
pub struct Registry {
    repository: Repository,
    transport: Transport,
}

impl Registry {
    /// A client for `repository` with the credential that `sources` has for it. Nothing is sent yet. Plain http is
    /// spoken to loopback and where `insecure` is set.
    ///
    /// # Errors
    /// The credential cannot be had, or TLS has no roots.
    pub async fn connect(
        repository: &Repository,
        insecure: bool,
        access: Access,
        sources: &Sources,
    ) -> Result<Self, RegistryError> {
        let credential = sources.credential(repository.registry()).await?;
        Self::with(repository, insecure, access, credential, Policy::default(), Arc::new(SystemClock::default()))
    }

    /// The same with everything given: the credential and where it came from, the bounds of retries and the clock.
    ///
    /// # Errors
    /// TLS has no roots.
    pub fn with(
        repository: &Repository,
        insecure: bool,
        access: Access,
        credential: Option<(Credential, String)>,
        policy: Policy,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, RegistryError> {
        let plain = insecure || repository.is_loopback();
        let transport = Transport::new(repository, plain, access, credential, policy, clock)?;
        Ok(Self { repository: repository.clone(), transport })
    }

    /// The repository.
    pub fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Whether the blob is there.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn has_blob(&self, digest: Digest) -> Result<bool, RegistryError> {
        let what = format!("look for blob {}", digest.short(12));
        let url = self.transport.url(&format!("blobs/{digest}"))?;
        let answer = self.transport.call(&what, &url, |http| http.head(url.clone())).await?;
        match answer.status {
            status if status.is_success() => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(self.transport.unexpected(&what, &answer)),
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
        let mut attempts = self.transport.attempts();
        loop {
            let mut location = self.begin(&what).await?;
            location.query_pairs_mut().append_pair("digest", &blob.digest.to_string());
            let trouble = match self.commit(blob, &location, progress).await? {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                Ok(answer) if answer.status == StatusCode::NOT_FOUND => {
                    // GHCR answers so to a commit that it has carried out, and to one that it has lost.
                    Trouble::Status { status: answer.status, message: answer.message(), pause: None }
                }
                Ok(answer) => return Err(self.transport.unexpected(&what, &answer)),
                Err(trouble) => trouble,
            };
            if self.has_blob(blob.digest).await? {
                return Ok(());
            }
            self.transport.wait(&mut attempts, trouble, &what).await?;
        }
    }

    /// Opens an upload session.
    async fn begin(&self, what: &str) -> Result<Url, RegistryError> {
        let url = self.transport.url("blobs/uploads/")?;
        let answer = self.transport.call(what, &url, |http| http.post(url.clone()).header(header::CONTENT_LENGTH, 0)).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Err(self.missing(&answer));
        }
        if !answer.status.is_success() {
            return Err(self.transport.unexpected(what, &answer));
        }
        let location = answer.headers.get(header::LOCATION).and_then(|value| value.to_str().ok());
        let location = location.and_then(|location| url.join(location).ok());
        let location = location.ok_or_else(|| self.transport.protocol(what, "it does not say where to upload to"))?;
        if url.scheme() == "https" && location.scheme() != "https" {
            return Err(self.transport.protocol(what, "it wants the upload without encryption"));
        }
        Ok(location)
    }

    /// One `PUT` of all bytes.
    async fn commit(
        &self,
        blob: &Blob,
        location: &Url,
        progress: &Arc<AtomicU64>,
    ) -> Result<Result<Answer, Trouble>, RegistryError> {
        if let BlobSource::File(path) = &blob.source {
            // A file that is gone is no fault of the registry.
            let opened = tokio::fs::File::open(path).await;
            opened.map_err(|source| RegistryError::Read { path: path.display().to_string(), source })?;
        }
        let putting = self.transport.once(location, |http| {
            progress.store(0, Ordering::Relaxed);
            http.put(location.clone())
                .header(header::CONTENT_TYPE, "application/octet-stream")
                .header(header::CONTENT_LENGTH, blob.size)
                .body(body(&blob.source, progress))
        });
        tokio::select! {
            outcome = putting => Ok(outcome),
            () = stalled(progress) => {
                Ok(Err(Trouble::Connection { why: format!("no byte moved for {} s", STALLED.as_secs()), passing: true }))
            }
        }
    }

    /// The digest of the manifest under a tag or digest; none where there is none. One `HEAD`.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn digest(&self, reference: &str) -> Result<Option<Digest>, RegistryError> {
        let what = format!("look for `{reference}`");
        let url = self.transport.url(&format!("manifests/{reference}"))?;
        let answer = self.transport.call(&what, &url, |http| accepting(http.head(url.clone()))).await?;
        match answer.status {
            status if status.is_success() => {
                let digest = answer.headers.get("docker-content-digest").and_then(|value| value.to_str().ok());
                match digest.and_then(|digest| digest.parse().ok()) {
                    Some(digest) => Ok(Some(digest)),
                    // The header is optional: then the manifest itself tells.
                    None => Ok(self.manifest(reference).await?.map(Digest::of)),
                }
            }
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.transport.unexpected(&what, &answer)),
        }
    }

    /// The manifest under a tag or digest; none where there is none.
    ///
    /// # Errors
    /// The registry cannot be asked.
    pub async fn manifest(&self, reference: &str) -> Result<Option<Bytes>, RegistryError> {
        let what = format!("read `{reference}`");
        let url = self.transport.url(&format!("manifests/{reference}"))?;
        let answer = self.transport.call(&what, &url, |http| accepting(http.get(url.clone()))).await?;
        match answer.status {
            status if status.is_success() => Ok(Some(answer.body)),
            StatusCode::NOT_FOUND => Ok(None),
            _ => Err(self.transport.unexpected(&what, &answer)),
        }
    }

    /// Writes a manifest by its digest, reads it back and compares the bytes.
    ///
    /// # Errors
    /// It could not be written, or what came back is something else.
    pub async fn put_manifest(&self, bytes: &Bytes, media_type: &str) -> Result<Digest, RegistryError> {
        let digest = Digest::of(bytes);
        let what = format!("take manifest {}", digest.short(12));
        let url = self.transport.url(&format!("manifests/{digest}"))?;
        let answer = self.transport.call(&what, &url, |http| putting(http, &url, bytes, media_type)).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&what, &answer));
        }
        match self.manifest(&digest.to_string()).await? {
            Some(found) if found == *bytes => Ok(digest),
            found => Err(RegistryError::ReadBack {
                reference: self.repository.digest(digest).to_string(),
                found: found.map_or_else(|| "nothing".to_owned(), |found| Digest::of(found).to_string()),
                sent: digest,
            }),
        }
    }

    /// Points `tag` to a manifest that is there by its digest. A failed attempt is repeated only after looking where
    /// the tag points now.
    ///
    /// # Errors
    /// It could not be set. It may have moved all the same when the registry does not answer any more.
    pub async fn put_tag(&self, tag: &str, bytes: &Bytes, media_type: &str) -> Result<(), RegistryError> {
        let digest = Digest::of(bytes);
        let what = format!("set the tag `{tag}`");
        let url = self.transport.url(&format!("manifests/{tag}"))?;
        let mut attempts = self.transport.attempts();
        loop {
            let trouble = match self.transport.once(&url, |http| putting(http, &url, bytes, media_type)).await {
                Ok(answer) if answer.status.is_success() => return Ok(()),
                // ECR refuses an immutable tag even for the digest that it has.
                Ok(_) if self.digest(tag).await? == Some(digest) => return Ok(()),
                Ok(answer) => return Err(self.refused(&what, &answer)),
                Err(trouble) => trouble,
            };
            self.transport.wait(&mut attempts, trouble, &what).await?;
            if self.digest(tag).await? == Some(digest) {
                return Ok(());
            }
        }
    }

    fn refused(&self, what: &str, answer: &Answer) -> RegistryError {
        match answer.status {
            StatusCode::NOT_FOUND if answer.has_code("NAME_UNKNOWN") => self.missing(answer),
            _ => self.transport.unexpected(what, answer),
        }
    }

    fn missing(&self, answer: &Answer) -> RegistryError {
        RegistryError::NoRepository { repository: self.repository.to_string(), message: answer.message() }
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Registry({} at {})", self.repository, api_host(&self.repository))
    }
}

fn accepting(request: RequestBuilder) -> RequestBuilder {
    request.header(header::ACCEPT, MANIFESTS.join(", "))
}

fn putting(http: &reqwest::Client, url: &Url, bytes: &Bytes, media_type: &str) -> RequestBuilder {
    http.put(url.clone()).header(header::CONTENT_TYPE, media_type).body(bytes.clone())
}

/// The bytes as a stream that counts what has been taken from it.
fn body(source: &BlobSource, progress: &Arc<AtomicU64>) -> Body {
    let progress = Arc::clone(progress);
    let count = move |chunk: &Bytes| {
        progress.fetch_add(chunk.len() as u64, Ordering::Relaxed);
    };
    match source {
        BlobSource::Memory(bytes) => {
            count(bytes);
            Body::from(bytes.clone())
        }
        BlobSource::File(path) => {
            let path = path.clone();
            let stream = async move {
                let file = tokio::fs::File::open(path).await?;
                Ok::<_, std::io::Error>(ReaderStream::with_capacity(file, 256 << 10).inspect_ok(count))
            };
            Body::wrap_stream(futures_util::stream::once(stream).try_flatten())
        }
    }
}

/// Ends when the counter has not changed for [`STALLED`].
async fn stalled(progress: &AtomicU64) {
    loop {
        let before = progress.load(Ordering::Relaxed);
        tokio::time::sleep(STALLED).await;
        if progress.load(Ordering::Relaxed) == before {
            return;
        }
    }
}
