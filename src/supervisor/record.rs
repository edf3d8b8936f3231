//! What is known of a service beside its phase: its last lines, what it is doing, what went wrong last.

use super::service::Seen;
use std::collections::VecDeque;
use std::time::Duration;

/// How much of its output is kept of each service, in bytes.
const MOST_KEPT: usize = 64 * 1024;

/// The last lines, each with a number of its own.
#[derive(Debug, Default)]
pub(super) struct Kept {
    lines: VecDeque<String>,
    bytes: usize,
    /// The number of the oldest line.
    first: u64,
}

/// What there is at a number.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum At<'a> {
    Line(&'a str),
    /// Nothing yet.
    Nothing,
    /// It is not kept any more.
    Gone,
}

impl Kept {
    pub(super) fn push(&mut self, line: String) {
        self.bytes += line.len() + 1;
        self.lines.push_back(line);
        while self.bytes > MOST_KEPT
            && let Some(oldest) = self.lines.pop_front()
        {
            self.bytes -= oldest.len() + 1;
            self.first += 1;
        }
    }

    pub(super) fn first(&self) -> u64 {
        self.first
    }

    /// The number of the line that comes next.
    pub(super) fn next(&self) -> u64 {
        self.first + self.lines.len() as u64
    }

    pub(super) fn at(&self, number: u64) -> At<'_> {
        match number.checked_sub(self.first) {
            None => At::Gone,
            Some(offset) => {
                usize::try_from(offset).ok().and_then(|offset| self.lines.get(offset)).map_or(At::Nothing, |line| At::Line(line))
            }
        }
    }
}

/// What is known of a service.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) kept: Kept,
    pub(super) doing: Option<String>,
    /// What a person has to see, until the service says something newer.
    pub(super) prominent: Option<String>,
    /// The last error, and when that was.
    error: Option<(Duration, String)>,
    /// Whether this run has told its error itself.
    told: bool,
}

/// Who found an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Finder {
    /// The service itself, which knows best.
    Service,
    /// The supervisor, from how it ended.
    Supervisor,
    /// Nobody: it follows from others.
    Consequence,
}

impl Record {
    /// It starts anew.
    pub(super) fn begin(&mut self) {
        (self.doing, self.prominent, self.told) = (None, None, false);
    }

    /// It is over: what it was doing is nothing that it does now.
    pub(super) fn over(&mut self) {
        (self.doing, self.prominent) = (None, None);
    }

    /// Something is wrong. The error that is kept is the one that says most.
    pub(super) fn fail(&mut self, now: Duration, finder: Finder, message: &str) {
        let better = match finder {
            Finder::Service => true,
            Finder::Supervisor => !self.told,
            Finder::Consequence => self.error.is_none(),
        };
        if better {
            self.error = Some((now, message.to_owned()));
        }
        self.told |= finder == Finder::Service;
    }

    /// The last error, and when that was.
    pub(super) fn error(&self) -> Option<(Duration, &str)> {
        self.error.as_ref().map(|(at, message)| (*at, message.as_str()))
    }

    /// Notes what was seen.
    pub(super) fn note(&mut self, seen: &Seen) {
        match seen {
            Seen::Ready | Seen::Hidden => {}
            Seen::Doing(what) => (self.doing, self.prominent) = (Some(what.clone()), None),
            Seen::Prominent(what) => self.prominent = Some(what.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{At, Finder, Kept, MOST_KEPT, Record};
    use crate::supervisor::service::Seen;
    use std::time::Duration;

    #[test]
    fn the_last_lines_are_kept_under_their_numbers() {
        let mut kept = Kept::default();
        assert_eq!((kept.first(), kept.next(), kept.at(0)), (0, 0, At::Nothing));
        for number in 0..100_000 {
            kept.push(format!("line {number:05}"));
        }
        assert!(kept.bytes <= MOST_KEPT && kept.bytes > MOST_KEPT - 20);
        assert_eq!(kept.at(99_999), At::Line("line 99999"));
        assert_eq!(kept.at(kept.first()), At::Line(&format!("line {:05}", kept.first())));
        assert_eq!((kept.at(kept.first() - 1), kept.at(100_000)), (At::Gone, At::Nothing));
    }

    #[test]
    fn the_error_that_is_kept_says_why() {
        let mut record = Record::default();
        let mut fail = |finder, message: &str| {
            record.fail(Duration::ZERO, finder, message);
            record.error().map(|(_, message)| message.to_owned())
        };
        assert_eq!(fail(Finder::Service, "no such repository").as_deref(), Some("no such repository"));
        assert_eq!(fail(Finder::Supervisor, "ended: exit code 1").as_deref(), Some("no such repository"));
        assert_eq!(fail(Finder::Consequence, "given up on").as_deref(), Some("no such repository"));
        record.begin();
        record.fail(Duration::ZERO, Finder::Supervisor, "ended: signal 9");
        assert_eq!(record.error(), Some((Duration::ZERO, "ended: signal 9")), "another run, which did not say anything");
    }

    #[test]
    fn what_is_prominent_stays_until_something_newer() {
        let mut record = Record::default();
        record.note(&Seen::Doing("waits".into()));
        record.note(&Seen::Prominent("code 1".into()));
        record.note(&Seen::Prominent("code 2".into()));
        assert_eq!((record.doing.as_deref(), record.prominent.as_deref()), (Some("waits"), Some("code 2")));
        record.note(&Seen::Ready);
        assert_eq!(record.prominent.as_deref(), Some("code 2"), "it serves so that somebody can act on it");
        record.note(&Seen::Doing("connects".into()));
        assert_eq!((record.doing.as_deref(), record.prominent), (Some("connects"), None));
    }
}
