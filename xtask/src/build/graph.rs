//! Runs steps as soon as what they need is done; a failed one stops only what depends on it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Display;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::event::{Event, Events, Outcome};
use crate::plan::StepId;

/// A step and what it waits for.
pub(super) struct Node {
    pub(super) id: StepId,
    /// Must be in the same graph.
    pub(super) needs: BTreeSet<StepId>,
    /// Whether it counts against the jobs.
    pub(super) counts: bool,
}

/// How the steps ended.
pub(super) struct Ended<E> {
    pub(super) outcomes: BTreeMap<StepId, Outcome>,
    /// In the order in which they came.
    pub(super) errors: Vec<(StepId, E)>,
}

/// Runs `nodes`, at most `jobs` of those that count at a time. `perform` gives a few words on success.
///
/// When `cancel` fires, the running futures are dropped (which cancels what they do) and nothing new starts.
pub(super) async fn run<E, F, P>(
    nodes: Vec<Node>,
    jobs: usize,
    perform: P,
    events: &Events,
    cancel: &CancellationToken,
) -> Ended<E>
where
    E: Display + Send + 'static,
    F: Future<Output = Result<String, E>> + Send + 'static,
    P: Fn(StepId) -> F,
{
    let permits = Arc::new(Semaphore::new(jobs.max(1)));
    let mut waiting: BTreeMap<StepId, Node> = nodes.into_iter().map(|node| (node.id.clone(), node)).collect();
    let mut ended = Ended { outcomes: BTreeMap::new(), errors: Vec::new() };
    let mut running = JoinSet::new();
    let mut tasks: HashMap<tokio::task::Id, StepId> = HashMap::new();
    loop {
        let ready: Vec<StepId> = waiting.values().filter(|node| node.needs.is_empty()).map(|node| node.id.clone()).collect();
        for id in ready {
            let Some(node) = waiting.remove(&id) else { continue };
            let work = perform(id.clone());
            let (permits, events, step) = (permits.clone(), events.clone(), id.clone());
            let task = running.spawn(async move {
                let permit = if node.counts { permits.acquire_owned().await.ok() } else { None };
                let start = Instant::now();
                let result = work.await;
                drop(permit);
                let (outcome, detail) = match &result {
                    Ok(detail) => (Outcome::Done, detail.clone()),
                    Err(error) => (Outcome::Failed, error.to_string()),
                };
                events.emit(Event::StepFinished { step: step.to_string(), outcome, seconds: start.elapsed(), detail });
                (step, result.map(|_| ()))
            });
            tasks.insert(task.id(), id);
        }
        let next = tokio::select! {
            biased;
            () = cancel.cancelled() => {
                running.shutdown().await;
                break;
            }
            next = running.join_next() => next,
        };
        match next {
            None => break,
            Some(Ok((id, Ok(())))) => {
                ended.outcomes.insert(id.clone(), Outcome::Done);
                for node in waiting.values_mut() {
                    node.needs.remove(&id);
                }
            }
            Some(Ok((id, Err(error)))) => {
                ended.outcomes.insert(id.clone(), Outcome::Failed);
                ended.errors.push((id.clone(), error));
                skip(&id, &mut waiting, &mut ended.outcomes, events);
            }
            // A step that panicked: nothing that depends on it may run.
            Some(Err(join)) => {
                if let Some(id) = tasks.get(&join.id()).cloned() {
                    finish(&id, Outcome::Failed, "a bug: it panicked".to_owned(), events);
                    ended.outcomes.insert(id.clone(), Outcome::Failed);
                    skip(&id, &mut waiting, &mut ended.outcomes, events);
                }
            }
        }
    }
    for id in tasks.values().chain(waiting.keys()) {
        if !ended.outcomes.contains_key(id) {
            finish(id, Outcome::Cancelled, String::new(), events);
            ended.outcomes.insert(id.clone(), Outcome::Cancelled);
        }
    }
    ended
}

/// Takes out everything that depends on `failed`, however far.
fn skip(failed: &StepId, waiting: &mut BTreeMap<StepId, Node>, outcomes: &mut BTreeMap<StepId, Outcome>, events: &Events) {
    let mut gone = vec![failed.clone()];
    while let Some(cause) = gone.pop() {
        let hit: Vec<StepId> = waiting.values().filter(|node| node.needs.contains(&cause)).map(|node| node.id.clone()).collect();
        for id in hit {
            waiting.remove(&id);
            finish(&id, Outcome::Skipped, format!("`{failed}` failed"), events);
            outcomes.insert(id.clone(), Outcome::Skipped);
            gone.push(id);
        }
    }
}

fn finish(id: &StepId, outcome: Outcome, detail: String, events: &Events) {
    events.emit(Event::StepFinished { step: id.to_string(), outcome, seconds: std::time::Duration::ZERO, detail });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;
    use std::sync::Mutex;

    fn id(name: &str) -> StepId {
        StepId::named(name)
    }

    fn diamond() -> Vec<Node> {
        let node =
            |name: &str, needs: &[&str]| Node { id: id(name), needs: needs.iter().map(|name| id(name)).collect(), counts: true };
        vec![node("base", &[]), node("aws", &["base"]), node("azure", &["base"]), node("aws-web", &["aws"])]
    }

    async fn ended(failing: &'static str) -> (Vec<String>, BTreeMap<String, Outcome>) {
        let ran = Arc::new(Mutex::new(Vec::new()));
        let perform = {
            let ran = ran.clone();
            move |id: StepId| {
                ran.lock().unwrap().push(id.to_string());
                async move { if id.as_str() == failing { Err("it broke") } else { Ok(String::new()) } }
            }
        };
        let events: Events = Arc::new(Silent);
        let ended = run(diamond(), 2, perform, &events, &CancellationToken::new()).await;
        let ran = ran.lock().unwrap().clone();
        (ran, ended.outcomes.into_iter().map(|(id, outcome)| (id.to_string(), outcome)).collect())
    }

    #[tokio::test]
    async fn parents_run_before_their_children() {
        let (ran, outcomes) = ended("").await;
        let at = |name: &str| ran.iter().position(|step| step == name);
        assert!(at("base") < at("aws") && at("base") < at("azure") && at("aws") < at("aws-web"), "{ran:?}");
        assert!(outcomes.values().all(|outcome| *outcome == Outcome::Done));
    }

    #[tokio::test]
    async fn a_failed_step_stops_only_what_depends_on_it() {
        let (ran, outcomes) = ended("aws").await;
        assert!(!ran.contains(&"aws-web".to_owned()));
        assert_eq!(outcomes["aws"], Outcome::Failed);
        assert_eq!(outcomes["aws-web"], Outcome::Skipped);
        assert_eq!(outcomes["azure"], Outcome::Done);
    }

    #[tokio::test]
    async fn a_cancelled_graph_starts_nothing_new() {
        let cancel = CancellationToken::new();
        let token = cancel.clone();
        let perform = move |_: StepId| {
            let token = token.clone();
            async move {
                token.cancel();
                std::future::pending::<Result<String, String>>().await
            }
        };
        let events: Events = Arc::new(Silent);
        let ended = run(diamond(), 2, perform, &events, &cancel).await;
        assert!(ended.outcomes.values().all(|outcome| *outcome == Outcome::Cancelled), "{:?}", ended.outcomes);
        assert_eq!(ended.outcomes.len(), 4);
    }
}
