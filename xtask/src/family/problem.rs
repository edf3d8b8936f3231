//! A problem in a file, with the place where it stands. `output` renders it.

use std::ops::Range;

/// A file's text under the name that a person knows it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceText {
    /// The path as given, for messages.
    pub name: String,
    /// The whole text.
    pub text: String,
}

/// One thing that is wrong in a file. All problems of a file are reported in one go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong: lower case, no final full stop, names in backticks. Names the field and what was found.
    pub message: String,
    /// Bytes of the offending text.
    pub span: Range<usize>,
    /// What stands under the underlined text: what would be accepted.
    pub accepted: String,
    /// What to do: `did you mean …`.
    pub hint: Option<String>,
}
