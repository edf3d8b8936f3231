//! Packages that came, went, or are another version.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::version::{self, SortKey};
use super::{Change, Installed, PackageChange, PackageCount};
use crate::contents::{Contents, Package, PackageKind};

/// How many packages there are.
pub(super) fn count(before: &Contents, after: &Contents) -> BTreeMap<PackageKind, PackageCount> {
    let mut counts = BTreeMap::<_, PackageCount>::new();
    for package in &before.packages {
        counts.entry(package.kind).or_default().before += 1;
    }
    for package in &after.packages {
        counts.entry(package.kind).or_default().after += 1;
    }
    counts
}

/// Every package of a name, on both sides.
#[derive(Default)]
struct Group<'a> {
    before: Vec<&'a Package>,
    after: Vec<&'a Package>,
}

/// What differs.
pub(super) fn compare(before: &Contents, after: &Contents) -> Vec<PackageChange> {
    let mut groups = BTreeMap::<(PackageKind, &str), Group<'_>>::new();
    for package in &before.packages {
        groups.entry((package.kind, &package.name)).or_default().before.push(package);
    }
    for package in &after.packages {
        groups.entry((package.kind, &package.name)).or_default().after.push(package);
    }
    // What is made for another platform is not told of each package.
    let same_platform = before.config.platform == after.config.platform;
    let mut changes: Vec<_> = groups
        .into_iter()
        .flat_map(|((kind, name), group)| {
            let architectures = group.architectures();
            architectures.into_iter().flat_map(move |group| group.changes(kind, name, same_platform))
        })
        .collect();
    changes.sort_by(|one, other| (one.kind, one.change, &one.name).cmp(&(other.kind, other.change, &other.name)));
    changes
}

impl<'a> Group<'a> {
    /// Debian's packages of several architectures are several packages; one that merely changes its own is one.
    fn architectures(self) -> Vec<Self> {
        let of = |packages: &[&Package]| packages.iter().map(|package| package.architecture.clone()).collect::<BTreeSet<_>>();
        let (before, after) = (of(&self.before), of(&self.after));
        if before.len() <= 1 && after.len() <= 1 {
            return vec![self];
        }
        let only = |packages: &[&'a Package], architecture: &Option<String>| {
            packages.iter().copied().filter(|package| package.architecture == *architecture).collect()
        };
        let all = before.union(&after);
        all.map(|which| Group { before: only(&self.before, which), after: only(&self.after, which) }).collect()
    }

    fn changes(&self, kind: PackageKind, name: &str, same_platform: bool) -> Vec<PackageChange> {
        let (before, after) = (versions(&self.before), versions(&self.after));
        let change = |change, before: Option<&Copies<'_>>, after: Option<&Copies<'_>>| PackageChange {
            kind,
            change,
            name: name.to_owned(),
            before: before.map(Copies::installed),
            after: after.map(Copies::installed),
        };
        let mut changes = Vec::new();
        for (version, copies) in &before {
            let Some(other) = after.get(version) else { continue };
            if same_platform && copies.made(kind) != other.made(kind) {
                changes.push(change(Change::Rebuilt, Some(copies), Some(other)));
            } else if copies.places() != other.places() {
                changes.push(change(Change::Moved, Some(copies), Some(other)));
            }
        }
        let gone: Vec<_> = before.iter().filter(|(version, _)| !after.contains_key(*version)).map(|(_, copies)| copies).collect();
        let come: Vec<_> = after.iter().filter(|(version, _)| !before.contains_key(*version)).map(|(_, copies)| copies).collect();
        for (gone, come) in pairs(kind, gone, come) {
            let what = match (gone, come) {
                (None, _) => Change::Added,
                (_, None) => Change::Removed,
                (Some(gone), Some(come)) => match version::compare(kind, gone.version, come.version) {
                    Some(Ordering::Less) => Change::Upgraded,
                    Some(Ordering::Greater) => Change::Downgraded,
                    Some(Ordering::Equal) | None => Change::Replaced,
                },
            };
            changes.push(change(what, gone, come));
        }
        changes
    }
}

/// Which version became which: at the same place first, then the newest the newest.
fn pairs<'s, 'a>(
    kind: PackageKind,
    mut gone: Vec<&'s Copies<'a>>,
    mut come: Vec<&'s Copies<'a>>,
) -> Vec<(Option<&'s Copies<'a>>, Option<&'s Copies<'a>>)> {
    for copies in [&mut gone, &mut come] {
        copies.sort_by(|one, other| SortKey::new(kind, other.version).cmp(&SortKey::new(kind, one.version)));
    }
    let mut pairs = Vec::new();
    gone.retain(|copies| {
        let at = come.iter().position(|other| !copies.places().is_disjoint(&other.places()));
        if let Some(at) = at {
            pairs.push((Some(*copies), Some(come.remove(at))));
        }
        at.is_none()
    });
    for at in 0..gone.len().max(come.len()) {
        pairs.push((gone.get(at).copied(), come.get(at).copied()));
    }
    // The oldest is told first.
    pairs.reverse();
    pairs
}

/// One version of a package, on one side.
struct Copies<'a> {
    version: &'a str,
    /// At least one.
    packages: Vec<&'a Package>,
}

fn versions<'a>(packages: &[&'a Package]) -> BTreeMap<&'a str, Copies<'a>> {
    let mut versions = BTreeMap::new();
    for package in packages {
        let copies = versions.entry(package.version.as_str());
        copies.or_insert_with(|| Copies { version: &package.version, packages: Vec::new() }).packages.push(package);
    }
    versions
}

/// What a package was made of.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Made<'a> {
    architecture: Option<&'a str>,
    source: Option<&'a str>,
    origin: Option<&'a str>,
    bytes: u64,
}

impl<'a> Copies<'a> {
    fn places(&self) -> BTreeSet<&'a str> {
        self.packages.iter().filter_map(|package| package.place.as_deref()).collect()
    }

    /// What is not the same where it is made anew.
    fn made(&self, kind: PackageKind) -> BTreeSet<Made<'a>> {
        let made = |package: &&'a Package| Made {
            architecture: package.architecture.as_deref(),
            source: package.source.as_deref(),
            origin: package.origin.as_deref(),
            // Debian says how large a package is; of others the files are counted, and what is compiled at the first use varies.
            bytes: if kind == PackageKind::Debian { package.bytes } else { 0 },
        };
        self.packages.iter().map(made).collect()
    }

    fn installed(&self) -> Installed {
        Installed {
            version: self.version.to_owned(),
            architecture: self.packages.iter().find_map(|package| package.architecture.clone()),
            places: self.places().into_iter().map(str::to_owned).collect(),
            // What a package says of itself may be anything.
            bytes: self.packages.iter().fold(0, |sum: u64, package| sum.saturating_add(package.bytes)),
        }
    }
}
