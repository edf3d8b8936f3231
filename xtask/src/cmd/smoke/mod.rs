//! `cargo xtask smoke`: runs built images and checks what they promise.

mod candidates;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::json;
use time::OffsetDateTime;

use self::candidates::{candidates, subjects};
use super::prepare::{Locking, Prepared};
use super::{Session, edge, engine};
use crate::cli;
use crate::engine::Engine;
use crate::event::{Event, Events};
use crate::failure::{Exit, Failure};
use crate::family::Name;
use crate::host::places::Places;
use crate::oci::Digest;
use crate::plan::Plan;
use crate::smoke::{self, Choice, Outcome, Promise, Record, Report, Room, Tried};

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
            let cleared = room.clear().await;
            // What was found out holds all the same.
            if let Err(error) = &cleared {
                let text = format!("what was started is not gone: {error}; `cargo xtask clean` takes it away");
                events.emit(Event::Warning { text });
            }
            if options.keep {
                let text = format!("what was started is left: docker ps -a --filter name={}", room.name());
                events.emit(Event::Note { text });
            }
            tried.ok_or_else(|| {
                let is_gone = !options.keep && cleared.is_ok();
                Failure::new(Exit::Interrupted, if is_gone { "interrupted; what was started is gone" } else { "interrupted" })
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
