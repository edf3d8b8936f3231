//! `cargo xtask smoke`: runs built images and checks what they promise.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::json;
use time::OffsetDateTime;

use super::contents::Library;
use super::prepare::{Locking, Prepared};
use super::subject::{Finder, Place};
use super::{Session, edge, engine};
use crate::build::Inventory;
use crate::cli;
use crate::engine::Engine;
use crate::event::{Event, Events};
use crate::failure::{Exit, Failure};
use crate::family::Name;
use crate::host::places::Places;
use crate::oci::Digest;
use crate::plan::{self, Plan, VariantPlan};
use crate::smoke::judge::PublishedSize;
use crate::smoke::{self, Choice, Outcome, Promise, Record, Report, Room, Subject, Tried};
use crate::store::Want;

/// How long a destination may take to tell what is published.
const LOOK_UP: Duration = Duration::from_secs(8);

pub(super) async fn run(session: &Session, args: &cli::Smoke) -> Result<(), Failure> {
    let prepared = Prepared::gather(session, &args.inputs, Locking::InMemory).await?;
    let plan = prepared.plan()?;
    let engine = engine::connect().await?;
    let options = Options {
        jobs: args.jobs.into(),
        patience: Duration::from_secs(args.patience.into()),
        again: args.again,
        within: None,
        image: args.image.clone(),
        published: BTreeMap::new(),
        keep: args.keep,
        destinations: args.destinations.clone(),
        choice: Choice::new(&args.only),
    };
    if args.dry_run {
        return preview(session, &prepared, &plan, &engine, &options).await;
    }
    let report = smoke(session, &prepared, &plan, &engine, &options).await?;
    if let Some(file) = &args.junit {
        edge::write_beside(file, report.junit().as_bytes())?;
    }
    session.console.result(&report, &report.to_string());
    verdict(&report)
}

/// Nothing, or the failure that a failed report is.
pub(super) fn verdict(report: &Report) -> Result<(), Failure> {
    let failed: Vec<String> = report
        .failed()
        .map(|image| {
            let names: Vec<String> = image.failures().map(|check| format!("`{}`", check.name)).collect();
            format!("`{}` ({})", image.variant, names.join(", "))
        })
        .collect();
    match failed.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(Exit::Smoke, format!("smoke failed: {}", failed.join(", ")))
            .hint("cargo xtask smoke --keep … leaves the containers for a look")),
    }
}

/// How images are tried.
#[derive(Debug, Clone)]
pub(super) struct Options {
    /// How many at the same time.
    pub(super) jobs: usize,
    /// How long a container may take until it is healthy.
    pub(super) patience: Duration,
    /// Also those that were tried by the same checks.
    pub(super) again: bool,
    /// Also those of which that was longer ago.
    pub(super) within: Option<Duration>,
    /// An image that stands in for the one variant of the plan.
    pub(super) image: Option<String>,
    /// Images that stand in for what this plan would build of the same: what the engine calls them, and people.
    pub(super) published: BTreeMap<Name, Published>,
    /// Leave what was started.
    pub(super) keep: bool,
    /// `--destination`: where the last release is looked up, instead of where the file says.
    pub(super) destinations: Vec<String>,
    /// Which checks are tried. What comes of some of them is not recorded.
    pub(super) choice: Choice,
}

/// An image that is published, as the engine has it.
#[derive(Debug, Clone)]
pub(super) struct Published {
    /// In the engine.
    pub(super) tag: String,
    /// In the registry.
    pub(super) name: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            jobs: 2,
            patience: Duration::from_secs(90),
            again: false,
            within: None,
            image: None,
            published: BTreeMap::new(),
            keep: false,
            destinations: Vec::new(),
            choice: Choice::default(),
        }
    }
}

/// What trying takes of this machine.
pub(super) fn needed() -> Result<(), Failure> {
    let needed = ["ssh", "ssh-keygen"].into_iter().filter(|program| which(program).is_none()).collect::<Vec<_>>();
    if needed.is_empty() {
        return Ok(());
    }
    let message = format!("`{}` is not installed: images are entered with it", needed.join("` and `"));
    Err(Failure::new(Exit::Missing, message).hint("sudo apt-get install openssh-client"))
}

