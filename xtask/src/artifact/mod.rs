//! Pinned downloads: fetched from a mirror or the vendor, verified, kept by digest, and made into images of one layer.

mod cache;
mod error;
mod fetch;
pub mod http;
pub mod image;

mod mirror;
mod partial;

pub use cache::Cache;
pub use error::ArtifactError;
pub use fetch::{Fetch, fetch, fetch_with};
pub use http::{Patience, client};
pub use mirror::mirrored;
