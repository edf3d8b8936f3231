//! `ssh [user@]host docker system dial-stdio`: the engine of another machine, as docker's own client reaches it.

use std::io;
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};
use tokio::task::JoinHandle;

/// What ssh says may end up in a message; more than this is not read.
const COMPLAINT_LIMIT: u64 = 4096;

/// A way to an engine on another machine.
pub(super) struct Ssh {
    arguments: Vec<String>,
}

impl Ssh {
    /// `address` is `ssh://[user@]host[:port][/socket]`, checked when the endpoint was resolved.
    pub(super) fn new(address: &str) -> Self {
        Self { arguments: arguments(address) }
    }

    /// Starts ssh. Whether it gets through shows when something is read.
    pub(super) fn connect(&self) -> io::Result<SshStream> {
        let mut child = Command::new("ssh")
            .args(&self.arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| io::Error::new(error.kind(), format!("the program `ssh` could not be started: {error}")))?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take()) else {
            return Err(io::Error::other("the program `ssh` was started without its pipes"));
        };
        Ok(SshStream { stdin, stdout, complaint: Some(tokio::spawn(complaint(stderr))), silent: true, _child: child })
    }
}

fn arguments(address: &str) -> Vec<String> {
    let rest = address.strip_prefix("ssh://").unwrap_or(address);
    let (authority, socket) = rest.find('/').map_or((rest, ""), |slash| rest.split_at(slash));
    let (user, machine) = authority.rsplit_once('@').map_or((None, authority), |(user, machine)| (Some(user), machine));
    let (host, port) = match machine.rsplit_once(':') {
        Some((host, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (host, Some(port)),
        _ => (machine, None),
    };
    let mut arguments = vec!["-T".to_owned(), "-o".into(), "ConnectTimeout=15".into()];
    arguments.extend(user.into_iter().flat_map(|user| ["-l".to_owned(), user.to_owned()]));
    arguments.extend(port.into_iter().flat_map(|port| ["-p".to_owned(), port.to_owned()]));
    arguments.extend(["--".to_owned(), host.trim_start_matches('[').trim_end_matches(']').to_owned(), "docker".into()]);
    if !socket.is_empty() && socket != "/" {
        arguments.extend(["--host".to_owned(), format!("unix://{socket}")]);
    }
    arguments.extend(["system".to_owned(), "dial-stdio".into()]);
    arguments
}

async fn complaint(stderr: ChildStderr) -> String {
    let mut bytes = Vec::new();
    let mut limited = stderr.take(COMPLAINT_LIMIT);
    // What could be read is all there is to say; a broken pipe of ssh's standard error changes nothing.
    let _ = limited.read_to_end(&mut bytes).await;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join("; ")
}

/// Standard input and output of a running ssh, which ends with it.
pub(super) struct SshStream {
    stdin: ChildStdin,
    stdout: ChildStdout,
    complaint: Option<JoinHandle<String>>,
    /// Nothing has come from the other side yet.
    silent: bool,
    _child: Child,
}

impl AsyncRead for SshStream {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stdout).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            self.silent = false;
        } else if self.silent
            && let Some(complaint) = self.complaint.as_mut()
        {
            // The end before the first byte: ssh did not get through, and says why on its standard error.
            let said = ready!(Pin::new(complaint).poll(context)).unwrap_or_default();
            self.complaint = None;
            let said = if said.is_empty() { "ssh ended without a word".to_owned() } else { format!("ssh: {said}") };
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionAborted, said)));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SshStream {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stdin).poll_write(context, bytes) {
            // ssh is gone: reading tells why, an error here would hide it.
            Poll::Ready(Err(error)) if self.silent && error.kind() == io::ErrorKind::BrokenPipe => Poll::Ready(Ok(bytes.len())),
            other => other,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stdin).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn what_ssh_is_called_with() {
        for (address, expected) in [
            ("ssh://build", "-T -o ConnectTimeout=15 -- build docker system dial-stdio"),
            ("ssh://me@build:2222", "-T -o ConnectTimeout=15 -l me -p 2222 -- build docker system dial-stdio"),
            ("ssh://[::1]:22/", "-T -o ConnectTimeout=15 -p 22 -- ::1 docker system dial-stdio"),
            ("ssh://build/run/x.sock", "-T -o ConnectTimeout=15 -- build docker --host unix:///run/x.sock system dial-stdio"),
        ] {
            assert_eq!(arguments(address).join(" "), expected);
        }
    }
}
