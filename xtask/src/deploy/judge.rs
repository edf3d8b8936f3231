//! How a deployment goes. Pure.

use std::collections::HashSet;
use std::fmt;

use super::model::{Deployment, Message, Service};

/// How far a deployment is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progress {
    /// Tasks that should run.
    pub desired: u64,
    /// Tasks that run.
    pub running: u64,
    /// Tasks that start.
    pub pending: u64,
    /// Tasks that did not start.
    pub failed: u64,
    /// Tasks of the deployments before that still run.
    pub old: u64,
    /// `IN_PROGRESS`
    pub rollout: Option<String>,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { desired, running, pending, failed, old, .. } = self;
        write!(f, "{running} of {desired} running, {pending} pending")?;
        if *failed > 0 {
            write!(f, ", {failed} failed to start")?;
        }
        if *old > 0 {
            write!(f, ", {old} old running")?;
        }
        match &self.rollout {
            Some(state) => write!(f, " ({})", state.to_lowercase().replace('_', " ")),
            None => Ok(()),
        }
    }
}

/// What became of a deployment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Going(Progress),
    /// The service is steady on it.
    Steady(Progress),
    /// ECS gave it up; with its words.
    Failed {
        /// Why, in ECS's words.
        why: String,
        /// Whether the service goes back to what it was before.
        rolled_back: bool,
    },
    /// Somebody else's deployment took its place.
    Superseded {
        /// That one's id.
        by: String,
    },
    /// The service is being deleted.
    Gone {
        /// `DRAINING`, `INACTIVE`
        status: String,
    },
}

/// What became of the deployment `id` of a service.
pub fn judge(service: &Service, id: &str) -> Verdict {
    if service.status == "DRAINING" || service.status == "INACTIVE" {
        return Verdict::Gone { status: service.status.clone() };
    }
    let ours = service.deployments.iter().find(|deployment| deployment.id == id);
    let primary = service.primary();
    let rolls_back = |deployment: &&Deployment| {
        deployment.id != id
            && words(deployment)
                .to_lowercase()
                .replace("roll back", "rollback")
                .replace("rolling back", "rollback")
                .contains("rollback")
    };
    let rollback = primary.filter(rolls_back);
    match (ours, rollback, primary) {
        (Some(ours), rollback, _) if ours.rollout_state.as_deref() == Some("FAILED") => {
            let said = [words(ours), rollback.map(words).unwrap_or_default()];
            let why = said.iter().copied().find(|words| !words.is_empty()).unwrap_or("it gives no reason").to_owned();
            let rolled_back = rollback.is_some() || why.to_lowercase().contains("rolling back");
            Verdict::Failed { why, rolled_back }
        }
        // Already drained away, or on its way.
        (_, Some(rollback), _) => Verdict::Failed { why: words(rollback).to_owned(), rolled_back: true },
        (_, None, Some(primary)) if primary.id != id => Verdict::Superseded { by: primary.id.clone() },
        (Some(ours), ..) => {
            let progress = progress(service, ours);
            let steady = match ours.rollout_state.as_deref() {
                Some(state) => state == "COMPLETED",
                // What AWS's own waiter looks at.
                None => service.deployments.len() == 1 && service.running_count == service.desired_count,
            };
            if steady { Verdict::Steady(progress) } else { Verdict::Going(progress) }
        }
        (None, None, _) => Verdict::Failed { why: "the service does not list it any more".to_owned(), rolled_back: false },
    }
}

fn words(deployment: &Deployment) -> &str {
    deployment.rollout_state_reason.as_deref().unwrap_or_default().trim()
}

fn progress(service: &Service, ours: &Deployment) -> Progress {
    let others = service.deployments.iter().filter(|deployment| deployment.id != ours.id);
    Progress {
        desired: ours.desired_count,
        running: ours.running_count,
        pending: ours.pending_count,
        failed: ours.failed_tasks,
        old: others.map(|deployment| deployment.running_count).fold(0, u64::saturating_add),
        rollout: ours.rollout_state.clone(),
    }
}

