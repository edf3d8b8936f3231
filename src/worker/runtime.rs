//! What a worker may block on: time, and programs; always also on the signal that ends it.

use super::report::Report;
use crate::failure::Failure;
use crate::process::{End, Handed, Program, Stream, Streams, spawn};
use crate::signals::Signals;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::io::{self, ErrorKind, Read, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

/// The most that is kept of a program's output, in bytes.
const MOST_KEPT: usize = 4 * 1024 * 1024;

/// How often is read in a row.
const MOST_IN_A_ROW: u32 = 64;

/// The worker was asked to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stopped;

/// Why a program did not come to its own end.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The worker was asked to stop; the program was killed.
    Stopped,
    /// It took too long and was killed.
    TimedOut,
    /// It could not be started.
    NotStarted(io::Error),
}

/// A program that came to its own end.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) end: End,
    pub(crate) output: Vec<u8>,
    pub(crate) errors: Vec<u8>,
}

/// The surroundings of a worker.
#[derive(Debug)]
pub(crate) struct Runtime {
    pub(crate) report: Report,
    signals: Signals,
    /// When SIGTERM came.
    stopped: Option<Instant>,
    /// Whether a signal was read that the next wait would have ended for.
    signalled: bool,
}

impl Runtime {
    /// To be called first: no signal is lost from here on.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn begin() -> Result<Self, Failure> {
        Ok(Self { signals: Signals::block()?, report: Report::open(), stopped: None, signalled: false })
    }

    /// When the worker was asked to stop, if it was.
    pub(crate) fn stopped(&mut self) -> Option<Instant> {
        while let Some(signal) = self.signals.next() {
            self.signalled = true;
            if signal != Signal::SIGCHLD {
                self.stopped.get_or_insert_with(Instant::now);
            }
        }
        self.stopped
    }

    /// Waits until one of `interests` can be read, a signal has come since the last wait or `until` is reached.
    pub(crate) fn wait(&mut self, interests: &[BorrowedFd<'_>], until: Option<Instant>) {
        // A child that ended after it was looked for, and before [`Self::stopped`] read the signal of that, would
        // otherwise be waited for in vain.
        if std::mem::take(&mut self.signalled) {
            return;
        }
        let mut polled: Vec<_> = interests.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
        polled.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        let timeout = until.map_or(PollTimeout::NONE, |until| {
            let left = until.saturating_duration_since(Instant::now()) + Duration::from_millis(1);
            PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
        });
        // Only an interruption can come back as an error, and everything is looked at anyway.
        let _ = poll(&mut polled, timeout);
    }

    /// Waits for `duration`, or less when the worker is asked to stop.
    ///
    /// # Errors
    /// It was asked to stop.
    pub(crate) fn sleep(&mut self, duration: Duration) -> Result<(), Stopped> {
        let until = Instant::now() + duration;
        loop {
            if self.stopped().is_some() {
                return Err(Stopped);
            }
            if Instant::now() >= until {
                return Ok(());
            }
            self.wait(&[], Some(until));
        }
    }

    /// Runs `program` to its end, with `input` on its standard input, and keeps what it writes. `heed_stop`: whether a
    /// stop of the worker kills it; on the way out, the last programs have to be run all the same.
    ///
    /// # Errors
    /// See [`Trouble`]. Its whole process group is killed then.
    pub(crate) fn run(
        &mut self,
        program: &Program,
        input: &[u8],
        patience: Duration,
        heed_stop: bool,
    ) -> Result<Finished, Trouble> {
        self.run_with(program, input, &[], patience, heed_stop)
    }

    /// The same for a program that also gets open descriptors.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn run_with(
        &mut self,
        program: &Program,
        input: &[u8],
        handed: &[Handed<'_>],
        patience: Duration,
        heed_stop: bool,
    ) -> Result<Finished, Trouble> {
        let streams = Streams { input: !input.is_empty(), output: Stream::Piped, errors: Stream::Piped };
        self.run_in(program, (input, streams), handed, patience, heed_stop)
    }

    /// The same with other streams; what is not piped is not kept.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub(crate) fn run_in(
        &mut self,
        program: &Program,
        (input, streams): (&[u8], Streams),
        handed: &[Handed<'_>],
        patience: Duration,
        heed_stop: bool,
    ) -> Result<Finished, Trouble> {
        let mut child = spawn(program, streams, handed).map_err(Trouble::NotStarted)?;
        if let Some(mut stdin) = child.stdin.take() {
            // What a pipe holds at least (64 KiB) is more than anything that is handed over here. A program that
            // does not want it says why in its own words.
            let _ = stdin.write_all(input);
        }
        let mut output = Kept::new(child.stdout.take());
        let mut errors = Kept::new(child.stderr.take());
        let until = Instant::now() + patience;
        let mut end = None;
        loop {
            output.read();
            errors.read();
            end = end.or_else(|| ended(child.pid));
            if let Some(end) = end {
                // What its own children still hold open is not waited for.
                output.read();
                errors.read();
                return Ok(Finished { end, output: output.bytes, errors: errors.bytes });
            }
            let trouble = if heed_stop && self.stopped().is_some() {
                Some(Trouble::Stopped)
            } else if Instant::now() >= until {
                Some(Trouble::TimedOut)
            } else {
                None
            };
            if let Some(trouble) = trouble {
                // Gone already: just what is wanted.
                let _ = killpg(child.pid, Signal::SIGKILL);
                while ended(child.pid).is_none() {
                    self.wait(&[], Some(Instant::now() + Duration::from_millis(20)));
                }
                return Err(trouble);
            }
            let interests: Vec<_> = [output.fd(), errors.fd()].into_iter().flatten().collect();
            // A stop that is not heeded leaves its signal unread: reading it here keeps this from spinning.
            self.stopped();
            self.wait(&interests, Some(until));
        }
    }
}

