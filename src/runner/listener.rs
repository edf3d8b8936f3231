//! What the listener says and how it ends, and what follows from that.

use crate::process::End;
use std::time::Duration;

/// What a line of its output tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    /// It is connected and waits for jobs.
    Listening,
    /// A job begins.
    Job(String),
    /// A job is over.
    Done,
    /// Nothing that matters here.
    Other,
}

/// Reads a line: `2026-11-21 12:00:00Z: Running job: build`. What a job is called can look like any of them, and comes last.
pub(super) fn read(line: &str) -> Line {
    let of_time = |c: char| c.is_ascii_digit() || "-: ".contains(c);
    let Some((_, said)) = line.split_once("Z: ").filter(|(time, _)| time.chars().all(of_time)) else { return Line::Other };
    if said.starts_with("Listening for Jobs") {
        return Line::Listening;
    }
    if let Some(job) = said.strip_prefix("Running job: ") {
        return Line::Job(job.trim().chars().filter(|c| !c.is_control()).take(100).collect());
    }
    if said.starts_with("Job ") && said.contains(" completed with result: ") {
        return Line::Done;
    }
    Line::Other
}

/// What is known when the listener has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Facts {
    /// Whether it was configured for one job.
    pub(super) ephemeral: bool,
    /// Whether `.runner` is still there: it removes that itself when GitHub has forgotten it.
    pub(super) configured: bool,
    /// Whether there is no way to register again but an hour's token: the registration is kept as long as it works.
    pub(super) precious: bool,
    /// Whether it has run a job.
    pub(super) worked: bool,
    /// Runs in a row that ended soon.
    pub(super) row: u32,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Run it again with the same registration, after this pause.
    Run(Duration),
    /// Remove the registration, pause as often as it has failed, and register again.
    Register,
    /// One job is done, as it was meant to be: register for the next at once.
    AnotherJob,
    /// GitHub does not take this version any more: remove the registration and say so; only another image helps.
    TooOld,
}

/// Runs in a row after which the same registration is not tried any more.
const ENOUGH: u32 = 5;

/// What to do when the listener has ended by itself.
pub(super) fn next(end: End, facts: Facts) -> Next {
    let again = |seconds| if facts.row < ENOUGH { Next::Run(Duration::from_secs(seconds)) } else { Next::Register };
    match end {
        End::Code(7) => Next::TooOld,
        End::Code(0) if facts.ephemeral && facts.worked => Next::AnotherJob,
        // The just-in-time configuration is used up by one run.
        _ if facts.ephemeral => Next::Register,
        // It ended for a reason that passes, or wants to begin anew.
        End::Code(2) => again(5),
        End::Code(3 | 4) => again(10),
        End::Code(6) => again(1),
        _ if facts.precious && facts.configured => Next::Run(Duration::from_secs(5 << facts.row.min(6))),
        End::Code(_) | End::Signal(_) => Next::Register,
    }
}

/// Why it ended, as far as its exit code tells.
pub(super) fn reason(end: End, configured: bool) -> &'static str {
    match end {
        End::Code(0) if !configured => "GitHub has removed its registration",
        End::Code(0) => "it ended by itself",
        End::Code(1) => "it cannot run: not configured, removed from GitHub, or its folders cannot be used",
        End::Code(2) => "it asks to be started again",
        End::Code(3 | 4) => "it has updated itself",
        End::Code(5) => "another runner has a session with its registration",
        End::Code(6) => "its configuration was refreshed",
        End::Code(7) => "this version is too old for GitHub",
        End::Code(_) => "it failed",
        End::Signal(_) => "it crashed or was killed",
    }
}

#[cfg(test)]
mod tests {
    use super::{Facts, Line, Next, next, read};
    use crate::process::End::{self, Code, Signal};
    use proptest::prelude::*;
    use std::time::Duration;

    #[test]
    fn lines_of_the_listener() {
        let table = [
            ("2026-11-21 12:00:00Z: Listening for Jobs", Line::Listening),
            ("2026-11-21 12:00:00Z: Running job: build (1, 2)", Line::Job("build (1, 2)".into())),
            ("2026-11-21 12:00:00Z: Job build completed with result: Succeeded", Line::Done),
            // Whoever writes the workflow names its jobs.
            ("2026-11-21 12:00:00Z: Running job: Listening for Jobs", Line::Job("Listening for Jobs".into())),
            ("2026-11-21 12:00:00Z: Job Z: Listening for Jobs completed with result: Failed", Line::Done),
            ("2026-11-21 12:00:00Z: Job x: Running job: y completed with result: Failed", Line::Done),
            (
                "2026-11-21 12:00:00Z: Running job: Job a completed with result: b",
                Line::Job("Job a completed with result: b".into()),
            ),
            ("2026-11-21 12:00:00Z: Running job: : Running job: ", Line::Job(": Running job:".into())),
            ("An error occurred: Z: Listening for Jobs", Line::Other),
            ("Current runner version: '2.337.0'", Line::Other),
            ("", Line::Other),
        ];
        for (line, expected) in table {
            assert_eq!(read(line), expected, "{line}");
        }
    }

    #[test]
    fn every_exit_code_leads_somewhere() {
        let usual = Facts { ephemeral: false, configured: true, precious: false, worked: false, row: 0 };
        let gone = Facts { configured: false, ..usual };
        let tired = Facts { row: 5, ..usual };
        let once = Facts { ephemeral: true, ..usual };
        let worked = Facts { worked: true, ..once };
        let precious = Facts { precious: true, ..usual };
        let run = |seconds| Next::Run(Duration::from_secs(seconds));
        let table: [(End, Facts, Next); 24] = [
            (Code(0), usual, Next::Register),
            (Code(0), gone, Next::Register),
            (Code(0), worked, Next::AnotherJob),
            (Code(0), once, Next::Register),
            (Code(1), usual, Next::Register),
            (Code(1), worked, Next::Register),
            (Code(2), usual, run(5)),
            (Code(2), tired, Next::Register),
            (Code(2), once, Next::Register),
            (Code(3), usual, run(10)),
            (Code(4), usual, run(10)),
            (Code(4), tired, Next::Register),
            (Code(5), usual, Next::Register),
            (Code(6), usual, run(1)),
            (Code(7), usual, Next::TooOld),
            (Code(7), worked, Next::TooOld),
            (Code(42), usual, Next::Register),
            (Signal(9), usual, Next::Register),
            (Signal(11), once, Next::Register),
            (Code(1), precious, run(5)),
            (Signal(9), Facts { row: 3, ..precious }, run(40)),
            (Signal(9), Facts { row: 300, ..precious }, run(320)),
            (Code(0), Facts { precious: true, ..gone }, Next::Register),
            (Code(7), precious, Next::TooOld),
        ];
        for (end, facts, expected) in table {
            assert_eq!(next(end, facts), expected, "{end} {facts:?}");
        }
    }

    proptest! {
        #[test]
        fn no_job_has_a_name_that_is_more_than_one(line in "(2026-11-21 12:00:00Z: Running job: )?(: Running job: |Listening for Jobs| completed with result: |\\PC|\\p{Cc}){0,200}") {
            if let Line::Job(name) = read(&line) {
                prop_assert!(name.chars().count() <= 100 && !name.contains(char::is_control));
            }
        }
    }
}
