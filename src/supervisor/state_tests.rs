use super::State;
use crate::process::End;
use crate::supervisor::events::{Action, Event, Note, Phase, Policy, Rest, Restart, Role};
use std::time::Duration;

pub(super) fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(super) fn policy(role: Role) -> Policy {
    let limit = (role == Role::Main).then_some(2);
    let restart = Restart { limit, first: s(1), longest: s(5), stable: s(60) };
    Policy { role, steps: 0, probed: true, once: false, autostart: true, gate: None, restart, patience: s(8) }
}

/// Grace 20: the sweep begins 15 seconds after a stop at the latest.
pub(super) fn state(policies: &[Policy]) -> State {
    State::new(policies.iter().cloned(), s(20))
}

/// Everything that is done, without what is said.
pub(super) fn on(state: &mut State, event: Event, at: u64) -> Vec<Action> {
    let mut actions = state.on(event, s(at));
    actions.retain(|action| !matches!(action, Action::Say(_)));
    actions
}

/// A state whose services are all ready at second 0.
pub(super) fn ready(policies: &[Policy]) -> State {
    let mut state = state(policies);
    on(&mut state, Event::Begin, 0);
    for index in 0..policies.len() {
        on(&mut state, Event::Ready(index), 0);
    }
    state
}

pub(super) const STOP: Event = Event::Stop { hurry: false };
pub(super) const SWEEP: Action = Action::Sweep { kill: false };
pub(super) const SWEEP_KILL: Action = Action::Sweep { kill: true };

#[test]
fn steps_come_before_the_service_in_order() {
    let mut state = state(&[Policy { steps: 2, ..policy(Role::Main) }]);
    assert_eq!(on(&mut state, Event::Begin, 0), [Action::Step(0, 0)]);
    assert_eq!(on(&mut state, Event::Ended(0, End::Code(0)), 0), [Action::Step(0, 1)]);
    assert_eq!(on(&mut state, Event::Ended(0, End::Code(0)), 0), [Action::Start(0)]);
    assert_eq!(state.phase(0), Phase::Starting { since: s(0) });
}

#[test]
fn a_failed_step_of_a_main_service_ends_the_container_with_its_code() {
    let mut state = state(&[Policy { steps: 1, ..policy(Role::Main) }]);
    on(&mut state, Event::Begin, 0);
    assert_eq!(on(&mut state, Event::Ended(0, End::Code(255)), 0), [Action::Kill(0), SWEEP]);
    assert_eq!(on(&mut state, Event::Alone, 0), [Action::Exit(255)]);
}

#[test]
fn a_service_without_a_probe_is_ready_when_started() {
    let mut state = state(&[Policy { probed: false, ..policy(Role::Side) }]);
    assert_eq!(state.on(Event::Begin, s(3)), [Action::Start(0), Action::Say(Note::Ready(0, s(0)))]);
    assert_eq!(state.phase(0), Phase::Ready { since: s(3) });
}

#[test]
fn every_end_of_a_main_service_that_was_never_ready_is_the_containers() {
    let codes = (0..=255).map(|code| (End::Code(code), code));
    let signals = (1..=64).map(|signal| (End::Signal(i32::from(signal)), 128 + signal));
    for (end, expected) in codes.chain(signals) {
        let mut state = state(&[policy(Role::Main)]);
        on(&mut state, Event::Begin, 0);
        assert_eq!(on(&mut state, Event::Ended(0, end), 0), [Action::Kill(0), SWEEP], "{end:?}");
        assert_eq!(on(&mut state, Event::Alone, 0), [Action::Exit(expected)], "{end:?}");
    }
}

