//! Standard error, written to without ever waiting: a log that nobody reads must not hold PID 1 up.
//!
//! The descriptor is shared with whoever started the container, so the flag that keeps a write from blocking is not
//! set on it. A pipe or terminal is opened anew, which makes a flag of our own. Where that is refused, as much is
//! written as the kernel says fits (a pipe that can be written to has room for `PIPE_BUF`); a socket has a flag for
//! a single call; a file does not block.

use nix::errno::Errno;
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::time::{Duration, Instant};

/// The most that waits to be written; lines beyond it are dropped.
const MOST: usize = 256 * 1024;
/// From here on the services' output is left in their pipes, as long as the reader goes on reading.
const CROWDED: usize = MOST / 2;
/// A reader that has not read for so long has stopped.
const STUCK: Duration = Duration::from_secs(1);
/// How long the last lines may take, at the end.
const FAREWELL: Duration = Duration::from_millis(300);
/// What a pipe takes in one piece, lines of others around it.
const PIECE: usize = libc::PIPE_BUF;

/// The way to write without waiting.
#[derive(Debug)]
enum Sink {
    /// Our own opening of the same pipe or terminal, which does not block.
    Own(File),
    Socket,
    /// Asked for room before each write.
    Asked,
    /// A file.
    Plain,
}

/// Standard error and what waits to be written to it.
#[derive(Debug)]
pub(crate) struct Outlet {
    sink: Sink,
    backlog: VecDeque<u8>,
    dropped: u64,
    /// When something was written last, or began to wait.
    progress: Instant,
}

/// The standard error of this process.
fn descriptor() -> BorrowedFd<'static> {
    // SAFETY: open for as long as the process lives: the standard library opens `/dev/null` where it was closed.
    unsafe { BorrowedFd::borrow_raw(libc::STDERR_FILENO) }
}

impl Outlet {
    pub(crate) fn open() -> Self {
        let kind = nix::sys::stat::fstat(descriptor()).map_or(0, |found| found.st_mode & libc::S_IFMT);
        let sink = match kind {
            libc::S_IFSOCK => Sink::Socket,
            libc::S_IFIFO | libc::S_IFCHR => {
                let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
                let own = OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2");
                own.map_or(Sink::Asked, Sink::Own)
            }
            _ => Sink::Plain,
        };
        Self { sink, backlog: VecDeque::new(), dropped: 0, progress: Instant::now() }
    }

    /// Writes `line`, or what of it can be written now; the rest waits.
    pub(crate) fn push(&mut self, line: &[u8]) {
        if self.backlog.len() + line.len() > MOST {
            self.dropped += 1;
            return;
        }
        if self.backlog.is_empty() {
            self.progress = Instant::now();
        }
        self.backlog.extend(line);
        self.flush();
    }

    /// Writes what waits, as far as it can be written now.
    pub(crate) fn flush(&mut self) {
        while !self.backlog.is_empty() {
            let waiting = self.backlog.make_contiguous();
            let piece = waiting.get(..PIECE).unwrap_or(waiting);
            // Whole lines, so that those of others come between ours and not into them.
            let end = piece.iter().rposition(|byte| *byte == b'\n').map_or(piece.len(), |at| at + 1);
            match self.sink.write(piece.get(..end).unwrap_or(piece)) {
                Ok(written) => {
                    self.backlog.drain(..written.min(self.backlog.len()));
                    self.progress = Instant::now();
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return,
                // A closed log must not end PID 1, and nobody will ever read this.
                Err(_) => self.backlog.clear(),
            }
        }
    }

    /// What to wait for when something waits to be written.
    pub(crate) fn interest(&self) -> Option<PollFd<'_>> {
        let descriptor = match &self.sink {
            Sink::Own(file) => file.as_fd(),
            Sink::Socket | Sink::Asked | Sink::Plain => descriptor(),
        };
        (!self.backlog.is_empty()).then(|| PollFd::new(descriptor, PollFlags::POLLOUT))
    }

    /// Until when services that write more should be left waiting: the reader is slow, and may still be reading.
    pub(crate) fn crowded(&self) -> Option<Instant> {
        let until = self.progress + STUCK;
        (self.backlog.len() > CROWDED && Instant::now() < until).then_some(until)
    }

    /// How many lines were dropped, once there is room again to tell.
    pub(crate) fn lost(&mut self) -> Option<u64> {
        (self.dropped > 0 && self.backlog.len() < CROWDED).then(|| std::mem::take(&mut self.dropped))
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        let until = Instant::now() + FAREWELL;
        loop {
            self.flush();
            let left = until.saturating_duration_since(Instant::now());
            let Some(interest) = self.interest().filter(|_| !left.is_zero()) else { return };
            // An interruption, or no room: the time decides.
            let _ = poll(&mut [interest], PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO));
        }
    }
}

impl Sink {
    fn write(&self, bytes: &[u8]) -> nix::Result<usize> {
        match self {
            Self::Own(file) => nix::unistd::write(file, bytes),
            Self::Socket => {
                let flags = nix::sys::socket::MsgFlags::MSG_DONTWAIT | nix::sys::socket::MsgFlags::MSG_NOSIGNAL;
                nix::sys::socket::send(descriptor().as_raw_fd(), bytes, flags)
            }
            Self::Asked => {
                let mut asked = [PollFd::new(descriptor(), PollFlags::POLLOUT)];
                match poll(&mut asked, PollTimeout::ZERO)? {
                    0 => Err(Errno::EAGAIN),
                    _ => nix::unistd::write(descriptor(), bytes),
                }
            }
            Self::Plain => nix::unistd::write(descriptor(), bytes),
        }
    }
}
