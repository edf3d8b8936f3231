//! What the workflows do.

use std::fs;

use serde_json::json;

use super::act::Fork;
use super::root;

#[test]
fn a_release_by_hand_is_the_same_in_both_registries() {
    let fork = Fork::new(false);
    let inputs = json!({ "variants": "aws", "build-date": "", "no-cache": "false", "dry-run": "false" });
    let ran = fork.dispatch("release.yml", "publish", &inputs).succeeds();
    // What publishes compiles nothing.
    assert_eq!(ran.cargo.iter().filter(|call| call.starts_with("publish:")).count(), 0, "{:?}", ran.cargo);
    assert_eq!(ran.cargo.first().map(String::as_str), Some("compile: xtask compile --output target/programs"));
    let digest = fork.one.skopeo("aws", None).expect("published");
    assert_eq!(fork.two.skopeo("aws", None), Some(digest));
    assert!(ran.log.contains("Success - Main Verify"), "{}", ran.log);
    let attested = fs::read_to_string(fork.artifacts().join("attested")).expect("attested");
    let expected = [&fork.two, &fork.one].map(|registry| format!("{}  {}:aws-2026.11.20-", digest.hex(), registry.repository()));
    assert!(attested.lines().zip(&expected).all(|(line, expected)| line.starts_with(expected)), "{attested}");
    assert_eq!(attested.lines().count(), 2, "{attested}");
}

#[test]
fn programs_that_were_exchanged_on_the_way_are_not_run() {
    let fork = Fork::new(false);
    // An upload that hands on something else, under a digest that fits.
    let upload = root().join("xtask/tests/workflows/actions/upload-artifact");
    let other = fork.repository().join("../exchanged");
    let _ = fs::remove_dir_all(&other);
    fs::create_dir_all(&other).expect("a folder");
    let text = fs::read_to_string(upload.join("action.yml")).expect("the double");
    let exchanged = text.replacen("archive=$(mktemp)\n", "archive=$(mktemp)\n        echo more >> \"$root/xtask\"\n", 1);
    assert_ne!(text, exchanged);
    fs::write(other.join("action.yml"), exchanged).expect("written");
    let inputs = json!({ "variant": "aws", "digest": "aws", "tag": "", "dry-run": "true" });
    let ran = fork.with_double("upload-artifact", &other).dispatch("promote.yml", "promote", &inputs);
    assert!(!ran.success && ran.log.contains("xtask: FAILED"), "{}", ran.log);
    assert!(!ran.log.contains("Run Main Promote"), "{}", ran.log);
}

#[test]
fn continuous_integration_builds_what_changed() {
    let fork = Fork::new(false);
    let base = fork.git(&["rev-parse", "HEAD"]);
    let event = json!({ "pull_request": { "base": { "sha": base }, "number": 1 }, "number": 1 });
    let unchanged = fork.act("pull_request", &event, "ci.yml", Some("build")).succeeds();
    assert_eq!(unchanged.log.matches("no variant differs").count(), 2, "{}", unchanged.log);
}
