//! How long to wait after something has failed, so that whatever loops does no harm.

use crate::http::retry::{Pauses, random};
use std::time::Duration;

/// Up for as long as this, the runner counts as healthy and the row begins anew.
pub(super) const STABLE: Duration = Duration::from_secs(5 * 60);
/// After a refusal that only somebody else can mend: rights, a newer image.
pub(super) const REFUSED: Duration = Duration::from_secs(15 * 60);

const PAUSES: Pauses = Pauses { first: Duration::from_secs(2), longest: Duration::from_secs(5 * 60) };

/// Failures in a row.
#[derive(Debug, Default)]
pub(super) struct Row {
    failures: u32,
}

impl Row {
    /// It has run for `up`.
    pub(super) fn ran(&mut self, up: Duration) {
        if up >= STABLE {
            self.failures = 0;
        }
    }

    /// One more failure: the pause after it, which is at least what the server asked for.
    pub(super) fn failed(&mut self, asked: Option<Duration>) -> Duration {
        self.failures = self.failures.saturating_add(1);
        PAUSES.after(self.failures, random()).max(asked.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::Row;
    use std::time::Duration;

    #[test]
    fn a_row_grows_until_something_held() {
        let mut row = Row::default();
        let seconds = |duration: Duration| duration.as_secs();
        assert!(seconds(row.failed(None)) <= 2);
        for _ in 0..20 {
            row.failed(None);
        }
        assert!((150..=300).contains(&seconds(row.failed(None))));
        row.ran(Duration::from_secs(10));
        assert!(seconds(row.failed(None)) >= 150);
        row.ran(Duration::from_secs(300));
        assert!(seconds(row.failed(None)) <= 2);
        assert_eq!(row.failed(Some(Duration::from_secs(900))), Duration::from_secs(900));
    }
}
