//! `cargo xtask test`: the whole test suite, with what it needs.

use tokio::process::Command;

use super::session::variable;
use super::{Session, setup};
use crate::cli::Test;
use crate::failure::{Exit, Failure};

pub(super) async fn run(session: &Session, args: &Test) -> Result<(), Failure> {
    setup::ensure(session, "offline", args.yes, true).await?;
    let cargo = variable("CARGO").unwrap_or_else(|| "cargo".to_owned());
    // From what is quick to what takes an engine; the first failure ends it.
    let steps: [&[&str]; 3] = [
        &["fmt", "--all", "--check"],
        &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"],
        &["test", "--workspace", "--no-fail-fast"],
    ];
    for step in steps {
        let is_test = step[0] == "test";
        if args.filter.is_some() && !is_test {
            continue;
        }
        let mut command = Command::new(&cargo);
        command.current_dir(&session.root).args(step);
        // Variables of the cargo that runs us are not those of the one that we run.
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST")) {
                command.env_remove(name);
            }
        }
        if let Some(filter) = args.filter.as_ref().filter(|_| is_test) {
            command.arg("--").arg(filter);
        }
        session.console.say(&format!("cargo {}", step.join(" ")));
        let status = command.status().await.map_err(|error| Failure::new(Exit::Missing, "cannot run cargo").source(error))?;
        if !status.success() {
            let code = status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
            return Err(Failure::new(Exit::Unexpected, format!("`cargo {}` ended with {code}", step[0])));
        }
    }
    Ok(())
}
