//! What happens while a command works, as values. Whoever does something emits events into a [`Sink`]; `output` turns
//! them into bars, plain lines or JSON. Nothing else prints.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How a step of a plan ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was carried out.
    Done,
    /// What it makes is already there.
    UpToDate,
    /// It failed.
    Failed,
    /// Not started, because something it needs failed.
    Skipped,
    /// Cancelled by the user.
    Cancelled,
}

/// Where an instruction of a build is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstructionState {
    /// It runs.
    Started,
    /// It ran to its end.
    Done,
    /// The engine had its result.
    Cached,
    /// It failed.
    Failed,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A step of the plan begins. `step` is its id, `title` what a person reads.
    StepStarted {
        /// The step's id.
        step: String,
        /// What a person reads.
        title: String,
    },
    /// What the step is doing now, for example `[stage 3/7] RUN apt-get install …`.
    StepProgress {
        /// The step's id.
        step: String,
        /// What is being done.
        current: String,
        /// Parts that are done.
        done: u64,
        /// Parts in all, as far as known.
        total: u64,
    },
    /// A line that the step's work printed (a build's output).
    StepLog {
        /// The step's id.
        step: String,
        /// The line, without its end.
        line: String,
    },
    /// An instruction of a step's build begins or ends.
    Instruction {
        /// The step's id.
        step: String,
        /// `[stage-1 2/5] RUN apt-get install …`
        name: String,
        /// Where it is.
        state: InstructionState,
    },
    /// A step ended.
    StepFinished {
        /// The step's id.
        step: String,
        /// How it ended.
        outcome: Outcome,
        /// How long it took.
        #[serde(serialize_with = "as_seconds")]
        seconds: Duration,
        /// A few words: the error, or parts that came from the cache.
        detail: String,
    },
    /// Bytes of a download, an export or an upload. Sent again and again with the same `id`; the last one has
    /// `bytes == total`.
    Transfer {
        /// Which transfer.
        id: String,
        /// What is transferred, for a person.
        what: String,
        /// Bytes so far.
        bytes: u64,
        /// Bytes in all, where known.
        total: Option<u64>,
    },
    /// A request to a registry or its token server, told with `-v`.
    Request {
        /// `PUT`
        method: String,
        /// Whom it went to.
        host: String,
        /// What it was for, without what opens a door: no query, no session of an upload.
        path: String,
        /// The answer; none: there was none.
        status: Option<u16>,
        /// From 1.
        attempt: u32,
        /// Until the head of the answer.
        milliseconds: u64,
        /// With `-vv` those that hold no secret: `> content-length: 7` was sent, `< …` came.
        headers: Vec<String>,
    },
    /// Something a person should know.
    Note {
        /// The text.
        text: String,
    },
    /// Something a person should look at.
    Warning {
        /// The text.
        text: String,
    },
}

fn as_seconds<S: serde::Serializer>(value: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64((value.as_secs_f64() * 1000.0).round() / 1000.0)
}

/// Where events go. Called from several tasks at once; must not block for long.
pub trait Sink: Send + Sync {
    /// Takes one event.
    fn emit(&self, event: Event);
}

/// A sink that can be handed around.
pub type Events = Arc<dyn Sink>;

/// Drops every event.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Sink for Silent {
    fn emit(&self, _: Event) {}
}

/// Keeps every event, for tests.
#[derive(Debug, Default)]
pub struct Recorder(std::sync::Mutex<Vec<Event>>);

impl Recorder {
    /// What was emitted so far.
    pub fn events(&self) -> Vec<Event> {
        self.0.lock().map(|events| events.clone()).unwrap_or_default()
    }
}

impl Sink for Recorder {
    fn emit(&self, event: Event) {
        if let Ok(mut events) = self.0.lock() {
            events.push(event);
        }
    }
}
