//! What dpkg keeps about its packages. (deb822(5), deb-status(5), the Debian Policy's "machine-readable debian/copyright".)

use std::collections::BTreeSet;

use super::{Package, PackageKind, Says, System};

/// The place of the package list; distroless images have a folder of files instead.
const STATUS: &str = "var/lib/dpkg/status";
const STATUS_FOLDER: &str = "var/lib/dpkg/status.d/";

/// No package is larger (1 TiB), whatever it says: sums of all are still a number.
const LARGEST: u64 = 1 << 40;

/// The file that names the distribution; the one in `etc` is a link to it.
const RELEASE: &str = "usr/lib/os-release";

/// Whether a file is read at all.
pub(super) fn is_evidence(path: &str) -> bool {
    path == STATUS
        || path == RELEASE
        || path.strip_prefix(STATUS_FOLDER).is_some_and(|name| !name.contains('/') && !name.ends_with(".md5sums"))
        || owner(path).is_some()
        || copyright_of(path).is_some()
}

/// What it says.
pub(super) fn read(path: &str, bytes: &[u8]) -> Option<Says> {
    let text = String::from_utf8_lossy(bytes);
    if path == RELEASE {
        return system(&text).map(Says::System);
    }
    if owner(path).is_some() {
        let named = text.lines().filter_map(|line| line.strip_prefix('/'));
        let owned: Vec<String> = named.filter(|path| speaks_otherwise(path)).map(str::to_owned).collect();
        return (!owned.is_empty()).then_some(Says::Owns(owned));
    }
    if copyright_of(path).is_some() {
        return licenses(&text).map(Says::License);
    }
    let mut packages: Vec<Package> = paragraphs(&text).filter_map(package).collect();
    packages.sort();
    (!packages.is_empty()).then_some(Says::Packages(packages))
}

fn system(text: &str) -> Option<System> {
    let value = |name: &str| {
        let mut values = text.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        values.next().map(|value| value.trim_matches(['"', '\'']).to_owned()).filter(|value| !value.is_empty())
    };
    let id = value("ID")?;
    Some(System { version: value("VERSION_ID"), name: value("PRETTY_NAME").unwrap_or_else(|| id.clone()), id })
}

/// `git` of `var/lib/dpkg/info/git.list`.
fn owner(path: &str) -> Option<&str> {
    path.strip_prefix("var/lib/dpkg/info/")?.strip_suffix(".list").filter(|name| !name.contains('/'))
}

/// `git` of `usr/share/doc/git/copyright`.
pub(super) fn copyright_of(path: &str) -> Option<&str> {
    path.strip_prefix("usr/share/doc/")?.strip_suffix("/copyright").filter(|name| !name.contains('/'))
}

/// `git` of `usr/share/doc/git`.
pub(super) fn documentation_of(path: &str) -> Option<&str> {
    path.strip_prefix("usr/share/doc/").filter(|name| !name.contains('/'))
}

/// What the link `path` to `target` says.
pub(super) fn read_link(path: &str, target: &str) -> Option<Says> {
    documentation_of(path)?;
    let target = target.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty())?;
    Some(Says::DocumentedWith(target.to_owned()))
}

/// Files that another manager's packages are told by.
fn speaks_otherwise(path: &str) -> bool {
    super::python::is_evidence(path) || super::node::is_evidence(path)
}

/// Paragraphs of `Name: value` lines; a line that begins with a space goes on with the value before.
fn paragraphs(text: &str) -> impl Iterator<Item = Vec<(&str, &str)>> {
    text.split("\n\n").map(|paragraph| {
        let lines = paragraph.lines().filter(|line| !line.starts_with([' ', '\t']));
        lines.filter_map(|line| line.split_once(':')).map(|(name, value)| (name, value.trim())).collect()
    })
}

fn package(fields: Vec<(&str, &str)>) -> Option<Package> {
    let field = |name: &str| {
        let mut values = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| *value);
        values.next().filter(|value| !value.is_empty())
    };
    // In a distroless image's folder there is no status: what is listed is there.
    let there = field("Status").is_none_or(|status| status.ends_with(" installed"));
    let (name, version) = (field("Package")?, field("Version")?);
    let source = field("Source").map(|source| match source.split_once(" (") {
        Some((source, its_version)) => format!("{source} {}", its_version.trim_end_matches(')')),
        None => format!("{source} {version}"),
    });
    there.then(|| Package {
        kind: PackageKind::Debian,
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: field("Architecture").map(str::to_owned),
        place: None,
        bytes: field("Installed-Size")
            .and_then(|size| size.parse::<u64>().ok())
            .unwrap_or_default()
            .saturating_mul(1024)
            .min(LARGEST),
        license: None,
        source,
        origin: None,
    })
}

/// The short names of a copyright file that machines can read; none of another one.
fn licenses(text: &str) -> Option<String> {
    let form = text.lines().next()?;
    if !(form.starts_with("Format:") && form.contains("copyright-format")) {
        return None;
    }
    let named = text.lines().filter_map(|line| line.strip_prefix("License:")).map(str::trim).filter(|name| !name.is_empty());
    let names: BTreeSet<&str> = named.collect();
    (!names.is_empty()).then(|| names.into_iter().collect::<Vec<_>>().join(", "))
}
