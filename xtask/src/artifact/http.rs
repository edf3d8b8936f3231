//! What all requests of Gantry to vendors and mirrors share: the client, when to try again and how long to wait.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{HeaderMap, RETRY_AFTER};
use time::OffsetDateTime;

use super::ArtifactError;
use crate::retry;

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
        Some(limit.mul_f64(retry::chance()))
    }
}

/// What the answer's `Retry-After` asks for.
pub fn asked_pause(headers: &HeaderMap) -> Option<Duration> {
    retry::retry_after(headers.get(RETRY_AFTER)?.to_str().ok()?, OffsetDateTime::now_utc())
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
}
