//! What the supervisor does next: a pure function of its state, an event and the time.
//!
//! Times are durations since the supervisor started. Nothing in here does anything: the loop in [`super`]
//! carries the actions out and reports what happened as the next event.

mod orders;
mod stop;

use super::events::{Action, Event, Note, Phase, Policy, Rest, Role};
use crate::process::End;
use std::time::Duration;
use stop::Course;
pub(crate) use stop::side_share;

/// A main service that has never been ready and ends sooner than this is set up wrongly; one that took longer had no time.
///
/// On a machine that is busy or has a slow disk code-server gives its own child these before it ends with code 1 and "timed
/// out" (its `wrapper.js`: "10s, matches VS Code's timeouts").
const QUICK: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Service {
    policy: Policy,
    phase: Phase,
    /// Whether it has ever been ready.
    proven: bool,
    /// Restarts since it was last stable.
    row: u32,
    /// Restarts in all.
    restarts: u32,
    /// When its group is killed, once it was asked to stop.
    kill_at: Option<Duration>,
}

impl Service {
    fn new(policy: Policy) -> Self {
        let phase = if policy.autostart { Phase::Waiting } else { Phase::Over(Rest::Idle) };
        Self { policy, phase, proven: false, row: 0, restarts: 0, kill_at: None }
    }

    fn alive(&self) -> bool {
        matches!(self.phase, Phase::Step(_) | Phase::Starting { .. } | Phase::Ready { .. } | Phase::Stopping { .. })
    }

    /// Whether it has neither become ready nor failed since it began.
    fn undecided(&self) -> bool {
        matches!(self.phase, Phase::Step(_) | Phase::Starting { .. })
    }
}

/// A service that those after it wait for.
#[derive(Debug, Clone, Copy)]
struct Gate {
    index: usize,
    until: Duration,
}

/// The supervisor's state.
#[derive(Debug)]
pub(crate) struct State {
    services: Vec<Service>,
    grace: Duration,
    course: Course,
    exit: u8,
    /// The first service whose turn to begin has not come yet.
    next: usize,
    gate: Option<Gate>,
}

impl State {
    /// `grace`: the time from a stop to the last SIGKILL.
    pub(crate) fn new(policies: impl IntoIterator<Item = Policy>, grace: Duration) -> Self {
        let services = policies.into_iter().map(Service::new).collect();
        Self { services, grace, course: Course::Running, exit: 0, next: 0, gate: None }
    }

    /// Where service `index` is.
    pub(crate) fn phase(&self, index: usize) -> Phase {
        self.services.get(index).map_or(Phase::Over(Rest::Idle), |service| service.phase)
    }

    /// How often service `index` was started again after it had ended by itself.
    pub(crate) fn restarts(&self, index: usize) -> u32 {
        self.services.get(index).map_or(0, |service| service.restarts)
    }

    /// When the next [`Event::Tick`] is due.
    pub(crate) fn wake_at(&self) -> Option<Duration> {
        let services = self.services.iter();
        let kills = services.clone().filter(|service| service.alive()).filter_map(|service| service.kill_at);
        match self.course {
            Course::Running => {
                let pauses = services.filter_map(|service| match service.phase {
                    Phase::Pausing { until } => Some(until),
                    _ => None,
                });
                pauses.chain(kills).chain(self.gate.map(|gate| gate.until)).min()
            }
            Course::Stopping { sweep_by, .. } => kills.chain([sweep_by]).min(),
            Course::Sweeping { kill_by } => Some(kill_by),
            Course::Killing { exit_by } => Some(exit_by),
            Course::Done => None,
        }
    }

    /// Takes `event` in at the time `now` and returns what to do, in order.
    pub(crate) fn on(&mut self, event: Event, now: Duration) -> Vec<Action> {
        let mut actions = Vec::new();
        match event {
            Event::Begin => {}
            Event::Ended(index, end) => self.ended(index, end, now, &mut actions),
            Event::Ready(index) => self.ready(index, now, &mut actions),
            Event::Ordered(index, order) => self.ordered(index, order, now, &mut actions),
            Event::Stop { hurry } => self.stop_requested(hurry, now, &mut actions),
            Event::Alone => {
                if self.sweeping().is_some() {
                    self.done(&mut actions);
                }
            }
            Event::Tick => self.tick(now, &mut actions),
        }
        self.pass_gates(now, &mut actions);
        actions
    }

