//! Amazon ECS while deployments go on, which moto does not show: one cluster and its services, which go through states as a test
//! lists them. A double, written from the public API reference (JSON 1.1 protocol, DescribeServices, UpdateService): nobody
//! asked ECS itself.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::front::{Front, Say, answer};

/// The service's deployment before.
pub const OLD: &str = "ecs-svc/1000000000000000001";
/// The deployment that UpdateService begins.
pub const NEW: &str = "ecs-svc/1000000000000000002";

#[derive(Default)]
struct State {
    /// What DescribeServices answers from the next request on, once UpdateService was asked: a service, or a list of some. The last
    /// one stays.
    states: Vec<Value>,
    begun: bool,
    /// Revisions of the task definition, after the seventh.
    registered: u32,
    /// An operation, how many requests for it go well before, and the next one's answer: status, `__type`.
    troubles: Vec<(&'static str, usize, u16, &'static str)>,
}

/// The double.
pub struct Ecs {
    /// Where it listens, and what it saw.
    pub front: Front,
    state: Arc<Mutex<State>>,
}

/// A deployment as ECS tells it.
pub fn deployment(id: &str, status: &str, rollout: &str, running: u64, reason: &str) -> Value {
    json!({
        "id": id, "status": status, "rolloutState": rollout, "rolloutStateReason": reason, "createdAt": 1_795_212_345.678,
        "desiredCount": 1, "runningCount": running, "pendingCount": 1 - running, "failedTasks": 0,
        "taskDefinition": "arn:aws:ecs:us-west-2:271851283454:task-definition/ansible:7",
    })
}

/// A service's state: its deployments, and its events, the newest first.
pub fn state(deployments: &[Value], events: &[&str]) -> Value {
    let events =
        events.iter().map(|text| json!({ "id": format!("id of {text}"), "createdAt": 1_795_212_345.678, "message": text }));
    json!({
        "serviceArn": "arn:aws:ecs:us-west-2:271851283454:service/workspaces/ansible", "serviceName": "ansible",
        "clusterArn": "arn:aws:ecs:us-west-2:271851283454:cluster/workspaces", "status": "ACTIVE", "desiredCount": 1, "runningCount": 1,
        "pendingCount": 0, "taskDefinition": "arn:aws:ecs:us-west-2:271851283454:task-definition/ansible:7",
        "deploymentController": { "type": "ECS" }, "deployments": deployments, "events": events.collect::<Vec<_>>(),
    })
}

/// The same state of another service.
pub fn of(name: &str, mut state: Value) -> Value {
    state["serviceName"] = name.into();
    state["serviceArn"] = format!("arn:aws:ecs:us-west-2:271851283454:service/workspaces/{name}").into();
    state
}

impl Ecs {
    /// With these states, one after the other.
    pub fn going_through(states: Vec<Value>) -> Self {
        let state = Arc::new(Mutex::new(State { states, ..State::default() }));
        let kept = Arc::clone(&state);
        let front = Front::alone(move |asked| {
            let mut state = state.lock().expect("the state");
            let target = asked.headers().get("x-amz-target").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let action = target.strip_prefix("AmazonEC2ContainerServiceV20141113.").unwrap_or_default().to_owned();
            let trouble = state.troubles.iter().position(|(of, ..)| *of == action);
            if let Some((_, before @ 1.., ..)) = trouble.and_then(|at| state.troubles.get_mut(at)) {
                *before -= 1;
            } else if let Some(at) = trouble {
                let (.., status, kind) = state.troubles.remove(at);
                let told = json!({ "__type": format!("com.amazonaws.ecs#{kind}"), "message": format!("no {action} now") });
                return Say::Answer(answer(status, "application/x-amz-json-1.1", told.to_string()));
            }
            let body: Value = serde_json::from_slice(asked.body()).unwrap_or_default();
            let names = body["services"].as_array().into_iter().flatten().filter_map(Value::as_str);
            // Names, or ARNs.
            let names: Vec<&str> = names.filter_map(|name| name.rsplit('/').next()).collect();
            let before = |name: &&str| {
                let deployments = [deployment(OLD, "PRIMARY", "COMPLETED", 1, "")];
                of(name, super::ecs::state(&deployments, &["(service ansible) is old news."]))
            };
            let told = match action.as_str() {
                "DescribeClusters" => {
                    json!({ "clusters": [{ "clusterName": "workspaces", "status": "ACTIVE" }], "failures": [] })
                }
                "DescribeTaskDefinition" => {
                    json!({ "taskDefinition": { "family": "ansible", "revision": 7, "containerDefinitions": [
                    { "name": "workspace", "image": "ghcr.io/sapphire-health/ansible-epic:aws-coder" },
                ] } })
                }
                "DescribeServices" if !state.begun => {
                    json!({ "services": names.iter().map(before).collect::<Vec<_>>(), "failures": [] })
                }
                "DescribeServices" => {
                    let now = if state.states.len() > 1 { state.states.remove(0) } else { state.states[0].clone() };
                    let now = if let Value::Array(services) = now { services } else { vec![now] };
                    let asked = now.into_iter().filter(|service| names.iter().any(|name| service["serviceName"] == *name));
                    json!({ "services": asked.collect::<Vec<_>>(), "failures": [] })
                }
                "RegisterTaskDefinition" => {
                    state.registered += 1;
                    let arn = format!("arn:aws:ecs:us-west-2:271851283454:task-definition/ansible:{}", 7 + state.registered);
                    json!({ "taskDefinition": { "taskDefinitionArn": arn } })
                }
                "UpdateService" => {
                    state.begun = true;
                    let both = [deployment(NEW, "PRIMARY", "IN_PROGRESS", 0, ""), deployment(OLD, "ACTIVE", "COMPLETED", 1, "")];
                    let name = body["service"].as_str().unwrap_or_default();
                    json!({ "service": of(name, super::ecs::state(&both, &["(service ansible) is old news."])) })
                }
                other => panic!("`{other}` was asked"),
            };
            Say::Answer(answer(200, "application/x-amz-json-1.1", told.to_string()))
        });
        Self { front, state: kept }
    }

    /// The next request for `action` is refused so.
    pub fn trouble(&self, action: &'static str, status: u16, kind: &'static str) {
        self.trouble_after(0, action, status, kind);
    }

    /// So many requests for `action` go well, and the next one is refused so.
    pub fn trouble_after(&self, before: usize, action: &'static str, status: u16, kind: &'static str) {
        self.state.lock().expect("the state").troubles.push((action, before, status, kind));
    }
}
