//! A build's full log, in a file: every line that every step printed, whatever the terminal shows.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::progress::describe;
use crate::event::{Event, Events, Sink};

/// Writes every event to a file and hands it on.
pub struct BuildLog {
    path: PathBuf,
    file: Mutex<File>,
    start: Instant,
    next: Events,
}

impl BuildLog {
    /// A new log in `folder`, named after `name`; events go on to `next`.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(folder: &Path, name: &str, next: Events) -> std::io::Result<Arc<Self>> {
        std::fs::create_dir_all(folder)?;
        let path = folder.join(format!("{name}.log"));
        Ok(Arc::new(Self { file: Mutex::new(File::create(&path)?), path, start: Instant::now(), next }))
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Sink for BuildLog {
    fn emit(&self, event: Event) {
        let line = match &event {
            Event::StepStarted { step, title } => format!("{step}: {title}"),
            Event::StepProgress { step, current, .. } => format!("{step}: {current}"),
            Event::StepLog { step, line } => format!("{step}: | {line}"),
            Event::StepFinished { step, outcome, seconds, detail } => {
                format!("{step}: {}", describe(*outcome, *seconds, detail))
            }
            Event::Note { text } => text.clone(),
            Event::Warning { text } => format!("warning: {text}"),
            Event::Transfer { .. } | Event::Request { .. } | Event::Instruction { .. } => String::new(),
        };
        if let (false, Ok(mut file)) = (line.is_empty(), self.file.lock()) {
            // A full disk must not end a build that would succeed.
            writeln!(file, "{:9.2} {line}", self.start.elapsed().as_secs_f64()).ok();
        }
        self.next.emit(event);
    }
}
