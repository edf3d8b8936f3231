//! How a failure is told: what happened, why, and what to do.

use std::error::Error as _;

use super::Console;
use crate::cli::Format;
use crate::failure::Failure;

/// Prints a failure on stderr: as text, or as one JSON object.
pub fn print_failure(console: Console, failure: &Failure) {
    match console.format() {
        Format::Json => super::print_line(&as_json(failure)),
        _ => super::print_line(&as_text(failure, console.color())),
    }
}

/// The causes, outermost first, without those that only repeat what contains them.
fn causes(failure: &Failure) -> Vec<String> {
    let mut causes = Vec::new();
    let mut said = failure.message.clone();
    let mut source = failure.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !said.contains(&text) {
            said.clone_from(&text);
            causes.push(text);
        }
        source = cause.source();
    }
    causes
}

fn as_text(failure: &Failure, color: bool) -> String {
    let (red, cyan, plain) = if color { ("\u{1b}[1;31m", "\u{1b}[36m", "\u{1b}[0m") } else { ("", "", "") };
    let mut text = String::new();
    if let Some(detail) = &failure.detail {
        text += detail.trim_end();
        text += "\n";
    }
    text += &format!("{red}error:{plain} {}", failure.message);
    for cause in causes(failure) {
        text += &format!("\n  because: {cause}");
    }
    for hint in failure.hint.iter().flat_map(|hint| hint.lines()) {
        text += &format!("\n{cyan}hint:{plain} {hint}");
    }
    text
}

fn as_json(failure: &Failure) -> String {
    serde_json::json!({
        "event": "failure",
        "exit": failure.exit as u8,
        "message": failure.message,
        "causes": causes(failure),
        "hint": failure.hint,
        "detail": failure.detail,
    })
    .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_failure_says_what_why_and_what_to_do() {
        let io = std::io::Error::other("connection refused");
        let failure = Failure::new(Exit::Missing, "no engine answers at `unix:///run/x.sock`")
            .source(io)
            .hint("cargo xtask setup")
            .detail("last lines\n");
        assert_eq!(
            as_text(&failure, false),
            "last lines\nerror: no engine answers at `unix:///run/x.sock`\n  because: connection refused\nhint: cargo xtask setup"
        );
    }
}
