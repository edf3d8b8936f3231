//! What differs. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::super::image::{Image, annotations};
use super::super::ledger::{State, View};
use super::super::plan::{Delivery, TagKind, forbidden};
use super::sboms;
use super::{Asked, Difference, Evidence, Fault, Kind, Report, SeenImage, SeenTag, TagReport};
use crate::family::Name;
use crate::oci::{Digest, Platform, Repository};
use crate::plan;

/// The date of a release, as a label (OCI image specification, annotations).
const VERSION: &str = "org.opencontainers.image.version";

/// Compares what the registries showed with each other, with the `ledger` of this machine and with what images of `family` are like.
pub fn compare(family: &Name, asked: &[Asked], evidence: &Evidence, ledger: &View, deep: bool) -> Report {
    let mut differences = Vec::new();
    let mut tags = Vec::new();
    for variant in asked.iter().filter(|asked| !asked.aside) {
        let seen: Vec<&SeenTag> = evidence.tags.iter().filter(|tag| tag.variant == variant.variant).collect();
        let at = |kind, destination: Option<&str>, message| Difference {
            kind,
            variant: variant.variant.clone(),
            destination: destination.map(str::to_owned),
            message,
        };
        let seen = wanted(variant, &seen);
        let at_destinations = images(&seen, evidence);
        unreachable(&seen, &mut differences, &at);
        under_each_tag(&seen, ledger, &mut differences, &at);
        for tag in &seen {
            if let Some(message) = platforms(variant, tag, evidence) {
                differences.push(at(Kind::Manifest, Some(&tag.destination), message));
            }
        }
        for (repository, digest, destination) in at_destinations.iter().copied() {
            let Some(image) = evidence.images.get(&(repository.clone(), digest)) else { continue };
            let name = format!("`{repository}@{}`", digest.short(12));
            faults(&name, image, destination, &mut differences, &at);
            let Some(found) = &image.image else { continue };
            let delivery = variant.deliveries.iter().find(|to| to.repository == *repository);
            for message in labels(family, &variant.variant, found, &image.annotations, delivery) {
                differences.push(at(Kind::Label, Some(destination), format!("{name} {message}")));
            }
            let refusals = delivery.map(|to| forbidden(&variant.variant, &found.labels, to)).unwrap_or_default();
            differences.extend(refusals.iter().map(|refusal| at(Kind::Policy, Some(destination), refusal.to_string())));
        }
        let of_sboms = sboms::differences(&at_destinations, evidence, ledger);
        differences.extend(of_sboms.into_iter().map(|(destination, message)| at(Kind::Sbom, destination, message)));
        parentage(variant, asked, evidence, &mut differences, &at);
        let report = |tag: &&SeenTag| TagReport {
            variant: tag.variant.clone(),
            reference: reference(tag),
            kind: tag.tag.kind,
            digest: tag.found.clone().ok().flatten(),
        };
        tags.extend(seen.iter().map(report));
    }
    entrypoints(asked, evidence, &mut differences);
    differences.sort_by(|a, b| (&a.variant, a.kind).cmp(&(&b.variant, b.kind)));
    let known = tags.iter().any(|tag| ledger.tags.contains_key(&tag.reference));
    Report { schema: 1, equal: differences.is_empty(), ledger: known, deep, tags, differences }
}

fn reference(tag: &SeenTag) -> String {
    tag.repository.tag(&tag.tag.name).to_string()
}

/// The tags that count: those that may be missing everywhere, and are, do not.
fn wanted<'a>(asked: &Asked, seen: &[&'a SeenTag]) -> Vec<&'a SeenTag> {
    let is_there = |name: &String| seen.iter().any(|tag| tag.tag.name == *name && matches!(tag.found, Ok(Some(_))));
    let counts = |tag: &&&SeenTag| !asked.tentative.contains(&tag.tag.name) || is_there(&tag.tag.name);
    seen.iter().filter(counts).copied().collect()
}

