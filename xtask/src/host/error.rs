//! What goes wrong with the machine under us, and what mends it.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::failure::{Exit, Failure};
use crate::folder::FolderError;
use crate::oci::Platform;

/// What a person does about something that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// Debian packages, which `cargo xtask setup` installs.
    Apt(Vec<String>),
    /// A command line.
    Command(String),
    /// Anything else, in words.
    Text(String),
    /// Nothing that we know of.
    None,
}

impl Mend {
    /// Debian packages by name.
    pub fn apt(packages: &[&str]) -> Self {
        Self::Apt(packages.iter().map(|&package| package.to_owned()).collect())
    }

    /// The mending command, or words; none for [`Mend::None`].
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Apt(packages) => Some(format!("apt-get install --no-install-recommends {}", packages.join(" "))),
            Self::Command(text) | Self::Text(text) => Some(text.clone()),
            Self::None => None,
        }
    }
}

impl fmt::Display for Mend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text().unwrap_or_default())
    }
}

/// What goes wrong with the machine under us.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// Something that must be installed first.
    #[error("{what}, needed for {needed_for}")]
    Missing {
        /// A sentence's beginning: ``no program `mmdebstrap` ``.
        what: String,
        /// What cannot be done without it.
        needed_for: String,
        /// What to do about it.
        mend: Mend,
    },
    /// A folder that we must not use.
    #[error("`{path}` cannot be used: {why}", path = path.display())]
    Place {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// No folder is known for our files.
    #[error("no folder for Gantry's {what}: none of {variables} is set")]
    NoHome {
        /// `cache`, `state`
        what: &'static str,
        /// The variables that were looked at.
        variables: &'static str,
    },
    /// The file system refuses.
    #[error("cannot {doing} `{path}`", path = path.display())]
    Io {
        /// `read`, `create`
        doing: &'static str,
        /// What it was about.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process of ours is at work.
    #[error("{holder} is at work on family `{family}`")]
    Held {
        /// The family.
        family: String,
        /// Who: ``process 4711 (`cargo xtask build`)``.
        holder: String,
    },
    /// A program that we started failed.
    #[error("`{program}` failed: {status}")]
    Program {
        /// Its name and what tells it apart from other calls: `apt-get install`.
        program: String,
        /// How it ended: `exit status: 100`.
        status: String,
        /// The last lines that it printed.
        output: Vec<String>,
        /// Where all of its output is.
        log: Option<PathBuf>,
        /// What the failure means for the command.
        exit: Exit,
        /// What to look at.
        hint: Option<String>,
    },
    /// A file that is no entrypoint.
    #[error("`{path}` cannot be the entrypoint on {platform}: {why}", path = path.display())]
    Entrypoint {
        /// The file.
        path: PathBuf,
        /// What it should run on.
        platform: Platform,
        /// What is wrong with it.
        why: String,
    },
    /// A file that does not hold what it should.
    #[error("`{path}` is not valid: {why}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// git has a repository and does not tell about it.
    #[error("`git` does not tell about `{path}`: {why}", path = path.display())]
    Git {
        /// The folder.
        path: PathBuf,
        /// What git says.
        why: String,
    },
    /// `setup` knows Debian and Ubuntu only.
    #[error("`setup` can install packages on Debian and Ubuntu, and this is {system}")]
    UnknownSystem {
        /// What this is.
        system: String,
        /// What has to be installed by hand, each with its reason.
        by_hand: Vec<String>,
    },
}

impl HostError {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    /// What the command that met it ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Missing { .. } | Self::UnknownSystem { .. } | Self::Held { .. } => Exit::Missing,
            Self::Place { .. } | Self::NoHome { .. } | Self::Entrypoint { .. } | Self::Malformed { .. } | Self::Git { .. } => {
                Exit::Usage
            }
            Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Exit::Usage,
            Self::Io { .. } => Exit::Unexpected,
            Self::Program { exit, .. } => *exit,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { mend: mend @ Mend::Apt(_), .. } => Some(format!("`cargo xtask setup` installs it, or: {mend}")),
            Self::Missing { mend, .. } => mend.text(),
            Self::Place { .. } => Some("name another folder with `GANTRY_CACHE_DIR` (cache) or `XDG_STATE_HOME` (state)".into()),
            Self::NoHome { variables, .. } => Some(format!("set one of {variables}")),
            Self::Held { .. } => Some("wait until it has ended, or end it".into()),
            Self::Entrypoint { platform, .. } => {
                Some(format!("a static executable is needed, built with `--target {}`", platform.rust_target()))
            }
            Self::Git { path, why } if why.contains("dubious ownership") => {
                Some(format!("if you trust it: git config --global --add safe.directory {}", path.display()))
            }
            Self::UnknownSystem { by_hand, .. } => Some(format!("install by hand:\n{}", by_hand.join("\n"))),
            Self::Program { hint, .. } => hint.clone(),
            Self::Git { .. } | Self::Io { .. } | Self::Malformed { .. } => None,
        }
    }
}

impl From<FolderError> for HostError {
    fn from(error: FolderError) -> Self {
        match error {
            FolderError::Refused { path, why } => Self::Place { path, why },
            FolderError::Io { doing, path, source } => Self::Io { doing, path, source },
        }
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        let mut failure = Self::new(error.exit(), error.to_string());
        failure.hint = error.hint();
        if let HostError::Program { output, log, .. } = &error {
            let log = log.iter().map(|log| format!("the whole output: {}", log.display()));
            let lines: Vec<String> = output.iter().cloned().chain(log).collect();
            failure.detail = (!lines.is_empty()).then(|| lines.join("\n"));
        }
        // The file system's own words are the cause; everything else is in the message already.
        if let HostError::Io { source, .. } = error {
            failure.source = Some(Box::new(source));
        }
        failure
    }
}
