//! How long a pin may be used: `max-age-days`.
//!
//! Some services turn away clients a while after a newer release came out (GitHub its runners: 30 days). When that will be
//! cannot be known beforehand, but from which day on it is possible can: on some day the pin was known to be the newest
//! release there was (at first the day of its own release, later one on which somebody looked), and what is newer came
//! after it. So the days are counted from there, and who is refused looks again: `bump` moves the pin, or notes down the
//! day on which there was nothing newer.

use std::fmt;

use super::date::BuildDate;
use super::model::{Family, Lock, LockedArtifact};
use super::name::Name;
use crate::oci::Platform;

/// So many days before a pin becomes too old, that is said.
pub const WARNED_DAYS: i64 = 10;

/// A pin that may become too old, on some day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aged {
    /// The pin.
    pub pin: Name,
    /// Its version.
    pub version: String,
    /// How it stands.
    pub age: Age,
}

/// How a pin stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Age {
    /// variants.lock does not say when it was released.
    Unknown,
    /// It may be used.
    Good {
        /// The last day.
        until: BuildDate,
        /// Days from today to that one, 0 or more.
        left: i64,
    },
    /// It may not be used any more.
    Past {
        /// The last day on which it was known to be the newest.
        newest: BuildDate,
        /// How many days ago that was.
        days: i64,
        /// How many it may be.
        allowed: u32,
    },
}

impl Age {
    /// Whether there is something to say.
    pub fn is_worth_a_word(&self) -> bool {
        !matches!(self, Self::Good { left, .. } if *left > WARNED_DAYS)
    }
}

/// How those of `pins` stand that have a `max-age-days` and are in the lock.
pub fn of<'p>(
    pins: impl IntoIterator<Item = &'p Name>,
    family: &Family,
    lock: &Lock,
    platform: Platform,
    today: &BuildDate,
) -> Vec<Aged> {
    let aged = |name: &Name| {
        let (pin, artifact) = (family.pins.get(name)?, lock.artifact(family, name, platform)?);
        let age = age(artifact, pin.max_age_days?, today);
        Some(Aged { pin: name.clone(), version: pin.version.clone(), age })
    };
    pins.into_iter().filter_map(aged).collect()
}

fn age(artifact: &LockedArtifact, allowed: u32, today: &BuildDate) -> Age {
    let Some(newest) = artifact.known_newest() else { return Age::Unknown };
    let until = newest.plus_days(allowed);
    match today.days_until(&until) {
        left @ 0.. => Age::Good { until, left },
        _ => Age::Past { newest: newest.clone(), days: newest.days_until(today), allowed },
    }
}

impl LockedArtifact {
    /// The last day on which it was known to be the newest release.
    pub fn known_newest(&self) -> Option<&BuildDate> {
        self.released.iter().chain(&self.newest_on).max()
    }

    /// The same entry, once it is known that there was nothing newer on `today`. None: it need not be noted down, either
    /// since nobody asks or since it is early days yet: files that change every day help nobody.
    pub fn seen_newest(&self, max_age_days: Option<u32>, today: &BuildDate) -> Option<Self> {
        let age = age(self, max_age_days?, today);
        let newest_on = Some(today.clone());
        (age.is_worth_a_word() && self.newest_on != newest_on).then(|| Self { newest_on, ..self.clone() })
    }
}

impl fmt::Display for Aged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { pin, version, age } = self;
        match age {
            Age::Unknown => write!(f, "nobody knows how old `{pin}` {version} is: variants.lock has no `released` of it"),
            Age::Good { until, left: 0 } => write!(f, "`{pin}` {version} may be used until today, {until}"),
            Age::Good { until, left: 1 } => write!(f, "`{pin}` {version} may be used for 1 more day, until {until}"),
            Age::Good { until, left } => write!(f, "`{pin}` {version} may be used for {left} more days, until {until}"),
            Age::Past { newest, days, allowed } => write!(
                f,
                "`{pin}` {version} is too old: it was last known to be the newest on {newest}, {days} days ago, and \
                 `max-age-days` is {allowed}"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    fn day(text: &str) -> BuildDate {
        text.parse().unwrap()
    }

    fn artifact(released: &str, newest_on: &str) -> LockedArtifact {
        let date = |text: &str| (!text.is_empty()).then(|| day(text));
        let (version, url, sha256) = ("2.337.0".to_owned(), "https://example.org/".to_owned(), Digest::of("runner"));
        LockedArtifact { version, url, sha256, released: date(released), newest_on: date(newest_on) }
    }

    #[test]
    fn thirty_days_from_when_it_was_known_to_be_the_newest() {
        for (released, newest_on, today, said) in [
            ("", "", "2026-11-21", "nobody knows how old `runner` 2.337.0 is: variants.lock has no `released` of it"),
            ("2026-08-26", "", "2026-08-26", ""),
            ("2026-08-26", "", "2026-09-14", ""),
            ("2026-08-26", "", "2026-09-15", "`runner` 2.337.0 may be used for 10 more days, until 2026-09-25"),
            ("2026-08-26", "", "2026-09-24", "`runner` 2.337.0 may be used for 1 more day, until 2026-09-25"),
            ("2026-08-26", "", "2026-09-25", "`runner` 2.337.0 may be used until today, 2026-09-25"),
            (
                "2026-08-26",
                "",
                "2026-09-26",
                "`runner` 2.337.0 is too old: it was last known to be the newest on 2026-08-26, 31 days ago, and \
                 `max-age-days` is 30",
            ),
            // Somebody has looked since; a clock that goes wrong does no harm.
            ("2026-08-26", "2026-09-20", "2026-09-26", ""),
            ("2026-08-26", "2026-08-01", "2026-09-15", "`runner` 2.337.0 may be used for 10 more days, until 2026-09-25"),
            ("", "2026-09-20", "2026-09-26", ""),
            ("2026-08-26", "", "1999-01-01", ""),
        ] {
            let aged = Aged {
                pin: "runner".parse().unwrap(),
                version: "2.337.0".to_owned(),
                age: age(&artifact(released, newest_on), 30, &day(today)),
            };
            let found = if aged.age.is_worth_a_word() { aged.to_string() } else { String::new() };
            assert_eq!(found, said, "{released} {newest_on} {today}");
        }
    }

    #[test]
    fn that_it_is_still_the_newest_is_noted_down_when_it_matters() {
        for (released, newest_on, max_age_days, today, noted) in [
            ("2026-08-26", "", None, "2026-11-21", false),
            ("2026-08-26", "", Some(30), "2026-09-01", false),
            ("2026-08-26", "", Some(30), "2026-09-15", true),
            ("2026-08-26", "", Some(30), "2026-11-21", true),
            ("2026-08-26", "2026-11-21", Some(30), "2026-11-21", false),
            ("2026-08-26", "2026-11-21", Some(5), "2026-11-21", false),
            ("", "", Some(30), "2026-11-21", true),
        ] {
            let before = artifact(released, newest_on);
            let after = before.seen_newest(max_age_days, &day(today));
            let expected = noted.then(|| artifact(released, today));
            assert_eq!(after, expected, "{released} {newest_on} {max_age_days:?} {today}");
        }
    }
}
