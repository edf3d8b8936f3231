//! The words of the state machine: what a service is, what happens to it, and what to do.

use crate::process::End;
use std::time::Duration;

/// The part that a service plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Role {
    /// Runs beside the access services; stopped first; its failure never ends the container.
    Side,
    /// Gives access; when it is given up on, the container ends with its code.
    Main,
}

/// How often and how fast a service that was ready is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Restart {
    /// Restarts in a row before it is given up on; none: never given up on.
    pub(crate) limit: Option<u32>,
    /// The first pause; each further one doubles it.
    pub(crate) first: Duration,
    /// The longest pause.
    pub(crate) longest: Duration,
    /// Ready for as long as this, it counts as healthy and the row begins anew.
    pub(crate) stable: Duration,
}

/// What the state machine needs to know of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) role: Role,
    /// Programs that must have ended with 0, one after the other, before the service itself is started.
    pub(crate) steps: usize,
    /// Whether readiness is reported from outside; otherwise a started service is a ready one.
    pub(crate) probed: bool,
    /// Whether it is a task: ending with 0 it is done, and is not started again.
    pub(crate) once: bool,
    /// Whether it starts with the container, or when somebody asks for it.
    pub(crate) autostart: bool,
    /// How long the services after it wait for it to be ready, done or failed once; none: they do not.
    pub(crate) gate: Option<Duration>,
    pub(crate) restart: Restart,
    /// How long it may take to stop by itself before its process group is killed.
    pub(crate) patience: Duration,
}

/// What somebody wants of one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    Start,
    Stop,
    Restart,
}

/// What an order comes to, at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Starts,
    Stops,
    Restarts,
    /// There was nothing to start.
    RunsAlready,
    /// There was nothing to stop.
    DoesNotRun,
    /// The container itself is stopping.
    TooLate,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Event {
    /// The supervisor runs.
    Begin,
    /// The process of service `0` (a step or the service itself) ended.
    Ended(usize, End),
    /// Service `0` answers.
    Ready(usize),
    /// Somebody wants something of service `0`.
    Ordered(usize, Order),
    /// Somebody asked for a stop of everything; `hurry` when they will not wait.
    Stop { hurry: bool },
    /// No child is left.
    Alone,
    /// Time has passed.
    Tick,
}

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Start step `1` of service `0`.
    Step(usize, usize),
    /// Start service `0` itself.
    Start(usize),
    /// Ask service `0` to stop: its stop signal to its process group.
    Ask(usize),
    /// Kill what is left of service `0`'s process group.
    Kill(usize),
    /// SIGTERM (or, with `kill`, SIGKILL) to everything that is left.
    Sweep { kill: bool },
    /// End with this code.
    Exit(u8),
    /// Tell.
    Say(Note),
    /// Tell whoever gave the order.
    Answer(Answer),
}

/// What is told about service `0` (or the whole).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Note {
    Ready(usize, Duration),
    Ended(usize, End),
    Stopped(usize, End),
    StepFailed(usize, usize, End),
    Done(usize),
    Again(usize, Duration),
    GivenUp(usize),
    /// Those after it have waited for it long enough.
    Overslept(usize),
    Stopping,
    Overdue(usize),
    Leftovers,
}

/// Where one service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It begins when one before it lets it.
    Waiting,
    Step(usize),
    Starting {
        since: Duration,
    },
    Ready {
        since: Duration,
    },
    Pausing {
        until: Duration,
    },
    /// It was asked to stop; `again`: and to start then.
    Stopping {
        again: bool,
    },
    Over(Rest),
}

/// Why a service does not run and is not about to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rest {
    /// It starts only when somebody asks for it, and nobody has.
    Idle,
    /// It was stopped.
    Stopped,
    /// It was a task, and is done.
    Done,
    GivenUp,
}
