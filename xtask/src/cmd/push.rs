//! `cargo xtask push`: publishes what this plan built, the same bytes to every destination.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::prepare::{Locking, Prepared};
use super::{Session, ecr, engine};
use crate::build::Inventory;
use crate::cli::Push;
use crate::engine::{Engine, InspectedImage};
use crate::event::Event;
use crate::failure::{Exit, Failure};
use crate::family::Image;
use crate::host::lockfile::{FamilyLock, LockKind, WhenHeld};
use crate::oci::{Digest, Repository};
use crate::plan::{self, Plan};
use crate::publish::{self, Circumstances, Delivery, Origin, Published, ReleasePlan, Tag, TagKind, Tree, VariantRelease};
use crate::store::{self, Blobs, Want};

pub(super) async fn run(session: &Session, args: &Push) -> Result<(), Failure> {
    let destinations = Destinations::parse(&args.destinations)?;
    let prepared = Prepared::gather(session, &args.inputs, Locking::InMemory).await?;
    let plan = prepared.plan()?;
    let engine = engine::connect().await?;
    let built = built(&plan, &engine).await?;
    let release = release(&prepared, &plan, &built, &destinations, args.allow_dirty)?;
    if args.dry_run {
        session.console.result(&Versioned { schema: 1, value: &release }, &release.to_string());
        return Ok(());
    }

    let places = session.places()?;
    let events = session.console.events();
    let waiting = |holder: &str| events.emit(Event::Note { text: format!("waiting for another publisher: {holder}") });
    let _lock = FamilyLock::acquire(&places, LockKind::Publish, &plan.family, WhenHeld::Wait, waiting).await?;
    let interrupt = session.interrupt()?;
    let work = async {
        ecr::preflight(&release, &prepared.family, &events).await?;
        let registries = publish::connect(&release, &prepared.credentials).await?;
        let blobs = Arc::new(Blobs::open(&places.cache_folder("layers")?).map_err(publish::PublishError::Store)?);
        let wanted = wants(&plan, &release, &built)?;
        let (finished, _) = tokio::sync::mpsc::unbounded_channel();
        let export = async |names: &[String]| engine.export(names).await;
        let images = store::obtain(&wanted, prepared.family.compression, &blobs, &events, finished, export)
            .await
            .map_err(publish::PublishError::Store)?;
        Ok::<_, Failure>(publish::execute(&release, &images, &registries, &blobs, &events).await?)
    };
    let Some(published) = interrupt.or(work).await else {
        return Err(Failure::new(Exit::Interrupted, "interrupted; what was uploaded stays, a second run goes on from there"));
    };
    let published = published?;
    session.console.result(&Versioned { schema: 1, value: &published }, &summary(&published));
    Ok(())
}

/// A result in JSON says which shape it has.
#[derive(serde::Serialize)]
struct Versioned<T> {
    schema: u32,
    #[serde(flatten)]
    value: T,
}

/// The finished variants in the engine. All that are missing are named at once.
async fn built(plan: &Plan, engine: &Engine) -> Result<BTreeMap<String, InspectedImage>, Failure> {
    let inventory = Inventory::new(engine.images().await?);
    let (mut built, mut missing) = (BTreeMap::new(), Vec::new());
    for variant in &plan.variants {
        let step = plan.step(&variant.finished).filter(|step| inventory.find(step).is_some());
        let image = match step.and_then(|step| step.stage.as_ref()) {
            Some(stage) => engine.inspect(stage).await?,
            None => None,
        };
        match image {
            Some(image) => drop(built.insert(variant.name.to_string(), image)),
            None => missing.push(variant.name.to_string()),
        }
    }
    if missing.is_empty() {
        return Ok(built);
    }
    let flags: Vec<String> = missing.iter().map(|name| format!("--variant {name}")).collect();
    Err(Failure::new(Exit::Missing, format!("not built as variants.toml and the Dockerfiles are now: {}", missing.join(", ")))
        .hint(format!("cargo xtask build {} --profile {}", flags.join(" "), plan.profile)))
}

/// `--destination NAME=REPOSITORY`, by name.
struct Destinations(BTreeMap<String, Repository>);

impl Destinations {
    fn parse(flags: &[String]) -> Result<Self, Failure> {
        let mut named = BTreeMap::new();
        for flag in flags {
            let wrong = |why: &str| Failure::new(Exit::Usage, format!("`--destination {flag}`: {why}"));
            let (name, repository) = flag.split_once('=').ok_or_else(|| wrong("expected `NAME=HOST[:PORT]/REPOSITORY`"))?;
            let repository = repository.parse::<Repository>().map_err(|error| wrong(&error.to_string()))?;
            if named.insert(name.to_owned(), repository).is_some() {
                return Err(wrong("this name is given twice"));
            }
        }
        Ok(Self(named))
    }

