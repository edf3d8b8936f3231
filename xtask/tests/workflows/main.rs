//! The workflows in `.github/workflows`: what checkers say of them, what their lines are, and what they do when they run
//! (`act`, on this machine, with doubles of the actions in `actions/`).

#[path = "../support/mod.rs"]
mod support;

mod act;
mod checkers;
mod lines;
mod runs;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use xtask::host::places::Places;
use xtask::host::setup::python;

/// The workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

/// A program that `cargo xtask setup --tests` installs from PyPI.
fn tool(name: &str) -> PathBuf {
    let places = Places::from_env(&|name| std::env::var(name).ok()).expect("a home");
    python::folder(&places).join("bin").join(name)
}

/// The workflows: name, text, what YAML makes of it.
fn workflows() -> Vec<(String, String, Value)> {
    let folder = root().join(".github/workflows");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("workflows").map(|entry| entry.expect("a file").path()).collect();
    files.sort();
    let script = "import json, sys\nfrom ruamel.yaml import YAML\n\
                  print(json.dumps([YAML(typ='safe').load(open(name)) for name in sys.argv[1:]]))";
    let output = Command::new(tool("python")).args(["-c", script]).args(&files).output();
    let output = output.expect("python (`cargo xtask setup --tests`)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let values: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let named = files.iter().zip(values).map(|(file, value)| {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read_to_string(file).expect("text"), value)
    });
    named.collect()
}
