//! The answer to `status`: a line for the whole and one for each service, as fields between tabs.

use super::events::{Phase, Rest, Role};
use super::record::Record;
use super::service::{Probe, Service};
use super::state::State;
use crate::settings::Disabled;
use std::fmt::Write as _;
use std::time::Duration;

/// What it is made from.
pub(super) struct Snapshot<'a> {
    pub(super) services: &'a [Service],
    pub(super) state: &'a State,
    pub(super) records: &'a [Record],
    pub(super) disabled: &'a [Disabled],
    /// What is no problem but should be known.
    pub(super) notes: &'a [String],
    /// How long the entrypoint has been running.
    pub(super) now: Duration,
}

impl Snapshot<'_> {
    pub(super) fn render(&self) -> String {
        let state = if self.state.stopping() { "stopping" } else { "running" };
        let mut text = String::new();
        let version = env!("CARGO_PKG_VERSION").to_owned();
        line(&mut text, "entrypoint", [("state", state.into()), ("version", version), ("uptime", seconds(self.now))]);
        for (index, (service, record)) in self.services.iter().zip(self.records).enumerate() {
            let phase = self.state.phase(index);
            let role = if service.policy.role == Role::Main { "main" } else { "side" };
            let mut fields = vec![
                ("name", service.name.to_owned()),
                ("role", role.to_owned()),
                ("phase", word(phase, service.policy.once).to_owned()),
                ("restarts", self.state.restarts(index).to_string()),
            ];
            if let Phase::Ready { since } | Phase::Starting { since } = phase {
                fields.push(("uptime", seconds(self.now.saturating_sub(since))));
            }
            if let Some(port) = service.probe.port() {
                fields.extend([("port", port.to_string()), ("uid", service.uid().to_string())]);
            }
            if let Probe::Http(_, path) = service.probe {
                fields.push(("path", path.to_owned()));
            }
            let texts = [("doing", &record.doing), ("prominent", &record.prominent)];
            fields.extend(texts.into_iter().filter_map(|(name, text)| Some((name, text.clone()?))));
            if let Some((at, error)) = record.error() {
                fields.extend([("error", error.to_owned()), ("error_age", seconds(self.now.saturating_sub(at)))]);
            }
            line(&mut text, "service", fields);
        }
        for note in self.notes {
            line(&mut text, "note", [("text", note.clone())]);
        }
        for disabled in self.disabled {
            for problem in &disabled.problems {
                line(&mut text, "disabled", [("name", disabled.service.to_owned()), ("problem", problem.clone())]);
            }
        }
        text
    }
}

fn word(phase: Phase, once: bool) -> &'static str {
    match phase {
        // A task that goes on beside the services.
        Phase::Ready { .. } if once => "running",
        Phase::Waiting => "waiting",
        Phase::Step(_) | Phase::Starting { .. } => "starting",
        Phase::Ready { .. } => "ready",
        Phase::Pausing { .. } => "pausing",
        Phase::Stopping { .. } => "stopping",
        Phase::Over(Rest::Idle) => "idle",
        Phase::Over(Rest::Stopped) => "stopped",
        Phase::Over(Rest::Done) => "done",
        Phase::Over(Rest::GivenUp) => "failed",
    }
}

fn seconds(duration: Duration) -> String {
    duration.as_secs().to_string()
}

fn line(text: &mut String, kind: &str, fields: impl IntoIterator<Item = (&'static str, String)>) {
    text.push_str(kind);
    for (name, value) in fields {
        let value: String = value.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // Writing to a `String` cannot fail.
        let _ = write!(text, "\t{name}={value}");
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::line;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_field_stays_a_field(first: String, second: String) {
            let mut text = String::new();
            line(&mut text, "service", [("doing", first.clone()), ("error", second.clone())]);
            let clean = |text: &str| text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
            let parts: Vec<_> = text.strip_suffix('\n').expect("a line").split('\t').collect();
            prop_assert_eq!(parts, ["service".to_owned(), format!("doing={}", clean(&first)), format!("error={}", clean(&second))]);
        }
    }
}
