//! Starts services, reaps what ends, and stops everything: one loop around the pure [`state`].

mod control;
mod events;
mod lines;
mod outputs;
mod ports;
mod reaper;
mod record;
mod requests;
mod service;
mod state;
mod status;
mod sweep;
mod telling;

pub(crate) use events::{Policy, Restart, Role};
pub(crate) use ports::listening;
pub(crate) use service::{Probe, Seen, Service, Shown, Step};
pub(crate) use state::side_share;

use crate::account::Account;
use crate::failure::Failure;
use crate::log::Log;
use crate::places;
use crate::process::{End, Handed, Program, Spawned, Stream, Streams, spawn};
use crate::settings::Settings;
use crate::signals::{self, Signals};
use crate::worker;
use control::Control;
use events::{Action, Answer, Event, Phase};
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, pipe2};
use outputs::{Kind, Outputs};
use record::{Finder, Record};
use state::State;
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

/// How often a starting service is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// Runs `services` until they have stopped, and returns the container's exit code.
///
/// # Errors
/// The control socket cannot be created; nothing has been started then.
pub(crate) fn run(services: Vec<Service>, signals: Signals, settings: &Settings, log: &Log) -> Result<u8, Failure> {
    log.never_wait();
    let init = std::process::id() == 1;
    if !init {
        log.warning("not PID 1: orphans of the services are adopted, processes of others are left alone");
        nix::sys::prctl::set_child_subreaper(true).map_err(|error| Failure::system("to adopt orphans", error))?;
    }
    let control = Control::listen(places::control(), Account::workspace(settings.home.as_deref())?.uid)?;
    let state = State::new(services.iter().map(|service| service.policy.clone()), settings.grace);
    let running = services.iter().map(|_| Running::default()).collect();
    let records = services.iter().map(|_| Record::default()).collect();
    let supervisor = Supervisor {
        services,
        running,
        records,
        outputs: Outputs::default(),
        state,
        signals,
        control,
        init,
        began: Instant::now(),
        settings,
        log,
    };
    Ok(supervisor.run())
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
    records: Vec<Record>,
    outputs: Outputs,
    state: State,
    signals: Signals,
    control: Control,
    init: bool,
    began: Instant,
    settings: &'a Settings,
    log: &'a Log,
}

