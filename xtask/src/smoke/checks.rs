//! The names of all checks of an image, and which of them are tried. Pure.

use super::promise::Promise;
use super::question::{Inquiry, inquiries};
use super::start::{self, Given, Start};
use crate::family::matches;

/// What is told of an image that does not run.
const STILL: [&str; 9] =
    ["entrypoint", "user", "health check", "environment", "labels", "secrets in the configuration", "layers", "size", "growth"];

/// Which checks are tried: all of them, or those with certain names. Of a start, all or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choice {
    patterns: Vec<String>,
}

impl Choice {
    /// Those that match one of the patterns (`*` is anything, `?` is one character); without any, all of them.
    pub fn new(patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { patterns: patterns.into_iter().map(Into::into).collect() }
    }

    /// Whether nothing is left out.
    pub fn is_all(&self) -> bool {
        self.patterns.is_empty()
    }

    /// The patterns that match none of the checks of any of these images.
    pub fn unmatched<'a>(&self, promises: impl IntoIterator<Item = &'a Promise>) -> Vec<&str> {
        let all: Vec<String> = promises.into_iter().flat_map(|promise| checks(promise, &Self::default())).collect();
        let unknown = self.patterns.iter().filter(|pattern| !all.iter().any(|name| matches(pattern, name)));
        unknown.map(String::as_str).collect()
    }

    /// Whether the check of this name is tried.
    pub fn takes(&self, name: &str) -> bool {
        self.is_all() || self.patterns.iter().any(|pattern| matches(pattern, name))
    }

    /// What somebody cannot do in a container that does not start is not tried: a start is tried as a whole, so that
    /// nothing passes that was not there.
    pub(super) fn takes_start(&self, start: &Start) -> bool {
        start.checks().into_iter().any(|check| self.takes(&format!("{}: {check}", start.name)))
    }

    /// What is asked.
    pub(super) fn inquiries(&self, promise: &Promise) -> Vec<Inquiry> {
        let mut inquiries = inquiries(promise);
        inquiries.retain(|inquiry| self.takes(inquiry.name()));
        inquiries
    }
}

/// The names of the checks of an image, in their order, as far as they are chosen.
pub fn checks(promise: &Promise, choice: &Choice) -> Vec<String> {
    let still = STILL.into_iter().filter(|name| choice.takes(name)).map(str::to_owned);
    let asked = choice.inquiries(promise).into_iter().map(|inquiry| inquiry.name().to_owned());
    let starts = start::starts(promise, Given { key: "", password: "" });
    let starts = starts.iter().filter(|start| choice.takes_start(start));
    let started = starts.flat_map(|start| start.checks().into_iter().map(|check| format!("{}: {check}", start.name)));
    still.chain(asked).chain(started).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::Component;

    #[test]
    fn some_checks_are_chosen_by_name_and_starts_as_a_whole() {
        let promise = Promise {
            variant: "aws".parse().expect("a name"),
            labels: [].into(),
            tools: [("jq".to_owned(), None)].into(),
            env: [].into(),
            checks: Vec::new(),
            max_size: None,
            max_growth: None,
            web: Component::None,
            tunnel: Component::None,
            runner: Component::None,
        };
        let names = |patterns: &[&str]| checks(&promise, &Choice::new(patterns.iter().copied()));
        let all = names(&[]);
        assert!(all.len() > 20 && all.starts_with(&STILL.map(str::to_owned)), "{all:?}");
        assert_eq!(names(&["size", "tool *", "r?nner rights"]), ["size", "tool jq", "runner rights"]);
        assert_eq!(names(&["coder: stops"]), ["coder: says so", "coder: stops"]);
        assert!(names(&["none*"]).is_empty());
        let choice = Choice::new(["tool jq", "tool yq", "web: *"]);
        assert_eq!(choice.unmatched([&promise]), ["tool yq", "web: *"]);
        assert!(Choice::default().is_all() && !choice.is_all());
    }
}