/// A registry that does not answer is told of once.
fn unreachable(seen: &[&SeenTag], differences: &mut Vec<Difference>, at: &impl Fn(Kind, Option<&str>, String) -> Difference) {
    let mut told = BTreeSet::new();
    for tag in seen {
        if let Err(why) = &tag.found
            && told.insert(&tag.destination)
        {
            differences.push(at(Kind::Unreachable, Some(&tag.destination), format!("`{}`: {why}", tag.destination)));
        }
    }
}

/// One tag in all its destinations, and what the ledger has of it.
fn under_each_tag(
    seen: &[&SeenTag],
    ledger: &View,
    differences: &mut Vec<Difference>,
    at: &impl Fn(Kind, Option<&str>, String) -> Difference,
) {
    let names: BTreeSet<&String> = seen.iter().map(|tag| &tag.tag.name).collect();
    for name in names {
        let same: Vec<_> = seen.iter().filter(|tag| tag.tag.name == *name).collect();
        let there: Vec<_> = same.iter().filter_map(|tag| Some((&tag.destination, tag.found.clone().ok()??))).collect();
        if there.iter().any(|(_, digest)| there.first().is_some_and(|(_, first)| first != digest)) {
            let all: Vec<String> = there.iter().map(|(at, digest)| format!("{digest} in `{at}`")).collect();
            differences.push(at(Kind::Digest, None, format!("the tag `{name}` is {}", all.join(", "))));
        }
        for tag in same {
            let Ok(found) = tag.found else { continue };
            let remembered = ledger.tags.get(&reference(tag));
            let says = remembered.map(|remembered| format!("; the ledger says {remembered}")).unwrap_or_default();
            let destination = Some(tag.destination.as_str());
            match found {
                None => {
                    let others = if there.is_empty() { " anywhere" } else { "" };
                    differences.push(at(Kind::Missing, destination, format!("`{}` is not there{others}{says}", reference(tag))));
                }
                Some(found) if remembered.is_some_and(|remembered| remembered.line.digest != found) => {
                    differences.push(at(Kind::Ledger, destination, format!("`{}` is {found}{says}", reference(tag))));
                }
                // What could not be set at that time is there now: by a later run elsewhere, or the answer was lost.
                Some(_) => {}
            }
        }
    }
}

/// Every image once, those of an index included, with the name of a destination that holds it.
fn images<'a>(seen: &[&'a SeenTag], evidence: &Evidence) -> Vec<(&'a Repository, Digest, &'a str)> {
    let at = |tag: &&'a SeenTag| Some(((&tag.repository, tag.found.clone().ok()??), tag.destination.as_str()));
    let mut images: BTreeMap<_, _> = seen.iter().filter_map(at).collect();
    for ((repository, digest), destination) in images.clone() {
        let index = evidence.images.get(&(repository.clone(), digest));
        images.extend(index.iter().flat_map(|index| &index.members).map(|member| ((repository, *member), destination)));
    }
    images.into_iter().map(|((repository, digest), destination)| (repository, digest, destination)).collect()
}

/// Where a variant is published for several platforms: in words what a tag of all of them lacks.
fn platforms(variant: &Asked, tag: &SeenTag, evidence: &Evidence) -> Option<String> {
    let is_of_one = |platform: &Platform| tag.tag.name.ends_with(&format!("-{}", platform.arch()));
    if variant.platforms.len() < 2 || variant.platforms.iter().any(is_of_one) {
        return None;
    }
    let listed =
        |platforms: &mut dyn Iterator<Item = &Platform>| platforms.map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let digest = tag.found.clone().ok()??;
    let seen = evidence.images.get(&(tag.repository.clone(), digest))?;
    let name = reference(tag);
    if let Some(image) = &seen.image {
        let all = listed(&mut variant.platforms.iter());
        return Some(format!("`{name}` is the image for {} alone, and is to be an index of {all}", platform(image)));
    }
    let members: Option<Vec<&Image>> = seen.members.iter().map(|member| image_at(evidence, &tag.repository, *member)).collect();
    // Of what is missing or is no image it is told already. An older release may be one of fewer platforms.
    let members = members.filter(|members| !members.is_empty() && seen.faults.is_empty() && tag.tag.kind == TagKind::Moving)?;
    let is_there = |wanted: &Platform| members.iter().any(|member| platform(member) == wanted.to_string());
    let lacking = listed(&mut variant.platforms.iter().filter(|platform| !is_there(platform)));
    (!lacking.is_empty()).then(|| format!("`{name}` has no image for {lacking}"))
}