/// Tries the images of the plan's variants and records what came of each. Whatever was started is gone afterwards.
pub(super) async fn smoke(
    session: &Session,
    prepared: &Prepared,
    plan: &Plan,
    engine: &Engine,
    options: &Options,
) -> Result<Report, Failure> {
    let begun = Instant::now();
    let events = session.console.events();
    let places = session.places()?;
    needed()?;
    let candidates = session.interruptible(candidates(prepared, plan, engine, options)).await?;
    let order: Vec<Name> = candidates.iter().map(|candidate| candidate.variant.name.clone()).collect();
    let counts = options.image.is_none() && options.choice.is_all();
    let asks = counts && !options.again;
    let passed = |digest: Digest, promise: &Promise| match asks {
        true => passed(&places, digest, promise, options.within, &events),
        false => Ok(None),
    };
    let (mut images, mut left) = (Vec::new(), Vec::new());
    for candidate in candidates {
        match candidate.digest.map(|digest| passed(digest, &candidate.promise)).transpose()?.flatten() {
            Some(tried) => images.push(tried),
            None => left.push(candidate),
        }
    }
    let subjects = session.interruptible(subjects(session, prepared, &left, options)).await?;
    let mut new = Vec::new();
    for subject in subjects {
        match passed(subject.config_digest, &subject.promise)? {
            Some(tried) => images.push(tried),
            None => new.push(subject),
        }
    }
    let checks: Vec<Digest> = new.iter().map(|subject| subject.promise.digest()).collect();
    let tried = match new.is_empty() {
        true => Vec::new(),
        false => {
            let room = Room::new(engine.clone(), plan.family.clone(), options.keep)?;
            let Options { jobs, patience, ref choice, .. } = *options;
            let trying = smoke::Options { jobs, patience, choice: choice.clone() };
            let tried = session.interrupt()?.or(smoke::try_all(&room, new, trying, &events)).await;
            room.clear().await?;
            if options.keep {
                let text = format!("what was started is left: docker ps -a --filter name={}", room.name());
                events.emit(Event::Note { text });
            }
            tried.ok_or_else(|| {
                Failure::new(
                    Exit::Interrupted,
                    if options.keep { "interrupted" } else { "interrupted; what was started is gone" },
                )
            })??
        }
    };
    if counts {
        for (tried, checks) in tried.iter().zip(checks) {
            Record::new(tried, checks).write(&places)?;
        }
        forget(&places, engine).await;
    }
    images.extend(tried);
    images.sort_by_key(|tried| order.iter().position(|name| *name == tried.variant));
    Ok(Report { schema: 1, images, seconds: (begun.elapsed().as_secs_f64() * 1000.0).round() / 1000.0 })
}

/// Forgets what was tried long ago, but for the images that the engine has.
async fn forget(places: &Places, engine: &Engine) {
    // Where that cannot be told now, it is told the next time.
    let Ok(images) = engine.images().await else { return };
    let there = images.iter().filter_map(|image| image.id.parse().ok()).collect();
    Record::trim(places, &there);
}

/// The image as it was found when it passed the same checks before.
fn passed(
    places: &Places,
    digest: Digest,
    promise: &Promise,
    within: Option<Duration>,
    events: &Events,
) -> Result<Option<Tried>, Failure> {
    let record = Record::read(places, digest)?;
    let record = record.filter(|record| record.passed() && record.checks == promise.digest());
    let record = record.filter(|record| within.is_none_or(|age| record.is_recent(age, OffsetDateTime::now_utc())));
    if let Some(record) = &record {
        let text = format!("`{}` passed the same checks at {}: not tried again (--again does)", record.image, record.at);
        events.emit(Event::Note { text });
    }
    Ok(record.map(Record::tried))
}

/// Where a program of this machine is.
fn which(program: &str) -> Option<std::path::PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// An image that may be tried, before its layers are looked at.
struct Candidate {
    variant: VariantPlan,
    /// What people call it.
    image: String,
    want: Want,
    /// Its identity, where the engine knows images by that.
    digest: Option<Digest>,
    /// What it has to show.
    promise: Promise,
    stands_in: bool,
}

