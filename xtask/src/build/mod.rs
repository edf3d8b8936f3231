//! Carries a plan out: every step that the schedule runs, as soon as what it needs is there.

mod graph;
mod inventory;
mod pull;
mod record;
mod step;
mod vertices;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use crate::artifact::Cache;
use crate::context::Context;
use crate::engine::{Engine, EngineError, InspectedImage, SecretBytes};
use crate::event::{Event, Events, Outcome};
use crate::host::entrypoint::Toolchain;
use crate::plan::{Action, Plan, Schedule, Step, StepId, Work};
use crate::registry::Sources;

pub use inventory::Inventory;
pub use pull::pull;
pub use record::{InstructionRun, Recorder, Run, Runs, StepRun};
pub use step::StepError;

/// What a build works with.
pub struct Site {
    /// The engine.
    pub engine: Engine,
    /// Downloads.
    pub cache: Cache,
    /// The folder of variants.toml.
    pub root: PathBuf,
    /// The build contexts, by folder.
    pub contexts: BTreeMap<String, Context>,
    /// Where a pin's bytes are looked for, in this order: mirrors first.
    pub sources: BTreeMap<String, Vec<String>>,
    /// How registries know us.
    pub credentials: Sources,
    /// The CA bundle that builds are given.
    pub ca_bundle: Option<SecretBytes>,
    /// Where the entrypoint comes from.
    pub entrypoint: Entrypoint,
    /// How many builds run at the same time.
    pub jobs: usize,
    /// `--no-cache`
    pub no_cache: bool,
}

/// Where the entrypoint comes from.
#[derive(Debug, Clone)]
pub enum Entrypoint {
    /// `--entrypoint FILE`, checked.
    Given(PathBuf),
    /// From the sources of the workspace.
    Compiled {
        /// The compiler.
        toolchain: Toolchain,
        /// cargo's target folder.
        target: PathBuf,
    },
}

/// What became of a plan.
#[derive(Debug)]
pub struct Report {
    /// How each step ended, in the plan's order; steps that nothing needs are not in it.
    pub steps: Vec<(StepId, Outcome)>,
    /// What went wrong, in the order in which it happened.
    pub errors: Vec<(StepId, StepError)>,
    /// The finished variants, by name.
    pub variants: BTreeMap<String, InspectedImage>,
    /// How long it took.
    pub time: Duration,
}

impl Report {
    /// Whether every step that was to be carried out was.
    pub fn is_whole(&self) -> bool {
        self.errors.is_empty() && self.steps.iter().all(|(_, outcome)| matches!(outcome, Outcome::Done | Outcome::UpToDate))
    }
}

