//! What callers of the control socket ask, and what they are answered.

use super::Supervisor;
use super::control::Reply;
use super::events::{Answer, Event, Order};
use super::status::Snapshot;
use std::collections::VecDeque;

/// A request line.
#[derive(Debug, PartialEq, Eq)]
enum Request<'a> {
    Status,
    Order(Order, &'a str),
    Logs { service: &'a str, follow: bool },
}

fn parse(line: &str) -> Option<Request<'_>> {
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    match words[..] {
        ["status"] => Some(Request::Status),
        ["start", service] => Some(Request::Order(Order::Start, service)),
        ["stop", service] => Some(Request::Order(Order::Stop, service)),
        ["restart", service] => Some(Request::Order(Order::Restart, service)),
        ["logs", service] => Some(Request::Logs { service, follow: false }),
        ["follow", service] => Some(Request::Logs { service, follow: true }),
        _ => None,
    }
}

fn words(answer: Answer) -> &'static str {
    match answer {
        Answer::Starts => "ok starts\n",
        Answer::Stops => "ok stops\n",
        Answer::Restarts => "ok restarts\n",
        Answer::RunsAlready => "ok runs already\n",
        Answer::DoesNotRun => "ok does not run\n",
        Answer::TooLate => "error the container is stopping\n",
    }
}

impl Supervisor<'_> {
    /// Serves callers. To be called when all events have been taken in, so that answers are of now.
    pub(super) fn serve(&mut self, events: &mut VecDeque<Event>) {
        let mut requests = Vec::new();
        self.control.hear(&mut requests);
        for (caller, request) in requests {
            let reply = self.reply(&request, events);
            self.control.answer(caller, reply);
        }
        self.write_answers();
    }

    /// Writes as much of the answers as can be written now.
    pub(super) fn write_answers(&mut self) {
        let records = &self.records;
        self.control.write(|service| records.get(service).map(|record| &record.kept));
    }

    fn reply(&mut self, request: &str, events: &mut VecDeque<Event>) -> Reply {
        match parse(request) {
            None => Reply::Text("error unknown request\n".to_owned()),
            Some(Request::Status) => Reply::Text(self.snapshot().render()),
            Some(Request::Order(order, name)) => {
                let Some(index) = self.index(name) else { return self.unknown(name) };
                let (answer, _) = self.happened(Event::Ordered(index, order), events);
                Reply::Text(answer.map_or("error nothing to be done\n", words).to_owned())
            }
            Some(Request::Logs { service, follow }) => {
                let Some(index) = self.index(service) else { return self.unknown(service) };
                let Some(record) = self.records.get(index) else { return self.unknown(service) };
                let (first, next) = (record.kept.first(), record.kept.next());
                Reply::Lines { service: index, first, next, follow }
            }
        }
    }

    fn index(&self, name: &str) -> Option<usize> {
        self.services.iter().position(|service| service.name == name)
    }

    fn unknown(&self, name: &str) -> Reply {
        if let Some(disabled) = self.settings.disabled.iter().find(|disabled| disabled.service == name) {
            return Reply::Text(format!("error `{name}` is disabled: {}\n", disabled.problems.join("; ")));
        }
        let names: Vec<_> = self.services.iter().map(|service| format!("`{}`", service.name)).collect();
        Reply::Text(format!("error no service is called `{name}`; there are {}\n", names.join(", ")))
    }

    fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            services: &self.services,
            state: &self.state,
            records: &self.records,
            disabled: &self.settings.disabled,
            notes: &self.settings.notes,
            now: self.began.elapsed(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Order, Request, parse};
    use proptest::prelude::*;

    #[test]
    fn requests() {
        let table = [
            ("status", Some(Request::Status)),
            ("restart  web", Some(Request::Order(Order::Restart, "web"))),
            ("follow web", Some(Request::Logs { service: "web", follow: true })),
            ("start", None),
            ("start a b", None),
            ("", None),
        ];
        for (line, expected) in table {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn a_request_is_understood_or_refused(line in "\\PC*|(status|start|stop|logs|follow|web| |\t){0,5}") {
            if let Some(request) = parse(&line) {
                let first = line.split_ascii_whitespace().next();
                prop_assert_eq!(request == Request::Status, first == Some("status"));
            }
        }
    }
}
