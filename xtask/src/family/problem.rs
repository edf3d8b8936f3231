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
    /// Other places that explain it: where a name that is taken was given first.
    pub related: Vec<Related>,
}

/// A place in the same file that belongs to a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Related {
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What stands under it.
    pub label: String,
}

impl Problem {
    /// A problem without a hint.
    pub fn new(span: Range<usize>, message: impl Into<String>, accepted: impl Into<String>) -> Self {
        Self { message: message.into(), span, accepted: accepted.into(), hint: None, related: Vec::new() }
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, asking whether `name` was meant, where there is one.
    #[must_use]
    pub fn did_you_mean(mut self, name: Option<&str>) -> Self {
        self.hint = name.map(|name| format!("did you mean `{name}`?")).or(self.hint);
        self
    }

    /// The same with another place that explains it.
    #[must_use]
    pub fn related(mut self, span: Range<usize>, label: impl Into<String>) -> Self {
        self.related.push(Related { span, label: label.into() });
        self
    }
}
