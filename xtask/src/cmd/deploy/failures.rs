//! How a deployment ends that comes to nothing, and what then goes on.

use std::collections::{BTreeMap, HashSet};

use super::{Begun, quoted, short};
use crate::cli::DeployEcs;
use crate::deploy::{Progress, Service, Verdict};
use crate::failure::{Exit, Failure};

/// So many of a service's last words are told with a failure.
const LAST_WORDS: usize = 5;

/// One failure of all that failed, with what goes on without us.
pub(super) fn together(failures: Vec<Failure>, going: &[(&Begun, HashSet<String>, Progress)]) -> Option<Failure> {
    let mut failures = failures.into_iter();
    let mut first = failures.next()?;
    for other in failures {
        first.message += &format!("; {}", other.message);
    }
    if !going.is_empty() {
        let names = quoted(going.iter().map(|(it, ..)| it.plan.service.service_name.as_str()));
        first.message += &format!(" (the deployment of {names} goes on)");
    }
    Some(first)
}

/// The same failure with what was done before it, and stays: task definitions that are registered, deployments that have begun.
pub(super) fn after(mut failure: Failure, registered: &BTreeMap<String, String>, begun: &[Begun]) -> Failure {
    let mut done = Vec::new();
    if !registered.is_empty() {
        let are = if registered.len() == 1 { "is" } else { "are" };
        done.push(format!("{} {are} registered", quoted(registered.values().map(|arn| short(arn)))));
    }
    if !begun.is_empty() {
        let names = quoted(begun.iter().map(|it| it.plan.service.service_name.as_str()));
        done.push(format!("the deployment of {names} has begun"));
    }
    if !done.is_empty() {
        failure.message += &format!(" ({})", done.join("; "));
    }
    failure
}

/// A deployment that came to nothing.
pub(super) fn failed(it: &Begun, service: &Service, verdict: Verdict) -> Failure {
    let name = &it.plan.service.service_name;
    let (message, hint) = match verdict {
        Verdict::Failed { why, rolled_back: true } => (
            format!("the deployment of `{name}` failed, and ECS rolls it back: {why}"),
            "what ran before keeps running; `aws ecs describe-tasks` of a stopped task says why it stopped",
        ),
        Verdict::Failed { why, .. } => (
            format!("the deployment of `{name}` failed: {why}"),
            "nothing is rolled back: `aws ecs describe-tasks` of a stopped task says why it stopped",
        ),
        Verdict::Superseded { by } => (
            format!("the deployment of `{name}` was replaced by another one, {by}"),
            "somebody else deploys this service: only one at a time can wait for it",
        ),
        Verdict::Gone { status } => (format!("the service `{name}` is {}", status.to_lowercase()), "somebody deletes it"),
        Verdict::Going(_) | Verdict::Steady(_) => (format!("the deployment of `{name}` failed"), ""),
    };
    let failure = Failure::new(Exit::Deploy, message).detail(last_words(service));
    if hint.is_empty() { failure } else { failure.hint(hint) }
}

pub(super) fn late(args: &DeployEcs, going: &[(&Begun, HashSet<String>, Progress)], services: &[Service]) -> Failure {
    let told = going.iter().map(|(it, _, progress)| format!("`{}`: {progress}", it.plan.service.service_name));
    let told = told.collect::<Vec<_>>().join("; ");
    let words = services.iter().map(last_words).filter(|words| !words.is_empty()).collect::<Vec<_>>().join("\n");
    Failure::new(Exit::Deploy, format!("not steady within {} s, and it goes on: {told}", args.timeout))
        .detail(words)
        .hint("a longer `--timeout`; the last events say what it waits for")
}

/// The last events of a service, the oldest first.
fn last_words(service: &Service) -> String {
    let last: Vec<&str> = service.events.iter().take(LAST_WORDS).map(|event| event.message.as_str()).collect();
    last.into_iter().rev().collect::<Vec<_>>().join("\n")
}
