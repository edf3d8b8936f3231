//! The socket on which a running entrypoint tells how it is and takes orders: one request line, one answer.
//!
//! Everybody may connect; who is neither root, nor the entrypoint's own user, nor the workspace's, is told off. No
//! caller can hold PID 1 up: nothing here waits, and who is slow is dropped.

use super::record::{At, Kept};
use crate::failure::Failure;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Callers that are served at a time; more wait.
const MOST_CALLERS: usize = 16;
/// Of those who follow a log.
const MOST_FOLLOWERS: usize = 8;
/// The longest request.
const LONGEST: usize = 256;
/// How long a caller may take to ask and to read the answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// The socket and who is calling.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    listener: UnixListener,
    allowed: Vec<Uid>,
    callers: Vec<Caller>,
}

/// An answer to a request.
#[derive(Debug)]
pub(super) enum Reply {
    Text(String),
    /// The kept lines of a service; `follow`: and those to come.
    Lines {
        service: usize,
        first: u64,
        next: u64,
        follow: bool,
    },
}

#[derive(Debug)]
struct Caller {
    stream: UnixStream,
    since: Instant,
    /// What was asked so far; none: it has been answered.
    request: Option<Vec<u8>>,
    /// What is still to be written.
    answer: Vec<u8>,
    lines: Option<Reading>,
}

/// Where a reader of kept lines is.
#[derive(Debug)]
struct Reading {
    service: usize,
    next: u64,
    /// Where it ends; none: it follows.
    until: Option<u64>,
}

impl Control {
    /// Listens at `path`, where nothing may be listening yet, for root, this process's own user and `allowed`.
    ///
    /// # Errors
    /// Another entrypoint answers there, or the socket cannot be created.
    pub(super) fn listen(path: PathBuf, allowed: Uid) -> Result<Self, Failure> {
        if UnixStream::connect(&path).is_ok() {
            return Err(Failure::system(format!("the socket `{}`", path.display()), "another entrypoint runs here already")
                .hint("`entrypoint status` asks it how it is"));
        }
        let listen = || {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mask = umask(Mode::from_bits_truncate(0o111));
            let bound = UnixListener::bind(&path);
            umask(mask);
            let listener = bound?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        let allowed = vec![Uid::from_raw(0), Uid::effective(), allowed];
        match listen() {
            Ok(listener) => Ok(Self { path, listener, allowed, callers: Vec::new() }),
            Err(error) => Err(Failure::system(format!("the socket `{}`", path.display()), error)),
        }
    }

    /// What to wait for.
    pub(super) fn interests(&self) -> impl Iterator<Item = PollFd<'_>> {
        let listener = (self.busy() < MOST_CALLERS).then(|| PollFd::new(self.listener.as_fd(), PollFlags::POLLIN));
        let callers = self.callers.iter().map(|caller| {
            let mut flags = PollFlags::empty();
            flags.set(PollFlags::POLLIN, caller.request.is_some() || caller.follows());
            flags.set(PollFlags::POLLOUT, !caller.answer.is_empty());
            PollFd::new(caller.stream.as_fd(), flags)
        });
        callers.chain(listener)
    }

    /// When the patience with a caller ends.
    pub(super) fn due(&self) -> Option<Duration> {
        let since = self.callers.iter().filter(|caller| !caller.follows()).map(|caller| caller.since).min()?;
        Some((since + PATIENCE).saturating_duration_since(Instant::now()))
    }

    /// Callers that count: followers have a limit of their own, so that they keep nobody else out.
    fn busy(&self) -> usize {
        self.callers.iter().filter(|caller| !caller.follows()).count()
    }

    /// Takes calls in, and every request that is whole, with the number of its caller until the next call of this.
    pub(super) fn hear(&mut self, requests: &mut Vec<(usize, String)>) {
        for _ in 0..MOST_CALLERS {
            if self.busy() == MOST_CALLERS {
                break;
            }
            let Ok((stream, _)) = self.listener.accept() else { break };
            self.welcome(stream);
        }
        let mut number = 0;
        self.callers.retain_mut(|caller| {
            let Ok(request) = caller.listen() else { return false };
            if !caller.follows() && caller.since.elapsed() >= PATIENCE {
                return false;
            }
            requests.extend(request.map(|request| (number, request)));
            number += 1;
            true
        });
    }

