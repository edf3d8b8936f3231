//! What all requests of Gantry to vendors and mirrors share: the client, when to try again and how long to wait.

use std::error::Error;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::{Duration, SystemTime};

use reqwest::header::{HeaderMap, RETRY_AFTER};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::ArtifactError;

/// How long and how often is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Attempts at one place that bring nothing before the next place is asked. One that brings bytes starts the count
    /// anew.
    pub attempts: u32,
    /// The first wait is at most this long, the second twice that, …
    pub first_wait: Duration,
    /// No wait is longer than this. A server that asks for more (`Retry-After`) is not asked again.
    pub longest_wait: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { attempts: 5, first_wait: Duration::from_millis(500), longest_wait: Duration::from_secs(30) }
    }
}

impl Patience {
    /// How long to wait after the `failed`th attempt in a row (from 1) that failed: what the server asked for, else any
    /// time up to a limit that doubles (full jitter: many machines that lost one server do not come back at once).
    /// None: longer than is waited.
    pub fn wait(&self, failed: u32, asked: Option<Duration>) -> Option<Duration> {
        if let Some(asked) = asked {
            return (asked <= self.longest_wait).then_some(asked);
        }
        let limit = self.first_wait.saturating_mul(1 << failed.saturating_sub(1).min(16)).min(self.longest_wait);
        Some(limit.mul_f64(random_fraction()))
    }
}

/// Somewhere in 0..1. Every `RandomState` is seeded by the system; waits need no better chance than that.
fn random_fraction() -> f64 {
    let random = std::hash::RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(random >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

/// Whether the same request may succeed later.
pub fn is_transient(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// What `Retry-After` asks for: seconds, or a date.
pub fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = OffsetDateTime::parse(&text.replace("GMT", "+0000"), &Rfc2822).ok()?;
    Some(SystemTime::from(date).duration_since(now).unwrap_or_default())
}

/// A client: the system's proxies, the platform's root certificates and those of `SSL_CERT_FILE`, limits on silence but
/// none on the whole (a download may take its time).
///
/// # Errors
/// `SSL_CERT_FILE` cannot be read, or there is no root certificate at all.
pub fn client() -> Result<reqwest::Client, ArtifactError> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(30));
    if let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) {
        let path = std::path::PathBuf::from(path);
        let failed = |why: String| ArtifactError::Client(format!("`{}` (SSL_CERT_FILE): {why}", path.display()));
        let pem = std::fs::read(&path).map_err(|error| failed(error.to_string()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem).map_err(|error| failed(causes(&error)))?;
        builder = builder.tls_certs_merge(certificates);
    }
    builder.build().map_err(|error| ArtifactError::Client(causes(&error)))
}

/// An error with its causes, each once: HTTP clients hide the reason (refused, no such host, bad certificate) below.
pub fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_a_limit_unless_the_server_asks() {
        let patience = Patience { attempts: 5, first_wait: Duration::from_secs(1), longest_wait: Duration::from_secs(10) };
        let seconds = Duration::from_secs;
        for (failed, limit) in [(1, 1), (2, 2), (3, 4), (4, 8), (5, 10), (4000, 10)] {
            assert!(patience.wait(failed, None).unwrap() <= seconds(limit), "{failed}");
        }
        assert_eq!(patience.wait(1, Some(seconds(7))), Some(seconds(7)));
        assert_eq!(patience.wait(1, Some(seconds(11))), None);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
        for (text, expected) in [
            ("120", Some(120)),
            ("0", Some(0)),
            ("Sun, 06 Nov 1994 08:50:00 GMT", Some(23)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]);
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn what_may_succeed_later() {
        let transient: Vec<u16> = (200..600).filter(|status| is_transient(*status)).collect();
        assert_eq!(transient[..4], [408, 425, 429, 500]);
        assert_eq!(transient.len(), 103);
    }
}
