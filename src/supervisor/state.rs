//! What the supervisor does next: a pure function of its state, an event and the time.
//!
//! Times are durations since the supervisor started. Nothing in here does anything: the loop in [`super`]
//! carries the actions out and reports what happened as the next event.

use super::events::{Action, Event, Note, Phase, Policy, Role};
use crate::process::End;
use std::time::Duration;

#[derive(Debug)]
struct Service {
    policy: Policy,
    phase: Phase,
    /// Whether it has ever been ready.
    proven: bool,
    /// Restarts since it was last stable.
    row: u32,
    /// When its group is killed, once it was asked to stop.
    kill_at: Option<Duration>,
}

impl Service {
    fn alive(&self) -> bool {
        matches!(self.phase, Phase::Step(_) | Phase::Starting { .. } | Phase::Ready { .. })
    }
}

/// Where the whole is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Course {
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

/// The supervisor's state.
#[derive(Debug)]
pub(crate) struct State {
    services: Vec<Service>,
    grace: Duration,
    course: Course,
    exit: u8,
}

/// The part of the grace period that belongs to the sweep at its end.
fn sweep_share(grace: Duration) -> Duration {
    (grace / 4).min(Duration::from_secs(5))
}

/// How long the kernel gets to end what was killed.
const KILL_TAKES: Duration = Duration::from_secs(1);

impl State {
    /// `grace`: the time from a stop to the last SIGKILL.
    pub(crate) fn new(policies: impl IntoIterator<Item = Policy>, grace: Duration) -> Self {
        let services = policies
            .into_iter()
            .map(|policy| Service { policy, phase: Phase::Over, proven: false, row: 0, kill_at: None })
            .collect();
        Self { services, grace, course: Course::Running, exit: 0 }
    }

    /// Where service `index` is.
    pub(crate) fn phase(&self, index: usize) -> Phase {
        self.services.get(index).map_or(Phase::Over, |service| service.phase)
    }

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

