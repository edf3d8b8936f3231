//! Moving pins: what every source of newer versions answers, and what is made of the answers. Pure: sources lie in
//! `upstream`, files are read and written by `cmd`.

mod choose;
mod edit;
mod report;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::failure::{Exit, Failure};
use crate::family::{BuildDate, LockedArtifact, Name};
use crate::oci::{Digest, Platform};

pub use choose::{Choice, Holds, Offer, named, names, newest, reasons, wishes};
pub use edit::{Comment, Edited, NoPlace, edit};
pub use report::{Failed, Move, Report, Unmoved};

/// The name of the base images, on the command line and in results.
pub const BASE: &str = "base";
/// The name of `family.build-date`.
pub const BUILD_DATE: &str = "build-date";
/// The name of the locked Python requirements.
pub const PYTHON: &str = "python";

/// What a source is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// The name on the command line: a pin's, or one of the constants above.
    pub name: String,
    /// `--to`: this version and no other. Has not been looked at: the source says whether there is such a version.
    pub to: Option<String>,
}

/// What a source says of one name.
#[derive(Debug)]
pub struct Answer {
    /// The name on the command line.
    pub name: String,
    /// What there is, or why that cannot be told or done.
    pub found: Result<Candidate, Trouble>,
}

/// The newest version of something that may be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What the files say now.
    pub from: Version,
    /// The newest that may be taken; equal to `from` where there is nothing newer.
    pub to: Version,
    /// The newest that there is, where it may not be taken.
    pub held: Option<Held>,
    /// When `to` was released. None: the upstream does not say.
    pub released: Option<BuildDate>,
    /// A page to read about `to`.
    pub notes: Option<String>,
    /// What moves inside: packages of a lock file, Debian packages.
    pub details: Vec<Moved>,
    /// What is written; empty where everything is as it should be.
    pub change: Change,
}

/// A version, and what people call it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// As the files have it: `2.338.0`, a commit, a digest. Empty: nothing yet.
    pub id: String,
    /// What people call it, where that is something else: `VS Code 1.134.0`.
    pub shown: Option<String>,
}

/// Something newer that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The newer version.
    pub version: Version,
    /// Why it is not taken, to stand behind "held back by".
    pub why: String,
}

/// A package inside that moves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Moved {
    /// The lock file that it is in, by path, where a name stands for several of them.
    pub file: Option<String>,
    /// The package.
    pub name: String,
    /// Its version now; none: it is new.
    pub from: Option<String>,
    /// Its version then; none: it goes.
    pub to: Option<String>,
    /// Whether it is a security update, as far as the source knows.
    pub security: bool,
}

/// What is written when a candidate is taken. Everything in it was verified.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Change {
    /// Values of variants.toml.
    pub values: BTreeMap<Place, String>,
    /// Entries of variants.lock.
    pub artifacts: BTreeMap<(Name, Platform), LockedArtifact>,
    /// Entries of variants.lock: digests of base images, by reference.
    pub bases: BTreeMap<String, Digest>,
    /// Whole texts of further files, by path relative to variants.toml with `/` between. They are written first.
    pub files: BTreeMap<String, String>,
}

/// A value of variants.toml that can be moved.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// `pins.NAME.version`
    Version(Name),
    /// `family.build-date`
    BuildDate,
    /// `profiles.NAME.base.image`
    Base(Name),
}

/// Why something cannot be moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What the command ends with: 2 (no such version, usage), 3 (cannot be asked), 8 (not allowed), …
    pub exit: Exit,
    /// One sentence, as a [`Failure`] has it.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Version {
    /// A version that people call by itself.
    pub fn plain(id: impl Into<String>) -> Self {
        Self { id: id.into(), shown: None }
    }
}

impl Version {
    /// Two versions under one name.
    fn and(self, other: Self) -> Self {
        let shown = format!("{}, {}", self.name(), other.name());
        Self { id: format!("{}, {}", self.id, other.id), shown: Some(shown) }
    }
}

impl Candidate {
    /// Nothing newer than `version`, nothing to write.
    pub fn unmoved(version: Version) -> Self {
        Self {
            from: version.clone(),
            to: version,
            held: None,
            released: None,
            notes: None,
            details: Vec::new(),
            change: Change::default(),
        }
    }
}

/// One candidate for several things under one name, as they stand in the file; none for nothing.
pub fn merged(candidates: impl IntoIterator<Item = Candidate>) -> Option<Candidate> {
    candidates.into_iter().reduce(|mut one, other| {
        let (mine, others) = (&mut one.change, other.change);
        mine.values.extend(others.values);
        mine.artifacts.extend(others.artifacts);
        mine.bases.extend(others.bases);
        mine.files.extend(others.files);
        one.details.extend(other.details);
        // The same image in two profiles is one.
        if (&one.from, &one.to) != (&other.from, &other.to) {
            one.from = one.from.and(other.from);
            one.to = one.to.and(other.to);
        }
        one
    })
}

impl Change {
    /// Whether nothing is written.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Trouble {
    /// Trouble without a hint.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl From<Failure> for Trouble {
    /// With the innermost cause in the sentence.
    fn from(failure: Failure) -> Self {
        let mut message = failure.message.clone();
        let mut cause = std::error::Error::source(&failure);
        while let Some(error) = cause {
            let text = error.to_string();
            if !message.contains(&text) {
                message = format!("{message}: {text}");
            }
            cause = error.source();
        }
        Self { exit: failure.exit, message, hint: failure.hint }
    }
}
