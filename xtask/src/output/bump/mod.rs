//! What `bump` says: a line for each name, what moves inside of it, and what is to be looked at.

mod markdown;

use std::fmt::Write as _;

use crate::bump::{Failed, Held, Move, Moved, Report, Unmoved, Version};

pub use markdown::markdown;

/// Packages inside that are told by name for people; the other formats have them all.
const TOLD: usize = 20;

/// The report for people.
pub fn text(report: &Report) -> String {
    let width = names_of(report).map(str::len).max().unwrap_or_default();
    let mut text = String::new();
    // Writing into a `String` cannot fail.
    for of in &report.moved {
        let facts = [age(of), of.notes.clone()].into_iter().flatten().collect::<Vec<_>>().join("  ");
        let _ = writeln!(text, "{:width$}  {}{}", of.name, step(of), if facts.is_empty() { facts } else { format!("  {facts}") });
        if let Some(held) = &of.held {
            let _ = writeln!(text, "{:width$}  {}", "", held_back(held));
        }
        for inside in of.details.iter().take(TOLD) {
            let _ = writeln!(text, "{:width$}    {}", "", package(inside));
        }
        if let Some(more) = of.details.len().checked_sub(TOLD).filter(|more| *more > 0) {
            let _ = writeln!(text, "{:width$}    … and {more} more (`--format json` tells all)", "");
        }
    }
    for Unmoved { name, version, held } in &report.unmoved {
        let state = held.as_ref().map_or_else(|| "the newest".to_owned(), held_back);
        let _ = writeln!(text, "{name:width$}  {}, {state}", version.name());
    }
    for (at, failed) in report.failed.iter().enumerate() {
        let before = report.failed.iter().take(at).find(|other| other.message == failed.message);
        let _ = match before {
            // What is of one release fails as one.
            Some(other) => writeln!(text, "{:width$}  not moved, as `{}`", failed.name, other.name),
            None => writeln!(text, "{:width$}  not moved: {}", failed.name, failed.message),
        };
    }
    for comment in &report.doubtful_comments {
        let _ = writeln!(text, "look at line {} of variants.toml: is its comment still true? {}", comment.line, comment.text);
    }
    text + &summary(report) + "\n"
}

/// The last line: how many moved, what was written.
fn summary(report: &Report) -> String {
    let files = report.files.join(", ");
    let counted = format!("{} of {}", report.moved.len(), names_of(report).count());
    match (report.moved.is_empty(), report.written) {
        (true, _) if report.failed.is_empty() => "everything is as new as it may be".to_owned(),
        (true, _) => "nothing was moved".to_owned(),
        (false, true) => format!("moved {counted}; wrote {files}: build and try it, and commit it"),
        (false, false) => format!("{counted} can be moved; nothing was written (it would be {files})"),
    }
}

/// What `--check` found, in one sentence.
pub fn found(report: &Report) -> String {
    let names = quoted(report.moved.iter().map(|of| &of.name));
    let rest = if report.failed.is_empty() { String::new() } else { format!("; {}", failed(report)) };
    format!("`bump` has something to do for {names}{rest}")
}

/// What was not moved, in one sentence; why stands in the report.
pub fn failed(report: &Report) -> String {
    let names = quoted(report.failed.iter().map(|of| &of.name));
    match (report.failed.len(), names_of(report).count()) {
        (1, _) => format!("{names} was not moved"),
        (count, all) => format!("{count} of {all} were not moved: {names}"),
    }
}

/// What was not moved, each thing that is wrong once: for whoever has no report to read.
pub fn reasons(report: &Report) -> String {
    let mut told: Vec<(&str, Vec<&String>)> = Vec::new();
    for Failed { name, message, .. } in &report.failed {
        match told.iter_mut().find(|(other, _)| other == message) {
            Some((_, names)) => names.push(name),
            None => told.push((message, vec![name])),
        }
    }
    let lines = told.into_iter().map(|(message, names)| format!("{}: {message}", quoted(names)));
    format!("not moved: {}", lines.collect::<Vec<_>>().join("\n       "))
}

/// What to do about what was not moved: each hint once, a line for each; none where there is none.
pub fn hints(report: &Report) -> Option<String> {
    let mut hints: Vec<&str> = Vec::new();
    for hint in report.failed.iter().filter_map(|failed| failed.hint.as_deref()) {
        if !hints.contains(&hint) {
            hints.push(hint);
        }
    }
    (!hints.is_empty()).then(|| hints.join("\n"))
}

fn quoted<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn names_of(report: &Report) -> impl Iterator<Item = &str> {
    let moved = report.moved.iter().map(|of| of.name.as_str());
    moved.chain(report.unmoved.iter().map(|of| of.name.as_str())).chain(report.failed.iter().map(|of| of.name.as_str()))
}

/// `2.337.0 → 2.338.0`
fn step(of: &Move) -> String {
    let inside = match of.details.len() {
        0 => String::new(),
        1 => ", 1 package inside".to_owned(),
        count => format!(", {count} packages inside"),
    };
    match (of.from == of.to, of.details.is_empty(), of.from.id.is_empty()) {
        (true, true, _) => format!("{}, the newest; variants.lock is completed", of.to.name()),
        (true, false, _) => format!("{}{inside}", of.to.name()),
        (false, _, true) => format!("{} (was not locked){inside}", of.to.name()),
        (false, _, false) => format!("{} → {}{inside}", of.from.name(), of.to.name()),
    }
}

fn age(of: &Move) -> Option<String> {
    let released = of.released.as_ref()?;
    Some(match of.age_days? {
        0 => format!("released {released}, today"),
        1 => format!("released {released}, a day ago"),
        days => format!("released {released}, {days} days ago"),
    })
}

fn held_back(held: &Held) -> String {
    format!("{} is there, held back by {}", held.version.name(), held.why)
}

fn package(moved: &Moved) -> String {
    let security = if moved.security { "security: " } else { "" };
    let file = moved.file.as_ref().map(|file| format!(" ({file})")).unwrap_or_default();
    let step = match (&moved.from, &moved.to) {
        (Some(from), Some(to)) => format!(" {from} → {to}"),
        (None, Some(to)) => format!(" {to}, new"),
        (Some(from), None) => format!(" {from}, gone"),
        (None, None) => String::new(),
    };
    format!("{security}{}{step}{file}", moved.name)
}

/// A version as people call it, with what the file has where that is something else.
fn both(version: &Version) -> (String, Option<&str>) {
    (version.name(), version.shown.as_ref().map(|_| version.id.as_str()))
}

#[cfg(test)]
mod tests;
