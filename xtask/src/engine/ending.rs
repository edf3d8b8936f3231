//! How containers end: asked by a signal, waited for, taken away.

use std::time::Duration;

use bollard::query_parameters::{RemoveContainerOptions, StopContainerOptions};

use super::EngineError;
use super::client::{Engine, is_absent};

/// How often a container is looked at that is waited for.
const LOOK: Duration = Duration::from_millis(100);

impl Engine {
    /// Stops a container as `docker stop` does: its signal, and SIGKILL after `grace`.
    ///
    /// # Errors
    /// The engine does not answer; the container is not there.
    pub async fn stop(&self, name: &str, grace: Duration) -> Result<(), EngineError> {
        let grace = i32::try_from(grace.as_secs()).unwrap_or(i32::MAX);
        let stop = StopContainerOptions { t: Some(grace), ..StopContainerOptions::default() };
        match self.docker().stop_container(name, Some(stop)).await {
            // 304: it has already stopped.
            Ok(()) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 304, .. }) => Ok(()),
            Err(error) => Err(self.error(&format!("stop the container `{name}`"), error)),
        }
    }

    /// Waits until a container has ended, for so long; its exit code, or nothing where it still runs.
    ///
    /// # Errors
    /// The engine does not answer; the container is not there.
    pub async fn ended(&self, name: &str, patience: Duration) -> Result<Option<i64>, EngineError> {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let state = self.container(name).await?.ok_or_else(|| EngineError::Refused {
                what: format!("wait for the container `{name}`"),
                status: 404,
                message: "there is no such container".to_owned(),
            })?;
            if let Some(code) = state.exit_code {
                return Ok(Some(code));
            }
            if tokio::time::Instant::now() >= deadline {
                return Ok(None);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Removes a container with its anonymous volumes, whatever it does. One that is not there is fine.
    ///
    /// # Errors
    /// The engine does not answer or cannot remove it.
    pub async fn remove(&self, name: &str) -> Result<(), EngineError> {
        let remove = RemoveContainerOptions { v: true, force: true, ..RemoveContainerOptions::default() };
        match self.docker().remove_container(name, Some(remove)).await {
            // 409: somebody else is at it.
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 409, .. }) => Ok(()),
            Err(error) if !is_absent(&error) => Err(self.error(&format!("remove the container `{name}`"), error)),
            _ => Ok(()),
        }
    }
}
