//! What people and programs read: the only module that writes to stdout and stderr. stdout is for data, stderr for
//! people.

mod build_log;
pub mod bump;
pub mod diagnostics;
pub mod diff;
mod failure;
mod json;
mod lines;
mod plan;
mod progress;

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;
use std::time::Instant;

use crate::cli::Format;
use crate::event::{Event, Events};

pub use build_log::BuildLog;
pub use failure::print_failure;
pub use plan::{dot, dry_run, mermaid, tree};

/// Where a command prints, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Console {
    format: Format,
    terminal: bool,
    color: bool,
    start: Instant,
    /// How often `-v` was given.
    verbose: u8,
}

impl Console {
    /// `ci` is `CI=true`: no bars, whatever stderr is. `NO_COLOR` is honoured.
    pub fn new(format: Format, ci: bool, no_color: bool) -> Self {
        let terminal = std::io::stderr().is_terminal() && !ci;
        Self { format, terminal, color: terminal && !no_color, start: Instant::now(), verbose: 0 }
    }

    /// The same, with so many `-v`: from the first on, requests are told as lines.
    #[must_use]
    pub fn verbose(self, verbose: u8) -> Self {
        Self { verbose, ..self }
    }

    /// How often `-v` was given.
    pub fn verbosity(self) -> u8 {
        self.verbose
    }

    /// The format that was asked for.
    pub fn format(self) -> Format {
        self.format
    }

    /// Whether text on stderr may be coloured.
    pub fn color(self) -> bool {
        self.color
    }

    /// Whether somebody sits at stdin and may be asked.
    pub fn can_ask(self) -> bool {
        self.terminal && std::io::stdin().is_terminal()
    }

    /// The sink for events: bars on a terminal, plain lines elsewhere, JSON when asked.
    pub fn events(self) -> Events {
        match (self.format, self.terminal) {
            (Format::Json, _) => Arc::new(json::JsonLines),
            (_, true) if self.verbose == 0 => Arc::new(progress::Bars::new(self.color)),
            _ => Arc::new(lines::Lines::since(self.start)),
        }
    }

    /// Prints a result on stdout: `value` as JSON when JSON was asked for, else `text`.
    pub fn result(self, value: &impl serde::Serialize, text: &str) {
        match self.format {
            Format::Json => self.data(&serde_json::to_string_pretty(value).unwrap_or_default()),
            _ => self.data(text),
        }
    }

    /// Prints data on stdout, with a line's end if it lacks one.
    pub fn data(self, text: &str) {
        let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
        // A closed pipe (`| head`) is no failure of ours.
        write!(std::io::stdout().lock(), "{text}{end}").ok();
    }

    /// Says something to the person at the terminal.
    pub fn say(self, text: &str) {
        if self.format != Format::Json {
            print_line(text);
        }
    }

    /// Asks a question that is answered with yes or no; no unless answered.
    pub fn confirm(self, question: &str) -> bool {
        let mut stderr = std::io::stderr().lock();
        write!(stderr, "{question} [y/N] ").ok();
        stderr.flush().ok();
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).is_ok() && matches!(answer.trim(), "y" | "Y" | "yes" | "Yes")
    }
}

/// A request for people: `PUT ghcr.io/v2/team/image/manifests/aws 201 in 84 ms`, then headers.
fn request_lines(event: &Event) -> Vec<String> {
    let Event::Request { method, host, path, status, attempt, milliseconds, headers } = event else { return Vec::new() };
    let status = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    let again = if *attempt > 1 { format!(" (attempt {attempt})") } else { String::new() };
    let line = format!("{method} {host}{path} {status} in {milliseconds} ms{again}");
    std::iter::once(line).chain(headers.iter().map(|header| format!("  {header}"))).collect()
}

/// One line on stderr.
fn print_line(text: &str) {
    writeln!(std::io::stderr().lock(), "{text}").ok();
}
