//! Images that no engine made: written straight into a registry, so that a test needs neither builds nor exports.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use serde_json::json;
use xtask::oci::Digest;
use xtask::registry::{Blob, BlobSource, Registry};

/// An image of the family `epic`.
pub(crate) struct Made {
    pub(crate) digest: Digest,
    manifest: Bytes,
    blobs: Vec<Bytes>,
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

impl Made {
    /// With these layers, lowest first, the last of which is to be its entrypoint.
    pub(crate) fn new(variant: &str, layers: &[&str]) -> Self {
        Self::labelled(layers, &[("gantry.family", "epic"), ("gantry.variant", variant)])
    }

    pub(crate) fn labelled(layers: &[&str], more: &[(&str, &str)]) -> Self {
        let input = Digest::of(layers.join(" ")).to_string();
        let usual = [
            ("gantry.input-digest", input.as_str()),
            ("gantry.platform", "linux/amd64"),
            ("org.opencontainers.image.version", "2026.11.20"),
            ("org.opencontainers.image.revision", "3f2c1ab"),
        ];
        let labels: BTreeMap<&str, &str> = usual.iter().chain(more).copied().collect();
        let is_annotation = |name: &str| name.starts_with("org.opencontainers.image.") || name == "gantry.input-digest";
        let annotations: BTreeMap<_, _> = labels.iter().filter(|(name, _)| is_annotation(name)).collect();
        let diff_ids: Vec<Digest> = layers.iter().map(Digest::of).collect();
        let config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Labels": labels}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = Bytes::from(config.to_string());
        let packed: Vec<Bytes> = layers.iter().map(|layer| gzip(layer.as_bytes())).collect();
        let descriptor = |kind: &str, blob: &Bytes| json!({"mediaType": kind, "digest": Digest::of(blob), "size": blob.len()});
        let layer = |blob| descriptor("application/vnd.oci.image.layer.v1.tar+gzip", blob);
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "annotations": annotations,
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": packed.iter().map(layer).collect::<Vec<_>>(),
        });
        let manifest = Bytes::from(manifest.to_string());
        Self { digest: Digest::of(&manifest), manifest, blobs: packed.into_iter().chain([config]).collect() }
    }

    /// The blob of a layer, counted from below.
    pub(crate) fn layer(&self, at: usize) -> Digest {
        Digest::of(&self.blobs[at])
    }

    /// Writes it to a registry, under these tags.
    pub(crate) async fn put(&self, registry: &Registry, tags: &[&str]) {
        for bytes in &self.blobs {
            let blob = Blob { digest: Digest::of(bytes), size: bytes.len() as u64, source: BlobSource::Memory(bytes.clone()) };
            registry.send(&blob, &Arc::new(AtomicU64::new(0))).await.expect("the blob is taken");
        }
        registry.put_manifest(&self.manifest, MANIFEST).await.expect("the manifest is taken");
        for tag in tags {
            let before = registry.digest(tag).await.expect("asked");
            registry.put_tag(tag, &self.manifest, MANIFEST, before).await.expect("the tag is set");
        }
    }
}

/// The same for two platforms, and the index of both.
pub(crate) struct MadeIndex {
    pub(crate) digest: Digest,
    pub(crate) members: [Made; 2],
    bytes: Bytes,
}

impl MadeIndex {
    /// With these layers for the one, and others for the other platform.
    pub(crate) fn new(variant: &str, layers: &[&str]) -> Self {
        let members = ["amd64", "arm64"].map(|arch| {
            let layers: Vec<String> = layers.iter().map(|layer| format!("{layer} of {arch}")).collect();
            let layers: Vec<&str> = layers.iter().map(String::as_str).collect();
            let platform = format!("linux/{arch}");
            let more = [("gantry.family", "epic"), ("gantry.variant", variant), ("gantry.platform", platform.as_str())];
            Made::labelled(&layers, &more)
        });
        let entry = |(member, arch): (&Made, &str)| {
            json!({"mediaType": MANIFEST, "digest": member.digest, "size": member.manifest.len(),
                   "platform": {"architecture": arch, "os": "linux"}})
        };
        let entries: Vec<_> = members.iter().zip(["amd64", "arm64"]).map(entry).collect();
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries});
        let bytes = Bytes::from(index.to_string());
        Self { digest: Digest::of(&bytes), members, bytes }
    }

    /// Writes it to a registry, under these tags.
    pub(crate) async fn put(&self, registry: &Registry, tags: &[&str]) {
        for member in &self.members {
            member.put(registry, &[]).await;
        }
        registry.put_manifest(&self.bytes, INDEX).await.expect("the index is taken");
        for tag in tags {
            let before = registry.digest(tag).await.expect("asked");
            registry.put_tag(tag, &self.bytes, INDEX, before).await.expect("the tag is set");
        }
    }
}

fn gzip(text: &[u8]) -> Bytes {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).and_then(|()| encoder.finish()).expect("compressed").into()
}
