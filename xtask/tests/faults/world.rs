//! Two real registries, a release for both, and one way to publish it: the same in this process and in a child that is
//! going to be killed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use xtask::event::{Event, Events, Sink};
use xtask::oci::{Platform, Repository};
use xtask::publish::{
    Circumstances, Delivery, Origin, PublishError, Published, Registries, ReleasePlan, Tag, TagKind, Tree, VariantRelease,
    execute,
};
use xtask::registry::{Access, Registry};
use xtask::retry::{Clock, Policy, Sleeping};
use xtask::store::{Blobs, Compression, Want, obtain};

use crate::family::{Export, VARIANTS, input};

/// The destinations' names.
pub(crate) const NAMES: [&str; 2] = ["one", "two"];

/// A publish: where to, from where, and what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    /// `HOST:PORT` of each destination, as the publisher sees it.
    pub(crate) addresses: [String; 2],
    /// The path in both: `faults/17`.
    pub(crate) repository: String,
    /// The layer store.
    pub(crate) cache: PathBuf,
    /// Where the ledger is.
    pub(crate) state: PathBuf,
    /// Which release: `one`, `two`.
    pub(crate) release: String,
    /// The immutable tags' end: `2026.11.20-3f2c1ab`.
    pub(crate) stamp: String,
}

/// How a publish ended.
pub(crate) struct Ended {
    pub(crate) outcome: Result<Published, PublishError>,
    /// Whether the engine was asked for an export.
    pub(crate) exported: bool,
}

impl Job {
    /// Carries it out, with pauses that cost nothing. `events` get what happens.
    pub(crate) fn publish(&self, events: &Events) -> Ended {
        rustls::crypto::ring::default_provider().install_default().ok();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let (exported, clock) = (AtomicBool::new(false), Arc::new(Hurried::default()));
        let outcome = runtime.block_on(async {
            let release = Export::of(&self.release);
            let blobs = Arc::new(Blobs::open(&self.cache)?);
            let wanted: Vec<_> = release.images.iter().map(|(name, id)| Want { name: name.clone(), id: *id }).collect();
            // What is ready early is of use to a later stage of the pipeline.
            let (finished, _) = tokio::sync::mpsc::unbounded_channel();
            let images = obtain(&wanted, Compression::default(), &blobs, events, finished, async |_: &[String]| {
                exported.store(true, Ordering::Relaxed);
                Ok::<_, std::io::Error>(&release.archive[..])
            })
            .await?;
            let plan = self.plan();
            let mut registries = Registries::new();
            for delivery in plan.variants().iter().flat_map(|release| &release.destinations) {
                let to = &delivery.repository;
                if !registries.contains_key(to) {
                    let registry = Registry::with(to, false, Access::Push, None, Policy::default(), clock.clone());
                    registries.insert(to.clone(), registry.expect("a client"));
                }
            }
            execute(&plan, &images, &registries, &blobs, events).await
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
        Ended { outcome, exported: exported.load(Ordering::Relaxed) }
    }

    /// What is wanted: per variant an immutable tag and a moving one, in both.
    fn plan(&self) -> ReleasePlan {
        let tag = |name: String, kind| Tag { name, kind, uses_revision: false };
        let release = |(variant, _): &(&str, _)| VariantRelease {
            variant: variant.parse().expect("a name"),
            platform: Platform::LinuxAmd64,
            image: format!("faults:{variant}"),
            config_digest: None,
            annotations: BTreeMap::from([("gantry.input-digest".to_owned(), self.input(variant))]),
            labels: BTreeMap::new(),
            destinations: (0..NAMES.len())
                .map(|number| Delivery {
                    destination: NAMES[number].to_owned(),
                    repository: self.repository(number),
                    insecure: false,
                    origin: Origin::CommandLine,
                    tags: vec![tag(self.immutable(variant), TagKind::Immutable), tag((*variant).to_owned(), TagKind::Moving)],
                })
                .collect(),
        };
        let circumstances = Circumstances { tree: Tree::Clean, allow_dirty: false };
        ReleasePlan::new(VARIANTS.iter().map(release).collect(), circumstances).expect("nothing is forbidden")
    }

    fn input(&self, variant: &str) -> String {
        input(variant, &self.release).to_string()
    }

    /// The repository at a destination.
    pub(crate) fn repository(&self, destination: usize) -> Repository {
        format!("{}/{}", self.addresses[destination], self.repository).parse().expect("a repository")
    }

    /// A variant's immutable tag.
    pub(crate) fn immutable(&self, variant: &str) -> String {
        format!("{variant}-{}", self.stamp)
    }

    /// Every tag: name, whether it is immutable.
    pub(crate) fn tags(&self) -> Vec<(String, bool)> {
        VARIANTS.iter().flat_map(|(variant, _)| [(self.immutable(variant), true), ((*variant).to_owned(), false)]).collect()
    }

    /// The same from another machine: nothing is known there.
    pub(crate) fn elsewhere(&self, folder: &Path) -> Self {
        Self { cache: folder.join("cache"), state: folder.join("state"), ..self.clone() }
    }
}

/// A clock on which pauses take no time, but are counted.
#[derive(Debug)]
struct Hurried {
    started: Instant,
    skipped: Mutex<Duration>,
    dice: AtomicU64,
}

impl Default for Hurried {
    fn default() -> Self {
        Self { started: Instant::now(), skipped: Mutex::default(), dice: AtomicU64::new(1) }
    }
}

impl Hurried {
    fn skipped(&self) -> Duration {
        *self.skipped.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clock for Hurried {
    fn now(&self) -> Duration {
        self.started.elapsed() + self.skipped()
    }

    fn date(&self) -> time::OffsetDateTime {
        time::OffsetDateTime::now_utc() + self.skipped()
    }

    fn random(&self) -> f64 {
        let dice = self.dice.fetch_add(1, Ordering::Relaxed);
        f64::from(u32::try_from(dice % 97).unwrap_or_default()) / 97.0
    }

    fn sleep(&self, pause: Duration) -> Sleeping<'_> {
        *self.skipped.lock().unwrap_or_else(PoisonError::into_inner) += pause;
        Box::pin(tokio::task::yield_now())
    }
}

/// Nobody listens.
pub(crate) struct Silence;

impl Sink for Silence {
    fn emit(&self, _: Event) {}
}
