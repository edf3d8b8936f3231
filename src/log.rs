//! The only place that writes to standard output and standard error.

mod outlet;

use outlet::Outlet;
use std::cell::{Ref, RefCell};
use std::fmt::Write as _;
use std::io::{self, Write as _};

/// How log lines look (`LOG_FORMAT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `gantry: sshd: ready on port 22`
    Text,
    /// `{"level":"info","service":"sshd","message":"ready on port 22"}`
    Json,
}

/// Where events go: one line each, on standard error, where container engines collect them with a time.
#[derive(Debug)]
pub(crate) struct Log {
    format: Format,
    /// In PID 1, which must not wait for whoever reads its log.
    outlet: RefCell<Option<Outlet>>,
}

impl Log {
    pub(crate) fn new(format: Format) -> Self {
        Self { format, outlet: RefCell::new(None) }
    }

    /// From now on, writing does not wait: what cannot be written at once is written by [`Log::flush`].
    pub(crate) fn never_wait(&self) {
        self.outlet.borrow_mut().get_or_insert_with(Outlet::open);
    }

    pub(crate) fn info(&self, message: &str) {
        self.line(Line { level: "info", message, ..Line::default() });
    }

    pub(crate) fn warning(&self, message: &str) {
        self.line(Line { level: "warning", message, ..Line::default() });
    }

    pub(crate) fn error(&self, message: &str) {
        self.line(Line { level: "error", message, ..Line::default() });
    }

    pub(crate) fn hint(&self, message: &str) {
        self.line(Line { level: "hint", message, ..Line::default() });
    }

    /// An event of one service.
    pub(crate) fn service(&self, level: &str, service: &str, message: &str) {
        self.line(Line { level, service: Some(service), message, ..Line::default() });
    }

    /// Something that a person has to see: framed.
    pub(crate) fn prominent(&self, service: &str, message: &str) {
        self.line(Line { level: "info", service: Some(service), prominent: true, message, ..Line::default() });
    }

    /// A line that a service wrote to its `stream`.
    pub(crate) fn output(&self, service: &str, stream: &str, message: &str) {
        self.line(Line { level: "info", service: Some(service), stream: Some(stream), message, ..Line::default() });
    }

    /// A document that was asked for (help, version, health): standard output, as it is.
    pub(crate) fn answer(&self, text: &str) {
        // Nobody listens any more: nothing to be done about it.
        let _ = self.pass(text.as_bytes());
    }

    /// A part of an answer that comes bit by bit.
    ///
    /// # Errors
    /// Nobody listens any more.
    pub(crate) fn pass(&self, bytes: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout();
        stdout.write_all(bytes).and_then(|()| stdout.flush())
    }

    /// Writes what waits to be written, as far as that can be done now.
    pub(crate) fn flush(&self) {
        let lost = self.outlet.borrow_mut().as_mut().and_then(|outlet| {
            outlet.flush();
            outlet.lost()
        });
        if let Some(lost) = lost {
            self.warning(&format!("{lost} lines of this log were dropped, because nobody read it"));
        }
    }

    /// What waits to be written, and on what.
    pub(crate) fn outlet(&self) -> Ref<'_, Option<Outlet>> {
        self.outlet.borrow()
    }

    fn line(&self, line: Line<'_>) {
        let line = render(self.format, line);
        match self.outlet.borrow_mut().as_mut() {
            Some(outlet) => outlet.push(line.as_bytes()),
            // A closed log must not end anything.
            None => drop(io::stderr().write_all(line.as_bytes())),
        }
    }
}

/// What a line says.
#[derive(Debug, Clone, Copy, Default)]
struct Line<'a> {
    level: &'a str,
    service: Option<&'a str>,
    /// For what a service wrote by itself.
    stream: Option<&'a str>,
    prominent: bool,
    message: &'a str,
}

/// One line, with its newline, written in one piece so that lines of others do not mix into it.
fn render(format: Format, line: Line<'_>) -> String {
    match format {
        Format::Text if line.prominent => framed(line),
        Format::Text => text(line),
        Format::Json => json(line),
    }
}

fn text(line: Line<'_>) -> String {
    let mut text = String::with_capacity(line.message.len() + 64);
    // What services write stands behind their own name.
    if line.stream.is_none() {
        text.push_str("gantry: ");
    }
    if line.level != "info" {
        text.push_str(line.level);
        text.push_str(": ");
    }
    if let Some(service) = line.service {
        text.push_str(service);
        text.push_str(": ");
    }
    // A log line is one line, whatever a value holds.
    text.extend(line.message.chars().map(|c| if c.is_control() && c != '\t' { ' ' } else { c }));
    text.push('\n');
    text
}

