//! What a build did and when, kept for `report`: a small file of the newest run, and of the newest that carried something out.
//!
//! It is written anew whenever a step begins or ends, so that a run that is interrupted or killed leaves what is known of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::event::{Event, Events, InstructionState, Outcome, Sink};

/// The version of the file's shape.
const SCHEMA: u32 = 1;
/// Steps of a run that are kept.
const STEPS: usize = 500;
/// Instructions of a run that are kept.
const INSTRUCTIONS: usize = 3000;
/// Characters of a name or detail that are kept.
const TEXT: usize = 300;

/// What of builds is remembered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Runs {
    schema: u32,
    /// The newest.
    pub newest: Option<Run>,
    /// The newest that carried a step out, where that is an earlier one.
    pub working: Option<Run>,
}

/// One run of `build`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Run {
    /// When it began (RFC 3339, UTC).
    pub began: String,
    /// The variants that it was asked for.
    pub variants: Vec<String>,
    /// How many images were built at the same time, at most.
    pub jobs: usize,
    /// Whether the engine's cache was ignored.
    pub no_cache: bool,
    /// How long it took, in seconds; until it was last heard of, where it has no outcome.
    pub seconds: f64,
    /// How it ended; none: it runs, or was killed.
    pub outcome: Option<Outcome>,
    /// In the order in which they began; those that did not begin follow.
    pub steps: Vec<StepRun>,
    /// Steps and instructions that were too many to be kept.
    pub left_out: usize,
}

/// A step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct StepRun {
    /// Its id: `aws finished`.
    pub step: String,
    /// What it was said to do.
    pub title: String,
    /// When it began, in seconds since the run began; none: it did not.
    pub begin: Option<f64>,
    /// When it ended.
    pub end: Option<f64>,
    /// How it ended; none: it was not heard of.
    pub outcome: Option<Outcome>,
    /// A few words on it: the error, what came from the cache.
    pub detail: String,
    /// Of a build, in the order in which they began.
    pub instructions: Vec<InstructionRun>,
}

/// An instruction of a build.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct InstructionRun {
    /// `[stage-1 2/5] RUN apt-get install …`
    pub name: String,
    /// When it began, in seconds since the run began.
    pub begin: f64,
    /// When it ended.
    pub end: Option<f64>,
    /// Where it is.
    pub state: InstructionState,
}

impl Runs {
    /// What the file says; nothing where there is none, or where it is of another shape.
    pub fn read(path: &Path) -> Self {
        let read = fs::read(path).ok().and_then(|bytes| serde_json::from_slice::<Self>(&bytes).ok());
        read.filter(|runs| runs.schema == SCHEMA).unwrap_or_default()
    }

    /// The file of a family and profile, in the folder of builds.
    pub fn file(folder: &Path, family: &str, profile: &str) -> PathBuf {
        folder.join(format!("{family}.{profile}.json"))
    }

    /// The run that carried something out last.
    pub fn worked(&self) -> Option<&Run> {
        self.newest.iter().chain(&self.working).find(|run| run.worked())
    }

    /// The same when a new run begins.
    fn before(self) -> Self {
        let working = self.worked().cloned();
        Self { schema: SCHEMA, newest: None, working }
    }
}

impl Run {
    /// Whether a step was carried out, or tried.
    pub fn worked(&self) -> bool {
        self.steps.iter().any(|step| step.begin.is_some())
    }

    /// Takes an event in, so many seconds after the beginning; whether it is worth writing down at once.
    fn take(&mut self, now: f64, event: &Event) -> bool {
        self.seconds = now;
        match event {
            Event::StepStarted { step, title } => {
                if let Some(step) = self.step(step) {
                    step.title = short(title);
                    step.begin = Some(now);
                }
                true
            }
            Event::StepFinished { step, outcome, detail, .. } => {
                if let Some(step) = self.step(step) {
                    step.end = step.begin.map(|_| now);
                    step.outcome = Some(*outcome);
                    step.detail = short(detail);
                }
                true
            }
            Event::Instruction { step, name, state } => {
                self.instruction(now, step, name, *state);
                false
            }
            _ => false,
        }
    }

    /// The step of that name; none: there are too many.
    fn step(&mut self, id: &str) -> Option<&mut StepRun> {
        let at = match self.steps.iter().position(|step| step.step == id) {
            Some(at) => at,
            None if self.steps.len() >= STEPS => {
                self.left_out += 1;
                return None;
            }
            None => {
                self.steps.push(StepRun {
                    step: id.to_owned(),
                    title: String::new(),
                    begin: None,
                    end: None,
                    outcome: None,
                    detail: String::new(),
                    instructions: Vec::new(),
                });
                self.steps.len() - 1
            }
        };
        self.steps.get_mut(at)
    }

    fn instruction(&mut self, now: f64, step: &str, name: &str, state: InstructionState) {
        let kept: usize = self.steps.iter().map(|step| step.instructions.len()).sum();
        let name = short(name);
        let Some(step) = self.step(step) else { return };
        let end = (state != InstructionState::Started).then_some(now);
        match step.instructions.iter_mut().rev().find(|known| known.name == name) {
            Some(known) => (known.end, known.state) = (end, state),
            None if kept < INSTRUCTIONS => step.instructions.push(InstructionRun { name, begin: now, end, state }),
            None => self.left_out += 1,
        }
    }
}

/// A text without what is too much of it.
fn short(text: &str) -> String {
    let mut characters = text.chars();
    let mut short: String = characters.by_ref().take(TEXT).collect();
    if characters.next().is_some() {
        short.push('…');
    }
    short
}

/// Writes a run down and hands every event on.
pub struct Recorder {
    path: PathBuf,
    start: Instant,
    runs: Mutex<Runs>,
    next: Events,
}

