//! The configuration of an image, as the engine tells it: no export is needed for it.

use std::collections::BTreeMap;

use bollard::models::HealthConfig;

use super::EngineError;
use super::client::{Engine, is_absent};
use super::error::chain;
use crate::oci::{ImageConfig, Instruction, RunConfig};

impl Engine {
    /// The configuration of an image by tag or id; `None` where the engine does not have it. (Its history is the engine's:
    /// whether a line of it made a layer is told by its size, so an empty layer counts as none.)
    ///
    /// # Errors
    /// The engine does not answer, or not with an image.
    pub async fn configuration(&self, reference: &str) -> Result<Option<ImageConfig>, EngineError> {
        let what = format!("inspect `{reference}`");
        let image = match self.docker().inspect_image(reference).await {
            Ok(image) => image,
            Err(error) => return if is_absent(&error) { Ok(None) } else { Err(self.error(&what, error)) },
        };
        let history = self.docker().image_history(reference).await.map_err(|error| self.error(&what, error))?;
        let layers = image.root_fs.and_then(|root_fs| root_fs.layers).unwrap_or_default();
        let diff_ids = layers.iter().map(|layer| layer.parse()).collect::<Result<_, _>>();
        let config = image.config.unwrap_or_default();
        let empty = |names: Option<Vec<String>>| {
            names.into_iter().flatten().map(|name| (name, serde_json::Value::Null)).collect::<BTreeMap<_, _>>()
        };
        // One without a test is none.
        let health = config.healthcheck.filter(|health| health.test.as_ref().is_some_and(|test| !test.is_empty()));
        Ok(Some(ImageConfig {
            diff_ids: diff_ids.map_err(|error| EngineError::Protocol { what, why: chain(&error) })?,
            labels: config.labels.unwrap_or_default().into_iter().collect(),
            run: RunConfig {
                user: config.user.unwrap_or_default(),
                env: config.env.unwrap_or_default(),
                entrypoint: config.entrypoint.unwrap_or_default(),
                cmd: config.cmd.unwrap_or_default(),
                working_dir: config.working_dir.unwrap_or_default(),
                exposed_ports: empty(config.exposed_ports),
                volumes: empty(config.volumes),
                healthcheck: health.and_then(|health: HealthConfig| serde_json::to_value(health).ok()),
            },
            // The engine tells the newest first.
            history: history
                .into_iter()
                .rev()
                .map(|line| Instruction { created_by: line.created_by, empty_layer: line.size == 0 })
                .collect(),
            platform: format!("{}/{}", image.os.unwrap_or_default(), image.architecture.unwrap_or_default()),
            created: image.created.map(|created| created.to_string()),
        }))
    }
}
