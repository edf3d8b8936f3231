//! How large two images are, and which packages make the difference.

use std::collections::BTreeMap;

use super::{Growth, Size, Sizes, layers};
use crate::contents::{Contents, Package, PackageKind};

/// What differs.
pub(super) fn compare(before: &Contents, after: &Contents) -> Sizes {
    let (one, other) = (packages(&before.packages), packages(&after.packages));
    let mut grown: Vec<Growth> = one
        .keys()
        .chain(other.keys().filter(|key| !one.contains_key(*key)))
        .map(|key| Growth {
            kind: key.0,
            name: key.1.to_owned(),
            before: one.get(key).copied().unwrap_or(0),
            after: other.get(key).copied().unwrap_or(0),
        })
        .filter(|growth| growth.before != growth.after)
        .collect();
    grown.sort_by(|one, other| {
        let most = other.before.abs_diff(other.after).cmp(&one.before.abs_diff(one.after));
        most.then_with(|| (one.kind, &one.name).cmp(&(other.kind, &other.name)))
    });
    Sizes { before: total(before), after: total(after), grown }
}

fn total(image: &Contents) -> Size {
    let sizes = image.layers.iter().map(|(layer, compressed)| layers::size(layer, *compressed));
    sizes.fold(Size::NOTHING, Size::plus)
}

fn packages(packages: &[Package]) -> BTreeMap<(PackageKind, &str), u64> {
    let mut bytes = BTreeMap::new();
    for package in packages {
        let sum: &mut u64 = bytes.entry((package.kind, package.name.as_str())).or_default();
        // What a package says of itself may be anything.
        *sum = sum.saturating_add(package.bytes);
    }
    bytes
}