fn image_at<'a>(evidence: &'a Evidence, repository: &Repository, digest: Digest) -> Option<&'a Image> {
    evidence.images.get(&(repository.clone(), digest))?.image.as_ref()
}

/// What an image says that it runs on.
fn platform(image: &Image) -> &str {
    image.labels.get(plan::PLATFORM).map(String::as_str).unwrap_or_default()
}

fn faults(
    name: &str,
    image: &SeenImage,
    destination: &str,
    differences: &mut Vec<Difference>,
    at: &impl Fn(Kind, Option<&str>, String) -> Difference,
) {
    for fault in &image.faults {
        let kind = match fault {
            Fault::Unreadable { .. } => Kind::Unreachable,
            Fault::NoManifest | Fault::NoMember { .. } | Fault::NoConfiguration { .. } | Fault::Foreign { .. } => Kind::Manifest,
            _ => Kind::Blob,
        };
        differences.push(at(kind, Some(destination), format!("{name}: {fault}")));
    }
}

/// What is wrong with the labels of an image, in words.
fn labels(
    family: &Name,
    variant: &Name,
    image: &Image,
    shown: &BTreeMap<String, String>,
    delivery: Option<&Delivery>,
) -> Vec<String> {
    let mut wrong = Vec::new();
    let label = |name: &str| image.labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
    for (name, wanted) in [(plan::FAMILY, family.as_str()), (plan::VARIANT, variant.as_str())] {
        match label(name) {
            Some(found) if found == wanted => {}
            Some(found) => wrong.push(format!("has the label `{name}` `{found}`, and is to be `{wanted}`")),
            None => wrong.push(format!("lacks the label `{name}`, and is to be `{wanted}`")),
        }
    }
    // Where there is no git, only a registry on this machine is published to.
    let revision = delivery.filter(|to| !to.repository.is_loopback()).map(|_| plan::REVISION);
    for name in [plan::INPUT, VERSION].into_iter().chain(revision) {
        if label(name).is_none() {
            wrong.push(format!("lacks the label `{name}`"));
        }
    }
    for (name, value) in annotations(&image.labels) {
        if shown.get(&name) != Some(&value) {
            let other =
                shown.get(&name).map_or_else(|| "no such annotation".to_owned(), |other| format!("the annotation `{other}`"));
            wrong.push(format!("has the label `{name}` `{value}`, and {other}"));
        }
    }
    wrong
}

/// The image of a variant's first moving tag at a repository, or those of its index, by their platforms. Only of those it is asked
/// who sits on whom: an immutable tag stays where it is when its parent has long moved on.
fn moving<'a>(evidence: &'a Evidence, variant: &Name, repository: &Repository) -> BTreeMap<&'a str, &'a Image> {
    let is_it = |tag: &&SeenTag| tag.variant == *variant && tag.repository == *repository && tag.tag.kind == TagKind::Moving;
    let found = evidence.tags.iter().find(is_it).and_then(|tag| tag.found.clone().ok()?);
    let seen = found.and_then(|digest| Some((digest, evidence.images.get(&(repository.clone(), digest))?)));
    let all = seen.into_iter().flat_map(|(digest, seen)| std::iter::once(digest).chain(seen.members.iter().copied()));
    let images = all.filter_map(|digest| image_at(evidence, repository, digest));
    images.map(|image| (platform(image), image)).collect()
}

