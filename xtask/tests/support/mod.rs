//! What several test programs share. Each uses a part of it.
#![allow(dead_code, unreachable_pub)]

pub mod archives;
pub mod family;
pub mod registry;
pub mod vendors;
pub mod xtask;