/// What is there to be tried: the images that the plan built, or the one that stands in for one of them.
async fn candidates(prepared: &Prepared, plan: &Plan, engine: &Engine, options: &Options) -> Result<Vec<Candidate>, Failure> {
    let candidate = async |variant: &VariantPlan, reference: &str, stands_in: bool| {
        candidate(prepared, plan, engine, variant, reference, stands_in).await
    };
    if let Some(image) = &options.image {
        let [variant] = plan.variants.as_slice() else {
            return Err(Failure::new(Exit::Usage, "`--image` stands in for one variant, and more are selected")
                .hint(format!("cargo xtask smoke --variant NAME --image {image}")));
        };
        let found = candidate(variant, image, true).await?;
        let none = || Failure::new(Exit::Missing, format!("the engine `{}` has no image `{image}`", engine.endpoint()));
        return known(vec![found.ok_or_else(none)?], &options.choice);
    }
    let inventory = Inventory::new(engine.images().await?);
    let (mut candidates, mut missing) = (Vec::new(), Vec::new());
    for variant in &plan.variants {
        let step = plan.step(&variant.finished).filter(|step| inventory.find(step).is_some());
        let published = options.published.get(&variant.name);
        let tag = published.map(|published| &published.tag).or_else(|| step?.stage.as_ref());
        let found = match tag {
            Some(tag) => candidate(variant, tag, false).await?,
            None => None,
        };
        let named = |found: Candidate| match published {
            Some(published) => Candidate { image: published.name.clone(), ..found },
            None => found,
        };
        let found = found.map(named);
        match found {
            Some(found) => candidates.push(found),
            None => missing.push(variant.name.to_string()),
        }
    }
    if missing.is_empty() {
        return known(candidates, &options.choice);
    }
    let flags: Vec<String> = missing.iter().map(|name| format!("--variant {name}")).collect();
    Err(Failure::new(Exit::Missing, format!("not built as variants.toml and the Dockerfiles are now: {}", missing.join(", ")))
        .hint(format!("cargo xtask build {} --profile {}", flags.join(" "), plan.profile)))
}

/// The candidates, unless somebody has chosen checks that none of them has.
fn known(candidates: Vec<Candidate>, choice: &Choice) -> Result<Vec<Candidate>, Failure> {
    let unmatched = choice.unmatched(candidates.iter().map(|candidate| &candidate.promise));
    let unmatched: Vec<String> = unmatched.into_iter().map(|pattern| format!("`{pattern}`")).collect();
    match unmatched.is_empty() {
        true => Ok(candidates),
        false => Err(Failure::new(Exit::Usage, format!("no check is called {}", unmatched.join(", nor ")))
            .hint("cargo xtask smoke --dry-run    lists the checks")),
    }
}

async fn candidate(
    prepared: &Prepared,
    plan: &Plan,
    engine: &Engine,
    variant: &VariantPlan,
    reference: &str,
    stands_in: bool,
) -> Result<Option<Candidate>, Failure> {
    let (Some(found), Some(config)) = (engine.inspect(reference).await?, engine.configuration(reference).await?) else {
        return Ok(None);
    };
    // Nothing that is to be tried is passed over: what would try it is missing here.
    let promise = Promise::of(&prepared.family, plan, variant, stands_in.then_some(&config.labels)).ok_or_else(|| {
        Failure::new(
            Exit::Unexpected,
            format!("the plan does not say how `{}` is built, so that there is nothing to try it by", variant.name),
        )
    })?;
    let id = found.image.id.parse::<Digest>();
    let id = id.map_err(|error| Failure::new(Exit::Unexpected, "the engine's image id").source(error))?;
    let name = variant.local_tags.first().filter(|_| !stands_in).cloned();
    // An export names images as the engine lists them.
    let tag = found.image.tags.iter().find(|tag| *tag == reference).or(found.image.tags.first()).cloned();
    Ok(Some(Candidate {
        variant: variant.clone(),
        image: name.unwrap_or_else(|| reference.to_owned()),
        want: Want { name: tag.unwrap_or_else(|| reference.to_owned()), id },
        // Where containerd keeps the images, they are known by their manifests.
        digest: (!engine.info().containerd_store).then_some(id),
        promise,
        stands_in,
    }))
}

