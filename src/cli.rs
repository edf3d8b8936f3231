//! The command line. Containers are set up by variables; commands are for people and health checks.

use crate::client::Order;
use crate::failure::{Failure, USAGE};
use crate::log::Log;
use crate::repository::Prompt;
use crate::worker::Worker;
use std::ffi::OsString;
use std::path::PathBuf;

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Run,
    Check,
    Health,
    WebUrl,
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
    /// What git executes to ask for credentials; not in the help.
    Answer(Prompt),
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
            ["web-url"] => Ok(Self::WebUrl),
            ["worker", name] if let Some(worker) = Worker::named(name) => Ok(Self::Worker(worker)),
            ["persist"] => Ok(Self::Persist(None)),
            ["persist", folder] if !folder.starts_with('-') => Ok(Self::Persist(Some(folder.into()))),
            [prompt] if let Some(prompt) = Prompt::parse(prompt) => Ok(Self::Answer(prompt)),
            ["--help" | "-h" | "help"] => Ok(Self::Help),
            ["--version" | "-V"] => Ok(Self::Version),
            [command, ..] if let Some(usage) = usage(command) => Err(Failure::new(
                USAGE,
                format!("`{}` cannot be understood: `entrypoint {usage}` is how it goes", arguments.join(" ")),
            )
            .hint("`entrypoint status` lists the services, `entrypoint --help` the commands")),
            _ => Err(Failure::new(USAGE, format!("`{}` is no command of the entrypoint", arguments.join(" ")))
                .hint("without a command it runs the workspace; `entrypoint --help` lists the commands")
                .hint("another program instead of the workspace: `docker run --entrypoint PROGRAM …`")),
        }
    }
}

/// How the command called `name` is used, where there is one.
fn usage(name: &str) -> Option<&'static str> {
    let commands = [
        ("check", "check"),
        ("healthcheck", "healthcheck"),
        ("status", "status [--json]"),
        ("start", "start SERVICE"),
        ("stop", "stop SERVICE"),
        ("restart", "restart SERVICE"),
        ("logs", "logs [-f] SERVICE"),
        ("web-url", "web-url"),
        ("persist", "persist [FOLDER]"),
    ];
    commands.into_iter().find(|(command, _)| *command == name).map(|(_, usage)| usage)
}

/// `--version`
pub(crate) fn version(log: &Log) -> Result<u8, Failure> {
    crate::crates::keep();
    log.answer(concat!("entrypoint ", env!("CARGO_PKG_VERSION"), "\n"));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::{Command, Order};
    use crate::failure::USAGE;

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
}
