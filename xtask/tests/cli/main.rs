//! The real binary from end to end: a tiny family, a real engine, real registries, a double of the vendors' hosts.
//! Needs `docker`, `docker-registry`, `skopeo`, `chromium`, `git`, `npm`, `openssl`, `setpriv`, `unshare` and a static `/bin/busybox`
//! (Debian: docker.io docker-registry skopeo chromium git npm openssl util-linux busybox-static), and to be root.

#[path = "../support/mod.rs"]
mod support;

mod ages;
mod bad_days;
mod build;
mod bump;
mod bump_base;
mod bump_troubles;
mod changes;
mod clean;
mod deploy;
mod diff;
mod doctor;
mod documents;
mod ecr;
mod engines;
mod exit_codes;
mod interrupt;
mod offline;
mod pin;
mod pins;
mod plan;
mod propose;
mod publish;
mod published_parent;
mod push;
mod registries;
mod report;
mod sbom;
mod secrets;
mod usage;
mod verify;
