//! Commands that talk to the running entrypoint over its socket.

mod health;
mod logs;
mod orders;
mod status;

pub(crate) use health::health;
pub(crate) use logs::logs;
pub(crate) use orders::{Order, order};
pub(crate) use status::status;

use crate::failure::{Failure, USAGE};
use crate::places;
use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::Uid;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long anything may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than this is read of no answer.
const LONGEST: u64 = 1024 * 1024;

/// A failure of a command that asks: nothing is wrong with the command line.
fn failure(problem: impl Into<String>) -> Failure {
    Failure { exit: 1, ..Failure::new(USAGE, problem) }
}

/// Connects to the running entrypoint.
fn connect() -> Result<UnixStream, Failure> {
    let mut last = None;
    for path in places::running("control.sock") {
        match UnixStream::connect(&path) {
            Ok(stream) if genuine(&stream) => return Ok(stream),
            Ok(_) => last = Some((path, io::Error::other("somebody else listens there"))),
            // The first place tells most: the others are for containers of ordinary users.
            Err(error) => last = last.or(Some((path, error))),
        }
    }
    let why = last.map_or(String::new(), |(path, error)| format!(" at `{}`: {error}", path.display()));
    Err(failure(format!("no entrypoint answers{why}"))
        .hint("ask inside the running container: `docker exec CONTAINER entrypoint status`"))
}

/// Whether root or this user listens: in a folder that everybody may write to, it could be anybody.
fn genuine(stream: &UnixStream) -> bool {
    let own = Uid::effective();
    own.is_root() || getsockopt(stream, PeerCredentials).is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own.as_raw())
}

/// Sends `request` and returns the connection, on which the answer comes.
fn call(request: &str) -> Result<UnixStream, Failure> {
    let mut stream = connect()?;
    let sent = stream.set_read_timeout(Some(PATIENCE)).and_then(|()| stream.write_all(format!("{request}\n").as_bytes()));
    match sent {
        // Whoever is not allowed to ask is told so before the request is read.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(unanswered(&error)),
        _ => Ok(stream),
    }
}

/// Sends `request` and returns the whole answer.
fn ask(request: &str) -> Result<String, Failure> {
    let stream = call(request)?;
    let mut answer = String::new();
    match stream.take(LONGEST).read_to_string(&mut answer) {
        Err(error) if answer.is_empty() => Err(unanswered(&error)),
        _ => refused(answer),
    }
}

fn unanswered(error: &io::Error) -> Failure {
    failure(format!("the entrypoint does not answer: {error}"))
}

/// What an answer says when it is an error.
fn refused(answer: String) -> Result<String, Failure> {
    match answer.strip_prefix("error ") {
        Some(why) => Err(failure(why.trim_end())),
        None if answer.is_empty() => Err(failure("the entrypoint gave no answer: is the container stopping?")),
        None => Ok(answer),
    }
}
