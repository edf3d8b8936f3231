//! What can go wrong with an engine, so that the edge can say what to do about it.

use std::error::Error;
use std::io;

/// The oldest release of Docker Engine that Gantry works with.
pub const NEEDED_VERSION: &str = "20.10";
/// The API version of that release.
pub const NEEDED_API: &str = "1.41";

/// Why the engine did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// `DOCKER_HOST` or a docker context does not say where the engine is.
    #[error("{origin} does not name a Docker Engine: {why}")]
    InvalidEndpoint {
        /// Where it was read: `` `DOCKER_HOST` ``, `` the docker context `x` ``.
        origin: String,
        /// What is wrong with it.
        why: String,
    },
    /// Nobody answers, or the connection broke.
    #[error("no Docker Engine answers at `{endpoint}`: {why}")]
    Unreachable {
        /// Which engine.
        endpoint: String,
        /// Why not.
        why: String,
    },
    /// The engine's socket is there and may not be opened by this user.
    #[error("no permission to use the Docker Engine at `{endpoint}`")]
    PermissionDenied {
        /// Which engine.
        endpoint: String,
    },
    /// The engine is older than [`NEEDED_VERSION`].
    #[error(
        "the Docker Engine at `{endpoint}` is too old: version {version} (API {api}), needed is {NEEDED_VERSION} (API {NEEDED_API})"
    )]
    TooOld {
        /// Which engine.
        endpoint: String,
        /// The version found: `19.03.15`.
        version: String,
        /// The API version found: `1.40`.
        api: String,
    },
    /// The engine builds without BuildKit (a foreign engine, or Windows containers).
    #[error("the engine at `{endpoint}` has no BuildKit, which Gantry builds with: {why}")]
    NoBuildKit {
        /// Which engine.
        endpoint: String,
        /// What it answered.
        why: String,
    },
    /// A build failed.
    #[error("the build failed at `{step}`{}", .exit_code.map(|code| format!(" with exit code {code}")).unwrap_or_default())]
    BuildFailed {
        /// The instruction that failed: `[tools 3/5] RUN apt-get install …`.
        step: String,
        /// The exit code of a `RUN`.
        exit_code: Option<i64>,
        /// The last lines that the step printed, or what the engine says where it printed nothing.
        log_tail: Vec<String>,
    },
    /// The engine's disk is full.
    #[error("no space left on the disk of the engine at `{endpoint}`: {detail}")]
    NoSpace {
        /// Which engine.
        endpoint: String,
        /// What the engine says.
        detail: String,
    },
    /// An image is neither in the engine nor to be had from its registry.
    #[error("the image `{reference}` is not to be had: {why}")]
    MissingImage {
        /// Which image.
        reference: String,
        /// What the engine says.
        why: String,
    },
    /// The engine cancelled the work, because it stops or because another client cancelled it.
    #[error("the engine cancelled the build")]
    Cancelled,
    /// The engine answered with an error that has no variant of its own.
    #[error("the engine would not {what}: {message}")]
    Refused {
        /// What was asked: ``tag `a` ``.
        what: String,
        /// The HTTP status; 200 where the error came inside a stream.
        status: u16,
        /// What the engine says.
        message: String,
    },
    /// An answer that is not understood, or an archive that could not be read.
    #[error("could not {what}: {why}")]
    Protocol {
        /// What was attempted.
        what: String,
        /// What went wrong.
        why: String,
    },
}

impl EngineError {
    /// From an error of the transport: anything that has an [`io::Error`] somewhere below it.
    pub(super) fn unreachable(endpoint: &str, error: &(dyn Error + 'static)) -> Self {
        let kind = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()).map(io::Error::kind);
        match kind {
            Some(io::ErrorKind::PermissionDenied) => Self::PermissionDenied { endpoint: endpoint.to_owned() },
            _ => Self::Unreachable { endpoint: endpoint.to_owned(), why: chain(error) },
        }
    }

    /// From an error that the engine itself reports, as text.
    pub(super) fn answered(endpoint: &str, what: &str, status: u16, message: &str) -> Self {
        let message = message.trim().to_owned();
        if is_no_space(&message) {
            return Self::NoSpace { endpoint: endpoint.to_owned(), detail: message };
        }
        Self::Refused { what: what.to_owned(), status, message }
    }

    /// From whatever bollard says about `what`.
    pub(super) fn from_bollard(endpoint: &str, what: &str, error: bollard::errors::Error) -> Self {
        use bollard::errors::Error as Bollard;
        match error {
            Bollard::DockerResponseServerError { status_code, message } => Self::answered(endpoint, what, status_code, &message),
            Bollard::DockerStreamError { error } => Self::answered(endpoint, what, 200, &error),
            Bollard::IOError { .. } | Bollard::HyperResponseError { .. } | Bollard::RequestTimeoutError => {
                Self::unreachable(endpoint, &error)
            }
            other => Self::Protocol { what: what.to_owned(), why: chain(&other) },
        }
    }
}

/// Whether an engine's message says that a disk is full.
pub(super) fn is_no_space(message: &str) -> bool {
    message.to_ascii_lowercase().contains("no space left on device")
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

/// The error and its causes in one line, without repeating what a wrapper already said.
pub(super) fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for cause in causes(error).map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}
