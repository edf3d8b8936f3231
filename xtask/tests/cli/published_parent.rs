//! `--parent published`: on what everybody else has, by digest.

use crate::support::family::TinyFamily;

#[test]
fn a_variant_is_built_on_its_published_parent_by_digest() {
    let family = TinyFamily::new();
    family.build(&["--variant", "aws"]).ends(0);
    let pushed = family.run(&["push", "--variant", "aws", "--format", "json"]).ends(0).json();
    let digest = pushed["images"][0]["digest"].as_str().expect("a digest").to_owned();
    let finished = family.diff_ids("aws");

    // What is built here since then does not matter.
    family.change_entrypoint();
    family.build(&["--variant", "aws"]).ends(0);
    let plan = family.run(&["plan", "--variant", "aws-web", "--parent", "published"]).ends(0).stdout;
    assert!(plan.contains(&format!("published aws  pull {}@{digest}", family.registry.repository())), "{plan}");

    let built = family.build(&["--variant", "aws-web", "--parent", "published"]).ends(0);
    assert_eq!(built.steps_that_are("done"), ["aws-web", "aws-web finished", "entrypoint", "published aws"]);
    let layers = family.diff_ids("aws-web");
    assert!(layers.starts_with(&finished), "{layers:?} stands on {finished:?}");
    let labels = family.inspect("aws-web")["Config"]["Labels"].clone();
    assert_eq!(labels["gantry.variant"], "aws-web");
    assert_eq!(labels["org.opencontainers.image.description"], "for AWS, in the browser");
    let again = family.build(&["--variant", "aws-web", "--parent", "published"]).ends(0);
    assert_eq!(again.steps_that_are("up-to-date"), ["aws-web finished"]);
}

#[test]
fn a_parent_that_is_not_published_is_missing_and_the_hint_publishes_it() {
    let family = TinyFamily::new();
    let failed = family.run(&["build", "--variant", "aws-web", "--parent", "published"]).ends(3);
    failed.says(&["is not published", "cargo xtask push --variant aws"]);
}
