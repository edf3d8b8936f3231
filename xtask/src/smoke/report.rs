//! What came of it: checks of images.

use serde::{Deserialize, Serialize};

use crate::family::Name;
use crate::oci::Digest;

/// How a check ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As promised.
    Passed,
    /// It could not be tried, or there is nothing to try; the message says why.
    Skipped,
    /// Nothing that the image promises is broken, but somebody should look at it.
    Warned,
    /// Not as promised.
    Failed,
}

/// What is thought of something that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// How it ended.
    pub outcome: Outcome,
    /// What was found, and what was expected.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// What the container printed, the list of what was found.
    pub detail: Option<String>,
}

impl Verdict {
    fn new(outcome: Outcome, message: impl Into<String>) -> Self {
        Self { outcome, message: message.into(), hint: None, detail: None }
    }

    /// As promised.
    pub fn passed(message: impl Into<String>) -> Self {
        Self::new(Outcome::Passed, message)
    }

    /// Not tried.
    pub fn skipped(message: impl Into<String>) -> Self {
        Self::new(Outcome::Skipped, message)
    }

    /// To be looked at.
    pub fn warned(message: impl Into<String>) -> Self {
        Self::new(Outcome::Warned, message)
    }

    /// Not as promised.
    pub fn failed(message: impl Into<String>) -> Self {
        Self::new(Outcome::Failed, message)
    }

    /// The same with a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same with what a person may want to read; nothing where that is empty.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into()).filter(|detail| !detail.trim().is_empty());
        self
    }

    /// As the check `name`, which took so long.
    pub fn of(self, name: impl Into<String>, took: std::time::Duration) -> Check {
        let Self { outcome, message, hint, detail } = self;
        let seconds = (took.as_secs_f64() * 1000.0).round() / 1000.0;
        Check { name: name.into(), outcome, message, hint, detail, seconds }
    }
}

/// One thing that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Check {
    /// `ssh: login`, `tool aws`
    pub name: String,
    /// How it ended.
    pub outcome: Outcome,
    /// What was found, and what was expected.
    pub message: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// What the container printed, the list of what was found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub detail: Option<String>,
    /// How long it took, waiting included.
    pub seconds: f64,
}

/// An image that was tried, or is known to have been.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tried {
    /// The variant that it is, or is tried as.
    pub variant: Name,
    /// What it is called locally.
    pub image: String,
    /// Its identity.
    pub config_digest: Digest,
    /// The worst of its checks.
    pub outcome: Outcome,
    /// When it was tried with these very checks before (RFC 3339, UTC): then it was not tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remembered: Option<String>,
    /// In their order.
    pub checks: Vec<Check>,
    /// How long all of it took.
    pub seconds: f64,
}

impl Tried {
    /// How many of the checks ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.checks.iter().filter(|check| check.outcome == outcome).count()
    }

    /// The checks that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Check> {
        self.checks.iter().filter(|check| check.outcome == Outcome::Failed)
    }
}

/// The worst of `checks`; of none, what says that nothing was tried.
pub(super) fn worst(checks: &[Check]) -> Outcome {
    let tried = checks.iter().map(|check| check.outcome).filter(|outcome| *outcome != Outcome::Skipped);
    tried.max().unwrap_or(Outcome::Skipped)
}

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// 1: the version of this shape.
    pub schema: u32,
    /// The images, in the order of the plan.
    pub images: Vec<Tried>,
    /// How long all of it took.
    pub seconds: f64,
}

impl Report {
    /// Whether nothing failed.
    pub fn passed(&self) -> bool {
        self.failed().next().is_none()
    }

    /// The images of which something failed.
    pub fn failed(&self) -> impl Iterator<Item = &Tried> {
        self.images.iter().filter(|image| image.outcome == Outcome::Failed)
    }
}
