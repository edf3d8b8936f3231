//! An unfinished download on disk: `<digest>.partial` with the bytes so far and `<digest>.from` with where they came
//! from.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::PathBuf;

use reqwest::header::{ETAG, HeaderMap, LAST_MODIFIED};
use sha2::Digest as _;
use tokio::io::{AsyncSeekExt as _, AsyncWriteExt as _};

use super::cache::{hash, open_no_follow};
use super::fetch::blocking;
use super::{ArtifactError, Cache};
use crate::oci::Digest;

/// The bytes so far, and what a hasher knows of them. Only the holder of the digest's lock has one.
pub(super) struct Partial {
    path: PathBuf,
    from_path: PathBuf,
    file: tokio::fs::File,
    hasher: sha2::Sha256,
    length: u64,
    expected: Digest,
    /// URL and validator of the answer that the bytes came from.
    from: Option<(String, String)>,
    /// Whether the bytes came in more than one answer.
    pieced: bool,
}

impl Partial {
    /// Opens what an earlier run left, or begins.
    pub(super) async fn open(cache: &Cache, expected: Digest) -> Result<Self, ArtifactError> {
        let path = cache.partial(expected);
        let from_path = path.with_extension("from");
        blocking(move || {
            let mut options = OpenOptions::new();
            let mut file = open_no_follow(&path, options.read(true).write(true).create(true).truncate(false))
                .map_err(ArtifactError::io("open", &path))?;
            let hasher = hash(&mut file).map_err(ArtifactError::io("read", &path))?;
            let length = file.stream_position().map_err(ArtifactError::io("read", &path))?;
            let mut text = String::new();
            let from = open_no_follow(&from_path, OpenOptions::new().read(true))
                .and_then(|file| file.take(8192).read_to_string(&mut text))
                .ok()
                .and_then(|_| text.trim_end().split_once('\n').map(|(url, validator)| (url.to_owned(), validator.to_owned())));
            Ok(Self { path, from_path, file: file.into(), hasher, length, expected, from, pieced: length > 0 })
        })
        .await
    }

    /// The number of bytes so far.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The digest of the bytes so far.
    pub(super) fn digest(&self) -> Digest {
        Digest::from_hasher(self.hasher.clone())
    }

    /// Whether the bytes came in more than one answer.
    pub(super) fn is_pieced(&self) -> bool {
        self.pieced
    }

    /// The next bytes come in another answer than those before.
    pub(super) fn continues(&mut self) {
        self.pieced = true;
    }

    /// What `If-Range` asks with: the validator of the bytes so far, if they came from the same place.
    pub(super) fn validator_of(&self, url: &str) -> Option<&str> {
        self.from.as_ref().filter(|(from, _)| from == url).map(|(_, validator)| validator.as_str())
    }

    /// Remembers where the bytes come from, also for the next run.
    pub(super) async fn comes_from(&mut self, url: &str, headers: &HeaderMap) -> Result<(), ArtifactError> {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
        // A weak validator does not promise the same bytes (RFC 9110, 13.1.5).
        let validator = text(ETAG).filter(|tag| !tag.starts_with("W/")).or_else(|| text(LAST_MODIFIED));
        self.from = validator.map(|validator| (url.to_owned(), validator.to_owned()));
        let content = self.from.as_ref().map(|(url, validator)| format!("{url}\n{validator}\n")).unwrap_or_default();
        let path = self.from_path.clone();
        blocking(move || {
            open_no_follow(&path, OpenOptions::new().write(true).create(true).truncate(true))
                .and_then(|mut file| file.write_all(content.as_bytes()))
                .map_err(ArtifactError::io("write", &path))
        })
        .await
    }

    /// Begins again with nothing.
    pub(super) async fn clear(&mut self) -> Result<(), ArtifactError> {
        self.pieced = false;
        self.hasher = sha2::Sha256::new();
        self.length = 0;
        self.file.set_len(0).await.map_err(ArtifactError::io("write", &self.path))?;
        self.file.rewind().await.map_err(ArtifactError::io("write", &self.path))?;
        Ok(())
    }

    /// Appends.
    pub(super) async fn write(&mut self, bytes: &[u8]) -> Result<(), ArtifactError> {
        self.file.write_all(bytes).await.map_err(ArtifactError::io("write", &self.path))?;
        self.hasher.update(bytes);
        self.length += bytes.len() as u64;
        Ok(())
    }

    /// Hands everything to the operating system; only then is it known whether there was room.
    pub(super) async fn flush(&mut self) -> Result<(), ArtifactError> {
        self.file.flush().await.map_err(ArtifactError::io("write", &self.path))
    }

    /// Whether the bytes look like a web page.
    pub(super) async fn looks_like_html(&self) -> bool {
        let path = self.path.clone();
        let begins = blocking(move || {
            let mut start = Vec::new();
            let file = open_no_follow(&path, OpenOptions::new().read(true)).map_err(ArtifactError::io("read", &path))?;
            file.take(256).read_to_end(&mut start).map_err(ArtifactError::io("read", &path))?;
            let start = String::from_utf8_lossy(&start).trim_start().to_ascii_lowercase();
            Ok(start.starts_with("<!doctype html") || start.starts_with("<html"))
        });
        begins.await.unwrap_or(false)
    }

    /// Names the file, now that it is verified.
    pub(super) async fn keep(self, cache: &Cache) -> Result<PathBuf, ArtifactError> {
        let file = self.file.into_std().await;
        let (cache, expected) = (cache.clone(), self.expected);
        blocking(move || {
            let path = cache.keep(file, &self.path, expected)?;
            remove(&self.from_path)?;
            Ok(path)
        })
        .await
    }

    /// Removes it.
    pub(super) async fn discard(self) -> Result<(), ArtifactError> {
        let file: File = self.file.into_std().await;
        blocking(move || {
            drop(file);
            remove(&self.path)?;
            remove(&self.from_path)
        })
        .await
    }
}

fn remove(path: &std::path::Path) -> Result<(), ArtifactError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(ArtifactError::io("remove", path)(error)),
        _ => Ok(()),
    }
}
