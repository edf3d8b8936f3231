//! What `build` makes.

use serde_json::Value;

use crate::support::family::TinyFamily;
use crate::support::registry::run;
use crate::support::vendors::{RUNNER_VERSION, Vendors};

#[test]
fn parents_are_built_before_their_children_which_stand_on_their_layers() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    let plan = family.run(&["plan", "--all", "--format", "json"]).ends(0).json();
    let built = family.build(&["--all"]).ends(0);

    let position = |kind: &str, step: &Value| {
        built.events().iter().position(|event| event["event"] == kind && event["step"] == *step).expect("an event")
    };
    for step in plan["steps"].as_array().expect("steps") {
        for need in step["needs"].as_array().expect("needs") {
            let (ends, starts) = (position("step-finished", need), position("step-started", &step["id"]));
            assert!(ends < starts, "{need} ends before {} starts", step["id"]);
        }
    }

    // Of every variant, the highest two layers are the runner and the entrypoint.
    let [aws, web, azure] = ["aws", "aws-web", "azure"].map(|tag| family.diff_ids(tag));
    let (unfinished, tops) = aws.split_at(aws.len() - 2);
    assert!(web.starts_with(unfinished), "{web:?} stands on {unfinished:?}");
    assert!(web.ends_with(tops) && azure.ends_with(tops), "component and finish are one layer in all: {aws:?} {web:?} {azure:?}");
    assert_eq!(azure[..2], aws[..2], "both stand on the base");

    assert_eq!(
        family.container("aws-web", &["/bin/cat", "/packages", "/aws", "/page", "/tools"]),
        "packages of 2026-11-20\naws of 2026-11-20\npagetools"
    );
    assert_eq!(
        family.container("azure", &["/bin/ls", &format!("/opt/{}/run.sh", family.name)]),
        format!("/opt/{}/run.sh", family.name)
    );
}

#[test]
fn labels_aliases_and_arguments_are_in_the_image() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    family.replace(
        "images/finish/Dockerfile",
        "ARG COLOUR=none",
        "ARG RUNNER_VERSION\nENV RUNNER=${RUNNER_VERSION}\nARG COLOUR=none",
    );
    family.build(&["--variant", "aws", "--arg", "COLOUR=blue"]).ends(0);

    let image = family.inspect("aws");
    assert_eq!(family.inspect("aws-coder")["Id"], image["Id"]);
    let env: Vec<&str> = image["Config"]["Env"].as_array().expect("variables").iter().filter_map(Value::as_str).collect();
    assert!(env.contains(&"COLOUR=blue") && env.contains(&&*format!("RUNNER={RUNNER_VERSION}")), "{env:?}");
    assert_eq!(image["Config"]["Entrypoint"][0], "/usr/local/bin/entrypoint");
    let labels = &image["Config"]["Labels"];
    for (label, value) in [
        ("org.opencontainers.image.title", "Tiny aws"),
        ("org.opencontainers.image.description", "for AWS"),
        ("org.opencontainers.image.source", "https://example.org/tiny"),
        ("org.opencontainers.image.created", "2026-11-20T00:00:00Z"),
        ("org.opencontainers.image.version", "2026.11.20"),
        ("org.opencontainers.image.base.name", &family.base()),
        ("gantry.variant", "aws"),
        ("gantry.family", &family.name),
        ("gantry.pin.runner", RUNNER_VERSION),
        ("gantry.omitted", ""),
        ("devcontainer.metadata", r#"[{"overrideCommand":false,"remoteUser":"ansible"}]"#),
    ] {
        assert_eq!(labels[label], value, "{label}");
    }
    let lock = family.read("variants.lock").expect("the lock");
    let digest = labels["org.opencontainers.image.base.digest"].as_str().expect("a digest");
    assert!(lock.contains(digest), "{digest} in {lock}");
    let revision = labels["org.opencontainers.image.revision"].as_str().expect("a revision");
    assert_eq!(revision, format!("{}-dirty", family.git(&["rev-parse", "HEAD"])), "the lock and a Dockerfile are not committed");
}

#[test]
fn a_second_build_asks_the_engine_to_build_nothing() {
    let family = TinyFamily::new();
    family.build(&["--all"]).ends(0);
    let again = family.build(&["--all"]).ends(0);
    assert_eq!(again.steps_that_are("up-to-date"), ["aws finished", "aws-web finished", "azure finished"]);
    assert_eq!(again.steps().len(), 3);
    assert!(again.events_of("step-started").is_empty() && again.events_of("step-log").is_empty());
    assert_eq!(again.json()["steps"].as_array().map(Vec::len), Some(3));
}

#[test]
fn the_metadata_file_has_the_keys_of_bake() {
    let family = TinyFamily::new();
    let file = family.places().join("home/metadata.json");
    family.build(&["--variant", "aws", "--variant", "azure", "--metadata-file", &file.display().to_string()]).ends(0);
    let metadata: Value = serde_json::from_slice(&std::fs::read(&file).expect("the file")).expect("JSON");
    for (variant, tags) in [("aws", vec!["aws", "aws-coder"]), ("azure", vec!["azure"])] {
        let names: Vec<String> = tags.iter().map(|tag| format!("{}:{tag}", family.name)).collect();
        assert_eq!(metadata[variant]["image.name"], names.join(","));
        // Where the engine keeps manifests, its id of an image is a manifest's digest, and has bake's key for that.
        match metadata[variant].get("containerimage.config.digest") {
            Some(digest) => assert_eq!(*digest, family.config_digest(variant)),
            None => assert_eq!(metadata[variant]["containerimage.digest"], family.inspect(variant)["Id"]),
        }
    }
}

#[test]
fn an_image_that_somebody_built_on_a_variant_is_not_taken_for_it() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    let ours = family.inspect("azure")["Id"].clone();
    let theirs = format!("{}-of-somebody:1", family.name);
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("Dockerfile"), format!("FROM {}:azure\nENV THEIRS=1\n", family.name)).expect("written");
    run("docker", &["build", "-q", "-t", &theirs, &folder.path().display().to_string()]);
    // The worst case: it also takes the variant's name.
    run("docker", &["tag", &theirs, &format!("{}:azure", family.name)]);

    let again = family.build(&["--variant", "azure"]).ends(0);
    assert_eq!(again.steps_that_are("up-to-date"), ["azure finished"]);
    assert_eq!(family.inspect("azure")["Id"], ours, "the name is the variant's again");

    // Gone: what is left bears the same labels, and is no variant.
    run("docker", &["rmi", &format!("{}:azure", family.name)]);
    for tag in family.stage_tags() {
        run("docker", &["rmi", &format!("gantry.invalid/stage/{tag}")]);
    }
    let rebuilt = family.build(&["--variant", "azure"]).ends(0);
    assert!(rebuilt.steps_that_are("done").contains(&"azure finished".to_owned()));
    assert_eq!(family.inspect("azure")["Id"], ours, "and what is built is what was built");
    run("docker", &["rmi", "-f", &theirs]);
}

#[test]
fn variants_are_chosen_by_glob_and_by_alias() {
    let family = TinyFamily::new();
    let names = |args: &[&str]| {
        let plan = family.run(&[&["plan", "--format", "json"], args].concat()).ends(0).json();
        let variants = plan["variants"].as_array().expect("variants").iter();
        variants.map(|variant| variant["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(&["--variant", "aws*"]), ["aws", "aws-web"]);
    assert_eq!(names(&["--variant", "aws-coder", "--variant", "aws"]), ["aws"]);
}
