//! `plan`, and what `build --dry-run` promises.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::family::TinyFamily;
use crate::support::registry::run;
use crate::support::vendors::Vendors;
use crate::support::xtask::ran;

#[test]
fn a_plan_is_a_tree_json_graphviz_or_mermaid_on_stdout_and_nothing_else() {
    let family = TinyFamily::new();
    let tree = family.run(&["plan", "--all"]).ends(0);
    for line in
        ["base  images/base", "├─ aws  images/aws", "aws-web  images/web", &format!("→ {}:aws, {0}:aws-coder", family.name)]
    {
        assert!(tree.stdout.contains(line), "{line} in\n{}", tree.stdout);
    }
    assert_eq!(tree.stderr, "");

    let plan = family.run(&["plan", "--all", "--format", "json"]).ends(0);
    assert_eq!(plan.json()["schema"], 1);
    assert_eq!(plan.json()["variants"].as_array().map(Vec::len), Some(3));
    assert_eq!(plan.stderr, "");
    let dot = family.run(&["plan", "--all", "--format", "dot"]).ends(0).stdout;
    assert!(dot.starts_with("digraph ") && dot.contains("\"aws-web\" -> \"aws\";") && dot.ends_with("}\n"), "{dot}");
    let mermaid = family.run(&["plan", "--all", "--format", "mermaid"]).ends(0).stdout;
    assert!(mermaid.starts_with("flowchart BT\n") && mermaid.contains("[\"aws finished\"]"), "{mermaid}");
    let doctor = ran(family.command(&["doctor", "--format", "dot"])).ends(2);
    assert!(doctor.stderr.contains("`--format dot` is for `plan`"), "{}", doctor.stderr);
}

#[test]
fn a_plan_needs_no_engine() {
    let family = TinyFamily::new();
    let mut plan = family.planning(&["plan", "--all"]);
    plan.env("DOCKER_HOST", "unix:///nonexistent");
    crate::support::xtask::ran(plan).ends(0);
}

/// Everything in the repository and every tag of the engine that is ours.
fn world(family: &TinyFamily) -> (String, Vec<String>) {
    let status = family.git(&["status", "--porcelain", "--ignored"]);
    (status, family.tags())
}

#[test]
fn a_dry_run_changes_nothing_and_lists_what_the_build_then_runs() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    let before = world(&family);

    let promised = family.build(&["--variant", "aws-web", "--dry-run"]).ends(0).json();
    let for_people = family.run(&["build", "--variant", "aws-web", "--dry-run"]).ends(0).stdout;
    assert_eq!(world(&family), before);
    assert!(vendors.requests_of("/releases/download/").is_empty(), "nothing is downloaded");

    let runs = |actions: &Value| {
        let actions = actions.as_object().expect("actions").iter();
        actions.filter(|(_, action)| *action == "run").map(|(step, _)| step.clone()).collect::<BTreeSet<_>>()
    };
    let promised = runs(&promised["actions"]);
    let listed = for_people.lines().filter_map(|line| line.strip_prefix("run  ")?.split("  ").next().map(str::to_owned));
    assert_eq!(listed.collect::<BTreeSet<_>>(), promised);

    let done = family.build(&["--variant", "aws-web"]).ends(0).steps_that_are("done");
    assert_eq!(BTreeSet::from_iter(done), promised);

    let again = family.build(&["--variant", "aws-web", "--dry-run"]).ends(0).json();
    assert!(runs(&again["actions"]).is_empty());
}

#[test]
fn a_plan_is_the_same_wherever_it_is_asked_for() {
    let family = TinyFamily::new();
    let here = family.run(&["plan", "--all", "--format", "json"]).ends(0).stdout;
    let mut below = family.planning(&["plan", "--all", "--format", "json"]);
    below.current_dir(family.root().join("images/aws"));
    assert_eq!(crate::support::xtask::ran(below).ends(0).stdout, here);

    let manifest = family.root().join("variants.toml").display().to_string();
    let mut named = family.planning(&["--manifest", &manifest, "plan", "--all", "--format", "json"]);
    named.current_dir("/");
    assert_eq!(crate::support::xtask::ran(named).ends(0).stdout, here);
    run("git", &["-C", &family.root().display().to_string(), "diff", "--exit-code"]);
}
