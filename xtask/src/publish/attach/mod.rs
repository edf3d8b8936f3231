//! Attachments: an image's SBOM, as a manifest of its own that refers to the image's. It has the same digest in every
//! destination, and is there, and found as a consumer finds it, before any tag points to the image.
//!
//! `untrue` finds documents that do not tell what is in the image: they are not believed, and not copied. `artifact` is the bytes; `plan` looks what is there and decides, for a dry run and for `execute`, which carries it out.

mod artifact;
mod execute;
mod plan;
mod untrue;

use std::collections::BTreeMap;
use std::pin::Pin;

use bytes::Bytes;
use serde::Serialize;

pub(super) use artifact::ours;
pub use artifact::{Artifact, SBOM_FILE};
pub(super) use execute::{Done, attach, check};
pub use plan::{AttachmentPlan, AttachmentPreview, Because};
pub(super) use plan::{Looking, Scope, plan};
pub use untrue::Untrue;
pub(super) use untrue::document;

use super::image::Image;
use super::plan::Delivery;
use crate::oci::Digest;

/// What becomes of attachments.
#[derive(Clone, Copy, Default)]
pub enum Attaching<'a> {
    /// Nothing: `--no-sbom`.
    #[default]
    Nothing,
    /// Every image gets its SBOM: the one that a destination has of it, else one that is made.
    Sboms(&'a dyn Describe),
    /// What refers to the image in one destination, by whomever, is copied to the others.
    Copies,
}

impl Attaching<'_> {
    pub(super) fn describe(&self) -> Option<&dyn Describe> {
        match self {
            Self::Sboms(describe) => Some(*describe),
            Self::Nothing | Self::Copies => None,
        }
    }

    pub(super) fn scope(self) -> Scope {
        match self {
            Self::Nothing => Scope::Nothing,
            Self::Sboms(_) => Scope::Sboms,
            Self::Copies => Scope::Copies,
        }
    }
}

/// Makes the SBOM of an image: the same bytes whenever it is asked.
pub trait Describe: Send + Sync {
    /// The document of an image, all of whose blobs are `at` this destination; in words why there is none.
    fn sbom<'a>(&'a self, image: &'a Image, at: &'a Delivery) -> Described<'a>;

    /// Who tells whether a document is true of an image of which every layer is known already; none where one is not: then
    /// what was published before is believed.
    fn knows(&self, image: &Image) -> Option<Truth> {
        let _ = image;
        None
    }

    /// The same for an image all of whose blobs are `at` this destination: what is not known is read. In words why it cannot be.
    fn learns<'a>(&'a self, image: &'a Image, at: &'a Delivery) -> Learned<'a> {
        let _ = at;
        Box::pin(std::future::ready(Ok(self.knows(image).unwrap_or_else(|| Box::new(|_: &[u8]| None)))))
    }
}

/// What a document says otherwise than the image is, in words; none: nothing.
pub type Truth = Box<dyn Fn(&[u8]) -> Option<String> + Send>;

/// Who tells what is true, once the image is read.
pub type Learned<'a> = Pin<Box<dyn Future<Output = Result<Truth, String>> + 'a>>;

/// The document, once it is made.
pub type Described<'a> = Pin<Box<dyn Future<Output = Result<Bytes, String>> + 'a>>;

/// What is attached to an image now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Attached {
    /// What it is: `application/vnd.cyclonedx+json`.
    pub artifact_type: String,
    /// Its manifest: the same in every registry.
    pub digest: Digest,
    /// Why it is this one.
    pub because: Because,
    /// Bytes of what it holds.
    pub size: u64,
    /// Every destination's name, with what was done there.
    pub destinations: BTreeMap<String, AttachmentState>,
}

/// What was done about an attachment at a destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttachmentState {
    /// It was not there.
    Attached,
    /// It was there, whole.
    AlreadyThere,
}