/// A child has the layers of its published parent below those that finish it.
fn parentage(
    variant: &Asked,
    asked: &[Asked],
    evidence: &Evidence,
    differences: &mut Vec<Difference>,
    at: &impl Fn(Kind, Option<&str>, String) -> Difference,
) {
    let parent = asked.iter().find(|asked| Some(&asked.variant) == variant.parent.as_ref());
    for (parent, to) in parent.iter().flat_map(|parent| variant.deliveries.iter().map(move |to| (parent, to))) {
        let below = moving(evidence, &parent.variant, &to.repository);
        let children = moving(evidence, &variant.variant, &to.repository).into_iter();
        for (child, below) in children.filter_map(|(platform, child)| Some((child, *below.get(platform)?))) {
            let wanted = unfinished(below, &parent.pins);
            if !child.diff_ids.starts_with(wanted) {
                let common = wanted.iter().zip(&child.diff_ids).take_while(|(a, b)| a == b).count();
                let parent = format!("`{}@{}`", to.repository, below.manifest.digest.short(12));
                let child = format!("`{}@{}`", to.repository, child.manifest.digest.short(12));
                let message = format!("{child} is not built on {parent}: it has {common} of its {} layers", wanted.len());
                differences.push(at(Kind::Parent, Some(&to.destination), message));
            }
        }
    }
}

/// The layers of a finished variant that children stand on. On top of them lies a layer for each component and one for the
/// entrypoint (`images/component`, `images/finish`). Which components it has its labels say: it has one for every pin, and
/// `pins` are those that the images themselves install.
pub(in crate::publish) fn unfinished<'a>(image: &'a Image, pins: &BTreeSet<Name>) -> &'a [Digest] {
    let of_labels = image.labels.keys().filter_map(|label| label.strip_prefix(plan::PIN));
    let components = of_labels.filter(|pin| !pins.iter().any(|own| own.as_str() == *pin)).count();
    let kept = image.diff_ids.len().saturating_sub(components + 1);
    image.diff_ids.get(..kept).unwrap_or_default()
}

/// The entrypoint is the topmost layer, the same on every variant: its times are fixed. So variants of one release (date and
/// revision) that have different ones have different entrypoints, which no label tells and nothing has to be run for.
fn entrypoints(asked: &[Asked], evidence: &Evidence, differences: &mut Vec<Difference>) {
    let mut first: BTreeMap<(&Repository, &str, &str, &str), (&Name, Digest)> = BTreeMap::new();
    let deliveries = asked.iter().filter(|asked| !asked.aside);
    for (variant, to) in deliveries.flat_map(|asked| asked.deliveries.iter().map(move |to| (&asked.variant, to))) {
        for (platform, image) in moving(evidence, variant, &to.repository) {
            let label = |name: &str| image.labels.get(name).map(String::as_str).filter(|value| !value.is_empty());
            let (Some(version), Some(revision), Some(top)) = (label(VERSION), label(plan::REVISION), image.diff_ids.last())
            else {
                continue;
            };
            let (other, wanted) = *first.entry((&to.repository, platform, version, revision)).or_insert((variant, *top));
            if wanted != *top {
                differences.push(Difference {
                    kind: Kind::Entrypoint,
                    variant: variant.clone(),
                    destination: Some(to.destination.clone()),
                    message: format!(
                        "its entrypoint (the layer {}) is another than that of `{other}` ({}), of the same release",
                        top.short(12),
                        wanted.short(12)
                    ),
                });
            }
        }
    }
}

/// The immutable tags that the ledger has of what was released last of a variant in these repositories.
pub fn newest_immutable(ledger: &View, variant: &Name, repositories: &BTreeSet<&Repository>) -> BTreeSet<String> {
    let tag_of = |reference: &str| {
        let (repository, tag) = reference.rsplit_once(':')?;
        repositories.iter().any(|known| known.to_string() == repository).then(|| tag.to_owned())
    };
    let lines = ledger.tags.values().filter(|known| known.line.variant == *variant && known.line.kind == TagKind::Immutable);
    // What was never set anywhere was never released.
    let set = |state| matches!(state, State::Pushed | State::AlreadyThere);
    let lines: Vec<_> = lines.filter_map(|known| Some((tag_of(&known.line.reference)?, known))).collect();
    let released = lines.iter().filter(|(_, known)| set(known.line.state));
    let Some(newest) = released.max_by(|(_, a), (_, b)| a.at.cmp(&b.at)).map(|(_, known)| known.line.digest) else {
        return BTreeSet::new();
    };
    lines.into_iter().filter(|(_, known)| known.line.digest == newest).map(|(tag, _)| tag).collect()
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