impl Recorder {
    /// Begins `run`; what `path` says of earlier ones stays as far as it is worth it.
    pub fn begin(path: PathBuf, run: Run, next: Events) -> Arc<Self> {
        let runs = Runs { newest: Some(run), ..Runs::read(&path).before() };
        Arc::new(Self { path, start: Instant::now(), runs: Mutex::new(runs), next })
    }

    /// The run has ended.
    pub fn end(&self, outcome: Outcome) {
        let now = self.now();
        if let Ok(mut runs) = self.runs.lock() {
            if let Some(run) = &mut runs.newest {
                (run.seconds, run.outcome) = (now, Some(outcome));
            }
            self.write(&runs);
        }
    }

    /// Seconds since the beginning, to the millisecond.
    fn now(&self) -> f64 {
        (self.start.elapsed().as_secs_f64() * 1000.0).round() / 1000.0
    }

    /// Beside its place, then renamed: nobody reads half of it. (The family's lock lets one run write.) That it cannot be
    /// written ends no build.
    fn write(&self, runs: &Runs) {
        let Ok(text) = serde_json::to_vec(runs) else { return };
        let beside = self.path.with_extension("partial");
        let _ = fs::write(&beside, text).and_then(|()| fs::rename(&beside, &self.path));
    }
}

impl Sink for Recorder {
    fn emit(&self, event: Event) {
        let now = self.now();
        if let Ok(mut runs) = self.runs.lock() {
            let is_news = runs.newest.as_mut().is_some_and(|run| run.take(now, &event));
            if is_news {
                self.write(&runs);
            }
        }
        self.next.emit(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Silent;
    use std::time::Duration;

    fn started(step: &str) -> Event {
        Event::StepStarted { step: step.to_owned(), title: "images/aws".to_owned() }
    }

    fn finished(step: &str, outcome: Outcome) -> Event {
        Event::StepFinished { step: step.to_owned(), outcome, seconds: Duration::ZERO, detail: "x".repeat(9999) }
    }

    fn instruction(step: &str, name: &str, state: InstructionState) -> Event {
        Event::Instruction { step: step.to_owned(), name: name.to_owned(), state }
    }

    #[test]
    fn a_run_is_what_began_and_ended_and_when() {
        let mut run = Run::default();
        for (now, event) in [
            (1.0, started("base")),
            (1.5, instruction("base", "[1/2] FROM", InstructionState::Cached)),
            (2.0, instruction("base", "[2/2] RUN", InstructionState::Started)),
            (3.0, started("artifact runner")),
            (4.0, instruction("base", "[2/2] RUN", InstructionState::Done)),
            (5.0, finished("base", Outcome::Done)),
            (6.0, finished("aws", Outcome::Skipped)),
        ] {
            run.take(now, &event);
        }
        let told = run.steps.iter().map(|step| (step.step.as_str(), step.begin, step.end, step.outcome));
        assert_eq!(
            told.collect::<Vec<_>>(),
            [
                ("base", Some(1.0), Some(5.0), Some(Outcome::Done)),
                ("artifact runner", Some(3.0), None, None),
                ("aws", None, None, Some(Outcome::Skipped)),
            ]
        );
        let instructions = run.steps[0].instructions.iter().map(|one| (one.name.as_str(), one.begin, one.end, one.state));
        assert_eq!(
            instructions.collect::<Vec<_>>(),
            [("[1/2] FROM", 1.5, Some(1.5), InstructionState::Cached), ("[2/2] RUN", 2.0, Some(4.0), InstructionState::Done)]
        );
        assert!(run.steps[0].detail.chars().count() <= TEXT + 1);
        assert_eq!((run.seconds, run.left_out), (6.0, 0));
    }

    #[test]
    fn a_run_has_bounds() {
        let mut run = Run::default();
        for at in 0..2 * INSTRUCTIONS {
            run.take(0.0, &instruction("base", &format!("{at} {}", "é".repeat(2 * TEXT)), InstructionState::Started));
        }
        for at in 0..2 * STEPS {
            run.take(0.0, &started(&at.to_string()));
        }
        assert_eq!((run.steps.len(), run.steps[0].instructions.len()), (STEPS, INSTRUCTIONS));
        assert_eq!(run.left_out, INSTRUCTIONS + STEPS + 1);
    }

    #[test]
    fn what_is_known_is_on_the_disk_and_a_run_that_did_nothing_hides_no_other() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = Runs::file(folder.path(), "epic", "default");
        let begin =
            |began: &str| Recorder::begin(path.clone(), Run { began: began.to_owned(), ..Run::default() }, Arc::new(Silent));
        let told = || {
            let runs = Runs::read(&path);
            let name = |run: Option<&Run>| run.map(|run| run.began.clone()).unwrap_or_default();
            (name(runs.newest.as_ref()), name(runs.worked()))
        };
        assert_eq!(told(), (String::new(), String::new()));
        let first = begin("1");
        first.emit(started("base"));
        assert_eq!(told(), ("1".to_owned(), "1".to_owned()), "it is killed here");
        for second in ["2", "3"] {
            let recorder = begin(second);
            recorder.emit(finished("aws finished", Outcome::UpToDate));
            recorder.end(Outcome::Done);
            assert_eq!(told(), (second.to_owned(), "1".to_owned()));
        }
        let runs = Runs::read(&path);
        assert_eq!(runs.newest.and_then(|run| run.outcome), Some(Outcome::Done));
        assert_eq!(runs.working.and_then(|run| run.outcome), None, "nobody knows how it ended");
        begin("4").emit(started("base"));
        assert_eq!(told(), ("4".to_owned(), "4".to_owned()));
        fs::write(&path, "{\"schema\":1,").expect("torn");
        assert_eq!(told(), (String::new(), String::new()));
    }
}
