//! `cargo xtask push`: publishes what this plan built, the same bytes to every destination.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::prepare::{Locking, Prepared};
use super::session::variable;
use super::{Session, ecr, engine, lineage};
use crate::build::Inventory;
use crate::cli::Push;
use crate::engine::{Engine, HeldImage, HeldLayer, InspectedImage};
use crate::event::Event;
use crate::failure::{Exit, Failure};
use crate::family::Image;
use crate::host::lockfile::{FamilyLock, LockKind, WhenHeld};
use crate::oci::{Digest, Repository};
use crate::plan::{self, Plan, Step};
use crate::publish::{
    self, Built, Choice, Circumstances, Deciding, Delivery, IndexRelease, Ledger, Means, Origin, PublishError, Published,
    PublishedIndex, PublishedTag, Release, ReleasePlan, Tag, TagKind, Tree, VariantRelease,
};
use crate::store::{Blobs, Direct, DirectImage, DirectLayer, Limit, Want};

pub(super) async fn run(session: &Session, args: &Push) -> Result<(), Failure> {
    let limit = limit()?;
    let destinations = Destinations::parse(&args.destinations)?;
    let prepared = Prepared::gather(session, &args.inputs, Locking::InMemory).await?;
    let plan = prepared.plan()?;
    let engine = OnceEngine::default();
    let built = built(&plan, &engine).await?;
    let (wanted, indexes) = release(&prepared, &plan, &built.images, &destinations, args.allow_dirty)?;

    let places = session.places()?;
    let events = session.console.events();
    let waiting = |holder: &str| events.emit(Event::Note { text: format!("waiting for another publisher: {holder}") });
    let _lock = match args.dry_run {
        true => None,
        false => Some(FamilyLock::acquire(&places, LockKind::Publish, &plan.family, WhenHeld::Wait, waiting).await?),
    };
    let interrupt = session.interrupt()?;
    session.interruptible(ecr::preflight(&wanted, &prepared.family, &events)).await?;
    let references = wanted.references();
    let mut ledger =
        Ledger::open(&places.state_folder("releases")?, &release_name(&prepared, &plan)).map_err(PublishError::Ledger)?;
    let blobs = Blobs::open(&places.cache_folder("layers")?).map_err(PublishError::Store)?;
    let blobs = Arc::new(match engine.0.get() {
        Some(engine) => blobs.beside(held(engine)),
        None => blobs,
    });
    let work = async {
        let registries = publish::connect(&wanted, &prepared.credentials).await?;
        let compression = prepared.family.compression;
        let deciding = Deciding {
            registries: &registries,
            ledger: ledger.view(),
            blobs: &blobs,
            compression,
            force: args.force,
            sbom: false,
        };
        let release = Release::decide(wanted, &deciding).await?;
        if args.dry_run {
            let preview = release.preview();
            session.console.result(&preview, &preview.to_string());
            return Ok(None);
        }
        let means = Means {
            registries: &registries,
            blobs: &blobs,
            compression,
            events: &events,
            attaching: publish::Attaching::Nothing,
        };
        let export = async |names: &[String]| engine.get().await?.export(names).await.map_err(Failure::from);
        let published = publish::execute(&release, &means, &mut ledger, export).await?;
        let indexes = publish::complete(&indexes, &registries, &mut ledger, &events).await;
        let indexes = indexes.map_err(|error| error.after(&published))?;
        Ok(Some(Pushed { schema: 1, published, indexes }))
    };
    let Some(published) = interrupt.or(work).await else {
        return Err(Failure::new(Exit::Interrupted, "interrupted; what was uploaded stays, a second run goes on from there"));
    };
    let published = published
        .map_err(|error: PublishError| failure(error.remembering(ledger.view(), &references), &plan, built.unreachable))?;
    if let Some(pushed) = published {
        // What cannot be looked at now is trimmed another time.
        let trimmed = blobs.trim(limit).unwrap_or_default();
        if trimmed.blobs > 0 {
            let text = format!("{} layers that were not used any more left the cache ({} bytes)", trimmed.blobs, trimmed.bytes);
            events.emit(Event::Note { text });
        }
        session.console.result(&pushed, &summary(&pushed));
    }
    Ok(())
}

