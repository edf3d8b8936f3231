//! Everything that can be known to stand in the way of a publish before its build begins.

use std::path::Path;

use futures_util::future::join_all;

use super::doctor::ENGINE_ROOT;
use super::prepare::Prepared;
use super::{Session, ecr, smoke};
use crate::event::Event;
use crate::failure::{Exit, Failure};
use crate::host::requirement;
use crate::plan::{Action, Plan, Schedule, Work};
use crate::publish::{PublishError, Refusal, Registries, ReleasePlan};

/// What the labels forbid that the images are going to have: a component that this profile leaves out, a CA bundle.
pub(super) fn policies(plan: &Plan, wanted: &ReleasePlan) -> Result<(), Failure> {
    let refusals: Vec<Refusal> = plan
        .variants
        .iter()
        .filter_map(|variant| match &plan.step(&variant.finished)?.work {
            Work::Build(built) => Some(wanted.forbidden(&variant.name, &built.labels)),
            _ => None,
        })
        .flatten()
        .collect();
    if refusals.is_empty() { Ok(()) } else { Err(PublishError::Refused { refusals }.into()) }
}

/// Whether every destination takes a push, and whether there is room for what is built: all that is wrong, at once.
pub(super) async fn all(
    session: &Session,
    prepared: &Prepared,
    wanted: &ReleasePlan,
    registries: &Registries,
    schedule: &Schedule,
) -> Result<(), Failure> {
    let events = session.console.events();
    ecr::preflight(wanted, &prepared.family, &events).await?;
    let probes = registries.iter().map(|(repository, registry)| async move { (repository, registry.probe_push().await) });
    let mut wrong: Vec<(String, Option<String>)> = Vec::new();
    for (repository, probed) in join_all(probes).await {
        if let Err(error) = probed {
            wrong.push((format!("`{repository}` takes no push: {error}"), error.hint()));
        }
    }
    if let Err(failure) = smoke::needed() {
        wrong.push((failure.message, failure.hint));
    }
    if schedule.actions.values().any(|action| *action == Action::Run) {
        // How much a build takes is not known before it: what is left of one may fit all the same.
        let rows = requirement::room(Some(Path::new(ENGINE_ROOT)).filter(|root| root.is_dir()), &session.places()?);
        for row in rows {
            if let Err(why) = &row.found {
                events.emit(Event::Warning { text: format!("{}: {why} for a whole family; {}", row.name, row.mend) });
            }
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    let messages: Vec<&str> = wrong.iter().map(|(message, _)| message.as_str()).collect();
    let failure = Failure::new(Exit::Missing, messages.join("\n       "));
    let mut hints: Vec<String> = wrong.iter().filter_map(|(_, hint)| hint.clone()).collect();
    hints.dedup();
    Err(if hints.is_empty() { failure } else { failure.hint(hints.join("\n")) })
}
