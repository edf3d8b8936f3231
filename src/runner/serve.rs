//! The listener: run, watched, and run again as its exit codes ask for.

use super::listener::{Facts, Line, Next, next, read, reason};
use super::register::Registered;
use super::{Keeper, Trouble, child::Child, leftovers};
use crate::process::End;
use crate::runner::backoff::{Row, STABLE};
use crate::worker::Runtime;
use nix::sys::signal::Signal;
use std::fs;
use std::time::Instant;

/// When PID 1 was started, in the kernel's ticks: what tells one life of a container from the next. 0: it is hidden.
pub(super) fn life() -> u64 {
    stat(1).and_then(|stat| stat.get(19)?.parse().ok()).unwrap_or_default()
}

/// The fields of `/proc/PID/stat` behind the name, which may hold anything: state, parent, group, …
fn stat(pid: i32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_ascii_whitespace().map(str::to_owned).collect())
}

/// Whether a process of `uid` is in the process group.
pub(super) fn alive(group: i32, uid: u32) -> bool {
    let group = group.to_string();
    leftovers::of(uid).any(|pid| stat(pid).is_some_and(|stat| stat.get(2) == Some(&group)))
}

impl Keeper<'_> {
    /// Runs the listener with `registered` for as long as that is good for something. `Ok`: the next one can be
    /// registered at once.
    pub(super) fn serve(&mut self, runtime: &mut Runtime, registered: Registered) -> Result<(), Trouble> {
        let Registered { mut record, jit } = registered;
        let mut row = 0;
        loop {
            let arguments = ["run", "--startuptype", "service"].map(Into::into).to_vec();
            let jit = jit.as_ref().map(|jit| ("ACTIONS_RUNNER_INPUT_JITCONFIG", jit));
            let program = self.folder.program("bin/Runner.Listener", arguments, jit);
            let failed =
                |error| Trouble::Later { why: format!("cannot start `{}`: {error}", program.path.display()), after: None };
            let child = Child::start(&program).map_err(failed)?;
            record.group = Some(child.group());
            self.listener = Some(child);
            self.working = false;
            runtime.report.doing("connects");
            // A record without the group is a good one as well, and the listener is not to be left alone for it.
            let _ = self.put(&record);
            let began = Instant::now();
            let (end, worked) = self.watch(runtime)?;
            let up = began.elapsed();
            let configured = self.folder.configured().is_some();
            let precious = !self.github.asks();
            let ephemeral = self.runner.ephemeral;
            row = if up >= STABLE { 0 } else { row };
            self.row.ran(up);
            let why = reason(end, configured);
            match next(end, Facts { ephemeral, configured, precious, worked, row }) {
                Next::AnotherJob => {
                    self.row = Row::default();
                    runtime.report.info("its job is done: registers for the next one");
                    return Ok(());
                }
                Next::Run(pause) => {
                    row += 1;
                    runtime.report.warning(format!("the listener ended with {end}: {why}; runs again in {} s", pause.as_secs()));
                    runtime.report.doing(format!("waits to run again: {why}"));
                    runtime.sleep(pause)?;
                }
                Next::Register => {
                    return Err(Trouble::Later { why: format!("the listener ended with {end}: {why}"), after: None });
                }
                Next::TooOld => {
                    return Err(Trouble::Refused {
                        why: format!("GitHub does not take this version of the runner any more: {}", self.version),
                        hint: "build the image with a newer one: move the pin `github-runner` in variants.toml \
                               (`cargo xtask bump github-runner`) and start the new image"
                            .to_owned(),
                    });
                }
            }
        }
    }

    /// Follows the listener to its end: how it ended, and whether it has run a job.
    fn watch(&mut self, runtime: &mut Runtime) -> Result<(End, bool), Trouble> {
        let mut worked = false;
        loop {
            if runtime.stopped().is_some() {
                return Err(Trouble::Stopped);
            }
            let end = self.listener.as_mut().map_or(Some(End::Code(1)), Child::ended);
            self.pump(runtime);
            worked |= self.working;
            if let Some(end) = end {
                if let Some(listener) = self.listener.take() {
                    // What a job has left.
                    listener.signal(Signal::SIGKILL);
                }
                self.working = false;
                return Ok((end, worked));
            }
            let interests = self.listener.as_ref().map(Child::interests).unwrap_or_default();
            runtime.wait(&interests, None);
        }
    }

    /// Passes on what the listener has written, and tells what it means.
    pub(super) fn pump(&mut self, runtime: &mut Runtime) {
        let lines = self.listener.as_mut().map(Child::lines).unwrap_or_default();
        if lines.is_empty() {
            return;
        }
        self.output.write(&lines);
        for line in lines.lines() {
            match read(line) {
                Line::Listening => {
                    runtime.report.ready();
                    runtime.report.doing("waits for jobs");
                }
                Line::Job(job) => {
                    self.working = true;
                    runtime.report.doing(format!("runs job {job}"));
                }
                Line::Done => {
                    self.working = false;
                    runtime.report.doing("waits for jobs");
                }
                Line::Other => {
                    if let Some((_, version)) = line.split_once("Current runner version: ") {
                        self.version = version.trim().to_owned();
                    }
                }
            }
        }
    }
}