/// The message between two rules.
fn framed(line: Line<'_>) -> String {
    let longest = line.message.lines().map(|part| part.chars().count()).max().unwrap_or_default();
    let rule = "=".repeat(longest.clamp(20, 100));
    let lines = [rule.as_str()].into_iter().chain(line.message.lines()).chain([rule.as_str()]);
    lines.map(|message| text(Line { message, ..line })).collect()
}

fn json(line: Line<'_>) -> String {
    let mut text = String::with_capacity(line.message.len() + 80);
    text.push_str("{\"level\":");
    quote(line.level, &mut text);
    for (name, value) in [("service", line.service), ("stream", line.stream)] {
        if let Some(value) = value {
            text.push_str(",\"");
            text.push_str(name);
            text.push_str("\":");
            quote(value, &mut text);
        }
    }
    if line.prominent {
        text.push_str(",\"prominent\":true");
    }
    text.push_str(",\"message\":");
    quote(line.message, &mut text);
    text.push_str("}\n");
    text
}

/// Appends `text` as a JSON string.
pub(crate) fn quote(text: &str, into: &mut String) {
    into.push('"');
    for c in text.chars() {
        match c {
            '"' => into.push_str("\\\""),
            '\\' => into.push_str("\\\\"),
            '\n' => into.push_str("\\n"),
            c if c.is_control() => {
                // Writing to a `String` cannot fail.
                let _ = write!(into, "\\u{:04x}", u32::from(c));
            }
            c => into.push(c),
        }
    }
    into.push('"');
}

#[cfg(test)]
mod tests {
    use super::{Format, Line, render};
    use proptest::prelude::*;

    #[test]
    fn a_line_is_one_line_in_both_formats() {
        let line = Line { level: "info", service: Some("sshd"), message: "ready", ..Line::default() };
        assert_eq!(render(Format::Text, line), "gantry: sshd: ready\n");
        let line = Line { level: "error", message: "a\nb", ..Line::default() };
        assert_eq!(render(Format::Text, line), "gantry: error: a b\n");
        let line = Line { level: "info", service: Some("sshd"), message: "a \"b\"\n\\\u{1b}", ..Line::default() };
        assert_eq!(
            render(Format::Json, line),
            "{\"level\":\"info\",\"service\":\"sshd\",\"message\":\"a \\\"b\\\"\\n\\\\\\u001b\"}\n"
        );
    }

    #[test]
    fn what_services_write_is_told_from_what_is_said_of_them() {
        let line = Line { level: "info", service: Some("sshd"), stream: Some("stderr"), message: "Accepted", ..Line::default() };
        assert_eq!(render(Format::Text, line), "sshd: Accepted\n");
        assert_eq!(
            render(Format::Json, line),
            "{\"level\":\"info\",\"service\":\"sshd\",\"stream\":\"stderr\",\"message\":\"Accepted\"}\n"
        );
    }

    #[test]
    fn what_has_to_be_seen_stands_out() {
        let line = Line { level: "info", service: Some("t"), prominent: true, message: "code ABCD", ..Line::default() };
        let rule = "=".repeat(20);
        assert_eq!(render(Format::Text, line), format!("gantry: t: {rule}\ngantry: t: code ABCD\ngantry: t: {rule}\n"));
        assert_eq!(
            render(Format::Json, line),
            "{\"level\":\"info\",\"service\":\"t\",\"prominent\":true,\"message\":\"code ABCD\"}\n"
        );
    }

    proptest! {
        #[test]
        fn a_line_stays_one_line_whatever_it_says(message: String, service in prop::option::of("[a-z]{1,8}"), output: bool) {
            let stream = output.then_some("stdout");
            let line = Line { level: "info", service: service.as_deref(), stream, message: &message, ..Line::default() };
            let text = render(Format::Text, line);
            prop_assert!(text.ends_with('\n') && !text.trim_end_matches('\n').contains(|c: char| c.is_control() && c != '\t'));
            prop_assert_eq!(text.matches('\n').count(), 1);
            let json = render(Format::Json, line);
            prop_assert!(json.ends_with('\n') && json.matches('\n').count() == 1);
            let read: serde_json::Value = serde_json::from_str(&json).expect("JSON");
            prop_assert_eq!(read.get("message").and_then(|read| read.as_str()), Some(message.as_str()));
            prop_assert_eq!(read.get("service").and_then(|read| read.as_str()), service.as_deref());
        }

        #[test]
        fn what_is_framed_is_lines_of_its_service(message: String) {
            let line = Line { level: "info", service: Some("t"), prominent: true, message: &message, ..Line::default() };
            let text = render(Format::Text, line);
            prop_assert!(text.lines().all(|line| line.starts_with("gantry: t: ")), "{}", text);
        }
    }
}
