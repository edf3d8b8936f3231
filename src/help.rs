//! `entrypoint --help`, and the table of variables in the README.

use crate::failure::{Failure, SETTINGS, SYSTEM, UNAVAILABLE, USAGE};
use crate::log::Log;
use crate::settings::{Group, VARIABLES, Variable};

/// The commands, as people type them.
const COMMANDS: &[(&str, &str)] = &[
    ("(none)", "run the workspace"),
    ("check", "try the variables strictly and say what would run"),
    ("status [--json]", "what runs here, since when, and what it is doing"),
    ("start|stop|restart SERVICE", "one service, while the others run on"),
    ("logs [-f] SERVICE", "the last lines of a service, and with -f those to come"),
    ("web-url", "where the web server is, token and all"),
    ("persist [FOLDER]", "link what is kept of the home into PERSIST_DIR, or into FOLDER"),
    ("healthcheck", "0 when everything that gives access serves, otherwise 1"),
    ("--help", "this text"),
    ("--version", "the version"),
];

/// Answers `--help`.
///
/// # Errors
/// None.
pub(crate) fn help(log: &Log) -> Result<u8, Failure> {
    log.answer(&text());
    Ok(0)
}

fn text() -> String {
    let mut lines = vec![
        "PID 1 of a workspace: starts, supervises and stops its services.".to_owned(),
        String::new(),
        "Usage: entrypoint [COMMAND]".to_owned(),
        String::new(),
        "Commands:".to_owned(),
    ];
    let width = COMMANDS.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    lines.extend(COMMANDS.iter().map(|(name, meaning)| format!("  {name:width$}  {meaning}")));
    lines.push(String::new());
    lines.push("Variables (empty is unset; NAME[_FILE]: NAME, or NAME_FILE with the path of a file that holds it):".to_owned());
    let width = VARIABLES.iter().map(|variable| name(variable).len()).max().unwrap_or_default();
    for (group, variables) in groups() {
        lines.push(format!(" {}", group.title()));
        lines.extend(variables.map(|variable| {
            let default = if variable.default.is_empty() { String::new() } else { format!(" [{}]", variable.default) };
            format!("  {:width$}  {}{default}", name(variable), variable.meaning)
        }));
    }
    lines.extend([
        String::new(),
        "Exit codes: a service's own (128+n when signal n ended it), 0 after a stop that was asked for,".to_owned(),
        format!(
            "137 when a service had to be killed for it; {USAGE} unknown command, {UNAVAILABLE} not in this version or image,"
        ),
        format!("{SYSTEM} refused by the system, {SETTINGS} wrong settings."),
        String::new(),
    ]);
    lines.join("\n")
}

fn groups() -> impl Iterator<Item = (Group, impl Iterator<Item = &'static Variable>)> {
    Group::ALL.into_iter().map(|group| (group, VARIABLES.iter().filter(move |variable| variable.group == group)))
}

fn name(variable: &Variable) -> String {
    format!("{}{}", variable.name, if variable.secret { "[_FILE]" } else { "" })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{groups, text};
    use crate::settings::VARIABLES;

    const BEGIN: &str = "<!-- variables -->\n";
    const END: &str = "<!-- /variables -->";

    #[test]
    fn help_has_a_line_for_every_variable() {
        let text = text();
        let lines: Vec<_> = text.lines().collect();
        for variable in VARIABLES {
            let begins = |line: &&&str| line.trim_start().split([' ', '[']).next() == Some(variable.name);
            assert_eq!(lines.iter().filter(begins).count(), 1, "{}", variable.name);
        }
        assert_eq!(text.lines().find(|line| line.chars().count() > 120), None);
    }

    /// The table of the README.
    fn table() -> String {
        let mut table = "| variable | default | meaning |\n|---|---|---|\n".to_owned();
        for (group, variables) in groups() {
            table += &format!("| **{}** | | |\n", group.title());
            for variable in variables {
                let file = if variable.secret { ", `…_FILE`" } else { "" };
                let [default, meaning] = [variable.default, variable.meaning].map(|text| text.replace('|', "\\|"));
                let default = default.replace('<', "\\<");
                table += &format!("| `{}`{file} | {default} | {meaning} |\n", variable.name);
            }
        }
        table
    }

    #[test]
    fn the_documents_exit_codes_are_those_of_the_help() {
        let document = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/container.md");
        let document = std::fs::read_to_string(document).expect("a document");
        let (_, table) = document.split_once("| code | meaning |\n").expect("a table");
        let rows = table.lines().take_while(|line| line.starts_with('|'));
        let told: BTreeSet<u32> = rows.filter_map(|row| row.split('|').nth(1)?.trim().parse().ok()).collect();
        let text = text();
        let (_, codes) = text.split_once("Exit codes:").expect("the codes");
        // `128+n` is about all that come from signals.
        let numbers = codes.replace("128+n", "");
        let numbers = numbers.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok());
        assert_eq!(told, numbers.collect());
    }

    #[test]
    fn the_readme_holds_every_variable() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/README.md");
        let readme = std::fs::read_to_string(path).expect("a README");
        let (before, rest) = readme.split_once(BEGIN).expect("the begin of the table");
        let (found, after) = rest.split_once(END).expect("the end of the table");
        let expected = table();
        if found != expected && std::env::var_os("UPDATE_README").is_some() {
            std::fs::write(path, format!("{before}{BEGIN}{expected}{END}{after}")).expect("a README that can be written");
            return;
        }
        assert_eq!(found, expected, "UPDATE_README=1 cargo test -p entrypoint readme writes it");
    }
}
