//! What a built image is tried for: `smoke` of an image or variant.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::Template;
use crate::byte_size::size;

/// What an image has to do beyond what every image of the pipeline has to. A child has its parent's as well.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Smoke {
    /// What `NAME --version` has to print, in a login shell of the user `ansible`; pins stand for their versions.
    pub tools: BTreeMap<String, Template>,
    /// What each variable of the image's environment has to contain.
    pub env: BTreeMap<String, String>,
    /// Commands, in the order in which they were first named.
    pub checks: Vec<Trial>,
    /// The most that is pulled of it: the bytes of all its layers, compressed.
    pub max_size: Option<u64>,
    /// The most that it grows from one release to the next.
    pub max_growth: Option<Growth>,
}

/// A command that is run in a container, and what has to come of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Trial {
    /// What it shows, in a few words.
    pub name: String,
    /// A line of shell, run in a login shell.
    pub run: String,
    /// A regular expression that is to be found in what it prints; `{pin}` stands for the version of a pin.
    pub expect: Option<String>,
    /// Whom it is run as.
    pub user: String,
    /// The exit code.
    pub exit: u32,
}

/// How much an image may grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Growth {
    /// Percent of what is published.
    Percent(u32),
    /// Bytes.
    Bytes(u64),
}

impl Growth {
    /// The most that something may have now that had `before` bytes.
    pub fn allowed(self, before: u64) -> u64 {
        match self {
            Self::Percent(percent) => before.saturating_add(before.saturating_mul(u64::from(percent)) / 100),
            Self::Bytes(bytes) => before.saturating_add(bytes),
        }
    }
}

impl fmt::Display for Growth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Percent(percent) => write!(f, "{percent} %"),
            Self::Bytes(bytes) => f.write_str(&size(*bytes)),
        }
    }
}

impl Smoke {
    /// The user of a trial that names none.
    pub const USER: &'static str = "ansible";

    /// What this image has to do on top of `parent`: an own tool, variable, check of the same name or size replaces the
    /// parent's.
    #[must_use]
    pub fn on(self, parent: &Self) -> Self {
        let mut smoke = parent.clone();
        smoke.tools.extend(self.tools);
        smoke.env.extend(self.env);
        for check in self.checks {
            match smoke.checks.iter_mut().find(|inherited| inherited.name == check.name) {
                Some(inherited) => *inherited = check,
                None => smoke.checks.push(check),
            }
        }
        smoke.max_size = self.max_size.or(smoke.max_size);
        smoke.max_growth = self.max_growth.or(smoke.max_growth);
        smoke
    }
}

/// `450 MB`, `1.2 GB`, `300 kB`: bytes, with decimal units.
pub(super) fn bytes(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(digits);
    let unit: u64 = match unit.trim_start() {
        "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        _ => return None,
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    // Three places are enough: what is smaller is another unit's.
    let places = u32::try_from(part.len()).ok().filter(|places| (1..=3).contains(places))?;
    let part = part.parse::<u64>().ok()?.checked_mul(unit)? / 10_u64.pow(places);
    whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(part)
}

/// `10 %`, or bytes.
pub(super) fn growth(text: &str) -> Option<Growth> {
    match text.strip_suffix('%') {
        Some(percent) => percent.trim_end().parse().ok().filter(|percent| *percent <= 1000).map(Growth::Percent),
        None => bytes(text).map(Growth::Bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_growths() {
        for (text, expected) in [
            ("450 MB", Some(450_000_000)),
            ("1.25 GB", Some(1_250_000_000)),
            ("300kB", Some(300_000)),
            ("0.5 MB", Some(500_000)),
            ("450", None),
            ("450 MiB", None),
            ("MB", None),
            ("1. MB", None),
            ("1.2345 GB", None),
            ("-1 MB", None),
            ("99999999999999999999 GB", None),
            ("", None),
        ] {
            assert_eq!(bytes(text), expected, "{text}");
        }
        for (text, expected) in [
            ("10%", Some(Growth::Percent(10))),
            ("0 %", Some(Growth::Percent(0))),
            ("20 MB", Some(Growth::Bytes(20_000_000))),
            ("1001%", None),
            ("%", None),
            ("ten %", None),
        ] {
            assert_eq!(growth(text), expected, "{text}");
        }
        assert_eq!((Growth::Percent(10).allowed(1000), Growth::Bytes(10).allowed(1000)), (1100, 1010));
    }

    #[test]
    fn a_child_has_its_parents_and_its_own_instead_where_both_have_one() {
        let tool = |text: &str| Template::new(text, &[]).expect("a template");
        let trial = |name: &str, run: &str| Trial {
            name: name.to_owned(),
            run: run.to_owned(),
            expect: None,
            user: Smoke::USER.to_owned(),
            exit: 0,
        };
        let parent = Smoke {
            tools: [("git".to_owned(), tool("2")), ("aws".to_owned(), tool("1"))].into(),
            checks: vec![trial("a", "1"), trial("b", "1")],
            max_size: Some(1),
            ..Smoke::default()
        };
        let child = Smoke {
            tools: [("aws".to_owned(), tool("2"))].into(),
            checks: vec![trial("c", "2"), trial("a", "2")],
            max_growth: Some(Growth::Percent(1)),
            ..Smoke::default()
        };
        let both = child.on(&parent);
        assert_eq!(both.tools, [("git".to_owned(), tool("2")), ("aws".to_owned(), tool("2"))].into());
        assert_eq!(both.checks, [trial("a", "2"), trial("b", "1"), trial("c", "2")]);
        assert_eq!((both.max_size, both.max_growth), (Some(1), Some(Growth::Percent(1))));
    }
}
