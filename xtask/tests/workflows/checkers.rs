//! What others' checkers say: zizmor (security), actionlint, GitHub's schema.

use std::process::Command;

use super::{root, tool};

/// Runs a checker in the workspace; it finds nothing, or this panics with what it found.
#[track_caller]
fn finds_nothing(program: &str, args: &[&str]) {
    let mut command = Command::new(tool(program));
    // A token would make zizmor ask GitHub.
    for name in ["GH_TOKEN", "GITHUB_TOKEN", "ZIZMOR_GITHUB_TOKEN"] {
        command.env_remove(name);
    }
    let output = command.current_dir(root()).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("`{program}` (`cargo xtask setup --tests`): {error}"));
    let said = [String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr)].concat();
    assert!(output.status.success(), "{program} {}: {}\n{said}", args.join(" "), output.status);
}

#[test]
fn zizmor_as_strict_as_it_gets() {
    finds_nothing("zizmor", &["--offline", "--no-progress", "--strict-collection", "--persona", "auditor", ".github"]);
}

#[test]
fn actionlint() {
    finds_nothing("actionlint", &["-shellcheck=", "-pyflakes="]);
}

#[test]
fn githubs_schema() {
    let files: Vec<String> = super::workflows().into_iter().map(|(name, ..)| format!(".github/workflows/{name}")).collect();
    let files = files.iter().map(String::as_str);
    finds_nothing(
        "check-jsonschema",
        &["--builtin-schema", "vendor.github-workflows"].into_iter().chain(files).collect::<Vec<_>>(),
    );
}
