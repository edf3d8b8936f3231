//! What several test programs share. Each uses a part of it.
#![allow(dead_code, unreachable_pub, unused_imports)]

pub mod archives;
pub mod family;
pub mod faults;
pub mod moto;
pub mod registry;
pub mod vendors;
pub mod xtask;
