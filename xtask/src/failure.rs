//! What a command ends with: one [`Failure`] at the edge, with an [`Exit`] code.
//!
//! Every module has an error enum of its own; the edge (`cmd`) turns it into a `Failure` with `From`.

use std::error::Error;
use std::fmt;

/// The exit codes of `cargo xtask`. README.md holds the same table; a test compares the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Exit {
    /// Something that should not happen.
    Unexpected = 1,
    /// Wrong usage, or a file that is not valid.
    Usage = 2,
    /// Something that is needed is missing: an engine, a tool, a credential, a network.
    Missing = 3,
    /// A build failed.
    Build = 4,
    /// A smoke test failed.
    Smoke = 5,
    /// Publishing failed, nothing was tagged.
    PublishUntagged = 6,
    /// Publishing failed, some tags have moved; the ledger says which.
    PublishPartly = 7,
    /// Refused by a policy: immutable tag, digest mismatch, omitted component.
    Refused = 8,
    /// A deployment failed, or was not steady in time.
    Deploy = 9,
    /// `--check` found something to do, or `verify` a difference.
    CheckFound = 10,
    /// Interrupted.
    Interrupted = 130,
}

/// Why a command could not do its work, as its user is told.
#[derive(Debug)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// One sentence: lower case, no final full stop, names in backticks.
    pub message: String,
    /// What to do about it; more than one line where there is more than one thing to do.
    pub hint: Option<String>,
    /// Printed as it is after the message: rendered diagnostics, the last lines of a build log.
    pub detail: Option<String>,
    /// What it comes from.
    pub source: Option<Box<dyn Error + Send + Sync>>,
}

impl Failure {
    /// A failure with a message and nothing else.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, detail: None, source: None }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with text that is printed as it is.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// The same with its cause.
    #[must_use]
    pub fn source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Failure {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
