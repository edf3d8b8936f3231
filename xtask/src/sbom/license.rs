//! Licences as CycloneDX has them: an id of the SPDX list, an expression of such, or words.

use serde::Serialize;

use crate::contents::PackageKind;

/// A licence of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Choice {
    /// One licence.
    License(Named),
    /// Several, with what binds them; stands alone.
    #[serde(untagged)]
    Expression {
        /// `MIT OR Apache-2.0`
        expression: String,
    },
}

/// One licence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Named {
    /// Of the SPDX list.
    Id(&'static str),
    /// As the package words it.
    Name(String),
}

/// The ids that are taken as such: those that the images' packages have. What is not among them is told by name, which is
/// never wrong. (SPDX licence list 3.24)
const IDS: [&str; 58] = [
    "0BSD",
    "AFL-2.1",
    "AGPL-3.0-only",
    "AGPL-3.0-or-later",
    "Apache-1.1",
    "Apache-2.0",
    "Artistic-1.0",
    "Artistic-2.0",
    "BlueOak-1.0.0",
    "BSD-1-Clause",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSD-4-Clause",
    "BSL-1.0",
    "CC-BY-3.0",
    "CC-BY-4.0",
    "CC-BY-SA-4.0",
    "CC0-1.0",
    "CNRI-Python",
    "curl",
    "EPL-2.0",
    "FSFAP",
    "FSFUL",
    "FSFULLR",
    "GFDL-1.2-or-later",
    "GFDL-1.3-only",
    "GFDL-1.3-or-later",
    "GPL-1.0-or-later",
    "GPL-2.0-only",
    "GPL-2.0-or-later",
    "GPL-3.0-only",
    "GPL-3.0-or-later",
    "HPND",
    "ICU",
    "ISC",
    "LGPL-2.0-only",
    "LGPL-2.0-or-later",
    "LGPL-2.1-only",
    "LGPL-2.1-or-later",
    "LGPL-3.0-only",
    "LGPL-3.0-or-later",
    "MIT",
    "MIT-0",
    "MPL-1.1",
    "MPL-2.0",
    "OFL-1.1",
    "OpenSSL",
    "PSF-2.0",
    "Python-2.0",
    "Python-2.0.1",
    "RSA-MD",
    "TCL",
    "Unicode-3.0",
    "Unicode-DFS-2016",
    "Unlicense",
    "WTFPL",
    "X11",
    "Zlib",
];

/// What Debian's copyright files and Python's classifiers call them.
const OTHER_NAMES: [(&str, &str); 28] = [
    ("Expat", "MIT"),
    ("GPL-1+", "GPL-1.0-or-later"),
    ("GPL-2", "GPL-2.0-only"),
    ("GPL-2.0", "GPL-2.0-only"),
    ("GPL-2+", "GPL-2.0-or-later"),
    ("GPL-2.0+", "GPL-2.0-or-later"),
    ("GPL-3", "GPL-3.0-only"),
    ("GPL-3.0", "GPL-3.0-only"),
    ("GPL-3+", "GPL-3.0-or-later"),
    ("GPL-3.0+", "GPL-3.0-or-later"),
    ("LGPL-2", "LGPL-2.0-only"),
    ("LGPL-2+", "LGPL-2.0-or-later"),
    ("LGPL-2.1", "LGPL-2.1-only"),
    ("LGPL-2.1+", "LGPL-2.1-or-later"),
    ("LGPL-3", "LGPL-3.0-only"),
    ("LGPL-3+", "LGPL-3.0-or-later"),
    ("GFDL-1.3", "GFDL-1.3-only"),
    ("GFDL-1.3+", "GFDL-1.3-or-later"),
    ("BSD-2-clause", "BSD-2-Clause"),
    ("BSD-3-clause", "BSD-3-Clause"),
    ("BSD-4-clause", "BSD-4-Clause"),
    ("zlib", "Zlib"),
    ("Artistic", "Artistic-1.0"),
    ("MIT License", "MIT"),
    ("Apache 2.0", "Apache-2.0"),
    ("Apache License 2.0", "Apache-2.0"),
    ("ISC License (ISCL)", "ISC"),
    ("Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"),
];

/// The licences that a package's words come to.
pub fn licenses(kind: PackageKind, words: &str) -> Vec<Choice> {
    match kind {
        // Debian lists what its files are under, without saying what binds them.
        PackageKind::Debian => words.split(", ").map(named).collect(),
        _ if id(words).is_none() && is_expression(words) => vec![Choice::Expression { expression: words.to_owned() }],
        _ => vec![named(words)],
    }
}

fn named(words: &str) -> Choice {
    Choice::License(id(words).map_or_else(|| Named::Name(words.to_owned()), Named::Id))
}

fn id(words: &str) -> Option<&'static str> {
    let other = OTHER_NAMES.iter().find(|(name, _)| *name == words).map(|(_, id)| *id);
    IDS.iter().find(|id| **id == words).copied().or(other)
}

/// Ids that are bound by `AND` and `OR`.
fn is_expression(words: &str) -> bool {
    let parts: Vec<&str> = words.split([' ', '(', ')']).filter(|part| !part.is_empty()).collect();
    let binds = |part: &&str| matches!(*part, "AND" | "OR");
    let alternates = parts.iter().enumerate().all(|(at, part)| if at % 2 == 1 { binds(part) } else { IDS.contains(part) });
    let balanced = words.matches('(').count() == words.matches(')').count();
    parts.len() >= 3 && parts.len() % 2 == 1 && alternates && balanced
}