/// Carries out what `schedule` runs of `plan`, tags the variants, and removes the stage tags that are superseded.
///
/// A failed step stops only what depends on it. When `cancel` fires, running builds are cancelled on the engine and
/// nothing new is started.
///
/// # Errors
/// The engine cannot be asked what it has, or a tag cannot be set. What goes wrong in a step is in the report.
pub async fn execute(
    plan: &Plan,
    schedule: &Schedule,
    site: Site,
    inventory: Inventory,
    events: &Events,
    cancel: &CancellationToken,
) -> Result<Report, EngineError> {
    let start = Instant::now();
    let shared = Arc::new(step::Shared::new(site, plan));

    let nodes = plan.steps.iter().filter(|step| schedule.action(&step.id) == Action::Run).map(|step| graph::Node {
        id: step.id.clone(),
        needs: step.needs.iter().filter(|need| schedule.action(need) == Action::Run).cloned().collect(),
        // Downloads and pulls wait for the network, not for a core.
        counts: !matches!(step.work, Work::Artifact { .. } | Work::Pull { .. }),
    });
    let steps: BTreeMap<StepId, Step> = plan.steps.iter().map(|step| (step.id.clone(), step.clone())).collect();
    let perform = {
        let (shared, events, steps) = (shared.clone(), events.clone(), Arc::new(steps));
        move |id: StepId| {
            let (shared, events, steps) = (shared.clone(), events.clone(), steps.clone());
            async move {
                match steps.get(&id) {
                    Some(step) => step::perform(&shared, step, &events).await,
                    None => Ok(String::new()),
                }
            }
        }
    };
    let ended = graph::run(nodes.collect(), shared.site.jobs, perform, events, cancel).await;

    let mut report = Report { steps: Vec::new(), errors: ended.errors, variants: BTreeMap::new(), time: Duration::ZERO };
    for step in &plan.steps {
        match schedule.action(&step.id) {
            Action::Run => {
                report.steps.push((step.id.clone(), ended.outcomes.get(&step.id).copied().unwrap_or(Outcome::Cancelled)))
            }
            Action::UpToDate => {
                events.emit(Event::StepFinished {
                    step: step.id.to_string(),
                    outcome: Outcome::UpToDate,
                    seconds: Duration::ZERO,
                    detail: String::new(),
                });
                report.steps.push((step.id.clone(), Outcome::UpToDate));
            }
            Action::NotNeeded => {}
        }
    }
    tag_variants(plan, &mut report, &shared.site.engine, &inventory).await?;
    if !cancel.is_cancelled() {
        remove_replaced(plan, &report, &shared.site.engine, &inventory).await?;
    }
    if report.is_whole() {
        remove_superseded(plan, &shared.site.engine, &inventory).await?;
    }
    report.time = start.elapsed();
    Ok(report)
}

/// Gives every variant that is whole its local tags.
async fn tag_variants(plan: &Plan, report: &mut Report, engine: &Engine, inventory: &Inventory) -> Result<(), EngineError> {
    let whole = |outcome: Outcome| matches!(outcome, Outcome::Done | Outcome::UpToDate);
    let outcomes: BTreeMap<StepId, Outcome> = report.steps.iter().cloned().collect();
    for variant in &plan.variants {
        let Some(stage) = plan.step(&variant.finished).and_then(|step| step.stage.as_ref()) else { continue };
        if !outcomes.get(&variant.finished).copied().is_some_and(whole) {
            continue;
        }
        let Some(inspected) = engine.inspect(stage).await? else { continue };
        for tag in variant.local_tags.iter().filter(|tag| inventory.id(tag) != Some(&inspected.image.id)) {
            engine.tag(stage, tag).await?;
        }
        report.variants.insert(variant.name.to_string(), inspected);
    }
    Ok(())
}

/// Removes the stage tags of earlier inputs of the images that were just built.
async fn remove_superseded(plan: &Plan, engine: &Engine, inventory: &Inventory) -> Result<(), EngineError> {
    for tag in inventory.superseded(plan) {
        untag_unless_used(engine, &tag).await?;
    }
    Ok(())
}

/// Removes images whose stage tag a new build of the same inputs took over (`--no-cache`): nothing names them any more.
async fn remove_replaced(plan: &Plan, report: &Report, engine: &Engine, inventory: &Inventory) -> Result<(), EngineError> {
    let outcomes: BTreeMap<&StepId, Outcome> = report.steps.iter().map(|(step, outcome)| (step, *outcome)).collect();
    for step in plan.steps.iter().filter(|step| outcomes.get(&step.id) == Some(&Outcome::Done)) {
        let Some((stage, before)) = step.stage.as_ref().and_then(|stage| Some((stage, inventory.id(stage)?))) else { continue };
        if engine.inspect(stage).await?.is_some_and(|now| now.image.id != before) {
            // By its id, the engine would take a person's only tag of it away, too.
            let is_nameless = engine.inspect(before).await?.is_some_and(|image| image.image.tags.is_empty());
            if is_nameless {
                untag_unless_used(engine, before).await?;
            }
        }
    }
    Ok(())
}

/// Removes a tag, unless it is the last name of an image that a container uses: then it stays until the next time.
async fn untag_unless_used(engine: &Engine, tag: &str) -> Result<(), EngineError> {
    match engine.untag(tag).await {
        Ok(()) | Err(EngineError::Refused { status: 409, .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
