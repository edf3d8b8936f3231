//! Gantry's pipeline: one table (`variants.toml`) in, images in registries out.
//!
//! Dependencies point one way: `cmd` → `report`, `smoke`, `build`, `publish`, `deploy`, `proposal`, `pin`, `host` → `diff`, `sbom` → `contents`, `engine`, `artifact`, `store`, `registry`,
//! `upstream` → `bump`, `plan` → `family` → `oci`; `event`, `failure`, `folder` and `byte_size` are the bottom that everybody may know, `output` is
//! known to `cmd` alone. See ARCHITECTURE.md.

pub mod artifact;
pub mod build;
pub mod bump;
pub mod byte_size;
pub mod cli;
pub mod cmd;
pub mod contents;
pub mod context;
pub mod deploy;
pub mod diff;
pub mod engine;
pub mod event;
pub mod failure;
pub mod family;
pub mod folder;
pub mod host;
pub mod oci;
pub mod output;
pub mod pin;
pub mod plan;
pub mod proposal;
pub mod publish;
pub mod registry;
pub mod relock;
pub mod report;
pub mod retry;
pub mod sbom;
pub mod secret;
pub mod smoke;
pub mod store;
pub mod upstream;
