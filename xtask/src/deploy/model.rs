//! What ECS says of clusters and services: as much as is looked at. (Amazon ECS API reference: Cluster, Service, Deployment,
//! ServiceEvent)

use serde::Deserialize;

/// A cluster.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cluster {
    /// Its name.
    pub cluster_name: String,
    /// `ACTIVE`
    #[serde(default)]
    pub status: String,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Service {
    /// Its ARN.
    pub service_arn: String,
    /// Its name.
    pub service_name: String,
    /// `ACTIVE`, `DRAINING`, `INACTIVE`
    #[serde(default)]
    pub status: String,
    /// Tasks that should run.
    #[serde(default)]
    pub desired_count: u64,
    /// Tasks that run.
    #[serde(default)]
    pub running_count: u64,
    /// The task definition's ARN.
    #[serde(default)]
    pub task_definition: String,
    /// The newest first.
    #[serde(default)]
    pub deployments: Vec<Deployment>,
    /// The newest first; the last hundred.
    #[serde(default)]
    pub events: Vec<Message>,
    /// Who deploys; none: ECS.
    pub deployment_controller: Option<Controller>,
}

impl Service {
    /// Who deploys: `ECS`, `CODE_DEPLOY`, `EXTERNAL`.
    pub fn controller(&self) -> &str {
        self.deployment_controller.as_ref().map_or("ECS", |controller| controller.kind.as_str())
    }

    /// The deployment that is to be.
    pub fn primary(&self) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.status == "PRIMARY")
    }
}

/// Who deploys.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Controller {
    /// `ECS`, `CODE_DEPLOY`, `EXTERNAL`
    #[serde(rename = "type")]
    pub kind: String,
}

/// A deployment of a service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deployment {
    /// `ecs-svc/0123456789012345678`
    pub id: String,
    /// `PRIMARY`: the one that is to be; `ACTIVE`: one that is being replaced.
    #[serde(default)]
    pub status: String,
    /// Tasks that should run.
    #[serde(default)]
    pub desired_count: u64,
    /// Tasks that run.
    #[serde(default)]
    pub running_count: u64,
    /// Tasks that start.
    #[serde(default)]
    pub pending_count: u64,
    /// Tasks that did not start.
    #[serde(default)]
    pub failed_tasks: u64,
    /// `IN_PROGRESS`, `COMPLETED`, `FAILED`; none for services behind a Classic Load Balancer.
    pub rollout_state: Option<String>,
    /// The same in words.
    pub rollout_state_reason: Option<String>,
}

/// What a service has told: `(service ansible) has started 1 tasks: (task 4f1c…).`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Message {
    /// Its id.
    pub id: String,
    /// The words.
    #[serde(default)]
    pub message: String,
}
