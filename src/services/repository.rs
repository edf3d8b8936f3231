//! The clone of `ANSIBLE_REPO_URL`: a task that the others wait for, a while.

use super::Surroundings;
use crate::supervisor::{Policy, Probe, Restart, Role, Service, Shown};
use crate::worker::Worker;
use nix::sys::signal::Signal;
use std::time::Duration;

/// How long the services wait for it.
const GATE: Duration = Duration::from_secs(60);

pub(super) fn prepare(on: &Surroundings<'_>) -> Service {
    // It tries again by itself, as long as there is hope: starting it again is for people.
    let restart =
        Restart { limit: Some(0), first: Duration::from_secs(1), longest: Duration::from_secs(1), stable: Duration::MAX };
    Service {
        name: "repository",
        policy: Policy {
            role: Role::Side,
            steps: 0,
            probed: true,
            once: true,
            autostart: true,
            gate: Some(GATE),
            restart,
            patience: Duration::from_secs(3),
        },
        steps: Vec::new(),
        program: Worker::Repository.program(on.sources, &["GITHUB_TOKEN"]),
        stop: Signal::SIGTERM,
        probe: Probe::Said,
        shown: Shown::Log,
        watch: None,
    }
}
