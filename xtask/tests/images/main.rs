//! The real family, built by the real command with the profile `offline`, then looked into: what is in each image, what
//! is in no layer, and how it runs. Built once for all tests of this program (minutes from nothing, seconds when there).

#[path = "../support/mod.rs"]
mod support;

mod access;
mod broken;
mod browser;
mod canaries;
mod contents;
mod diff;
mod docker;
mod family;
mod layers;
mod outside;
mod publish;
mod report;
mod restricted;
mod running;
mod sbom;
mod smoke;
mod sockets;
mod ssh;
mod updates;
mod work;
