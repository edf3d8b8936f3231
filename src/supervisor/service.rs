//! What a service is, to the supervisor.

use super::events::Policy;
use super::ports::listening;
use crate::process::Program;
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use std::path::PathBuf;

/// A service to run.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    pub(crate) policy: Policy,
    /// What must have been done, each time, before it starts; `policy.steps` counts them.
    pub(crate) steps: Vec<Step>,
    pub(crate) program: Program,
    /// What its process group gets at a stop.
    pub(crate) stop: Signal,
    /// How it shows that it serves.
    pub(crate) probe: Probe,
    /// Where its output goes.
    pub(crate) shown: Shown,
    /// Looks at each line of its output.
    pub(crate) watch: Option<Watch>,
}

impl Service {
    /// The user that it listens as.
    pub(super) fn uid(&self) -> Uid {
        self.program.user.as_ref().map_or_else(Uid::effective, |user| user.uid)
    }

    /// Whether it listens on its port.
    pub(super) fn listens(&self) -> bool {
        self.probe.port().is_some_and(|port| listening(port, self.uid()))
    }
}

/// Where the output of a service goes. In any case its last lines are kept for `entrypoint logs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// To the container's log, behind the service's name.
    Log,
    /// Nowhere else.
    Kept,
}

/// What a line of output means, if anything.
pub(crate) type Watch = fn(&str) -> Option<Seen>;

/// What was seen in a line of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Seen {
    /// The service serves.
    Ready,
    /// What it is doing, for `status`.
    Doing(String),
    /// Something that nobody is to see: the line is shown and kept nowhere.
    Hidden,
    /// Something that a person has to see, such as a code to log in with: shown prominently. It serves as well
    /// as it can until then, so it counts as ready.
    Prominent(String),
}

/// A program that has to end with 0 before a service is started.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) program: Program,
    /// What it makes: where that is there, the step is done already.
    pub(crate) makes: Option<PathBuf>,
}

/// How a service shows that it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probe {
    /// It, or root, listens on this port.
    Port(u16),
    /// It listens on this port and answers `GET path` with 200.
    Http(u16, &'static str),
    /// It says so: a worker over its pipe, another program by a line that its `watch` knows.
    Said,
}

impl Probe {
    pub(crate) fn port(self) -> Option<u16> {
        match self {
            Self::Port(port) | Self::Http(port, _) => Some(port),
            Self::Said => None,
        }
    }
}
