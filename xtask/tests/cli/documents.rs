//! What the documents say to type, and where they lead: commands are understood, links arrive, names exist.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::Parser;
use clap::error::ErrorKind;
use serde_json::Value;
use xtask::bump;
use xtask::cli::Cli;

/// A document, by its path below the repository.
struct Document {
    path: PathBuf,
    text: String,
}

/// A fenced block: its language, and its text.
struct Block<'a> {
    language: &'a str,
    text: String,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn documents() -> Vec<Document> {
    let mut paths: Vec<PathBuf> = ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"].iter().map(PathBuf::from).collect();
    let folder = fs::read_dir(root().join("docs")).expect("docs/");
    let names = folder.map(|entry| Path::new("docs").join(entry.expect("an entry").file_name()));
    paths.extend(names.filter(|path| path.extension().is_some_and(|kind| kind == "md")));
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(root().join(&path)).expect("a document");
        Document { path, text }
    };
    paths.into_iter().map(read).collect()
}

impl Document {
    fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks = Vec::new();
        let mut open: Option<Block<'_>> = None;
        for line in self.text.lines() {
            match (line.trim_start().strip_prefix("```"), open.take()) {
                (Some(_), Some(block)) => blocks.push(block),
                (Some(language), None) => open = Some(Block { language, text: String::new() }),
                (None, Some(mut block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                    open = Some(block);
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a block is not closed", self.path.display());
        blocks
    }

    /// The text outside of blocks.
    fn prose(&self) -> String {
        let mut inside = false;
        let lines = self.text.lines().filter(|line| {
            let fence = line.trim_start().starts_with("```");
            inside ^= fence;
            !inside && !fence
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// Every `cargo xtask …` that can be typed: in blocks line by line, in prose between backticks. True: in prose, where a command
    /// may stand without its arguments.
    fn commands(&self) -> Vec<(bool, String)> {
        let mut found = Vec::new();
        for block in self.blocks().into_iter().filter(|block| matches!(block.language, "sh" | "bash" | "yaml")) {
            let text = block.text.replace("\\\n", " ");
            let typed = text.lines().filter_map(|line| line.find("cargo xtask ").and_then(|at| line.get(at..)));
            found.extend(typed.map(|command| (false, command.to_owned())));
        }
        let prose = self.prose().replace('\n', " ");
        // What stands between backticks is every other part.
        found.extend(
            prose
                .split('`')
                .skip(1)
                .step_by(2)
                .filter(|code| code.starts_with("cargo xtask "))
                .map(|code| (true, code.to_owned())),
        );
        found
    }

    /// The anchors of its headings, as GitHub makes them.
    fn anchors(&self) -> BTreeSet<String> {
        let prose = self.prose();
        let headings = prose.lines().filter(|line| line.starts_with('#'));
        let anchor = |line: &str| {
            let title = line.trim_start_matches('#').trim().to_lowercase();
            let kept = title.chars().filter(|letter| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_'));
            kept.map(|letter| if letter == ' ' { '-' } else { letter }).collect()
        };
        headings.map(anchor).collect()
    }

    /// Where it leads to, without other sites.
    fn links(&self) -> Vec<String> {
        let prose = self.prose();
        let targets = prose.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        targets.filter(|target| !target.contains("://")).map(str::to_owned).collect()
    }
}

/// Words of the command line, without what follows it on the line: a comment, another command. (A crate for this that a build
/// script uses, too, would have cargo compile half the tree once more for tests.)
fn words(command: &str) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for c in command.chars() {
        match c {
            '"' | '\'' if quote.is_none() => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            c if quote == Some(c) => quote = None,
            '#' if quote.is_none() && word.is_none() => break,
            ' ' if quote.is_none() => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    assert!(quote.is_none(), "quotes do not match: {command}");
    words.extend(word);
    words.into_iter().take_while(|word| !matches!(word.as_str(), "|" | "&&" | ">" | ">>" | ";")).collect()
}

#[test]
fn every_command_is_understood() {
    let mut wrong = Vec::new();
    let mut seen = 0;
    for document in documents() {
        for (in_prose, command) in document.commands() {
            // `cargo xtask <command>`, `…`: a form, not a command.
            if command.contains(['<', '…']) {
                continue;
            }
            seen += 1;
            let words = words(&command);
            let Err(error) = Cli::try_parse_from(words.iter().skip(1)) else { continue };
            let named = in_prose && error.kind() == ErrorKind::MissingRequiredArgument;
            if !named && !matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
                let first = error.to_string().lines().next().unwrap_or_default().to_owned();
                wrong.push(format!("{}: `{command}`: {first}", document.path.display()));
            }
        }
    }
    assert!(seen > 40, "only {seen} commands were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_link_arrives() {
    let documents = documents();
    let anchors: BTreeMap<PathBuf, BTreeSet<String>> = documents
        .iter()
        .map(|document| (root().join(&document.path).canonicalize().expect("a path"), document.anchors()))
        .collect();
    let mut wrong = Vec::new();
    for document in &documents {
        let here = root().join(&document.path);
        for link in document.links() {
            let (path, anchor) = link.split_once('#').unwrap_or((link.as_str(), ""));
            let target = if path.is_empty() { here.clone() } else { here.with_file_name("").join(path) };
            let arrives = target
                .canonicalize()
                .is_ok_and(|target| anchor.is_empty() || anchors.get(&target).is_none_or(|anchors| anchors.contains(anchor)));
            if !arrives {
                wrong.push(format!("{}: {link}", document.path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The variables of README's table, and which of them are secrets.
fn variables() -> BTreeMap<String, bool> {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let (_, table) = readme.split_once("<!-- variables -->").expect("the table");
    let (table, _) = table.split_once("<!-- /variables -->").expect("its end");
    let rows = table.lines().filter_map(|line| {
        let cell = line.split('|').nth(1)?.trim();
        let name = cell.strip_prefix('`')?.split('`').next()?;
        Some((name.to_owned(), cell.contains("_FILE")))
    });
    rows.collect()
}

/// `name = "…"` of the entries of a list called `list` in a block of HCL.
fn names_in(text: &str, list: &str) -> Vec<String> {
    let mut names = Vec::new();
    for part in text.split(&format!("{list} ")).skip(1) {
        let Some((head, rest)) = part.split_once('[') else { continue };
        if head.trim() != "=" {
            continue;
        }
        let entries = rest.lines().take_while(|line| !line.trim().starts_with(']'));
        let name = |line: &str| line.split_once("name = \"")?.1.split('"').next().map(str::to_owned);
        names.extend(entries.filter_map(name));
    }
    names
}

#[test]
fn task_definitions_and_templates_use_variables_that_there_are() {
    let known = variables();
    assert!(known.len() > 30, "{known:?}");
    let mut seen = 0;
    for document in documents() {
        for block in document.blocks().iter().filter(|block| block.language == "hcl") {
            for (list, secret) in [("secrets", true), ("environment", false)] {
                for name in names_in(&block.text, list) {
                    seen += 1;
                    let found = known.get(&name);
                    assert!(found.is_some(), "{}: `{name}` is no variable of the README", document.path.display());
                    assert!(!secret || found == Some(&true), "{}: `{name}` is no secret", document.path.display());
                }
            }
        }
    }
    assert!(seen > 8, "{seen}");
}

/// The number of the account in `variants.toml`'s repository in ECR.
fn account() -> String {
    let table = fs::read_to_string(root().join("variants.toml")).expect("a table");
    let (before, _) = table.split_once(".dkr.ecr.").expect("a repository in ECR");
    before.rsplit('"').next().expect("an account").to_owned()
}

#[test]
fn every_json_block_is_json_and_policies_are_about_this_repository() {
    let mut policies = 0;
    for document in documents() {
        for block in document.blocks().iter().filter(|block| block.language == "json") {
            let place = format!("{}:\n{}", document.path.display(), block.text);
            let value: Value = serde_json::from_str(&block.text).unwrap_or_else(|error| panic!("{place}: {error}"));
            let Some(statements) = value["Statement"].as_array() else { continue };
            assert_eq!(value["Version"], "2012-10-17", "{place}");
            for statement in statements {
                policies += 1;
                assert!(statement["Effect"] == "Allow" && statement["Action"].is_array(), "{place}");
                let trusts = statement["Principal"]["Federated"].as_str().unwrap_or_default();
                let provider = format!("arn:aws:iam::{}:oidc-provider/token.actions.githubusercontent.com", account());
                assert_eq!(trusts, provider, "{place}");
                // The environment is that of the jobs that take the role.
                let subject = &statement["Condition"]["StringEquals"]["token.actions.githubusercontent.com:sub"];
                let subject = subject.as_str().expect("who may take the role");
                let environment = subject.strip_prefix("repo:sapphire-health/ansible-epic:environment:").expect("an environment");
                for file in [".github/workflows/release.yml", ".github/workflows/promote.yml"] {
                    let workflow = fs::read_to_string(root().join(file)).expect("a workflow");
                    assert!(workflow.contains(&format!("    environment: {environment}\n")), "{file}: {environment}");
                }
            }
        }
    }
    assert!(policies > 0);
}

#[test]
fn the_table_of_what_bump_moves_names_all_of_it() {
    let documents = documents();
    let updating = documents.iter().find(|document| document.path.ends_with("docs/updating.md")).expect("a document");
    let (_, table) = updating.text.split_once("| name | what moves |").expect("a table");
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|')).filter_map(|line| line.split('|').nth(1));
    let told: BTreeSet<&str> = rows.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
    let table: toml::Table = fs::read_to_string(root().join("variants.toml")).expect("a table").parse().expect("TOML");
    let pins = table["pins"].as_table().expect("pins").keys().map(String::as_str);
    assert_eq!(told, pins.chain([bump::BASE, bump::BUILD_DATE, bump::PYTHON]).collect());
}

#[test]
fn the_table_of_images_is_that_of_the_family() {
    let documents = documents();
    let index = documents.iter().find(|document| document.path.ends_with("docs/README.md")).expect("an index");
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    let rows = index.text.lines().filter(|line| line.starts_with("| `")).map(cells);
    let told: BTreeMap<String, (String, usize)> = rows
        .filter_map(|row| match &row[..] {
            [name, _, _, published] => {
                let names: Vec<&str> = name.split('`').skip(1).step_by(2).collect();
                Some((names.first()?.to_string(), (names[1..].join(","), published.split(',').count())))
            }
            _ => None,
        })
        .collect();

    let table: toml::Table = fs::read_to_string(root().join("variants.toml")).expect("a table").parse().expect("TOML");
    let variants = table["variants"].as_table().expect("variants");
    let list = |name: &str, key: &str| -> Vec<String> {
        let own = |name: &str| variants[name].get(key).and_then(toml::Value::as_array).cloned();
        let heir = variants[name].get("inherits").and_then(toml::Value::as_str);
        let found = own(name).or_else(|| if key == "aliases" { None } else { heir.and_then(own) }).unwrap_or_default();
        found.iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
    };
    let real: BTreeMap<String, (String, usize)> =
        variants.keys().map(|name| (name.clone(), (list(name, "aliases").join(","), list(name, "destinations").len()))).collect();
    assert_eq!(told, real);
}
