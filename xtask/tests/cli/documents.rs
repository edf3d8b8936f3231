//! Commands in documents are what the program understands.

use clap::Parser as _;
use xtask::cli::Cli;

const DOCUMENTS: [(&str, &str); 2] =
    [("README.md", include_str!("../../../README.md")), ("docs/deploying.md", include_str!("../../../docs/deploying.md"))];

/// The words of a command line, as a shell splits it: quotes, comments.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), None);
    for c in line.chars() {
        match c {
            '"' | '\'' if quoted.is_none() => quoted = Some(c),
            c if quoted == Some(c) => quoted = None,
            '#' if quoted.is_none() && word.is_empty() => break,
            ' ' if quoted.is_none() => words.extend(Some(std::mem::take(&mut word)).filter(|word| !word.is_empty())),
            c => word.push(c),
        }
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

#[test]
fn commands_in_documents_are_understood() {
    for (name, text) in DOCUMENTS {
        let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
        let lines: Vec<&str> = blocks.flat_map(str::lines).filter(|line| line.starts_with("cargo xtask ")).collect();
        assert!(lines.len() > 3, "{name}");
        for line in lines {
            // `cargo xtask` is one program.
            let words = words(line);
            if let Err(error) = Cli::try_parse_from(&words[1..]) {
                panic!("{name}: {line}\n{error}");
            }
        }
    }
}