/// How large the cache of layers may stay.
fn limit() -> Result<Limit, Failure> {
    let Some(text) = variable(Limit::VARIABLE) else { return Ok(Limit::default()) };
    text.parse::<Limit>().map_err(|error| Failure::new(Exit::Usage, format!("{}: {error}", Limit::VARIABLE)))
}

/// What is missing is built by a command that can be named in full, where there is an engine to build it.
fn failure(error: PublishError, plan: &Plan, unreachable: Option<Failure>) -> Failure {
    match (&error, unreachable) {
        (PublishError::Missing { .. }, Some(unreachable)) => unreachable,
        (PublishError::Missing { variants }, None) => {
            let flags: Vec<String> = variants.iter().map(|name| format!("--variant {name}")).collect();
            let hint = format!("cargo xtask build {} --profile {}", flags.join(" "), plan.profile);
            Failure::from(error).hint(hint)
        }
        _ => error.into(),
    }
}

/// What a release is called: `ansible-epic-2026.11.20-3f2c1ab`. All that is published of one commit and date is one release.
fn release_name(prepared: &Prepared, plan: &Plan) -> String {
    let revision = match &prepared.facts.revision {
        Some(revision) if !revision.dirty => revision.commit.chars().take(7).collect(),
        Some(_) => "dirty".to_owned(),
        None => "unversioned".to_owned(),
    };
    format!("{}-{}-{revision}", plan.family, plan.build_date.to_string().replace('-', "."))
}

/// The engine, asked for once something needs it.
#[derive(Default)]
pub(super) struct OnceEngine(tokio::sync::OnceCell<Engine>);

impl OnceEngine {
    pub(super) async fn get(&self) -> Result<&Engine, Failure> {
        self.0.get_or_try_init(engine::connect).await
    }
}

/// Layers that this user may read in the engine's own files are not exported.
pub(super) fn held(engine: &Engine) -> Direct {
    let engine = engine.clone();
    let layer = |layer: HeldLayer| DirectLayer { diff_id: layer.diff_id, open: Box::new(move || Ok(Box::new(layer.open()?))) };
    let image = move |HeldImage { config, layers }| DirectImage { config, layers: layers.into_iter().map(layer).collect() };
    Direct::new(move |ids| Some(engine.held(ids)?.into_iter().map(image).collect()))
}

/// The result. In JSON it says which shape it has.
#[derive(serde::Serialize)]
pub(super) struct Pushed {
    pub(super) schema: u32,
    #[serde(flatten)]
    pub(super) published: Published,
    /// Of a family of several platforms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) indexes: Vec<PublishedIndex>,
}

/// What the engine has of the plan.
#[derive(Default)]
struct Here {
    images: BTreeMap<String, InspectedImage>,
    /// Why it could not be asked.
    unreachable: Option<Failure>,
}

/// The finished variants in the engine, as far as they are there: what is published already needs no engine.
async fn built(plan: &Plan, engine: &OnceEngine) -> Result<Here, Failure> {
    let engine = match engine.get().await {
        Ok(engine) => engine,
        Err(failure) if failure.exit == Exit::Missing => return Ok(Here { unreachable: Some(failure), ..Here::default() }),
        Err(failure) => return Err(failure),
    };
    let inventory = Inventory::new(engine.images().await?);
    let mut built = BTreeMap::new();
    for variant in &plan.variants {
        let step = plan.step(&variant.finished).filter(|step| inventory.find(step).is_some());
        if let Some(stage) = step.and_then(|step| step.stage.as_ref())
            && let Some(image) = engine.inspect(stage).await?
        {
            built.insert(variant.name.to_string(), image);
        }
    }
    Ok(Here { images: built, unreachable: None })
}

/// `--destination NAME=REPOSITORY`, by name.
struct Destinations(BTreeMap<String, Repository>);

