//! The family: what `variants.toml` and `variants.lock` say, checked. No IO: texts in, values and problems out.

pub mod age;
mod date;
mod grammar;
mod lock;
mod model;
mod name;
mod problem;
mod range;
mod read;
mod reader;
mod selection;
mod smoke;
mod spans;
mod suggest;
mod syntax;
#[cfg(test)]
mod tests;

pub use date::{BuildDate, InvalidDate};
pub use lock::read_lock;
pub use model::*;
pub use name::{InvalidName, Name};
pub use problem::{Problem, Related, SourceText};
pub use range::{NoNumber, NoRange, Number, VersionRange};
pub use read::read;
pub use selection::{Selection, SelectionError, matches};
pub use smoke::{Growth, Smoke, Trial};
pub use spans::Spans;
pub use suggest::{closest, one_of};
