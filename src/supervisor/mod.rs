//! Starts services, reaps what ends, and stops everything: one loop around the pure [`state`].

mod control;
mod events;
mod ports;
mod reaper;
mod state;
mod sweep;

pub(crate) use events::{Policy, Restart, Role};
pub(crate) use ports::listening;

use crate::failure::Failure;
use crate::log::Log;
use crate::places;
use crate::process::{End, Program, Streams, spawn};
use crate::signals::{self, Signals};
use control::Control;
use events::{Action, Event, Note, Phase};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use state::State;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::os::fd::AsFd as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

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
    /// It listens on this port.
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

/// How often a starting service is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Runs `services` until they have stopped, and returns the container's exit code.
///
/// # Errors
/// The control socket cannot be created; nothing has been started then.
pub(crate) fn run(services: Vec<Service>, signals: Signals, grace: Duration, log: &Log) -> Result<u8, Failure> {
    let init = std::process::id() == 1;
    if !init {
        log.warning("not PID 1: orphans of the services are adopted, processes of others are left alone");
        nix::sys::prctl::set_child_subreaper(true).map_err(|error| Failure::system("to adopt orphans", error))?;
    }
    let control = Control::listen(places::control())?;
    let state = State::new(services.iter().map(|service| service.policy.clone()), grace);
    let running = services.iter().map(|_| Running::default()).collect();
    Ok(Supervisor { services, running, state, signals, control, init, began: Instant::now(), log }.run())
}

/// The processes of a service.
#[derive(Debug, Default, Clone, Copy)]
struct Running {
    /// The step or the service itself, while it lives.
    leader: Option<Pid>,
    /// The last process group that was started, which may outlive its leader.
    group: Option<Pid>,
}

struct Supervisor<'a> {
    services: Vec<Service>,
    running: Vec<Running>,
    state: State,
    signals: Signals,
    control: Control,
    init: bool,
    began: Instant,
    log: &'a Log,
}

