//! When it is worth asking again: a table, and the pauses in between.

use super::{Answer, Error};
use std::time::Duration;

/// What an answer, or none, means for another try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is the answer that was wanted (2xx).
    Good,
    /// It may be another one later, at the earliest after this long where the server said so.
    Again(Option<Duration>),
    /// Asking again would bring the same.
    Final,
}

/// The longest pause that a server can ask for.
const LONGEST_ASKED: u64 = 15 * 60;

/// What to make of `asked`. A 403 that speaks of rates is what a 429 is.
pub(crate) fn verdict(asked: &Result<Answer, Error>) -> Verdict {
    let answer = match asked {
        Ok(answer) => answer,
        Err(Error::Unreachable(_) | Error::TimedOut | Error::Tls(_)) => return Verdict::Again(None),
        Err(Error::Stopped | Error::TooLarge | Error::NotAsked(_)) => return Verdict::Final,
    };
    match answer.status {
        200..=299 => Verdict::Good,
        403 if limited(answer) => Verdict::Again(asked_pause(answer)),
        408 | 425 | 429 | 500..=599 => Verdict::Again(asked_pause(answer)),
        _ => Verdict::Final,
    }
}

/// Whether an answer says that too much was asked.
pub(crate) fn limited(answer: &Answer) -> bool {
    answer.header("retry-after").is_some() || answer.header("x-ratelimit-remaining") == Some("0")
}

/// The seconds of `Retry-After`. (Its other form, a date, is one that GitHub and Coder do not use.)
fn asked_pause(answer: &Answer) -> Option<Duration> {
    let seconds: u64 = answer.header("retry-after")?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(LONGEST_ASKED)))
}

/// Pauses that double, from the first to the longest.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pauses {
    pub(crate) first: Duration,
    pub(crate) longest: Duration,
}

impl Pauses {
    /// The pause after `failures` in a row (1 and more), between a half and the whole of what the row asks for, by
    /// `random`: whoever failed together does not come again together.
    pub(crate) fn after(&self, failures: u32, random: u32) -> Duration {
        let whole = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.longest);
        let part = f64::from(random) / f64::from(u32::MAX);
        whole.mul_f64(0.5 + part / 2.0)
    }
}

/// A random number for pauses; worth nothing as a secret.
pub(crate) fn random() -> u32 {
    use std::io::Read as _;
    let mut bytes = [0; 4];
    // Without randomness the pauses are just not spread.
    let _ = std::fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    u32::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Again, Final, Good};
    use super::{Pauses, verdict};
    use crate::http::{Answer, Error};
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn what_is_worth_another_try() {
        let limited: &[(&str, &str)] = &[("x-ratelimit-remaining", "0")];
        let later: &[(&str, &str)] = &[("retry-after", "7")];
        let seven = Some(Duration::from_secs(7));
        let table: [(u16, &[(&str, &str)], _); 18] = [
            (200, &[], Good),
            (201, &[], Good),
            (204, later, Good),
            (301, &[], Final),
            (400, &[], Final),
            (401, &[], Final),
            (403, &[], Final),
            (403, limited, Again(None)),
            (403, later, Again(seven)),
            (404, &[], Final),
            (404, later, Final),
            (409, &[], Final),
            (422, &[], Final),
            (429, &[], Again(None)),
            (429, later, Again(seven)),
            (429, &[("retry-after", "999999999")], Again(Some(Duration::from_secs(900)))),
            (500, &[("retry-after", "soon")], Again(None)),
            (503, later, Again(seven)),
        ];
        for (status, headers, expected) in table {
            assert_eq!(verdict(&Ok(Answer::of(status, headers, ""))), expected, "{status} {headers:?}");
        }
        let errors = [
            (Error::Unreachable(String::new()), Again(None)),
            (Error::TimedOut, Again(None)),
            (Error::Tls(String::new()), Again(None)),
            (Error::Stopped, Final),
            (Error::TooLarge, Final),
            (Error::NotAsked(String::new()), Final),
        ];
        for (error, expected) in errors {
            assert_eq!(verdict(&Err(error.clone())), expected, "{error:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_spread() {
        let pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
        let table = [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (100, 60), (u32::MAX, 60)];
        for (failures, whole) in table {
            let whole = Duration::from_secs(whole);
            assert_eq!(pauses.after(failures, u32::MAX), whole, "{failures}");
            assert_eq!(pauses.after(failures, 0), whole / 2, "{failures}");
        }
    }

    proptest! {
        #[test]
        fn no_server_asks_for_too_long_a_pause(status: u16, asked in "\\PC{0,8}|[0-9]{0,30}") {
            let answer = crate::http::Answer::of(status, &[("retry-after", &asked)], "");
            if let Again(Some(pause)) = verdict(&Ok(answer)) {
                prop_assert!(pause.as_secs() <= super::LONGEST_ASKED);
            }
        }
    }
}
