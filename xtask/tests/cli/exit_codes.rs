//! The exit codes are written down in three places, which say the same; documents tell of no other ones.

use std::fs;
use std::path::Path;

const README: &str = include_str!("../../../README.md");
const FAILURE: &str = include_str!("../../src/failure.rs");

/// `| 3 | something needed is missing |` → (3, words)
fn of_the_readme() -> Vec<(u8, String)> {
    let (_, section) = README.split_once("## Exit codes").expect("a section");
    let section = section.split("\n## ").next().unwrap_or(section);
    let rows = section.lines().filter_map(|line| {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        Some((cells.next()?.parse().ok()?, cells.next()?.to_owned()))
    });
    rows.collect()
}

/// `    Missing = 3,` → 3
fn of_the_source() -> Vec<u8> {
    let (_, body) = FAILURE.split_once("pub enum Exit {").expect("the enum");
    let body = body.split("\n}").next().unwrap_or(body);
    body.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once(" = ")?.1.parse().ok()).collect()
}

#[test]
fn the_readmes_exit_codes_are_those_of_the_program() {
    let readme: Vec<u8> = of_the_readme().into_iter().map(|(code, _)| code).collect();
    let mut source = of_the_source();
    source.insert(0, 0);
    assert!(source.len() > 9, "{source:?}");
    assert_eq!(readme, source);
}

/// What documents say of a code: in a table whose first column it is, and in sentences.
#[test]
fn documents_tell_of_codes_that_there_are() {
    let known: Vec<u8> = of_the_readme().into_iter().map(|(code, _)| code).collect();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs");
    let mut seen = 0;
    for file in fs::read_dir(folder).expect("docs/").map(|entry| entry.expect("an entry").path()) {
        // Those have the codes of the entrypoint.
        if file.ends_with("container.md") || file.ends_with("coder.md") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("text");
        let mut is_table = false;
        let mut told: Vec<u8> = Vec::new();
        for line in text.lines() {
            is_table = line.starts_with('|') && (is_table || line.starts_with("| exit |") || line.starts_with("| exit code |"));
            let first = line.trim_matches('|').split('|').next().unwrap_or_default().trim();
            told.extend(first.parse::<u8>().ok().filter(|_| is_table));
        }
        let sentences = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for before in ["exit ", "exit code ", "exit code is ", "exit is "] {
            for after in sentences.split(before).skip(1) {
                // `exit 6, 7`
                let numbers =
                    after.split(", ").map_while(|part| part.split(|c: char| !c.is_ascii_digit()).next()?.parse::<u8>().ok());
                told.extend(numbers);
            }
        }
        seen += told.len();
        let unknown: Vec<u8> = told.into_iter().filter(|code| !known.contains(code)).collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", file.display());
    }
    assert!(seen > 25, "{seen}");
}

#[test]
fn the_help_lists_them_too() {
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_xtask")).arg("--help").output().expect("the binary starts");
    assert_eq!(help.status.code(), Some(0));
    let help = String::from_utf8(help.stdout).expect("text");
    let (_, list) = help.split_once("Exit codes:").expect("a list");
    let words: Vec<&str> = list.split([',', '\n']).map(str::trim).filter(|part| !part.is_empty()).collect();
    let codes: Vec<u8> = words.iter().filter_map(|part| part.trim_end_matches('.').split(' ').next()?.parse().ok()).collect();
    assert_eq!(codes, of_the_readme().into_iter().map(|(code, _)| code).collect::<Vec<_>>());
}
