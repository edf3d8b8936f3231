//! Events as plain lines, for logs and pipes: the time since the start, the step, what happens.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Instant;

use super::progress::describe;
use crate::byte_size::size;
use crate::event::{Event, Outcome, Sink};

/// Events as plain lines.
pub(super) struct Lines {
    start: Instant,
    /// What was last said of a step or a transfer, so that nothing is said twice.
    last: Mutex<HashMap<String, String>>,
}

impl Lines {
    /// Times are counted from `start`, the command's own.
    pub(super) fn since(start: Instant) -> Self {
        Self { start, last: Mutex::new(HashMap::new()) }
    }

    fn print(&self, who: &str, what: &str) {
        let time = format!("[{:>6.1}s]", self.start.elapsed().as_secs_f64());
        super::print_line(&if who.is_empty() { format!("{time} {what}") } else { format!("{time} {who}: {what}") });
    }

    /// Whether this differs from what was last said under this key.
    fn is_news(&self, key: &str, what: &str) -> bool {
        let Ok(mut last) = self.last.lock() else { return true };
        last.insert(key.to_owned(), what.to_owned()).as_deref() != Some(what)
    }
}

impl Sink for Lines {
    fn emit(&self, event: Event) {
        match event {
            Event::StepStarted { step, title } => self.print(&step, &title),
            Event::StepProgress { step, current, .. } => {
                let current = super::progress::one_line(&current);
                if !current.is_empty() && self.is_news(&step, &current) {
                    self.print(&step, &current);
                }
            }
            Event::StepLog { .. } | Event::Instruction { .. } => {}
            Event::StepFinished { step, outcome, seconds, detail } => {
                // What was there already is told once, in the summary.
                if outcome != Outcome::UpToDate {
                    self.print(&step, &describe(outcome, seconds, &detail));
                }
            }
            Event::Transfer { id, what, bytes, total } => {
                // A line at every tenth of it.
                let tenths = total.filter(|total| *total > 0).map_or(0, |total| bytes * 10 / total);
                if self.is_news(&id, &tenths.to_string()) {
                    let of = total.map(|total| format!(" of {}", size(total))).unwrap_or_default();
                    self.print("", &format!("{what}: {}{of}", size(bytes)));
                }
            }
            Event::Request { .. } => {
                for line in super::request_lines(&event) {
                    self.print("", &line);
                }
            }
            Event::Note { text } => self.print("", &text),
            Event::Warning { text } => self.print("", &format!("warning: {text}")),
        }
    }
}
