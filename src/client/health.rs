//! `entrypoint healthcheck`: asks the running entrypoint what it runs, and the services whether they serve.

use super::status::{Told, field};
use super::{PATIENCE, ask};
use crate::failure::Failure;
use crate::log::Log;
use crate::supervisor::listening;
use nix::unistd::Uid;
use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

/// Returns 0 when everything that gives access serves and no stop has begun, otherwise 1, and prints a line for each.
///
/// What runs beside the access does not count: without its runner a workspace is still one. Nor does a service that
/// somebody stopped on purpose.
///
/// # Errors
/// No entrypoint runs here, or not one that this user may ask.
pub(crate) fn health(log: &Log) -> Result<u8, Failure> {
    let answer = ask("status")?;
    let told = Told::parse(&answer)?;
    let state = field(&told.whole, "state");
    let mut healthy = state == "running";
    let mut text = format!("entrypoint: {state}\n");
    for service in &told.services {
        let name = field(service, "name");
        let (counts, verdict) = match judge(service) {
            Judged::Good(verdict) => (false, verdict),
            Judged::Bad(verdict) => (true, verdict),
            Judged::Serves(port, uid, path) => match serves(port, uid, path) {
                Ok(()) => (false, format!("serves on port {port}")),
                Err(error) => (true, format!("does not serve on port {port}: {error}")),
            },
        };
        healthy &= !counts;
        text.push_str(&format!("{name}: {verdict}\n"));
    }
    log.answer(&text);
    Ok(u8::from(!healthy))
}

/// What the status of a service comes to.
#[derive(Debug, PartialEq, Eq)]
enum Judged<'a> {
    Good(String),
    Bad(String),
    /// It says that it serves on this port, as this user, at this path: to be tried.
    Serves(u16, Uid, &'a str),
}

fn judge<'a>(service: &BTreeMap<&'a str, &'a str>) -> Judged<'a> {
    let phase = field(service, "phase");
    let port = service.get("port").and_then(|port| port.parse().ok());
    match (field(service, "role"), phase, port) {
        ("main", "ready", Some(port)) => {
            // Without a user, root alone is good enough.
            let uid = service.get("uid").and_then(|uid| uid.parse().ok()).unwrap_or_default();
            Judged::Serves(port, Uid::from_raw(uid), field(service, "path"))
        }
        ("main", "ready" | "stopped" | "idle" | "done", _) | ("side", _, _) => Judged::Good(phase.to_owned()),
        _ => Judged::Bad(phase.to_owned()),
    }
}

fn serves(port: u16, user: Uid, path: &str) -> io::Result<()> {
    if !listening(port, user) {
        return Err(io::Error::other("it does not listen"));
    }
    if path == "-" {
        return Ok(());
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
    use super::{Judged, judge};

    #[test]
    fn only_what_gives_access_counts() {
        let table = [
            (vec![("role", "main"), ("phase", "ready"), ("port", "22")], Judged::Serves(22, 0.into(), "-")),
            (
                vec![("role", "main"), ("phase", "ready"), ("port", "80"), ("uid", "7"), ("path", "/v")],
                Judged::Serves(80, 7.into(), "/v"),
            ),
            // A tunnel that waits for a login.
            (vec![("role", "main"), ("phase", "ready")], Judged::Good("ready".into())),
            (vec![("role", "main"), ("phase", "starting"), ("port", "22")], Judged::Bad("starting".into())),
            (vec![("role", "main"), ("phase", "waiting")], Judged::Bad("waiting".into())),
            (vec![("role", "main"), ("phase", "pausing")], Judged::Bad("pausing".into())),
            (vec![("role", "main"), ("phase", "stopped")], Judged::Good("stopped".into())),
            (vec![("role", "side"), ("phase", "failed")], Judged::Good("failed".into())),
            (vec![], Judged::Bad("-".into())),
        ];
        for (fields, expected) in table {
            assert_eq!(judge(&fields.iter().copied().collect()), expected, "{fields:?}");
        }
    }
}