/// Reads the layers of what is to be tried, and looks up what is published of it.
async fn subjects(
    session: &Session,
    prepared: &Prepared,
    candidates: &[Candidate],
    options: &Options,
) -> Result<Vec<Subject>, Failure> {
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let finder = Finder::new(session, Some(&prepared.family), &options.destinations)?;
    let library = Library::open(session, prepared.family.compression)?;
    let wants: Vec<Want> = candidates.iter().map(|candidate| candidate.want.clone()).collect();
    let looking = candidates.iter().map(async |candidate| match options.choice.takes("growth") {
        true => published(prepared, &finder, candidate).await,
        false => Ok(None),
    });
    let (contents, published) = tokio::join!(library.of_engine(&finder, &wants), join_all(looking));
    let mut subjects = Vec::new();
    for ((candidate, contents), published) in candidates.iter().zip(contents?).zip(published) {
        let size = contents.layers.iter().map(|(_, size)| *size).sum::<Option<u64>>();
        subjects.push(Subject {
            promise: candidate.promise.clone(),
            image: candidate.image.clone(),
            // By its identity: a tag may move meanwhile.
            reference: candidate.want.id.to_string(),
            config_digest: contents.config_digest,
            config: contents.config,
            layers: contents.layers.into_iter().map(|(layer, _)| layer).collect(),
            compressed: size.ok_or_else(|| "its layers are not in the store of layers any more".to_owned()),
            published,
        });
    }
    Ok(subjects)
}

/// What the moving tag of a variant is in the first of its destinations that has one.
async fn published(prepared: &Prepared, finder: &Finder, candidate: &Candidate) -> Result<Option<PublishedSize>, String> {
    let image = prepared.family.images.get(&candidate.variant.name);
    let Some(image) = image else { return Ok(None) };
    let Some(published) = &image.published else { return Ok(None) };
    let moving = plan::published_tags(&prepared.family, image, &prepared.family.build_date, "").moving;
    let Some(tag) = moving.first() else { return Ok(None) };
    let mut reasons = Vec::new();
    for destination in finder.destinations_of(published) {
        let looked = tokio::time::timeout(LOOK_UP, finder.published(&destination, tag)).await;
        let late = |_| Err(format!("the destination `{destination}` does not answer within {} s", LOOK_UP.as_secs()));
        match looked.unwrap_or_else(late) {
            Ok(Some(subject)) => {
                let Place::Registry(stored) = &subject.place else { continue };
                let bytes = stored.layers.iter().map(|layer| layer.size).sum();
                return Ok(Some(PublishedSize { reference: subject.name, bytes }));
            }
            Ok(None) => {}
            Err(why) => reasons.push(why),
        }
    }
    if reasons.is_empty() { Ok(None) } else { Err(reasons.join("; ")) }
}

async fn preview(session: &Session, prepared: &Prepared, plan: &Plan, engine: &Engine, options: &Options) -> Result<(), Failure> {
    let places = session.places()?;
    let (mut text, mut images) = (String::new(), Vec::new());
    for candidate in candidates(prepared, plan, engine, options).await? {
        let promise = &candidate.promise;
        let record = candidate.digest.map(|digest| Record::read(&places, digest)).transpose()?.flatten();
        let counts = options.choice.is_all() && !candidate.stands_in;
        let record = record.filter(|record| counts && record.checks == promise.digest());
        let before = match &record {
            Some(record) if record.outcome == Outcome::Failed => format!("failed at {}", record.at),
            Some(record) => format!("passed at {}: not tried again (--again does)", record.at),
            None => "to be tried".to_owned(),
        };
        let _ = writeln!(text, "{}  {}  {before}", candidate.variant.name, candidate.image);
        let checks = smoke::checks(promise, &options.choice);
        for check in &checks {
            let _ = writeln!(text, "  {check}");
        }
        images.push(json!({
            "variant": candidate.variant.name,
            "image": candidate.image,
            "tried": record.map(|record| json!({ "at": record.at, "outcome": record.outcome })),
            "checks": checks,
        }));
    }
    session.console.result(&json!({ "schema": 1, "images": images }), &text);
    Ok(())
}
