//! Built images, run as a person runs them, and looked at: do they do what they promise?
//!
//! - `promise`: what an image has to show, from the family and the plan; `start`: the ways in which it is started;
//!   `question`: what is asked inside of it; `judge`: from what was seen to verdicts. All pure.
//! - `room`: a network and names of this run's own, and their end; `enter`: ssh and a browser's requests, as somebody outside
//!   makes them; `run` and `inside`: the
//!   containers; `script`: what they run in them; `updates`: what Debian has newer.
//! - `record`: what was tried, by config digest. `table` and `junit`: a report as text.

mod checks;
mod enter;
mod inside;
pub mod judge;
mod junit;
mod promise;
mod question;
mod record;
mod report;
mod room;
mod run;
mod script;
mod start;
mod table;
mod updates;

pub use checks::{Choice, checks};
pub use promise::{Component, Promise};
pub use record::Record;
pub use report::{Check, Outcome, Report, Tried, Verdict};
pub use room::{RUN, Room};
pub use run::{Options, Subject, try_all};
pub use updates::{Update, updates};
