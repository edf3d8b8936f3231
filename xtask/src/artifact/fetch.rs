//! One download: resumed where it was cut, verified while it streams, tried again where that may help.

use std::path::PathBuf;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::header::{ACCEPT_ENCODING, CONTENT_RANGE, IF_RANGE, RANGE};
use reqwest::{Response, StatusCode};

use super::http::{asked_pause, causes};
use super::partial::Partial;
use super::{ArtifactError, Cache, Patience};
use crate::event::{Event, Events};
use crate::oci::Digest;
use crate::retry;

/// Attempts at one place, however much each of them brings.
const MOST_ATTEMPTS: u32 = 40;
/// Bytes between two events.
const EVENT_EVERY: u64 = 1 << 20;
/// How often another's lock is tried.
const LOCK_EVERY: Duration = Duration::from_millis(100);

/// What to download.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetch {
    /// What a person calls it: the pin and its version.
    pub name: String,
    /// Where to ask, in order: see [`super::mirrored`].
    pub urls: Vec<String>,
    /// What it must be.
    pub sha256: Digest,
}

/// Gives the path of a file with the digest, from the cache or from the first place that has it.
///
/// An interrupted download goes on where it ended, also in the next run and at the next place (the digest decides in
/// the end). Two callers that want the same, in one process or two, download once.
///
/// # Errors
/// See [`ArtifactError`]. Bytes that do not match end the search: a place that serves something else is not passed over.
pub async fn fetch(cache: &Cache, client: &reqwest::Client, request: Fetch, events: &Events) -> Result<PathBuf, ArtifactError> {
    fetch_with(cache, client, request, Patience::default(), events).await
}

/// [`fetch`] with a patience of one's own.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_with(
    cache: &Cache,
    client: &reqwest::Client,
    request: Fetch,
    patience: Patience,
    events: &Events,
) -> Result<PathBuf, ArtifactError> {
    if let Some(path) = cached(cache, &request, events).await? {
        return Ok(path);
    }
    let mut waits = false;
    let lock = loop {
        match cache.try_lock(request.sha256)? {
            Some(lock) => break lock,
            None if !waits => {
                waits = true;
                events.emit(Event::Note { text: format!("waiting for another download of `{}`", request.name) });
            }
            None => tokio::time::sleep(LOCK_EVERY).await,
        }
    };
    if waits && let Some(path) = cached(cache, &request, events).await? {
        return Ok(path);
    }
    let result = from_places(cache, client, &request, patience, events).await;
    drop(lock);
    result
}

async fn cached(cache: &Cache, request: &Fetch, events: &Events) -> Result<Option<PathBuf>, ArtifactError> {
    let (for_blocking, digest) = (cache.clone(), request.sha256);
    match blocking(move || for_blocking.get(digest)).await {
        Err(error @ (ArtifactError::Damaged { .. } | ArtifactError::Folder { .. })) => {
            events.emit(Event::Warning { text: format!("{error}; `{}` is downloaded again", request.name) });
            Ok(None)
        }
        result => result,
    }
}

async fn from_places(
    cache: &Cache,
    client: &reqwest::Client,
    request: &Fetch,
    patience: Patience,
    events: &Events,
) -> Result<PathBuf, ArtifactError> {
    let mut failures = Vec::new();
    for (index, url) in request.urls.iter().enumerate() {
        let download = Download { cache, client, request, url, patience, events };
        match download.run().await {
            Err(failure @ (ArtifactError::Unreachable { .. } | ArtifactError::Refused { .. })) => {
                if let Some(next) = request.urls.get(index + 1) {
                    events.emit(Event::Note { text: format!("{failure}; asking `{next}`") });
                }
                failures.push(failure);
            }
            result => return result,
        }
    }
    let name = request.name.clone();
    Err(match failures.pop() {
        None => ArtifactError::Nowhere { name },
        Some(only) if failures.is_empty() => only,
        Some(last) => {
            failures.push(last);
            ArtifactError::Everywhere { name, failures }
        }
    })
}

/// A download from one place.
struct Download<'a> {
    cache: &'a Cache,
    client: &'a reqwest::Client,
    request: &'a Fetch,
    url: &'a str,
    patience: Patience,
    events: &'a Events,
}

/// Why an attempt did not bring the rest of the file.
enum Cut {
    /// For good.
    Failed(ArtifactError),
    /// It may help to ask again.
    Again {
        why: String,
        /// The status, where one came.
        status: Option<u16>,
        /// What the server asked for.
        asked: Option<Duration>,
    },
}

impl From<ArtifactError> for Cut {
    fn from(error: ArtifactError) -> Self {
        Self::Failed(error)
    }
}

impl Cut {
    fn again(why: impl Into<String>) -> Self {
        Self::Again { why: why.into(), status: None, asked: None }
    }
}

