//! A report as Markdown, for the body of a pull request: what comes from upstreams stands in code spans, where nothing is a link, a
//! mention or markup.

use std::fmt::Write as _;

use super::{both, held_back};
use crate::bump::{Move, Moved, Report, Version};
use crate::output::diff::code;

/// GitHub takes bodies of 65536 characters; something is said around this one.
const LONGEST: usize = 60_000;

/// The report as Markdown.
pub fn markdown(report: &Report) -> String {
    let mut text = String::new();
    if report.moved.is_empty() {
        text += if report.failed.is_empty() { "Nothing newer was found.\n" } else { "Nothing was moved.\n" };
    } else {
        text += "| | from | to | released | |\n|---|---|---|---|---|\n";
        report.moved.iter().for_each(|of| row(&mut text, of));
    }
    let mut rest = String::new();
    for held in report
        .moved
        .iter()
        .filter_map(|of| Some((&of.name, of.held.as_ref()?)))
        .chain(report.unmoved.iter().filter_map(|of| Some((&of.name, of.held.as_ref()?))))
    {
        let (name, held) = held;
        let _ = writeln!(rest, "- {}: {}", code(name), code(&held_back(held).replace('`', "")));
    }
    for failed in &report.failed {
        let _ = writeln!(rest, "- {} was not moved: {}", code(&failed.name), code(&failed.message.replace('`', "")));
    }
    for comment in &report.doubtful_comments {
        let _ = writeln!(rest, "- line {} of `variants.toml`: is its comment still true? {}", comment.line, code(&comment.text));
    }
    if !rest.is_empty() {
        text += &format!("\n**To be looked at**\n\n{rest}");
    }
    for of in report.moved.iter().filter(|of| !of.details.is_empty()) {
        let left = LONGEST.saturating_sub(text.len());
        details(&mut text, of, left);
    }
    text
}

fn row(text: &mut String, of: &Move) {
    let security = of.details.iter().filter(|moved| moved.security).count();
    let security = match security {
        0 => String::new(),
        1 => "**1 security update**".to_owned(),
        count => format!("**{count} security updates**"),
    };
    let released = match (&of.released, of.age_days) {
        (Some(date), Some(0)) => format!("{date}, today"),
        (Some(date), Some(1)) => format!("{date}, a day ago"),
        (Some(date), Some(days)) => format!("{date}, {days} days ago"),
        _ => String::new(),
    };
    // The address was looked at where it came from: it has nothing that ends a link.
    let notes = of.notes.as_ref().map(|url| format!("[notes]({url})")).unwrap_or_default();
    let facts = [security, notes].into_iter().filter(|fact| !fact.is_empty()).collect::<Vec<_>>().join(", ");
    let [from, to] = [&of.from, &of.to].map(version);
    let _ = writeln!(text, "| {} | {from} | {to} | {released} | {facts} |", code(&of.name));
}

/// A version; a commit or digest that people call otherwise in short behind it.
fn version(version: &Version) -> String {
    match both(version) {
        (name, _) if name.is_empty() => "–".to_owned(),
        (name, Some(id)) if id.len() == 40 => format!("{} ({})", code(&name), code(&id.chars().take(7).collect::<String>())),
        (name, _) => code(&name),
    }
}

/// What moves inside, folded up; cut where the page would be too long.
fn details(text: &mut String, of: &Move, room: usize) {
    let count = match of.details.len() {
        1 => "1 package".to_owned(),
        count => format!("{count} packages"),
    };
    let mut rows = String::new();
    let mut told = 0;
    for moved in &of.details {
        let row = package(moved);
        if rows.len() + row.len() + 400 > room {
            break;
        }
        rows += &row;
        told += 1;
    }
    let cut = of.details.len() - told;
    let name = &of.name;
    let _ = write!(text, "\n<details><summary>{name}: {count}</summary>\n\n| package | from | to | |\n|---|---|---|---|\n{rows}");
    if cut > 0 {
        let _ = write!(text, "\n… and {cut} more: `cargo xtask bump {name} --dry-run --format json` tells all.\n");
    }
    *text += "\n</details>\n";
}

fn package(moved: &Moved) -> String {
    let [from, to] = [&moved.from, &moved.to].map(|version| version.as_ref().map_or_else(|| "–".to_owned(), |text| code(text)));
    let security = if moved.security { "security" } else { "" };
    let file = moved.file.as_ref().map(|file| format!(" in {}", code(file))).unwrap_or_default();
    format!("| {}{file} | {from} | {to} | {security} |\n", code(&moved.name))
}
