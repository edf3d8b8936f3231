//! Why a pin cannot be resolved.

/// Why a pin cannot be resolved. `what` is the pin and its version, for a person.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UpstreamError {
    /// No answer came.
    #[error("cannot resolve {what}: cannot reach `{url}`, tried {attempts} times: {why}")]
    Unreachable {
        /// The pin.
        what: String,
        /// What was asked for.
        url: String,
        /// How often.
        attempts: u32,
        /// The last failure with its causes.
        why: String,
    },
    /// There is no place to ask: no mirror, and vendors may not be asked.
    #[error("cannot resolve {what}: there is no mirror of `{url}`, and vendors are not asked")]
    Nowhere {
        /// The pin.
        what: String,
        /// What would have been asked for.
        url: String,
    },
    /// The upstream does not have it.
    #[error("cannot resolve {what}: {missing} (`{url}`, HTTP status {status})")]
    NotFound {
        /// The pin.
        what: String,
        /// What is missing.
        missing: String,
        /// What was asked for.
        url: String,
        /// The answer's status.
        status: u16,
    },
    /// The upstream has it and publishes no digest for it.
    #[error("cannot resolve {what}: no digest is published for `{file}` (`{url}`)")]
    NoDigest {
        /// The pin.
        what: String,
        /// The file without a digest.
        file: String,
        /// What was asked for.
        url: String,
    },
    /// Too many requests.
    #[error("cannot resolve {what}: `{host}` answers no more requests{}", resets(.reset))]
    RateLimited {
        /// The pin.
        what: String,
        /// Whose limit.
        host: String,
        /// When it answers again: RFC 3339, where it says.
        reset: Option<String>,
        /// Whether a token that is not sent would raise the limit.
        token_helps: bool,
    },
    /// The GitHub token is not one, is none any more, or may not read this.
    #[error("cannot resolve {what}: `{url}` does not accept the token")]
    BadToken {
        /// The pin.
        what: String,
        /// What was asked for.
        url: String,
    },
    /// The upstream refuses.
    #[error("cannot resolve {what}: `{url}` was refused: HTTP status {status}")]
    Refused {
        /// The pin.
        what: String,
        /// What was asked for.
        url: String,
        /// The answer's status.
        status: u16,
    },
    /// An answer that is not what the upstream is known to answer.
    #[error("cannot resolve {what}: odd answer from `{url}`: {why}")]
    Odd {
        /// The pin.
        what: String,
        /// What was asked for.
        url: String,
        /// What is odd about it.
        why: String,
    },
    /// A package manager installs it; there is nothing to download.
    #[error("{what} is installed by a package manager: it has no artifact, its lock file lies in the build context")]
    NotAnArtifact {
        /// The pin.
        what: String,
    },
}

impl UpstreamError {
    /// What is wrong, for whoever has named the pin already.
    pub fn why(&self) -> String {
        let text = self.to_string();
        match self.what().and_then(|what| text.strip_prefix(&format!("cannot resolve {what}: "))) {
            Some(why) => why.to_owned(),
            None => text,
        }
    }

    fn what(&self) -> Option<&str> {
        match self {
            Self::Unreachable { what, .. }
            | Self::Nowhere { what, .. }
            | Self::NotFound { what, .. }
            | Self::NoDigest { what, .. }
            | Self::RateLimited { what, .. }
            | Self::BadToken { what, .. }
            | Self::Refused { what, .. }
            | Self::Odd { what, .. } => Some(what),
            Self::NotAnArtifact { .. } => None,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } | Self::Nowhere { .. } => {
                "name a mirror in `[mirrors]` of variants.toml, or build with `--profile offline`"
            }
            Self::NotFound { .. } => "check `version` of this pin in variants.toml against the upstream's releases",
            Self::NoDigest { .. } => "pin a version for which the upstream publishes a digest: Gantry never guesses one",
            Self::RateLimited { token_helps: true, .. } => "set GITHUB_TOKEN: it raises the limit from 60 to 5000 an hour",
            Self::RateLimited { reset: Some(_), .. } => "run the same command again then",
            Self::RateLimited { .. } => "wait some minutes, then run the same command again",
            Self::BadToken { .. } => {
                "GITHUB_TOKEN (or GH_TOKEN) has ended, was withdrawn or may not read this: set another one, or none; public releases can be read without"
            }
            Self::Refused { .. } | Self::Odd { .. } => "is there a proxy in between? try the URL in a browser",
            Self::NotAnArtifact { .. } => "name it in `pins` of the image, not in `components`",
        }
    }
}

fn resets(reset: &Option<String>) -> String {
    reset.as_ref().map(|time| format!(" until {time}")).unwrap_or_default()
}
