//! The manifest of an image: OCI media types, and the same bytes for the same image every time.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::Serialize;

use super::{Exported, StoreError};
use crate::oci::{Digest, media_type};

/// A manifest as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// Its bytes: they make the digest.
    pub bytes: Bytes,
    /// Their digest.
    pub digest: Digest,
    /// What it is.
    pub media_type: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ImageManifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    config: Descriptor<'a>,
    layers: Vec<Descriptor<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Descriptor<'a> {
    media_type: &'a str,
    digest: Digest,
    size: u64,
}

/// The manifest of `image` with `annotations` (none of which may come from a clock, or the digest changes by itself).
///
/// # Errors
/// None that is known: writing JSON into memory.
pub fn image_manifest(image: &Exported, annotations: &BTreeMap<String, String>) -> Result<Manifest, StoreError> {
    let config = Descriptor { media_type: media_type::CONFIG, digest: image.config_digest, size: image.config.len() as u64 };
    let layers = image
        .layers
        .iter()
        .map(|layer| Descriptor { media_type: &layer.media_type, digest: layer.digest, size: layer.size })
        .collect();
    let manifest = ImageManifest { schema_version: 2, media_type: media_type::MANIFEST, config, layers, annotations };
    let bytes = serde_json::to_vec(&manifest).map_err(|error| StoreError::Format { why: error.to_string() })?;
    Ok(Manifest { digest: Digest::of(&bytes), bytes: bytes.into(), media_type: media_type::MANIFEST })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::LayerBlob;

    #[test]
    fn a_manifest_is_the_same_bytes_every_time() {
        let layer = LayerBlob {
            diff_id: Digest::of("tar"),
            digest: Digest::of("gz"),
            size: 2,
            path: "/nowhere".into(),
            media_type: media_type::LAYER_GZIP.to_owned(),
        };
        let image = Exported {
            name: "a:b".to_owned(),
            config: Bytes::from_static(b"{}"),
            config_digest: Digest::of("{}"),
            layers: vec![layer],
        };
        let annotations = BTreeMap::from([("b".to_owned(), "2".to_owned()), ("a".to_owned(), "1".to_owned())]);
        let manifest = image_manifest(&image, &annotations).expect("a manifest");
        let expected = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"{}","size":2}},"layers":[{{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","digest":"{}","size":2}}],"annotations":{{"a":"1","b":"2"}}}}"#,
            Digest::of("{}"),
            Digest::of("gz"),
        );
        assert_eq!(manifest.bytes, expected);
        assert_eq!(manifest.digest, Digest::of(expected));
    }
}
