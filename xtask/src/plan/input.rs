//! Input digests: the hash of everything that the result of a step depends on.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Built, Work, label};
use crate::oci::{Digest, Platform};

/// Labels that say when and from which commit an image was built, not what is in it.
const NOT_INPUT: [&str; 4] =
    ["org.opencontainers.image.created", "org.opencontainers.image.revision", "org.opencontainers.image.version", label::INPUT];

/// Arguments that name a parent by its stage tag; the parent's input digest stands for them.
const PARENT_ARGS: [&str; 2] = ["PARENT", "BASE"];

/// What a step's input digest is made of.
pub(super) struct Inputs<'a> {
    pub(super) platform: Platform,
    pub(super) profile: &'a str,
    /// The context's digest, for builds.
    pub(super) context: Option<Digest>,
    /// The entrypoint's digest, where it goes in.
    pub(super) entrypoint: Option<Digest>,
    /// Input digests of the parents.
    pub(super) parents: Vec<Digest>,
}

#[derive(Serialize)]
struct Hashed<'a> {
    schema: u32,
    platform: Platform,
    /// What is pulled, bootstrapped or downloaded is the same under every profile.
    profile: Option<&'a str>,
    context: Option<Digest>,
    entrypoint: Option<Digest>,
    parents: &'a [Digest],
    work: HashedWork<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum HashedWork<'a> {
    Build { target: Option<&'a str>, args: BTreeMap<&'a str, &'a str>, labels: BTreeMap<&'a str, &'a str>, secrets: Vec<&'a str> },
    Artifact { sha256: &'a Digest, path: &'a str, owner: (u32, u32), strip: u32, unpacked: bool, mtime: u64 },
    Other(&'a Work),
}

/// The input digest of a step that does `work`.
pub(super) fn digest(work: &Work, inputs: &Inputs<'_>) -> Digest {
    let hashed = Hashed {
        schema: 1,
        platform: inputs.platform,
        profile: matches!(work, Work::Build(_)).then_some(inputs.profile),
        context: inputs.context,
        entrypoint: inputs.entrypoint,
        parents: &inputs.parents,
        work: match work {
            Work::Build(build) => hashed_build(build),
            // Not where the bytes come from: a mirror gives the same.
            Work::Artifact { sha256, place, .. } => HashedWork::Artifact {
                sha256,
                path: &place.path,
                owner: place.owner,
                strip: place.strip,
                unpacked: place.unpack == crate::family::Unpack::TarGz,
                mtime: super::LAYER_EPOCH,
            },
            other => HashedWork::Other(other),
        },
    };
    // Values of these types always serialise; the empty text would only make two broken inputs alike.
    Digest::of(serde_json::to_vec(&hashed).unwrap_or_default())
}

fn hashed_build(build: &Built) -> HashedWork<'_> {
    let pairs = |map: &'static [&'static str], from| filtered(from, map);
    HashedWork::Build {
        target: build.target.as_deref(),
        args: pairs(&PARENT_ARGS, &build.args),
        labels: pairs(&NOT_INPUT, &build.labels),
        secrets: build.secrets.iter().map(String::as_str).collect(),
    }
}

fn filtered<'a>(map: &'a BTreeMap<String, String>, without: &[&str]) -> BTreeMap<&'a str, &'a str> {
    map.iter().map(|(key, value)| (key.as_str(), value.as_str())).filter(|(key, _)| !without.contains(key)).collect()
}
