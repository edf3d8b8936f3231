//! What `push` and `publish` have in common: everything that publishing takes, open, and the way from a plan to what is
//! published.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::describe::Describing;
use super::prepare::Prepared;
use super::release::{OnceEngine, held, release_name};
use super::session::variable;
use super::summary::{self, Pushed};
use super::tried::{self, Tried};
use super::{Session, lineage};
use crate::byte_size::size;
use crate::diff::Difference;
use crate::event::{Event, Events};
use crate::failure::{Exit, Failure};
use crate::family::Name;
use crate::host::git;
use crate::host::lockfile::{FamilyLock, LockKind, WhenHeld};
use crate::host::places::Places;
use crate::plan::{self, Plan};
use crate::publish::{
    self, Attaching, Deciding, IndexRelease, Ledger, Means, Parent, PublishError, Refusal, Registries, Release, ReleasePlan, View,
};
use crate::store::{Blobs, Limit};

/// How long it may take to look up what an image was before, for the summary of a workflow's run.
const WORDS: Duration = Duration::from_secs(30);

/// The same for release notes, which are asked for: layers may have to be downloaded.
const NOTES: Duration = Duration::from_secs(300);

/// How it is published.
#[derive(Debug, Clone, Copy)]
pub(super) struct How {
    /// Nothing is sent.
    pub(super) dry_run: bool,
    /// What is built here counts, even where the same is published.
    pub(super) force: bool,
    /// Moving tags may be taken back from a later commit.
    pub(super) back: bool,
    /// Images get their SBOMs.
    pub(super) sbom: bool,
}

/// Everything that publishing takes.
pub(super) struct Delivering<'a> {
    session: &'a Session,
    prepared: &'a Prepared,
    engine: &'a OnceEngine,
    how: How,
    events: Events,
    places: Places,
    ledger: Ledger,
    blobs: Arc<Blobs>,
    registries: Registries,
    /// None: no SBOMs.
    describing: Option<Describing>,
    limit: Limit,
    started: Instant,
    _lock: Option<FamilyLock>,
}

impl<'a> Delivering<'a> {
    /// Waits for other publishers of this family on this machine, and opens the ledger and the store.
    pub(super) async fn open(
        session: &'a Session,
        prepared: &'a Prepared,
        plan: &Plan,
        engine: &'a OnceEngine,
        how: How,
    ) -> Result<Self, Failure> {
        let (limit, started) = (limit()?, Instant::now());
        let places = session.places()?;
        let events = session.console.events();
        let waiting = |holder: &str| events.emit(Event::Note { text: format!("waiting for another publisher: {holder}") });
        let lock = match how.dry_run {
            true => None,
            false => Some(FamilyLock::acquire(&places, LockKind::Publish, &plan.family, WhenHeld::Wait, waiting).await?),
        };
        let ledger = Ledger::open(&places.state_folder("releases")?, &release_name(prepared, plan));
        let ledger = ledger.map_err(PublishError::Ledger)?;
        let blobs = blobs(&places, engine)?;
        let describing = how.sbom.then(|| Describing::new(session, &prepared.family, &blobs)).transpose()?;
        let registries = Registries::new();
        Ok(Self {
            session,
            prepared,
            engine,
            how,
            events,
            places,
            ledger,
            blobs,
            registries,
            describing,
            limit,
            started,
            _lock: lock,
        })
    }

    pub(super) fn ledger(&self) -> &View {
        self.ledger.view()
    }

    /// Makes a client for every repository of the plan.
    pub(super) async fn connect(&mut self, wanted: &ReleasePlan) -> Result<(), PublishError> {
        self.registries = publish::connect(wanted, &self.prepared.credentials).await?;
        Ok(())
    }

    pub(super) fn registries(&self) -> &Registries {
        &self.registries
    }

    /// Looks again at what is in the store: others have put layers there since.
    pub(super) fn refresh(&mut self) -> Result<(), Failure> {
        self.blobs = blobs(&self.places, self.engine)?;
        let describing = self.how.sbom.then(|| Describing::new(self.session, &self.prepared.family, &self.blobs));
        self.describing = describing.transpose()?;
        Ok(())
    }

    /// What this machine's records say of a release.
    pub(super) fn tried(&self, release: &Release) -> Tried {
        Tried::of(&self.places, release, |id| self.blobs.config(id).map(|(_, digest)| digest))
    }

    /// Looks at the destinations and decides; with `building`, what is neither built nor published is going to be built.
    pub(super) async fn decide(&self, wanted: ReleasePlan, building: bool) -> Result<Release, PublishError> {
        let deciding = Deciding {
            registries: &self.registries,
            ledger: self.ledger.view(),
            blobs: &self.blobs,
            compression: self.prepared.family.compression,
            force: self.how.force,
            building,
            describe: self.describing.as_ref().map(|describing| describing as &dyn publish::Describe),
        };
        let release = Release::decide(wanted, &deciding).await?;
        let mut refusals = publish::torn(&release, |child| self.parent(child), &self.registries).await?;
        refusals.extend(self.behind(publish::later(&release)).await);
        if refusals.is_empty() { Ok(release) } else { Err(PublishError::Refused { refusals }) }
    }

