//! The exit codes are written down in three places; they say the same.

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
