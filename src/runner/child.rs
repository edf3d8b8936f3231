//! A program of the runner's that goes on while its worker does something else: `config.sh`, the listener.

use crate::process::{End, Program, Stream, Streams, spawn};
use crate::worker::{self, Runtime};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::process::{ChildStderr, ChildStdout};
use std::time::{Duration, Instant};

/// The longest line that is kept together.
const LONGEST_LINE: usize = 8 * 1024;

/// A running program.
#[derive(Debug)]
pub(super) struct Child {
    pid: Pid,
    output: Lines<ChildStdout>,
    errors: Lines<ChildStderr>,
    end: Option<End>,
}

impl Child {
    /// Starts it.
    ///
    /// # Errors
    /// It cannot be started.
    pub(super) fn start(program: &Program) -> io::Result<Self> {
        let streams = Streams { input: false, output: Stream::Piped, errors: Stream::Piped };
        let spawned = spawn(program, streams, &[])?;
        Ok(Self { pid: spawned.pid, output: Lines::new(spawned.stdout), errors: Lines::new(spawned.stderr), end: None })
    }

    /// Its process group, which has the number of its first process.
    pub(super) fn group(&self) -> i32 {
        self.pid.as_raw()
    }

    /// What to wait for.
    pub(super) fn interests(&self) -> Vec<BorrowedFd<'_>> {
        [self.output.fd(), self.errors.fd()].into_iter().flatten().collect()
    }

    /// What it has written since the last time: whole lines, each with its newline.
    pub(super) fn lines(&mut self) -> String {
        let mut lines = self.output.read();
        lines.push_str(&self.errors.read());
        lines
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Option<End> {
        if self.end.is_none() {
            self.end = worker::ended(self.pid);
        }
        self.end
    }

    /// Signals its group: itself, and what it has started.
    pub(super) fn signal(&self, signal: Signal) {
        // Nobody left in it: just what is wanted.
        let _ = killpg(self.pid, signal);
    }

    /// Asks it to end, and nobody else: what it has started is its own business.
    pub(super) fn ask(&self) {
        if self.end.is_none() {
            // It has just ended: just what is wanted.
            let _ = kill(self.pid, Signal::SIGTERM);
        }
    }

    /// Kills its group and waits for its end.
    pub(super) fn kill(mut self, runtime: &mut Runtime) {
        self.signal(Signal::SIGKILL);
        while self.ended().is_none() {
            runtime.stopped();
            runtime.wait(&[], Some(Instant::now() + Duration::from_millis(20)));
        }
    }
}

/// The lines of a stream, read without blocking.
#[derive(Debug)]
struct Lines<R> {
    stream: Option<R>,
    rest: Vec<u8>,
}

impl<R: Read + AsFd> Lines<R> {
    fn new(stream: Option<R>) -> Self {
        // A stream that blocks would be one that nothing can be read from.
        let stream = stream.filter(|stream| fcntl(stream, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).is_ok());
        Self { stream, rest: Vec::new() }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    fn read(&mut self) -> String {
        let mut buffer = [0; 16 * 1024];
        // As much as a pipe holds, and then somebody else's turn.
        for _ in 0..8 {
            let Some(stream) = &mut self.stream else { break };
            match stream.read(&mut buffer) {
                Ok(0) => self.stream = None,
                Ok(read) => self.rest.extend(buffer.iter().take(read)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.stream = None,
            }
        }
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1);
        let whole = match end {
            Some(end) => end,
            None if self.stream.is_none() || self.rest.len() > LONGEST_LINE => self.rest.len(),
            None => 0,
        };
        let bytes: Vec<u8> = self.rest.drain(..whole).collect();
        let mut lines = String::from_utf8_lossy(&bytes).into_owned();
        if !lines.is_empty() && !lines.ends_with('\n') {
            lines.push('\n');
        }
        lines
    }
}
