//! `cargo xtask build`: carries a plan out on the engine.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::prepare::{Locking, Prepared};
use super::{Session, age, bump, changed, edge, engine};
use crate::build::{self, Inventory, Recorder, Report, Run, Runs, Site};
use crate::cli::Build;
use crate::engine::{Engine, SecretBytes};
use crate::event::{Event, Events, Outcome};
use crate::failure::{Exit, Failure};
use crate::host::lockfile::{FamilyLock, LockKind, WhenHeld};
use crate::host::requirement;
use crate::output::{self, BuildLog};
use crate::plan::{self, Plan};

pub(super) async fn run(session: &Session, args: &Build) -> Result<(), Failure> {
    if args.bump {
        bump::all(session).await?;
    }
    let locking = if args.dry_run { Locking::InMemory } else { Locking::Write };
    let mut prepared = Prepared::gather(session, &args.inputs, locking).await?;
    if let Some(commit) = &args.changed_since {
        changed::narrow(session, &mut prepared, &args.inputs, commit).await?;
    }
    let plan = prepared.plan()?;
    age::check(session, &prepared, &plan, args.allow_old_pins)?;
    let engine = engine::connect().await?;
    if args.dry_run {
        let inventory = Inventory::new(engine.images().await?);
        let schedule = plan::schedule(&plan, |step| inventory.find(step).is_some(), args.no_cache);
        let value = json!({ "schema": 1, "plan": plan, "actions": schedule.actions });
        session.console.result(&value, &output::dry_run(&plan, &schedule));
        return Ok(());
    }
    let options = Options { jobs: usize::from(args.jobs), no_cache: args.no_cache, wait: !args.no_wait };
    let containerd_store = engine.info().containerd_store;
    let report = build(session, &prepared, &plan, engine, &options).await?;
    if let Some(file) = &args.metadata_file {
        let text = serde_json::to_string_pretty(&metadata(&plan, &report, containerd_store)).unwrap_or_default();
        edge::write_beside(file, text.as_bytes())?;
    }
    let value = json!({
        "schema": 1,
        "seconds": report.time.as_secs_f64(),
        "steps": report.steps.iter().map(|(step, outcome)| json!({ "step": step, "outcome": outcome })).collect::<Vec<_>>(),
        "variants": metadata(&plan, &report, containerd_store),
    });
    session.console.result(&value, &summary(&plan, &report));
    Ok(())
}

/// How a build is carried out.
pub(super) struct Options {
    pub(super) jobs: usize,
    pub(super) no_cache: bool,
    /// Whether another build of this family is waited for.
    pub(super) wait: bool,
}

/// Builds a plan; a failure names the step, its last lines and the log.
pub(super) async fn build(
    session: &Session,
    prepared: &Prepared,
    plan: &Plan,
    engine: Engine,
    options: &Options,
) -> Result<Report, Failure> {
    let places = session.places()?;
    let console: Events = session.console.events();
    let lock_events = console.clone();
    let waiting = move |holder: &str| {
        lock_events.emit(Event::Note { text: format!("waiting for another build of this family: {holder}") });
    };
    let when_held = if options.wait { WhenHeld::Wait } else { WhenHeld::Fail };
    let interrupt = session.interrupt()?;
    let locked = FamilyLock::acquire(&places, LockKind::Build, &plan.family, when_held, waiting);
    let Some(lock) = interrupt.or(locked).await else {
        return Err(Failure::new(Exit::Interrupted, "interrupted"));
    };
    let _lock = lock?;
    let cancel = interrupt.token();

    let log = BuildLog::create(&places.logs()?, &edge::log_name("build"), console.clone())
        .map_err(|error| Failure::new(Exit::Missing, "cannot write the build's log").source(error))?;
    let folder = places.state_folder("builds")?;
    let file = Runs::file(&folder, plan.family.as_str(), plan.profile.as_str());
    let recorder = Recorder::begin(file, run_of(plan, options), log.clone());
    let events: Events = recorder.clone();
    for warning in &plan.warnings {
        events.emit(Event::Warning { text: warning.clone() });
    }
    // Asked under the lock: another build may just have made what is needed.
    let inventory = Inventory::new(engine.images().await?);
    let schedule = plan::schedule(plan, |step| inventory.find(step).is_some(), options.no_cache);
    preflight(plan, &schedule)?;
    let site = Site {
        engine,
        cache: prepared.cache(session)?,
        root: session.root.clone(),
        contexts: prepared.contexts.clone(),
        sources: prepared.sources.clone(),
        credentials: prepared.credentials.clone(),
        ca_bundle: prepared.ca_bundle.as_ref().map(|bytes| SecretBytes(bytes.clone())),
        entrypoint: prepared.entrypoint.clone(),
        jobs: options.jobs,
        no_cache: options.no_cache,
    };
    let executed = build::execute(plan, &schedule, site, inventory, &events, &cancel).await;
    recorder.end(match &executed {
        _ if cancel.is_cancelled() => Outcome::Cancelled,
        Ok(report) if report.is_whole() => Outcome::Done,
        _ => Outcome::Failed,
    });
    drop((events, recorder));
    let mut report = executed?;
    if cancel.is_cancelled() {
        return Err(Failure::new(Exit::Interrupted, "interrupted; what was built is kept, a second run goes on from there"));
    }
    match failure(&mut report, &log) {
        Some(failure) => Err(failure),
        None => Ok(report),
    }
}

