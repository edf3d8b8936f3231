//! The plan itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Serialize, Serializer};

use crate::family::{BuildDate, Name, Place, Unpack};
use crate::oci::{Digest, Platform, Reference};

/// The name of a step: `base`, `aws`, `artifact github-runner`, `aws + github-runner`, `aws finished`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub(super) String);

impl StepId {
    /// The id of the step with this name.
    pub fn named(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for StepId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Everything that a build of the selected variants consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// 1: the version of this shape.
    pub schema: u32,
    /// The family.
    pub family: Name,
    /// The profile.
    pub profile: Name,
    /// The platform.
    pub platform: Platform,
    /// `BUILD_DATE`.
    pub build_date: BuildDate,
    /// The steps, each after all that it needs.
    pub steps: Vec<Step>,
    /// The variants, by name.
    pub variants: Vec<VariantPlan>,
    /// What a person should know of this plan: omitted components, a CA bundle that forbids publishing.
    pub warnings: Vec<String>,
}

impl Plan {
    /// The step of that name.
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == *id)
    }
}

/// One thing to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// Its name.
    pub id: StepId,
    /// Where its result is found: a stage tag; none for what is no image (the compiled entrypoint).
    pub stage: Option<String>,
    /// The digest of everything that it depends on.
    pub input: Digest,
    /// What must be there first.
    pub needs: Vec<StepId>,
    /// What is to be done.
    #[serde(flatten)]
    pub work: Work,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "work", rename_all = "kebab-case")]
pub enum Work {
    /// The engine pulls an image by digest.
    Pull {
        /// With digest.
        reference: Reference,
    },
    /// A Debian is made of packages and loaded.
    Bootstrap {
        /// `trixie`
        suite: String,
        /// Beside the minimal ones.
        packages: Vec<String>,
    },
    /// A pinned download becomes an image of one layer.
    Artifact {
        /// The pin.
        pin: Name,
        /// Its version.
        version: String,
        /// Where it comes from.
        url: String,
        /// What it is.
        sha256: Digest,
        /// How it lies in the image.
        #[serde(serialize_with = "as_table")]
        place: Place,
    },
    /// The entrypoint is compiled (or taken as given).
    Entrypoint,
    /// The engine builds a Dockerfile.
    Build(Built),
}

fn as_table<S: Serializer>(place: &Place, serializer: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeStruct as _;
    let mut fields = serializer.serialize_struct("Place", 4)?;
    fields.serialize_field("path", &place.path)?;
    fields.serialize_field("unpack", if place.unpack == Unpack::TarGz { "tar.gz" } else { "file" })?;
    fields.serialize_field("strip", &place.strip)?;
    fields.serialize_field("owner", &format!("{}:{}", place.owner.0, place.owner.1))?;
    fields.end()
}

/// The engine builds a Dockerfile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Built {
    /// The name of the image: `aws`, `aws.github-runner`, `aws.finished`.
    pub image: String,
    /// The folder of the Dockerfile.
    pub context: String,
    /// The stage.
    pub target: Option<String>,
    /// The step whose image it is built on.
    pub parent: StepId,
    /// Build arguments: those that the Dockerfile declares.
    pub args: BTreeMap<String, String>,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Ids of the secrets that the build is given.
    pub secrets: BTreeSet<String>,
    /// Whether the compiled entrypoint is put into the context.
    pub entrypoint: bool,
}

/// A variant, and what it is made by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VariantPlan {
    /// Its name.
    pub name: Name,
    /// The step that makes it.
    pub finished: StepId,
    /// What the engine knows it as: `ansible-epic:aws`, and its aliases.
    pub local_tags: Vec<String>,
    /// Where it is published.
    pub destinations: BTreeSet<Name>,
    /// Pins that were left out, because this profile cannot have them.
    pub omitted: Vec<Name>,
}
