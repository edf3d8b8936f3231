//! Limits on requests, as GitHub tells of them (REST API: "Rate limits"): pure. Others say less, with the same status and headers.

use std::time::Duration;

use http::HeaderMap;
use http::header::RETRY_AFTER;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::retry_after;

/// GitHub's advice where too much was asked at once and no time is named: no earlier than this.
pub const A_MINUTE: Duration = Duration::from_secs(60);

/// A limit that was met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// When there are answers again, where that is said.
    pub until: Option<OffsetDateTime>,
    /// Whether all requests of an hour are used up, rather than too many asked at once. Who sends a token has more of them.
    pub is_used_up: bool,
    /// Whether words alone say so.
    is_in_words: bool,
}

impl Limit {
    /// How long not to ask; none: nobody says.
    pub fn pause(&self, now: OffsetDateTime) -> Option<Duration> {
        match self.until {
            Some(until) => Some(Duration::try_from(until - now).unwrap_or_default()),
            None => self.is_in_words.then_some(A_MINUTE),
        }
    }

    /// `until` for a person: RFC 3339, to the second.
    pub fn until_text(&self) -> Option<String> {
        self.until?.replace_nanosecond(0).ok()?.format(&Rfc3339).ok()
    }
}

/// The limit that an answer tells of; none: it is refused for another reason. A limit on what is asked at once leaves requests of the
/// hour over, and is sometimes told in `body` alone.
pub fn limit(status: u16, headers: &HeaderMap, body: &str, now: OffsetDateTime) -> Option<Limit> {
    if !matches!(status, 403 | 429) {
        return None;
    }
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let asked = header(RETRY_AFTER.as_str()).and_then(|value| retry_after(value, now));
    let is_used_up = header("x-ratelimit-remaining") == Some("0");
    let reset = header("x-ratelimit-reset").filter(|_| is_used_up).and_then(|seconds| seconds.parse().ok());
    let reset = reset.and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    let until = asked.and_then(|pause| now.checked_add(pause.try_into().ok()?)).max(reset);
    let body = body.to_lowercase();
    let is_in_words = ["rate limit", "abuse detection"].iter().any(|words| body.contains(words));
    let is_limit = status == 429 || asked.is_some() || is_used_up || is_in_words;
    is_limit.then_some(Limit { until, is_used_up, is_in_words })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECONDARY: &str =
        r#"{"message": "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."}"#;
    const ABUSE: &str = r#"{"message": "You have triggered an abuse detection mechanism."}"#;
    const FORBIDDEN: &str = r#"{"message": "Resource not accessible by personal access token"}"#;

    /// The table: an answer → until when (seconds from now), whether the hour's requests are used up, the pause.
    #[test]
    fn limits_as_github_tells_of_them() {
        let now = OffsetDateTime::from_unix_timestamp(1_000_000).unwrap();
        let (left, none) = (("x-ratelimit-remaining", "58"), ("x-ratelimit-remaining", "0"));
        let (reset, after) = (("x-ratelimit-reset", "1001800"), ("retry-after", "60"));
        for (status, headers, body, expected) in [
            // The hour's requests are used up.
            (403, &[none, reset][..], "", Some((Some(1800), true, Some(1800)))),
            (429, &[none, reset], SECONDARY, Some((Some(1800), true, Some(1800)))),
            (403, &[none, reset, after], "", Some((Some(1800), true, Some(1800)))),
            (403, &[none], "", Some((None, true, None))),
            (403, &[none, ("x-ratelimit-reset", "999000")], "", Some((Some(-1000), true, Some(0)))),
            // Too much was asked at once: the hour's end is not that of this limit.
            (403, &[left, reset, after], SECONDARY, Some((Some(60), false, Some(60)))),
            (403, &[after], FORBIDDEN, Some((Some(60), false, Some(60)))),
            (429, &[left, reset, after], SECONDARY, Some((Some(60), false, Some(60)))),
            (403, &[left, reset], SECONDARY, Some((None, false, Some(60)))),
            (403, &[left, reset], ABUSE, Some((None, false, Some(60)))),
            // Others than GitHub.
            (429, &[after], "slow down", Some((Some(60), false, Some(60)))),
            (429, &[], "", Some((None, false, None))),
            (429, &[("retry-after", "soon")], "", Some((None, false, None))),
            // No limit.
            (403, &[left, reset], FORBIDDEN, None),
            (403, &[], "<html>", None),
            (401, &[none, reset], SECONDARY, None),
            (503, &[after], "", None),
        ] {
            let mut given = HeaderMap::new();
            for (name, value) in headers {
                given.insert(*name, value.parse().unwrap());
            }
            let found = limit(status, &given, body, now).map(|found| {
                let until = found.until.map(|until| (until - now).whole_seconds());
                (until, found.is_used_up, found.pause(now).map(|pause| pause.as_secs()))
            });
            assert_eq!(found, expected, "{status} {headers:?} {body}");
        }
    }
}
