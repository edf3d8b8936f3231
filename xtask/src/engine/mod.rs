//! The Docker Engine: the only place that names bollard.
//!
//! - [`Endpoint`]: which engine, from the environment and docker's configuration.
//! - `dial`: one dialer for every way in (unix, tcp, TLS, ssh, named pipe); `wire` speaks HTTP/1.1 over it and hijacks.
//! - [`Engine`]: images and containers through bollard, over that dialer; `build` speaks BuildKit's gRPC itself, because
//!   bollard has progress or secrets, not both, and leaves a session behind when a build's future is dropped.

mod build;
mod client;
mod configuration;
mod container;
mod dial;
mod ending;
mod endpoint;
mod error;
mod exec;
mod held;
mod network;
mod transfer;
mod types;
mod wire;

pub use client::Engine;
pub use container::{Confinement, ContainerRequest, ContainerState, Health};
pub use endpoint::DEFAULT_SOCKET;
pub use error::{EngineError, NEEDED_API, NEEDED_VERSION};
pub use exec::{Command, CommandOutput};
pub use held::{HeldImage, HeldLayer};
pub use types::*;
