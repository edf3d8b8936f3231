//! What is behind every tag, read from the real registries, past every proxy.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use xtask::oci::Digest;

use crate::support::faults::wire::ask;
use crate::support::faults::{Kind, Seen};
use crate::support::registry::LocalRegistry;
use crate::world::Job;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// What other programs may have written.
const MANIFESTS: &str = "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json";

/// What should be there in the end, as a publish that nothing disturbed has left it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Expected {
    /// Per tag: its digest.
    pub(crate) tags: BTreeMap<String, Digest>,
    /// Every blob.
    pub(crate) blobs: BTreeSet<String>,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    /// Tags with something that was never meant, or that is not whole; tags that were set too early.
    pub(crate) wrong: Vec<String>,
    /// Tags of the release that are set, over both registries.
    pub(crate) set: usize,
    /// Tags of the release that are not.
    pub(crate) missing: Vec<String>,
}

/// Blobs of a repository that were read in full, and are what they are called.
pub(crate) type Read = BTreeSet<String>;

/// What a tag points to, and whether all of it is there: each blob is read in full, once.
pub(crate) fn behind(
    address: &str,
    repository: &str,
    reference: &str,
    read: &mut Read,
) -> Result<(Digest, BTreeSet<String>), String> {
    let get = |path: &str| {
        let answer = ask(address, "GET", &format!("/v2/{repository}/{path}"), &[("Accept", MANIFESTS)], b"");
        let answer = answer.map_err(|error| format!("{path}: {error}"))?;
        if answer.head.status() == 200 { Ok(answer.body) } else { Err(format!("{path}: {}", answer.head.line)) }
    };
    let manifest = get(&format!("manifests/{reference}"))?;
    let digest = Digest::of(&manifest);
    let tree: serde_json::Value = serde_json::from_slice(&manifest).map_err(|error| error.to_string())?;
    let layers = tree["layers"].as_array().into_iter().flatten();
    let blobs: BTreeSet<_> =
        layers.chain([&tree["config"]]).filter_map(|blob| blob["digest"].as_str().map(str::to_owned)).collect();
    for blob in blobs.iter().filter(|blob| !read.contains(*blob)).cloned().collect::<Vec<_>>() {
        let bytes = get(&format!("blobs/{blob}"))?;
        let found = Digest::of(&bytes).to_string();
        if found != blob {
            return Err(format!("the blob {blob} is {found}"));
        }
        read.insert(blob);
    }
    Ok((digest, blobs))
}

/// The tags of a repository.
pub(crate) fn listed(address: &str, repository: &str) -> BTreeSet<String> {
    let answer = ask(address, "GET", &format!("/v2/{repository}/tags/list"), &[], b"").expect("the registry answers");
    let listed: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let tags = listed["tags"].as_array().into_iter().flatten().filter_map(|tag| Some(tag.as_str()?.to_owned()));
    // Those that stand in for lists of referrers are no tags of the release.
    tags.filter(|tag| !tag.starts_with("sha256-")).collect()
}

/// Tags of the release that are set without an SBOM that can be found, is whole, and speaks of the image.
pub(crate) fn without_sbom(registries: &[Arc<LocalRegistry>; 2], job: &Job, expected: &Expected) -> Vec<String> {
    let mut lacking = Vec::new();
    for registry in registries {
        let get = |path: String| {
            let path = format!("/v2/{}/{path}", job.repository);
            let kinds = format!("{MANIFESTS}, application/vnd.oci.image.index.v1+json");
            let answer = ask(&registry.address, "GET", &path, &[("Accept", &kinds)], b"").ok()?;
            (answer.head.status() == 200).then_some(answer.body)
        };
        let json = |path: String| serde_json::from_slice::<serde_json::Value>(&get(path)?).ok();
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        for tag in listed(&registry.address, &job.repository) {
            let Some(digest) = expected.tags.get(&tag) else { continue };
            let said = || {
                let image = json(format!("manifests/{tag}")).filter(|image| image["config"]["digest"].is_string())?;
                let index = json(format!("manifests/sha256-{}", digest.hex()))?;
                let sbom = json(format!("manifests/{}", text(&index["manifests"][0]["digest"])?))?;
                let document = json(format!("blobs/{}", text(&sbom["layers"][0]["digest"])?))?;
                Some(sbom["subject"]["digest"] == digest.to_string() && document["of"] == image["config"]["digest"])
            };
            // What is there from another time is judged as a tag.
            let is_ours = get(format!("manifests/{tag}")).is_some_and(|found| Digest::of(found) == *digest);
            if is_ours && said() != Some(true) {
                lacking.push(format!("{}/{}:{tag} is set without its SBOM", registry.address, job.repository));
            }
        }
    }
    lacking
}

