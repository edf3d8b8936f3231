//! `cargo xtask test`: the whole test suite, with what it needs. `cargo xtask lint`: what needs nothing but the compiler.

use tokio::process::Command;

use super::session::variable;
use super::{Session, setup};
use crate::cli::{Lint, Test};
use crate::failure::{Exit, Failure};

/// What is looked at before anything runs.
const LINTS: [&[&str]; 2] =
    [&["fmt", "--all", "--check"], &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]];

/// The same, mended where that can be done.
const MENDS: [&[&str]; 2] =
    [&["fmt", "--all"], &["clippy", "--quiet", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"]];

pub(super) async fn run(session: &Session, args: &Test) -> Result<(), Failure> {
    setup::ensure(session, "offline", args.yes, true).await?;
    // From what is quick to what takes an engine; the first failure ends it.
    if args.filter.is_none() && !args.no_lint {
        for step in LINTS {
            cargo(session, step).await?;
        }
    }
    let filter = args.filter.iter().flat_map(|filter| ["--", filter]);
    let test: Vec<&str> = ["test", "--workspace", "--no-fail-fast"].into_iter().chain(filter).collect();
    cargo(session, &test).await
}

/// `cargo xtask lint`: all of it, so that one run tells everything.
pub(super) async fn lint(session: &Session, args: &Lint) -> Result<(), Failure> {
    let (mut failed, steps) = (Vec::new(), if args.fix { MENDS } else { LINTS });
    for step in steps {
        if let Err(failure) = cargo(session, step).await {
            failed.push(failure);
        }
    }
    let mut failed = failed.into_iter();
    let Some(mut first) = failed.next() else { return Ok(()) };
    for other in failed {
        first.message += &format!("; {}", other.message);
    }
    Err(if args.fix { first } else { first.hint("cargo xtask lint --fix    mends what can be mended") })
}

/// Runs cargo in the workspace.
async fn cargo(session: &Session, args: &[&str]) -> Result<(), Failure> {
    let cargo = variable("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let mut command = Command::new(&cargo);
    command.current_dir(&session.root).args(args);
    // Variables of the cargo that runs us are not those of the one that we run.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST")) {
            command.env_remove(name);
        }
    }
    session.console.say(&format!("cargo {}", args.join(" ")));
    let status = command.status().await.map_err(|error| Failure::new(Exit::Missing, "cannot run cargo").source(error))?;
    if status.success() {
        return Ok(());
    }
    let code = status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    let what = args.first().copied().unwrap_or_default();
    Err(Failure::new(Exit::Unexpected, format!("`cargo {what}` ended with {code}")))
}
