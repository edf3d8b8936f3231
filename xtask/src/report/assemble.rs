//! From a plan and from what is in images to what a report says of them. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::{Built, Group, Item, Layer, Smoke, Step, StepKind};
use crate::contents::{self, Contents, Package, PackageKind};
use crate::diff;
use crate::oci::Digest;
use crate::plan::{self, Plan, StepId, Work};

/// Packages of a kind, or files, that are listed; the others are a sum.
const LISTED: usize = 40;
/// Folders that are nobody's but the image's own: what is in them is told by the folder.
const OWN: [&str; 5] = ["opt/", "usr/local/", "home/", "root/", "srv/"];

/// What the engine has of the images of steps: the digests of their layers, lowest first.
pub type Stages = BTreeMap<StepId, Vec<Digest>>;

/// The steps of a plan. `stages` is none where the engine could not be asked.
pub fn steps(plan: &Plan, stages: Option<&Stages>, layers: &[Layer]) -> Vec<Step> {
    let size: BTreeMap<Digest, u64> = layers.iter().map(|layer| (layer.diff_id, layer.bytes)).collect();
    let of = |id: &StepId| stages.and_then(|stages| stages.get(id));
    let one = |step: &plan::Step| {
        let parent = parent(step);
        let own = of(&step.id).map(|ids| {
            let below = parent.and_then(of).map_or(0, Vec::len);
            ids.iter().skip(below).map(|id| size.get(id).copied()).sum::<Option<u64>>()
        });
        let finishes = plan.variants.iter().find(|variant| variant.finished == step.id);
        Step {
            id: step.id.to_string(),
            kind: kind(step),
            parent: parent.map(ToString::to_string),
            needs: step.needs.iter().map(ToString::to_string).collect(),
            what: what(plan, step),
            input: step.input,
            variant: finishes.map(|variant| variant.name.to_string()),
            there: stages.filter(|_| step.stage.is_some()).map(|stages| stages.contains_key(&step.id)),
            adds: own.flatten(),
        }
    };
    plan.steps.iter().map(one).collect()
}

fn parent(step: &plan::Step) -> Option<&StepId> {
    match &step.work {
        Work::Build(build) => Some(&build.parent),
        _ => None,
    }
}

fn kind(step: &plan::Step) -> StepKind {
    match &step.work {
        Work::Pull { .. } | Work::Bootstrap { .. } => StepKind::Base,
        Work::Artifact { .. } => StepKind::Artifact,
        Work::Entrypoint => StepKind::Entrypoint,
        Work::Build(build) if build.entrypoint => StepKind::Finish,
        Work::Build(build) if build.context == plan::COMPONENT_CONTEXT => StepKind::Component,
        Work::Build(_) => StepKind::Image,
    }
}

fn what(plan: &Plan, step: &plan::Step) -> String {
    match &step.work {
        // What a digest is of, a person need not read.
        Work::Pull { reference } => reference.to_string().split('@').next().unwrap_or_default().to_owned(),
        Work::Bootstrap { suite, .. } => format!("Debian {suite}, of packages"),
        Work::Artifact { version, .. } => version.clone(),
        Work::Entrypoint => "compiled".to_owned(),
        Work::Build(build) if build.context == plan::COMPONENT_CONTEXT => {
            let artifacts = step.needs.iter().filter_map(|need| match &plan.step(need)?.work {
                Work::Artifact { pin, version, .. } => Some(format!("{pin} {version}")),
                _ => None,
            });
            artifacts.collect::<Vec<_>>().join(", ")
        }
        Work::Build(build) => build.context.clone(),
    }
}

/// The layers of all images, each once, in the order in which they are met.
pub fn layers(images: &[(String, &Contents)], plan: &Plan, stages: Option<&Stages>) -> Vec<Layer> {
    let mut layers: Vec<Layer> = Vec::new();
    for (variant, contents) in images {
        let told = diff::instructions(contents);
        for ((layer, packed), instruction) in contents.layers.iter().zip(told) {
            match layers.iter_mut().find(|known| known.diff_id == layer.diff_id) {
                Some(known) => {
                    known.packed = known.packed.or(*packed);
                    if !known.images.contains(variant) {
                        known.images.push(variant.clone());
                    }
                }
                None => layers.push(Layer {
                    letter: letter(layers.len()),
                    diff_id: layer.diff_id,
                    bytes: content(layer),
                    packed: *packed,
                    instruction: instruction.unwrap_or_default(),
                    step: maker(layer.diff_id, plan, stages),
                    images: vec![variant.clone()],
                }),
            }
        }
    }
    layers
}

