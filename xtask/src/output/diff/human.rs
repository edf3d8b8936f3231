//! A difference for people at a terminal.

use std::fmt::Write as _;

use super::{bytes, cut, files, growth, installed, kind, layers, more, name, packages, settings, short, size, sizes, summary};
use crate::diff::{Difference, FileChange, LayerLine, Layers, PackageChange, Setting, Side};

/// Lines of a list; the other formats have all of it.
const MOST: usize = 60;
/// How many of the packages that make the difference are told.
const GROWN: usize = 12;

/// The difference in words. Long lists are cut, but the list of all files, which somebody has asked for.
pub fn text(difference: &Difference) -> String {
    if let Some(line) = short(difference) {
        return line + "\n";
    }
    let mut text = table(&[side("before", &difference.before), side("after", &difference.after)], "");
    let _ = writeln!(text, "\n{}", table(&overview(difference), " >>>").trim_end());
    for (of, changes) in packages(difference) {
        let _ = writeln!(text, "\n{}: {}", kind(of), summary(&changes));
        list(&mut text, changes.iter().map(|change| package(change)).collect(), "    >");
    }
    if difference.packages.is_empty() {
        text += "\nthe same packages\n";
    }
    let changes = settings(difference);
    if changes.is_empty() {
        text += "\nthe same configuration\n";
    } else {
        text += "\nconfiguration:\n";
        list(&mut text, changes.into_iter().map(configured).collect(), "");
    }
    layer_lines(&mut text, difference);
    file_lines(&mut text, difference);
    let grown = difference.sizes.grown.iter().take(GROWN);
    let grown: Vec<_> = grown
        .map(|grown| vec![growth(grown.before, grown.after), grown.name.clone(), format!("({})", kind(grown.kind))])
        .collect();
    if !grown.is_empty() {
        text += "\npackages that make the difference:\n";
        list(&mut text, grown, ">");
    }
    text
}

fn side(which: &str, side: &Side) -> Vec<String> {
    let created = side.created.as_deref().unwrap_or_default();
    vec![which.to_owned(), name(side), format!("sha256:{}", side.config.short(12)), side.platform.clone(), created.to_owned()]
}

fn overview(difference: &Difference) -> Vec<Vec<String>> {
    let mut rows = vec![["", "before", "after", "difference"].map(str::to_owned).to_vec()];
    rows.extend(
        sizes(difference)
            .into_iter()
            .map(|(what, before, after)| vec![what.to_owned(), size(before), size(after), growth(before, after)]),
    );
    rows.extend(difference.counts.iter().map(|(of, count)| {
        vec![kind(*of).to_owned(), count.before.to_string(), count.after.to_string(), more(count.before, count.after)]
    }));
    rows
}

fn package(of: &PackageChange) -> Vec<String> {
    let [before, after] = [&of.before, &of.after].map(|side| installed(of, side.as_ref()));
    let versions = match (before, after) {
        (Some(before), Some(after)) if before == after => before,
        (Some(before), Some(after)) => format!("{before} → {after}"),
        (before, after) => before.or(after).unwrap_or_default(),
    };
    let bytes = growth(bytes(of.before.as_ref()), bytes(of.after.as_ref()));
    vec![of.change.as_str().to_owned(), of.name.clone(), versions, bytes]
}

fn configured(of: &Setting) -> Vec<String> {
    let value =
        |value: &Option<String>| value.as_deref().map_or_else(|| "not set".to_owned(), |value| format!("`{}`", cut(value, 60)));
    let change = if of.hidden && of.before.is_some() && of.after.is_some() {
        "another value (not shown)".to_owned()
    } else {
        format!("{} → {}", value(&of.before), value(&of.after))
    };
    vec![of.kind.as_str().to_owned(), of.name.clone().unwrap_or_default(), change]
}

