//! The words of the OCI specifications as values: digests, platforms, references, image configurations. No IO.

mod compression;
mod config;
mod digest;
mod ecr;
mod platform;
mod reference;

pub use compression::{Compression, InvalidCompression};
pub use config::{ImageConfig, Instruction, RunConfig};
pub use digest::{Digest, InvalidDigest};
pub use ecr::EcrRegistry;
pub use platform::{InvalidPlatform, Platform};
pub use reference::{InvalidReference, Reference, Repository, is_tag};

/// The media types that Gantry writes: always OCI, never Docker.
pub mod media_type {
    /// An image manifest.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image index.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An image configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer, tar and gzip.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// A layer, tar and zstd.
    pub const LAYER_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";
    /// The configuration of what is no image: `{}`.
    pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
    /// An SBOM (IANA media types: CycloneDX as JSON).
    pub const CYCLONEDX: &str = "application/vnd.cyclonedx+json";
}
