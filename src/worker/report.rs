//! What a worker tells PID 1, a line each, over a pipe that only the two of them have.

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::FromRawFd as _;

/// The variable that holds the pipe's number.
pub(crate) const VARIABLE: &str = "GANTRY_REPORT";

/// Levels of log lines.
pub(crate) const LEVELS: [&str; 3] = ["info", "warning", "error"];

/// A line of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// An event for the log.
    Event { level: &'static str, message: String },
    /// The service serves.
    Ready,
    /// What the service is doing, for `status`: `waits for jobs`, `runs a job`.
    Doing(String),
}

impl Told {
    /// Reads a line back; none when it is none of a worker.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "ready" => Some(Self::Ready),
            "doing" => Some(Self::Doing(rest.to_owned())),
            _ => {
                let level = LEVELS.into_iter().find(|level| *level == word)?;
                Some(Self::Event { level, message: rest.to_owned() })
            }
        }
    }

    /// The line, with its newline.
    fn render(&self) -> String {
        let one_line = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
        match self {
            Self::Ready => "ready\n".to_owned(),
            Self::Doing(what) => format!("doing {}\n", one_line(what)),
            Self::Event { level, message } => format!("{level} {}\n", one_line(message)),
        }
    }
}

/// The worker's end of the pipe; where there is none (somebody tries a worker by hand), standard error.
#[derive(Debug)]
pub(crate) struct Report {
    pipe: Option<File>,
}

impl Report {
    /// The pipe that the environment names. To be called once.
    pub(super) fn open() -> Self {
        let number = std::env::var(VARIABLE).ok().and_then(|number| number.parse::<i32>().ok()).filter(|number| *number > 2);
        // SAFETY: the entrypoint opened it for this process alone, and nothing else in here owns it.
        let pipe = number.map(|number| unsafe { File::from_raw_fd(number) });
        if let Some(pipe) = &pipe {
            // What this worker starts has no part in it, whatever the kernel can do about descriptors at an exec. It
            // is open: nothing is refused.
            let _ = fcntl(pipe, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
        }
        Self { pipe }
    }

    /// Tells PID 1.
    pub(crate) fn tell(&self, told: &Told) {
        let line = told.render();
        // PID 1 is gone, or will be: nobody is left to be told.
        let _ = match &self.pipe {
            Some(pipe) => (&*pipe).write_all(line.as_bytes()),
            None => std::io::stderr().write_all(line.as_bytes()),
        };
    }

    pub(crate) fn info(&self, message: impl Into<String>) {
        self.tell(&Told::Event { level: "info", message: message.into() });
    }

    pub(crate) fn warning(&self, message: impl Into<String>) {
        self.tell(&Told::Event { level: "warning", message: message.into() });
    }

    pub(crate) fn error(&self, message: impl Into<String>) {
        self.tell(&Told::Event { level: "error", message: message.into() });
    }

    pub(crate) fn ready(&self) {
        self.tell(&Told::Ready);
    }

    pub(crate) fn doing(&self, what: impl Into<String>) {
        self.tell(&Told::Doing(what.into()));
    }
}

#[cfg(test)]
mod tests {
    use super::Told;
    use proptest::prelude::*;

    #[test]
    fn what_is_told_is_understood() {
        let table = [
            (Told::Ready, "ready\n"),
            (Told::Doing("runs a job".into()), "doing runs a job\n"),
            (Told::Event { level: "error", message: "a b".into() }, "error a b\n"),
        ];
        for (told, line) in table {
            assert_eq!(told.render(), line);
            assert_eq!(Told::parse(line.trim_end()), Some(told));
        }
        assert_eq!(Told::Doing("a\nready".into()).render(), "doing a ready\n");
        assert_eq!(Told::parse("nonsense"), None);
    }

    proptest! {
        #[test]
        fn whatever_is_told_is_one_line_and_comes_back(text: String, level in prop::sample::select(&super::LEVELS)) {
            let clean: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            let told = [Told::Doing(text.clone()), Told::Event { level, message: text }];
            let back = [Told::Doing(clean.clone()), Told::Event { level, message: clean }];
            for (told, back) in told.into_iter().zip(back) {
                let line = told.render();
                prop_assert_eq!((line.matches('\n').count(), line.ends_with('\n')), (1, true));
                prop_assert_eq!(Told::parse(line.trim_end_matches('\n')), Some(back));
            }
        }

        #[test]
        fn nonsense_is_nothing(line: String) {
            let _ = Told::parse(&line);
        }
    }
}
