//! How requests to registries behave when something goes wrong, against a real `docker-registry` behind a server that
//! makes it go wrong, and against doubles for what it cannot do.

#[path = "doubles.rs"]
mod doubles;
#[path = "../support/registry.rs"]
#[allow(dead_code, unreachable_pub)]
mod registry;

mod bounds;
mod login;
mod quirks;
mod reading;
mod recovery;
mod referrers;

pub(crate) use doubles::front;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;
use xtask::oci::{Digest, Repository};
use xtask::registry::{Access, Blob, BlobSource, Credential, Fixed, Identified, Identity, Patience, Registry};
use xtask::retry::{Clock, Policy, Sleeping};
use xtask::secret::Secret;

/// A clock on which only pauses take time.
#[derive(Default)]
pub(crate) struct TestClock {
    now: Mutex<Duration>,
    pauses: Mutex<Vec<Duration>>,
}

impl TestClock {
    /// Every pause so far.
    pub(crate) fn pauses(&self) -> Vec<Duration> {
        self.pauses.lock().expect("pauses").clone()
    }

    /// Lets time pass.
    pub(crate) fn pass(&self, time: Duration) {
        *self.now.lock().expect("the time") += time;
    }
}

impl Clock for TestClock {
    fn now(&self) -> Duration {
        *self.now.lock().expect("the time")
    }

    fn date(&self) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + self.now()
    }

    fn random(&self) -> f64 {
        0.5
    }

    fn sleep(&self, pause: Duration) -> Sleeping<'_> {
        self.pauses.lock().expect("pauses").push(pause);
        self.pass(pause);
        Box::pin(tokio::task::yield_now())
    }
}

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    rustls::crypto::ring::default_provider().install_default().ok();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime").block_on(work)
}

pub(crate) fn repository(address: &str) -> Repository {
    format!("{address}/team/image").parse().expect("a repository")
}

pub(crate) fn basic(username: &str, password: &str) -> Identified {
    let credential = Credential::Basic { username: username.to_owned(), password: Secret::new(password) };
    Identified::new(credential, "a test")
}

pub(crate) fn client_as(address: &str, identity: impl Identity + 'static, clock: &Arc<TestClock>) -> Registry {
    let (repository, clock): (_, Arc<dyn Clock>) = (repository(address), Arc::clone(clock) as _);
    let made = Registry::identified(&repository, false, Access::Push, Arc::new(identity), Policy::default(), clock);
    // Long for a busy machine, short for a test in which nothing ever comes.
    made.expect("a client").patient(Patience { answer: Duration::from_secs(20), blob: Duration::from_secs(20) })
}

pub(crate) fn client(address: &str) -> Registry {
    client_as(address, Fixed(None), &Arc::default())
}

/// A blob of some size that no other test has.
pub(crate) fn blob(text: &str) -> Blob {
    let bytes = Bytes::from(text.repeat(20_000));
    Blob { digest: Digest::of(&bytes), size: bytes.len() as u64, source: BlobSource::Memory(bytes) }
}

pub(crate) fn bytes(blob: &Blob) -> Bytes {
    match &blob.source {
        BlobSource::Memory(bytes) => bytes.clone(),
        BlobSource::File(path) => std::fs::read(path).expect("a file").into(),
    }
}

pub(crate) const MANIFEST: &str = xtask::oci::media_type::MANIFEST;

/// A manifest with `config` and `layer`.
pub(crate) fn manifest(config: &Blob, layer: &Blob) -> Bytes {
    let describe =
        |blob: &Blob, kind: &str| serde_json::json!({"mediaType": kind, "digest": blob.digest.to_string(), "size": blob.size});
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": describe(config, "application/vnd.oci.image.config.v1+json"),
        "layers": [describe(layer, "application/vnd.oci.image.layer.v1.tar+gzip")],
    });
    Bytes::from(manifest.to_string())
}

pub(crate) fn progress() -> Arc<AtomicU64> {
    Arc::default()
}
