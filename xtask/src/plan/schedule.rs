//! What of a plan has to be done on an engine that already has some of it. Pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::Serialize;

use super::{Plan, Step, StepId, Work};

/// What is done about a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// It is carried out.
    Run,
    /// The engine has its result, and something uses it.
    UpToDate,
    /// Nothing that is built needs it.
    NotNeeded,
}

/// The actions of a plan's steps, in the plan's order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schedule {
    /// One for each step of the plan.
    pub actions: BTreeMap<StepId, Action>,
}

impl Schedule {
    /// What is done about this step.
    pub fn action(&self, id: &StepId) -> Action {
        self.actions.get(id).copied().unwrap_or(Action::NotNeeded)
    }

    /// The steps that are carried out, by name.
    pub fn running(&self) -> impl Iterator<Item = &StepId> {
        self.actions.iter().filter(|(_, action)| **action == Action::Run).map(|(id, _)| id)
    }
}

/// Decides from the variants downwards: what is there is not looked below. With `anew` (`--no-cache`), every image that
/// is built from a Dockerfile is built again, whatever is there.
pub fn schedule(plan: &Plan, present: impl Fn(&Step) -> bool, anew: bool) -> Schedule {
    let steps: HashMap<&StepId, &Step> = plan.steps.iter().map(|step| (&step.id, step)).collect();
    let mut wanted: HashSet<&StepId> = plan.variants.iter().map(|variant| &variant.finished).collect();
    let mut actions = BTreeMap::new();
    // Steps stand after all that they need, so backwards every consumer is decided before what it consumes.
    for step in plan.steps.iter().rev() {
        let action = if !wanted.contains(&step.id) {
            Action::NotNeeded
        } else if (anew && matches!(step.work, Work::Build(_))) || !present(step) {
            wanted.extend(step.needs.iter().filter_map(|id| steps.get(id)).map(|step| &step.id));
            Action::Run
        } else {
            Action::UpToDate
        };
        actions.insert(step.id.clone(), action);
    }
    Schedule { actions }
}