impl Expected {
    /// Learned from what is there.
    pub(crate) fn learn(registry: &LocalRegistry, job: &Job) -> Self {
        let (mut expected, mut read) = (Self::default(), Read::new());
        for (tag, _) in job.tags() {
            let (digest, blobs) = behind(&registry.address, &job.repository, &tag, &mut read).expect("it is whole");
            expected.tags.insert(tag, digest);
            expected.blobs.extend(blobs);
        }
        expected
    }

    /// The same, where immutable tags may be something else, and the moving ones are with them.
    pub(crate) fn with(&self, fixed: BTreeMap<String, Digest>) -> Self {
        let mut expected = self.clone();
        for (tag, digest) in fixed {
            let moving = expected.tags.keys().filter(|name| tag.strip_prefix(*name).is_some_and(|end| end.starts_with("-2026")));
            let moving: Vec<_> = moving.cloned().collect();
            for tag in moving.into_iter().chain([tag]) {
                expected.tags.insert(tag, digest);
            }
        }
        expected
    }

    /// Compares what is there. `before`: where the moving tags may still point to.
    pub(crate) fn judge(&self, registries: &[Arc<LocalRegistry>; 2], job: &Job, before: Option<Digest>) -> Found {
        let mut found = Found::default();
        let mut kinds: BTreeMap<bool, (usize, usize)> = BTreeMap::new();
        for registry in registries {
            let (listed, mut read) = (listed(&registry.address, &job.repository), Read::new());
            let strange = listed.iter().filter(|tag| !self.tags.contains_key(*tag));
            found.wrong.extend(strange.map(|tag| format!("{tag} was never meant")));
            for (tag, is_immutable) in job.tags() {
                let (set, all) = kinds.entry(is_immutable).or_default();
                *all += 1;
                let place = format!("{}/{}:{tag}", registry.address, job.repository);
                let state = listed.contains(&tag).then(|| behind(&registry.address, &job.repository, &tag, &mut read));
                match state {
                    Some(Err(why)) => found.wrong.push(format!("{place} is not whole: {why}")),
                    Some(Ok((digest, _))) if self.tags.get(&tag) == Some(&digest) => *set += 1,
                    Some(Ok((digest, _))) if before == Some(digest) && !is_immutable => found.missing.push(place),
                    Some(Ok((digest, _))) => found.wrong.push(format!("{place} is {digest}")),
                    None => found.missing.push(place),
                }
            }
        }
        found.set = kinds.values().map(|(set, _)| set).sum();
        let early = |(is_immutable, what): (bool, &str)| {
            let (set, all) = kinds.get(&is_immutable).copied().unwrap_or_default();
            (set < all).then(|| what.to_owned())
        };
        if kinds.get(&false).is_some_and(|(set, _)| *set > 0) {
            found.wrong.extend(early((true, "a tag has moved before every immutable one was set")));
        }
        found
    }

    /// Tags that were written before everything was everywhere, as the proxies saw it.
    pub(crate) fn early(&self, seen: &[Seen]) -> Vec<String> {
        self.early_but_for(seen, &[])
    }

    /// The same where some destinations had everything before.
    pub(crate) fn early_but_for(&self, seen: &[Seen], whole: &[usize]) -> Vec<String> {
        let mut early = Vec::new();
        let manifests: BTreeSet<_> = self.tags.values().map(ToString::to_string).collect();
        let all = || self.blobs.iter().chain(&manifests);
        let mut there: BTreeSet<_> = whole.iter().flat_map(|to| all().map(move |what| (*to, what.clone()))).collect();
        for request in seen {
            let fine = request.status.is_some_and(|status| status < 300);
            if let Some(tag) = request.tag() {
                let lacking = (0..2).flat_map(|to| all().map(move |what| (to, what.clone())));
                let lacking: Vec<_> = lacking.filter(|what| !there.contains(what)).collect();
                if let Some((to, what)) = lacking.first() {
                    early.push(format!("{tag} when destination {to} lacked {what}"));
                }
            } else if let Some(blob) = request.blob().filter(|_| fine) {
                there.insert((request.destination, blob));
            } else if let Some((_, digest)) = request.request.split_once("/manifests/").filter(|_| fine)
                && request.request.starts_with("PUT ")
            {
                there.insert((request.destination, digest.to_owned()));
            }
        }
        early
    }
}

