//! What people want of one service while the others run on.

use super::State;
use crate::process::End;
use crate::supervisor::events::{Action, Answer, Note, Order, Phase, Rest};
use std::time::Duration;

impl State {
    pub(super) fn ordered(&mut self, index: usize, order: Order, now: Duration, actions: &mut Vec<Action>) {
        let stopping = self.stopping();
        let Some(service) = self.services.get_mut(index) else { return };
        let answer = match (order, service.phase) {
            _ if stopping => Answer::TooLate,
            (Order::Start, Phase::Step(_) | Phase::Starting { .. } | Phase::Ready { .. }) => Answer::RunsAlready,
            (Order::Start | Order::Restart, Phase::Stopping { .. }) => {
                service.phase = Phase::Stopping { again: true };
                Answer::Starts
            }
            (Order::Start | Order::Restart, Phase::Waiting | Phase::Pausing { .. } | Phase::Over(_)) => {
                // Whoever asks has mended something: its failures of before do not count.
                service.row = 0;
                actions.push(Action::Answer(Answer::Starts));
                return self.begin(index, now, actions);
            }
            (Order::Restart, Phase::Step(_) | Phase::Starting { .. } | Phase::Ready { .. }) => {
                service.row = 0;
                self.ask(index, true, None, now, actions);
                Answer::Restarts
            }
            (Order::Stop, Phase::Step(_) | Phase::Starting { .. } | Phase::Ready { .. } | Phase::Stopping { .. }) => {
                self.ask(index, false, None, now, actions);
                Answer::Stops
            }
            (Order::Stop, Phase::Waiting | Phase::Pausing { .. }) => {
                service.phase = Phase::Over(Rest::Stopped);
                Answer::Stops
            }
            (Order::Stop, Phase::Over(_)) => Answer::DoesNotRun,
        };
        actions.push(Action::Answer(answer));
    }

    /// A service has ended that was asked to, while the container runs on.
    pub(super) fn stopped(&mut self, index: usize, end: End, again: bool, now: Duration, actions: &mut Vec<Action>) {
        // What it left in its group could hold its port.
        actions.extend([Action::Say(Note::Stopped(index, end)), Action::Kill(index)]);
        if again {
            self.begin(index, now, actions);
        }
    }
}

#[cfg(test)]
#[path = "orders_tests.rs"]
mod tests;
