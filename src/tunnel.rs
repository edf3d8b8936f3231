//! The worker that logs the VS Code tunnel in and runs it. Its output goes where this worker's goes: to PID 1,
//! which shows the codes to log in with.

use crate::account::Account;
use crate::failure::Failure;
use crate::http::retry::{self, Pauses};
use crate::places;
use crate::process::{End, Program, Streams, spawn};
use crate::settings::Settings;
use crate::supervisor::Seen;
use crate::worker::{Runtime, Stopped, Trouble, ended};
use nix::sys::signal::{Signal, killpg};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between logins that failed, because nobody can be reached, say.
const PAUSES: Pauses = Pauses { first: Duration::from_secs(1), longest: Duration::from_secs(60) };
/// How long the CLI may take to say whether it is logged in.
const SHORT: Duration = Duration::from_secs(20);
/// A tunnel that has run for this long is taken to be up, whatever words it uses.
const UP: Duration = Duration::from_secs(20);

/// Where the CLI keeps its login: its own usual place, so that `code tunnel` in a terminal knows of it.
pub(crate) fn data(home: &Path) -> PathBuf {
    home.join(".vscode/cli")
}

/// Runs the tunnel until it ends, or a stop.
///
/// # Errors
/// There is no user to run it as.
pub(crate) fn run(runtime: &mut Runtime, settings: &Settings) -> Result<u8, Failure> {
    let account = Account::workspace(settings.home.as_deref())?;
    let cli = Cli { account, settings };
    if let Err(Stopped) = cli.log_in(runtime) {
        return Ok(0);
    }
    runtime.report.doing("connects");
    let name = settings.tunnel.name.as_str();
    let end = cli.run(runtime, &["tunnel", "--accept-server-license-terms", "--name", name], true);
    Ok(end.map_or(126, End::exit_code))
}

/// VS Code's command line program.
struct Cli<'a> {
    account: Account,
    settings: &'a Settings,
}

impl Cli<'_> {
    fn program(&self, arguments: &[&str]) -> Program {
        let mut environment = self.account.environment(&self.settings.session);
        // Kept in files of this folder, so that the login survives the container together with it.
        environment.extend(
            [("VSCODE_CLI_USE_FILE_KEYCHAIN", "1"), ("VSCODE_CLI_DISABLE_KEYCHAIN_ENCRYPT", "1")]
                .map(|(name, value)| (name.into(), value.into())),
        );
        environment.push(("VSCODE_CLI_DATA_DIR".into(), data(&self.account.home).into_os_string()));
        Program {
            path: places::VSCODE_CLI.into(),
            arguments: arguments.iter().map(OsString::from).collect(),
            environment,
            user: Some(self.account.clone()),
            folder: self.account.home.clone(),
            dies_with_parent: true,
            ..Program::default()
        }
    }

    /// Logs in with Microsoft, unless that was done before: by itself the CLI would log in with GitHub.
    fn log_in(&self, runtime: &mut Runtime) -> Result<(), Stopped> {
        for tried in 1.. {
            match runtime.run(&self.program(&["tunnel", "user", "show"]), b"", SHORT, true) {
                Ok(finished) if finished.end == End::Code(0) => return Ok(()),
                Err(Trouble::Stopped) => return Err(Stopped),
                _ => {}
            }
            runtime.report.doing("waits for a login with Microsoft");
            let end = self.run(runtime, &["tunnel", "user", "login", "--provider", "microsoft"], false);
            if runtime.stopped().is_some() {
                return Err(Stopped);
            }
            match end {
                Some(End::Code(0)) => return Ok(()),
                end => {
                    let pause = PAUSES.after(tried, retry::random());
                    let why = end.map_or_else(|| "not started".to_owned(), |end| end.to_string());
                    runtime.report.doing("cannot offer a login at the moment");
                    runtime.report.warning(format!("the login failed ({why}); tried again in {} s", pause.as_secs()));
                    runtime.sleep(pause)?;
                }
            }
        }
        Ok(())
    }

    /// Runs the CLI to its end; none when it cannot be started. A stop is handed on as SIGINT: nothing else ends it
    /// in good order.
    fn run(&self, runtime: &mut Runtime, arguments: &[&str], serves: bool) -> Option<End> {
        let child = match spawn(&self.program(arguments), Streams::default(), &[]) {
            Ok(child) => child,
            Err(error) => {
                runtime.report.error(format!("`{}` cannot be started: {error}", places::VSCODE_CLI));
                return None;
            }
        };
        let mut up = serves.then(|| Instant::now() + UP);
        let mut asked = false;
        loop {
            if let Some(end) = ended(child.pid) {
                return Some(end);
            }
            if !asked && runtime.stopped().is_some() {
                asked = true;
                up = None;
                // Gone already: just what is wanted.
                let _ = killpg(child.pid, Signal::SIGINT);
            }
            if up.is_some_and(|up| Instant::now() >= up) {
                runtime.report.ready();
                up = None;
            }
            runtime.wait(&[], up);
            // Read, so that a second signal does not keep this from waiting.
            runtime.stopped();
        }
    }
}

/// What a line of the CLI's output means.
pub(crate) fn watch(line: &str) -> Option<Seen> {
    // GitHub: `… please log into https://github.com/login/device and use code ABCD-1234`; Microsoft: `To sign in, use a
    // web browser to open the page https://microsoft.com/devicelogin and enter the code ABCD1234 to authenticate.`
    let code = line.contains("https://") && (line.contains("use code ") || line.contains("enter the code "));
    // `Open this link in your browser https://vscode.dev/tunnel/NAME/FOLDER`
    let linked = line.contains("https://vscode.dev/tunnel/");
    (code || linked).then(|| Seen::Prominent(line.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::watch;
    use crate::supervisor::Seen;
    use proptest::prelude::*;

    #[test]
    fn what_a_person_has_to_see() {
        let prominent = [
            "To sign in, use a web browser to open the page https://microsoft.com/devicelogin and enter the code ABCD1234 to \
             authenticate.",
            "To grant access to the server, please log into https://github.com/login/device and use code ABCD-1234",
            "Open this link in your browser https://vscode.dev/tunnel/ansible_container/home/ansible",
        ];
        for line in prominent {
            assert_eq!(watch(&format!("{line}  ")), Some(Seen::Prominent(line.to_owned())));
        }
        let others = [
            "* the Microsoft Privacy Statement (https://privacy.microsoft.com/en-US/privacystatement).",
            "[2026-11-20 10:00:00] info Creating tunnel with the name: ansible_container",
            "",
        ];
        for line in others {
            assert_eq!(watch(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_shown_whole_or_not_at_all(line in "(https://|use code |enter the code |vscode.dev/tunnel/|\\PC){0,8}") {
            if let Some(seen) = watch(&line) {
                prop_assert_eq!(seen, Seen::Prominent(line.trim().to_owned()));
            }
        }
    }
}
