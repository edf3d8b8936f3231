//! Running a program: its lines as they come, its last ones when it fails, and a polite end when we are cancelled.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};

use super::{HostError, Mend};
use crate::failure::Exit;

/// How many of its last lines a failed program is quoted with.
const QUOTED: usize = 20;

/// Where a line was printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

/// A call of a program, and what its failure means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Call<'a> {
    /// `apt-get install`
    pub(super) program: &'a str,
    /// What it is run for.
    pub(super) needed_for: &'a str,
    /// What its failure means for the command.
    pub(super) exit: Exit,
}

impl Call<'_> {
    /// Runs `command` to its end, `line` sees what it prints. When the future is dropped, the program is asked to end
    /// (SIGTERM), so that it can take away what it has half done.
    ///
    /// # Errors
    /// The program cannot be started, or ends with anything but success.
    pub(super) async fn run(self, mut command: Command, mut line: impl FnMut(Stream, &str)) -> Result<(), HostError> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| self.not_started(&error))?;
        let mut stdout = lines(child.stdout.take());
        let mut stderr = lines(child.stderr.take());
        let mut child = Asked::new(child);
        let mut last = VecDeque::with_capacity(QUOTED);
        let mut open = (true, true);
        while open.0 || open.1 {
            let (stream, text) = tokio::select! {
                text = next(&mut stdout), if open.0 => (Stream::Stdout, text),
                text = next(&mut stderr), if open.1 => (Stream::Stderr, text),
            };
            match (stream, text) {
                (_, Some(text)) => {
                    line(stream, &text);
                    if last.len() == QUOTED {
                        last.pop_front();
                    }
                    last.push_back(text);
                }
                (Stream::Stdout, None) => open.0 = false,
                (Stream::Stderr, None) => open.1 = false,
            }
        }
        let status = child.wait().await.map_err(|error| self.not_started(&error))?;
        if status.success() { Ok(()) } else { Err(self.failed(&status.to_string(), last.into(), None)) }
    }

    pub(super) fn failed(self, status: &str, output: Vec<String>, log: Option<PathBuf>) -> HostError {
        let (program, status) = (self.program.to_owned(), status.to_owned());
        HostError::Program { program, status, output, log, exit: self.exit, hint: None }
    }

    fn not_started(self, error: &std::io::Error) -> HostError {
        let name = self.program.split(' ').next().unwrap_or(self.program);
        let what = match error.kind() {
            std::io::ErrorKind::NotFound => format!("no program `{name}`"),
            _ => format!("the program `{name}` cannot be run ({error})"),
        };
        HostError::Missing { what, needed_for: self.needed_for.to_owned(), mend: Mend::None }
    }
}

/// A child that is asked to end when it is dropped before its end.
pub(super) struct Asked(Option<Child>);

impl Asked {
    pub(super) fn new(child: Child) -> Self {
        Self(Some(child))
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        self.0.as_mut().map_or(Ok(None), Child::try_wait)
    }

    async fn wait(&mut self) -> std::io::Result<ExitStatus> {
        match &mut self.0 {
            Some(child) => child.wait().await,
            None => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    /// It outlives us.
    pub(super) fn let_go(mut self) {
        self.0 = None;
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        // No id once it was waited for. tokio reaps what is left.
        if let Some(id) = self.0.as_ref().and_then(Child::id) {
            ask_to_end(id);
        }
    }
}

/// Sends SIGTERM; no error when the process is gone.
#[cfg(unix)]
fn ask_to_end(id: u32) {
    if let Some(pid) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}

#[cfg(not(unix))]
fn ask_to_end(_: u32) {}

type Lines<R> = Option<tokio::io::Split<BufReader<R>>>;

fn lines<R: AsyncRead + Unpin>(stream: Option<R>) -> Lines<R> {
    Some(BufReader::new(stream?).split(b'\n'))
}

async fn next<R: AsyncRead + Unpin>(lines: &mut Lines<R>) -> Option<String> {
    let bytes = lines.as_mut()?.next_segment().await.ok().flatten()?;
    Some(String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_owned())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    const CALL: Call<'_> = Call { program: "sh -c", needed_for: "a test", exit: Exit::Build };

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn what_a_program_prints() {
        let mut seen = Vec::new();
        CALL.run(shell("echo one; echo two >&2; printf three"), |stream, line| seen.push((stream, line.to_owned())))
            .await
            .expect("success");
        seen.sort_by_key(|(stream, _)| *stream == Stream::Stderr);
        let seen: Vec<_> = seen.iter().map(|(stream, line)| (*stream, line.as_str())).collect();
        assert_eq!(seen, [(Stream::Stdout, "one"), (Stream::Stdout, "three"), (Stream::Stderr, "two")]);
    }

    #[tokio::test]
    async fn a_failed_program_is_quoted() {
        let error = CALL.run(shell("seq 100; exit 3"), |_, _| ()).await.expect_err("failure");
        let HostError::Program { program, status, output, exit: Exit::Build, .. } = error else { panic!("{error:?}") };
        assert_eq!((program.as_str(), status.as_str()), ("sh -c", "exit status: 3"));
        assert_eq!((output.len(), output.first().map(String::as_str)), (QUOTED, Some("81")));
    }

    #[tokio::test]
    async fn a_program_that_is_not_there() {
        let call = Call { program: "gantry-no-such-program", ..CALL };
        let error = call.run(Command::new("gantry-no-such-program"), |_, _| ()).await.expect_err("failure");
        assert_eq!(error.to_string(), "no program `gantry-no-such-program`, needed for a test");
    }

    #[tokio::test]
    async fn a_cancelled_program_can_tidy_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("tidied");
        let script = format!("trap ': > {}; exit' TERM; echo ready; while :; do sleep 0.05; done", file.display());
        let (ready, waits) = tokio::sync::oneshot::channel();
        let mut ready = Some(ready);
        let run = CALL.run(shell(&script), move |_, _| {
            if let Some(ready) = ready.take() {
                let _ = ready.send(());
            }
        });
        tokio::select! {
            ended = run => panic!("it ended by itself: {ended:?}"),
            said = waits => said.expect("it is ready"),
        }
        while !file.exists() {
            tokio::task::yield_now().await;
        }
    }
}
