//! A difference as a value: what `diff --format json` prints.

use std::collections::BTreeMap;

use serde::Serialize;

use super::setting::Setting;
use crate::contents::{Contents, PackageKind};
use crate::oci::Digest;

/// What differs between two images, the first of which is called `before` and the second `after`, whatever their ages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// Of this format: 1.
    pub schema: u32,
    /// Both are one image: the same configuration digest.
    pub same_image: bool,
    /// The first.
    pub before: Side,
    /// The second.
    pub after: Side,
    /// How large both are.
    pub sizes: Sizes,
    /// How many packages both have, per kind; kinds that neither has are left out.
    pub counts: BTreeMap<PackageKind, PackageCount>,
    /// Packages that are not the same: by kind, change, name.
    pub packages: Vec<PackageChange>,
    /// How a container starts, and labels.
    pub configuration: Vec<Setting>,
    /// Which layers they share.
    pub layers: Layers,
    /// Files, folders and links, as a container sees them.
    pub files: Files,
}

/// One of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Side {
    /// As whoever asked has called it; none where nobody did.
    pub name: Option<String>,
    /// The digest of its manifest, where it is known.
    pub manifest: Option<Digest>,
    /// The digest of its configuration: its identity.
    pub config: Digest,
    /// `linux/amd64`
    pub platform: String,
    /// When it was made (RFC 3339), as the builder says.
    pub created: Option<String>,
}

/// How large something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Size {
    /// Bytes of the files in all layers: what engines tell as the size of an image.
    pub content: u64,
    /// Bytes of the layers' tars.
    pub tar: u64,
    /// Bytes of the layers as compressed: what a pull from nothing reads. None where the bytes of one are not known.
    pub compressed: Option<u64>,
}

/// How large both are, and what makes the difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sizes {
    /// The first.
    pub before: Size,
    /// The second.
    pub after: Size,
    /// Packages of another size (all versions and places of one together), those that differ most first.
    pub grown: Vec<Growth>,
}

/// A package of another size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Growth {
    /// Who manages it.
    pub kind: PackageKind,
    /// Its name.
    pub name: String,
    /// Bytes in the first; 0: not there.
    pub before: u64,
    /// Bytes in the second.
    pub after: u64,
}

/// How many packages of a kind there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PackageCount {
    /// In the first.
    pub before: usize,
    /// In the second.
    pub after: usize,
}

/// What became of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// The second alone has it (or this version of it, beside others).
    Added,
    /// The first alone has it.
    Removed,
    /// A newer version.
    Upgraded,
    /// An older one.
    Downgraded,
    /// Another version that is neither newer nor older, as far as can be told: commits.
    Replaced,
    /// The same version made anew: of another source, origin or architecture, or (Debian) of another size.
    Rebuilt,
    /// The same version, at another place or at fewer or more places.
    Moved,
}

impl Change {
    /// In a word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Removed => "removed",
            Self::Upgraded => "upgraded",
            Self::Downgraded => "downgraded",
            Self::Replaced => "replaced",
            Self::Rebuilt => "rebuilt",
            Self::Moved => "moved",
        }
    }
}

/// A package that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PackageChange {
    /// Who manages it.
    pub kind: PackageKind,
    /// What became of it.
    pub change: Change,
    /// Its name.
    pub name: String,
    /// In the first.
    pub before: Option<Installed>,
    /// In the second.
    pub after: Option<Installed>,
}

/// One version of a package, at all its places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Installed {
    /// In full.
    pub version: String,
    /// `amd64`, `all`: Debian's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<String>,
    /// Where it lies, sorted; nothing for Debian's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<String>,
    /// Bytes that it takes at all of them.
    pub bytes: u64,
}

/// Which layers both share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Layers {
    /// How many are the same from the lowest on: what both stand on.
    pub common_base: usize,
    /// In both, wherever.
    pub shared: Vec<LayerLine>,
    /// In the first alone.
    pub only_before: Vec<LayerLine>,
    /// In the second alone.
    pub only_after: Vec<LayerLine>,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LayerLine {
    /// The digest of its tar.
    pub diff_id: Digest,
    /// Where it lies in the first; 0 is the lowest.
    pub before: Option<usize>,
    /// Where it lies in the second.
    pub after: Option<usize>,
    /// How large it is.
    pub size: Size,
    /// The instruction that made it, values that look like secrets left out; none where the history does not tell.
    pub instruction: Option<String>,
}

