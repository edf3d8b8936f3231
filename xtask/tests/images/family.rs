//! The family, built once; and what its images are in relation to each other.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use serde_json::Value;

use crate::docker::inspect;

pub(crate) const VARIANTS: [&str; 4] = ["aws", "azure", "aws-web", "azure-web"];
pub(crate) const WEB: [&str; 2] = ["aws-web", "azure-web"];

/// The workspace.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

pub(crate) fn xtask(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    // What cargo says to its tests is not said to the commands that people run.
    command.current_dir(root()).args(args).env_remove("CI");
    command.output().expect("xtask runs")
}

/// The local tag of a variant, after the family was built.
pub(crate) fn image(variant: &str) -> String {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let built = xtask(&["build", "--all", "--profile", "offline"]);
        let stderr = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{stderr}");
        print!("{}{stderr}", String::from_utf8_lossy(&built.stdout));
    });
    format!("ansible-epic:{variant}-offline")
}

fn layers(variant: &str) -> Vec<String> {
    let layers = inspect(&image(variant))["RootFS"]["Layers"].as_array().cloned().unwrap_or_default();
    layers.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn plan() -> Value {
    let plan = xtask(&["--format", "json", "plan", "--all", "--profile", "offline"]);
    serde_json::from_slice(&plan.stdout).expect("a plan is JSON")
}

/// The layers of a step of the plan.
fn stage(plan: &Value, id: &str) -> Vec<String> {
    let steps = plan["steps"].as_array().expect("steps");
    let step = steps.iter().find(|step| step["id"] == id).unwrap_or_else(|| panic!("no step `{id}`"));
    let layers = inspect(step["stage"].as_str().expect("a stage tag"))["RootFS"]["Layers"].as_array().cloned();
    layers.unwrap_or_default().iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[test]
fn aws_and_azure_share_every_layer_up_to_base() {
    let (aws, azure) = (layers("aws"), layers("azure"));
    let base = stage(&plan(), "base");
    assert!(base.len() > 3, "{base:?}");
    assert!(aws.starts_with(&base) && azure.starts_with(&base), "{base:?}\n{aws:?}\n{azure:?}");
}

#[test]
fn web_variants_extend_the_unfinished_parent() {
    for (child, parent) in [("aws-web", "aws"), ("azure-web", "azure")] {
        let child = layers(child);
        assert!(child.starts_with(&stage(&plan(), parent)), "{child:?}");
    }
}

#[test]
fn the_finishing_layer_is_one_layer_in_all_variants() {
    let last: Vec<String> = VARIANTS.iter().map(|variant| layers(variant).pop().unwrap_or_default()).collect();
    assert!(last.iter().all(|layer| *layer == last[0] && !layer.is_empty()), "{last:?}");
}

#[test]
fn the_web_ide_is_one_layer_in_both_web_variants() {
    let own = |variant: &str, parent: &str| layers(variant).split_off(stage(&plan(), parent).len());
    let (aws, azure) = (own("aws-web", "aws"), own("azure-web", "azure"));
    assert_eq!(aws, azure);
}

#[test]
fn labels_tell_what_an_image_is() {
    for variant in VARIANTS {
        let config = &inspect(&image(variant))["Config"];
        let label = |key: &str| config["Labels"][key].as_str().unwrap_or_default().to_owned();
        assert_eq!(label("gantry.variant"), variant);
        assert_eq!(label("org.opencontainers.image.created"), "2026-11-20T00:00:00Z");
        assert_eq!(label("gantry.profile"), "offline");
        assert!(label("gantry.omitted").contains("github-runner"), "{config}");
        assert_eq!(label("gantry.input-digest").len(), 71);
        assert!(label("devcontainer.metadata").contains("\"overrideCommand\":false"));
        assert_eq!(config["Entrypoint"][0], "/usr/local/bin/entrypoint");
        assert_eq!(config["User"].as_str().unwrap_or_default(), "root");
        assert!(config["Healthcheck"]["Test"].to_string().contains("health"), "{config}");
    }
}

#[test]
fn the_alias_is_the_same_image() {
    assert_eq!(inspect(&image("aws"))["Id"], inspect(&image("aws-coder"))["Id"]);
}

#[test]
fn nothing_changed_builds_nothing() {
    image("aws");
    let again = xtask(&["--format", "json", "build", "--all", "--profile", "offline"]);
    let stderr = String::from_utf8_lossy(&again.stderr);
    assert!(again.status.success(), "{stderr}");
    let result: Value = serde_json::from_slice(&again.stdout).expect("a result is JSON");
    let outcomes: Vec<&Value> = result["steps"].as_array().expect("steps").iter().map(|step| &step["outcome"]).collect();
    assert_eq!(outcomes.len(), 4, "only the finished variants are looked at: {result}");
    assert!(outcomes.iter().all(|outcome| **outcome == "up-to-date"), "{result}");
}

#[test]
fn a_push_beyond_loopback_is_refused() {
    image("aws");
    let pushed = xtask(&["push", "--variant", "aws", "--profile", "offline", "--allow-dirty"]);
    let stderr = String::from_utf8_lossy(&pushed.stderr);
    assert_eq!(pushed.status.code(), Some(8), "{stderr}");
    assert!(stderr.contains("lacks `github-runner`"), "{stderr}");
}
