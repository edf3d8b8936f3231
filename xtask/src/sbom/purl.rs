//! Package URLs: names of packages that other tools know. (Package URL specification, ECMA-427)

use std::fmt::Write as _;

use crate::contents::{Package, PackageKind, System};

/// The package URL of a package of an image that is made of `system`.
pub fn purl(package: &Package, system: Option<&System>) -> String {
    let Package { kind, name, version, .. } = package;
    let version = encoded(version);
    match kind {
        PackageKind::Debian => {
            let distribution = system.map_or("debian", |system| &system.id);
            let mut purl = format!("pkg:deb/{}/{}@{version}", encoded(distribution), encoded(&name.to_lowercase()));
            let distro = system.and_then(|system| Some(format!("{}-{}", system.id, system.version.as_ref()?)));
            // In the order of the alphabet, as the specification has it.
            let source = package.source.as_deref().and_then(|source| source.split(' ').next());
            let qualifiers = [("arch", package.architecture.as_deref()), ("distro", distro.as_deref()), ("upstream", source)];
            let qualifiers = qualifiers.into_iter().filter_map(|(name, value)| Some((name, value?)));
            for (number, (name, value)) in qualifiers.enumerate() {
                let _ = write!(purl, "{}{name}={}", if number == 0 { '?' } else { '&' }, encoded(value));
            }
            purl
        }
        PackageKind::Python => format!("pkg:pypi/{}@{version}", encoded(name)),
        PackageKind::Npm => {
            let name: Vec<String> = name.split('/').map(encoded).collect();
            format!("pkg:npm/{}@{version}", name.join("/"))
        }
        PackageKind::Collection => format!("pkg:generic/ansible-collection/{}@{version}", encoded(name)),
        PackageKind::Pin => format!("pkg:generic/{}@{version}", encoded(name)),
        PackageKind::Crate => format!("pkg:cargo/{}@{version}", encoded(name)),
    }
}

/// Letters, digits and `.-_~:` as they are.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => encoded.push(char::from(byte)),
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}
