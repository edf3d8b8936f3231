//! What is in an image: its files layer by layer, the packages that they come to, and what must be in no layer.
//!
//! A layer is read once and remembered by its diff ID (`cache`), whatever image it is of and wherever it came from; an image is
//! put together from its layers without reading any bytes of theirs again.

mod assemble;
mod auditable;
mod debian;
mod forbidden;
mod node;
mod python;
mod read;
mod secret_names;
mod secrets;
mod shelf;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use assemble::{File, Tree, assemble};
pub use read::{read_layer, read_layers};
pub(crate) use secret_names::is_secret_name;
pub(crate) use secrets::in_text as secrets_in;
pub use shelf::Shelf;

use crate::folder::FolderError;
use crate::oci::{Digest, ImageConfig};

/// Opens the tar of a layer.
pub type Open = Box<dyn FnOnce() -> std::io::Result<Box<dyn std::io::Read + Send>> + Send>;

/// What can go wrong between a layer's bytes and what is in it.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// The tar cannot be read, or is not the layer that it is called.
    #[error("the layer {diff_id} cannot be read")]
    Layer {
        /// Which.
        diff_id: Digest,
        /// Why.
        source: std::io::Error,
    },
    /// What was read before cannot be kept or found.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// A thread ended early.
    #[error("a thread that reads layers ended early")]
    Worker,
}

/// A layer, read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Layer {
    /// The digest of its tar.
    pub diff_id: Digest,
    /// Bytes of its tar.
    pub bytes: u64,
    /// What it adds or replaces, in the order of its tar. Paths begin at the root, without a slash before or after.
    pub entries: Vec<Entry>,
    /// Paths that it removes (whiteouts), without the `.wh.`.
    pub removed: Vec<String>,
    /// Folders whose content below this layer it hides (opaque whiteouts).
    pub hidden: Vec<String>,
    /// What its files say of packages.
    pub evidence: Vec<Evidence>,
    /// What must not be in a layer.
    pub findings: Vec<Finding>,
}

/// A file, folder or link of a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    /// `usr/bin/git`
    pub path: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes of a file; 0 of anything else.
    pub bytes: u64,
    /// Permissions, with set-uid and the like.
    pub mode: u32,
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// A hash of a file's content (or of what a link points to): two entries with the same are the same. The first 16 hex
    /// digits of SHA-256.
    pub content: String,
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EntryKind {
    /// A file with bytes.
    File,
    /// A folder.
    Folder,
    /// A symbolic link.
    Link,
    /// Another name of a file of the same layer: its bytes count there.
    HardLink,
    /// A device, a pipe.
    Other,
}

/// What a file says of packages. It counts as long as the file is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Evidence {
    /// The file: `var/lib/dpkg/status`, `…/boto3-1.40.dist-info/METADATA`.
    pub path: String,
    /// What it says.
    pub says: Says,
}

/// What a file says of packages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Says {
    /// These are installed.
    Packages(Vec<Package>),
    /// The Debian package that it belongs to put these files there, which would speak of packages otherwise: of a Python
    /// module that Debian packages, say. (Only those are noted.)
    Owns(Vec<String>),
    /// The licences of the Debian package that it belongs to, joined by `, `.
    License(String),
    /// The image is one of this distribution.
    System(System),
    /// The documentation of the Debian package that it belongs to, licences included, is another package's: a link.
    DocumentedWith(String),
}

/// The distribution that an image is made of. (os-release(5))
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct System {
    /// `debian`
    pub id: String,
    /// `13`; none: a rolling one.
    pub version: Option<String>,
    /// `Debian GNU/Linux 13 (trixie)`
    pub name: String,
}

/// A package in an image.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Package {
    /// Who manages it.
    pub kind: PackageKind,
    /// As its manager calls it (Python: normalised as PEP 503 does).
    pub name: String,
    /// In full.
    pub version: String,
    /// `amd64`, `all`: Debian's.
    pub architecture: Option<String>,
    /// Where it lies: the folder above a `.dist-info`, the folder of a `package.json`, a binary; none for Debian's.
    pub place: Option<String>,
    /// Bytes that it takes, as its manager says or its files come to.
    pub bytes: u64,
    /// An SPDX expression or the words of the package.
    pub license: Option<String>,
    /// What it was built from, where that has another name or version: `openssl 3.5.1-1`.
    pub source: Option<String>,
    /// What is known of its origin beyond its name: the URL and digest of a pin.
    pub origin: Option<String>,
}

/// Who manages a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageKind {
    /// `dpkg`
    Debian,
    /// `pip`, `uv`: a `.dist-info` or `.egg-info`.
    Python,
    /// `npm`: a `package.json` in a `node_modules`.
    Npm,
    /// An Ansible collection.
    Collection,
    /// A pin of variants.toml, told by the image's labels.
    Pin,
    /// A crate that a binary is made of, told by its `.dep-v0` section (cargo-auditable's).
    Crate,
}

/// Something that must not be in a layer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The file.
    pub path: String,
    /// What is wrong with it: `host key`, `private key`, `package list`, `AWS access key`.
    pub what: String,
}

/// An image, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contents {
    /// The digest of the configuration: the image's identity.
    pub config_digest: Digest,
    /// The configuration.
    pub config: ImageConfig,
    /// Lowest first, with the bytes of each as compressed, where that is known.
    pub layers: Vec<(Arc<Layer>, Option<u64>)>,
    /// What is installed when all layers lie on each other, sorted.
    pub packages: Vec<Package>,
    /// What it is made of, where it says so.
    pub system: Option<System>,
}