/// Bytes of a layer's files.
fn content(layer: &contents::Layer) -> u64 {
    layer.entries.iter().map(|entry| entry.bytes).sum()
}

/// `A` to `Z`, then `AA`.
fn letter(number: usize) -> String {
    let digit = char::from(b'A' + u8::try_from(number % 26).unwrap_or_default());
    match number / 26 {
        0 => digit.to_string(),
        more => format!("{}{digit}", letter(more - 1)),
    }
}

/// The first step of the plan whose image has the layer.
fn maker(layer: Digest, plan: &Plan, stages: Option<&Stages>) -> Option<String> {
    let has = |step: &&plan::Step| stages.and_then(|stages| stages.get(&step.id)).is_some_and(|ids| ids.contains(&layer));
    let images = plan.steps.iter().filter(|step| !matches!(step.work, Work::Artifact { .. }));
    images.into_iter().find(has).map(|step| step.id.to_string())
}

/// What an image in the engine is. The letters are those of `layers`.
pub fn built(contents: &Contents, layers: &[Layer], outdated: bool, smoke: Option<Smoke>) -> Built {
    let letters = contents.layers.iter().filter_map(|(layer, _)| layers.iter().find(|known| known.diff_id == layer.diff_id));
    let mut files: Vec<(&str, u64)> =
        contents.tree().iter().filter(|(_, file)| file.entry.bytes > 0).map(|(path, file)| (*path, file.entry.bytes)).collect();
    let total = files.iter().map(|(_, bytes)| bytes).sum();
    let groups = groups(&contents.packages, &files, total);
    files.sort_by(|(a, one), (b, other)| other.cmp(one).then_with(|| a.cmp(b)));
    let item = |(path, bytes): &(&str, u64)| Item { name: (*path).to_owned(), version: None, bytes: *bytes };
    Built {
        config_digest: contents.config_digest,
        outdated,
        created: contents.config.created.clone(),
        smoke,
        bytes: contents.layers.iter().map(|(layer, _)| content(layer)).sum(),
        packed: contents.layers.iter().map(|(_, packed)| *packed).sum(),
        layers: letters.map(|layer| layer.letter.clone()).collect(),
        groups,
        files: total,
        file_count: files.len() as u64,
        biggest: files.iter().take(LISTED).map(item).collect(),
    }
}

/// Packages by kind, then the files that are in none; the biggest first.
fn groups(packages: &[Package], files: &[(&str, u64)], total: u64) -> Vec<Group> {
    let mut kinds: BTreeMap<PackageKind, BTreeMap<&str, Vec<&Package>>> = BTreeMap::new();
    for package in packages {
        kinds.entry(package.kind).or_default().entry(&package.name).or_default().push(package);
    }
    let mut groups: Vec<Group> = Vec::new();
    for (kind, names) in kinds {
        let count = names.values().map(|packages| packages.len() as u64).sum();
        groups.push(group(Some(kind), count, names.into_iter().map(item).collect(), 0));
    }
    let packaged: u64 = groups.iter().map(|group| group.bytes).sum();
    let own = own_folders(packages, files);
    let listed: u64 = own.iter().map(|item| item.bytes).sum();
    // dpkg rounds every file up: together with what is nobody's, packages may come to more than the files do.
    let other = total.saturating_sub(packaged).max(listed);
    if other > 0 {
        groups.push(group(None, 0, own, other - listed));
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.bytes));
    groups
}

/// All packages of one name.
fn item((name, packages): (&str, Vec<&Package>)) -> Item {
    let versions: BTreeSet<&str> = packages.iter().map(|package| package.version.as_str()).collect();
    let version = match packages.first() {
        Some(only) if versions.len() == 1 => only.version.clone(),
        _ => format!("{} versions", versions.len()),
    };
    Item { name: name.to_owned(), version: Some(version), bytes: packages.iter().map(|package| package.bytes).sum() }
}

