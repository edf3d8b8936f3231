//! `report`: a page that says what is built, how, and where it is published; its value is the page's.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::family::TinyFamily;
use crate::support::page::look_at;
use crate::support::registry::LocalRegistry;
use crate::support::vendors::Vendors;
use crate::support::xtask::{self, Ran};

/// The value and the page of `report` with these arguments.
#[track_caller]
fn report(family: &TinyFamily, args: &[&str]) -> (Value, PathBuf) {
    let page = family.places().join("home/pages/report.html");
    let file = page.display().to_string();
    let ran = family.run(&[&["report", "--format", "json", "--output", &file], args].concat()).ends(0);
    (ran.json(), page)
}

fn words(value: &Value) -> Vec<&str> {
    value.as_array().expect("a list").iter().filter_map(Value::as_str).collect()
}

fn image<'v>(report: &'v Value, variant: &str) -> &'v Value {
    let images = report["images"].as_array().expect("images");
    images.iter().find(|image| image["variant"] == variant).unwrap_or_else(|| panic!("{variant} in {report}"))
}

#[test]
fn the_page_of_a_family_in_a_browser() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    family.build(&["--all"]).ends(0);
    let (report, page) = report(&family, &["--no-registries"]);

    for tag in ["aws", "aws-web", "azure"] {
        let built = &image(&report, tag)["built"];
        assert_eq!(built["config-digest"], family.config_digest(tag), "{tag}");
        let layers = report["layers"].as_array().expect("layers");
        let of =
            |letter: &&str| layers.iter().find(|layer| layer["letter"] == **letter).expect("it is listed")["diff-id"].clone();
        let letters = words(&built["layers"]);
        assert_eq!(letters.iter().map(of).collect::<Vec<_>>(), family.diff_ids(tag), "{tag}");
    }
    let lowest = &report["layers"][0];
    assert_eq!(words(&lowest["images"]), ["aws", "aws-web", "azure"], "the base is in all of them");
    let made: Vec<&str> =
        report["layers"].as_array().expect("layers").iter().filter_map(|layer| layer["step"].as_str()).collect();
    assert!(
        ["base", "aws", "aws + runner", "aws finished", "aws-web", "azure"].iter().all(|step| made.contains(step)),
        "{made:?}"
    );

    let run = &report["build"]["run"];
    assert_eq!(run["outcome"], "done", "{run}");
    let steps = run["steps"].as_array().expect("steps");
    let step = |name: &str| steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("{name} in {run}"));
    assert!(step("base")["end"].as_f64() <= step("aws")["begin"].as_f64(), "a parent ends before its child begins");
    assert!(!step("base")["instructions"].as_array().expect("instructions").is_empty(), "{run}");

    look_at(&page, &report, "report-tiny");
}

#[test]
fn the_page_lies_in_target_and_its_path_is_printed() {
    let family = TinyFamily::new();
    let ran = family.run(&["report", "--variant", "aws", "--no-registries"]).ends(0);
    let page = PathBuf::from(ran.stdout.trim());
    assert!(page.ends_with("target/gantry-report.html"), "{}", ran.stdout);
    let text = fs::read_to_string(family.root().join(page)).expect("the page");
    assert!(text.starts_with("<!DOCTYPE html>") && text.contains("Not built."), "{text}");
    // As data alone, nothing is written.
    fs::remove_dir_all(family.root().join("target")).expect("removed");
    let value = family.run(&["report", "--format", "json", "--no-registries"]).ends(0).json();
    assert_eq!((&value["schema"], value["images"].as_array().map(Vec::len)), (&1.into(), Some(3)));
    assert!(!family.root().join("target").exists());
}