#[test]
fn a_main_service_that_took_long_and_was_not_ready_had_no_time_and_is_tried_again() {
    let mut patient = state(&[policy(Role::Main)]);
    on(&mut patient, Event::Begin, 0);
    for (at, pause) in [(10, 1), (21, 2)] {
        assert_eq!(on(&mut patient, Event::Ended(0, End::Code(1)), at), [Action::Kill(0)], "{at}");
        assert_eq!(on(&mut patient, Event::Tick, at + pause), [Action::Start(0)], "{at}");
    }
    assert_eq!(on(&mut patient, Event::Ended(0, End::Code(1)), 40), [Action::Kill(0), SWEEP], "its restarts are used up");
    assert_eq!(on(&mut patient, Event::Alone, 40), [Action::Exit(1)]);
    let mut state = state(&[policy(Role::Main)]);
    on(&mut state, Event::Begin, 0);
    on(&mut state, Event::Ended(0, End::Code(1)), 10);
    on(&mut state, Event::Tick, 11);
    assert_eq!(on(&mut state, Event::Ended(0, End::Code(1)), 20), [Action::Kill(0), SWEEP], "a second try that was quick");
}

#[test]
fn a_main_service_that_ends_well_before_it_is_ready_ends_the_container_well_however_long_it_took() {
    let mut slow = state(&[policy(Role::Main)]);
    on(&mut slow, Event::Begin, 0);
    assert_eq!(on(&mut slow, Event::Ended(0, End::Code(0)), 10), [Action::Kill(0), SWEEP]);
    assert_eq!(on(&mut slow, Event::Alone, 10), [Action::Exit(0)]);
    let mut proven = ready(&[policy(Role::Main)]);
    on(&mut proven, Event::Ended(0, End::Code(7)), 1);
    on(&mut proven, Event::Tick, 2);
    assert_eq!(on(&mut proven, Event::Ended(0, End::Code(0)), 2), [Action::Kill(0), SWEEP]);
    assert_eq!(on(&mut proven, Event::Alone, 2), [Action::Exit(0)]);
}

#[test]
fn a_ready_main_service_is_restarted_with_longer_pauses_then_given_up_on() {
    let mut state = ready(&[policy(Role::Main)]);
    let mut at = 10;
    for pause in [1, 2] {
        assert_eq!(on(&mut state, Event::Ended(0, End::Code(7)), at), [Action::Kill(0)]);
        assert_eq!(state.wake_at(), Some(s(at + pause)));
        assert_eq!(on(&mut state, Event::Tick, at + pause - 1), []);
        at += pause;
        assert_eq!(on(&mut state, Event::Tick, at), [Action::Start(0)]);
        on(&mut state, Event::Ready(0), at);
    }
    assert_eq!(on(&mut state, Event::Ended(0, End::Signal(9)), at), [Action::Kill(0), SWEEP]);
    assert_eq!(on(&mut state, Event::Alone, at), [Action::Exit(137)]);
}

#[test]
fn a_proven_service_that_fails_to_come_back_is_tried_again() {
    let mut state = ready(&[policy(Role::Main)]);
    on(&mut state, Event::Ended(0, End::Code(7)), 1);
    on(&mut state, Event::Tick, 2);
    assert_eq!(on(&mut state, Event::Ended(0, End::Code(7)), 2), [Action::Kill(0)]);
    assert_eq!(state.phase(0), Phase::Pausing { until: s(4) });
}

#[test]
fn after_a_stable_time_the_row_of_restarts_begins_anew() {
    let mut state = ready(&[policy(Role::Main)]);
    for round in 0..10 {
        let at = 100 * (round + 1);
        on(&mut state, Event::Ended(0, End::Code(7)), at);
        assert_eq!(state.phase(0), Phase::Pausing { until: s(at + 1) }, "round {round}");
        on(&mut state, Event::Tick, at + 1);
        on(&mut state, Event::Ready(0), at + 1);
    }
}

#[test]
fn a_side_service_is_tried_for_ever_and_ends_nothing() {
    let mut state = ready(&[policy(Role::Side)]);
    let mut at = 0;
    for pause in [1, 2, 4, 5, 5, 5, 5] {
        on(&mut state, Event::Ended(0, End::Code(1)), at);
        assert_eq!(state.phase(0), Phase::Pausing { until: s(at + pause) });
        at += pause;
        assert_eq!(on(&mut state, Event::Tick, at), [Action::Start(0)]);
    }
    assert!(!state.stopping());
}

