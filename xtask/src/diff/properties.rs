//! What holds of every difference.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::made::{layer, package, with_packages, without};
use super::{Change, Difference, compare, version};
use crate::contents::{Contents, Package, PackageKind};
use PackageKind::{Crate, Debian, Npm, Pin, Python};

/// Few names, versions and places, so that they meet.
fn any_package() -> impl Strategy<Value = Package> {
    let kind = prop::sample::select(vec![Debian, Python, Npm, Pin, Crate]);
    let version = prop::sample::select(vec!["1.0", "1.0.0", "1.0-1", "1.0~a", "2.0", "1:1", "1.0rc1", "1.0-alpha", "abc", "def"]);
    (kind, "[ab]", version, "[xy]").prop_map(|(kind, name, version, place)| package(kind, &name, version, &place))
}

fn any_image() -> impl Strategy<Value = Contents> {
    let files = prop::collection::btree_map("[a-c](/[a-c]){0,2}", "[xy]{0,3}", 0..8);
    (prop::collection::vec(any_package(), 0..12), prop::collection::vec(files, 0..3)).prop_map(|(packages, layers)| {
        let made = layers.iter().fold(with_packages(packages), |image, files| {
            let files: Vec<_> = files.iter().map(|(path, content)| (path.as_str(), content.as_str())).collect();
            layer(image, "COPY", &files)
        });
        without(made, &["a/b"], &["c"])
    })
}

fn versions(image: &Contents) -> BTreeSet<(PackageKind, String, String)> {
    image.packages.iter().map(|package| (package.kind, package.name.clone(), package.version.clone())).collect()
}

/// The versions that a side of the difference names, but for those that are on both.
fn of_side(difference: &Difference, after: bool) -> BTreeSet<(PackageKind, String, String)> {
    let changed = difference.packages.iter().filter(|change| !matches!(change.change, Change::Rebuilt | Change::Moved));
    changed
        .filter_map(|change| {
            let side = if after { change.after.as_ref()? } else { change.before.as_ref()? };
            Some((change.kind, change.name.clone(), side.version.clone()))
        })
        .collect()
}

fn turned(change: Change) -> Change {
    match change {
        Change::Added => Change::Removed,
        Change::Removed => Change::Added,
        Change::Upgraded => Change::Downgraded,
        Change::Downgraded => Change::Upgraded,
        same => same,
    }
}

proptest! {
    #[test]
    fn an_image_does_not_differ_from_itself(one in any_image()) {
        let difference = compare(&one, &Contents { config_digest: crate::oci::Digest::of("another"), ..one.clone() });
        prop_assert!(!difference.same_image && difference.is_empty());
        prop_assert!(difference.sizes.grown.is_empty() && difference.files.folders.is_empty());
    }

    #[test]
    fn versions_in_the_difference_are_the_difference_of_the_versions(one in any_image(), other in any_image()) {
        let difference = compare(&one, &other);
        let (before, after) = (versions(&one), versions(&other));
        prop_assert_eq!(of_side(&difference, false), before.difference(&after).cloned().collect());
        prop_assert_eq!(of_side(&difference, true), after.difference(&before).cloned().collect());
    }

    #[test]
    fn the_other_way_round_everything_is_turned(one in any_image(), other in any_image()) {
        let (there, back) = (compare(&one, &other), compare(&other, &one));
        let sides = |difference: &Difference, turn: bool| {
            let mut all: Vec<_> = difference.packages.iter().map(|change| {
                let [before, after] = [&change.before, &change.after].map(|side| side.as_ref().map(|side| side.version.clone()));
                if turn {
                    (change.kind, change.name.clone(), turned(change.change), after, before)
                } else {
                    (change.kind, change.name.clone(), change.change, before, after)
                }
            }).collect();
            all.sort();
            all
        };
        prop_assert_eq!(sides(&there, false), sides(&back, true));
        prop_assert_eq!(there.files.total.added.number, back.files.total.removed.number);
        prop_assert_eq!(there.layers.shared.len(), back.layers.shared.len());
        prop_assert_eq!(there.layers.only_before.len(), back.layers.only_after.len());
    }

    #[test]
    fn folders_and_files_come_to_the_total(one in any_image(), other in any_image()) {
        let files = compare(&one, &other).files;
        let listed = files.list.iter().flatten().count();
        prop_assert_eq!(files.total.number(), listed);
        prop_assert_eq!(files.folders.iter().map(|folder| folder.count.number()).sum::<usize>(), listed);
        prop_assert_eq!(files.folders.iter().map(|folder| folder.count.bytes()).sum::<u64>(), files.total.bytes());
        let (before, after) = (one.tree(), other.tree());
        for change in files.list.iter().flatten() {
            prop_assert_eq!(before.get(change.path.as_str()).map(|file| file.entry.bytes), change.before);
            prop_assert_eq!(after.get(change.path.as_str()).map(|file| file.entry.bytes), change.after);
        }
    }

    #[test]
    fn versions_have_an_order(kind in prop::sample::select(vec![Debian, Python, Npm]), all in prop::collection::vec("[0-2]{1,2}([.~+:-](rc|a|post|dev)?[0-2]){0,3}", 3)) {
        let [a, b, c] = [0, 1, 2].map(|at| version::SortKey::new(kind, &all[at]));
        prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
        if a <= b && b <= c {
            prop_assert!(a <= c, "{:?}", all);
        }
    }
}
