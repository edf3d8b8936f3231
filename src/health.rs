//! `entrypoint health`: asks the running entrypoint what it runs, and the services whether they serve.

use crate::failure::{Failure, USAGE};
use crate::log::Log;
use crate::places;
use crate::supervisor::listening;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// How long anything may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);
/// More than this is read of no answer.
const LONGEST: u64 = 16 * 1024;

/// Returns 0 when every service serves and no stop has begun, otherwise 1, and prints a line for each.
///
/// # Errors
/// No entrypoint runs here, or not one that this user may ask.
pub(crate) fn ask(log: &Log) -> Result<u8, Failure> {
    let path = places::control();
    let status = status().map_err(|error| {
        Failure { exit: 1, ..Failure::new(USAGE, format!("no entrypoint answers at `{}`: {error}", path.display())) }
            .hint("ask as the user that the container was started as")
    })?;
    let mut answer = String::new();
    let mut healthy = true;
    for line in status.lines() {
        let verdict = judge(line);
        healthy &= verdict.is_ok();
        let (Ok(text) | Err(text)) = verdict;
        answer.push_str(&text);
        answer.push('\n');
    }
    log.answer(&answer);
    Ok(u8::from(!healthy))
}

/// Asks the running entrypoint.
fn status() -> io::Result<String> {
    let mut stream = UnixStream::connect(places::control())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"status\n")?;
    let mut text = String::new();
    stream.take(LONGEST).read_to_string(&mut text)?;
    if text.starts_with("entrypoint ") { Ok(text) } else { Err(io::Error::other("it did not accept the caller")) }
}

/// What one line of the status says: good or bad, and in words.
fn judge(line: &str) -> Result<String, String> {
    let words: Vec<_> = line.split(' ').collect();
    match words[..] {
        ["entrypoint", "running"] => Ok("entrypoint: running".to_owned()),
        ["service", name, "ready", port, path] => {
            let port = port.parse().map_err(|_| format!("{name}: no port"))?;
            match serves(port, path) {
                Ok(()) => Ok(format!("{name}: serves on port {port}")),
                Err(error) => Err(format!("{name}: does not serve on port {port}: {error}")),
            }
        }
        ["service", name, phase, ..] => Err(format!("{name}: {phase}")),
        _ => Err(line.replacen(' ', ": ", 1)),
    }
}

fn serves(port: u16, path: &str) -> io::Result<()> {
    if path == "-" {
        return if listening(port) { Ok(()) } else { Err(io::Error::other("nothing listens")) };
    }
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)), PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: localhost:{port}\r\n\r\n").as_bytes())?;
    // `HTTP/1.1 200`
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    let head = String::from_utf8_lossy(&head);
    match head.split_once(' ') {
        Some((version, "200")) if version.starts_with("HTTP/1.") => Ok(()),
        _ => Err(io::Error::other(format!("it answers `{head}` to GET {path}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn only_a_running_entrypoint_with_ready_services_is_healthy() {
        assert_eq!(judge("entrypoint running"), Ok("entrypoint: running".into()));
        assert_eq!(judge("entrypoint stopping"), Err("entrypoint: stopping".into()));
        assert_eq!(judge("service sshd starting 22 -"), Err("sshd: starting".into()));
        assert_eq!(judge("service web pausing 8080 /healthz"), Err("web: pausing".into()));
        assert_eq!(judge("service web ready x /healthz"), Err("web: no port".into()));
        assert_eq!(judge("error unknown request"), Err("error: unknown request".into()));
    }
}
