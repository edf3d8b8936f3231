//! Two real registries, a release for both, and one way to publish it: the same in this process and in a child that is
//! going to be killed.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use xtask::event::{Event, Events, Sink};
use xtask::oci::{Platform, Repository};
use xtask::publish::{
    Attaching, Built, Circumstances, Deciding, Delivery, Describe, Described, Image, Ledger, LedgerError, Means, Origin,
    PublishError, Published, Registries, Release, ReleasePlan, Tag, TagKind, Tree, VariantRelease, execute,
};
use xtask::registry::{Access, Registry};
use xtask::retry::{Clock, Policy, Sleeping};
use xtask::store::{Blobs, Compression, Want};

use crate::family::{Export, Exported, VARIANTS, input};

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
    /// Which release: `one`, `two`. Each is built from something else.
    pub(crate) release: String,
    /// Which build of it, each with other bytes; none: the engine has nothing.
    pub(crate) build: Option<u32>,
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
        std::fs::create_dir_all(&self.state).expect("a folder");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let (exported, clock) = (AtomicBool::new(false), Arc::new(Hurried::default()));
        let outcome = runtime.block_on(async {
            let plan = self.plan();
            let registries = self.registries(&plan, &clock);
            let blobs = Arc::new(Blobs::open(&self.cache)?);
            let mut ledger = self.ledger()?;
            let compression = Compression::default();
            let references = plan.references();
            let work = async {
                let deciding = Deciding {
                    registries: &registries,
                    ledger: ledger.view(),
                    blobs: &blobs,
                    compression,
                    force: false,
                    building: false,
                    describe: Some(&Said),
                };
                let release = Release::decide(plan, &deciding).await?;
                let means = Means {
                    registries: &registries,
                    blobs: &blobs,
                    compression,
                    events,
                    attaching: Attaching::Sboms(&Said),
                    verdict: None,
                };
                let export = async |_: &[String]| {
                    exported.store(true, Ordering::Relaxed);
                    let build = self.build.ok_or(std::io::ErrorKind::NotFound)?;
                    Ok::<_, std::io::Error>(std::io::Cursor::new(Export::of(&self.release, build).archive.clone()))
                };
                execute(&release, &means, &mut ledger, export).await
            };
            let outcome = work.await;
            outcome.map_err(|error| error.remembering(ledger.view(), &references))
        });
        runtime.shutdown_timeout(Duration::from_secs(5));
        Ended { outcome, exported: exported.load(Ordering::Relaxed) }
    }

    fn registries(&self, plan: &ReleasePlan, clock: &Arc<Hurried>) -> Registries {
        let mut registries = Registries::new();
        for delivery in plan.variants().iter().flat_map(|release| &release.destinations) {
            let to = &delivery.repository;
            if !registries.contains_key(to) {
                let registry = Registry::with(to, false, Access::Push, None, Policy::default(), clock.clone());
                registries.insert(to.clone(), registry.expect("a client"));
            }
        }
        registries
    }

    /// What this machine remembers of the immutable tags' release.
    pub(crate) fn ledger(&self) -> Result<Ledger, LedgerError> {
        Ledger::open(&self.state, &self.stamp)
    }

    /// What is wanted: per variant an immutable tag and a moving one, in both.
    fn plan(&self) -> ReleasePlan {
        let tag = |name: String, kind| Tag { name, kind, uses_revision: false };
        let engine = self.build.map(|build| Export::of(&self.release, build));
        let built = |place: usize| {
            let Exported { name, id, diff_ids, labels } = &engine.as_ref()?.images[place];
            Some(Built {
                image: name.clone(),
                want: Want { name: name.clone(), id: *id },
                manifest: None,
                diff_ids: diff_ids.clone(),
                labels: labels.clone(),
            })
        };
        let release = |(place, (variant, _)): (usize, &(&str, _))| VariantRelease {
            variant: variant.parse().expect("a name"),
            platform: Platform::LinuxAmd64,
            input: input(variant, &self.release),
            built: built(place),
            config_digest: None,
            ancestors: Vec::new(),
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
        ReleasePlan::new(VARIANTS.iter().enumerate().map(release).collect(), circumstances).expect("nothing is forbidden")
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

/// Says of an image which one it is.
struct Said;

impl Describe for Said {
    fn sbom<'a>(&'a self, image: &'a Image, _: &'a Delivery) -> Described<'a> {
        let document = format!("{{\"bomFormat\":\"CycloneDX\",\"of\":\"{}\"}}", image.config_digest);
        Box::pin(std::future::ready(Ok(document.into())))
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
