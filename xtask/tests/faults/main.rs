//! Publishing on bad days: whatever happens, every tag in every registry points to a whole image that was meant to be
//! there, and running again finishes the job. Against real registries (Debian: docker-registry), without an engine; as root.
//!
//! By default a seeded sample; `GANTRY_FAULTS=all` is everything, `GANTRY_FAULTS_SEED` another sample. `tests/faults.sh`
//! runs all and prints the tables.

#[path = "../support/mod.rs"]
mod support;

mod child;
mod family;
mod judge;
mod killed;
mod machine;
mod outage;
mod peers;
mod refusal;
mod rivals;
mod sweep;
mod tokens;
mod world;
