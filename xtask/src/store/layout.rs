//! What an export's JSON says: which image has which configuration, layers and identities. Pure.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use serde::Deserialize;

use super::StoreError;
use crate::oci::Digest;

/// What was found in an export, beside its layers.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// Small JSON files by path.
    pub(super) json: HashMap<String, Bytes>,
    /// Links, and the paths that they point to.
    pub(super) links: HashMap<String, String>,
}

/// An image as the export has it.
#[derive(Debug)]
pub(super) struct Image {
    pub(super) config: Bytes,
    pub(super) config_digest: Digest,
    /// The layers' paths, links followed, lowest first.
    pub(super) layers: Vec<String>,
    /// What engines may call it: the digest of its configuration, its manifest, its index.
    pub(super) ids: Vec<Digest>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Tree {
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    manifests: Option<Vec<Descriptor>>,
}

#[derive(Deserialize)]
struct Descriptor {
    digest: Digest,
}

/// The image that `manifest.json` calls `name`.
pub(super) fn image(contents: &Contents, name: &str) -> Result<Image, StoreError> {
    let saved = saved(contents)?;
    let named = |saved: &&Saved| saved.repo_tags.iter().flatten().any(|tag| tag == name);
    let Some(saved) = saved.iter().find(named) else {
        return Err(StoreError::Missing { name: name.to_owned() });
    };
    let config = config(contents, saved)?;
    let config_digest = Digest::of(&config);
    check_name(&normal(&saved.config), config_digest)?;
    let layers = saved.layers.iter().flatten().map(|path| follow(contents, path)).collect();
    let mut ids = BTreeSet::from([config_digest]);
    if let Some(index) = contents.json.get("index.json") {
        identities(contents, index, config_digest, &mut ids, 0);
    }
    Ok(Image { config, config_digest, layers, ids: ids.into_iter().collect() })
}

fn saved(contents: &Contents) -> Result<Vec<Saved>, StoreError> {
    let lacking = || StoreError::Format { why: "it has no `manifest.json`".to_owned() };
    let text = contents.json.get("manifest.json").ok_or_else(lacking)?;
    serde_json::from_slice(text).map_err(|error| StoreError::Format { why: format!("`manifest.json` cannot be read: {error}") })
}

fn config(contents: &Contents, saved: &Saved) -> Result<Bytes, StoreError> {
    let path = follow(contents, &saved.config);
    let lacking = || StoreError::Format { why: format!("the configuration `{path}` is missing") };
    contents.json.get(&path).cloned().ok_or_else(lacking)
}

/// Adds the digests of all manifests and indexes above the configuration; true where `tree` is one of them.
fn identities(contents: &Contents, tree: &[u8], config: Digest, ids: &mut BTreeSet<Digest>, depth: u32) -> bool {
    let Ok(tree) = serde_json::from_slice::<Tree>(tree) else { return false };
    let mut above = tree.config.is_some_and(|found| found.digest == config);
    for below in tree.manifests.into_iter().flatten().filter(|_| depth < 4) {
        let text = contents.json.get(&format!("blobs/sha256/{}", below.digest.hex()));
        if text.is_some_and(|text| identities(contents, text, config, ids, depth + 1)) {
            ids.insert(below.digest);
            above = true;
        }
    }
    above
}

/// The digest that a file's name is.
pub(super) fn named(path: &str) -> Option<Digest> {
    let name = path.rsplit('/').next().unwrap_or(path);
    Digest::from_hex(name.strip_suffix(".json").unwrap_or(name)).ok()
}

/// A file whose name is a digest holds what the name says.
pub(super) fn check_name(path: &str, found: Digest) -> Result<(), StoreError> {
    match named(path) {
        Some(expected) if expected != found => {
            Err(StoreError::Mismatch { what: format!("`{path}` in the export"), found, expected })
        }
        _ => Ok(()),
    }
}

/// Where a path leads when links are followed.
fn follow(contents: &Contents, path: &str) -> String {
    let mut path = normal(path);
    for _ in 0..16 {
        match contents.links.get(&path) {
            Some(target) => path.clone_from(target),
            None => break,
        }
    }
    path
}

/// The path without `.`, `..` and double slashes.
pub(super) fn normal(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        for (path, expected) in [("./a//b", "a/b"), ("a/../b/layer.tar", "b/layer.tar"), ("../../x", "x"), ("", "")] {
            assert_eq!(normal(path), expected);
        }
    }

    #[test]
    fn an_image_is_known_by_every_digest_above_its_configuration() {
        let config = r#"{"rootfs":{"type":"layers","diff_ids":[]}}"#;
        let config_digest = Digest::of(config);
        let manifest = format!(r#"{{"config":{{"digest":"{config_digest}"}},"layers":[]}}"#);
        let attestation = format!(r#"{{"config":{{"digest":"{}"}},"layers":[]}}"#, Digest::of("else"));
        let (manifest_digest, attestation_digest) = (Digest::of(&manifest), Digest::of(&attestation));
        let index = format!(r#"{{"manifests":[{{"digest":"{manifest_digest}"}},{{"digest":"{attestation_digest}"}}]}}"#);
        let index_digest = Digest::of(&index);
        let top = format!(r#"{{"manifests":[{{"digest":"{index_digest}"}}]}}"#);
        let path = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
        let saved = format!(r#"[{{"Config":"{}","RepoTags":["a:b"],"Layers":null}}]"#, path(config_digest));
        let json = [
            ("manifest.json".to_owned(), saved),
            ("index.json".to_owned(), top),
            (path(index_digest), index),
            (path(manifest_digest), manifest),
            (path(attestation_digest), attestation),
            (path(config_digest), config.to_owned()),
        ];
        let json = json.map(|(path, text)| (path, Bytes::from(text)));
        let contents = Contents { json: json.into(), links: HashMap::new() };
        let image = image(&contents, "a:b").expect("the image is found");
        assert_eq!(image.config_digest, config_digest);
        assert_eq!(BTreeSet::from_iter(image.ids), BTreeSet::from([config_digest, manifest_digest, index_digest]));
        let missing = super::image(&contents, "a:c").expect_err("there is no such image");
        assert_eq!(missing.to_string(), "the engine's export lacks the image `a:c`");
    }
}
