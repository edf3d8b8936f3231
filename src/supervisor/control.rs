//! The socket on which a running entrypoint tells how it is: one request line, one answer, from root or its own user.

use crate::failure::Failure;
use nix::poll::{PollFd, PollFlags};
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::sys::stat::{Mode, umask};
use nix::unistd::Uid;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;

/// Callers that are served at a time; more wait.
const MOST_CALLERS: usize = 16;
/// The longest request.
const LONGEST: usize = 256;

/// The socket and who is calling.
#[derive(Debug)]
pub(super) struct Control {
    path: PathBuf,
    listener: UnixListener,
    callers: Vec<Caller>,
}

#[derive(Debug)]
struct Caller {
    stream: UnixStream,
    request: Vec<u8>,
}

impl Control {
    /// Listens at `path`, where nothing may be listening yet.
    ///
    /// # Errors
    /// Another entrypoint answers there, or the socket cannot be created.
    pub(super) fn listen(path: PathBuf) -> Result<Self, Failure> {
        if UnixStream::connect(&path).is_ok() {
            return Err(Failure::system(format!("the socket `{}`", path.display()), "another entrypoint runs here already")
                .hint("`entrypoint health` asks it how it is"));
        }
        let listen = || {
            match std::fs::remove_file(&path) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mask = umask(Mode::from_bits_truncate(0o177));
            let bound = UnixListener::bind(&path);
            umask(mask);
            let listener = bound?;
            listener.set_nonblocking(true)?;
            Ok(listener)
        };
        match listen() {
            Ok(listener) => Ok(Self { path, listener, callers: Vec::new() }),
            Err(error) => Err(Failure::system(format!("the socket `{}`", path.display()), error)),
        }
    }

    /// What to wait for.
    pub(super) fn interests(&self) -> Vec<PollFd<'_>> {
        let listener = (self.callers.len() < MOST_CALLERS).then(|| self.listener.as_fd());
        let callers = self.callers.iter().map(|caller| caller.stream.as_fd());
        callers.chain(listener).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect()
    }

    /// Serves whoever has called. `answer` turns a request into an answer.
    pub(super) fn serve(&mut self, answer: impl Fn(&str) -> String) {
        while self.callers.len() < MOST_CALLERS {
            let Ok((stream, _)) = self.listener.accept() else { break };
            if trusted(&stream) && stream.set_nonblocking(true).is_ok() {
                self.callers.push(Caller { stream, request: Vec::new() });
            }
        }
        self.callers.retain_mut(|caller| caller.listen(&answer));
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        // The folder goes with the container anyway.
        let _ = std::fs::remove_file(&self.path);
    }
}

impl Caller {
    /// Reads on, answers a whole line, and tells whether the caller stays.
    fn listen(&mut self, answer: &impl Fn(&str) -> String) -> bool {
        let mut buffer = [0; LONGEST];
        match self.stream.read(&mut buffer) {
            Ok(0) => return false,
            Ok(read) => self.request.extend(&buffer[..read]),
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        if let Some(end) = self.request.iter().position(|byte| *byte == b'\n') {
            let request = String::from_utf8_lossy(&self.request[..end]).into_owned();
            // Small enough for the socket's buffer; who has gone does not want it.
            let _ = self.stream.write_all(answer(request.trim()).as_bytes());
            return false;
        }
        self.request.len() < LONGEST
    }
}

/// Whether the other end is root or this process's own user.
fn trusted(stream: &UnixStream) -> bool {
    getsockopt(stream, PeerCredentials).is_ok_and(|peer| peer.uid() == 0 || peer.uid() == Uid::effective().as_raw())
}
