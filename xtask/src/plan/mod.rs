//! A build as a value: which images, in which order, with which parent, arguments, labels, tags and input digests.
//! Pure: family, lock and [`Facts`] in, [`Plan`] out. A plan can be printed and is the very value that is carried out.

mod error;
mod facts;
mod input;
mod label;
mod model;
mod resolve;
mod schedule;
mod stage;
mod tags;
mod warnings;

pub use error::PlanError;
pub use facts::{BundleFact, ContextFact, Facts, ParentFact, Revision, declared_args};
pub use label::{
    CA_BUNDLE, COMPONENT_CONTEXT, CONTAINER, DEVCONTAINER, FAMILY, FINISH_CONTEXT, IMAGE, INPUT, OMITTED, PIN, PLATFORM, PROFILE,
    REVISION, VARIANT,
};
pub use model::{Built, Plan, Step, StepId, VariantPlan, Work};
pub use resolve::{Request, resolve};
pub use schedule::{Action, Schedule, schedule};
pub use stage::{STAGE_PREFIX, stage_name, stage_reference};
pub use tags::{VariantTags, local_tags, published_tags};

/// The time of every file in a layer that Gantry writes itself: 1980-01-01, the first day that all archive formats
/// know. Fixed, so that such a layer has one diff ID whatever lies below it and whenever it is built.
pub const LAYER_EPOCH: u64 = 315_532_800;
