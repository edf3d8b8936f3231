//! The servers that stand for registries.
#![allow(dead_code, unreachable_pub)]

#[path = "../support/ecr.rs"]
pub mod ecr;
#[path = "../support/front.rs"]
pub mod front;
#[path = "../support/ghcr.rs"]
pub mod ghcr;
#[path = "../support/referrers.rs"]
pub mod referrers;