    /// When the next [`Event::Tick`] is due.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        let services = self.services.iter();
        match self.course {
            Course::Running => services
                .filter_map(|service| match service.phase {
                    Phase::Pausing { until } => Some(until),
                    _ => None,
                })
                .min(),
            Course::Stopping { sweep_by, .. } => {
                services.filter(|service| service.alive()).filter_map(|service| service.kill_at).chain([sweep_by]).min()
            }
            Course::Sweeping { kill_by } => Some(kill_by),
            Course::Killing { exit_by } => Some(exit_by),
            Course::Done => None,
        }
    }

    /// Takes `event` in at the time `now` and returns what to do, in order.
    pub(crate) fn on(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Begin => (0..self.services.len()).for_each(|index| self.begin(index, now, &mut actions)),
            Event::Ended(index, end) => self.ended(index, end, now, &mut actions),
            Event::Ready(index) => self.ready(index, now, &mut actions),
            Event::Stop { hurry } => self.stop_requested(hurry, now, &mut actions),
            Event::Alone => {
                if self.sweeping().is_some() {
                    self.done(&mut actions);
                }
            }
            Event::Tick => self.tick(now, &mut actions),
        }
        actions
    }

    /// Starts a service from its first step.
    fn begin(&mut self, index: usize, now: Duration, actions: &mut Vec<Action>) {
        self.advance(index, 0, now, actions);
    }

    /// Starts step `step`, or the service itself when there is no such step.
    fn advance(&mut self, index: usize, step: usize, now: Duration, actions: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(index) else { return };
        if step < service.policy.steps {
            service.phase = Phase::Step(step);
            actions.push(Action::Step(index, step));
            return;
        }
        service.phase = Phase::Starting { since: now };
        actions.push(Action::Start(index));
        if !service.policy.probed {
            self.ready(index, now, actions);
        }
    }

    fn ready(&mut self, index: usize, now: Duration, actions: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(index) else { return };
        let Phase::Starting { since } = service.phase else { return };
        service.phase = Phase::Ready { since: now };
        service.proven = true;
        actions.push(Action::Say(Note::Ready(index, now.saturating_sub(since))));
    }

    fn ended(&mut self, index: usize, end: End, now: Duration, actions: &mut Vec<Action>) {
        let stopping = self.stopping();
        let Some(service) = self.services.get_mut(index) else { return };
        let phase = std::mem::replace(&mut service.phase, Phase::Over);
        if stopping {
            actions.push(Action::Say(Note::Stopped(index, end)));
            return self.next_role(now, actions);
        }
        match phase {
            Phase::Step(step) if end == End::Code(0) => self.advance(index, step + 1, now, actions),
            Phase::Step(step) => {
                actions.push(Action::Say(Note::StepFailed(index, step, end)));
                self.failed(index, end, now, actions);
            }
            Phase::Starting { .. } => {
                actions.push(Action::Say(Note::Ended(index, end)));
                self.failed(index, end, now, actions);
            }
            Phase::Ready { since } => {
                actions.push(Action::Say(Note::Ended(index, end)));
                if now.saturating_sub(since) >= service.policy.restart.stable {
                    service.row = 0;
                }
                if end == End::Code(0) && service.policy.role == Role::Main {
                    // It ended by its own choice: so does the container.
                    self.stop(0, now, actions);
                } else {
                    self.failed(index, end, now, actions);
                }
            }
            Phase::Pausing { .. } | Phase::Over => service.phase = phase,
        }
    }

    /// Starts the service again after a pause, or gives it up.
    fn failed(&mut self, index: usize, end: End, now: Duration, actions: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(index) else { return };
        // What it left in its group could hold its port.
        actions.push(Action::Kill(index));
        let restart = service.policy.restart;
        // A main service that has never been ready is set up wrongly: to say so at once beats trying again.
        let hopeless = service.policy.role == Role::Main && !service.proven;
        if hopeless || restart.limit.is_some_and(|limit| service.row >= limit) {
            actions.push(Action::Say(Note::GivenUp(index)));
            if service.policy.role == Role::Main {
                self.stop(end.exit_code(), now, actions);
            }
            return;
        }
        let pause = restart.first.saturating_mul(1 << service.row.min(16)).min(restart.longest);
        service.row = service.row.saturating_add(1);
        service.phase = Phase::Pausing { until: now + pause };
        actions.push(Action::Say(Note::Again(index, pause)));
    }

    fn stop_requested(&mut self, hurry: bool, now: Duration, actions: &mut Vec<Action>) {
        if !self.stopping() {
            actions.push(Action::Say(Note::Stopping));
            return self.stop(0, now, actions);
        }
        if hurry && self.sweeping() != Some(true) && self.course != Course::Done {
            self.kill(now, actions);
        }
    }

    /// Begins the stop; the container will end with `exit`.
    fn stop(&mut self, exit: u8, now: Duration, actions: &mut Vec<Action>) {
        self.exit = exit;
        let kill_by = now + self.grace;
        let sweep_by = kill_by - sweep_share(self.grace);
        // A service that pauses has nothing to stop.
        for service in &mut self.services {
            if matches!(service.phase, Phase::Pausing { .. }) {
                service.phase = Phase::Over;
            }
        }
        self.course = Course::Stopping { role: Role::Side, sweep_by, kill_by };
        self.ask(now, actions);
        self.next_role(now, actions);
    }

    /// Asks all living services of the current role to stop.
    fn ask(&mut self, now: Duration, actions: &mut Vec<Action>) {
        let Course::Stopping { role, .. } = self.course else { return };
        for (index, service) in self.services.iter_mut().enumerate() {
            if service.policy.role == role && service.alive() {
                service.kill_at = Some(now + service.policy.patience);
                actions.push(Action::Ask(index));
            }
        }
    }

    /// Goes on to the next role, or to the sweep, when all services of the current role are over.
    fn next_role(&mut self, now: Duration, actions: &mut Vec<Action>) {
        while let Course::Stopping { role, sweep_by, kill_by } = self.course {
            if self.services.iter().any(|service| service.policy.role == role && service.alive()) {
                return;
            }
            match role {
                Role::Side => {
                    self.course = Course::Stopping { role: Role::Main, sweep_by, kill_by };
                    self.ask(now, actions);
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

    fn tick(&mut self, now: Duration, actions: &mut Vec<Action>) {
        match self.course {
            Course::Running => {
                for index in 0..self.services.len() {
                    if matches!(self.phase(index), Phase::Pausing { until } if until <= now) {
                        self.begin(index, now, actions);
                    }
                }
            }
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
            Course::Sweeping { .. } | Course::Killing { .. } | Course::Done => {}
        }
    }

    fn kill_overdue(&mut self, index: usize, now: Duration, actions: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(index) else { return };
        if service.alive() && service.kill_at.is_some_and(|at| at <= now) {
            service.kill_at = None;
            let main = service.policy.role == Role::Main;
            actions.extend([Action::Say(Note::Overdue(index)), Action::Kill(index)]);
            self.killed(main);
        }
    }

    fn done(&mut self, actions: &mut Vec<Action>) {
        self.course = Course::Done;
        actions.push(Action::Exit(self.exit));
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
