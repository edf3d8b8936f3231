//! The engine, as the environment names it.

use std::path::PathBuf;

use super::session::variable;
use crate::engine::{DEFAULT_SOCKET, Endpoint, Engine, EngineError};
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

/// Connects to the engine; none where nobody answers at the default socket: this machine has no engine then.
pub(super) async fn connect_if_any() -> Result<Option<Engine>, Failure> {
    match Engine::connect(&endpoint()?).await {
        Ok(engine) => Ok(Some(engine)),
        Err(EngineError::Unreachable { endpoint, .. }) if endpoint == DEFAULT_SOCKET => Ok(None),
        Err(error) => Err(error.into()),
    }
}
