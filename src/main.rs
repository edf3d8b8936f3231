//! PID 1 of every Gantry image: starts, supervises and stops the services of a workspace.
//!
//! Settings → services → supervisor → exit code.

mod access;
mod account;
mod certificates;
mod check;
mod cli;
mod client;
mod coder_agent;
mod crates;
mod failure;
mod files;
mod help;
mod http;
mod log;
mod persistence;
mod places;
mod process;
mod repository;
mod runner;
mod services;
mod settings;
mod signals;
mod supervisor;
mod tunnel;
mod web_url;
mod worker;

use crate::cli::Command;
use crate::failure::Failure;
use crate::log::Log;
use crate::settings::Settings;
use std::process::ExitCode;

fn main() -> ExitCode {
    // First of all, and in every command: `docker exec` and health checks find the container's secrets in their
    // environment, and others of the same user are not to read them there. Where it is refused, PID 1 says so.
    let _ = settings::hide();
    let log = Log::new(settings::log_format());
    let ended = match Command::parse(std::env::args_os().skip(1)) {
        Ok(Command::Run) => run(&log),
        Ok(Command::Check) => check::check(&log),
        Ok(Command::Health) => client::health(&log),
        Ok(Command::Status { as_json }) => client::status(as_json, &log),
        Ok(Command::Order(order, service)) => client::order(order, &service, &log),
        Ok(Command::Logs { service, follow }) => client::logs(&service, follow, &log),
        Ok(Command::WebUrl) => web_url::show(&log),
        Ok(Command::Worker(worker)) => worker.run(),
        Ok(Command::Persist(folder)) => persistence::by_hand(folder, &log),
        Ok(Command::Answer(prompt)) => prompt.answer(&log),
        Ok(Command::Help) => help::help(&log),
        Ok(Command::Version) => cli::version(&log),
        Err(failure) => Err(failure),
    };
    ExitCode::from(ended.unwrap_or_else(|failure| failure.report(&log)))
}

/// Runs the workspace until it ends and returns its exit code.
fn run(log: &Log) -> Result<u8, Failure> {
    // From here on no signal is lost, not even one that arrives during the re-exec.
    let signals = signals::Signals::block()?;
    let sources = settings::Sources::sealed()?;
    let mut settings = Settings::read(&sources)?;
    services::leave_out(&mut settings);
    settings.say(log);
    let services = services::prepare(&mut settings, &sources, log)?;
    supervisor::run(services, signals, &settings, log)
}
