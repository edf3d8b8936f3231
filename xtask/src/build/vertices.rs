//! From BuildKit's vertices to events: what runs now, how much is done, what came from the cache.

use std::collections::{BTreeSet, HashMap};

use crate::engine::{BuildEvent, VertexState};
use crate::event::{Event, Events, InstructionState};

/// Follows one build.
pub(super) struct Vertices {
    step: String,
    names: HashMap<String, String>,
    started: BTreeSet<String>,
    cached: BTreeSet<String>,
    done: BTreeSet<String>,
}

/// Vertices that are BuildKit's own: reading the Dockerfile, exporting the image.
fn is_internal(name: &str) -> bool {
    name.starts_with("[internal]") || !name.starts_with('[')
}

impl Vertices {
    pub(super) fn of(step: String) -> Self {
        Self { step, names: HashMap::new(), started: BTreeSet::new(), cached: BTreeSet::new(), done: BTreeSet::new() }
    }

    pub(super) fn take(&mut self, event: BuildEvent, events: &Events) {
        match event {
            BuildEvent::Vertex { id, name, state } => {
                self.names.insert(id.clone(), name.clone());
                let line = match &state {
                    VertexState::Started => None,
                    VertexState::Done => Some(format!("DONE {name}")),
                    VertexState::Cached => Some(format!("CACHED {name}")),
                    VertexState::Failed(error) => Some(format!("ERROR {name}: {error}")),
                };
                if let Some(line) = line {
                    events.emit(Event::StepLog { step: self.step.clone(), line });
                }
                if is_internal(&name) {
                    return;
                }
                let now = match &state {
                    VertexState::Started => InstructionState::Started,
                    VertexState::Done => InstructionState::Done,
                    VertexState::Cached => InstructionState::Cached,
                    VertexState::Failed(_) => InstructionState::Failed,
                };
                events.emit(Event::Instruction { step: self.step.clone(), name: name.clone(), state: now });
                match state {
                    VertexState::Started => {
                        let is_new = self.started.insert(id);
                        if is_new {
                            self.progress(name, events);
                        }
                    }
                    VertexState::Cached => {
                        self.cached.insert(id.clone());
                        self.done.insert(id);
                    }
                    VertexState::Done | VertexState::Failed(_) => {
                        self.done.insert(id);
                    }
                }
            }
            BuildEvent::Log { id, line } => {
                let name = self.names.get(&id).map_or("", String::as_str);
                let place = name.split_once(']').map_or("", |(place, _)| place.trim_start_matches('['));
                events.emit(Event::StepLog { step: self.step.clone(), line: format!("[{place}] {line}") });
            }
        }
    }

    fn progress(&self, current: String, events: &Events) {
        let total = self.started.union(&self.done).count() as u64;
        let done = self.done.len() as u64;
        events.emit(Event::StepProgress { step: self.step.clone(), current, done, total });
    }

    /// What ran and what came from the cache, in a few words.
    pub(super) fn summary(&self) -> String {
        let ran = self.done.difference(&self.cached).count();
        format!("{ran} instructions run, {} cached", self.cached.len())
    }
}
