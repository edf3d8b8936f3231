//! What a change rebuilds, shown by the steps that ran.

use crate::support::family::TinyFamily;
use crate::support::xtask::{git_that_tells, ran};

/// The lines of a step's log that tell of an instruction: `CACHED [tools 3/3] RUN …`.
fn told(log: &[String], end: &str, instruction: &str) -> bool {
    log.iter().any(|line| line.starts_with(end) && line.contains(instruction))
}

#[test]
fn a_changed_entrypoint_rebuilds_only_finishing_layers() {
    let family = TinyFamily::new();
    family.build(&["--variant", "aws", "--variant", "azure"]).ends(0);
    family.change_entrypoint();
    let built = family.build(&["--variant", "aws", "--variant", "azure"]).ends(0);
    assert_eq!(built.steps_that_are("done"), ["aws finished", "azure finished", "entrypoint"]);
    assert_eq!(built.steps_that_are("up-to-date"), ["aws", "azure"]);
}

#[test]
fn a_changed_dockerfile_rebuilds_only_what_stands_on_it() {
    let family = TinyFamily::new();
    family.build(&["--all"]).ends(0);
    let before = family.stage_tags();
    family.azure_also("ENV CHANGED=1");
    let built = family.build(&["--all"]).ends(0);
    assert_eq!(built.steps_that_are("done"), ["azure", "azure finished", "entrypoint"]);
    assert_eq!(built.steps_that_are("up-to-date"), ["aws finished", "aws-web finished", "base"]);

    // The tags of what it was before are gone, all others are there.
    let after = family.stage_tags();
    let changed: Vec<&String> = before.iter().filter(|tag| !after.contains(tag)).collect();
    assert_eq!(changed.len(), 2, "{before:?} → {after:?}");
    assert!(changed.iter().all(|tag| tag.starts_with("azure")), "{changed:?}");
    assert_eq!(after.len(), before.len());
}

#[test]
fn a_new_build_date_installs_packages_anew_and_keeps_builder_stages() {
    let family = TinyFamily::new();
    family.build(&["--variant", "aws"]).ends(0);
    let built = family.build(&["--variant", "aws", "--build-date", "2026-12-01"]).ends(0);
    assert_eq!(built.steps_that_are("done"), ["aws", "aws finished", "base", "entrypoint"]);
    let log = built.log_of("base");
    assert!(told(&log, "CACHED", "RUN echo tools"), "{log:#?}");
    assert!(told(&log, "DONE", "RUN echo packages of") && !told(&log, "CACHED", "RUN echo packages of"), "{log:#?}");
    assert_eq!(family.container("aws", &["/bin/cat", "/packages", "/aws"]), "packages of 2026-12-01\naws of 2026-12-01");
    assert_eq!(family.inspect("aws")["Config"]["Labels"]["org.opencontainers.image.created"], "2026-12-01T00:00:00Z");
    assert!(family.read("variants.toml").is_some_and(|text| text.contains("2026-11-20")), "the file keeps its date");
}

#[test]
fn no_cache_runs_every_instruction_again() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    let built = family.build(&["--variant", "azure", "--no-cache"]).ends(0);
    assert_eq!(built.steps_that_are("done"), ["azure", "azure finished", "base", "entrypoint"]);
    let log = built.log_of("base");
    for instruction in ["RUN echo tools", "RUN echo packages"] {
        assert!(told(&log, "DONE", instruction) && !told(&log, "CACHED", instruction), "{log:#?}");
    }
}

#[test]
fn nothing_without_a_name_is_left_behind() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    family.build(&["--variant", "azure", "--no-cache"]).ends(0);
    family.change_entrypoint();
    family.build(&["--variant", "azure"]).ends(0);
    let ours = format!("label=gantry.family={}", family.name);
    let dangling = crate::support::registry::run("docker", &["images", "-q", "--filter", &ours, "--filter", "dangling=true"]);
    assert_eq!(dangling, "");
}

#[test]
fn a_commit_that_touches_no_image_rebuilds_nothing() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    family.write("README.md", "changed");
    family.commit();
    let built = family.build(&["--variant", "azure"]).ends(0);
    assert_eq!(built.steps_that_are("up-to-date"), ["azure finished"]);
}

#[test]
fn another_family_of_the_engine_keeps_its_stage_tags() {
    let (one, other) = (TinyFamily::new(), TinyFamily::new());
    one.build(&["--variant", "azure"]).ends(0);
    let tags = one.stage_tags();
    other.build(&["--variant", "azure"]).ends(0);
    assert_eq!(one.stage_tags(), tags);
    assert_eq!(one.build(&["--variant", "azure"]).ends(0).steps_that_are("up-to-date"), ["azure finished"]);
}

#[test]
fn what_the_engine_lost_is_built_again() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    for tag in family.stage_tags().iter().filter(|tag| tag.starts_with("base:") || tag.starts_with("azure.finished:")) {
        crate::support::registry::run("docker", &["rmi", &format!("gantry.invalid/stage/{tag}")]);
    }
    family.azure_also("ENV CHANGED=1");
    let built = family.build(&["--variant", "azure"]).ends(0);
    assert_eq!(built.steps_that_are("done"), ["azure", "azure finished", "base", "entrypoint"]);
}

#[test]
fn an_image_of_a_tree_with_changes_is_finished_anew_for_the_commit() {
    let family = TinyFamily::new();
    family.write("notes.txt", "not committed");
    family.build(&["--variant", "azure"]).ends(0);
    let revision = || family.inspect("azure")["Config"]["Labels"]["org.opencontainers.image.revision"].to_string();
    assert!(revision().ends_with("-dirty\""), "{}", revision());
    family.commit();
    let built = family.build(&["--variant", "azure"]).ends(0);
    assert_eq!(built.steps_that_are("done"), ["azure finished", "entrypoint"]);
    assert!(!revision().contains("dirty"), "{}", revision());
}

#[test]
fn only_what_a_commit_would_build_differently() {
    let family = TinyFamily::new();
    let first = family.git(&["rev-parse", "HEAD"]);
    let changed = |commit: &str| {
        let plan = family.run(&["plan", "--all", &format!("--changed-since={commit}"), "--format", "json"]).ends(0);
        let variants = plan.json()["variants"].as_array().expect("variants").clone();
        let names: Vec<String> = variants.iter().map(|variant| variant["name"].as_str().expect("a name").to_owned()).collect();
        (names, plan)
    };
    assert_eq!(changed(&first).0, Vec::<String>::new());
    let mut command = family.planning(&["plan", "--all", "--changed-since", &first]);
    let told = git_that_tells(&mut command, &family.places(), "canary-7Qx9");
    ran(command).ends(0);
    let told = std::fs::read_to_string(told).expect("git was called");
    assert!(told.contains(" status ") && told.contains(" archive ") && !told.contains("canary-7Qx9"), "{told}");
    family.build(&["--all", "--changed-since", &first]).ends(0);
    assert_eq!(family.tags(), Vec::<String>::new(), "nothing was built");
    // What is not committed counts: it is what would be built.
    family.write("images/web/page", "another page");
    assert_eq!(changed(&first).0, ["aws-web"]);
    family.commit();
    family.replace("variants.toml", "for Azure", "for another Azure");
    assert_eq!(changed(&first).0, ["aws-web", "azure"]);
    assert_eq!(changed("HEAD").0, ["azure"]);
    // What cannot be told is not left out.
    for unknown in ["0000000000000000000000000000000000000000", "--output=file"] {
        let (all, told) = changed(unknown);
        assert_eq!(all.len(), 3);
        assert!(told.stderr.contains("everything counts as changed"), "{}", told.stderr);
    }
}
