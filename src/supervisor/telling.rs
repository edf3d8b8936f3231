//! What is told of services: to the container's log, and to whoever asks later.

use super::Supervisor;
use super::events::{Event, Note, Role};
use super::outputs::{Kind, Line};
use super::record::Finder;
use super::service::{Seen, Shown};
use crate::worker::Told;
use std::collections::VecDeque;

impl Supervisor<'_> {
    /// Reads what services have written.
    pub(super) fn read(&mut self, events: &mut VecDeque<Event>) {
        let crowded = self.log.outlet().as_ref().is_some_and(|outlet| outlet.crowded().is_some());
        let mut lines = Vec::new();
        self.outputs.read(crowded, &mut |line| lines.push(line));
        self.take_in(lines, events);
    }

    /// Reads the last that a service (with none: any) has written before it ended.
    pub(super) fn read_last(&mut self, index: Option<usize>, events: &mut VecDeque<Event>) {
        let mut lines = Vec::new();
        self.outputs.finish(index, &mut |line| lines.push(line));
        self.take_in(lines, events);
    }

    fn take_in(&mut self, lines: Vec<Line>, events: &mut VecDeque<Event>) {
        for line in lines {
            let index = line.service;
            let Some(service) = self.services.get(index) else { continue };
            let seen = if line.kind == Kind::Report {
                match Told::parse(&line.text) {
                    Some(Told::Event { level, message }) => {
                        self.tell(level, index, Finder::Service, &message);
                        None
                    }
                    Some(Told::Ready) => Some(Seen::Ready),
                    Some(Told::Doing(what)) => Some(Seen::Doing(what)),
                    None => None,
                }
            } else {
                let seen = service.watch.and_then(|watch| watch(&line.text));
                if seen == Some(Seen::Hidden) {
                    continue;
                }
                // What has to be seen is shown in a frame instead.
                if service.shown == Shown::Log && !matches!(seen, Some(Seen::Prominent(_))) {
                    let stream = if line.kind == Kind::Errors { "stderr" } else { "stdout" };
                    self.log.output(service.name, stream, &line.text);
                }
                if let Some(record) = self.records.get_mut(index) {
                    record.kept.push(line.text);
                }
                seen
            };
            // What a process of an earlier run says is not about this one.
            if let Some(seen) = seen.filter(|_| line.present) {
                events.extend(self.seen(index, &seen));
            }
        }
    }

    /// Something was seen of a service.
    fn seen(&mut self, index: usize, seen: &Seen) -> Option<Event> {
        let record = self.records.get_mut(index)?;
        let news = !matches!(seen, Seen::Prominent(text) if record.prominent.as_ref() == Some(text));
        record.note(seen);
        if let (Seen::Prominent(text), true) = (seen, news) {
            record.kept.push(format!("gantry: {text}"));
            self.log.prominent(self.services.get(index)?.name, text);
        }
        matches!(seen, Seen::Ready | Seen::Prominent(_)).then_some(Event::Ready(index))
    }

    /// Tells an event of a service; an error is one that `finder` found.
    pub(super) fn tell(&mut self, level: &str, index: usize, finder: Finder, message: &str) {
        let Some(service) = self.services.get(index) else { return };
        self.log.service(level, service.name, message);
        let now = self.began.elapsed();
        let Some(record) = self.records.get_mut(index) else { return };
        let prefix = if level == "info" { String::new() } else { format!("{level}: ") };
        record.kept.push(format!("gantry: {prefix}{message}"));
        if level == "error" {
            record.fail(now, finder, message);
        }
    }

    pub(super) fn say(&mut self, note: Note) {
        let (level, index, message) = match note {
            // A task that is not done yet, and that nobody has to wait for.
            Note::Ready(index, _) if self.services.get(index).is_some_and(|service| service.policy.once) => {
                ("info", index, "goes on beside the services".to_owned())
            }
            Note::Ready(index, after) => {
                let port = self.services.get(index).and_then(|service| service.probe.port());
                let port = port.map_or(String::new(), |port| format!(" on port {port}"));
                ("info", index, format!("ready{port} after {} ms", after.as_millis()))
            }
            Note::Stopped(index, end) => ("info", index, format!("stopped: {end}")),
            Note::Done(index) => ("info", index, "done".to_owned()),
            Note::Ended(index, end) => ("error", index, format!("ended by itself: {end}")),
            Note::StepFailed(index, step, end) => {
                let step = self.services.get(index).and_then(|service| service.steps.get(step));
                let path = step.map_or(String::new(), |step| step.program.path.display().to_string());
                ("error", index, format!("`{path}`, which comes before it, failed: {end}"))
            }
            Note::Again(index, pause) => ("warning", index, format!("starts again in {} s", pause.as_secs_f32())),
            Note::GivenUp(index) => {
                let side = self.services.get(index).filter(|service| service.policy.role == Role::Side);
                let again = side.map(|side| format!(": `entrypoint start {}` tries again", side.name));
                ("error", index, format!("given up on{}", again.unwrap_or_default()))
            }
            Note::Overslept(index) => ("warning", index, "takes its time: the services after it start now".to_owned()),
            Note::Overdue(index) => ("warning", index, "did not stop in time and is killed".to_owned()),
            Note::Stopping => return self.log.info("stopping"),
            Note::Leftovers => return self.log.warning("what is left is killed"),
        };
        let finder = if matches!(note, Note::GivenUp(_)) { Finder::Consequence } else { Finder::Supervisor };
        self.tell(level, index, finder, &message);
        if let (Note::GivenUp(_) | Note::Stopped(..), Some(record)) = (note, self.records.get_mut(index)) {
            record.over();
        }
    }
}