/// What the service has told that is not in `seen`, the oldest first; it is then.
pub fn news<'s>(service: &'s Service, seen: &mut HashSet<String>) -> Vec<&'s Message> {
    let mut news: Vec<&Message> = service.events.iter().filter(|event| seen.insert(event.id.clone())).collect();
    news.reverse();
    news
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn service(deployments: &Value) -> Service {
        let facts = json!({
            "serviceArn": "arn:aws:ecs:us-west-2:123456789012:service/workspaces/ansible", "serviceName": "ansible",
            "status": "ACTIVE", "desiredCount": 1, "runningCount": 1, "taskDefinition": "ansible:7", "deployments": deployments,
        });
        serde_json::from_value(facts).expect("a service")
    }

    fn deployment(id: &str, status: &str, state: Option<&str>, running: u64, words: &str) -> Value {
        json!({ "id": id, "status": status, "rolloutState": state, "rolloutStateReason": words, "runningCount": running, "desiredCount": 1 })
    }

    #[test]
    fn what_becomes_of_a_deployment() {
        const BACK: &str = "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1.";
        let broke = "ECS deployment circuit breaker: tasks failed to start.";
        let old = |running| deployment("1", "ACTIVE", Some("COMPLETED"), running, "");
        let ours = |status, state, words| deployment("2", status, state, 0, words);
        for (deployments, told) in [
            (
                json!([ours("PRIMARY", Some("IN_PROGRESS"), ""), old(1)]),
                "going: 0 of 1 running, 0 pending, 1 old running (in progress)",
            ),
            (json!([ours("PRIMARY", Some("COMPLETED"), "")]), "steady: 0 of 1 running, 0 pending (completed)"),
            (json!([ours("PRIMARY", Some("FAILED"), broke)]), &format!("failed: {broke}")),
            (json!([ours("PRIMARY", Some("FAILED"), "")]), "failed: it gives no reason"),
            (
                json!([deployment("3", "PRIMARY", Some("IN_PROGRESS"), 0, BACK), ours("ACTIVE", Some("FAILED"), broke)]),
                &format!("back: {broke}"),
            ),
            (json!([deployment("3", "PRIMARY", Some("COMPLETED"), 1, BACK)]), &format!("back: {BACK}")),
            (
                json!([deployment("1", "PRIMARY", Some("IN_PROGRESS"), 1, BACK), ours("ACTIVE", Some("IN_PROGRESS"), "")]),
                &format!("back: {BACK}"),
            ),
            (
                json!([deployment("3", "PRIMARY", Some("IN_PROGRESS"), 0, ""), ours("ACTIVE", Some("IN_PROGRESS"), "")]),
                "superseded: 3",
            ),
            (json!([]), "failed: the service does not list it any more"),
            // Behind a Classic Load Balancer.
            (json!([ours("PRIMARY", None, "")]), "steady: 0 of 1 running, 0 pending"),
            (json!([ours("PRIMARY", None, ""), old(1)]), "going: 0 of 1 running, 0 pending, 1 old running"),
        ] {
            let verdict = match judge(&service(&deployments), "2") {
                Verdict::Going(progress) => format!("going: {progress}"),
                Verdict::Steady(progress) => format!("steady: {progress}"),
                Verdict::Failed { why, rolled_back: true } => format!("back: {why}"),
                Verdict::Failed { why, .. } => format!("failed: {why}"),
                Verdict::Superseded { by } => format!("superseded: {by}"),
                Verdict::Gone { status } => format!("gone: {status}"),
            };
            assert_eq!(verdict, told, "{deployments}");
        }
        let draining = Service { status: "DRAINING".to_owned(), ..service(&json!([])) };
        assert_eq!(judge(&draining, "2"), Verdict::Gone { status: "DRAINING".to_owned() });
    }

    #[test]
    fn news_is_told_once_and_in_order() {
        let event = |id: &str| Message { id: id.to_owned(), message: id.to_owned() };
        let mut service = service(&json!([]));
        let mut seen = HashSet::from(["a".to_owned()]);
        service.events = vec![event("c"), event("b"), event("a")];
        let ids = |news: Vec<&Message>| news.into_iter().map(|event| event.id.clone()).collect::<Vec<_>>();
        assert_eq!(ids(news(&service, &mut seen)), ["b", "c"]);
        assert!(news(&service, &mut seen).is_empty());
    }
}