/// Files, folders and links that are not the same, as a container sees them: all layers on each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Files {
    /// All of them.
    #[serde(flatten)]
    pub total: FileCount,
    /// Per folder, with all below it: as many lines as a person reads. A folder that is listed beside some below it stands for the
    /// rest of it.
    pub folders: Vec<Folder>,
    /// Each of them, by path; none where nobody asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<Vec<FileChange>>,
}

/// How many files, and their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileCount {
    /// In the second alone.
    pub added: Bulk,
    /// In the first alone.
    pub removed: Bulk,
    /// In both, and not the same.
    pub changed: Bulk,
}

/// Some files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Bulk {
    /// How many.
    pub number: usize,
    /// Their bytes in the first.
    pub before: u64,
    /// Their bytes in the second.
    pub after: u64,
}

/// What differs in a folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Folder {
    /// `usr/lib/python3`; empty is the root.
    pub path: String,
    /// How much.
    #[serde(flatten)]
    pub count: FileCount,
}

/// A file that is not the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct FileChange {
    /// `usr/bin/git`
    pub path: String,
    /// Bytes in the first; none: not there.
    pub before: Option<u64>,
    /// Bytes in the second.
    pub after: Option<u64>,
    /// What of it is not the same, where both have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub what: Vec<Aspect>,
}

/// What of a file is not the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Whether it is a file, a folder, a link.
    Kind,
    /// What is in it, or what it points to.
    Content,
    /// Its permissions.
    Mode,
    /// Its owner or group.
    Owner,
}

impl Side {
    pub(super) fn of(image: &Contents) -> Self {
        let (platform, created) = (image.config.platform.clone(), image.config.created.clone());
        Self { name: None, manifest: None, config: image.config_digest, platform, created }
    }
}

impl Difference {
    /// The same with what the two are called.
    #[must_use]
    pub fn named(mut self, before: impl Into<String>, after: impl Into<String>) -> Self {
        (self.before.name, self.after.name) = (Some(before.into()), Some(after.into()));
        self
    }

    /// The same without the list of all files, which is long; the folders stay.
    #[must_use]
    pub fn without_list(mut self) -> Self {
        self.files.list = None;
        self
    }

    /// Whether nothing differs that a container could tell, nor a label or layer.
    pub fn is_empty(&self) -> bool {
        self.same_image
            || (self.packages.is_empty()
                && self.configuration.is_empty()
                && self.layers.only_before.is_empty()
                && self.layers.only_after.is_empty()
                && self.layers.same_order()
                && self.files.total.number() == 0)
    }
}

impl Layers {
    /// Whether those that are shared lie at the same places.
    pub fn same_order(&self) -> bool {
        self.shared.iter().all(|line| line.before == line.after)
    }
}

impl Size {
    /// Both together. Of compressed bytes that are not known, the sum is not known either.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let compressed = self.compressed.zip(other.compressed).map(|(one, other)| one + other);
        Self { content: self.content + other.content, tar: self.tar + other.tar, compressed }
    }

    /// Nothing.
    pub const NOTHING: Self = Self { content: 0, tar: 0, compressed: Some(0) };
}

impl FileCount {
    /// How many are not the same.
    pub fn number(&self) -> usize {
        self.added.number + self.removed.number + self.changed.number
    }

    /// Bytes that came and went.
    pub fn bytes(&self) -> u64 {
        [self.added, self.removed, self.changed].iter().map(|bulk| bulk.before + bulk.after).sum()
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (mine, its) in
            [(&mut self.added, other.added), (&mut self.removed, other.removed), (&mut self.changed, other.changed)]
        {
            mine.number += its.number;
            mine.before += its.before;
            mine.after += its.after;
        }
    }
}
