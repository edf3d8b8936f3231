//! Why there is no plan.

use crate::family::Name;

/// Why there is no plan. All reasons are given in one go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No such profile.
    #[error("there is no profile `{found}`; variants.toml has {known}")]
    UnknownProfile {
        /// What was asked for.
        found: Name,
        /// What there is.
        known: String,
    },
    /// A pin that is needed is not in the lock.
    #[error("pin `{pin}` has no digest for {platform} in variants.lock")]
    Unlocked {
        /// The pin.
        pin: Name,
        /// The platform.
        platform: crate::oci::Platform,
    },
    /// The base image is not in the lock.
    #[error("base image `{base}` has no digest in variants.lock")]
    UnlockedBase {
        /// The base image.
        base: String,
    },
    /// The folder of a Dockerfile was not read.
    #[error("`{folder}/Dockerfile`, which `{image}` is built from, is missing")]
    NoContext {
        /// The image.
        image: String,
        /// The folder.
        folder: String,
    },
    /// An argument is given to an image that does not use it.
    #[error("`{arg}` is given to `{image}`, and neither its Dockerfile nor one below it declares `ARG {arg}`")]
    UndeclaredArg {
        /// The image.
        image: Name,
        /// The argument.
        arg: String,
    },
    /// `--arg` names an argument that nothing uses, or that Gantry sets.
    #[error("`--arg {arg}`: {why}")]
    BadArg {
        /// The argument.
        arg: String,
        /// Why it is refused.
        why: String,
    },
}
