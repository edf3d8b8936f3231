//! Somebody who looks at every process of a container all the time, with root's eyes.

use super::Needles;
use crate::container::Container;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// A secret that was seen.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Hit {
    /// What the test was doing.
    pub(crate) phase: String,
    /// The program's name, and its user's id.
    pub(crate) program: String,
    pub(crate) user: u32,
    /// `cmdline` or `environ`.
    pub(crate) file: &'static str,
    pub(crate) secret: String,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Sampled {
    pub(crate) hits: BTreeSet<Hit>,
    /// The names of all programs that were looked at.
    pub(crate) programs: BTreeSet<String>,
    pub(crate) rounds: u32,
}

/// The thread that looks.
pub(crate) struct Sampler {
    over: Arc<AtomicBool>,
    phase: Arc<Mutex<String>>,
    sampled: Arc<Mutex<Sampled>>,
    thread: JoinHandle<()>,
}

impl Sampler {
    /// Looks at `container` from now on, without a pause. The first image of PID 1 is left out: an engine starts it with
    /// everything in its environment, it is alone, and executes itself again.
    pub(crate) fn start(container: &Container, needles: &Needles) -> Self {
        let (over, phase) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new("start".to_owned())));
        let sampled = Arc::new(Mutex::new(Sampled::default()));
        let (stop, doing, kept, needles) = (over.clone(), phase.clone(), sampled.clone(), needles.clone());
        let proc = PathBuf::from(format!("/proc/{}/root/proc", container.init()));
        let thread = thread::spawn(move || {
            while !begun(&proc) && !stop.load(Ordering::Relaxed) {}
            while !stop.load(Ordering::Relaxed) {
                let phase = doing.lock().unwrap().clone();
                let found = look(&proc, &phase, &needles);
                let mut sampled = kept.lock().unwrap();
                sampled.hits.extend(found.hits);
                sampled.programs.extend(found.programs);
                sampled.rounds += 1;
            }
        });
        Self { over, phase, sampled, thread }
    }

    /// What is seen from now on is of this phase: waits for the end of the round that is under way, which is of the last one.
    pub(crate) fn phase(&self, phase: &str) {
        *self.phase.lock().unwrap() = phase.to_owned();
        let rounds = || self.sampled.lock().unwrap().rounds;
        let before = rounds();
        while rounds() == before {
            assert!(!self.thread.is_finished(), "nobody looks any more");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until this was seen. Whoever is there for a moment only has to be held until then.
    pub(crate) fn sees(&self, container: &Container, hit: &Hit) {
        container.until(&format!("{hit:?}"), |_| self.sampled.lock().unwrap().hits.contains(hit).then_some(()));
    }

    /// Looks no longer, and tells what was seen.
    pub(crate) fn end(self) -> Sampled {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        std::mem::take(&mut self.sampled.lock().unwrap())
    }
}

/// Whether PID 1 is the entrypoint, without secrets in its environment.
fn begun(proc: &Path) -> bool {
    let environment = fs::read(proc.join("1/environ")).unwrap_or_default();
    let sealed = super::contains(&environment, b"GANTRY_SEALED_SECRETS=");
    let files = super::contains(&environment, b"_FILE=/mnt/files/");
    let name = fs::read(proc.join("1/comm")).unwrap_or_default();
    sealed || (files && name == b"entrypoint\n")
}

fn look(proc: &Path, phase: &str, needles: &Needles) -> Sampled {
    let mut sampled = Sampled::default();
    for entry in fs::read_dir(proc).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if !name.as_encoded_bytes().first().is_some_and(u8::is_ascii_digit) {
            continue;
        }
        let path = entry.path();
        // Before and afterwards: it may become another program, and have none when it has ended.
        let before = who(&path);
        let found = ["cmdline", "environ"].map(|file| (file, fs::read(path.join(file)).unwrap_or_default()));
        let Some((program, user)) = who(&path).or(before) else { continue };
        for (file, bytes) in &found {
            for secret in needles.found(bytes) {
                let (phase, program, secret) = (phase.to_owned(), program.clone(), secret.to_owned());
                sampled.hits.insert(Hit { phase, program, user, file, secret });
            }
        }
        sampled.programs.insert(program);
    }
    sampled
}

/// The name and the user of a process that has not ended.
fn who(path: &Path) -> Option<(String, u32)> {
    let status = fs::read_to_string(path.join("status")).ok()?;
    let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split('\t').nth(1));
    let zombie = field("State:")?.starts_with(['Z', 'X']);
    let who = (field("Name:")?.to_owned(), field("Uid:")?.parse().ok()?);
    (!zombie).then_some(who)
}
