//! A difference as Markdown, for release notes: what comes from the images stands in code spans, where nothing is a link, a mention
//! or markup.

use std::fmt::Write as _;

use super::{bytes, cut, files, growth, installed, kind, layers, more, name, packages, settings, short, size, sizes, summary};
use crate::contents::PackageKind;
use crate::diff::{Difference, FileChange, LayerLine};

/// Lists that are longer than this are folded up.
const FOLDED: usize = 12;
/// How many of the packages that make the difference are told.
const GROWN: usize = 10;
/// A value is cut after so many letters.
const VALUE: usize = 200;

/// The difference as Markdown, under a heading of this level (2: `##`).
pub fn markdown(difference: &Difference, level: usize) -> String {
    let mut text = format!("{} {} → {}\n", "#".repeat(level), code(&name(&difference.before)), code(&name(&difference.after)));
    if let Some(line) = short(difference) {
        let (what, _) = line.split_once(':').unwrap_or((&line, ""));
        let _ = writeln!(text, "\nNothing differs: {what}.");
        return text;
    }
    text += "\n| | before | after | difference |\n|---|---:|---:|---:|\n";
    let [before, after] = [&difference.before, &difference.after].map(|side| code(&format!("sha256:{}", side.config.short(12))));
    let _ = writeln!(text, "| image | {before} | {after} | |");
    for (what, before, after) in sizes(difference) {
        let _ = writeln!(text, "| {what} | {} | {} | {} |", size(before), size(after), growth(before, after));
    }
    for (of, count) in &difference.counts {
        let _ = writeln!(text, "| {} | {} | {} | {} |", kind(*of), count.before, count.after, more(count.before, count.after));
    }
    for (of, changes) in packages(difference) {
        let rows = changes.iter().map(|of| {
            let [before, after] = [&of.before, &of.after].map(|side| optional(installed(of, side.as_ref())));
            let bytes = growth(bytes(of.before.as_ref()), bytes(of.after.as_ref()));
            format!("| {} | {} | {before} | {after} | {bytes} |", of.change.as_str(), code(&of.name))
        });
        let head = "| | package | before | after | size |\n|---|---|---|---|---:|";
        section(&mut text, &format!("{}: {}", title(of), summary(&changes)), head, rows.collect());
    }
    if difference.packages.is_empty() {
        text += "\n**The same packages.**\n";
    }
    let rows = settings(difference).into_iter().map(|of| {
        let [before, after] = [&of.before, &of.after].map(|value| match (value, of.hidden) {
            (Some(_), true) => "(not shown)".to_owned(),
            (value, _) => optional(value.as_deref().map(|value| cut(value, VALUE))),
        });
        format!("| {} | {} | {before} | {after} |", of.kind.as_str(), optional(of.name.clone()))
    });
    section(&mut text, "Configuration", "| | name | before | after |\n|---|---|---|---|", rows.collect());
    layer_lines(&mut text, difference);
    file_lines(&mut text, difference);
    let grown = difference.sizes.grown.iter().take(GROWN).map(|grown| {
        let [before, after] = [grown.before, grown.after].map(size);
        format!("| {} | {} | {before} | {after} | {} |", code(&grown.name), kind(grown.kind), growth(grown.before, grown.after))
    });
    let head = "| package | | before | after | difference |\n|---|---|---:|---:|---:|";
    section(&mut text, "Packages that make the difference", head, grown.collect());
    text
}

fn layer_lines(text: &mut String, difference: &Difference) {
    let of = &difference.layers;
    let sizes = |lines: &[LayerLine]| layers(&lines.iter().map(|line| line.size).collect::<Vec<_>>());
    let title = format!(
        "Layers: {} in both, {} only before, {} only after",
        sizes(&of.shared),
        sizes(&of.only_before),
        sizes(&of.only_after)
    );
    let row = |(which, line): (&str, &LayerLine)| {
        let at = line.before.or(line.after).map_or(0, |at| at + 1);
        let made = optional(line.instruction.as_deref().map(|made| cut(made, VALUE)));
        let compressed = line.size.compressed.map(size).unwrap_or_default();
        format!("| {which} | {at} | {} | {compressed} | {made} |", size(line.size.content))
    };
    let before = of.only_before.iter().map(|line| ("before", line));
    let rows = before.chain(of.only_after.iter().map(|line| ("after", line))).map(row).collect();
    section(text, &title, "| only | layer | size | compressed | made by |\n|---|---:|---:|---:|---|", rows);
}

fn file_lines(text: &mut String, difference: &Difference) {
    let told = files(difference);
    let title = format!("Files, folders and links: {told}");
    if let Some(all) = &difference.files.list {
        let row = |of: &FileChange| {
            let what = match (of.before, of.after) {
                (None, _) => "added".to_owned(),
                (_, None) => "removed".to_owned(),
                _ => of.what.iter().map(|aspect| super::aspect(*aspect)).collect::<Vec<_>>().join(", "),
            };
            let bytes = growth(of.before.unwrap_or(0), of.after.unwrap_or(0));
            format!("| {what} | {} | {bytes} |", code(&format!("/{}", of.path)))
        };
        return section(text, &title, "| | file | size |\n|---|---|---:|", all.iter().map(row).collect());
    }
    let rows = difference.files.folders.iter().map(|folder| {
        let bulks = [folder.count.added, folder.count.removed, folder.count.changed];
        let (before, after) = bulks.iter().fold((0, 0), |(before, after), bulk| (before + bulk.before, after + bulk.after));
        let [added, removed, changed] = bulks.map(|bulk| bulk.number);
        format!("| {} | {added} | {removed} | {changed} | {} |", code(&format!("/{}", folder.path)), growth(before, after))
    });
    let head = "| folder | added | removed | changed | size |\n|---|---:|---:|---:|---:|";
    section(text, &title, head, rows.collect());
}

/// A table under its title, folded up where it is long; nothing where it has no rows. A title is words of ours.
fn section(text: &mut String, title: &str, head: &str, rows: Vec<String>) {
    if rows.is_empty() {
        return;
    }
    let table = format!("{head}\n{}\n", rows.join("\n"));
    *text += &if rows.len() > FOLDED {
        format!("\n<details><summary>{title}</summary>\n\n{table}\n</details>\n")
    } else {
        format!("\n**{title}**\n\n{table}")
    };
}

/// A code span in a cell; a dash for nothing.
fn optional(text: Option<String>) -> String {
    text.filter(|text| !text.is_empty()).map_or_else(|| "–".to_owned(), |text| code(&text))
}

/// A code span, whatever is in the text. (GitHub Flavored Markdown, 6.3 and, for `|` in tables, 4.10)
pub(crate) fn code(text: &str) -> String {
    let text = text.split(char::is_whitespace).collect::<Vec<_>>().join(" ").replace('|', "\\|");
    let longest = text.split(|letter| letter != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if text.starts_with('`') || text.ends_with('`') || text.trim().is_empty() { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// As a title begins; npm is written small.
fn title(of: PackageKind) -> &'static str {
    match of {
        PackageKind::Pin => "Pins",
        PackageKind::Crate => "Crates",
        other => kind(other),
    }
}
