//! The command line. Containers are set up by variables; commands are for people and health checks.

use crate::access::{Access, Reach};
use crate::account::WORKSPACE_USER;
use crate::client::Order;
use crate::failure::{Failure, SETTINGS, SYSTEM, UNAVAILABLE, USAGE};
use crate::log::Log;
use crate::services;
use crate::settings::{Settings, Sources, VARIABLES};
use crate::worker::Worker;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Run,
    Check,
    Health,
    Status {
        as_json: bool,
    },
    Order(Order, String),
    Logs {
        service: String,
        follow: bool,
    },
    /// The entrypoint's own; not in the help.
    Worker(Worker),
    /// With a folder in place of `PERSIST_DIR`.
    Persist(Option<PathBuf>),
    Help,
    Version,
}

impl Command {
    /// Reads the arguments behind the program's name.
    ///
    /// # Errors
    /// More than one argument, or an unknown one.
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let arguments: Vec<_> = arguments.map(|argument| argument.to_string_lossy().into_owned()).collect();
        match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            [] => Ok(Self::Run),
            ["check"] => Ok(Self::Check),
            ["health" | "healthcheck"] => Ok(Self::Health),
            ["status"] => Ok(Self::Status { as_json: false }),
            ["status", "--json"] => Ok(Self::Status { as_json: true }),
            [word, service] if let Some(order) = Order::named(word) => Ok(Self::Order(order, service.to_owned())),
            ["logs", "-f" | "--follow", service] | ["logs", service, "-f" | "--follow"] => {
                Ok(Self::Logs { service: service.to_owned(), follow: true })
            }
            ["logs", service] => Ok(Self::Logs { service: service.to_owned(), follow: false }),
            ["worker", name] if let Some(worker) = Worker::named(name) => Ok(Self::Worker(worker)),
            ["persist"] => Ok(Self::Persist(None)),
            ["persist", folder] if !folder.starts_with('-') => Ok(Self::Persist(Some(folder.into()))),
            ["--help" | "-h" | "help"] => Ok(Self::Help),
            ["--version" | "-V"] => Ok(Self::Version),
            _ => Err(Failure::new(USAGE, format!("`{}` is no command of the entrypoint", arguments.join(" ")))
                .hint("without a command it runs the workspace; `entrypoint --help` lists the commands")
                .hint("another program instead of the workspace: `docker run --entrypoint PROGRAM …`")),
        }
    }
}

/// `check`: tries the settings and says what would run.
///
/// # Errors
/// Those of a start, as far as they can be known without one.
pub(crate) fn check(log: &Log) -> Result<u8, Failure> {
    let settings = Settings::read_strictly(&Sources::plain())?;
    services::available(&settings)?;
    settings.say(log);
    let mut text = String::new();
    for access in &settings.access {
        // Writing to a `String` cannot fail.
        let _ = match access {
            Access::Sshd => {
                let (port, keys) = (settings.ssh.port, settings.ssh.keys.len());
                writeln!(text, "sshd on port {port} for `{WORKSPACE_USER}`, keys: {keys}")
            }
            Access::Web(reach) => {
                let host = if *reach == Reach::Loopback { "127.0.0.1" } else { "0.0.0.0" };
                writeln!(text, "VS Code in the browser on {host}:{}", settings.web.port)
            }
            Access::CoderAgent => writeln!(text, "the Coder agent"),
            Access::Tunnel => writeln!(text, "the VS Code tunnel"),
        };
    }
    log.answer(&text);
    Ok(0)
}

/// `--version`
pub(crate) fn version(log: &Log) -> Result<u8, Failure> {
    log.answer(concat!("entrypoint ", env!("CARGO_PKG_VERSION"), "\n"));
    Ok(0)
}

/// `--help`
pub(crate) fn help(log: &Log) -> Result<u8, Failure> {
    log.answer(&help_text());
    Ok(0)
}

fn help_text() -> String {
    let mut text = String::from(
        "PID 1 of a workspace: starts, supervises and stops its services.\n\n\
         Usage: entrypoint [COMMAND]\n\n\
         Commands:\n  \
           (none)                      run the workspace\n  \
           check                       try the variables and say what would run\n  \
           status [--json]             what runs here, since when, and what it is doing\n  \
           start|stop|restart SERVICE  one service, while the others run on\n  \
           logs [-f] SERVICE           the last lines of a service, and with -f those to come\n  \
           persist [FOLDER]            link what is kept of the home into PERSIST_DIR, or into FOLDER\n  \
           healthcheck                 0 when everything that gives access serves, otherwise 1\n  \
           --help                      this text\n  \
           --version                   the version\n\n\
         Variables (empty is unset):\n",
    );
    let width = VARIABLES.iter().map(|variable| variable.name.len()).max().unwrap_or_default();
    for variable in VARIABLES {
        let default = if variable.default.is_empty() { String::new() } else { format!(" [{}]", variable.default) };
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {:width$}  {}{default}", variable.name, variable.meaning);
    }
    // Writing to a `String` cannot fail.
    let _ = write!(
        text,
        "\nExit codes: a service's own (128+n when signal n ended it), 0 after a stop that was asked for,\n\
         137 when a service had to be killed for it; {USAGE} unknown command, {UNAVAILABLE} not in this version or image,\n\
         {SYSTEM} refused by the system, {SETTINGS} wrong settings.\n"
    );
    text
}

#[cfg(test)]
mod tests {
    use super::{Command, Order, help_text};
    use crate::failure::USAGE;
    use crate::settings::VARIABLES;

    fn parse(arguments: &[&str]) -> Result<Command, u8> {
        Command::parse(arguments.iter().map(Into::into)).map_err(|failure| failure.exit)
    }

    #[test]
    fn commands() {
        assert_eq!(parse(&[]), Ok(Command::Run));
        assert_eq!(parse(&["health"]), Ok(Command::Health));
        assert_eq!(parse(&["healthcheck"]), Ok(Command::Health));
        assert_eq!(parse(&["status", "--json"]), Ok(Command::Status { as_json: true }));
        assert_eq!(parse(&["restart", "web"]), Ok(Command::Order(Order::Restart, "web".into())));
        let follow = Command::Logs { service: "web".into(), follow: true };
        assert_eq!(parse(&["logs", "-f", "web"]), Ok(follow));
        assert_eq!(parse(&["logs"]), Err(USAGE));
        assert_eq!(parse(&["check"]), Ok(Command::Check));
        assert_eq!(parse(&["--help"]), Ok(Command::Help));
        assert_eq!(parse(&["bash"]), Err(USAGE));
        assert_eq!(parse(&["health", "now"]), Err(USAGE));
    }

    #[test]
    fn help_has_a_line_for_every_variable() {
        let text = help_text();
        for variable in VARIABLES {
            assert!(text.contains(&format!("  {} ", variable.name)), "{}", variable.name);
        }
        assert!(text.lines().all(|line| line.chars().count() <= 120), "{text}");
    }
}
