//! The engine, as the environment names it.

use std::path::PathBuf;

use super::session::variable;
use crate::engine::{Endpoint, Engine};
use crate::failure::Failure;

/// docker's configuration folder.
pub(super) fn docker_config() -> PathBuf {
    let home = || variable("HOME").or_else(|| variable("USERPROFILE")).unwrap_or_default();
    variable("DOCKER_CONFIG").map_or_else(|| PathBuf::from(home()).join(".docker"), PathBuf::from)
}

/// Where the engine is.
pub(super) fn endpoint() -> Result<Endpoint, Failure> {
    Ok(Endpoint::resolve(&variable, &docker_config())?)
}

/// Connects to the engine.
pub(super) async fn connect() -> Result<Engine, Failure> {
    Ok(Engine::connect(&endpoint()?).await?)
}
