//! Runs a package manager's client.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::bump::Trouble;
use crate::failure::Exit;
use crate::secret;

/// How long a client may take: solving a large set with a slow mirror takes minutes.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// How much of what a client complains about is told.
const TOLD: usize = 12;

/// A client.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    /// Its program.
    pub program: &'static str,
    /// What it is needed for.
    pub needed_for: &'static str,
    /// What installs it.
    pub mend: &'static str,
}

/// What a client came to.
#[derive(Debug, Clone, Default)]
pub(super) struct Ended {
    pub(super) success: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

impl Client {
    /// Runs it in `folder` to its end. It gets no secrets of registries and clouds, and is gone when the future is dropped.
    pub(super) async fn run(self, args: &[&str], folder: &Path, env: &BTreeMap<String, String>) -> Result<Ended, Trouble> {
        // npm is a script there.
        let program = if cfg!(windows) && self.program == "npm" { "npm.cmd" } else { self.program };
        let mut command = Command::new(program);
        secret::withhold(&mut command);
        command.args(args).current_dir(folder).envs(env).stdin(Stdio::null()).kill_on_drop(true);
        match tokio::time::timeout(PATIENCE, command.output()).await {
            Err(_) => {
                let minutes = PATIENCE.as_secs() / 60;
                Err(Trouble::new(Exit::Missing, format!("`{program}` has not ended for {minutes} minutes"))
                    .hint("are its registry and its proxy the right ones?"))
            }
            Ok(Err(error)) if error.kind() == ErrorKind::NotFound => Err(self.missing()),
            Ok(Err(error)) => Err(Trouble::new(Exit::Missing, format!("`{program}` cannot be run: {error}")).hint(self.mend)),
            Ok(Ok(output)) => Ok(Ended {
                success: output.status.success(),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            }),
        }
    }

    fn missing(self) -> Trouble {
        let Self { program, needed_for, mend } = self;
        Trouble::new(Exit::Missing, format!("there is no program `{program}`, needed for {needed_for}")).hint(mend)
    }
}

/// What a client complains about, in one line; programs draw trees and break lines as they like.
pub(super) fn complaint(text: &str) -> String {
    let drawn = |c: char| c.is_whitespace() || matches!(c, '×' | '╰' | '─' | '▶' | '│' | '├' | '·');
    let lines = text.lines().map(|line| line.trim_matches(drawn)).filter(|line| !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with("warning:") && !line.starts_with("npm warn"));
    let told: Vec<&str> = lines.take(TOLD).collect();
    let told = told.join(" ");
    told.trim_end_matches('.').to_owned()
}

/// A temporary folder that nobody else can look into, and that is gone when it is dropped.
pub(super) fn folder() -> Result<tempfile::TempDir, Trouble> {
    let made = tempfile::Builder::new().prefix("gantry-").tempdir();
    made.map_err(|error| Trouble::new(Exit::Missing, format!("no temporary folder can be made: {error}")))
}

/// A file of the family.
pub(super) fn read(root: &Path, path: &str) -> Result<String, Trouble> {
    let text = std::fs::read_to_string(root.join(path));
    text.map_err(|error| Trouble::new(Exit::Usage, format!("cannot read `{path}`: {error}")))
}

/// A file of a temporary folder, with the folders above it.
pub(super) fn write(folder: &Path, path: &str, text: &str) -> Result<(), Trouble> {
    let file = folder.join(path);
    let made = file.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(&file, text));
    made.map_err(|error| Trouble::new(Exit::Missing, format!("cannot write `{}`: {error}", file.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn complaints_in_one_line() {
        let text = "warning: the moon is full\n  × No solution found when resolving dependencies:\n  ╰─▶ Because there is no version of six==99\n      \
                    and you require six==99, we can conclude that your\n      requirements are unsatisfiable.\n\n";
        assert_eq!(
            complaint(text),
            "No solution found when resolving dependencies: Because there is no version of six==99 and you require six==99, we \
             can conclude that your requirements are unsatisfiable"
        );
        assert_eq!(complaint(" \n"), "");
    }
}