#[test]
fn destinations_are_asked_and_what_does_not_answer_is_told() {
    let family = TinyFamily::new();
    family.build(&["--variant", "aws"]).ends(0);
    let near = LocalRegistry::start(None);
    let to = format!("near={}", near.repository());
    let pushed = family.run(&["push", "--format", "json", "--variant", "aws", "--destination", &to]).ends(0).json();
    let digest = &pushed["images"][0]["digest"];

    let (same, _) = report(&family, &["--variant", "aws", "--destination", &to, "--destination", "far=127.0.0.1:9/image"]);
    let [one, other] = ["near", "far"].map(|name| {
        let all = same["destinations"].as_array().expect("destinations");
        all.iter().find(|destination| destination["name"] == name).expect("a destination").clone()
    });
    assert_eq!(one["asked"]["state"], "answered", "{one}");
    let tags = one["tags"].as_array().expect("tags");
    assert_eq!(tags.len(), 4, "the variant and its alias, moving and not: {tags:?}");
    assert!(tags.iter().all(|tag| tag["digest"] == *digest && tag["remembered"][0] == *digest), "{tags:?}");
    let revision = family.git(&["rev-parse", "HEAD"]);
    let says = |tag: &Value| (tag["says"]["version"].clone(), tag["says"]["revision"].clone());
    assert!(tags.iter().all(|tag| says(tag) == ("2026.11.20".into(), revision.as_str().into())), "{tags:?}");
    assert_eq!(other["asked"]["state"], "failed", "{other}");
    assert!(other["asked"]["why"].as_str().is_some_and(|why| why.contains("127.0.0.1:9")), "{other}");
    assert!(other["tags"].as_array().expect("tags").iter().all(|tag| tag["digest"].is_null()), "{other}");
    assert_eq!(same["differences"][0]["state"], "same", "{same}");

    family.replace("images/aws/Dockerfile", "RUN echo aws", "LABEL new=1\nRUN echo another aws");
    family.build(&["--variant", "aws"]).ends(0);
    let (changed, page) = report(&family, &["--variant", "aws", "--destination", &to]);
    let difference = &changed["differences"][0];
    assert_eq!((&difference["state"], &difference["digest"]), (&"different".into(), digest), "{difference}");
    assert!(difference["difference"]["configuration"].to_string().contains("\"new\""), "{difference}");
    assert!(difference["difference"]["files"]["list"].is_null(), "the list of all files is for `diff`");
    let text = fs::read_to_string(&page).expect("the page");
    assert!(text.contains(digest.as_str().expect("a digest")));
    look_at(&page, &changed, "report-changes");
}

#[test]
fn what_would_have_to_be_downloaded_is_downloaded_when_it_is_asked_for() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    let near = LocalRegistry::start(None);
    let to = format!("near={}", near.repository());
    family.run(&["push", "--variant", "azure", "--destination", &to]).ends(0);
    family.replace("images/azure/azure", "azure", "another azure");
    family.build(&["--variant", "azure"]).ends(0);
    // As on another machine, where nobody has looked into what is published.
    fs::remove_dir_all(family.places().join("cache")).expect("removed");
    let args = ["--variant", "azure", "--destination", &to];
    let (report_of, _) = report(&family, &args);
    let difference = &report_of["differences"][0];
    assert_eq!(difference["state"], "not-compared", "{difference}");
    assert!(difference["why"].as_str().is_some_and(|why| why.contains("1 layer") && why.contains("`--deep`")), "{difference}");
    let (deep, _) = report(&family, &[&args[..], &["--deep"]].concat());
    assert_eq!(deep["differences"][0]["state"], "different", "{deep}");
}

#[test]
fn without_an_engine_the_page_says_so() {
    let family = TinyFamily::new();
    let mut command = family.planning(&["report", "--format", "json", "--no-registries"]);
    command.env("DOCKER_HOST", format!("unix://{}/no.sock", family.places().display()));
    let report = Ran::ends(xtask::ran(command), 0).json();
    assert!(report["notes"].to_string().contains("no.sock"), "{report}");
    assert!(report["images"].as_array().expect("images").iter().all(|image| image["built"].is_null()), "{report}");
}

#[test]
fn an_image_from_before_a_change_is_shown_and_called_outdated() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    family.replace("images/azure/azure", "azure", "another azure");
    let (report, _) = report(&family, &["--variant", "azure", "--no-registries"]);
    let built = &image(&report, "azure")["built"];
    assert_eq!((&built["outdated"], &built["config-digest"]), (&true.into(), &family.config_digest("azure").into()));
}

#[test]
fn a_build_that_failed_is_told_as_it_went() {
    let family = TinyFamily::new();
    family.replace("images/aws/Dockerfile", "RUN echo aws", "RUN false || echo aws && exit 7 #");
    family.build(&["--all"]).ends(4);
    let (told, page) = report(&family, &["--no-registries"]);
    let run = &told["build"]["run"];
    let outcome = |name: &str| {
        let steps = run["steps"].as_array().expect("steps");
        steps.iter().find(|step| step["step"] == name).unwrap_or_else(|| panic!("{name} in {run}"))["outcome"].clone()
    };
    assert_eq!(run["outcome"], "failed");
    assert_eq!([outcome("base"), outcome("aws"), outcome("aws-web")], ["done", "failed", "skipped"]);
    let text = fs::read_to_string(page).expect("the page");
    assert!(text.contains("failed after") && text.contains("Not begun: "), "{text}");

    // A run that finds everything there hides it no more than it is the last one.
    family.replace("images/aws/Dockerfile", "RUN false || echo aws && exit 7 #", "RUN echo aws");
    family.build(&["--all"]).ends(0);
    family.build(&["--all"]).ends(0);
    let (again, _) = report(&family, &["--no-registries"]);
    assert_eq!((&again["build"]["run"]["outcome"], &again["build"]["since"]["outcome"]), (&"done".into(), &"done".into()));
    assert!(
        again["build"]["since"]["steps"].as_array().is_some_and(|steps| steps.iter().all(|step| step["outcome"] == "up-to-date"))
    );
}
