use crate::process::End;
use crate::supervisor::events::{Action, Answer, Event, Order, Phase, Policy, Rest, Role};
use crate::supervisor::state::State;
use crate::supervisor::state::tests::{STOP, SWEEP, on, policy, ready, s, state};

const KILLED: Event = Event::Ended(0, End::Signal(15));

fn order(state: &mut State, order: Order, at: u64) -> Vec<Action> {
    on(state, Event::Ordered(0, order), at)
}

fn answer(answer: Answer) -> Action {
    Action::Answer(answer)
}

#[test]
fn a_service_that_waits_for_an_order_starts_by_one() {
    let asleep = || Policy { autostart: false, ..policy(Role::Side) };
    for how in [Order::Start, Order::Restart] {
        let mut state = state(&[asleep(), policy(Role::Main)]);
        assert_eq!(on(&mut state, Event::Begin, 0), [Action::Start(1)]);
        assert_eq!(state.phase(0), Phase::Over(Rest::Idle));
        assert_eq!(order(&mut state, Order::Stop, 0), [answer(Answer::DoesNotRun)]);
        assert_eq!(order(&mut state, how, 1), [answer(Answer::Starts), Action::Start(0)]);
        assert_eq!(order(&mut state, Order::Start, 1), [answer(Answer::RunsAlready)]);
        on(&mut state, Event::Ready(0), 2);
        assert_eq!(order(&mut state, Order::Start, 3), [answer(Answer::RunsAlready)]);
        assert_eq!(state.phase(0), Phase::Ready { since: s(2) });
    }
}

#[test]
fn a_main_service_that_is_stopped_by_order_ends_nothing() {
    for code in [End::Code(0), End::Code(255), End::Signal(15)] {
        let mut state = ready(&[policy(Role::Main)]);
        assert_eq!(order(&mut state, Order::Stop, 1), [Action::Ask(0), answer(Answer::Stops)]);
        assert_eq!(on(&mut state, Event::Ended(0, code), 2), [Action::Kill(0)]);
        assert_eq!((state.phase(0), state.stopping(), state.wake_at()), (Phase::Over(Rest::Stopped), false, None), "{code:?}");
        assert_eq!(order(&mut state, Order::Start, 9), [answer(Answer::Starts), Action::Start(0)]);
        assert_eq!(state.restarts(0), 0, "it did not end by itself");
    }
}

#[test]
fn who_does_not_stop_by_order_is_killed() {
    let mut state = ready(&[policy(Role::Main)]);
    order(&mut state, Order::Stop, 1);
    assert_eq!(state.wake_at(), Some(s(9)));
    assert_eq!(on(&mut state, Event::Tick, 8), []);
    assert_eq!(on(&mut state, Event::Tick, 9), [Action::Kill(0)]);
    assert_eq!(on(&mut state, Event::Tick, 10), [], "once");
    on(&mut state, Event::Ended(0, End::Signal(9)), 10);
    assert_eq!(on(&mut state, STOP, 11), [SWEEP]);
    assert_eq!(on(&mut state, Event::Alone, 11), [Action::Exit(0)], "that was no stop of the container");
}

#[test]
fn a_restart_is_a_stop_and_a_start() {
    let mut state = ready(&[Policy { steps: 1, ..policy(Role::Main) }]);
    on(&mut state, Event::Ended(0, End::Code(0)), 0);
    on(&mut state, Event::Ready(0), 0);
    assert_eq!(order(&mut state, Order::Restart, 1), [Action::Ask(0), answer(Answer::Restarts)]);
    assert_eq!(order(&mut state, Order::Restart, 1), [answer(Answer::Starts)], "asked once");
    assert_eq!(on(&mut state, KILLED, 2), [Action::Kill(0), Action::Step(0, 0)], "from its first step");
    assert_eq!(on(&mut state, Event::Tick, 99), [], "nobody is killed for the stop of before");
}

