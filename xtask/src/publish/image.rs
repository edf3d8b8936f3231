//! An image as a registry is to hold it: the manifest, and everything that it names.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Deserialize;

use crate::oci::{Digest, ImageConfig, media_type};
use crate::plan;
use crate::store::{Exported, Manifest, StoreError, image_manifest};

/// A blob by name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    pub media_type: String,
    /// Its bytes' digest.
    pub digest: Digest,
    /// Its bytes.
    #[serde(deserialize_with = "possible")]
    pub size: u64,
}

/// No blob is larger (64 TiB): the sizes of as many as a manifest can name are still a number.
const LARGEST_BLOB: u64 = 1 << 46;

fn possible<'de, D: serde::Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let size = u64::deserialize(from)?;
    let impossible = || serde::de::Error::custom(format!("no blob has {size} bytes"));
    if size <= LARGEST_BLOB { Ok(size) } else { Err(impossible()) }
}

/// An image with its manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// The manifest, byte for byte.
    pub manifest: Manifest,
    /// The configuration, byte for byte: its digest is the image's identity.
    pub config: Bytes,
    /// The digest of [`Image::config`].
    pub config_digest: Digest,
    /// Lowest first.
    pub layers: Vec<Descriptor>,
    /// The digests of the layers, uncompressed.
    pub diff_ids: Vec<Digest>,
    /// Of the configuration.
    pub labels: BTreeMap<String, String>,
}

/// What of a manifest is read before its configuration.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Head {
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Descriptor>,
}

impl Head {
    /// Reads a manifest or an index; none where it is neither.
    pub(super) fn read(manifest: &[u8]) -> Option<Self> {
        serde_json::from_slice(manifest).ok()
    }

    /// What the image was built from, as its manifest says.
    pub(super) fn input(&self) -> Option<Digest> {
        self.annotations.as_ref()?.get(plan::INPUT)?.parse().ok()
    }

    /// The manifests of an index.
    pub(super) fn members(&self) -> &[Descriptor] {
        &self.manifests
    }

    /// The manifest's annotations.
    pub(super) fn annotations(&self) -> Option<&BTreeMap<String, String>> {
        self.annotations.as_ref()
    }

    /// Bytes of all that it names; none: an index.
    pub(super) fn size(&self) -> Option<u64> {
        Some(self.config.as_ref()?.size + self.layers.iter().map(|layer| layer.size).sum::<u64>())
    }

    /// The configuration; none: an index.
    pub(super) fn config(&self) -> Option<&Descriptor> {
        self.config.as_ref()
    }
}

impl Image {
    /// What the store made of an export, with the manifest's `annotations`.
    ///
    /// # Errors
    /// The configuration cannot be read.
    pub fn exported(image: &Exported, annotations: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        let manifest = image_manifest(image, annotations)?;
        let (diff_ids, labels) = config(&image.config).map_err(|why| StoreError::Format { why })?;
        let layers = image.layers.iter().map(|layer| Descriptor {
            media_type: layer.media_type.clone(),
            digest: layer.digest,
            size: layer.size,
        });
        let (layers, config_digest) = (layers.collect(), image.config_digest);
        Ok(Self { manifest, config: image.config.clone(), config_digest, layers, diff_ids, labels })
    }

    /// What a registry holds: `manifest` and the configuration that it names. In words what is wrong with them if they are
    /// no image of ours: of another media type, with another configuration than named, with layers that do not match.
    ///
    /// # Errors
    /// Why it is none.
    pub fn published(manifest: Bytes, configuration: Bytes) -> Result<Self, String> {
        let head = Head::read(&manifest).ok_or("its manifest cannot be read")?;
        let named = head.config.as_ref().ok_or("it is an index")?;
        let config_digest = Digest::of(&configuration);
        if named.media_type != media_type::CONFIG {
            return Err(format!("its configuration is of the type `{}`", named.media_type));
        }
        if named.digest != config_digest {
            return Err(format!("its manifest names the configuration {}, and {config_digest} was read", named.digest));
        }
        let (diff_ids, labels) = config(&configuration)?;
        if diff_ids.len() != head.layers.len() {
            return Err(format!("it has {} layers, and its configuration names {}", head.layers.len(), diff_ids.len()));
        }
        let digest = Digest::of(&manifest);
        let manifest = Manifest { bytes: manifest, digest, media_type: media_type::MANIFEST };
        Ok(Self { manifest, config: configuration, config_digest, layers: head.layers, diff_ids, labels })
    }

    /// Everything that a destination must hold beside the manifest: the configuration, then the layers.
    pub fn blobs(&self) -> impl Iterator<Item = Descriptor> + '_ {
        let config =
            Descriptor { media_type: media_type::CONFIG.to_owned(), digest: self.config_digest, size: self.config.len() as u64 };
        std::iter::once(config).chain(self.layers.iter().cloned())
    }

    /// Bytes of all its blobs.
    pub fn size(&self) -> u64 {
        self.blobs().map(|blob| blob.size).sum()
    }
}

/// Diff IDs and labels of an image configuration.
fn config(bytes: &[u8]) -> Result<(Vec<Digest>, BTreeMap<String, String>), String> {
    let config = ImageConfig::read(bytes).map_err(|error| format!("its configuration cannot be read: {error}"))?;
    Ok((config.diff_ids, config.labels))
}

/// Labels that are also the manifest's annotations, where a registry shows them without the image's configuration.
pub(super) fn annotations(labels: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let is_annotation = |key: &str| key.starts_with("org.opencontainers.image.") || key == plan::INPUT;
    let labels = labels.iter().filter(|(key, value)| is_annotation(key) && !value.is_empty());
    labels.map(|(key, value)| (key.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_no_blob_has_are_refused() {
        for (size, is_one) in [(0, true), (LARGEST_BLOB, true), (LARGEST_BLOB + 1, false), (u64::MAX, false)] {
            let layer = serde_json::json!({ "mediaType": media_type::LAYER_ZSTD, "digest": Digest::of(""), "size": size });
            let config = serde_json::json!({ "mediaType": media_type::CONFIG, "digest": Digest::of(""), "size": 1 });
            let manifest = serde_json::json!({ "config": config, "layers": [layer.clone(), layer] }).to_string();
            let read = Head::read(manifest.as_bytes());
            assert_eq!(read.and_then(|head| head.size()), is_one.then_some(2 * size.min(LARGEST_BLOB) + 1), "{size}");
        }
    }
}
