//! Networks of our own, so that what is tried sees nobody else's containers.

use std::collections::{BTreeMap, HashMap};

use bollard::models::NetworkCreateRequest;
use bollard::query_parameters::ListNetworksOptions;

use super::EngineError;
use super::client::{Engine, is_absent};

impl Engine {
    /// Creates a network of the engine's usual kind.
    ///
    /// # Errors
    /// [`EngineError::Refused`] where the engine has no addresses left.
    pub async fn create_network(&self, name: &str, labels: &BTreeMap<String, String>) -> Result<(), EngineError> {
        let labels = labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        let request = NetworkCreateRequest { name: name.to_owned(), labels: Some(labels), ..NetworkCreateRequest::default() };
        let created = self.docker().create_network(request).await;
        created.map(drop).map_err(|error| self.error(&format!("create the network `{name}`"), error))
    }

    /// Removes a network. One that is not there is fine.
    ///
    /// # Errors
    /// [`EngineError::Refused`] where a container uses it.
    pub async fn remove_network(&self, name: &str) -> Result<(), EngineError> {
        match self.docker().remove_network(name).await {
            Err(error) if !is_absent(&error) => Err(self.error(&format!("remove the network `{name}`"), error)),
            _ => Ok(()),
        }
    }

    /// The names of all networks that have the label (`key` or `key=value`).
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn networks_with_label(&self, label: &str) -> Result<Vec<String>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let listed = self.docker().list_networks(Some(ListNetworksOptions { filters: Some(filters) })).await;
        let listed = listed.map_err(|error| self.error("list the networks", error))?;
        Ok(listed.into_iter().filter_map(|network| network.name).collect())
    }
}