#[test]
fn the_last_order_counts() {
    let table = [
        (vec![Order::Stop, Order::Start], true),
        (vec![Order::Stop, Order::Restart], true),
        (vec![Order::Restart, Order::Stop], false),
        (vec![Order::Restart, Order::Stop, Order::Start], true),
    ];
    for (orders, runs) in table {
        let mut state = ready(&[policy(Role::Side)]);
        orders.iter().for_each(|how| drop(order(&mut state, *how, 1)));
        on(&mut state, KILLED, 2);
        assert_eq!(matches!(state.phase(0), Phase::Starting { .. }), runs, "{orders:?}");
    }
}

#[test]
fn an_order_ends_a_pause_and_the_row_of_failures() {
    let failing = || {
        let mut state = ready(&[policy(Role::Side)]);
        for at in [1, 5, 10] {
            on(&mut state, Event::Ended(0, End::Code(1)), at);
            on(&mut state, Event::Tick, at + 4);
        }
        on(&mut state, Event::Ended(0, End::Code(1)), 20);
        assert_eq!(state.phase(0), Phase::Pausing { until: s(25) });
        state
    };
    let mut state = failing();
    assert_eq!(order(&mut state, Order::Start, 21), [answer(Answer::Starts), Action::Start(0)]);
    on(&mut state, Event::Ended(0, End::Code(1)), 22);
    assert_eq!(state.phase(0), Phase::Pausing { until: s(23) }, "the first pause again");

    let mut state = failing();
    assert_eq!(order(&mut state, Order::Stop, 21), [answer(Answer::Stops)]);
    assert_eq!((state.phase(0), state.wake_at()), (Phase::Over(Rest::Stopped), None));
}

#[test]
fn a_service_that_was_given_up_on_gets_all_its_chances_again() {
    let mut restart = policy(Role::Side).restart;
    restart.limit = Some(1);
    let mut state = ready(&[Policy { restart, ..policy(Role::Side) }]);
    for round in 0..3 {
        let at = round * 10;
        on(&mut state, Event::Ended(0, End::Code(1)), at);
        assert_eq!(on(&mut state, Event::Tick, at + 1), [Action::Start(0)], "{round}");
        on(&mut state, Event::Ended(0, End::Code(1)), at + 2);
        assert_eq!(state.phase(0), Phase::Over(Rest::GivenUp));
        assert_eq!(order(&mut state, Order::Start, at + 3), [answer(Answer::Starts), Action::Start(0)]);
    }
}

#[test]
fn orders_to_a_service_behind_a_gate() {
    let gate = Policy { gate: Some(s(10)), ..policy(Role::Side) };
    let gated = || state(&[gate.clone(), policy(Role::Main)]);
    let mut state = gated();
    on(&mut state, Event::Begin, 0);
    assert_eq!(on(&mut state, Event::Ordered(1, Order::Start), 1), [answer(Answer::Starts), Action::Start(1)]);
    assert_eq!(on(&mut state, Event::Ready(0), 2), [], "it has begun already");

    let mut state = gated();
    on(&mut state, Event::Begin, 0);
    assert_eq!(on(&mut state, Event::Ordered(1, Order::Stop), 1), [answer(Answer::Stops)]);
    assert_eq!(on(&mut state, Event::Ready(0), 2), [], "it is to stay away");

    let mut state = gated();
    on(&mut state, Event::Begin, 0);
    assert_eq!(
        order(&mut state, Order::Stop, 1),
        [Action::Ask(0), answer(Answer::Stops), Action::Start(1)],
        "nothing to wait for"
    );
}

#[test]
fn a_stop_of_the_container_overrules_orders() {
    let mut state = ready(&[policy(Role::Side), policy(Role::Main)]);
    order(&mut state, Order::Restart, 1);
    assert_eq!(on(&mut state, STOP, 2), [], "it was asked already");
    assert_eq!(order(&mut state, Order::Start, 2), [answer(Answer::TooLate)]);
    assert_eq!(on(&mut state, KILLED, 3), [Action::Ask(1)]);
    assert_eq!(state.phase(0), Phase::Over(Rest::Stopped));
    assert_eq!(order(&mut state, Order::Start, 4), [answer(Answer::TooLate)]);
}