    /// Answers caller `number`.
    pub(super) fn answer(&mut self, number: usize, reply: Reply) {
        let followers = self.callers.iter().filter(|caller| caller.follows()).count();
        let Some(caller) = self.callers.get_mut(number) else { return };
        caller.answered(match reply {
            Reply::Lines { follow: true, .. } if followers >= MOST_FOLLOWERS => {
                Reply::Text(format!("error {followers} others follow logs already\n"))
            }
            reply => reply,
        });
    }

    fn welcome(&mut self, stream: UnixStream) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let peer = getsockopt(&stream, PeerCredentials);
        if peer.is_ok_and(|peer| self.allowed.contains(&Uid::from_raw(peer.uid()))) {
            let (request, answer) = (Some(Vec::new()), Vec::new());
            self.callers.push(Caller { stream, since: Instant::now(), request, answer, lines: None });
        } else {
            // A socket that has just been made has room for it.
            let _ =
                (&stream).write_all(b"error not allowed: only root, the user of the container and that of the workspace are\n");
        }
    }

    /// Writes answers on. `kept`: the lines of a service.
    pub(super) fn write<'a>(&mut self, kept: impl Fn(usize) -> Option<&'a Kept>) {
        self.callers.retain_mut(|caller| caller.request.is_some() || caller.write(&kept));
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The folder goes with the container anyway.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The caller has gone or talks nonsense.
struct Gone;

impl Caller {
    fn follows(&self) -> bool {
        self.lines.as_ref().is_some_and(|lines| lines.until.is_none())
    }

    /// Reads on, and returns the request once its line is whole.
    fn listen(&mut self) -> Result<Option<String>, Gone> {
        let mut buffer = [0; LONGEST];
        let read = match self.stream.read(&mut buffer) {
            // Who only closes its writing end still reads; who has gone is noticed when it is written to.
            Ok(0) if self.request.is_none() && !self.follows() => return Ok(None),
            Ok(0) => return Err(Gone),
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            Err(_) => return Err(Gone),
        };
        // Nothing more is to be said after a request.
        let Some(request) = &mut self.request else { return Ok(None) };
        request.extend(buffer.iter().take(read));
        if let Some(end) = request.iter().position(|byte| *byte == b'\n') {
            return Ok(Some(String::from_utf8_lossy(request.get(..end).unwrap_or_default()).trim().to_owned()));
        }
        if request.len() < LONGEST { Ok(None) } else { Err(Gone) }
    }

    fn answered(&mut self, reply: Reply) {
        self.request = None;
        match reply {
            Reply::Text(text) => self.answer = text.into_bytes(),
            Reply::Lines { service, first, next, follow } => {
                self.answer = b"ok\n".to_vec();
                self.lines = Some(Reading { service, next: first, until: (!follow).then_some(next) });
            }
        }
    }

    /// Writes as much as can be written now; false when the call is over.
    fn write<'a>(&mut self, kept: &impl Fn(usize) -> Option<&'a Kept>) -> bool {
        loop {
            // Who does not keep up is dropped, even in the middle of a line that it does not take.
            if let Some(lines) = &self.lines
                && kept(lines.service).is_none_or(|kept| kept.at(lines.next) == At::Gone)
            {
                return false;
            }
            if self.answer.is_empty() {
                let Some(lines) = &mut self.lines else { return false };
                if lines.until.is_some_and(|until| lines.next >= until) {
                    return false;
                }
                match kept(lines.service).map(|kept| kept.at(lines.next)) {
                    Some(At::Line(line)) => {
                        self.answer.extend(line.bytes().chain([b'\n']));
                        lines.next += 1;
                    }
                    Some(At::Nothing) => return true,
                    Some(At::Gone) | None => return false,
                }
            }
            match self.stream.write(&self.answer) {
                Ok(written) => drop(self.answer.drain(..written.min(self.answer.len()))),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
    }
}
