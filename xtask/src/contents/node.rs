//! `package.json` of what npm installed, and `MANIFEST.json` of Ansible collections.

use serde::Deserialize;

use super::{Package, PackageKind};

/// Whether a file names a package that npm installed: the `package.json` of a folder in a `node_modules`.
pub(super) fn is_evidence(path: &str) -> bool {
    path.strip_suffix("/package.json").is_some_and(|folder| package_folder(folder).is_some())
}

/// The same for a collection: `…/ansible_collections/NAMESPACE/NAME/MANIFEST.json`.
pub(super) fn is_collection(path: &str) -> bool {
    let Some(folder) = path.strip_suffix("/MANIFEST.json") else { return false };
    folder.rsplit('/').nth(2) == Some("ansible_collections")
}

/// The folder, if it is one that npm puts a package into: `NAME` or `@SCOPE/NAME` in a `node_modules`.
fn package_folder(folder: &str) -> Option<&str> {
    let mut parts = folder.rsplit('/');
    let (name, above) = (parts.next()?, parts.next()?);
    let above = if above.starts_with('@') { parts.next()? } else { above };
    (above == "node_modules" && !name.starts_with(['.', '@'])).then_some(folder)
}

/// The folder of the package that a file belongs to: the nearest one.
pub(super) fn owner(path: &str) -> Option<&str> {
    let at = path.rfind("/node_modules/").map(|at| at + 1).or_else(|| path.starts_with("node_modules/").then_some(0))?;
    let start = at + "node_modules/".len();
    let rest = path.get(start..)?;
    let mut ends = rest.match_indices('/').map(|(end, _)| end);
    let end = if rest.starts_with('@') { ends.nth(1)? } else { ends.next()? };
    path.get(..start + end)
}

#[derive(Deserialize)]
struct PackageJson {
    name: String,
    version: String,
    #[serde(default)]
    license: serde_json::Value,
    #[serde(default)]
    licenses: serde_json::Value,
}

/// The package that a `package.json` names. Those of folders in a package that only say `type` name none.
pub(super) fn read(path: &str, bytes: &[u8]) -> Option<Package> {
    let package: PackageJson = serde_json::from_slice(bytes).ok()?;
    if package.name.is_empty() || package.version.is_empty() {
        return None;
    }
    let licenses = words(&package.license).or_else(|| {
        let several: Vec<String> = package.licenses.as_array()?.iter().filter_map(words).collect();
        (!several.is_empty()).then(|| several.join(" OR "))
    });
    Some(Package {
        kind: PackageKind::Npm,
        name: package.name,
        version: package.version,
        architecture: None,
        place: path.rsplit_once('/').map(|(folder, _)| folder.to_owned()),
        bytes: 0,
        license: licenses,
        source: None,
        origin: None,
    })
}

/// `"MIT"`, or as it was long ago `{ "type": "MIT", "url": … }`.
fn words(license: &serde_json::Value) -> Option<String> {
    let words = license.as_str().or_else(|| license.get("type")?.as_str())?;
    (!words.is_empty()).then(|| words.to_owned())
}

#[derive(Deserialize)]
struct Manifest {
    collection_info: Collection,
}

#[derive(Deserialize)]
struct Collection {
    namespace: String,
    name: String,
    version: String,
    #[serde(default)]
    license: Vec<String>,
}

/// The collection that a `MANIFEST.json` names.
pub(super) fn read_collection(path: &str, bytes: &[u8]) -> Option<Package> {
    let Manifest { collection_info: collection } = serde_json::from_slice(bytes).ok()?;
    Some(Package {
        kind: PackageKind::Collection,
        name: format!("{}.{}", collection.namespace, collection.name),
        version: collection.version,
        architecture: None,
        place: path.rsplit_once('/').map(|(folder, _)| folder.to_owned()),
        bytes: 0,
        license: (!collection.license.is_empty()).then(|| collection.license.join(" OR ")),
        source: None,
        origin: None,
    })
}
