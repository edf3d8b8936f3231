//! The Docker Engine: the only place that names bollard.

mod types;

pub use types::*;