impl Supervisor<'_> {
    fn run(mut self) -> u8 {
        let mut events = VecDeque::from([Event::Begin]);
        loop {
            while let Some(event) = events.pop_front() {
                let now = self.began.elapsed();
                for action in self.state.on(event, now) {
                    if let Action::Exit(code) = action {
                        return code;
                    }
                    events.extend(self.carry_out(action));
                }
            }
            self.collect(&mut events);
            if events.is_empty() {
                self.wait();
                self.collect(&mut events);
                events.push_back(Event::Tick);
            }
        }
    }

    /// Turns what has happened into events.
    fn collect(&mut self, events: &mut VecDeque<Event>) {
        while let Some(signal) = self.signals.next() {
            if signals::STOPS.contains(&signal) {
                // Who presses Ctrl-C again does not want to wait; orchestrators repeat SIGTERM without meaning it.
                events.push_back(Event::Stop { hurry: matches!(signal, Signal::SIGINT | Signal::SIGQUIT) });
            }
        }
        let reaped = reaper::reap();
        for (pid, end) in &reaped.ended {
            if let Some(index) = self.running.iter().position(|running| running.leader == Some(*pid)) {
                self.running[index].leader = None;
                events.push_back(Event::Ended(index, *end));
            }
        }
        if let Some(kill) = self.state.sweeping() {
            if reaped.alone {
                events.push_back(Event::Alone);
            } else if !self.init && !reaped.ended.is_empty() {
                // Children of those who ended are ours only now.
                sweep::children(kill);
            }
        }
        for (index, service) in self.services.iter().enumerate() {
            if matches!(self.state.phase(index), Phase::Starting { .. }) && service.probe.port().is_some_and(listening) {
                events.push_back(Event::Ready(index));
            }
        }
        let (services, state) = (&self.services, &self.state);
        self.control.serve(|request| match request {
            "status" => snapshot(services, state),
            _ => "error unknown request\n".to_owned(),
        });
    }

    /// Waits for a signal, a caller, or the next moment at which something is due.
    fn wait(&self) {
        let starting = (0..self.services.len()).any(|index| matches!(self.state.phase(index), Phase::Starting { .. }));
        let due = self.state.wake_at().map(|at| at.saturating_sub(self.began.elapsed()));
        let timeout = due.into_iter().chain(starting.then_some(LOOK)).min();
        // Rounded up: a moment too early would be a busy loop.
        let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
            PollTimeout::try_from(timeout + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let mut interests = self.control.interests();
        interests.push(PollFd::new(self.signals.as_fd(), PollFlags::POLLIN));
        // Only an interruption can come back as an error, and everything is looked at anyway.
        let _ = poll(&mut interests, timeout);
    }

    /// Does what the state machine decided; what fails at once is an event of its own.
    fn carry_out(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Step(index, step) => self.start(index, Some(step)),
            Action::Start(index) => self.start(index, None),
            Action::Ask(index) => self.signal(index, self.services[index].stop),
            Action::Kill(index) => self.signal(index, Signal::SIGKILL),
            Action::Sweep { kill } if self.init => sweep::everything(kill),
            Action::Sweep { kill } => sweep::children(kill),
            Action::Say(note) => self.say(note),
            Action::Exit(_) => None,
        }
    }

    fn start(&mut self, index: usize, step: Option<usize>) -> Option<Event> {
        let service = &self.services[index];
        let step = step.map(|step| &service.steps[step]);
        if step.and_then(|step| step.makes.as_ref()).is_some_and(|made| made.exists()) {
            return Some(Event::Ended(index, End::Code(0)));
        }
        let program = step.map_or(&service.program, |step| &step.program);
        match spawn(program, Streams::default(), &[]) {
            Ok(spawned) => {
                let pid = spawned.pid;
                self.running[index] = Running { leader: Some(pid), group: Some(pid) };
                if step.is_none() {
                    self.log.service("info", service.name, &format!("started as process {pid}"));
                }
                None
            }
            Err(error) => {
                self.log.service("error", service.name, &format!("cannot start `{}`: {error}", program.path.display()));
                // As a shell would say: not found, or not executable.
                let code = if error.kind() == std::io::ErrorKind::NotFound { 127 } else { 126 };
                Some(Event::Ended(index, End::Code(code)))
            }
        }
    }

    fn signal(&self, index: usize, signal: Signal) -> Option<Event> {
        if let Some(group) = self.running[index].group {
            // Nobody left in it: just what is wanted.
            let _ = killpg(group, signal);
        }
        None
    }

    fn say(&self, note: Note) -> Option<Event> {
        let tell = |level, index: usize, message: &str| self.log.service(level, self.services[index].name, message);
        match note {
            Note::Ready(index, after) => {
                let port = self.services[index].probe.port().map_or(String::new(), |port| format!(" on port {port}"));
                tell("info", index, &format!("ready{port} after {} ms", after.as_millis()));
            }
            Note::Stopped(index, end) => tell("info", index, &format!("stopped: {end}")),
            Note::Ended(index, end) => tell("error", index, &format!("ended by itself: {end}")),
            Note::StepFailed(index, step, end) => {
                let path = self.services[index].steps[step].program.path.display();
                tell("error", index, &format!("`{path}`, which comes before it, failed: {end}"));
            }
            Note::Again(index, pause) => tell("warning", index, &format!("starts again in {} s", pause.as_secs_f32())),
            Note::GivenUp(index) => tell("error", index, "given up on"),
            Note::Stopping => self.log.info("stopping"),
            Note::Overdue(index) => tell("warning", index, "did not stop in time and is killed"),
            Note::Leftovers => self.log.warning("what is left is killed"),
        }
        None
    }
}

/// The answer to `status`: a line for the whole, one for each service (name, phase, port, path of its probe).
fn snapshot(services: &[Service], state: &State) -> String {
    let mut text = format!("entrypoint {}\n", if state.stopping() { "stopping" } else { "running" });
    for (index, service) in services.iter().enumerate() {
        let phase = match state.phase(index) {
            Phase::Step(_) | Phase::Starting { .. } => "starting",
            Phase::Ready { .. } => "ready",
            Phase::Pausing { .. } => "pausing",
            Phase::Over => "over",
        };
        let (port, path) = match service.probe {
            Probe::Port(port) => (port, "-"),
            Probe::Http(port, path) => (port, path),
            Probe::Said => (0, "-"),
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "service {} {phase} {port} {path}", service.name);
    }
    text
}