fn group(kind: Option<PackageKind>, count: u64, mut items: Vec<Item>, beside: u64) -> Group {
    items.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    let bytes = items.iter().map(|item| item.bytes).sum::<u64>() + beside;
    items.truncate(LISTED);
    let rest = bytes - items.iter().map(|item| item.bytes).sum::<u64>();
    Group { kind, bytes, count, items, rest }
}

/// The image's own folders, without what packages have in them.
fn own_folders(packages: &[Package], files: &[(&str, u64)]) -> Vec<Item> {
    let places: BTreeSet<&str> = packages.iter().filter_map(|package| package.place.as_deref()).collect();
    let is_packaged =
        |path: &str| path.match_indices('/').any(|(at, _)| path.get(..at).is_some_and(|above| places.contains(above)));
    let mut folders: BTreeMap<String, u64> = BTreeMap::new();
    for (path, bytes) in files {
        let Some(own) = OWN.iter().find(|own| path.starts_with(**own)) else { continue };
        if !is_packaged(path) && !places.contains(path) {
            let name = path.get(own.len()..).and_then(|rest| rest.split('/').next()).unwrap_or_default();
            *folders.entry(format!("{own}{name}")).or_default() += bytes;
        }
    }
    folders.into_iter().map(|(name, bytes)| Item { name, version: None, bytes }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package(kind: PackageKind, name: &str, version: &str, place: Option<&str>, bytes: u64) -> Package {
        Package {
            kind,
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: None,
            place: place.map(str::to_owned),
            bytes,
            license: None,
            source: None,
            origin: None,
        }
    }

    #[test]
    fn letters_go_on_after_z() {
        assert_eq!([0, 25, 26, 27, 51, 52, 701, 702].map(letter), ["A", "Z", "AA", "AB", "AZ", "BA", "ZZ", "AAA"]);
    }

    #[test]
    fn groups_are_packages_and_what_is_in_none() {
        let packages = [
            package(PackageKind::Debian, "git", "1", None, 50),
            package(PackageKind::Npm, "semver", "7.1", Some("opt/ide/node_modules/semver"), 5),
            package(PackageKind::Npm, "semver", "7.2", Some("opt/ide/node_modules/x/node_modules/semver"), 6),
        ];
        let files = [
            ("opt/ide/node_modules/semver/index.js", 5),
            ("opt/ide/node_modules/x/node_modules/semver/index.js", 6),
            ("opt/ide/main.js", 20),
            ("usr/local/bin/entrypoint", 9),
            ("usr/bin/git", 40),
            ("etc/motd", 30),
        ];
        let groups = groups(&packages, &files, 110);
        assert_eq!(groups.iter().map(|group| group.bytes).sum::<u64>(), 110);
        let told = groups.iter().map(|group| (group.kind, group.bytes, group.count, group.rest));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [(Some(PackageKind::Debian), 50, 1, 0), (None, 49, 0, 20), (Some(PackageKind::Npm), 11, 2, 0)]
        );
        let names: Vec<_> = groups.iter().flat_map(|group| &group.items).map(|item| (item.name.as_str(), item.bytes)).collect();
        assert_eq!(names, [("git", 50), ("opt/ide", 20), ("usr/local/bin", 9), ("semver", 11)]);
        assert_eq!(groups.last().and_then(|group| group.items.first()?.version.clone()).as_deref(), Some("2 versions"));
    }

    #[test]
    fn what_is_too_much_is_a_sum() {
        let many: Vec<Item> = (0..100).map(|at| Item { name: at.to_string(), version: None, bytes: at }).collect();
        let group = group(None, 100, many, 7);
        assert_eq!((group.items.len(), group.items.first().map(|item| item.bytes)), (LISTED, Some(99)));
        assert_eq!(group.rest + group.items.iter().map(|item| item.bytes).sum::<u64>(), group.bytes);
        assert_eq!(group.bytes, 99 * 100 / 2 + 7);
    }
}
