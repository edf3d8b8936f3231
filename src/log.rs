//! The only place that writes to standard output and standard error.

use std::fmt::Write as _;
use std::io::Write as _;

/// How log lines look (`LOG_FORMAT`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// `gantry: sshd: ready on port 22`
    Text,
    /// `{"level":"info","service":"sshd","message":"ready on port 22"}`
    Json,
}

/// Where events go: one line each, on standard error, where container engines collect them with a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Log {
    format: Format,
}

impl Log {
    pub(crate) fn new(format: Format) -> Self {
        Self { format }
    }

    pub(crate) fn info(&self, message: &str) {
        self.line("info", None, message);
    }

    pub(crate) fn warning(&self, message: &str) {
        self.line("warning", None, message);
    }

    pub(crate) fn error(&self, message: &str) {
        self.line("error", None, message);
    }

    pub(crate) fn hint(&self, message: &str) {
        self.line("hint", None, message);
    }

    /// An event of one service.
    pub(crate) fn service(&self, level: &str, service: &str, message: &str) {
        self.line(level, Some(service), message);
    }

    /// A document that was asked for (help, version, health): standard output, as it is.
    pub(crate) fn answer(&self, text: &str) {
        // Nobody listens any more: nothing to be done about it.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }

    fn line(&self, level: &str, service: Option<&str>, message: &str) {
        let line = render(self.format, level, service, message);
        // A closed log must not end PID 1.
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
}

/// One line, with its newline, written in one piece so that lines of children do not mix into it.
fn render(format: Format, level: &str, service: Option<&str>, message: &str) -> String {
    let mut line = String::with_capacity(message.len() + 64);
    match format {
        Format::Text => {
            line.push_str("gantry: ");
            if level != "info" {
                line.push_str(level);
                line.push_str(": ");
            }
            if let Some(service) = service {
                line.push_str(service);
                line.push_str(": ");
            }
            // A log line is one line, whatever a value holds.
            line.extend(message.chars().map(|c| if c.is_control() { ' ' } else { c }));
        }
        Format::Json => {
            line.push_str("{\"level\":");
            quote(level, &mut line);
            if let Some(service) = service {
                line.push_str(",\"service\":");
                quote(service, &mut line);
            }
            line.push_str(",\"message\":");
            quote(message, &mut line);
            line.push('}');
        }
    }
    line.push('\n');
    line
}

/// Appends `text` as a JSON string.
fn quote(text: &str, into: &mut String) {
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
    use super::{Format, render};

    #[test]
    fn a_line_is_one_line_in_both_formats() {
        assert_eq!(render(Format::Text, "info", Some("sshd"), "ready"), "gantry: sshd: ready\n");
        assert_eq!(render(Format::Text, "error", None, "a\nb"), "gantry: error: a b\n");
        assert_eq!(
            render(Format::Json, "info", Some("sshd"), "a \"b\"\n\\\u{1b}"),
            "{\"level\":\"info\",\"service\":\"sshd\",\"message\":\"a \\\"b\\\"\\n\\\\\\u001b\"}\n"
        );
    }
}
