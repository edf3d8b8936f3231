//! The way out: the services beside the access first, then those that give it, then everything that is left.
//!
//! One deadline holds for all of it, the grace period. Its last part belongs to the sweep, and the part before
//! that to the main services: whatever the others do, people's sessions get a moment of their own.

use super::State;
use crate::process::End;
use crate::supervisor::events::{Action, Note, Phase, Rest, Role};
use std::time::Duration;

/// Where the whole is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Course {
    Running,
    /// Services of this role are stopping; sweep at the latest at `sweep_by`, kill at `kill_by`.
    Stopping {
        role: Role,
        sweep_by: Duration,
        kill_by: Duration,
    },
    Sweeping {
        kill_by: Duration,
    },
    Killing {
        exit_by: Duration,
    },
    Done,
}

/// The part of the grace period that belongs to the sweep at its end: 2 s of 8, 5 s of 25.
fn sweep_share(grace: Duration) -> Duration {
    (grace / 4).min(Duration::from_secs(5))
}

/// The part that side services have at most: 5 s of 8, 17 s of 25. One that stops sooner leaves the rest to others.
pub(crate) fn side_share(grace: Duration) -> Duration {
    grace - sweep_share(grace) - (grace / 8).min(Duration::from_secs(3))
}

/// How long the kernel gets to end what was killed.
const KILL_TAKES: Duration = Duration::from_secs(1);

impl State {
    /// Whether a stop has begun.
    pub(crate) fn stopping(&self) -> bool {
        self.course != Course::Running
    }

    /// Whether everything that is left is being ended: `Some(true)` when by SIGKILL.
    pub(crate) fn sweeping(&self) -> Option<bool> {
        match self.course {
            Course::Sweeping { .. } => Some(false),
            Course::Killing { .. } => Some(true),
            Course::Running | Course::Stopping { .. } | Course::Done => None,
        }
    }

    pub(super) fn stop_requested(&mut self, hurry: bool, now: Duration, actions: &mut Vec<Action>) {
        if !self.stopping() {
            actions.push(Action::Say(Note::Stopping));
            return self.stop(0, now, actions);
        }
        if hurry && self.sweeping() != Some(true) && self.course != Course::Done {
            self.kill(now, actions);
        }
    }

    /// Begins the stop; the container will end with `exit`.
    pub(super) fn stop(&mut self, exit: u8, now: Duration, actions: &mut Vec<Action>) {
        self.exit = exit;
        let kill_by = now + self.grace;
        let sweep_by = kill_by - sweep_share(self.grace);
        // A service that pauses or waits has nothing to stop.
        for service in &mut self.services {
            if matches!(service.phase, Phase::Pausing { .. } | Phase::Waiting) {
                service.phase = Phase::Over(Rest::Stopped);
            }
        }
        self.course = Course::Stopping { role: Role::Side, sweep_by, kill_by };
        self.ask_role(Role::Side, Some(now + side_share(self.grace)), now, actions);
        self.next_role(now, actions);
    }

    /// Asks all living services of `role` to stop.
    fn ask_role(&mut self, role: Role, latest: Option<Duration>, now: Duration, actions: &mut Vec<Action>) {
        for index in 0..self.services.len() {
            if self.services.get(index).is_some_and(|service| service.policy.role == role && service.alive()) {
                self.ask(index, false, latest, now, actions);
            }
        }
    }

    /// Asks a service to stop, once; `latest`: when its patience ends in any case.
    pub(super) fn ask(&mut self, index: usize, again: bool, latest: Option<Duration>, now: Duration, actions: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(index) else { return };
        if !matches!(service.phase, Phase::Stopping { .. }) {
            service.kill_at = Some(now + service.policy.patience);
            actions.push(Action::Ask(index));
        }
        service.phase = Phase::Stopping { again };
        if let (Some(at), Some(latest)) = (service.kill_at, latest) {
            service.kill_at = Some(at.min(latest));
        }
    }

    /// Goes on to the next role, or to the sweep, when all services of the current role are over.
    pub(super) fn next_role(&mut self, now: Duration, actions: &mut Vec<Action>) {
        while let Course::Stopping { role, sweep_by, kill_by } = self.course {
            if self.services.iter().any(|service| service.policy.role == role && service.alive()) {
                return;
            }
            match role {
                Role::Side => {
                    self.course = Course::Stopping { role: Role::Main, sweep_by, kill_by };
                    self.ask_role(Role::Main, None, now, actions);
                }
                Role::Main => self.sweep(kill_by, actions),
            }
        }
    }

    fn sweep(&mut self, kill_by: Duration, actions: &mut Vec<Action>) {
        self.course = Course::Sweeping { kill_by };
        actions.push(Action::Sweep { kill: false });
    }

    fn kill(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let main_alive = self.services.iter().any(|service| service.alive() && service.policy.role == Role::Main);
        self.killed(main_alive);
        self.course = Course::Killing { exit_by: now + KILL_TAKES };
        actions.extend([Action::Say(Note::Leftovers), Action::Sweep { kill: true }]);
    }

    /// A stop is only clean when the main services ended by themselves.
    fn killed(&mut self, main: bool) {
        if main && self.exit == 0 {
            self.exit = End::Signal(9).exit_code();
        }
    }

    /// Time has passed during a stop.
    pub(super) fn tick_stopping(&mut self, now: Duration, actions: &mut Vec<Action>) {
        match self.course {
            Course::Stopping { sweep_by, kill_by, .. } => {
                for index in 0..self.services.len() {
                    self.kill_overdue(index, now, actions);
                }
                if now >= sweep_by {
                    self.sweep(kill_by, actions);
                }
            }
            Course::Sweeping { kill_by } if now >= kill_by => self.kill(now, actions),
            Course::Killing { exit_by } if now >= exit_by => self.done(actions),
            Course::Running | Course::Sweeping { .. } | Course::Killing { .. } | Course::Done => {}
        }
    }

    /// Kills the service if it was asked to stop and had its time.
    pub(super) fn kill_overdue(&mut self, index: usize, now: Duration, actions: &mut Vec<Action>) {
        let stopping = self.stopping();
        let Some(service) = self.services.get_mut(index) else { return };
        if service.alive() && service.kill_at.is_some_and(|at| at <= now) {
            service.kill_at = None;
            let main = service.policy.role == Role::Main;
            actions.extend([Action::Say(Note::Overdue(index)), Action::Kill(index)]);
            self.killed(main && stopping);
        }
    }

    pub(super) fn done(&mut self, actions: &mut Vec<Action>) {
        self.course = Course::Done;
        actions.push(Action::Exit(self.exit));
    }
}
