//! Publishing, against real registries and a real engine. Needs `docker`, `docker-registry`, `htpasswd` and `skopeo`.

mod again;
mod attach;
mod credentials;
mod export;
mod index;
mod made;
mod promote;
mod release;
mod support;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use support::{LocalImage, save};
use tempfile::TempDir;
use xtask::event::Events;
use xtask::oci::{Platform, Repository};
use xtask::publish::{
    Attaching, Circumstances, Deciding, Delivery, Describe, Ledger, Means, Origin, PublishError, Published, Registries, Release,
    ReleasePlan, Tag, TagKind, TagState, Tree, VariantRelease, Verdict, execute,
};
use xtask::registry::{Access, Registry, Sources};
use xtask::retry::{Policy, SystemClock};
use xtask::store::{Blobs, Compression};

/// A password that must not be seen anywhere.
const CANARY: &str = "canary-7Qx9-secret";

fn tls() {
    rustls::crypto::ring::default_provider().install_default().ok();
}

fn runtime<T>(work: impl Future<Output = T>) -> T {
    tls();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime").block_on(work)
}

fn delivery(name: &str, repository: Repository, tags: &[&str]) -> Delivery {
    let tag = |text: &&str| {
        let (kind, name) = text.split_once(' ').expect("kind and name");
        let kind = if kind == "moves" { TagKind::Moving } else { TagKind::Immutable };
        Tag { name: name.to_owned(), kind, uses_revision: false }
    };
    let tags = tags.iter().map(tag).collect();
    Delivery { destination: name.to_owned(), repository, insecure: false, origin: Origin::CommandLine, tags }
}

fn plan(variants: Vec<(&str, &LocalImage, Vec<Delivery>)>) -> ReleasePlan {
    let release = |(variant, image, destinations): (&str, &LocalImage, _)| VariantRelease {
        variant: variant.parse().expect("a name"),
        platform: Platform::LinuxAmd64,
        input: image.input,
        built: image.built(),
        config_digest: None,
        ancestors: Vec::new(),
        destinations,
    };
    let circumstances = Circumstances { tree: Tree::Clean, allow_dirty: false };
    ReleasePlan::new(variants.into_iter().map(release).collect(), circumstances).expect("nothing is forbidden")
}

/// Clients that do not wait for long.
async fn hasty(plan: &ReleasePlan, sources: &Sources) -> Registries {
    let policy =
        Policy { attempts: 3, base: Duration::from_millis(1), cap: Duration::from_millis(1), total: Duration::from_secs(60) };
    let mut registries = Registries::new();
    for delivery in plan.variants().iter().flat_map(|release| &release.destinations) {
        let credential = sources.credential(delivery.repository.registry()).await.expect("a credential");
        let clock = Arc::new(SystemClock::default());
        let registry = Registry::with(&delivery.repository, false, Access::Push, credential, policy, clock);
        registries.insert(delivery.repository.clone(), registry.expect("a client"));
    }
    registries
}

/// The same for repositories that want no password.
fn hasty_to(repositories: impl Iterator<Item = Repository>) -> Registries {
    tls();
    let policy =
        Policy { attempts: 3, base: Duration::from_millis(1), cap: Duration::from_millis(1), total: Duration::from_secs(60) };
    let client = |repository: Repository| {
        let clock = Arc::new(SystemClock::default());
        let registry = Registry::with(&repository, false, Access::Push, None, policy, clock).expect("a client");
        (repository, registry)
    };
    repositories.map(client).collect()
}

/// A machine that publishes: its cache, its ledger.
struct Machine {
    cache: TempDir,
    state: TempDir,
    force: bool,
    compression: Compression,
    /// Who makes SBOMs; none: `--no-sbom`.
    describe: Option<Arc<dyn Describe>>,
}

impl Machine {
    fn new() -> Self {
        let folder = || tempfile::tempdir().expect("a folder");
        Self { cache: folder(), state: folder(), force: false, compression: Compression::default(), describe: None }
    }

    fn blobs(&self) -> Arc<Blobs> {
        Arc::new(Blobs::open(self.cache.path()).expect("a store"))
    }

    fn ledger(&self) -> Ledger {
        Ledger::open(self.state.path(), "family-1").expect("a ledger")
    }

    async fn decide(&self, plan: &ReleasePlan, registries: &Registries) -> Result<Release, PublishError> {
        let (blobs, ledger) = (self.blobs(), self.ledger());
        let compression = self.compression;
        let deciding = Deciding {
            registries,
            ledger: ledger.view(),
            blobs: &blobs,
            compression,
            force: self.force,
            building: false,
            describe: self.describe.as_deref(),
        };
        Release::decide(plan.clone(), &deciding).await
    }

    async fn publish(&self, plan: &ReleasePlan, registries: &Registries, events: &Events) -> Result<Published, PublishError> {
        self.publish_if(plan, registries, events, None).await
    }

    async fn publish_if(
        &self,
        plan: &ReleasePlan,
        registries: &Registries,
        events: &Events,
        verdict: Option<Verdict<'_>>,
    ) -> Result<Published, PublishError> {
        let (blobs, mut ledger, compression) = (self.blobs(), self.ledger(), self.compression);
        let release = self.decide(plan, registries).await?;
        let attaching = self.describe.as_deref().map_or(Attaching::Nothing, Attaching::Sboms);
        let means = Means { registries, blobs: &blobs, compression, events, attaching, verdict };
        execute(&release, &means, &mut ledger, async |names: &[String]| save(names).await).await
    }
}

fn states(published: &Published) -> Vec<(String, TagState)> {
    let tags = published.images.iter().flat_map(|image| image.destinations.values().flatten());
    tags.map(|tag| (tag.reference.rsplit_once(':').map(|(_, tag)| tag.to_owned()).unwrap_or_default(), tag.state)).collect()
}
