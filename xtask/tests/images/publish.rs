//! `publish` with a real image: what was tried is what two registries have, with what changed and what is in it.

use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::Value;

use crate::docker::{docker, inspect};
use crate::family::{image, root, xtask};
use crate::support::registry::LocalRegistry;

struct Ran {
    code: Option<i32>,
    stdout: Value,
    events: Vec<Value>,
}

impl Ran {
    fn ended(&self, step: &str) -> Vec<&Value> {
        self.events.iter().filter(|event| event["event"] == "step-finished" && event["step"] == step).collect()
    }
}

/// With a state of its own, so that nothing was ever tried or published.
fn publish(state: &Path, to: &[&Arc<LocalRegistry>], more: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command
        .current_dir(root())
        .env_remove("CI")
        .env("XDG_STATE_HOME", state)
        .env("GITHUB_STEP_SUMMARY", state.join("summary.md"));
    command.args(["--format", "json", "publish", "--variant", "aws", "--profile", "offline"]).args(more);
    for (name, registry) in ["one", "two"].iter().zip(to) {
        command.arg("--destination").arg(format!("{name}={}", registry.repository()));
    }
    let output = command.output().expect("xtask runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let events = stderr.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let stdout = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {stderr}"));
    Ran { code: output.status.code(), stdout, events }
}

#[test]
fn what_was_tried_is_what_both_registries_have() {
    let tag = image("aws");
    // What is in it was looked into, so that the store has its layers.
    let looked = xtask(&["sbom", &tag]);
    assert!(looked.status.success(), "{}", String::from_utf8_lossy(&looked.stderr));
    let state = tempfile::tempdir().expect("a folder");
    let (one, two) = (LocalRegistry::start(None), LocalRegistry::start(None));
    let ran = publish(state.path(), &[&one, &two], &[]);
    assert_eq!(ran.code, Some(0), "{:#}", ran.stdout);
    let published = &ran.stdout["images"][0];
    assert_eq!(published["config-digest"], ran.stdout["smoke"]["images"][0]["config-digest"]);
    assert_eq!((&published["because"], &published["before"]), (&"built".into(), &Value::Null));
    let digest = published["digest"].as_str().expect("a digest").parse().ok();
    assert_eq!([one.skopeo("aws", None), two.skopeo("aws", None)], [digest, digest]);
    // Nobody exports what the store has (that one export is enough where it has not, tests/cli/publish.rs tells), and nothing is
    // built that was built before.
    assert_eq!(ran.ended("export"), Vec::<&Value>::new());
    assert!(ran.ended("aws finished").iter().all(|event| event["outcome"] == "up-to-date"));
    // What a registry gives is what was built here.
    let pulled = two.repository().tag("aws").to_string();
    docker(&["pull", "-q", &pulled]);
    assert_eq!(inspect(&pulled)["RootFS"], inspect(&tag)["RootFS"]);
    docker(&["rmi", &pulled]);
    let summary = std::fs::read_to_string(state.path().join("summary.md")).expect("the summary");
    assert!(summary.contains("| `aws` | `sha256:") && summary.contains("| new |"), "{summary}");

    let again = publish(state.path(), &[&one, &two], &[]);
    assert_eq!((again.code, &again.stdout["smoke"]), (Some(0), &Value::Null), "it was tried and published");
    let tags = again.stdout["images"][0]["destinations"]["one"].as_array().expect("tags");
    assert!(tags.iter().all(|tag| tag["state"] == "already-there"), "{tags:?}");
    assert!(again.events.iter().all(|event| event["event"] != "transfer"));
}