#[test]
fn a_main_service_that_ends_well_ends_the_container_well() {
    let mut state = ready(&[policy(Role::Main), policy(Role::Main)]);
    assert_eq!(on(&mut state, Event::Ended(0, End::Code(0)), 5), [Action::Ask(1)]);
    assert_eq!(on(&mut state, Event::Ended(1, End::Signal(15)), 5), [SWEEP]);
    assert_eq!(on(&mut state, Event::Alone, 5), [Action::Exit(0)]);
}

#[test]
fn a_stop_goes_from_the_side_services_to_the_main_ones_to_everything() {
    let mut state = ready(&[policy(Role::Main), policy(Role::Side), policy(Role::Main)]);
    assert_eq!(on(&mut state, STOP, 1), [Action::Ask(1)]);
    assert_eq!(on(&mut state, Event::Ended(1, End::Code(0)), 2), [Action::Ask(0), Action::Ask(2)]);
    assert_eq!(on(&mut state, Event::Ended(0, End::Code(255)), 2), []);
    assert_eq!(on(&mut state, STOP, 2), [], "asked again: nothing new");
    assert_eq!(on(&mut state, Event::Ended(2, End::Signal(15)), 2), [SWEEP]);
    assert_eq!(on(&mut state, Event::Alone, 3), [Action::Exit(0)]);
}

#[test]
fn who_does_not_stop_in_time_is_killed() {
    let mut state = ready(&[policy(Role::Main), policy(Role::Side)]);
    on(&mut state, STOP, 0);
    assert_eq!(state.wake_at(), Some(s(8)));
    assert_eq!(on(&mut state, Event::Tick, 8), [Action::Kill(1)]);
    assert_eq!(on(&mut state, Event::Ended(1, End::Signal(9)), 8), [Action::Ask(0)]);
    // The main service's patience would last until 16, but the sweep begins at 15.
    assert_eq!(state.wake_at(), Some(s(15)));
    assert_eq!(on(&mut state, Event::Tick, 15), [SWEEP]);
    assert_eq!(on(&mut state, Event::Tick, 19), []);
    assert_eq!(on(&mut state, Event::Tick, 20), [SWEEP_KILL]);
    on(&mut state, Event::Ended(0, End::Signal(9)), 20);
    assert_eq!(on(&mut state, Event::Alone, 20), [Action::Exit(137)], "not a clean stop: the main service was killed");
}

#[test]
fn a_killed_main_service_is_no_clean_stop() {
    let mut state = ready(&[policy(Role::Main)]);
    on(&mut state, STOP, 0);
    assert_eq!(on(&mut state, Event::Tick, 8), [Action::Kill(0)]);
    assert_eq!(on(&mut state, Event::Ended(0, End::Signal(9)), 8), [SWEEP]);
    assert_eq!(on(&mut state, Event::Alone, 8), [Action::Exit(137)]);
}

#[test]
fn what_the_kernel_cannot_end_does_not_hold_the_exit_up() {
    let mut state = ready(&[policy(Role::Main)]);
    on(&mut state, STOP, 0);
    on(&mut state, Event::Ended(0, End::Code(0)), 1);
    assert_eq!(on(&mut state, Event::Tick, 20), [SWEEP_KILL]);
    assert_eq!(on(&mut state, Event::Tick, 21), [Action::Exit(0)]);
}

#[test]
fn who_hurries_does_not_wait() {
    let mut state = ready(&[policy(Role::Main)]);
    let hurry = Event::Stop { hurry: true };
    assert_eq!(on(&mut state, hurry, 0), [Action::Ask(0)], "the first time it is a stop like any other");
    assert_eq!(on(&mut state, hurry, 0), [SWEEP_KILL]);
    assert_eq!(on(&mut state, hurry, 0), []);
    on(&mut state, Event::Ended(0, End::Signal(9)), 0);
    assert_eq!(on(&mut state, Event::Alone, 0), [Action::Exit(137)]);
}

