//! The test programs of the workspace: what cargo has built, and in which order they are run. Pure.

use std::path::{Path, PathBuf};

use serde::Deserialize;

/// What takes longest, and so begins first: whatever is begun last ends alone.
const LONG: [&str; 6] = [
    "xtask/tests/images/main.rs",
    "xtask/tests/cli/main.rs",
    "xtask/tests/workflows/main.rs",
    "xtask/tests/faults/main.rs",
    "xtask/tests/host.rs",
    "xtask/tests/transport/main.rs",
];

/// Whose tests wait for containers most of the time, and how many of them run at once.
const WAITING: (&str, &str) = ("xtask/tests/images/main.rs", "4");

/// A test program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Program {
    /// Its source, from the workspace on: `tests/sshd.rs`.
    pub(super) name: String,
    /// Where it is.
    pub(super) path: PathBuf,
    /// The package that it belongs to, where it runs.
    pub(super) folder: PathBuf,
}

impl Program {
    /// Whether its temporary files belong into memory. Those of the entrypoint are few, and some of its tests want a second
    /// file system, which memory is.
    pub(super) fn writes_much(&self) -> bool {
        self.name.starts_with("xtask/")
    }

    /// How many of its tests run at once, where that is not as many as there are processors.
    pub(super) fn threads(&self) -> Option<&'static str> {
        (self.name == WAITING.0).then_some(WAITING.1)
    }
}

/// A line of `cargo test --no-run --message-format json`, as far as it matters. (cargo's reference, "External tools".)
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    executable: Option<PathBuf>,
    #[serde(default)]
    manifest_path: Option<PathBuf>,
    #[serde(default)]
    profile: Option<Profile>,
    #[serde(default)]
    target: Option<Target>,
}

#[derive(Deserialize)]
struct Profile {
    test: bool,
}

#[derive(Deserialize)]
struct Target {
    src_path: PathBuf,
}

/// The test programs that cargo names; `root` is the workspace.
pub(super) fn programs(messages: &str, root: &Path) -> Vec<Program> {
    let root = std::path::absolute(root).unwrap_or_else(|_| root.to_owned());
    let program = |line: &str| {
        let message = serde_json::from_str::<Message>(line).ok()?;
        if message.reason != "compiler-artifact" || !message.profile?.test {
            return None;
        }
        let source = message.target?.src_path;
        let name = source.strip_prefix(&root).unwrap_or(&source).display().to_string();
        Some(Program { name, path: message.executable?, folder: message.manifest_path?.parent()?.to_owned() })
    };
    messages.lines().filter_map(program).collect()
}

/// The order in which they begin.
pub(super) fn in_order(mut programs: Vec<Program>) -> Vec<Program> {
    let rank = |program: &Program| LONG.iter().position(|long| *long == program.name).unwrap_or(LONG.len());
    programs.sort_by(|one, other| rank(one).cmp(&rank(other)).then_with(|| one.name.cmp(&other.name)));
    programs
}

/// What a test program says of itself: `12 passed; 0 failed; 1 ignored`.
pub(super) fn counts(output: &str) -> String {
    let result = output.lines().rev().find_map(|line| line.strip_prefix("test result: "));
    let Some((_, counts)) = result.and_then(|result| result.split_once(". ")) else { return "no result".to_owned() };
    counts.split("; ").take(3).collect::<Vec<_>>().join("; ")
}

/// How many tests that are, without those that were ignored.
pub(super) fn ran(counts: &str) -> u64 {
    let number = |count: &str| count.strip_suffix(" passed").or(count.strip_suffix(" failed"))?.parse::<u64>().ok();
    counts.split("; ").filter_map(number).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargo_names_its_test_programs() {
        let line = |source: &str, test: bool, executable: &str| {
            format!(
                "{{\"reason\":\"compiler-artifact\",\"package_id\":\"p\",\"manifest_path\":\"/w/xtask/Cargo.toml\",\
                 \"target\":{{\"kind\":[\"test\"],\"name\":\"t\",\"src_path\":\"/w/{source}\"}},\
                 \"profile\":{{\"opt_level\":\"0\",\"test\":{test}}},\"executable\":{executable}}}"
            )
        };
        let messages = [
            line("src/main.rs", false, "\"/w/target/debug/entrypoint\""),
            line("xtask/src/lib.rs", false, "null"),
            line("xtask/src/lib.rs", true, "\"/w/target/debug/deps/xtask-1\""),
            line("xtask/tests/cli/main.rs", true, "\"/w/target/debug/deps/cli-1\""),
            line("xtask/tests/images/main.rs", true, "\"/w/target/debug/deps/images-1\""),
            "{\"reason\":\"build-finished\",\"success\":true}".to_owned(),
            "what a build script prints".to_owned(),
        ];
        let programs = in_order(programs(&messages.join("\n"), Path::new("/w")));
        let names: Vec<&str> = programs.iter().map(|program| program.name.as_str()).collect();
        assert_eq!(names, ["xtask/tests/images/main.rs", "xtask/tests/cli/main.rs", "xtask/src/lib.rs"]);
        let first = Program {
            name: "xtask/tests/images/main.rs".to_owned(),
            path: "/w/target/debug/deps/images-1".into(),
            folder: "/w/xtask".into(),
        };
        assert_eq!(programs.first(), Some(&first));
    }

    #[test]
    fn what_is_long_is_a_test_program_of_this_repository() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace");
        assert!(LONG.iter().chain([&WAITING.0]).all(|long| root.join(long).is_file()));
    }

    #[test]
    fn a_program_says_how_many_passed() {
        let text = "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.1s\n\nmore\n";
        assert_eq!(counts(text), "3 passed; 0 failed; 1 ignored");
        assert_eq!(counts("killed"), "no result");
        assert_eq!(["3 passed; 2 failed; 1 ignored", "no result"].map(ran), [5, 0]);
    }
}