    /// The deliveries of a variant: those of the command line replace the file's.
    fn of(&self, prepared: &Prepared, image: &Image, tags: &[Tag]) -> Vec<Delivery> {
        let delivery = |destination: String, repository: Repository, insecure, origin| Delivery {
            destination,
            repository,
            insecure,
            origin,
            tags: tags.to_vec(),
        };
        if !self.0.is_empty() {
            let given = self.0.iter().map(|(name, repository)| (name.clone(), repository.clone()));
            return given.map(|(name, repository)| delivery(name, repository, false, Origin::CommandLine)).collect();
        }
        let names = image.published.iter().flat_map(|published| &published.destinations);
        let known = names.filter_map(|name| Some((name, prepared.family.destinations.get(name)?)));
        known.map(|(name, to)| delivery(name.to_string(), to.repository.clone(), to.insecure, Origin::File)).collect()
    }
}

fn release(
    prepared: &Prepared,
    plan: &Plan,
    built: &BTreeMap<String, InspectedImage>,
    destinations: &Destinations,
    allow_dirty: bool,
) -> Result<ReleasePlan, Failure> {
    let tree = match &prepared.facts.revision {
        None => Tree::NoGit,
        Some(revision) if revision.dirty => Tree::Dirty,
        Some(_) => Tree::Clean,
    };
    let mut releases = Vec::new();
    for variant in &plan.variants {
        let (Some(image), Some(found)) = (prepared.family.images.get(&variant.name), built.get(variant.name.as_str())) else {
            continue;
        };
        let labels = &found.image.labels;
        let input = labels.get(plan::INPUT).and_then(|input| input.parse::<Digest>().ok());
        let revision = match &prepared.facts.revision {
            Some(revision) if tree == Tree::Clean => revision.commit.chars().take(7).collect(),
            _ => format!("dirty-{}", input.map(|input| input.short(8)).unwrap_or_default()),
        };
        let names = plan::published_tags(&prepared.family, image, &plan.build_date, &revision);
        let uses_revision = prepared.family.tags.immutable.uses("revision");
        let tag = |kind, uses_revision| move |name: &String| Tag { name: name.clone(), kind, uses_revision };
        let immutable = names.immutable.iter().map(tag(TagKind::Immutable, uses_revision));
        let tags: Vec<Tag> = immutable.chain(names.moving.iter().map(tag(TagKind::Moving, false))).collect();
        let annotations = labels.iter().filter(|(key, value)| is_annotation(key) && !value.is_empty());
        releases.push(VariantRelease {
            variant: variant.name.clone(),
            platform: plan.platform,
            image: variant.local_tags.first().cloned().unwrap_or_default(),
            config_digest: None,
            annotations: annotations.map(|(key, value)| (key.clone(), value.clone())).collect(),
            labels: labels.clone(),
            destinations: destinations.of(prepared, image, &tags),
        });
    }
    ReleasePlan::new(releases, Circumstances { tree, allow_dirty })
        .map_err(|refusals| publish::PublishError::Refused { refusals }.into())
}

/// Labels that are also the manifest's annotations, where a registry shows them without the image's config.
fn is_annotation(key: &str) -> bool {
    key.starts_with("org.opencontainers.image.") || key == plan::INPUT
}

/// What is exported: by stage tag, which nobody but a build moves. The local tag may be anybody's by now.
fn wants(plan: &Plan, release: &ReleasePlan, built: &BTreeMap<String, InspectedImage>) -> Result<Vec<Want>, Failure> {
    let want = |variant: &VariantRelease| {
        let planned = plan.variants.iter().find(|planned| planned.name == variant.variant);
        let stage = planned.and_then(|planned| plan.step(&planned.finished)?.stage.clone()).unwrap_or_default();
        let id = built.get(variant.variant.as_str()).map(|image| image.image.id.as_str()).unwrap_or_default();
        let id = id.parse::<Digest>().map_err(|error| Failure::new(Exit::Unexpected, "the engine's image id").source(error))?;
        Ok(Want { name: stage, id })
    };
    release.variants().iter().map(want).collect()
}

fn summary(published: &Published) -> String {
    let mut text = String::new();
    for image in &published.images {
        let _ = writeln!(text, "{}  {}", image.variant, image.digest);
        for tag in image.destinations.values().flatten() {
            let state = match tag.state {
                publish::TagState::Set => "set",
                publish::TagState::Moved { .. } => "moved",
                publish::TagState::AlreadyThere => "already there",
            };
            let _ = writeln!(text, "  {}  {state}", tag.reference);
        }
    }
    text
}
