//! What the workflows are made of: permissions, pins, and lines that hold no logic.

use std::collections::BTreeMap;

use clap::Parser as _;
use serde_json::{Map, Value};
use xtask::cli::Cli;

use super::workflows;

/// All that a job does beside one command of the tool.
const SET_UP: [&str; 4] = [
    "pipx install uv==0.13.8",
    "sha256sum --check --strict <<< \"$DIGESTS\"",
    "chmod +x target/programs/xtask",
    "chmod +x target/programs/xtask target/programs/entrypoint",
];

/// How the tool is called: compiled on the spot, or as it was handed on.
const TOOL: [&str; 2] = ["cargo xtask ", "target/programs/xtask "];

/// What a variable in a line may hold: what forms send, left empty too.
const VALUES: [(&str, &[&str]); 9] = [
    ("NAMES", &["", "github-runner", "github-runner,base"]),
    ("VARIANTS", &["*", "aws,azure-web", "aws*"]),
    ("BUILD_DATE", &["", "2026-12-01"]),
    ("NO_CACHE", &["true", "false"]),
    ("DRY_RUN", &["true", "false"]),
    ("VARIANT", &["aws"]),
    ("DIGEST", &["sha256:0000000000000000000000000000000000000000000000000000000000000000", "aws-2026.11.20-3f2c1ab"]),
    ("TAG", &["", "v1", "aws,aws-coder"]),
    ("BASE", &["3d3c42e5aac5ba805825da76410c181273ba90b1", "0000000000000000000000000000000000000000"]),
];

fn jobs(workflow: &Value) -> &Map<String, Value> {
    workflow["jobs"].as_object().expect("jobs")
}

fn steps(job: &Value) -> &Vec<Value> {
    job["steps"].as_array().expect("steps")
}

/// Every `run:` with where it stands.
fn runs() -> Vec<(String, String, Value)> {
    let mut found = Vec::new();
    for (file, _, workflow) in workflows() {
        for (name, job) in jobs(&workflow) {
            let runs = steps(job).iter().filter_map(|step| step["run"].as_str());
            found.extend(runs.map(|run| (format!("{file}, {name}"), run.trim().to_owned(), job.clone())));
        }
    }
    found
}

/// As the shell splits a line: words, double quotes, variables in them, a file for standard output (which is left out).
fn words(line: &str, value: &dyn Fn(&str) -> String) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), None::<String>, false);
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '$' => {
                assert!(quoted, "a variable without quotes: {line}");
                let mut name = String::new();
                while let Some(c) = chars.next_if(|c| c.is_ascii_uppercase() || *c == '_') {
                    name.push(c);
                }
                word.get_or_insert_default().push_str(&value(&name));
            }
            ' ' if !quoted => words.extend(word.take()),
            c => {
                assert!(quoted || !"|&;<`(){}'\\*?\n".contains(c), "`{c}` is logic: {line}");
                word.get_or_insert_default().push(c);
            }
        }
    }
    words.extend(word);
    if let Some(at) = words.iter().position(|word| word == ">") {
        assert_eq!(words.len(), at + 2, "one file, at the end: {line}");
        words.truncate(at);
    }
    words
}

#[test]
fn every_line_is_set_up_or_one_command_of_the_tool() {
    for (place, run, job) in runs() {
        if SET_UP.contains(&run.as_str()) {
            continue;
        }
        let command = TOOL.iter().find_map(|tool| run.strip_prefix(tool));
        let command = command.unwrap_or_else(|| panic!("{place}: `{run}` is neither"));
        let defined = |name: &str| {
            let steps = steps(&job).iter().map(|step| &step["env"][name]);
            steps.chain([&job["env"][name]]).any(|value| !value.is_null())
        };
        // With the first value of each variable, then with the second, …
        for round in 0..3 {
            let value = |name: &str| {
                assert!(defined(name), "{place}: `{name}` has no value");
                let (_, values) = VALUES.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("{name}?"));
                values[round % values.len()].to_owned()
            };
            let words = words(command, &value);
            let parsed = Cli::try_parse_from(std::iter::once("xtask".to_owned()).chain(words.clone()));
            assert!(parsed.is_ok(), "{place}: {words:?}\n{}", parsed.expect_err("wrong"));
        }
    }
}

