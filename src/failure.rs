//! What ends the entrypoint before, or instead of, its services.

use crate::log::Log;

/// Why nothing runs: an exit code of its own, every problem, and what to do.
#[derive(Debug)]
pub(crate) struct Failure {
    /// One of the exit codes below.
    pub(crate) exit: u8,
    /// Every problem found, a line each.
    pub(crate) problems: Vec<String>,
    /// What helps, a line each.
    pub(crate) hints: Vec<String>,
}

/// The command line cannot be understood (`EX_USAGE` of sysexits.h).
pub(crate) const USAGE: u8 = 64;
/// This version or this image does not contain what was asked for (`EX_UNAVAILABLE`).
pub(crate) const UNAVAILABLE: u8 = 69;
/// The system refused something that the entrypoint needs (`EX_OSERR`).
pub(crate) const SYSTEM: u8 = 71;
/// The settings are wrong (`EX_CONFIG`).
pub(crate) const SETTINGS: u8 = 78;

impl Failure {
    /// A failure with one problem.
    pub(crate) fn new(exit: u8, problem: impl Into<String>) -> Self {
        Self { exit, problems: vec![problem.into()], hints: Vec::new() }
    }

    /// A failure of the system: `doing` is what was tried.
    pub(crate) fn system(doing: impl std::fmt::Display, error: impl std::fmt::Display) -> Self {
        Self::new(SYSTEM, format!("{doing}: {error}"))
    }

    /// The same with one more hint.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Logs everything and returns the exit code.
    pub(crate) fn report(self, log: &Log) -> u8 {
        self.problems.iter().for_each(|problem| log.error(problem));
        self.hints.iter().for_each(|hint| log.hint(hint));
        self.exit
    }
}
