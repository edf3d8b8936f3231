//! SBOMs in a registry that do not tell what is in the image, whoever wrote them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Serialize;
use tokio::io::AsyncReadExt as _;

use super::super::Registries;
use super::super::image::Image;
use super::artifact::Artifact;
use super::plan::{Looking, Seen};
use crate::family::Name;
use crate::oci::{Digest, media_type};
use crate::registry::{Registry, RegistryError};

/// No document is larger.
const LARGEST: u64 = 64 << 20;

/// An SBOM that is not believed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Untrue {
    /// Of which variant.
    pub variant: Name,
    /// The repositories that have it.
    pub at: Vec<String>,
    /// Its manifest.
    pub digest: Digest,
    /// What it says otherwise than the image is.
    pub why: String,
}

impl std::fmt::Display for Untrue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { variant, at, digest, why } = self;
        write!(f, "the SBOM {digest} of `{variant}` in {} is not believed and not copied: {why}", at.join(", "))
    }
}

/// Takes out of what was seen all that is not true. Others' attachments are not looked at, and neither is what this machine has
/// attached itself.
pub(super) async fn sort_out(
    seen: &mut Seen,
    image: &Image,
    variant: &Name,
    looking: &Looking<'_>,
    registries: &Registries,
) -> Result<Vec<Untrue>, RegistryError> {
    let mut unknown: BTreeMap<Digest, Artifact> = BTreeMap::new();
    for artifact in seen.values().flatten().filter(|artifact| artifact.is_our_sbom()) {
        if !looking.own.contains(&artifact.digest()) {
            unknown.insert(artifact.digest(), artifact.clone());
        }
    }
    let Some(describe) = looking.describe.filter(|_| !unknown.is_empty()) else { return Ok(Vec::new()) };
    let Some(truth) = describe.knows(image) else { return Ok(Vec::new()) };
    let mut untrue = Vec::new();
    for (digest, artifact) in unknown {
        let has = |artifacts: &Vec<Artifact>| artifacts.iter().any(|artifact| artifact.digest() == digest);
        let holders: BTreeSet<_> = seen.iter().filter(|(_, artifacts)| has(artifacts)).map(|(at, _)| at.clone()).collect();
        for registry in holders.iter().filter_map(|holder| registries.get(holder)) {
            // Who has lost it gets it again from another one; and if nobody has it whole, that is told where it is brought.
            let Some(text) = document(registry, &artifact).await? else { continue };
            if let Some(why) = truth(&text) {
                let at = holders.iter().map(|holder| format!("`{holder}`")).collect();
                untrue.push(Untrue { variant: variant.clone(), at, digest, why });
            }
            break;
        }
    }
    for artifacts in seen.values_mut() {
        artifacts.retain(|artifact| untrue.iter().all(|untrue| untrue.digest != artifact.digest()));
    }
    Ok(untrue)
}

/// The document of an SBOM; none where it is not there whole.
pub(in super::super) async fn document(registry: &Registry, artifact: &Artifact) -> Result<Option<Bytes>, RegistryError> {
    let named = artifact.blobs.iter().find(|blob| blob.media_type == media_type::CYCLONEDX && blob.size <= LARGEST);
    let Some(blob) = named else { return Ok(None) };
    let Some(reader) = registry.read_blob(blob.digest).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = reader.take(blob.size.saturating_add(1)).read_to_end(&mut bytes).await;
    Ok(read.is_ok_and(|_| Digest::of(&bytes) == blob.digest).then(|| Bytes::from(bytes)))
}
