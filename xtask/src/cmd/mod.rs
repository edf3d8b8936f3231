//! The commands, one file each: gather facts, resolve, act, print.

mod age;
mod announce;
mod build;
mod bump;
mod changed;
mod clean;
mod compile;
mod contents;
mod deliver;
mod deploy;
mod describe;
mod destinations;
mod diff;
mod doctor;
mod ecr;
mod edge;
mod engine;
mod lineage;
mod manifest;
mod notes;
mod pin;
mod plan;
mod preflight;
mod prepare;
mod programs;
mod promote;
mod propose;
mod publish;
mod published;
mod push;
mod quickstart;
mod reach;
mod release;
mod report;
mod sbom;
mod session;
mod setup;
mod smoke;
mod subject;
mod summary;
mod test;
mod tried;
mod verify;

use std::process::ExitCode;

use clap::ValueEnum as _;

use crate::cli::{Cli, Command, DeployCommand, EcrCommand, Format};
use crate::failure::{Exit, Failure};
use crate::output::print_failure;

pub(crate) use session::Session;

/// Runs a command and prints its failure, if it fails.
pub fn run(cli: Cli) -> ExitCode {
    // The crates below bring no provider of their own choice; see the design, "one TLS provider".
    rustls::crypto::ring::default_provider().install_default().ok();
    let session = Session::new(&cli);
    let console = session.console;
    if console.verbosity() > 0 {
        crate::registry::trace(console.events(), console.verbosity() > 1);
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            print_failure(console, &Failure::new(Exit::Unexpected, "cannot start the runtime").source(error));
            return ExitCode::from(Exit::Unexpected as u8);
        }
    };
    let result = runtime.block_on(dispatch(session, cli.command));
    // A blocking task that still waits for a download or a child must not hold up the end.
    runtime.shutdown_timeout(std::time::Duration::from_millis(200));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            print_failure(console, &failure);
            ExitCode::from(failure.exit as u8)
        }
    }
}

/// The formats that a command prints its result in.
fn accepted(command: &Command) -> &'static [Format] {
    match command {
        Command::Plan(_) => &[Format::Human, Format::Json, Format::Dot, Format::Mermaid],
        Command::Diff(_) | Command::Bump(_) => &[Format::Human, Format::Json, Format::Markdown],
        _ => &[Format::Human, Format::Json],
    }
}

async fn dispatch(session: Session, command: Command) -> Result<(), Failure> {
    let (format, accepted) = (session.console.format(), accepted(&command));
    if !accepted.contains(&format) {
        let name = |format: &Format| format.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default();
        let all = accepted.iter().map(|format| format!("`{}`", name(format))).collect::<Vec<_>>();
        let all = all.split_last().map_or_else(String::new, |(last, others)| format!("{} and {last}", others.join(", ")));
        let of = if format == Format::Markdown { "diff` and `bump" } else { "plan" };
        let message = format!("`--format {}` is for `{of}`; accepted here are {all}", name(&format));
        return Err(Failure::new(Exit::Usage, message));
    }
    match command {
        Command::Plan(args) => plan::run(&session, &args).await,
        Command::Build(args) => build::run(&session, &args).await,
        Command::Smoke(args) => smoke::run(&session, &args).await,
        Command::Push(args) => push::run(&session, &args).await,
        Command::Publish(args) => publish::run(&session, &args).await,
        Command::Verify(args) => verify::run(&session, &args).await,
        Command::Promote(args) => promote::run(&session, &args).await,
        Command::Bump(args) => bump::run(&session, &args).await,
        Command::Deploy(args) => match args.command {
            DeployCommand::Ecs(args) => deploy::ecs(&session, &args).await,
        },
        Command::Pin(args) => pin::run(&session, &args).await,
        Command::Announce(args) => announce::run(&session, &args).await,
        Command::Propose(args) => propose::run(&session, &args).await,
        Command::Sbom(args) => sbom::run(&session, &args).await,
        Command::Quickstart(args) => quickstart::run(&session, &args).await,
        Command::Setup(args) => setup::run(&session, &args).await,
        Command::Doctor(args) => doctor::run(&session, &args).await,
        Command::Ecr(args) => match args.command {
            EcrCommand::Init(args) => ecr::init(&session, &args).await,
        },
        Command::Clean(args) => clean::run(&session, &args).await,
        Command::Diff(args) => diff::run(&session, &args).await,
        Command::Report(args) => report::run(&session, &args).await,
        Command::Compile(args) => compile::run(&session, &args).await,
        Command::Lint(args) => test::lint(&session, &args).await,
        Command::Test(args) => test::run(&session, &args).await,
    }
}
