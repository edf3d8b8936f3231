//! A difference to look at: for people, as Markdown. (As JSON it is printed as it is.)

mod human;
mod markdown;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::byte_size::{growth, size};
use crate::contents::PackageKind;
use crate::diff::{Aspect, Bulk, Change, Difference, Installed, PackageChange, Setting, SettingKind, Side, Size};
use crate::plan::PIN;

pub use human::text;
pub(crate) use markdown::code;
pub use markdown::markdown;

/// `+8`, `-3`; nothing where both are the same.
fn more(before: usize, after: usize) -> String {
    match before.cmp(&after) {
        std::cmp::Ordering::Equal => String::new(),
        std::cmp::Ordering::Less => format!("+{}", after - before),
        std::cmp::Ordering::Greater => format!("-{}", before - after),
    }
}

/// What an image is called: as whoever asked has called it, else by its digest.
fn name(side: &Side) -> String {
    side.name.clone().unwrap_or_else(|| format!("sha256:{}", side.config.short(12)))
}

fn kind(kind: PackageKind) -> &'static str {
    match kind {
        PackageKind::Debian => "Debian packages",
        PackageKind::Python => "Python packages",
        PackageKind::Npm => "npm packages",
        PackageKind::Collection => "Ansible collections",
        PackageKind::Pin => "pins",
        PackageKind::Crate => "crates",
    }
}

/// The settings that are told: pins are among the packages already.
fn settings(difference: &Difference) -> Vec<&Setting> {
    let is_pin = |setting: &&Setting| {
        setting.kind == SettingKind::Label && setting.name.as_deref().is_some_and(|name| name.starts_with(PIN))
    };
    difference.configuration.iter().filter(|setting| !is_pin(setting)).collect()
}

/// Packages that differ, by kind.
fn packages(difference: &Difference) -> BTreeMap<PackageKind, Vec<&PackageChange>> {
    let mut kinds = BTreeMap::<_, Vec<_>>::new();
    for change in &difference.packages {
        kinds.entry(change.kind).or_default().push(change);
    }
    kinds
}

/// `3 added, 1 upgraded`
fn summary(changes: &[&PackageChange]) -> String {
    let mut counts = BTreeMap::<Change, usize>::new();
    for change in changes {
        *counts.entry(change.change).or_default() += 1;
    }
    counts.iter().map(|(what, number)| format!("{number} {}", what.as_str())).collect::<Vec<_>>().join(", ")
}

/// What is told of one side of a package: its version; where that is the same on both, what is not.
fn installed(change: &PackageChange, side: Option<&Installed>) -> Option<String> {
    let side = side?;
    Some(match change.change {
        Change::Moved => format!("{} in {}", side.version, places(&side.places)),
        Change::Rebuilt
            if change.before.as_ref().map(|side| &side.architecture) != change.after.as_ref().map(|side| &side.architecture) =>
        {
            format!("{} ({})", side.version, side.architecture.as_deref().unwrap_or("-"))
        }
        _ => side.version.clone(),
    })
}

/// The first of them, and how many more.
fn places(places: &[String]) -> String {
    match places {
        [] => "no place".to_owned(),
        [only] => format!("/{only}"),
        [first, more @ ..] => format!("/{first} and {} more", more.len()),
    }
}

fn bytes(side: Option<&Installed>) -> u64 {
    side.map_or(0, |side| side.bytes)
}

/// `12 added (1.0 MB), 3 changed (+5 B)`; empty: no file differs.
fn files(difference: &Difference) -> String {
    let total = &difference.files.total;
    let told = |bulk: &Bulk, what: &str| {
        let bytes = match (bulk.before, bulk.after) {
            (0, bytes) | (bytes, 0) => size(bytes),
            (before, after) => format!("{} → {}", size(before), size(after)),
        };
        (bulk.number > 0).then(|| format!("{} {what} ({bytes})", bulk.number))
    };
    let all = [told(&total.added, "added"), told(&total.removed, "removed"), told(&total.changed, "changed")];
    all.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Both sizes, by what is measured; what is not known is left out.
fn sizes(difference: &Difference) -> Vec<(&'static str, u64, u64)> {
    let (before, after) = (difference.sizes.before, difference.sizes.after);
    let mut lines = vec![("size", before.content, after.content)];
    lines.extend(before.compressed.zip(after.compressed).map(|(before, after)| ("compressed", before, after)));
    lines
}

/// `8 layers (653.2 MB)`
fn layers(sizes: &[Size]) -> String {
    let total = sizes.iter().fold(Size::NOTHING, |sum, size| sum.plus(*size));
    let compressed = total.compressed.filter(|_| !sizes.is_empty());
    let compressed = compressed.map(|bytes| format!(", {} compressed", size(bytes))).unwrap_or_default();
    let layers = if sizes.len() == 1 { "layer" } else { "layers" };
    format!("{} {layers} ({}{compressed})", sizes.len(), size(total.content))
}

/// One line where there is nothing more to tell.
fn short(difference: &Difference) -> Option<String> {
    let both = || format!("{} and {}", name(&difference.before), name(&difference.after));
    if difference.same_image {
        return Some(format!("the same image: {}", both()));
    }
    difference.is_empty().then(|| format!("the same packages, files, layers and configuration: {}", both()))
}

/// At most `most` letters, with `…` where something is left out.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(std::iter::once('…')).collect()
}

fn aspect(aspect: Aspect) -> &'static str {
    match aspect {
        Aspect::Kind => "kind",
        Aspect::Content => "content",
        Aspect::Mode => "permissions",
        Aspect::Owner => "owner",
    }
}