impl Supervisor<'_> {
    fn run(mut self) -> u8 {
        let mut events = VecDeque::from([Event::Begin]);
        loop {
            if let Some(code) = self.take_in_all(&mut events) {
                return self.farewell(code);
            }
            self.collect(&mut events);
            if events.is_empty() {
                self.wait();
                self.collect(&mut events);
            }
            // Whatever else happens all the time: callers and deadlines have their turn.
            if let Some(code) = self.take_in_all(&mut events) {
                return self.farewell(code);
            }
            self.serve(&mut events);
            self.log.flush();
            events.push_back(Event::Tick);
        }
    }

    /// Passes the last words on.
    fn farewell(&mut self, code: u8) -> u8 {
        self.read_last(None, &mut VecDeque::new());
        self.write_answers();
        code
    }

    /// Does what follows from all of `events`, and from those that come of it; returns the exit code at the end of all.
    fn take_in_all(&mut self, events: &mut VecDeque<Event>) -> Option<u8> {
        while let Some(event) = events.pop_front() {
            if let (_, Some(code)) = self.happened(event, events) {
                return Some(code);
            }
        }
        None
    }

    /// Does what follows from `event`; returns the answer to an order and the exit code, where there are.
    fn happened(&mut self, event: Event, events: &mut VecDeque<Event>) -> (Option<Answer>, Option<u8>) {
        let mut answered = None;
        for action in self.state.on(event, self.began.elapsed()) {
            match action {
                Action::Exit(code) => return (answered, Some(code)),
                Action::Answer(answer) => answered = Some(answer),
                action => events.extend(self.carry_out(action)),
            }
        }
        (answered, None)
    }

    /// Turns what has happened into events.
    fn collect(&mut self, events: &mut VecDeque<Event>) {
        while let Some(signal) = self.signals.next() {
            if signals::STOPS.contains(&signal) {
                // Who presses Ctrl-C again does not want to wait; orchestrators repeat SIGTERM without meaning it.
                events.push_back(Event::Stop { hurry: matches!(signal, Signal::SIGINT | Signal::SIGQUIT) });
            }
        }
        self.read(events);
        let reaped = reaper::reap();
        for (pid, end) in &reaped.ended {
            if let Some(index) = self.running.iter().position(|running| running.leader == Some(*pid)) {
                self.read_last(Some(index), events);
                if let Some(running) = self.running.get_mut(index) {
                    running.leader = None;
                }
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
            if matches!(self.state.phase(index), Phase::Starting { .. }) && service.listens() {
                events.push_back(Event::Ready(index));
            }
        }
    }

    /// Waits for a signal, output, a caller, room in the log, or the next moment at which something is due.
    fn wait(&self) {
        let starting = |(index, service): (usize, &Service)| {
            matches!(self.state.phase(index), Phase::Starting { .. }) && service.probe.port().is_some()
        };
        let starting = self.services.iter().enumerate().any(starting);
        let due = self.state.wake_at().map(|at| at.saturating_sub(self.began.elapsed()));
        let outlet = self.log.outlet();
        let crowded = outlet.as_ref().and_then(|outlet| outlet.crowded());
        let crowded_for = crowded.map(|until| until.saturating_duration_since(Instant::now()));
        let timeout = [due, starting.then_some(LOOK), self.control.due(), crowded_for].into_iter().flatten().min();
        // Rounded up: a moment too early would be a busy loop.
        let timeout = timeout.map_or(PollTimeout::NONE, |timeout| {
            PollTimeout::try_from(timeout + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let mut interests = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        interests.extend(self.control.interests());
        interests.extend(self.outputs.interests(crowded.is_some()));
        interests.extend(outlet.as_ref().and_then(|outlet| outlet.interest()));
        // Only an interruption can come back as an error, and everything is looked at anyway.
        let _ = poll(&mut interests, timeout);
    }

    /// Does what the state machine decided; what fails at once is an event of its own.
    fn carry_out(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Step(index, step) => return self.start(index, Some(step)),
            Action::Start(index) => return self.start(index, None),
            Action::Ask(index) => self.signal(index, self.services.get(index)?.stop),
            Action::Kill(index) => self.signal(index, Signal::SIGKILL),
            Action::Sweep { kill } if self.init => sweep::everything(kill),
            Action::Sweep { kill } => sweep::children(kill),
            Action::Say(note) => self.say(note),
            Action::Answer(_) | Action::Exit(_) => {}
        }
        None
    }

    fn start(&mut self, index: usize, step: Option<usize>) -> Option<Event> {
        let service = self.services.get(index)?;
        let step = step.and_then(|step| service.steps.get(step));
        if step.and_then(|step| step.makes.as_ref()).is_some_and(|made| made.exists()) {
            return Some(Event::Ended(index, End::Code(0)));
        }
        let program = step.map_or(&service.program, |step| &step.program);
        self.outputs.begin(index);
        if let Some(record) = self.records.get_mut(index) {
            record.begin();
        }
        match spawn_connected(program, index, &mut self.outputs) {
            Ok(pid) => {
                if let Some(running) = self.running.get_mut(index) {
                    *running = Running { leader: Some(pid), group: Some(pid) };
                }
                if step.is_none() {
                    self.tell("info", index, Finder::Supervisor, &format!("started as process {pid}"));
                }
                None
            }
            Err(error) => {
                if let Some(running) = self.running.get_mut(index) {
                    // Its number may be somebody else's by now.
                    running.group = None;
                }
                let message = format!("cannot start `{}`: {error}", program.path.display());
                self.tell("error", index, Finder::Supervisor, &message);
                // As a shell would say: not found, or not executable.
                let code = if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 };
                Some(Event::Ended(index, End::Code(code)))
            }
        }
    }

    fn signal(&mut self, index: usize, signal: Signal) {
        let Some(running) = self.running.get_mut(index) else { return };
        if let Some(group) = running.group {
            // Nobody left in it: just what is wanted.
            let _ = killpg(group, signal);
        }
        if signal == Signal::SIGKILL && running.leader.is_none() {
            // From now on its number may be somebody else's.
            running.group = None;
        }
    }
}

/// Starts `program`, whose output comes in through `outputs`.
fn spawn_connected(program: &Program, service: usize, outputs: &mut Outputs) -> io::Result<Pid> {
    let streams = Streams { input: false, output: Stream::Piped, errors: Stream::Piped };
    let report = if program.reports { Some(pipe2(OFlag::O_CLOEXEC)?) } else { None };
    let handed = report.as_ref().map(|(_, theirs)| Handed { variable: worker::REPORT, descriptor: theirs.as_fd() });
    let Spawned { pid, stdout, stderr, .. } = spawn(program, streams, handed.as_slice())?;
    // First, so that it is read first: what a worker tells comes before what its programs then print.
    if let Some((ours, _)) = report {
        outputs.add(service, Kind::Report, ours);
    }
    if let Some(stdout) = stdout {
        outputs.add(service, Kind::Output, stdout);
    }
    if let Some(stderr) = stderr {
        outputs.add(service, Kind::Errors, stderr);
    }
    Ok(pid)
}
