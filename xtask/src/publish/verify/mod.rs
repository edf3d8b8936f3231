//! What stands under the tags of a family, in all its destinations: compared with each other, with the ledger, and with
//! what an image of the family is like. Only reads. `look` asks the registries, `deep` reads what they hold, `compare` says
//! what differs.

mod compare;
mod deep;
mod look;
mod sboms;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::image::Image;
use super::plan::{Delivery, Tag, TagKind};
use crate::family::Name;
use crate::oci::{Digest, Platform, Repository};

pub(super) use compare::unfinished;
pub use compare::{compare, newest_immutable};
pub use look::look;

/// A variant whose tags are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// Its name.
    pub variant: Name,
    /// The published image that it is built on.
    pub parent: Option<Name>,
    /// Pins of the image and of those below it: every other one among its labels is a component, and so a layer.
    pub pins: BTreeSet<Name>,
    /// What it is published for: if for several, tags are those of an index, but for tags that end in an architecture.
    pub platforms: Vec<Platform>,
    /// Where it is looked for, under which tags.
    pub deliveries: Vec<Delivery>,
    /// Tags that may be missing, if they are missing everywhere.
    pub tentative: BTreeSet<String>,
    /// Looked at only because others are built on it: nothing is said about it.
    pub aside: bool,
}

/// How closely is looked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Looking {
    /// Every blob is read, and every layer unpacked.
    pub deep: bool,
    /// SBOMs are looked for.
    pub sboms: bool,
}

/// What the registries showed.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    /// Every tag that was asked for.
    pub tags: Vec<SeenTag>,
    /// What stands behind them.
    pub images: BTreeMap<(Repository, Digest), SeenImage>,
}

/// A tag at a destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenTag {
    /// Of which variant.
    pub variant: Name,
    /// The destination's name.
    pub destination: String,
    /// Its repository.
    pub repository: Repository,
    /// The tag.
    pub tag: Tag,
    /// Where it points; an error where the registry could not be asked.
    pub found: Result<Option<Digest>, String>,
}

/// A manifest at a destination, and all that it names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenImage {
    /// The image, where it is one.
    pub image: Option<Image>,
    /// The platforms' manifests of an index, as far as they are there. Each is seen as an image of its own.
    pub members: BTreeSet<Digest>,
    /// Of the manifest.
    pub annotations: BTreeMap<String, String>,
    /// What is wrong with it there.
    pub faults: Vec<Fault>,
    /// The SBOMs that this tool has attached to it, with what is wrong with each; none where nobody looked.
    pub sboms: Option<BTreeMap<Digest, Vec<Fault>>>,
}

/// What is wrong with an image at a destination.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The registry could not be asked, or answers with something else.
    #[error("{why}")]
    Unreadable {
        /// The error.
        why: String,
    },
    /// The tag points to a manifest that is not there.
    #[error("its manifest is not there")]
    NoManifest,
    /// An index names a manifest that is not there.
    #[error("the manifest {digest} of one of its platforms is missing")]
    NoMember {
        /// The manifest.
        digest: Digest,
    },
    /// The configuration cannot be had.
    #[error("its configuration {digest} is missing or damaged")]
    NoConfiguration {
        /// The configuration.
        digest: Digest,
    },
    /// It is no image as this tool publishes them.
    #[error("{why}")]
    Foreign {
        /// Why not.
        why: String,
    },
    /// An SBOM says otherwise than the image is.
    #[error("{why}")]
    Untrue {
        /// What it says.
        why: String,
    },
    /// A blob is not there.
    #[error("the blob {digest} is missing")]
    NoBlob {
        /// The blob.
        digest: Digest,
    },
    /// A blob is shorter or longer than the manifest says.
    #[error("the blob {digest} has {found} bytes instead of {wanted}")]
    Size {
        /// The blob.
        digest: Digest,
        /// As the registry says.
        found: u64,
        /// As the manifest says.
        wanted: u64,
    },
    /// A blob's bytes are others.
    #[error("the blob {digest} is damaged: its bytes are {found}")]
    Bytes {
        /// The blob.
        digest: Digest,
        /// What its bytes come to.
        found: Digest,
    },
    /// A layer unpacks to something else than the configuration says.
    #[error("the layer {digest} unpacks to {found}, and the configuration says {wanted}")]
    DiffId {
        /// The blob.
        digest: Digest,
        /// What it unpacks to.
        found: Digest,
        /// What the configuration says.
        wanted: Digest,
    },
    /// A layer cannot be unpacked.
    #[error("the layer {digest} cannot be unpacked: {why}")]
    Packed {
        /// The blob.
        digest: Digest,
        /// Why not.
        why: String,
    },
}

/// What a difference is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A destination could not be asked: nothing is known of it.
    Unreachable,
    /// A tag is not there.
    Missing,
    /// A tag points to different images in different destinations.
    Digest,
    /// A tag points to something else than this machine's ledger says.
    Ledger,
    /// A manifest or configuration cannot be read, or is none of ours.
    Manifest,
    /// A blob is missing or damaged.
    Blob,
    /// The image has no SBOM, or another one than elsewhere, or one that is missing or damaged.
    Sbom,
    /// A label is not what it should be.
    Label,
    /// The image should not be in this destination.
    Policy,
    /// A child does not sit on its parent.
    Parent,
    /// Variants of one release have different entrypoints.
    Entrypoint,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// What it is about.
    pub kind: Kind,
    /// Of which variant.
    pub variant: Name,
    /// Where; none where it is about more than one destination.
    pub destination: Option<String>,
    /// In words.
    pub message: String,
}

/// What was looked at, and what is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// 1: the version of this shape.
    pub schema: u32,
    /// Whether nothing differs.
    pub equal: bool,
    /// Whether this machine's ledger speaks of any of the tags.
    pub ledger: bool,
    /// Whether blobs were read and not only looked for.
    pub deep: bool,
    /// Every tag.
    pub tags: Vec<TagReport>,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// A tag in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TagReport {
    /// Of which variant.
    pub variant: Name,
    /// In full: `ghcr.io/team/image:aws`.
    pub reference: String,
    /// Whether it may move.
    pub kind: TagKind,
    /// Where it points.
    pub digest: Option<Digest>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for tag in &self.tags {
            let digest = tag.digest.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string());
            writeln!(f, "{}  {digest}", tag.reference)?;
        }
        if !self.ledger {
            writeln!(f, "this machine has no ledger of these tags: destinations are compared with each other only")?;
        }
        match self.differences.len() {
            0 => writeln!(f, "all is equal"),
            1 => writeln!(f, "1 difference:"),
            many => writeln!(f, "{many} differences:"),
        }?;
        self.differences.iter().try_for_each(|difference| writeln!(f, "  {}: {}", difference.variant, difference.message))
    }
}
