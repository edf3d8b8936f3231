//! `publish`: what stands in its way is known before the build, and what fails holds back all. (That an image passes and is
//! published needs a real one: tests/images.)

use std::fs;
use std::path::Path;

use crate::support::family::TinyFamily;
use crate::support::front::{Front, Say, error};
use crate::support::registry::{LocalRegistry, run};
use crate::support::xtask::{Ran, ran};

fn to(name: &str, address: &str) -> String {
    format!("{name}={address}/team/image")
}

#[test]
fn what_stands_in_the_way_is_known_before_anything_is_built() {
    let family = TinyFamily::new();
    // A registry that takes no push, one that is down, and a tree with changes.
    let readonly = Front::before(&family.registry.address, |asked, behind| match *asked.method() {
        http::Method::POST => Say::Answer(error(403, "DENIED", "permission_denied: write_package")),
        _ => Say::Answer(behind.answer(asked)),
    });
    let down = LocalRegistry::start(None);
    down.kill();
    let (readonly, down) = (to("readonly", &readonly.address), to("down", &down.address));
    let publish = |more: &[&str]| family.run(&[&["publish", "--variant", "azure"], more].concat());
    publish(&["--destination", &readonly]).ends(3).says(&["takes no push", "write_package"]);
    let both = publish(&["--destination", &down, "--destination", &readonly]).ends(3);
    both.says(&["takes no push: `127.0.0.1", "cannot be reached", "write_package"]);
    family.azure_also("ENV CHANGED=1");
    publish(&[]).ends(8).says(&["changes that are not committed"]);
    assert_eq!(family.tags(), Vec::<String>::new(), "nothing was built");
    assert_eq!(family.registry.tags(), Vec::<String>::new());
}

#[test]
fn a_dry_run_shows_all_of_it_and_does_nothing() {
    let family = TinyFamily::new();
    let shown = family.run(&["publish", "--variant", "azure", "--dry-run"]).ends(0);
    let repository = family.registry.repository();
    for part in [
        "azure finished".to_owned(),
        "then tried (`cargo xtask smoke --dry-run` shows how): `azure`".to_owned(),
        "as it will be built".to_owned(),
        "attached before any tag is set".to_owned(),
        "application/vnd.cyclonedx+json, digest known once made, to near".to_owned(),
        format!("{repository}:azure  new, digest known once compressed"),
    ] {
        assert!(shown.stdout.contains(&part), "{part} in\n{}", shown.stdout);
    }
    let json = family.run(&["publish", "--variant", "azure", "--dry-run", "--format", "json"]).ends(0).json();
    assert_eq!((&json["schema"], &json["smoke"][0]), (&1.into(), &"azure".into()));
    assert_eq!(json["release"]["attachments"][0]["destinations"]["near"], "attach");
    assert_eq!((family.tags(), family.registry.all_tags()), (vec![], vec![]));
}

#[test]
fn one_variant_that_fails_holds_back_all_and_push_refuses_it_too() {
    let family = TinyFamily::new();
    let summary = family.places().join("summary.md");
    let both = ["--variant", "azure", "--variant", "aws", "--format", "json"];
    let mut command = family.planning(&[&["publish"], &both[..]].concat());
    command.env("GITHUB_STEP_SUMMARY", &summary);
    // busybox is no entrypoint.
    let failed = ran(command).ends(5).says(&["smoke failed: `", "nothing was published"]);
    assert_eq!(family.registry.all_tags(), Vec::<String>::new());
    let told = fs::read_to_string(&summary).expect("the summary");
    assert!(told.starts_with("### publish failed") && told.contains("smoke failed: \\`"), "{told}");
    family.run(&["push", "--variant", "azure"]).ends(8).says(&["failed smoke at 20", "cargo xtask smoke --again"]);
    assert_eq!(family.registry.all_tags(), Vec::<String>::new());

    // Had they passed: what is published is what was built and exported to be tried, once for all, both together.
    for tag in ["azure", "aws"] {
        remember(&family.places().join("state"), tag, &family.config_digest(tag));
    }
    let published = family.run(&[&["push"], &both[..]].concat()).ends(0);
    assert_eq!(family.registry.tags().len(), 6, "two variants and an alias, moving and not");
    let done = |ran: &Ran, what: &str| {
        let ended = ran.events_of("step-finished").into_iter().filter(|event| event["outcome"] == "done");
        ended.filter(|event| event["step"].as_str().is_some_and(|step| step.ends_with(what))).count()
    };
    assert_eq!([&failed, &published].map(|ran| (done(ran, " finished"), done(ran, "export"))), [(2, 1), (0, 0)]);
}

