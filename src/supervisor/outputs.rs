//! The pipes into which services write: read without ever waiting.

use super::lines::Lines;
use nix::libc;
use nix::poll::{PollFd, PollFlags};
use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

/// The most that is read of one pipe in a row: signals and the other pipes have their turn in between.
const MOST_AT_ONCE: usize = 64 * 1024;
/// The most pipes of one service. Those of an earlier run, which what the service left behind holds open, are read
/// until they close, but not for ever more of them.
const MOST_PIPES: usize = 12;

/// What a pipe carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Output,
    Errors,
    /// What a worker tells.
    Report,
}

/// A line, and where it comes from.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) service: usize,
    pub(super) kind: Kind,
    /// Whether the run that wrote it is the service's present one.
    pub(super) present: bool,
    pub(super) text: String,
}

#[derive(Debug)]
struct Pipe {
    service: usize,
    kind: Kind,
    present: bool,
    file: File,
    lines: Lines,
}

/// All pipes of all services.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    pipes: Vec<Pipe>,
}

impl Outputs {
    /// A run of `service` begins: what comes from those of before is not about it.
    pub(super) fn begin(&mut self, service: usize) {
        for pipe in &mut self.pipes {
            if pipe.service == service {
                pipe.present = false;
            }
        }
    }

    /// Reads from `pipe` from now on.
    pub(super) fn add(&mut self, service: usize, kind: Kind, pipe: impl Into<OwnedFd>) {
        let file = File::from(pipe.into());
        // SAFETY: a flag of a descriptor that is owned here; the other end has flags of its own.
        unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        self.pipes.push(Pipe { service, kind, present: true, file, lines: Lines::default() });
        let of_service = self.pipes.iter().filter(|pipe| pipe.service == service).count();
        if of_service > MOST_PIPES
            && let Some(oldest) = self.pipes.iter().position(|pipe| pipe.service == service)
        {
            self.pipes.remove(oldest);
        }
    }

    /// What to wait for; with `only_reports`, the rest is left to wait in the pipes.
    pub(super) fn interests(&self, only_reports: bool) -> impl Iterator<Item = PollFd<'_>> {
        let pipes = self.pipes.iter().filter(move |pipe| !only_reports || pipe.kind == Kind::Report);
        pipes.map(|pipe| PollFd::new(pipe.file.as_fd(), PollFlags::POLLIN))
    }

    /// Reads what is there; pipes that have closed are left.
    pub(super) fn read(&mut self, only_reports: bool, found: &mut dyn FnMut(Line)) {
        self.pipes.retain_mut(|pipe| (only_reports && pipe.kind != Kind::Report) || pipe.read(found));
    }

    /// Reads the last that the process of `service` (or, with none, all of them) wrote before it ended.
    pub(super) fn finish(&mut self, service: Option<usize>, found: &mut dyn FnMut(Line)) {
        let finished = |pipe: &Pipe| service.is_none_or(|service| pipe.service == service && pipe.present);
        self.pipes.retain_mut(|pipe| {
            if !finished(pipe) {
                return true;
            }
            let stays = pipe.read(found);
            pipe.flush(found);
            stays
        });
    }
}

impl Pipe {
    /// Reads on; false when the pipe has closed.
    fn read(&mut self, found: &mut dyn FnMut(Line)) -> bool {
        let mut buffer = [0; 16 * 1024];
        let mut total = 0;
        while total < MOST_AT_ONCE {
            match self.file.read(&mut buffer) {
                Ok(0) => {
                    self.flush(found);
                    return false;
                }
                Ok(read) => {
                    total += read;
                    let (service, kind, present) = (self.service, self.kind, self.present);
                    let bytes = buffer.get(..read).unwrap_or_default();
                    self.lines.feed(bytes, &mut |text| found(Line { service, kind, present, text }));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn flush(&mut self, found: &mut dyn FnMut(Line)) {
        let (service, kind, present) = (self.service, self.kind, self.present);
        self.lines.flush(&mut |text| found(Line { service, kind, present, text }));
    }
}
