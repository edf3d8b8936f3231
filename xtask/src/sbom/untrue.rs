//! Whether a document tells what an image has. What an older version of this program has written of the same packages does.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::purl;
use crate::contents::Contents;

/// Packages that are named in a message.
const NAMED: usize = 3;
/// Letters of a name in a message.
const LONGEST: usize = 160;

/// What of a document is compared. (CycloneDX 1.6)
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    bom_format: String,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    components: Vec<Component>,
}

#[derive(Default, Deserialize)]
struct Metadata {
    #[serde(default)]
    component: Component,
}

#[derive(Default, Deserialize)]
struct Component {
    #[serde(default)]
    hashes: Vec<Hash>,
    #[serde(default)]
    purl: Option<String>,
}

#[derive(Deserialize)]
struct Hash {
    alg: String,
    content: String,
}

/// What a document says otherwise than the image is; none where it names the image and exactly the packages that are in it.
pub fn untrue(document: &[u8], contents: &Contents) -> Option<String> {
    let document = match serde_json::from_slice::<Document>(document) {
        Ok(document) if document.bom_format == "CycloneDX" => document,
        Ok(document) => return Some(format!("it is no CycloneDX but `{}`", plain(&document.bom_format))),
        Err(error) => return Some(format!("it is no CycloneDX: {error}")),
    };
    let image = document.metadata.component.hashes.iter().find(|hash| hash.alg == "SHA-256");
    if let Some(hash) = image.filter(|hash| hash.content != contents.config_digest.hex()) {
        return Some(format!("it is of another image, sha256:{}", plain(&hash.content)));
    }
    let listed: BTreeSet<&str> = document.components.iter().filter_map(|it| it.purl.as_deref()).map(named).collect();
    let of_image = contents.packages.iter().map(|package| purl(package, contents.system.as_ref()));
    let there: BTreeSet<String> = of_image.map(|purl| named(&purl).to_owned()).collect();
    let there: BTreeSet<&str> = there.iter().map(String::as_str).collect();
    let more = told("lists what is not in the image", &listed - &there);
    let less = told("leaves out what is", &there - &listed);
    let both: Vec<String> = [more, less].into_iter().flatten().collect();
    (!both.is_empty()).then(|| format!("it {}", both.join(", and ")))
}

/// A package URL up to its version: what follows is how it was built and for what.
fn named(purl: &str) -> &str {
    purl.split(['?', '#']).next().unwrap_or(purl)
}

/// Whatever a stranger has written, as a part of a line.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

fn told(what: &str, packages: BTreeSet<&str>) -> Option<String> {
    let names: Vec<String> = packages.iter().take(NAMED).map(|name| format!("`{}`", plain(name))).collect();
    let more = packages.len().saturating_sub(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!packages.is_empty()).then(|| format!("{what}: {}{more}", names.join(", ")))
}