#[test]
fn nothing_is_permitted_that_a_job_does_not_say() {
    for (file, text, workflow) in workflows() {
        assert_eq!(workflow["permissions"], serde_json::json!({}), "{file}");
        for (name, job) in jobs(&workflow) {
            let place = format!("{file}, {name}");
            assert!(job["permissions"].is_object(), "{place}: permissions");
            assert!(job["timeout-minutes"].is_u64(), "{place}: timeout-minutes");
            assert!(job["name"].is_string() && steps(job).iter().all(|step| step["name"].is_string()), "{place}: names");
            let writes = job["permissions"].as_object().expect("a table").values().any(|value| value == "write");
            // Who may change something runs what was compiled without leave to.
            let compiles = steps(job).iter().any(|step| step["run"].as_str().is_some_and(|run| run.contains("cargo")));
            assert!(!(writes && compiles), "{place} compiles");
            if job["permissions"]["packages"] == "write" {
                assert_eq!(job["environment"], "release", "{place}");
                assert_eq!(workflow["concurrency"], serde_json::json!({ "group": "publish", "cancel-in-progress": false }));
            }
            if file == "ci.yml" {
                assert_eq!(job["permissions"], serde_json::json!({ "contents": "read" }), "{place}");
            }
        }
        let secrets: Vec<&str> = text.matches("secrets.").collect();
        assert_eq!(secrets.len(), usize::from(file == "bump.yml"), "{file}: the App's key is the only secret");
        assert!(!text.contains("cache@") && !text.contains("cache: "), "{file} restores a cache");
    }
}

/// The rows of the table in docs/releasing.md that begins so, as cells.
fn table(begin: &str) -> Vec<Vec<String>> {
    let document = std::fs::read_to_string(super::root().join("docs/releasing.md")).expect("a document");
    let (_, rows) = document.split_once(begin).unwrap_or_else(|| panic!("{begin}"));
    let rows = rows.lines().skip(2).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// What stands between backticks.
fn names(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn the_documents_tables_are_those_of_the_workflows() {
    let workflows = workflows();
    let files: Vec<String> = workflows.iter().map(|(file, ..)| file.trim_end_matches(".yml").to_owned()).collect();
    let mut told: Vec<String> = table("| workflow | when |").iter().flat_map(|row| names(&row[0])).collect();
    told.sort();
    assert_eq!(told, files);

    // `release`: publish; `ci`: all; `compile` of the others.
    let mut told = BTreeMap::new();
    for row in table("| job | permissions |") {
        let first = names(&row[0]).remove(0);
        for (file, _, workflow) in &workflows {
            let file = file.trim_end_matches(".yml");
            for job in jobs(workflow).keys() {
                let is = match row[0].split_once("`: ") {
                    Some((_, "all")) => first == file,
                    Some((_, name)) => first == file && name == job,
                    None => file != "ci" && first == *job,
                };
                if is {
                    let row = (names(&row[1]), names(&row[2]));
                    assert!(told.insert(format!("{file}: {job}"), row).is_none(), "{file}: {job} is told twice");
                }
            }
        }
    }
    let mut real = BTreeMap::new();
    for (file, _, workflow) in &workflows {
        for (name, job) in jobs(workflow) {
            let permissions = job["permissions"].as_object().expect("permissions").iter();
            let permissions = permissions.map(|(what, leave)| format!("{what}: {}", leave.as_str().unwrap_or_default()));
            let environment: Vec<String> = job["environment"].as_str().map(str::to_owned).into_iter().collect();
            real.insert(format!("{}: {name}", file.trim_end_matches(".yml")), (sorted(permissions.collect()), environment));
        }
    }
    let told: BTreeMap<_, _> = told.into_iter().map(|(job, (leave, environment))| (job, (sorted(leave), environment))).collect();
    assert_eq!(told, real);
}

fn sorted(mut list: Vec<String>) -> Vec<String> {
    list.sort();
    list
}

#[test]
fn actions_are_pinned_and_their_versions_told() {
    let mut pins = std::collections::BTreeMap::new();
    for (file, text, workflow) in workflows() {
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("uses: ")) {
            let (pin, version) = line.split_once(" # v").unwrap_or_else(|| panic!("{file}: {line}: which version?"));
            let (action, commit) = pin.split_once('@').expect("a commit");
            assert!(commit.len() == 40 && commit.bytes().all(|b| b.is_ascii_hexdigit()), "{file}: {line}");
            let numbers: Vec<&str> = version.split('.').collect();
            assert!(numbers.len() == 3 && numbers.iter().all(|number| number.parse::<u32>().is_ok()), "{file}: {line}");
            let known = pins.entry(action.to_owned()).or_insert_with(|| line.to_owned());
            assert_eq!(known, line, "{file}: one version of each action");
        }
        for job in jobs(&workflow).values() {
            let checkouts = steps(job).iter().filter(|step| step["uses"].as_str().is_some_and(|uses| uses.contains("checkout")));
            for checkout in checkouts {
                assert_eq!(checkout["with"]["persist-credentials"], false, "{file}: a token left in the work tree");
            }
        }
    }
    assert!(pins.len() >= 5, "{pins:?}");
}

#[test]
fn the_double_of_every_action_is_there() {
    for (file, text, _) in workflows() {
        for line in text.lines().filter_map(|line| line.trim().strip_prefix("uses: ")) {
            let name = line.split(['/', '@']).nth(1).expect("a name");
            let double = super::root().join("xtask/tests/workflows/actions").join(name).join("action.yml");
            assert!(double.is_file(), "{file}: {line}: no {}", double.display());
        }
    }
}
