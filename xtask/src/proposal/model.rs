//! A proposal as values.

use serde::Serialize;

use super::decide::{Branch, Standing};

/// What the pull request is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Its branch.
    pub branch: String,
    /// The branch that it is to be merged into.
    pub base: String,
    /// The commit that is checked out.
    pub head: String,
    /// Its title, and the commit's.
    pub title: String,
    /// Its text, in Markdown.
    pub body: String,
}

/// A file that the commit changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// From the repository's root, with `/`.
    pub path: String,
    /// `100644`, `100755`
    pub mode: String,
    /// What it is to hold; none: it is removed.
    pub content: Option<Vec<u8>>,
    /// Whether the base branch has it.
    pub known: bool,
}

impl Changed {
    /// `added`, `changed`, `removed`
    pub fn kind(&self) -> &'static str {
        match (&self.content, self.known) {
            (None, _) => "removed",
            (Some(_), true) => "changed",
            (Some(_), false) => "added",
        }
    }
}

/// What GitHub has, and what the commit changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The base branch's head.
    pub base: Branch,
    /// What differs from it.
    pub changed: Vec<Changed>,
    /// The pull request's branch, where it is there.
    pub branch: Option<Branch>,
    /// Whose it is.
    pub(super) standing: Standing,
    /// The open pull request of that branch.
    pub pull_request: Option<Found>,
}

impl Proposal {
    /// The commit of somebody else at the branch's head, which a new commit would take away.
    pub fn foreign(&self) -> Option<&str> {
        match &self.standing {
            Standing::Foreign { commit } => Some(commit),
            Standing::Absent | Standing::Ours => None,
        }
    }
}

/// An open pull request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its number.
    pub number: u64,
    /// Its page.
    pub url: String,
    /// Its title.
    pub title: String,
    /// Its text.
    pub body: String,
    /// The branch that it is to be merged into.
    pub base: String,
}

/// What became of the pull request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// There was none.
    Opened,
    /// Title, text or base have changed.
    Updated,
    /// It was as it should be.
    Left,
}

/// The branch's commit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Commit {
    /// Its id.
    pub sha: String,
    /// Whether this run made it; else it was there, with the same files on the same base.
    pub made: bool,
}

/// The pull request as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Its number.
    pub number: u64,
    /// Its page.
    pub url: String,
    /// What became of it.
    pub act: Act,
    /// Its commit.
    pub commit: Commit,
}
