//! Every problem, as its reader sees it. A case of the table is a heading, the edits that make a good file bad (`- ` what
//! is replaced by `+ `; `+ ` alone is appended), and the rendered problems. With `UPDATE_CASES=1` in the environment the
//! rendered parts are written anew, to be looked at in the diff.

use std::fmt::Write as _;

use crate::family::{Problem, SourceText, read, read_lock};
use crate::output::diagnostics::render;

#[test]
fn what_can_be_wrong_in_variants_toml() {
    check("problems.txt", include_str!("problems.txt"), "variants.toml", include_str!("good.toml"), &|source| {
        read(source, &|path| matches!(path, "images/base/Dockerfile" | "images/aws/Dockerfile" | "images/web/Dockerfile")).err()
    });
}

#[test]
fn what_can_be_wrong_in_variants_lock() {
    let family = SourceText { name: "variants.toml".to_owned(), text: include_str!("good.toml").to_owned() };
    let family = read(&family, &|_| true).unwrap();
    check("lock-problems.txt", include_str!("lock-problems.txt"), "variants.lock", include_str!("good.lock"), &|source| {
        read_lock(source, &family).err()
    });
}

/// A file that is being typed, cut off or damaged anywhere leads to problems that can be shown, and to nothing else.
#[test]
fn damage_anywhere_is_a_problem_that_can_be_shown() {
    let good = include_str!("good.toml");
    for at in (0..good.len()).filter(|at| good.is_char_boundary(*at)) {
        let (before, after) = good.split_at(at);
        for text in
            [before.to_owned(), format!("{before}\"{after}"), format!("{before}]é\n[{after}"), format!("{before}{}", &after[1..])]
        {
            let source = SourceText { name: "variants.toml".to_owned(), text };
            match read(&source, &|_| true) {
                Ok(family) => assert!(family.variants().next().is_some()),
                Err(problems) => {
                    assert!(!problems.is_empty(), "no reason why this is no family:\n{}", source.text);
                    assert!(render(&source, &problems, true).contains("variants.toml"));
                }
            }
        }
    }
}

type Problems<'p> = &'p dyn Fn(&SourceText) -> Option<Vec<Problem>>;

fn check(table: &str, cases: &str, name: &str, good: &str, problems: Problems<'_>) {
    let mut made = String::new();
    for case in cases.split("\n=== ").map(|case| case.trim_start_matches("=== ")) {
        let (title, rest) = case.split_once('\n').unwrap_or((case, ""));
        let edits: Vec<&str> = rest.lines().take_while(|line| !line.starts_with("---")).collect();
        let source = SourceText { name: name.to_owned(), text: edited(good, &edits, title) };
        let shown = problems(&source).map_or_else(|| "no problem".to_owned(), |problems| render(&source, &problems, false));
        let _ = write!(made, "=== {title}\n{}\n---\n{}\n\n", edits.join("\n"), shown.trim_end());
    }
    let made = made.trim_end().to_owned() + "\n";
    if std::env::var_os("UPDATE_CASES").is_some() {
        std::fs::write(format!("{}/src/family/tests/{table}", env!("CARGO_MANIFEST_DIR")), &made).unwrap();
    }
    for (expected, found) in cases.split("\n=== ").zip(made.split("\n=== ")) {
        assert_eq!(found.trim_end(), expected.trim_end(), "\nfound:\n{found}");
    }
}

/// `good` after the edits: each `- ` stands in it once and becomes the `+ ` that follow it.
fn edited(good: &str, edits: &[&str], title: &str) -> String {
    let mut text = good.to_owned();
    let mut edits = edits.iter().peekable();
    while let Some(edit) = edits.next() {
        let mut new = Vec::new();
        let old = edit.strip_prefix("- ");
        new.extend(edit.strip_prefix('+').map(|line| line.strip_prefix(' ').unwrap_or(line)));
        while let Some(line) = edits.next_if(|line| line.starts_with('+')) {
            new.push(line[1..].strip_prefix(' ').unwrap_or(&line[1..]));
        }
        match old {
            Some(old) => {
                assert_eq!(text.matches(&format!("{old}\n")).count(), 1, "{title}: `{old}` does not stand in the good file once");
                let new: String = new.iter().map(|line| format!("{line}\n")).collect();
                text = text.replacen(&format!("{old}\n"), &new, 1);
            }
            None => text.extend(new.iter().flat_map(|line| [*line, "\n"])),
        }
    }
    text
}
