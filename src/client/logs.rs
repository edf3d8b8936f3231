//! `entrypoint logs`: the last that a service wrote, and with `-f` what it goes on to write.

use super::{call, failure, refused, unanswered};
use crate::failure::Failure;
use crate::log::Log;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{BufRead as _, BufReader};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;

/// Prints the lines.
///
/// # Errors
/// No entrypoint answers, or there is no such service.
pub(crate) fn logs(service: &str, follow: bool, log: &Log) -> Result<u8, Failure> {
    let stream = call(&format!("{} {service}", if follow { "follow" } else { "logs" }))?;
    let mut reader = BufReader::new(stream);
    let mut first = String::new();
    reader.read_line(&mut first).map_err(|error| unanswered(&error))?;
    refused(first)?;
    if follow {
        // It comes when it comes.
        reader.get_ref().set_read_timeout(None).map_err(|error| unanswered(&error))?;
    }
    loop {
        if follow && reader.buffer().is_empty() && !wanted(reader.get_ref()) {
            return Ok(0);
        }
        let read = match reader.fill_buf() {
            Ok([]) => break,
            // Nobody reads what is printed: that is a way to end it.
            Ok(bytes) if log.pass(bytes).is_err() => return Ok(0),
            Ok(bytes) => bytes.len(),
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(unanswered(&error)),
        };
        reader.consume(read);
    }
    if !follow {
        return Ok(0);
    }
    Err(failure("the entrypoint ended the connection: it stops, or lines came faster than they were read"))
}

/// Waits for more, and tells whether anybody still reads what is printed: `logs -f | grep -m 1` ends with its line.
fn wanted(stream: &UnixStream) -> bool {
    let output = std::io::stdout();
    let mut interests = [PollFd::new(stream.as_fd(), PollFlags::POLLIN), PollFd::new(output.as_fd(), PollFlags::empty())];
    // Only an interruption can come back as an error: then reading waits.
    let waited = poll(&mut interests, PollTimeout::NONE);
    let [_, output] = interests;
    waited.is_err() || !output.revents().is_some_and(|seen| seen.contains(PollFlags::POLLERR))
}