/// How the child `pid` of this process ended, if it has.
pub(crate) fn ended(pid: Pid) -> Option<End> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the status. (nix has no name for real-time signals.)
    let found = unsafe { libc::waitpid(pid.as_raw(), &mut status, libc::WNOHANG) };
    if found != pid.as_raw() {
        return None;
    }
    let status = ExitStatus::from_raw(status);
    let code = status.code().map(|code| End::Code(code.to_le_bytes()[0]));
    code.or(status.signal().map(End::Signal))
}

/// What a program writes, read without blocking.
struct Kept<R> {
    stream: Option<R>,
    bytes: Vec<u8>,
}

impl<R: Read + AsFd> Kept<R> {
    fn new(stream: Option<R>) -> Self {
        if let Some(stream) = &stream {
            // SAFETY: a flag of a descriptor that is owned here.
            unsafe { libc::fcntl(stream.as_fd().as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
        }
        Self { stream, bytes: Vec::new() }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.stream.as_ref().map(AsFd::as_fd)
    }

    fn read(&mut self) {
        let mut buffer = [0; 16 * 1024];
        // As much as the largest pipe holds, and then the signals' turn: somebody may write for ever.
        for _ in 0..MOST_IN_A_ROW {
            let Some(stream) = &mut self.stream else { return };
            match stream.read(&mut buffer) {
                Ok(0) => self.stream = None,
                Ok(read) => {
                    let room = MOST_KEPT.saturating_sub(self.bytes.len());
                    self.bytes.extend(buffer.iter().take(read.min(room)));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => self.stream = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Kept, MOST_KEPT};
    use std::fs::File;

    #[test]
    fn who_writes_for_ever_does_not_keep_the_worker_from_everything_else() {
        let mut kept = Kept::new(File::open("/dev/zero").ok());
        for _ in 0..10 {
            kept.read();
        }
        assert!(kept.stream.is_some() && kept.bytes.len() == MOST_KEPT);
    }
}
