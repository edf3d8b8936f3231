//! The machine under us: where files go, who else is at work, what is installed, what can be installed, what the
//! compiler and Debian's packages make. Values out, events into a sink; nothing is printed here.

pub mod bootstrap;
pub mod ca;
pub mod entrypoint;
pub mod git;
pub mod interrupt;
pub mod lockfile;
pub mod places;
pub mod requirement;
pub mod setup;

mod error;
mod os;
mod program;

pub use error::{HostError, Mend};
pub use os::{Authority, Init, OsRelease, find_program, installed};
