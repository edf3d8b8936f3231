//! The GitHub runner, beside whatever gives access: a worker registers it, runs its listener and removes it.

use super::Surroundings;
use crate::settings::{Credentials, Runner, Settings};
use crate::supervisor::{Policy, Probe, Restart, Role, Service, Shown};
use crate::worker::Worker;
use crate::{places, runner};
use nix::sys::signal::Signal;
use std::path::Path;
use std::time::Duration;

/// What of it this image lacks.
pub(super) fn missing(settings: &Settings) -> Option<String> {
    let runner = settings.runner.as_ref()?;
    let listener = Path::new(places::RUNNER).join("bin/Runner.Listener");
    if !listener.is_file() {
        return Some(format!("GITHUB_RUNNER_URL is set, but this image has no GitHub runner in `{}`", places::RUNNER));
    }
    runner::account(settings, runner).err().map(|failure| failure.problems.concat())
}

/// The service, when it is asked for.
pub(super) fn prepare(on: &Surroundings<'_>, runner: &Runner) -> Service {
    let secrets: &[&str] = match &runner.credentials {
        Credentials::Pat(name) => &[name],
        Credentials::App { .. } => &["GITHUB_APP_PRIVATE_KEY"],
        Credentials::RegistrationToken => &["GITHUB_RUNNER_TOKEN"],
    };
    Service {
        name: "runner",
        policy: Policy {
            role: Role::Side,
            steps: 0,
            probed: true,
            once: false,
            autostart: runner.autostart,
            gate: None,
            // The worker itself does the waiting: it ends only when it is killed.
            restart: Restart {
                limit: None,
                first: Duration::from_secs(1),
                longest: Duration::from_secs(60),
                stable: Duration::from_secs(60),
            },
            patience: runner::patience(on.settings.grace),
        },
        steps: Vec::new(),
        program: Worker::Runner.program(on.sources, secrets),
        stop: Signal::SIGTERM,
        probe: Probe::Said,
        shown: if runner.debug { Shown::Log } else { Shown::Kept },
        watch: None,
    }
}
