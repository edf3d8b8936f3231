//! Calendar dates.

use std::fmt;

use serde::{Serialize, Serializer};

/// A calendar date, `YYYY-MM-DD`: the value of `BUILD_DATE`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BuildDate(time::Date);

/// The text is not a date.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a date: expected `YYYY-MM-DD`, 1980 or later")]
pub struct InvalidDate(pub String);

impl std::str::FromStr for BuildDate {
    type Err = InvalidDate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        time::Date::parse(text, &time::format_description::well_known::Iso8601::DATE)
            .ok()
            .filter(|date| date.to_string() == text && date.year() >= 1980)
            .map(Self)
            .ok_or_else(|| InvalidDate(text.to_owned()))
    }
}

impl BuildDate {
    /// That day.
    pub fn on(date: time::Date) -> Self {
        Self(date)
    }

    /// The day that an RFC 3339 time falls on, in UTC.
    pub fn of_rfc3339(time: &str) -> Option<Self> {
        let time = time::OffsetDateTime::parse(time, &time::format_description::well_known::Rfc3339).ok()?;
        Some(Self(time.to_offset(time::UtcOffset::UTC).date()))
    }

    /// The days from this one until `later`; negative where that is before.
    pub fn days_until(&self, later: &Self) -> i64 {
        (later.0 - self.0).whole_days()
    }

    /// So many days later, or the last day that there is.
    #[must_use]
    pub fn plus_days(&self, days: u32) -> Self {
        Self(self.0.saturating_add(time::Duration::days(days.into())))
    }

    /// Midnight of that day, UTC, in seconds since 1970: the time of everything that a build writes itself.
    pub fn epoch_seconds(&self) -> u64 {
        u64::try_from(self.0.midnight().assume_utc().unix_timestamp()).unwrap_or_default()
    }

    /// Midnight of that day as RFC 3339, for `org.opencontainers.image.created`.
    pub fn rfc3339(&self) -> String {
        format!("{}T00:00:00Z", self.0)
    }
}

impl fmt::Display for BuildDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Serialize for BuildDate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
