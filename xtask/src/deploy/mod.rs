//! A release reaches those who run it: a service of Amazon ECS starts its tasks anew.
//!
//! What a deployment came to is told from [`Service`] alone, in [`judge`]; [`Ecs`] asks for that.

mod api;
mod error;
mod judge;
mod model;
mod task;

pub use api::{Ecs, Identity};
pub use error::EcsError;
pub use judge::{Progress, Verdict, judge, news};
pub use model::{Cluster, Deployment, Message, Service};
pub use task::{Container, containers, replaced};
