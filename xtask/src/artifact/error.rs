//! Why an artifact is not there.

use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

use crate::folder::FolderError;
use crate::oci::Digest;

/// Why an artifact cannot be had. Nothing that does not match its digest is ever left in the cache.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The cache is not a folder that can be trusted.
    #[error("cannot use `{path}` as a cache: {why}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// A link, no folder, somebody else's, or full of other things.
        why: String,
    },
    /// Reading or writing failed.
    #[error("cannot {what} `{path}`: {source}")]
    Io {
        /// What was tried: `read`, `write`, …
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No room for the download. What was there of it is removed.
    #[error("no space left for `{path}`")]
    DiskFull {
        /// What could not be written.
        path: PathBuf,
    },
    /// A file of the cache was changed since it was verified. It is removed.
    #[error("`{path}` was damaged in the cache and is removed: expected {expected}, found {found}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Its name's digest.
        expected: Digest,
        /// Its content's digest.
        found: Digest,
    },
    /// What came is not what is pinned.
    #[error("`{name}` from `{url}` does not match its digest: expected {expected}, got {found}{}", if *.html { " (a web page came, not the file)" } else { "" })]
    Mismatch {
        /// The artifact.
        name: String,
        /// Where it came from.
        url: String,
        /// What is pinned.
        expected: Digest,
        /// What came.
        found: Digest,
        /// Whether what came looks like a web page: a proxy's log-in, mostly.
        html: bool,
    },
    /// No whole answer came, however often it was tried.
    #[error("cannot reach `{url}` for `{name}`, tried {attempts} times: {why}")]
    Unreachable {
        /// The artifact.
        name: String,
        /// Where it was asked for.
        url: String,
        /// How often.
        attempts: u32,
        /// The last failure with its causes.
        why: String,
    },
    /// The server answered that it does not give it.
    #[error("`{url}` was refused for `{name}`: HTTP status {status}")]
    Refused {
        /// The artifact.
        name: String,
        /// Where it was asked for.
        url: String,
        /// The answer's status.
        status: u16,
    },
    /// More than one place was asked, none has it.
    #[error("cannot get `{name}` from any of {} places:{}", .failures.len(), listed(.failures))]
    Everywhere {
        /// The artifact.
        name: String,
        /// Per place, in the order in which they were asked.
        failures: Vec<ArtifactError>,
    },
    /// There is no place to ask: no mirror, and vendors may not be asked.
    #[error("`{name}` is neither in the cache nor is there a place to ask for it")]
    Nowhere {
        /// The artifact.
        name: String,
    },
    /// The HTTP client cannot be made.
    #[error("cannot set up the HTTP client: {0}")]
    Client(String),
}

fn listed(failures: &[ArtifactError]) -> String {
    failures.iter().fold(String::new(), |mut text, failure| {
        let _ = write!(text, "\n  {failure}");
        text
    })
}

impl ArtifactError {
    /// For `map_err`: an input or output error with what was tried, where a full disk is told apart.
    pub(super) fn io(what: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Io { what, path, source },
        }
    }

    /// Whether the network, rather than an answer, is what is missing.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Everywhere { failures, .. } => failures.iter().all(Self::is_unreachable),
            _ => false,
        }
    }
}

impl From<FolderError> for ArtifactError {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Refused { path, why } => Self::Folder { path, why },
            FolderError::Io { doing, path, source } => Self::io(doing, &path)(source),
        }
    }
}
