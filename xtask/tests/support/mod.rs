//! What several test programs share. Each uses a part of it.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod archives;
pub mod browser;
pub mod ecr;
pub mod ecs;
pub mod family;
pub mod faults;
pub mod front;
pub mod ghcr;
pub mod github;
pub mod moto;
pub mod page;
pub mod referrers;
pub mod registry;
pub mod secure;
pub mod shown;
pub mod vendors;
pub mod xtask;
