//! Pins that may not be used any more: what [`crate::family::age`] says of a plan's pins, today.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::prepare::Prepared;
use super::{Session, edge};
use crate::event::Event;
use crate::failure::{Exit, Failure};
use crate::family::age::{self, Age, Aged};
use crate::family::{Family, Lock, Name};
use crate::oci::Platform;
use crate::plan::{Plan, Work};

/// Says which pins of the plan's images are about to become too old, and refuses those that are; with `allowed`, says so and
/// goes on. A pin that is left out has no age.
pub(super) fn check(session: &Session, prepared: &Prepared, plan: &Plan, allowed: bool) -> Result<(), Failure> {
    let pins: BTreeSet<&Name> = plan
        .steps
        .iter()
        .filter_map(|step| match &step.work {
            Work::Artifact { pin, .. } => Some(pin),
            _ => None,
        })
        .collect();
    let events = session.console.events();
    let mut past = Vec::new();
    for aged in age::of(pins, &prepared.family, &prepared.lock, plan.platform, &edge::today()) {
        match aged.age {
            Age::Past { .. } if !allowed => past.push(aged),
            _ if aged.age.is_worth_a_word() => {
                events.emit(Event::Warning { text: format!("{aged}: {}", mend(&[&aged])) });
            }
            _ => {}
        }
    }
    match past.is_empty() {
        true => Ok(()),
        false => Err(refusal(&past.iter().collect::<Vec<_>>())
            .hint(format!("{}\n--allow-old-pins    goes on all the same", mend(&past.iter().collect::<Vec<_>>())))),
    }
}

/// What `doctor` has to say of `pins`.
pub(super) fn survey(pins: &BTreeSet<Name>, family: &Family, lock: &Lock, platform: Platform) -> Vec<Aged> {
    age::of(pins, family, lock, platform, &edge::today())
}

/// The same as a line for people.
pub(super) fn as_text(aged: &Aged) -> String {
    let verdict = match (&aged.age, aged.age.is_worth_a_word()) {
        (Age::Past { .. }, _) => "too old",
        (_, true) => "warning",
        (_, false) => "ok",
    };
    let mend = match aged.age.is_worth_a_word() {
        true => format!("{:9}{:20} mend: {}\n", "", "", mend(&[aged])),
        false => String::new(),
    };
    format!("{verdict:8} {:20} {aged}\n{mend}", format!("age of {}", aged.pin))
}

/// And for programs.
pub(super) fn as_json(aged: &Aged) -> Value {
    let (state, until) = match &aged.age {
        Age::Unknown => ("unknown", None),
        Age::Good { until, .. } => (if aged.age.is_worth_a_word() { "soon" } else { "good" }, Some(until)),
        Age::Past { .. } => ("past", None),
    };
    json!({ "pin": aged.pin, "version": aged.version, "state": state, "until": until, "text": aged.to_string() })
}

/// The failure that pins are which are too old; none where none is.
pub(super) fn failure(aged: &[Aged]) -> Option<Failure> {
    let past: Vec<&Aged> = aged.iter().filter(|aged| matches!(aged.age, Age::Past { .. })).collect();
    (!past.is_empty()).then(|| refusal(&past).hint(mend(&past)))
}

fn refusal(past: &[&Aged]) -> Failure {
    let messages: Vec<String> = past.iter().map(ToString::to_string).collect();
    Failure::new(Exit::Refused, messages.join("\n       "))
}

/// The command that looks for what is newer.
fn mend(aged: &[&Aged]) -> String {
    let names: Vec<&str> = aged.iter().map(|aged| aged.pin.as_str()).collect();
    format!("cargo xtask bump {}", names.join(" "))
}
