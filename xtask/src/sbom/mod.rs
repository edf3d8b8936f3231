//! The bill of materials of an image: CycloneDX 1.6 as JSON, of what is really in it. The same image makes the same bytes: no
//! clock, nothing of this machine. (ECMA-424, CycloneDX 1.6)

mod license;
mod purl;
#[cfg(test)]
mod tests;
mod untrue;

use std::collections::{BTreeMap, HashMap};

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::contents::{Contents, Package, PackageKind};
use crate::oci::Digest;
use crate::plan;

pub use license::{Choice, licenses};
pub use purl::purl;
pub use untrue::untrue;

/// How the document refers to the image itself.
const IMAGE: &str = "image";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Document<'a> {
    #[serde(rename = "$schema")]
    schema: &'a str,
    bom_format: &'a str,
    spec_version: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    serial_number: String,
    version: u32,
    metadata: Metadata<'a>,
    components: Vec<Component>,
    dependencies: Vec<Dependency>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<&'a str>,
    tools: Tools,
    component: Component,
}

#[derive(Serialize)]
struct Tools {
    components: Vec<Component>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Component {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    bom_ref: String,
    name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    version: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    licenses: Vec<Choice>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purl: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    properties: Vec<Property>,
    #[serde(skip_serializing_if = "Option::is_none")]
    evidence: Option<Evidence>,
}

#[derive(Serialize)]
struct Hash {
    alg: &'static str,
    content: String,
}

#[derive(Serialize)]
struct Property {
    name: String,
    value: String,
}

#[derive(Serialize)]
struct Evidence {
    occurrences: Vec<Occurrence>,
}

#[derive(Serialize)]
struct Occurrence {
    location: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Dependency {
    #[serde(rename = "ref")]
    of: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    depends_on: Vec<String>,
}

/// The document of an image.
pub fn cyclonedx(contents: &Contents) -> Vec<u8> {
    let mut components: Vec<Component> = system(contents).into_iter().collect();
    let came_with = contents.came_with();
    components.extend(contents.packages.iter().map(|package| component(contents, package, &came_with)));
    distinguish(&mut components);
    let all = components.iter().map(|component| component.bom_ref.clone()).collect();
    let mut document = Document {
        schema: "http://cyclonedx.org/schema/bom-1.6.schema.json",
        bom_format: "CycloneDX",
        spec_version: "1.6",
        serial_number: String::new(),
        version: 1,
        metadata: Metadata { timestamp: timestamp(contents), tools: tools(), component: image(contents) },
        dependencies: vec![Dependency { of: IMAGE.to_owned(), depends_on: all }],
        components,
    };
    // A document that says something else is another document, even of the same image.
    document.serial_number = serial_number(Digest::of(bytes(&document)));
    bytes(&document)
}

fn bytes(document: &Document<'_>) -> Vec<u8> {
    // Nothing in it can fail: strings and numbers.
    let mut bytes = serde_json::to_vec_pretty(document).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

/// A UUID of its own kind. (RFC 9562, version 8)
fn serial_number(digest: Digest) -> String {
    let hex = digest.hex();
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default();
    format!("urn:uuid:{}-{}-8{}-8{}-{}", part(0, 8), part(8, 12), part(13, 16), part(17, 20), part(20, 32))
}

/// When the image is of: its label, else what its builder says; nothing that is no time.
fn timestamp(contents: &Contents) -> Option<&str> {
    let label = contents.config.labels.get("org.opencontainers.image.created").map(String::as_str);
    let is_time = |text: &&str| OffsetDateTime::parse(text, &Rfc3339).is_ok();
    label.filter(is_time).or_else(|| contents.config.created.as_deref().filter(is_time))
}

fn tools() -> Tools {
    let gantry = Component {
        kind: "application",
        name: "gantry".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ..Component::default()
    };
    Tools { components: vec![gantry] }
}

fn property(name: &str, value: impl ToString) -> Property {
    Property { name: format!("gantry:{name}"), value: value.to_string() }
}

fn image(contents: &Contents) -> Component {
    let label = |name: &str| contents.config.labels.get(name).filter(|value| !value.is_empty()).cloned();
    let name = match (label(plan::FAMILY), label(plan::VARIANT)) {
        (Some(family), Some(variant)) => format!("{family}-{variant}"),
        _ => label("org.opencontainers.image.title").unwrap_or_else(|| "image".to_owned()),
    };
    let mut properties = vec![property("config-digest", contents.config_digest), property("platform", &contents.config.platform)];
    properties.extend(contents.config.diff_ids.iter().map(|diff_id| property("layer", diff_id)));
    Component {
        kind: "container",
        bom_ref: IMAGE.to_owned(),
        name,
        version: label("org.opencontainers.image.version").unwrap_or_else(|| contents.config_digest.to_string()),
        description: label("org.opencontainers.image.description"),
        // An image is its configuration, which names its layers.
        hashes: vec![Hash { alg: "SHA-256", content: contents.config_digest.hex() }],
        properties,
        ..Component::default()
    }
}

fn system(contents: &Contents) -> Option<Component> {
    let system = contents.system.as_ref()?;
    Some(Component {
        kind: "operating-system",
        bom_ref: format!("os:{}", system.id),
        name: system.id.clone(),
        version: system.version.clone().unwrap_or_default(),
        description: Some(system.name.clone()),
        ..Component::default()
    })
}

fn component(contents: &Contents, package: &Package, came_with: &HashMap<&Package, usize>) -> Component {
    let purl = purl(package, contents.system.as_ref());
    let mut properties = vec![property("kind", kind(package.kind))];
    let layer = came_with.get(package).and_then(|layer| contents.config.diff_ids.get(*layer));
    properties.extend(layer.map(|diff_id| property("layer", diff_id)));
    properties.extend((package.bytes > 0).then(|| property("bytes", package.bytes)));
    properties.extend(package.source.iter().map(|source| property("source", source)));
    properties.extend(package.origin.iter().map(|origin| property("origin", origin)));
    let location = package.place.clone();
    Component {
        kind: if package.kind == PackageKind::Pin { "application" } else { "library" },
        bom_ref: location.as_ref().map_or_else(|| purl.clone(), |place| format!("{purl}#{place}")),
        name: package.name.clone(),
        version: package.version.clone(),
        licenses: package.license.as_deref().map(|license| licenses(package.kind, license)).unwrap_or_default(),
        purl: Some(purl),
        properties,
        evidence: location.map(|location| Evidence { occurrences: vec![Occurrence { location: format!("/{location}") }] }),
        ..Component::default()
    }
}

fn kind(kind: PackageKind) -> &'static str {
    match kind {
        PackageKind::Debian => "debian",
        PackageKind::Python => "python",
        PackageKind::Npm => "npm",
        PackageKind::Collection => "ansible-collection",
        PackageKind::Pin => "pin",
        PackageKind::Crate => "crate",
    }
}

/// Two components never have one reference.
fn distinguish(components: &mut [Component]) {
    let mut seen: BTreeMap<String, usize> = BTreeMap::from([(IMAGE.to_owned(), 1)]);
    for component in components {
        let times = seen.entry(component.bom_ref.clone()).or_default();
        *times += 1;
        if *times > 1 {
            component.bom_ref = format!("{}#{times}", component.bom_ref);
        }
    }
}