impl Download<'_> {
    async fn run(&self) -> Result<PathBuf, ArtifactError> {
        let mut partial = Partial::open(self.cache, self.request.sha256).await?;
        match self.fill(&mut partial).await {
            Ok(()) => {}
            Err(error) => {
                // What was cut is worth keeping. What is wrong, or fills the disk, is not.
                if matches!(error, ArtifactError::Mismatch { .. } | ArtifactError::DiskFull { .. }) {
                    partial.discard().await?;
                }
                return Err(error);
            }
        }
        self.transferred(partial.length(), Some(partial.length()));
        partial.keep(self.cache).await
    }

    /// Downloads until `partial` matches.
    async fn fill(&self, partial: &mut Partial) -> Result<(), ArtifactError> {
        let expected = self.request.sha256;
        let (mut attempts, mut barren, mut started_over) = (0, 0, false);
        loop {
            // Whole already: the last run ended before it could name the file.
            if partial.length() > 0 && partial.digest() == expected {
                return Ok(());
            }
            let before = partial.length();
            attempts += 1;
            let cut = match self.attempt(partial).await {
                Ok(()) => {
                    let found = partial.digest();
                    if found == expected {
                        return Ok(());
                    }
                    if !partial.is_pieced() || started_over {
                        return Err(ArtifactError::Mismatch {
                            name: self.request.name.clone(),
                            url: self.url.to_owned(),
                            expected,
                            found,
                            html: partial.looks_like_html().await,
                        });
                    }
                    // Pieces of two different files, perhaps: one whole answer decides.
                    started_over = true;
                    partial.clear().await?;
                    Cut::again("the pieces of an interrupted download do not match")
                }
                Err(cut) => cut,
            };
            let Cut::Again { why, status, asked } = cut else {
                let Cut::Failed(error) = cut else { continue };
                return Err(error);
            };
            barren = if partial.length() > before { 1 } else { barren + 1 };
            let wait = self.patience.wait(barren, asked);
            match wait.filter(|_| barren < self.patience.attempts && attempts < MOST_ATTEMPTS) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(self.given_up(attempts, why, status)),
            }
        }
    }

    fn given_up(&self, attempts: u32, why: String, status: Option<u16>) -> ArtifactError {
        let (name, url) = (self.request.name.clone(), self.url.to_owned());
        match status {
            Some(status) => ArtifactError::Refused { name, url, status },
            None => ArtifactError::Unreachable { name, url, attempts, why },
        }
    }

    /// One request: for the rest where something is there.
    async fn attempt(&self, partial: &mut Partial) -> Result<(), Cut> {
        let mut request = self.client.get(self.url).header(ACCEPT_ENCODING, "identity");
        let from = partial.length();
        if from > 0 {
            request = request.header(RANGE, format!("bytes={from}-"));
            if let Some(validator) = partial.validator_of(self.url) {
                request = request.header(IF_RANGE, validator);
            }
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(error) if error.is_builder() || error.is_redirect() => {
                return Err(Cut::Failed(self.given_up(1, causes(&error), None)));
            }
            Err(error) => return Err(Cut::again(causes(&error))),
        };
        match response.status() {
            StatusCode::OK => partial.clear().await?,
            StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(from) => partial.continues(),
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                partial.clear().await?;
                return Err(Cut::again("the server does not have the rest of an interrupted download"));
            }
            status if retry::is_passing(status.as_u16()) => {
                let asked = asked_pause(response.headers());
                return Err(Cut::Again { why: status.to_string(), status: Some(status.as_u16()), asked });
            }
            status => return Err(Cut::Failed(self.given_up(1, String::new(), Some(status.as_u16())))),
        }
        partial.comes_from(self.url, response.headers()).await?;
        self.receive(response, partial).await
    }

    async fn receive(&self, response: Response, partial: &mut Partial) -> Result<(), Cut> {
        let total = response.content_length().map(|rest| partial.length() + rest);
        let whole = range_total(&response).or(total);
        let mut body = response.bytes_stream();
        let mut told = partial.length();
        self.transferred(told, whole);
        let end = loop {
            match body.next().await {
                None => break Ok(()),
                Some(Err(error)) => break Err(Cut::again(causes(&error))),
                Some(Ok(bytes)) => partial.write(&bytes).await?,
            }
            if partial.length() - told >= EVENT_EVERY {
                told = partial.length();
                self.transferred(told, whole);
            }
        };
        partial.flush().await?;
        end?;
        if whole.is_some_and(|whole| partial.length() < whole) {
            return Err(Cut::again("the server sent a part of what was asked for"));
        }
        Ok(())
    }

    fn transferred(&self, bytes: u64, total: Option<u64>) {
        let id = format!("artifact/{}", self.request.sha256.short(16));
        self.events.emit(Event::Transfer { id, what: self.request.name.clone(), bytes, total });
    }
}

/// `bytes 100-199/1000` → 100
fn range_start(response: &Response) -> Option<u64> {
    content_range(response)?.split('-').next()?.parse().ok()
}

/// `bytes 100-199/1000` → 1000
fn range_total(response: &Response) -> Option<u64> {
    content_range(response)?.split('/').nth(1)?.parse().ok()
}

fn content_range(response: &Response) -> Option<&str> {
    response.headers().get(CONTENT_RANGE)?.to_str().ok()?.strip_prefix("bytes ")
}

/// Runs what blocks (hashing a file, `fsync`) beside the tasks.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArtifactError> + Send + 'static,
) -> Result<T, ArtifactError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => Err(ArtifactError::Client(error.to_string())),
        },
    }
}
