//! Layers on each other: pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::{Contents, Entry, EntryKind, Layer, Package, PackageKind, Says, System, debian};
use crate::oci::{Digest, ImageConfig};
use crate::plan::PIN;

/// A file, folder or link that an image shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'a> {
    /// The layer that it is of, from 0.
    pub layer: usize,
    /// What it is.
    pub entry: &'a Entry,
}

/// What an image shows when all layers lie on each other, by path.
pub type Tree<'a> = BTreeMap<&'a str, File<'a>>;

/// Puts an image together. The layers come lowest first, each with its bytes as compressed where that is known.
pub fn assemble(config_digest: Digest, config: ImageConfig, layers: Vec<(Arc<Layer>, Option<u64>)>) -> Contents {
    let (packages, system) = packages(&config, &layers);
    Contents { config_digest, config, layers, packages, system }
}

impl Contents {
    /// What a container of it finds.
    pub fn tree(&self) -> Tree<'_> {
        tree(&self.layers)
    }

    /// The layer (from 0) that a package came with: the lowest one that tells of it.
    pub fn came_with(&self) -> HashMap<&Package, usize> {
        let mut first: HashMap<Key<'_>, usize> = HashMap::new();
        for (number, (layer, _)) in self.layers.iter().enumerate() {
            for said in &layer.evidence {
                let Says::Packages(packages) = &said.says else { continue };
                for package in packages {
                    first.entry(key(package)).or_insert(number);
                }
            }
        }
        self.packages.iter().filter_map(|package| Some((package, *first.get(&key(package))?))).collect()
    }
}

/// What tells a package from others, whatever else is known of it.
type Key<'a> = (PackageKind, &'a str, &'a str, Option<&'a str>, Option<&'a str>);

fn key(package: &Package) -> Key<'_> {
    let Package { kind, name, version, architecture, place, .. } = package;
    (*kind, name, version, architecture.as_deref(), place.as_deref())
}

fn tree(layers: &[(Arc<Layer>, Option<u64>)]) -> Tree<'_> {
    let mut tree = Tree::new();
    for (number, (layer, _)) in layers.iter().enumerate() {
        // What a layer takes away lies below it, wherever its tar says so.
        for hidden in &layer.hidden {
            remove_below(&mut tree, hidden);
        }
        for removed in &layer.removed {
            tree.remove(removed.as_str());
            remove_below(&mut tree, removed);
        }
        for entry in &layer.entries {
            let before = tree.insert(&entry.path, File { layer: number, entry });
            if before.is_some_and(|before| before.entry.kind == EntryKind::Folder) && entry.kind != EntryKind::Folder {
                remove_below(&mut tree, &entry.path);
            }
        }
    }
    tree
}

/// Removes everything in a folder; the empty name is the root's.
fn remove_below(tree: &mut Tree<'_>, folder: &str) {
    if folder.is_empty() {
        return tree.clear();
    }
    // `0` follows `/`.
    let (first, after) = (format!("{folder}/"), format!("{folder}0"));
    let below: Vec<&str> = tree.range(first.as_str()..after.as_str()).map(|(path, _)| *path).collect();
    for path in below {
        tree.remove(path);
    }
}

fn packages(config: &ImageConfig, layers: &[(Arc<Layer>, Option<u64>)]) -> (Vec<Package>, Option<System>) {
    let tree = tree(layers);
    let all = layers.iter().enumerate().flat_map(|(number, (layer, _))| layer.evidence.iter().map(move |said| (number, said)));
    // What a later layer has replaced or removed says nothing any more.
    let counts = all.filter(|(number, said)| tree.get(said.path.as_str()).is_some_and(|file| file.layer == *number));
    let (mut found, mut owned) = (Vec::new(), BTreeSet::new());
    let (mut licenses, mut elsewhere) = (HashMap::new(), HashMap::new());
    let mut system = None;
    for (_, said) in counts {
        match &said.says {
            Says::Packages(packages) => found.extend(packages.iter().map(|package| (said.path.as_str(), package))),
            Says::Owns(paths) => owned.extend(paths.iter().map(String::as_str)),
            Says::License(license) => drop(debian::copyright_of(&said.path).map(|name| licenses.insert(name, license))),
            Says::System(said) => system = Some(said.clone()),
            Says::DocumentedWith(other) => drop(debian::documentation_of(&said.path).map(|name| elsewhere.insert(name, other))),
        }
    }
    // What dpkg put there is told by dpkg: a Python module that Debian packages is one package, not two.
    let own = found.into_iter().filter(|(path, _)| !owned.contains(path));
    let licensed = |package: &Package| {
        let mut package = package.clone();
        if package.kind == PackageKind::Debian {
            let name = package.name.as_str();
            let license = licenses.get(name).or_else(|| licenses.get(elsewhere.get(name)?.as_str()));
            package.license = license.map(|license| (*license).clone());
        }
        package
    };
    let mut packages: Vec<Package> = own.map(|(_, package)| licensed(package)).chain(pins(config)).collect();
    packages.sort();
    packages.dedup();
    (packages, system)
}

/// The pins that went into an image, as its labels tell.
fn pins(config: &ImageConfig) -> impl Iterator<Item = Package> + '_ {
    let pins = config.labels.iter().filter_map(|(label, version)| Some((label.strip_prefix(PIN)?, version)));
    pins.map(|(name, version)| Package {
        kind: PackageKind::Pin,
        name: name.to_owned(),
        version: version.clone(),
        architecture: None,
        place: None,
        bytes: 0,
        license: None,
        source: None,
        origin: None,
    })
}
