//! Events as bars on a terminal: one line for each thing that is being done, with what it is doing now.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::event::{Event, Outcome, Sink};

/// Events as bars.
pub(super) struct Bars {
    all: MultiProgress,
    bars: Mutex<HashMap<String, ProgressBar>>,
    color: bool,
}

impl Bars {
    pub(super) fn new(color: bool) -> Self {
        Self { all: MultiProgress::new(), bars: Mutex::new(HashMap::new()), color }
    }

    fn bar(&self, key: &str, template: &str, prefix: &str) -> ProgressBar {
        let Ok(mut bars) = self.bars.lock() else { return ProgressBar::hidden() };
        let new = || {
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner());
            let bar = self.all.add(ProgressBar::no_length().with_style(style).with_prefix(prefix.to_owned()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        };
        bars.entry(key.to_owned()).or_insert_with(new).clone()
    }

    fn mark(&self, outcome: Outcome) -> String {
        match outcome {
            Outcome::Done | Outcome::UpToDate => self.paint(GREEN, "✓"),
            Outcome::Failed => self.paint(RED, "✗"),
            Outcome::Skipped | Outcome::Cancelled => self.paint(YELLOW, "-"),
        }
    }

    /// The text in a colour (ECMA-48, select graphic rendition), where colours are wanted.
    fn paint(&self, color: u8, text: &str) -> String {
        if self.color { format!("\u{1b}[{color}m{text}\u{1b}[0m") } else { text.to_owned() }
    }

    fn end(&self, key: &str, line: Option<&str>) {
        let bar = self.bars.lock().ok().and_then(|mut bars| bars.remove(key));
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        if let Some(line) = line {
            self.say(line);
        }
    }

    fn say(&self, line: &str) {
        if self.all.println(line).is_err() {
            super::print_line(line);
        }
    }
}

const STEP: &str = "{spinner:.cyan} {prefix:.bold} {elapsed:.dim} {wide_msg}";
const TRANSFER: &str = "{spinner:.cyan} {prefix} {bar:24.cyan/dim} {bytes}/{total_bytes} {bytes_per_sec:.dim}";

impl Sink for Bars {
    fn emit(&self, event: Event) {
        match event {
            Event::StepStarted { step, title } => self.bar(&step, STEP, &step).set_message(title),
            Event::StepProgress { step, current, done, total } => {
                let count = if total > 0 { format!("{done}/{total} ") } else { String::new() };
                self.bar(&step, STEP, &step).set_message(format!("{count}{}", one_line(&current)));
            }
            Event::StepLog { .. } | Event::Instruction { .. } => {}
            Event::StepFinished { step, outcome, seconds, detail } => {
                let line = format!("{} {step} {}", self.mark(outcome), describe(outcome, seconds, &detail));
                self.end(&step, (outcome != Outcome::UpToDate).then_some(line.as_str()));
            }
            Event::Transfer { id, what, bytes, total } => {
                let bar = self.bar(&id, TRANSFER, &what);
                if let Some(total) = total {
                    bar.set_length(total);
                }
                bar.set_position(bytes);
                if total == Some(bytes) {
                    self.end(&id, None);
                }
            }
            Event::Request { .. } => super::request_lines(&event).iter().for_each(|line| self.say(line)),
            Event::Note { text } => self.say(&text),
            Event::Warning { text } => self.say(&format!("{} {text}", self.paint(YELLOW, "warning:"))),
        }
    }
}

const RED: u8 = 31;
const GREEN: u8 = 32;
const YELLOW: u8 = 33;

/// A Dockerfile's instruction on one line that can be read: white space folded, its end cut off. The log has it whole.
pub(super) fn one_line(text: &str) -> String {
    const WIDTH: usize = 120;
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match folded.char_indices().nth(WIDTH) {
        Some((end, _)) => format!("{}…", &folded[..end]),
        None => folded,
    }
}

/// How a step ended, in words.
pub(super) fn describe(outcome: Outcome, time: Duration, detail: &str) -> String {
    let seconds = time.as_secs_f64();
    let text = match outcome {
        Outcome::Done => format!("done in {seconds:.1} s"),
        Outcome::UpToDate => "up to date".to_owned(),
        Outcome::Failed => format!("failed after {seconds:.1} s"),
        Outcome::Skipped => "skipped".to_owned(),
        Outcome::Cancelled => "cancelled".to_owned(),
    };
    if detail.is_empty() { text } else { format!("{text}: {detail}") }
}
