//! The entrypoint's own programs: what takes time or talks to a network does not run in PID 1, which has to be
//! there for signals and orphans, but in a child of the same binary, `entrypoint worker NAME`.
//!
//! A worker reads the settings itself, from the same variables; the secrets that it needs come in a sealed memory
//! file. It runs as the entrypoint's own user, may block, waits for its own children only, tells PID 1 what
//! happens over a pipe ([`report`]), and ends soon after SIGTERM.

mod report;
mod runtime;

pub(crate) use report::{Report, Told, VARIABLE as REPORT};
pub(crate) use runtime::{Runtime, Stopped, Trouble, ended};

use crate::failure::Failure;
use crate::process::Program;
use crate::services;
use crate::settings::{Settings, Sources};
use crate::{certificates, coder_agent, places, repository, runner, tunnel};

/// The workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Worker {
    /// Clones the repository of `ANSIBLE_REPO_URL`.
    Repository,
    /// Downloads the Coder agent.
    CoderAgent,
    /// Registers and runs the GitHub runner.
    Runner,
    /// Logs the VS Code tunnel in and runs it.
    Tunnel,
    /// Keeps the host keys of sshd on the volume.
    HostKeys,
    /// Has the web server begin with the token that its file holds by then.
    WebToken,
}

impl Worker {
    /// The word on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Repository => "repository",
            Self::CoderAgent => "coder-agent",
            Self::Runner => "runner",
            Self::Tunnel => "tunnel",
            Self::HostKeys => "host-keys",
            Self::WebToken => "web-token",
        }
    }

    /// The worker called `name`.
    pub(crate) fn named(name: &str) -> Option<Self> {
        const ALL: [Worker; 6] =
            [Worker::Repository, Worker::CoderAgent, Worker::Runner, Worker::Tunnel, Worker::HostKeys, Worker::WebToken];
        ALL.into_iter().find(|worker| worker.name() == name)
    }

    /// The worker as a program of a service; of the secrets it gets those in `secrets`.
    pub(crate) fn program(self, sources: &Sources, secrets: &[&str]) -> Program {
        Program {
            path: "/proc/self/exe".into(),
            arguments: vec!["worker".into(), self.name().into()],
            environment: sources.environment().to_vec(),
            folder: "/".into(),
            secrets: sources.secrets(secrets),
            reports: true,
            ..Program::default()
        }
    }

    /// Runs it to its end and returns its exit code. What keeps it from running is told to PID 1.
    ///
    /// # Errors
    /// It cannot even begin.
    pub(crate) fn run(self) -> Result<u8, Failure> {
        let mut runtime = Runtime::begin()?;
        let ended = Sources::sealed().and_then(|sources| {
            let mut settings = Settings::again(&sources);
            certificates::apply(&mut settings, &places::runtime());
            self.work(&mut runtime, &sources, &settings)
        });
        Ok(ended.unwrap_or_else(|failure| {
            failure.problems.iter().for_each(|problem| runtime.report.error(problem));
            failure.hints.iter().for_each(|hint| runtime.report.info(format!("hint: {hint}")));
            failure.exit
        }))
    }

    /// The work itself, which lives with what it is about.
    fn work(self, runtime: &mut Runtime, sources: &Sources, settings: &Settings) -> Result<u8, Failure> {
        match self {
            Self::HostKeys => services::keep_host_keys(settings, &runtime.report),
            Self::WebToken => services::renew_web_token(settings, sources, &runtime.report),
            Self::CoderAgent => coder_agent::run(runtime, settings, sources),
            Self::Tunnel => tunnel::run(runtime, settings),
            Self::Runner => runner::run(runtime, settings, sources),
            Self::Repository => repository::run(runtime, settings, sources),
        }
    }
}