/// Bytes of blobs that were sent though the registry had them, and bytes that were sent again because a fault had made
/// the first ones worthless.
pub(crate) fn twice(seen: &[Seen]) -> (u64, u64) {
    let mut tried: BTreeSet<(usize, String)> = BTreeSet::new();
    let (mut needless, mut needed) = (0, 0);
    for request in seen {
        let Some(blob) = request.blob() else { continue };
        let first = tried.insert((request.destination, blob));
        match (request.again, first) {
            (true, _) => needless += request.bytes,
            (false, false) => needed += request.bytes,
            _ => {}
        }
    }
    (needless, needed)
}

/// An older image under the moving tags of a fresh repository, put there by hand; its digest.
pub(crate) fn earlier_release(registry: &LocalRegistry, job: &Job) -> Digest {
    let layer = b"not a real layer".to_vec();
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}"#.to_vec();
    let to = |path: &str| format!("/v2/{}/{path}", job.repository);
    for blob in [&layer, &config] {
        let begun = ask(&registry.address, "POST", &to("blobs/uploads/"), &[], b"").expect("an upload");
        let place = begun.head.header("location").expect("a place").replace(&format!("http://{}", registry.address), "");
        let place = format!("{place}&digest={}", Digest::of(blob));
        let done = ask(&registry.address, "PUT", &place, &[("Content-Type", "application/octet-stream")], blob);
        assert_eq!(done.expect("an answer").head.status(), 201);
    }
    let descriptor =
        |kind: &str, blob: &[u8]| serde_json::json!({"mediaType": kind, "digest": Digest::of(blob), "size": blob.len()});
    let manifest = serde_json::json!({
        "schemaVersion": 2, "mediaType": MANIFEST,
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": [descriptor("application/vnd.oci.image.layer.v1.tar+gzip", &layer)],
    })
    .to_string();
    for (tag, is_immutable) in job.tags() {
        if !is_immutable {
            let put = ask(
                &registry.address,
                "PUT",
                &to(&format!("manifests/{tag}")),
                &[("Content-Type", MANIFEST)],
                manifest.as_bytes(),
            );
            assert_eq!(put.expect("an answer").head.status(), 201);
        }
    }
    Digest::of(&manifest)
}

/// Puts the release into a repository by hand, from the repository `from` of the same registry.
pub(crate) fn copied(registry: &LocalRegistry, from: &str, job: &Job, expected: &Expected) {
    let to = |path: &str| format!("/v2/{}/{path}", job.repository);
    let done = |method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let answer = ask(&registry.address, method, path, headers, body).expect("an answer");
        assert!(answer.head.status() < 300 && answer.head.status() != 202, "{method} {path}: {}", answer.head.line);
        answer.body
    };
    for blob in &expected.blobs {
        done("POST", &to(&format!("blobs/uploads/?mount={blob}&from={from}")), &[], b"");
    }
    for (tag, digest) in &expected.tags {
        let manifest = done("GET", &format!("/v2/{from}/manifests/{digest}"), &[("Accept", MANIFEST)], b"");
        done("PUT", &to(&format!("manifests/{tag}")), &[("Content-Type", MANIFEST)], &manifest);
    }
}

/// A kind in words, for tables.
pub(crate) fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::DropBefore => "dropped before",
        Kind::DropDuring => "dropped in the body",
        Kind::DropAfter => "answer lost",
        Kind::Truncated => "answer truncated",
        Kind::Unauthorized => "401 once",
        Kind::CommittedNotFound => "404 after commit",
        Kind::LostNotFound => "404, commit lost",
        Kind::Timeout => "408",
        Kind::BusyUntil => "429 Retry-After",
        Kind::Busy => "429",
        Kind::Error => "500",
        Kind::Page => "502 page",
        Kind::Unavailable => "503",
        Kind::CommittedTimeout => "504 after success",
        Kind::Slow => "slow",
        Kind::Garbled => "byte changed",
    }
}
