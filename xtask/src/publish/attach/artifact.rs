//! The bytes of an attachment: pure, so that they are the same wherever and whenever they are made. (OCI image
//! specification 1.1, "Guidelines for Artifact Usage".)

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::super::image::{Descriptor, Image};
use crate::oci::{Digest, media_type};
use crate::registry::{Referrer, Registry, RegistryError};

/// On the manifest of an attachment that this tool made: which one it is.
const ATTACHMENT: &str = "gantry.attachment";
/// Its value for an SBOM.
const SBOM: &str = "sbom";
/// When it was made (OCI image specification, annotations): when the image was.
const CREATED: &str = "org.opencontainers.image.created";
/// What a client calls the file that it downloads (a convention of ORAS).
const TITLE: &str = "org.opencontainers.image.title";
/// The SBOM's name as a file.
pub const SBOM_FILE: &str = "sbom.cdx.json";
/// The configuration of what has none.
const EMPTY: &[u8] = b"{}";

/// A manifest that refers to an image, and the blobs that it names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Artifact {
    /// Byte for byte.
    pub manifest: Bytes,
    /// As lists show it.
    pub referrer: Referrer,
    /// What it refers to.
    pub subject: Digest,
    /// Everything that a destination must hold beside the manifest.
    pub blobs: Vec<Descriptor>,
    /// Those of the blobs that are at hand.
    pub bytes: BTreeMap<Digest, Bytes>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Manifest<'a> {
    schema_version: u32,
    media_type: &'a str,
    artifact_type: &'a str,
    config: Entry<'a>,
    layers: [Entry<'a>; 1],
    subject: Entry<'a>,
    annotations: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    media_type: &'a str,
    digest: Digest,
    size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, &'a str>,
}

/// What is read of a manifest that somebody has attached.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default)]
    artifact_type: Option<String>,
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    subject: Option<Descriptor>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Artifact {
    /// The SBOM `document` of an image.
    ///
    /// # Errors
    /// It cannot be written as JSON, which does not happen.
    pub fn sbom(image: &Image, document: Bytes) -> Result<Self, serde_json::Error> {
        let entry = |media_type, digest, size| Entry { media_type, digest, size, annotations: BTreeMap::new() };
        let (empty, layer) = (Digest::of(EMPTY), Digest::of(&document));
        let mut annotations = BTreeMap::from([(ATTACHMENT, SBOM)]);
        annotations.extend(image.labels.get(CREATED).map(|created| (CREATED, created.as_str())));
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_type::MANIFEST,
            artifact_type: media_type::CYCLONEDX,
            config: entry(media_type::EMPTY, empty, EMPTY.len() as u64),
            layers: [Entry {
                annotations: BTreeMap::from([(TITLE, SBOM_FILE)]),
                ..entry(media_type::CYCLONEDX, layer, document.len() as u64)
            }],
            subject: entry(image.manifest.media_type, image.manifest.digest, image.manifest.bytes.len() as u64),
            annotations,
        };
        let manifest = Bytes::from(serde_json::to_vec(&manifest)?);
        let made = Self::read(manifest, image.manifest.digest)
            .map(|artifact| Self { bytes: BTreeMap::from([(empty, Bytes::from_static(EMPTY)), (layer, document)]), ..artifact });
        made.map_err(serde::de::Error::custom)
    }

    /// What a registry holds; in words why it is no manifest that refers to `subject`.
    ///
    /// # Errors
    /// Why not.
    pub fn read(manifest: Bytes, subject: Digest) -> Result<Self, String> {
        let head: Head = serde_json::from_slice(&manifest).map_err(|error| error.to_string())?;
        let config = head.config.ok_or("it is an index, or no manifest")?;
        if head.subject.is_none_or(|named| named.digest != subject) {
            return Err(format!("it does not refer to {subject}"));
        }
        let referrer = Referrer {
            media_type: media_type::MANIFEST.to_owned(),
            digest: Digest::of(&manifest),
            size: manifest.len() as u64,
            // (OCI distribution specification, "Listing Referrers": the configuration's type stands in.)
            artifact_type: Some(head.artifact_type.unwrap_or_else(|| config.media_type.clone())),
            annotations: head.annotations,
        };
        let mut blobs = vec![config];
        blobs.extend(head.layers);
        Ok(Self { manifest, referrer, subject, blobs, bytes: BTreeMap::new() })
    }

    /// The manifest's digest.
    pub fn digest(&self) -> Digest {
        self.referrer.digest
    }

    /// Bytes of all its blobs.
    pub fn size(&self) -> u64 {
        self.blobs.iter().map(|blob| blob.size).sum()
    }

    /// Whether it is an SBOM that this tool made: others may attach theirs.
    pub fn is_our_sbom(&self) -> bool {
        let told = self.referrer.annotations.as_ref().and_then(|annotations| annotations.get(ATTACHMENT));
        told.map(String::as_str) == Some(SBOM) && self.referrer.artifact_type.as_deref() == Some(media_type::CYCLONEDX)
    }
}