impl Destinations {
    fn parse(flags: &[String]) -> Result<Self, Failure> {
        let mut named = BTreeMap::new();
        for flag in flags {
            let (name, repository) = super::destinations::replacement(flag)?;
            if named.insert(name, repository).is_some() {
                return Err(Failure::new(Exit::Usage, format!("`--destination {flag}`: this name is given twice")));
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
) -> Result<(ReleasePlan, Vec<IndexRelease>), Failure> {
    let tree = match &prepared.facts.revision {
        None => Tree::NoGit,
        Some(revision) if revision.dirty => Tree::Dirty,
        Some(_) => Tree::Clean,
    };
    let (mut releases, mut indexes) = (Vec::new(), Vec::new());
    let platforms = &prepared.family.platforms;
    for variant in &plan.variants {
        let finished = plan.step(&variant.finished);
        let (Some(image), Some(step)) = (prepared.family.images.get(&variant.name), finished) else { continue };
        let revision = match &prepared.facts.revision {
            Some(revision) if tree == Tree::Clean => revision.commit.chars().take(7).collect(),
            _ => format!("dirty-{}", step.input.short(8)),
        };
        let names = plan::published_tags(&prepared.family, image, &plan.build_date, &revision);
        let uses_revision = prepared.family.tags.immutable.uses("revision");
        let tag = |kind, uses_revision| move |name: &String| Tag { name: name.clone(), kind, uses_revision };
        let immutable = names.immutable.iter().map(tag(TagKind::Immutable, uses_revision));
        let tags: Vec<Tag> = immutable.chain(names.moving.iter().map(tag(TagKind::Moving, false))).collect();
        let mut to = destinations.of(prepared, image, &tags);
        if platforms.len() > 1 {
            let (variant, platforms) = (variant.name.clone(), platforms.clone());
            indexes.push(IndexRelease { variant, platforms, destinations: to.clone() });
            for tags in to.iter_mut().map(|to| &mut to.tags) {
                tags.retain(|tag| tag.kind == TagKind::Immutable);
                tags.iter_mut().for_each(|tag| tag.name = publish::member_tag(&tag.name, plan.platform));
            }
        }
        let here = built.get(variant.name.as_str());
        let here = here.map(|found| in_engine(found, step, variant.local_tags.first())).transpose()?;
        releases.push(VariantRelease {
            variant: variant.name.clone(),
            platform: plan.platform,
            input: step.input,
            built: here,
            config_digest: None,
            ancestors: lineage::ancestors(&prepared.family, image),
            destinations: to,
        });
    }
    let plan = ReleasePlan::new(releases, Circumstances { tree, allow_dirty });
    Ok((plan.map_err(|refusals| PublishError::Refused { refusals })?, indexes))
}

/// What is exported goes by its stage tag, which nobody but a build moves. The local tag may be anybody's by now.
fn in_engine(found: &InspectedImage, step: &Step, tag: Option<&String>) -> Result<Built, Failure> {
    let id = found.image.id.parse::<Digest>();
    let id = id.map_err(|error| Failure::new(Exit::Unexpected, "the engine's image id").source(error))?;
    Ok(Built {
        image: tag.cloned().unwrap_or_default(),
        want: Want { name: step.stage.clone().unwrap_or_default(), id },
        manifest: None,
        diff_ids: found.diff_ids.clone(),
        labels: found.image.labels.clone(),
    })
}

pub(super) fn summary(pushed: &Pushed) -> String {
    let mut text = String::new();
    let tags = |text: &mut String, tags: &mut dyn Iterator<Item = &PublishedTag>| {
        for tag in tags {
            let state = match tag.state {
                publish::TagState::Set => "set",
                publish::TagState::Moved { .. } => "moved",
                publish::TagState::AlreadyThere => "already there",
            };
            let _ = writeln!(text, "  {}  {state}", tag.reference);
        }
    };
    for image in &pushed.published.images {
        let why = match &image.choice {
            Choice::Built => String::new(),
            Choice::Adopted { tag, .. } => format!(", as published at {tag}"),
            Choice::Unchanged { tag, .. } => format!(", unchanged since {tag}"),
            Choice::Resumed { .. } => ", as it was under way".to_owned(),
            Choice::Given { reference, .. } => format!(", as published at {reference}"),
        };
        let _ = writeln!(text, "{}  {}{why}", image.variant, image.digest);
        tags(&mut text, &mut image.destinations.values().flatten());
    }
    for index in &pushed.indexes {
        let what = index.digest.map_or_else(|| "not yet: platforms are missing".to_owned(), |digest| digest.to_string());
        let _ = writeln!(text, "{} (all platforms)  {what}", index.variant);
        tags(&mut text, &mut index.tags.iter());
    }
    text
}