    fn parent(&self, child: &Name) -> Option<Parent> {
        let family = &self.prepared.family;
        let ancestors = lineage::ancestors(family, family.images.get(child)?);
        let image = family.images.get(ancestors.first()?)?;
        let moving = plan::published_tags(family, image, &family.build_date, "").moving;
        Some(Parent { variant: image.name.clone(), moving, pins: lineage::pins(family, image) })
    }

    /// Tags that are at a later commit: a run of an old release that is repeated must not take them back unseen.
    async fn behind(&self, tags: Vec<(String, String)>) -> Vec<Refusal> {
        let mut refusals = Vec::new();
        for (tag, revision) in tags.into_iter().filter(|_| !self.how.back) {
            let is_here = self.prepared.facts.revision.as_ref().is_some_and(|here| here.commit == revision);
            if !is_here && git::is_later(&self.session.root, &revision).await {
                refusals.push(Refusal::Behind { tag, revision });
            }
        }
        refusals
    }

    /// Publishes what is decided.
    pub(super) async fn carry_out(&mut self, release: &Release, indexes: &[IndexRelease]) -> Result<Pushed, PublishError> {
        let refusals = self.behind(publish::later_indexes(indexes, &self.registries).await?).await;
        if !refusals.is_empty() {
            return Err(PublishError::Refused { refusals });
        }
        for apart in publish::apart(release, |child| self.parent(child)) {
            let text = format!("{apart}: the latter was published before and stays, so that `verify` will tell a difference");
            self.events.emit(Event::Warning { text });
        }
        let Self { registries, blobs, events, engine, ledger, places, .. } = self;
        let compression = self.prepared.family.compression;
        let attaching = self.describing.as_ref().map_or(Attaching::Nothing, |describing| Attaching::Sboms(describing));
        // What an engine with manifests has is known by its configuration only now.
        let verdict = |image: &str, config| tried::refusal(places, image, config);
        let means = Means { registries, blobs, compression, events, attaching, verdict: Some(&verdict) };
        let export = async |names: &[String]| engine.get().await?.export(names).await.map_err(Failure::from);
        let published = publish::execute(release, &means, ledger, export).await?;
        let indexes = publish::complete(indexes, registries, ledger, events).await;
        let indexes = indexes.map_err(|error| error.after(&published))?;
        Ok(Pushed { schema: 1, seconds: self.started.elapsed().as_secs_f64(), published, indexes })
    }

    /// The error in the light of what former runs have done to the tags of this plan.
    pub(super) fn failed(&self, error: PublishError, references: &[String]) -> PublishError {
        error.remembering(self.ledger.view(), references)
    }

    /// What changed in every image since it was published last, read from the destinations where this machine does not know it.
    pub(super) async fn changes(&self, pushed: &Pushed) -> BTreeMap<Name, Difference> {
        let mut changes = BTreeMap::new();
        for image in &pushed.published.images {
            let Some(describing) = &self.describing else { continue };
            // All of it is published: no release waits for ever for words about it.
            match tokio::time::timeout(NOTES, describing.changes(image, true)).await {
                Ok(Some(difference)) => drop(changes.insert(image.variant.clone(), difference)),
                Ok(None) => {}
                Err(_) => {
                    let text =
                        format!("what changed in `{}` is not in the release notes: it took too long to read", image.variant);
                    self.events.emit(Event::Warning { text });
                }
            }
        }
        changes
    }

    /// Clears up after a publish and adds it to the summary of a workflow's run.
    pub(super) async fn finish(&self, pushed: &Pushed) {
        // What cannot be looked at now is trimmed another time.
        let trimmed = self.blobs.trim(self.limit).unwrap_or_default();
        if trimmed.blobs > 0 {
            let text = format!("{} layers that were not used any more left the cache ({})", trimmed.blobs, size(trimmed.bytes));
            self.events.emit(Event::Note { text });
        }
        if !summary::is_wanted() {
            return;
        }
        let mut text = summary::markdown(&self.prepared.family.name, pushed);
        for image in &pushed.published.images {
            let Some(describing) = &self.describing else { continue };
            // All of it is published: nobody waits long for words about it.
            if let Ok(Some(difference)) = tokio::time::timeout(WORDS, describing.changes(image, false)).await {
                text += &summary::changes(image, &difference);
            }
        }
        summary::add_to_workflow(&text, &self.events);
    }
}

/// The store, beside an engine whose files may be read.
fn blobs(places: &Places, engine: &OnceEngine) -> Result<Arc<Blobs>, Failure> {
    let blobs = Blobs::open(&places.cache_folder("layers")?).map_err(PublishError::Store)?;
    Ok(Arc::new(match engine.known() {
        Some(engine) => blobs.beside(held(engine)),
        None => blobs,
    }))
}

/// How large the cache of layers may stay.
fn limit() -> Result<Limit, Failure> {
    let Some(text) = variable(Limit::VARIABLE) else { return Ok(Limit::default()) };
    text.parse::<Limit>().map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", Limit::VARIABLE)))
}

/// What a publisher is told who has interrupted.
pub(super) fn interrupted() -> Failure {
    Failure::new(Exit::Interrupted, "interrupted; what was uploaded stays, a second run goes on from there")
}