    /// Lets those begin whose turn it is: up to the first that the others have to wait for.
    fn pass_gates(&mut self, now: Duration, actions: &mut Vec<Action>) {
        while !self.stopping() {
            if let Some(gate) = self.gate {
                let closed = self.services.get(gate.index).is_some_and(Service::undecided);
                if closed && now < gate.until {
                    return;
                }
                if closed {
                    actions.push(Action::Say(Note::Overslept(gate.index)));
                }
                self.gate = None;
            }
            let index = self.next;
            let Some(service) = self.services.get(index) else { return };
            self.next += 1;
            let wait = service.policy.gate;
            // By order it may run already, or stay away.
            if service.phase == Phase::Waiting {
                self.begin(index, now, actions);
            }
            self.gate = wait.map(|wait| Gate { index, until: now + wait });
        }
    }

    /// Starts a service from its first step.
    fn begin(&mut self, index: usize, now: Duration, actions: &mut Vec<Action>) {
        self.advance(index, 0, now, actions);
    }

    /// Starts step `step`, or the service itself when there is no such step.
    fn advance(&mut self, index: usize, step: usize, now: Duration, actions: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(index) else { return };
        service.kill_at = None;
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
        let phase = std::mem::replace(&mut service.phase, Phase::Over(Rest::Stopped));
        if stopping {
            actions.push(Action::Say(Note::Stopped(index, end)));
            return self.next_role(now, actions);
        }
        let well = end == End::Code(0);
        match phase {
            Phase::Step(step) if well => self.advance(index, step + 1, now, actions),
            Phase::Step(step) => {
                actions.push(Action::Say(Note::StepFailed(index, step, end)));
                self.failed(index, end, Duration::ZERO, now, actions);
            }
            Phase::Starting { .. } | Phase::Ready { .. } if well && service.policy.once => {
                service.phase = Phase::Over(Rest::Done);
                service.row = 0;
                actions.push(Action::Say(Note::Done(index)));
            }
            Phase::Starting { since } => {
                actions.push(Action::Say(Note::Ended(index, end)));
                self.failed(index, end, now.saturating_sub(since), now, actions);
            }
            Phase::Ready { since } => {
                actions.push(Action::Say(Note::Ended(index, end)));
                if now.saturating_sub(since) >= service.policy.restart.stable {
                    service.row = 0;
                }
                if well && service.policy.role == Role::Main {
                    // It ended by its own choice: so does the container.
                    self.stop(0, now, actions);
                } else {
                    self.failed(index, end, now.saturating_sub(since), now, actions);
                }
            }
            Phase::Stopping { again } => self.stopped(index, end, again, now, actions),
            Phase::Waiting | Phase::Pausing { .. } | Phase::Over(_) => service.phase = phase,
        }
    }

    /// Starts the service, which ended `after` this time, again after a pause, or gives it up.
    fn failed(&mut self, index: usize, end: End, after: Duration, now: Duration, actions: &mut Vec<Action>) {
        let Some(service) = self.services.get_mut(index) else { return };
        // What it left in its group could hold its port.
        actions.push(Action::Kill(index));
        let restart = service.policy.restart;
        // Of one that is set up wrongly, saying so at once beats trying again. One that is never given up on depends on
        // others, who may come up later.
        // And one that ended well, though it did not serve yet, ended by its own choice.
        let final_end = end == End::Code(0) || (!service.proven && after < QUICK);
        let hopeless = service.policy.role == Role::Main && restart.limit.is_some() && final_end;
        if hopeless || restart.limit.is_some_and(|limit| service.row >= limit) {
            service.phase = Phase::Over(Rest::GivenUp);
            actions.push(Action::Say(Note::GivenUp(index)));
            if service.policy.role == Role::Main {
                self.stop(end.exit_code(), now, actions);
            }
            return;
        }
        let pause = restart.first.saturating_mul(1 << service.row.min(16)).min(restart.longest);
        service.row = service.row.saturating_add(1);
        service.restarts = service.restarts.saturating_add(1);
        service.phase = Phase::Pausing { until: now + pause };
        actions.push(Action::Say(Note::Again(index, pause)));
    }

    fn tick(&mut self, now: Duration, actions: &mut Vec<Action>) {
        if self.stopping() {
            return self.tick_stopping(now, actions);
        }
        for index in 0..self.services.len() {
            self.kill_overdue(index, now, actions);
            if matches!(self.phase(index), Phase::Pausing { until } if until <= now) {
                self.begin(index, now, actions);
            }
        }
    }
}

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
