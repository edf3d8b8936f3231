//! What a report says, as one value: the page is made of it, and `--format json` prints it. Sizes are bytes.

use serde::Serialize;

use crate::build::Run;
use crate::contents::PackageKind;
use crate::diff::Difference;
use crate::oci::Digest;

/// A family, looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// 1: the version of this shape.
    pub schema: u32,
    /// `ansible-epic`
    pub family: String,
    /// For people.
    pub title: String,
    /// Where its sources are.
    pub source: String,
    /// The profile of variants.toml.
    pub profile: String,
    /// `linux/amd64`
    pub platform: String,
    /// `BUILD_DATE`
    pub build_date: String,
    /// The commit; none: no git.
    pub revision: Option<String>,
    /// Whether the tree has changes that are not committed.
    pub dirty: bool,
    /// When this was looked at (RFC 3339, UTC).
    pub made: String,
    /// What a person should know: what could not be looked at and why.
    pub notes: Vec<String>,
    /// What the images are made of, each step after all that it needs.
    pub steps: Vec<Step>,
    /// The variants.
    pub images: Vec<Image>,
    /// The layers of all images, each once, as they are met from the bottom up.
    pub layers: Vec<Layer>,
    /// What building did last.
    pub build: Option<Build>,
    /// Where the images are published.
    pub destinations: Vec<Destination>,
    /// What a release would change.
    pub differences: Vec<Change>,
}

/// A step of the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Step {
    /// `aws finished`
    pub id: String,
    /// What kind of thing it makes.
    pub kind: StepKind,
    /// What its image stands on.
    pub parent: Option<String>,
    /// What must be there first.
    pub needs: Vec<String>,
    /// What it does, in a few words: `images/aws`, `2.337.0`.
    pub what: String,
    /// The digest of everything that it depends on.
    pub input: Digest,
    /// The variant that it finishes.
    pub variant: Option<String>,
    /// Whether the engine has its result; none: it has no image, or the engine could not be asked.
    pub there: Option<bool>,
    /// Bytes of the layers that it puts on its parent's, where they are known.
    pub adds: Option<u64>,
}

/// What a step makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StepKind {
    /// What lies below everything.
    Base,
    /// A download.
    Artifact,
    /// The compiled entrypoint.
    Entrypoint,
    /// An image that a Dockerfile makes.
    Image,
    /// A download, put on an image.
    Component,
    /// A variant, with entrypoint and labels.
    Finish,
}

/// A variant.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Image {
    /// `aws`
    pub variant: String,
    /// What variants.toml says of it.
    pub description: String,
    /// What the engine knows it as.
    pub tags: Vec<String>,
    /// Pins that this profile leaves out.
    pub omitted: Vec<String>,
    /// What the engine has of it; none: it is not built, or the engine could not be asked.
    pub built: Option<Built>,
}

/// An image in the engine.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Built {
    /// The digest of its configuration: its identity.
    pub config_digest: Digest,
    /// Whether variants.toml and the Dockerfiles have changed since.
    pub outdated: bool,
    /// When, as its configuration says.
    pub created: Option<String>,
    /// What `smoke` found when it was tried last; none: it was not, on this machine.
    pub smoke: Option<Smoke>,
    /// Bytes of the files in its layers: what engines tell as its size.
    pub bytes: u64,
    /// Bytes of its layers as they are sent; none: not all were compressed yet.
    pub packed: Option<u64>,
    /// The letters of its layers, lowest first.
    pub layers: Vec<String>,
    /// What is in it, biggest kind first, as large as managers say: dpkg rounds every file up, so that the sum may be a little more
    /// than `files`.
    pub groups: Vec<Group>,
    /// Bytes of the files that a container of it sees.
    pub files: u64,
    /// How many files these are.
    pub file_count: u64,
    /// The biggest files.
    pub biggest: Vec<Item>,
}

/// What came of trying an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Smoke {
    /// Whether nothing failed.
    pub passed: bool,
    /// How many checks there were.
    pub checks: u64,
    /// When (RFC 3339, UTC).
    pub at: String,
}

/// What is of one kind in an image.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Group {
    /// Who manages it; none: files of no package that is known.
    pub kind: Option<PackageKind>,
    /// Bytes of all of it.
    pub bytes: u64,
    /// How many packages it is.
    pub count: u64,
    /// The biggest, the first ones of them.
    pub items: Vec<Item>,
    /// Bytes of those that are not listed.
    pub rest: u64,
}

/// Something with a name and a size.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Item {
    /// `azure-cli`, `usr/bin/git`
    pub name: String,
    /// Of a package.
    pub version: Option<String>,
    /// Its size.
    pub bytes: u64,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Layer {
    /// What it is called in this report: `A` to `Z`, then `AA`.
    pub letter: String,
    /// The digest of its tar.
    pub diff_id: Digest,
    /// Bytes of the files in it.
    pub bytes: u64,
    /// Bytes of it as it is sent, where it was compressed already.
    pub packed: Option<u64>,
    /// The instruction that made it: `RUN apt-get update …`.
    pub instruction: String,
    /// The step that made it, where the engine still has its image.
    pub step: Option<String>,
    /// The variants that it is in.
    pub images: Vec<String>,
}

/// What building did last.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Build {
    /// The newest run that carried something out.
    pub run: Run,
    /// The newest run, where that found everything there.
    pub since: Option<Run>,
}

/// A destination.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Destination {
    /// `ghcr`
    pub name: String,
    /// `ghcr.io/team/image`
    pub repository: String,
    /// How it was asked.
    pub asked: Asked,
    /// The tags that are known of, variant by variant.
    pub tags: Vec<PublishedTag>,
}

/// Whether a destination was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum Asked {
    /// It answered.
    Answered,
    /// It did not, or not usefully.
    Failed {
        /// Why.
        why: String,
    },
    /// `--no-registries`
    NotAsked,
}

/// A tag at a destination.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PublishedTag {
    /// The variant.
    pub variant: String,
    /// `aws-2026.11.20-3f2c1ab`
    pub tag: String,
    /// Whether it goes with every release.
    pub moving: bool,
    /// Where it points, as the registry says; none: there is no such tag, or it was not asked.
    pub digest: Option<Digest>,
    /// What the image there says of itself; none: it was not asked, or is an index.
    pub says: Option<Says>,
    /// Where the ledger of this machine has it, and since when (RFC 3339).
    pub remembered: Option<(Digest, String)>,
}

/// What a published image says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Says {
    /// `2026.11.20`
    pub version: String,
    /// The commit.
    pub revision: Option<String>,
    /// Bytes of its layers as they are sent.
    pub packed: u64,
}

/// What a release of a variant would change.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// The variant.
    pub variant: String,
    /// What is published: a tag.
    pub from: String,
    /// The digest behind it.
    pub digest: Option<Digest>,
    /// What came of the comparison.
    #[serde(flatten)]
    pub found: ChangeFound,
}

/// What came of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "kebab-case")]
pub enum ChangeFound {
    /// It is the same image.
    Same,
    /// They differ.
    Different {
        /// In what, from what is published to what is here.
        difference: Box<Difference>,
    },
    /// They were not compared.
    NotCompared {
        /// Why, and what would have to be read.
        why: String,
    },
}