#[test]
fn a_stop_during_a_step_or_a_pause() {
    let mut state = state(&[Policy { steps: 1, ..policy(Role::Main) }]);
    on(&mut state, Event::Begin, 0);
    assert_eq!(on(&mut state, STOP, 0), [Action::Ask(0)]);
    assert_eq!(on(&mut state, Event::Ended(0, End::Signal(15)), 0), [SWEEP], "the service itself is not started");

    let mut state = ready(&[policy(Role::Main)]);
    on(&mut state, Event::Ended(0, End::Code(7)), 0);
    assert_eq!(on(&mut state, STOP, 0), [SWEEP], "nothing to stop, nothing to start again");
    assert_eq!(on(&mut state, Event::Alone, 0), [Action::Exit(0)]);
}

#[test]
fn ready_and_alone_at_odd_times_mean_nothing() {
    let mut state = ready(&[policy(Role::Main)]);
    assert_eq!(on(&mut state, Event::Ready(0), 1), []);
    assert_eq!(on(&mut state, Event::Alone, 1), []);
    on(&mut state, Event::Ended(0, End::Code(7)), 1);
    assert_eq!(on(&mut state, Event::Ready(0), 1), [], "somebody else's port");
    assert_eq!(state.phase(0), Phase::Pausing { until: s(2) });
}

#[test]
fn a_main_service_that_depends_on_others_is_never_given_up_on() {
    let restart = Restart { limit: None, ..policy(Role::Main).restart };
    let mut state = state(&[Policy { restart, ..policy(Role::Main) }]);
    on(&mut state, Event::Begin, 0);
    for at in [0, 10, 20, 30] {
        assert_eq!(on(&mut state, Event::Ended(0, End::Code(1)), at), [Action::Kill(0)], "never ready");
        assert_eq!(on(&mut state, Event::Tick, at + 9), [Action::Start(0)]);
    }
}

#[test]
fn a_task_is_done_when_it_ends_well() {
    let mut state = state(&[Policy { once: true, ..policy(Role::Side) }, policy(Role::Main)]);
    on(&mut state, Event::Begin, 0);
    assert_eq!(state.on(Event::Ended(0, End::Code(0)), s(1)), [Action::Say(Note::Done(0))]);
    assert_eq!(state.phase(0), Phase::Over(Rest::Done));
    assert_eq!(state.wake_at(), None, "not started again");
    assert!(!state.stopping());
}

#[test]
fn a_task_that_fails_is_tried_again_up_to_its_limit_and_ends_nothing() {
    let restart = Restart { limit: Some(2), first: s(1), longest: s(5), stable: s(60) };
    let mut state = state(&[Policy { once: true, restart, ..policy(Role::Side) }, policy(Role::Main)]);
    on(&mut state, Event::Begin, 0);
    for at in [1, 3] {
        assert_eq!(on(&mut state, Event::Ended(0, End::Code(128)), at), [Action::Kill(0)]);
        assert_eq!(on(&mut state, Event::Tick, at + at), [Action::Start(0)], "{at}");
    }
    let given_up = [Action::Say(Note::Ended(0, End::Code(128))), Action::Kill(0), Action::Say(Note::GivenUp(0))];
    assert_eq!(state.on(Event::Ended(0, End::Code(128)), s(9)), given_up);
    assert_eq!((state.phase(0), state.restarts(0), state.stopping()), (Phase::Over(Rest::GivenUp), 2, false));
}

/// A gate of 10 seconds, and two services behind it.
fn gated() -> State {
    let gate = Policy { once: true, gate: Some(s(10)), ..policy(Role::Side) };
    let mut state = state(&[gate, policy(Role::Main), policy(Role::Side)]);
    assert_eq!(on(&mut state, Event::Begin, 1), [Action::Start(0)]);
    assert_eq!(state.phase(1), Phase::Waiting);
    assert_eq!(state.wake_at(), Some(s(11)));
    state
}

