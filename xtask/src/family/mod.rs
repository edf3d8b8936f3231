//! The family: what `variants.toml` and `variants.lock` say, checked. No IO: texts in, values and problems out.

mod model;
mod problem;

pub use model::*;
pub use problem::{Problem, SourceText};
