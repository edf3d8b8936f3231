//! The agent of a Coder workspace: got from its server by a worker at each start, then run as the workspace's user.

use super::{Surroundings, outside_policy};
use crate::coder_agent::{TOKEN, arguments, program, token_file};
use crate::failure::{Failure, SETTINGS};
use crate::process::Program;
use crate::supervisor::{Probe, Service, Shown, Step};
use crate::worker::Worker;
use nix::sys::signal::Signal;
use std::time::Duration;

pub(super) fn prepare(on: &Surroundings<'_>) -> Result<Service, Failure> {
    let coder = on.settings.coder.as_ref();
    let coder = coder.ok_or_else(|| Failure::new(SETTINGS, "CODER_AGENT_TOKEN is set, and CODER_AGENT_URL is not"))?;
    let mut environment = on.account.environment(&on.settings.session);
    // By a file, not by value: `/proc` shows a process's environment to everything that its user runs.
    environment.extend(
        [
            ("CODER_AGENT_AUTH", "token".into()),
            ("CODER_AGENT_URL", coder.url.clone().into()),
            ("CODER_AGENT_TOKEN_FILE", token_file().into_os_string()),
        ]
        .map(|(name, value)| (name.into(), value)),
    );
    let download = Step { program: Worker::CoderAgent.program(on.sources, &[TOKEN]), makes: None };
    Ok(Service {
        name: "agent",
        // Nothing that it says can be relied on to mean that it serves: whether it does, its server shows.
        policy: super::Policy { probed: false, ..outside_policy(1, Duration::from_secs(10)) },
        steps: vec![download],
        program: Program {
            path: program(),
            arguments: arguments(),
            environment,
            user: Some(on.account.clone()),
            folder: on.account.home.clone(),
            ..Program::default()
        },
        stop: Signal::SIGTERM,
        probe: Probe::Said,
        shown: Shown::Log,
        watch: None,
    })
}