fn layer_lines(text: &mut String, difference: &Difference) {
    let of = &difference.layers;
    let sizes = |lines: &[LayerLine]| layers(&lines.iter().map(|line| line.size).collect::<Vec<_>>());
    let _ = writeln!(text, "\nlayers: {}", shared(of));
    for (lines, which) in [(&of.only_before, "before"), (&of.only_after, "after")] {
        if lines.is_empty() {
            continue;
        }
        let _ = writeln!(text, "only in {which}: {}", sizes(lines));
        let row = |line: &LayerLine| {
            let at = line.before.or(line.after).map(|at| format!("#{}", at + 1)).unwrap_or_default();
            let compressed = line.size.compressed.map(|bytes| format!("{} compressed", size(bytes))).unwrap_or_default();
            let made = cut(line.instruction.as_deref().unwrap_or("(no instruction told)"), 90);
            vec![at, size(line.size.content), compressed, made]
        };
        list(text, lines.iter().map(row).collect(), ">>>");
    }
}

/// `9 layers (653.2 MB) in both, the lowest 8 at the same places`
fn shared(of: &Layers) -> String {
    let sizes: Vec<_> = of.shared.iter().map(|line| line.size).collect();
    match of.common_base {
        _ if sizes.is_empty() => "none in both".to_owned(),
        base if base == sizes.len() && of.same_order() => format!("{} in both", layers(&sizes)),
        0 => format!("{} in both, at other places", layers(&sizes)),
        base => format!("{} in both: what both stand on ({base}), and others at other places", layers(&sizes)),
    }
}

fn file_lines(text: &mut String, difference: &Difference) {
    let told = files(difference);
    if told.is_empty() {
        *text += "\nthe same files, as far as their content, owners and permissions go\n";
        return;
    }
    let _ = writeln!(text, "\nfiles, folders and links: {told}");
    if let Some(all) = &difference.files.list {
        *text += &indented(&all.iter().map(file).collect::<Vec<_>>(), " >");
        return;
    }
    let mut rows = vec![["", "added", "removed", "changed", "difference"].map(str::to_owned).to_vec()];
    rows.extend(difference.files.folders.iter().map(|folder| {
        let number = |number: usize| if number == 0 { String::new() } else { number.to_string() };
        let bulks = [folder.count.added, folder.count.removed, folder.count.changed];
        let bytes = bulks.iter().fold((0, 0), |(before, after), bulk| (before + bulk.before, after + bulk.after));
        let [added, removed, changed] = bulks.map(|bulk| number(bulk.number));
        vec![format!("/{}", folder.path), added, removed, changed, growth(bytes.0, bytes.1)]
    }));
    *text += &indented(&rows, " >>>>");
}

fn file(of: &FileChange) -> Vec<String> {
    let (what, before, after) = match (of.before, of.after) {
        (None, after) => ("added".to_owned(), 0, after.unwrap_or(0)),
        (before, None) => ("removed".to_owned(), before.unwrap_or(0), 0),
        (Some(before), Some(after)) => {
            let what: Vec<_> = of.what.iter().map(|aspect| super::aspect(*aspect)).collect();
            (what.join(", "), before, after)
        }
    };
    vec![what, growth(before, after), format!("/{}", of.path)]
}

/// A list, cut where it is long.
fn list(text: &mut String, mut rows: Vec<Vec<String>>, align: &str) {
    let more = rows.len().saturating_sub(MOST);
    // One line more is no longer than the line that tells of it.
    if more > 1 {
        rows.truncate(MOST);
    }
    *text += &indented(&rows, align);
    if more > 1 {
        let _ = writeln!(text, "  … and {more} more (`--format json` and `--format markdown` tell all)");
    }
}

fn indented(rows: &[Vec<String>], align: &str) -> String {
    table(rows, align).lines().fold(String::new(), |text, line| text + "  " + line + "\n")
}

/// Columns below each other; where `align` has a `>` for one, at its right. What is in the last column ends the line.
fn table(rows: &[Vec<String>], align: &str) -> String {
    // Names come from images: none of them speaks to the terminal.
    let harmless = |cell: &String| cell.replace(char::is_control, "\u{fffd}");
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(harmless).collect()).collect();
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |at: usize| rows.iter().filter_map(|row| row.get(at)).map(|cell| cell.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let is_right = |at: usize| align.chars().nth(at) == Some('>');
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            let space = " ".repeat(width - cell.chars().count());
            let gap = if at == 0 || *width == 0 { "" } else { "  " };
            line += gap;
            line += &if is_right(at) { space + cell } else { cell.clone() + &space };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}
