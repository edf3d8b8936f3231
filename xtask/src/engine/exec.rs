//! Commands in a container that runs, as `docker exec` starts them.

use std::fmt;

use bollard::container::LogOutput;
use bollard::exec::StartExecResults;
use bollard::models::ExecConfig;
use futures_util::stream::TryStreamExt;
use tokio::io::AsyncWriteExt as _;

use super::EngineError;
use super::client::Engine;

/// What of a command's output is kept, in bytes of each stream: it is for people and patterns.
const KEPT: usize = 256 << 10;

/// A command to run in a container.
#[derive(Clone, Default)]
pub struct Command {
    /// Program and arguments.
    pub words: Vec<String>,
    /// Whom it runs as; none: the container's own user.
    pub user: Option<String>,
    /// What it reads on its standard input, which then stays open: it has to know how much that is. Never printed.
    pub input: Vec<u8>,
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").field("words", &self.words).field("user", &self.user).finish_non_exhaustive()
    }
}

/// What a command came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommandOutput {
    /// Its exit code: 126 and 127 as the engine gives them, where the program could not be started.
    pub exit_code: i64,
    /// What it printed, as far as it is text.
    pub stdout: String,
    /// And on its other stream.
    pub stderr: String,
}

impl CommandOutput {
    /// Whether it ended with 0.
    pub fn success(&self) -> bool {
        self.exit_code == 0
    }

    /// Both streams, one after the other.
    pub fn text(&self) -> String {
        let separator = if self.stdout.is_empty() || self.stdout.ends_with('\n') { "" } else { "\n" };
        format!("{}{separator}{}", self.stdout, self.stderr)
    }
}

impl Engine {
    /// Runs a command in the container `name` to its end. A command that goes on when the future is dropped goes on until the
    /// container ends.
    ///
    /// # Errors
    /// [`EngineError::Refused`] where the container is not there (404) or does not run (409).
    pub async fn exec(&self, name: &str, command: Command) -> Result<CommandOutput, EngineError> {
        let program = command.words.first().cloned().unwrap_or_default();
        let what = format!("run `{program}` in the container `{name}`");
        let config = ExecConfig {
            attach_stdin: Some(!command.input.is_empty()),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            cmd: Some(command.words),
            user: command.user,
            ..ExecConfig::default()
        };
        let created = self.docker().create_exec(name, config).await.map_err(|error| self.error(&what, error))?;
        let started = self.docker().start_exec(&created.id, None).await.map_err(|error| self.error(&what, error))?;
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        if let StartExecResults::Attached { mut output, input: mut writer } = started {
            // Who ends without reading it has an exit code of their own to say so.
            let _ = writer.write_all(&command.input).await;
            let _ = writer.flush().await;
            while let Some(part) = output.try_next().await.map_err(|error| self.error(&what, error))? {
                let (stream, bytes) = match part {
                    LogOutput::StdErr { message } => (&mut stderr, message),
                    LogOutput::StdOut { message } | LogOutput::StdIn { message } | LogOutput::Console { message } => {
                        (&mut stdout, message)
                    }
                };
                let room = KEPT.saturating_sub(stream.len()).min(bytes.len());
                stream.extend(bytes.get(..room).unwrap_or_default());
            }
        }
        let ended = self.docker().inspect_exec(&created.id).await.map_err(|error| self.error(&what, error))?;
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        // Without a code it was killed with its container.
        Ok(CommandOutput { exit_code: ended.exit_code.unwrap_or(137), stdout: text(stdout), stderr: text(stderr) })
    }
}