#[test]
fn those_behind_a_gate_begin_when_it_is_open() {
    let both = [Action::Start(1), Action::Start(2)];
    let failed = [Action::Kill(0), Action::Start(1), Action::Start(2)];
    let table: [(Event, u64, &[Action]); 4] = [
        (Event::Ended(0, End::Code(0)), 2, &both),
        (Event::Ready(0), 2, &both),
        (Event::Ended(0, End::Code(1)), 2, &failed),
        (Event::Tick, 11, &both),
    ];
    for (event, at, expected) in table {
        let mut state = gated();
        assert_eq!(on(&mut state, Event::Tick, 1), [], "nothing has happened yet");
        assert_eq!(on(&mut state, event, at), expected, "{event:?}");
        assert_eq!(on(&mut state, Event::Tick, at), [], "only once");
    }
    let mut state = gated();
    assert!(state.on(Event::Tick, s(11)).contains(&Action::Say(Note::Overslept(0))));
    assert_eq!(on(&mut state, Event::Ended(0, End::Code(0)), 12), [], "it goes on by itself");
}

#[test]
fn gates_open_one_after_the_other() {
    let gate = || Policy { gate: Some(s(10)), ..policy(Role::Side) };
    let mut state = state(&[gate(), gate(), policy(Role::Main)]);
    assert_eq!(on(&mut state, Event::Begin, 0), [Action::Start(0)]);
    assert_eq!(on(&mut state, Event::Ready(0), 4), [Action::Start(1)]);
    assert_eq!(state.wake_at(), Some(s(14)));
    assert_eq!(on(&mut state, Event::Tick, 14), [Action::Start(2)]);
}

#[test]
fn a_gate_that_is_not_there_holds_nobody_up() {
    let gate = Policy { gate: Some(s(10)), autostart: false, ..policy(Role::Side) };
    let mut state = state(&[gate, policy(Role::Main)]);
    assert_eq!(on(&mut state, Event::Begin, 0), [Action::Start(1)]);
    assert_eq!(state.phase(0), Phase::Over(Rest::Idle));
}

#[test]
fn a_stop_during_a_gate_starts_nobody() {
    let mut state = gated();
    assert_eq!(on(&mut state, STOP, 2), [Action::Ask(0)]);
    assert_eq!(on(&mut state, Event::Ended(0, End::Signal(15)), 2), [SWEEP]);
    assert_eq!(on(&mut state, Event::Alone, 2), [Action::Exit(0)]);
}

#[test]
fn side_services_leave_the_main_ones_and_the_sweep_their_part_of_the_grace_period() {
    // grace: killed at the latest, swept, all killed; the container engine kills at 10 and at 30 seconds.
    for (grace, side, sweep) in [(8, 5_000, 6), (25, 17_000, 20), (120, 112_000, 115)] {
        let patient = |role| Policy { patience: s(1000), ..policy(role) };
        let mut state = State::new([patient(Role::Side), patient(Role::Main)], s(grace));
        on(&mut state, Event::Begin, 0);
        on(&mut state, STOP, 0);
        assert_eq!(state.wake_at(), Some(Duration::from_millis(side)), "{grace}");
        assert_eq!(on(&mut state, Event::Tick, sweep - 1), [Action::Kill(0)]);
        assert_eq!(on(&mut state, Event::Ended(0, End::Signal(9)), sweep - 1), [Action::Ask(1)], "a moment of its own");
        assert_eq!(on(&mut state, Event::Tick, sweep), [SWEEP]);
        assert_eq!(on(&mut state, Event::Tick, grace - 1), []);
        assert_eq!(on(&mut state, Event::Tick, grace), [SWEEP_KILL]);
        assert_eq!(on(&mut state, Event::Tick, grace + 1), [Action::Exit(137)], "within the second after it");
    }
}