/// A run that begins now.
fn run_of(plan: &Plan, options: &Options) -> Run {
    let now = OffsetDateTime::now_utc();
    Run {
        began: now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default(),
        variants: plan.variants.iter().map(|variant| variant.name.to_string()).collect(),
        jobs: options.jobs,
        no_cache: options.no_cache,
        ..Run::default()
    }
}

/// Everything that the steps which will run need of this machine, asked at once, before the first of them begins.
fn preflight(plan: &Plan, schedule: &plan::Schedule) -> Result<(), Failure> {
    let running = plan.steps.iter().filter(|step| schedule.action(&step.id) == plan::Action::Run);
    let needed = running.flat_map(|step| match &step.work {
        plan::Work::Bootstrap { suite, .. } => requirement::bootstrapping(suite, plan.platform),
        _ => Vec::new(),
    });
    let missing: Vec<_> = needed.filter_map(|row| row.found.err().map(|why| (why, row.needed_for, row.mend))).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let whys: Vec<String> = missing.iter().map(|(why, needed_for, _)| format!("{why} (for {needed_for})")).collect();
    let mends = missing.iter().filter_map(|(_, _, mend)| mend.text());
    let hints: Vec<String> = std::iter::once("cargo xtask setup    installs what is missing".to_owned()).chain(mends).collect();
    Err(Failure::new(Exit::Missing, whys.join("\n       ")).hint(hints.join("\n")))
}

/// The failure of a report with errors: the first error in full, the others and what was skipped by name.
fn failure(report: &mut Report, log: &Arc<BuildLog>) -> Option<Failure> {
    let mut errors = std::mem::take(&mut report.errors).into_iter();
    let mut failure = match errors.next() {
        Some((step, error)) => edge::step_failure(&step, error),
        None if report.is_whole() => return None,
        // What panicked has said so itself, and has no error to tell.
        None => Failure::new(Exit::Unexpected, "a step ended in a way that it should not"),
    };
    for (step, error) in errors {
        failure.message += &format!("; `{step}`: {error}");
    }
    let skipped: Vec<&str> =
        report.steps.iter().filter(|(_, outcome)| *outcome == Outcome::Skipped).map(|(step, _)| step.as_str()).collect();
    if !skipped.is_empty() {
        failure.message += &format!("; not built because of it: {}", skipped.join(", "));
    }
    let whole = format!("the whole log: {}", log.path().display());
    failure.hint = Some(failure.hint.map_or_else(|| whole.clone(), |hint| format!("{hint}\n{whole}")));
    Some(failure)
}

/// What was built, with the key names of `docker buildx bake --metadata-file`.
fn metadata(plan: &Plan, report: &Report, containerd_store: bool) -> BTreeMap<String, serde_json::Value> {
    let of = |variant: &plan::VariantPlan| {
        let image = report.variants.get(variant.name.as_str())?;
        // What an engine calls an image is a manifest's digest on containerd's store, a config's on a graph driver.
        let key = if containerd_store { "containerimage.digest" } else { "containerimage.config.digest" };
        let value = json!({
            key: image.image.id,
            "image.name": variant.local_tags.join(","),
            "gantry.input-digest": image.image.labels.get(plan::INPUT),
        });
        Some((variant.name.to_string(), value))
    };
    plan.variants.iter().filter_map(of).collect()
}

fn summary(plan: &Plan, report: &Report) -> String {
    let mut text = String::new();
    let built = report.steps.iter().filter(|(_, outcome)| *outcome == Outcome::Done).count();
    let there = report.steps.iter().filter(|(_, outcome)| *outcome == Outcome::UpToDate).count();
    for variant in &plan.variants {
        if let Some(image) = report.variants.get(variant.name.as_str()) {
            text += &format!("{}  {}  {} layers\n", variant.local_tags.join(", "), image.image.id, image.diff_ids.len());
        }
    }
    text + &format!("{built} built, {there} up to date, {:.1} s\n", report.time.as_secs_f64())
}
