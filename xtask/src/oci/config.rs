//! Image configurations, as far as they are read. (OCI image specification, "Image Configuration".)

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Digest;

/// What is read of an image configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageConfig {
    /// The digests of the layers, uncompressed, lowest first.
    pub diff_ids: Vec<Digest>,
    /// The labels.
    pub labels: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Text {
    #[serde(default)]
    config: Option<Settings>,
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct Settings {
    #[serde(default, rename = "Labels")]
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<Digest>,
}

impl ImageConfig {
    /// Reads the bytes of a configuration.
    ///
    /// # Errors
    /// They are none.
    pub fn read(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let text: Text = serde_json::from_slice(bytes)?;
        let labels = text.config.and_then(|config| config.labels).unwrap_or_default();
        Ok(Self { diff_ids: text.rootfs.diff_ids, labels })
    }
}
