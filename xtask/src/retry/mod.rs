//! What is tried again, when, and how often: pure, with the clock and the dice handed in. Registries, vendors and
//! mirrors are all asked by these rules.

pub mod limit;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::pin::Pin;
use std::time::{Duration, Instant};

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// The bounds of trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How often something is tried in all.
    pub attempts: u32,
    /// The longest pause after the first failure; it doubles with every further one.
    pub base: Duration,
    /// The longest pause that is not asked for by the registry.
    pub cap: Duration,
    /// The longest time, pauses included, after which nothing is tried again.
    pub total: Duration,
}

impl Default for Policy {
    fn default() -> Self {
        Self { attempts: 7, base: Duration::from_millis(500), cap: Duration::from_secs(20), total: Duration::from_secs(10 * 60) }
    }
}

impl Policy {
    /// How long to wait before the next attempt; none: give up.
    ///
    /// `failed` attempts (at least one) have taken `spent` so far, the registry asked for a pause of `asked`, `random`
    /// is in `0.0..1.0`. Full jitter: many clients that failed together do not come back together.
    pub fn pause(&self, failed: u32, spent: Duration, asked: Option<Duration>, random: f64) -> Option<Duration> {
        if failed >= self.attempts {
            return None;
        }
        let ceiling = self.base.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1))).min(self.cap);
        let jitter = ceiling.mul_f64(random.clamp(0.0, 1.0));
        // What is asked for is a minimum; the jitter on top of it is small.
        let pause = asked.map_or(jitter, |asked| asked.saturating_add(jitter.min(self.base)));
        (spent.saturating_add(pause) <= self.total).then_some(pause)
    }
}

/// Whether a status is worth another attempt: 408, 425, 429 and 5xx.
pub fn is_passing(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500..=599)
}

/// `Retry-After`: seconds, or a date (RFC 9110, 10.2.3).
pub fn retry_after(value: &str, now: OffsetDateTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse::<u32>() {
        return Some(Duration::from_secs(seconds.into()));
    }
    let at = OffsetDateTime::parse(value, &Rfc2822).ok()?;
    Some(Duration::try_from(at - now).unwrap_or_default())
}

/// A number in `0.0..1.0`. The standard library seeds every `RandomState` differently: chance enough for jitter.
pub fn chance() -> f64 {
    let bits = RandomState::new().build_hasher().finish() >> 11;
    bits as f64 / (1_u64 << 53) as f64
}

/// A pause.
pub type Sleeping<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Time and chance, injected so that a test decides both.
pub trait Clock: Send + Sync {
    /// Time since some fixed moment.
    fn now(&self) -> Duration;
    /// The date, for `Retry-After`.
    fn date(&self) -> OffsetDateTime;
    /// A number in `0.0..1.0`.
    fn random(&self) -> f64;
    /// Waits.
    fn sleep(&self, pause: Duration) -> Sleeping<'_>;
}

/// The clock on the wall.
#[derive(Debug)]
pub struct SystemClock(Instant);

impl Default for SystemClock {
    fn default() -> Self {
        Self(Instant::now())
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn date(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }

    fn random(&self) -> f64 {
        chance()
    }

    fn sleep(&self, pause: Duration) -> Sleeping<'_> {
        Box::pin(tokio::time::sleep(pause))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: Policy =
        Policy { attempts: 4, base: Duration::from_millis(500), cap: Duration::from_secs(1), total: Duration::from_secs(60) };

    #[test]
    fn pauses() {
        let ms = Duration::from_millis;
        for (failed, spent, asked, random, pause) in [
            (1, ms(0), None, 1.0, Some(ms(500))),
            (1, ms(0), None, 0.0, Some(ms(0))),
            (2, ms(0), None, 1.0, Some(ms(1000))),
            (3, ms(0), None, 1.0, Some(ms(1000))),
            (3, ms(0), None, 0.5, Some(ms(500))),
            (4, ms(0), None, 0.5, None),
            (1, ms(59_900), None, 1.0, None),
            (1, ms(0), Some(ms(7000)), 0.0, Some(ms(7000))),
            (3, ms(0), Some(ms(7000)), 1.0, Some(ms(7500))),
            (1, ms(0), Some(ms(3_600_000)), 0.0, None),
        ] {
            assert_eq!(POLICY.pause(failed, spent, asked, random), pause, "{failed} {spent:?} {asked:?} {random}");
        }
    }

    #[test]
    fn what_is_tried_again() {
        for status in [408, 425, 429, 500, 502, 503, 504] {
            assert!(is_passing(status), "{status}");
        }
        for status in [200, 400, 401, 403, 404, 416] {
            assert!(!is_passing(status), "{status}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = OffsetDateTime::UNIX_EPOCH;
        for (value, pause) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("Thu, 01 Jan 1970 00:01:00 GMT", Some(60)),
            ("Wed, 31 Dec 1969 23:59:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(value, now), pause.map(Duration::from_secs), "{value}");
        }
    }
}
