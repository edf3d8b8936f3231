//! For which platforms an image is.

use std::collections::BTreeSet;

use serde::Deserialize;
use tokio::io::AsyncReadExt as _;

use super::{Registry, RegistryError};
use crate::oci::Digest;

/// No configuration of an image is longer.
const LARGEST_CONFIG: u64 = 8 << 20;

/// What of a manifest or an index is read. (OCI image specification)
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    config: Option<Member>,
    #[serde(default)]
    manifests: Vec<Member>,
}

/// An image that an index names.
#[derive(Deserialize)]
pub(crate) struct Member {
    pub(crate) digest: Digest,
    #[serde(default)]
    pub(crate) platform: Option<Machine>,
}

/// A platform, in an index or in an image's configuration.
#[derive(Deserialize)]
pub(crate) struct Machine {
    pub(crate) os: String,
    pub(crate) architecture: String,
}

impl Registry {
    /// The platforms of what is under a tag or digest, as `linux/arm64`: all of an index, or that of the one image. None where
    /// there is nothing.
    ///
    /// # Errors
    /// The registry cannot be asked, or what it has there is no image.
    pub async fn platforms(&self, reference: &str) -> Result<Option<BTreeSet<String>>, RegistryError> {
        let Some(head) = self.head_of(reference).await? else { return Ok(None) };
        let mut machines = Vec::new();
        if let Some(config) = &head.config {
            machines.push(self.machine(reference, config.digest).await?);
        }
        for member in head.manifests {
            match member.platform {
                Some(machine) => machines.push(machine),
                // An index need not say it: then the member does.
                None => {
                    let inside = self.head_of(&member.digest.to_string()).await?;
                    if let Some(config) = inside.and_then(|inside| inside.config) {
                        machines.push(self.machine(reference, config.digest).await?);
                    }
                }
            }
        }
        // Attestations are of the platform `unknown`.
        let machines = machines.into_iter().filter(|machine| machine.os != "unknown");
        Ok(Some(machines.map(|Machine { os, architecture }| format!("{os}/{architecture}")).collect()))
    }

    async fn head_of(&self, reference: &str) -> Result<Option<Head>, RegistryError> {
        let Some(found) = self.manifest(reference).await? else { return Ok(None) };
        let head = serde_json::from_slice(&found.bytes);
        head.map(Some).map_err(|_| self.no_image(reference, "its manifest cannot be read".to_owned()))
    }

    async fn machine(&self, reference: &str, config: Digest) -> Result<Machine, RegistryError> {
        let odd = |why: &str| self.no_image(reference, format!("its configuration {config} {why}"));
        let reader = self.read_blob(config).await?.ok_or_else(|| odd("is not there"))?;
        let mut bytes = Vec::new();
        reader.take(LARGEST_CONFIG).read_to_end(&mut bytes).await.map_err(|error| odd(&format!("cannot be read: {error}")))?;
        match serde_json::from_slice(&bytes) {
            Ok(machine) if Digest::of(&bytes) == config => Ok(machine),
            _ => Err(odd("is none of an image")),
        }
    }

    fn no_image(&self, reference: &str, why: String) -> RegistryError {
        let registry = self.repository().registry().to_owned();
        RegistryError::Protocol { registry, what: format!("tell the platforms of `{reference}`"), why }
    }
}
