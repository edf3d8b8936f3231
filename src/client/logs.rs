//! `entrypoint logs`: the last that a service wrote, and with `-f` what it goes on to write.

use super::{call, failure, refused, unanswered};
use crate::failure::Failure;
use crate::log::Log;
use std::io::{BufRead as _, BufReader};

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