#[test]
fn what_is_published_is_not_built_again() {
    let family = TinyFamily::new();
    let summary = family.places().join("summary.md");
    family.build(&["--variant", "azure"]).ends(0);
    let without = family.run(&["push", "--variant", "azure", "--no-sbom"]).ends(0);
    without.says(&["was not tried on this machine"]);
    assert_eq!(family.registry.all_tags(), family.registry.tags());
    // Another machine: the engine has nothing of it, nor has the cache.
    let elsewhere = tempfile::tempdir().expect("a folder");
    let publish = || {
        let mut command = family.planning(&["publish", "--variant", "azure", "--untried", "--format", "json"]);
        command.env("GANTRY_CACHE_DIR", elsewhere.path().join("cache")).env("XDG_STATE_HOME", elsewhere.path().join("state"));
        command.env("GITHUB_STEP_SUMMARY", &summary);
        ran(command).ends(0)
    };
    let first = publish().says(&["`azure` stays as it was published, sha256:", "not tried on this machine"]);
    let (steps, json) = (first.steps(), first.json());
    assert!(!steps.keys().any(|step| step.contains("finished") || step == "export"), "{steps:?}");
    assert_eq!((&json["images"][0]["because"], &json["smoke"]), (&"adopted".into(), &serde_json::Value::Null));
    assert_eq!(json["images"][0]["attachments"][0]["because"], "made", "from the layers in the registry");
    let told = fs::read_to_string(&summary).expect("the summary");
    assert!(told.contains("| `azure` | `sha256:") && told.contains("| unchanged |"), "{told}");
    // The same bytes as from the layers that lie here.
    let other = LocalRegistry::start(None);
    let copied = family.run(&["push", "--variant", "azure", "--format", "json", "--destination", &to("other", &other.address)]);
    let local = copied.ends(0).json();
    assert_eq!(local["images"][0]["attachments"][0]["because"], "made");
    assert_eq!(local["images"][0]["attachments"][0]["digest"], json["images"][0]["attachments"][0]["digest"]);
    let second = publish();
    assert!(second.steps_that_are("up-to-date").contains(&"attach".to_owned()));
    assert!(second.events_of("transfer").is_empty());
}

/// What `smoke` writes of an image that passed.
fn remember(state: &Path, variant: &str, config: &str) {
    let record = serde_json::json!({
        "schema": 1, "variant": variant, "image": variant, "config-digest": config, "checks": config, "outcome": "passed",
        "at": "2026-11-20T00:00:00Z", "results": [], "seconds": 1.0,
    });
    fs::create_dir_all(state.join("gantry/smoke")).expect("a folder");
    fs::write(state.join("gantry/smoke").join(format!("{}.json", config.replace(':', "-"))), record.to_string())
        .expect("written");
}

#[test]
fn what_push_has_published_untried_is_tried_first() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    family.run(&["push", "--variant", "azure"]).ends(0).says(&["was not tried on this machine"]);
    let published = family.registry.tags();
    let publish = |more: &[&str]| family.run(&[&["publish", "--variant", "azure"], more].concat());
    let shown = publish(&["--dry-run"]).ends(0).stdout;
    for part in ["nothing to build", "then tried", "`azure` is published and was never tried on this machine", "which is here"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    // busybox is no entrypoint.
    publish(&[]).ends(5).says(&["smoke failed: `azure`", "nothing was published"]);
    assert!(publish(&["--dry-run"]).ends(0).stdout.contains("is published and failed on this machine"));
    publish(&["--untried"]).ends(8).says(&["failed smoke at 20"]);
    assert_eq!(family.registry.tags(), published);
    // Where a record says that it passed, however long ago, nothing is tried.
    remember(&family.places().join("state"), "azure", &family.config_digest("azure"));
    let json = publish(&["--format", "json"]).ends(0).json();
    assert_eq!((&json["images"][0]["because"], &json["smoke"]), (&"adopted".into(), &serde_json::Value::Null));
}

#[test]
fn what_another_machine_has_published_is_pulled_to_be_tried() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    family.run(&["push", "--variant", "azure"]).ends(0);
    let here = family.tags();
    run("docker", &[&["rmi", "-f"], &here.iter().map(String::as_str).collect::<Vec<_>>()[..]].concat());
    let elsewhere = tempfile::tempdir().expect("a folder");
    let publish = |more: &[&str]| {
        let mut command = family.planning(&[&["publish", "--variant", "azure", "--format", "json"], more].concat());
        command.env("GANTRY_CACHE_DIR", elsewhere.path().join("cache")).env("XDG_STATE_HOME", elsewhere.path().join("state"));
        ran(command)
    };
    let shown = publish(&["--dry-run"]).ends(0).json();
    assert_eq!((&shown["smoke"][0], &shown["untried"][0]["variant"]), (&"azure".into(), &"azure".into()));
    assert_eq!(
        (&shown["untried"][0]["here"], shown["actions"].as_object().map(serde_json::Map::len)),
        (&serde_json::Value::Null, Some(0))
    );
    assert_eq!(family.tags(), Vec::<String>::new());
    let tried = publish(&[]).ends(5).says(&["smoke failed: `azure`"]);
    assert!(tried.stderr.contains("@sha256:") && !tried.steps().keys().any(|step| step.contains("finished")), "{}", tried.stderr);
    assert_eq!(family.tags(), Vec::<String>::new(), "what was pulled is gone");
}

#[test]
fn the_summary_of_a_workflow_tells_what_changed() {
    let family = TinyFamily::new();
    let summary = family.places().join("summary.md");
    let push = || {
        let mut command = family.planning(&["push", "--variant", "azure"]);
        command.env("GITHUB_STEP_SUMMARY", &summary);
        ran(command).ends(0);
        fs::read_to_string(&summary).expect("the summary")
    };
    family.build(&["--variant", "azure"]).ends(0);
    let first = push();
    assert!(first.contains("| new |") && !first.contains("What changed"), "{first}");
    family.azure_also("RUN seq 1000 > /numbers\nLABEL org.example.title=\"a|b\"");
    family.commit();
    family.build(&["--variant", "azure"]).ends(0);
    let both = push();
    let second = both.strip_prefix(&first).expect("it is added");
    assert!(second.contains("What changed in `azure`") && second.contains("/numbers"), "{second}");
    assert!(second.contains("| `azure` | `sha256:") && second.contains(" | +"), "{second}");
}