/// The SBOMs that this tool has attached to `subject` in a registry, by digest. (What a list says of annotations is not
/// relied on: the manifests themselves are read.)
pub(in super::super) async fn ours(registry: &Registry, subject: Digest) -> Result<Vec<Artifact>, RegistryError> {
    let mut found = BTreeMap::new();
    for entry in registry.referrers(subject, Some(media_type::CYCLONEDX)).await? {
        // One that a list names and that is not there is as good as none.
        let Some(manifest) = registry.manifest(&entry.digest.to_string()).await? else { continue };
        if let Ok(artifact) = Artifact::read(manifest.bytes, subject)
            && artifact.is_our_sbom()
        {
            found.insert(artifact.digest(), artifact);
        }
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
pub(in super::super) mod tests {
    use super::*;

    pub(in super::super::super) fn image(text: &str) -> Image {
        let digest = Digest::of(text);
        let bytes = Bytes::from(text.to_owned());
        Image {
            manifest: crate::store::Manifest { bytes, digest, media_type: media_type::MANIFEST },
            config: Bytes::from_static(b"{}"),
            config_digest: Digest::of("{}"),
            layers: Vec::new(),
            diff_ids: Vec::new(),
            labels: BTreeMap::from([(CREATED.to_owned(), "2026-11-20T00:00:00Z".to_owned())]),
        }
    }

    #[test]
    fn an_sbom_has_the_same_bytes_every_time() {
        let made = Artifact::sbom(&image("an image"), Bytes::from_static(b"{\"sbom\":1}")).expect("made");
        let expected = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","artifactType":"application/vnd.cyclonedx+json","config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{}","size":2}},"layers":[{{"mediaType":"application/vnd.cyclonedx+json","digest":"{}","size":10,"annotations":{{"org.opencontainers.image.title":"sbom.cdx.json"}}}}],"subject":{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":8}},"annotations":{{"gantry.attachment":"sbom","org.opencontainers.image.created":"2026-11-20T00:00:00Z"}}}}"#,
            Digest::of("{}"),
            Digest::of("{\"sbom\":1}"),
            Digest::of("an image"),
        );
        assert_eq!(made.manifest, expected);
        assert!(made.is_our_sbom() && made.digest() == Digest::of(expected) && made.size() == 12);
    }

    #[test]
    fn what_others_attach() {
        let subject = Digest::of("an image");
        let of = |artifact: &str, annotations: &str, subject: Digest| {
            let text = format!(
                r#"{{"schemaVersion":2,{artifact}"config":{{"mediaType":"application/vnd.oci.empty.v1+json","digest":"{subject}","size":2}},"layers":[],"subject":{{"mediaType":"m","digest":"{subject}","size":8}}{annotations}}}"#
            );
            Artifact::read(Bytes::from(text), Digest::of("an image")).map(|artifact| artifact.is_our_sbom())
        };
        let (cyclonedx, sbom) =
            (r#""artifactType":"application/vnd.cyclonedx+json","#, r#","annotations":{"gantry.attachment":"sbom"}"#);
        assert_eq!(of(cyclonedx, sbom, subject), Ok(true));
        assert_eq!(of(cyclonedx, "", subject), Ok(false), "somebody else's SBOM");
        assert_eq!(of("", sbom, subject), Ok(false));
        assert!(of(cyclonedx, sbom, Digest::of("another image")).is_err());
        assert!(Artifact::read(Bytes::from_static(b"{\"manifests\":[]}"), subject).is_err());
    }
}
