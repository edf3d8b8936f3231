//! Syntax errors as problems: the first of a line, without those that only follow from another.

use std::ops::Range;

use super::problem::Problem;

/// A syntax error, with the line it stands in.
pub(super) struct SyntaxError {
    /// Bytes of the line, without its end; of the rest of the file, where nothing of that could be read.
    pub(super) line: Range<usize>,
    /// What to tell.
    pub(super) problem: Problem,
}

const CONFLICT: [&str; 4] = ["<<<<<<<", "|||||||", "=======", ">>>>>>>"];

/// What is to be told of `errors`, in the order of the file.
pub(super) fn problems(text: &str, errors: &[toml::de::Error]) -> Vec<SyntaxError> {
    let mut errors: Vec<(Range<usize>, &toml::de::Error)> = errors.iter().map(|error| (span(text, error), error)).collect();
    errors.sort_by_key(|(span, _)| span.start);
    let mut told: Vec<SyntaxError> = Vec::new();
    let (mut in_conflict, mut in_second_table) = (false, None);
    for (span, error) in &errors {
        let line = line(text, span.start);
        if told.last().is_some_and(|told| told.line == line) {
            continue;
        }
        let content = text[line.clone()].trim_start();
        if CONFLICT.iter().any(|marker| content.starts_with(marker)) {
            if !std::mem::replace(&mut in_conflict, true) {
                let problem = Problem::new(line.clone(), "a merge conflict is not resolved", "expected one of the two sides")
                    .hint("remove the lines `<<<<<<<`, `=======` and `>>>>>>>` and the side that is not wanted");
                told.push(SyntaxError { line, problem });
            }
            continue;
        }
        if error.message().starts_with("duplicate key") {
            // What stands in a second table of one name is a duplicate too, and needs no word.
            if in_second_table.is_some_and(|from: usize| !text[from..line.start].contains("\n[")) {
                continue;
            }
            in_second_table = content.starts_with('[').then_some(line.start);
        }
        if let Some((what, opened, closed)) = unclosed(&errors, &line, content) {
            let start = line.end - content.len();
            let message = format!("{what} is not closed before this line");
            let problem = Problem::new(start..line.end, message, format!("expected `{closed}` before it"));
            let problem = match opening(text, line.start, opened) {
                Some(at) => problem.related(at..at + 1, "opened here"),
                None => problem,
            };
            // All that follows was read as part of it.
            told.push(SyntaxError { line: line.start..text.len() + 1, problem });
            break;
        }
        told.push(SyntaxError { line, problem: problem(text, span.clone(), error) });
    }
    told
}

/// Whether the line's errors say that it was read as part of an array or inline table that should have ended before.
fn unclosed(
    errors: &[(Range<usize>, &toml::de::Error)],
    line: &Range<usize>,
    content: &str,
) -> Option<(&'static str, char, char)> {
    let from = errors.partition_point(|(span, _)| span.start < line.start);
    let to = errors.partition_point(|(span, _)| span.start <= line.end);
    let here = |message: &str| errors[from..to].iter().any(|(_, error)| error.message().starts_with(message));
    if here("unexpected `=` in array") {
        Some(("an array", '[', ']'))
    } else if content.starts_with('[') && here("missing key for inline table element") {
        Some(("an inline table", '{', '}'))
    } else {
        None
    }
}

fn problem(text: &str, span: Range<usize>, error: &toml::de::Error) -> Problem {
    let (message, expected) = error.message().split_once(", expected ").unwrap_or((error.message(), ""));
    let written = text.get(span.clone()).unwrap_or_default();
    match message {
        "duplicate key" => Problem::new(span, format!("duplicate key `{written}`"), "given before").hint("keep one of the two"),
        "string values must be quoted" => {
            Problem::new(span, format!("`{written}` is not a value"), "expected a string in quotes")
                .hint(format!("in quotes: \"{written}\""))
        }
        _ if expected.is_empty() => Problem::new(span, message, "not valid TOML"),
        _ => Problem::new(span, message, format!("expected {expected}")),
    }
}

fn span(text: &str, error: &toml::de::Error) -> Range<usize> {
    let span = error.span().unwrap_or_default();
    let end = span.end.min(text.len());
    span.start.min(end)..end
}

fn line(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |before| before + 1);
    start..text[at..].find('\n').map_or(text.len(), |after| at + after)
}

/// The last `bracket` of a value before `end`.
fn opening(text: &str, end: usize, bracket: char) -> Option<usize> {
    let mut end = end;
    loop {
        let line = line(text, end.checked_sub(1)?);
        let code = text[line.clone()].split('#').next().unwrap_or_default();
        match code.rfind(bracket) {
            Some(at) if !code.trim_start().starts_with('[') => return Some(line.start + at),
            _ => end = line.start,
        }
    }
}
