//! Pins and downloads: the default profile against a double of the vendors' hosts.

use std::fs;

use crate::support::family::TinyFamily;
use crate::support::vendors::{RUNNER_VERSION, Trouble, Vendors};
use crate::support::xtask::ran;
use xtask::oci::Digest;

const DOWNLOAD: &str = "/releases/download/";
const VARIANT: [&str; 2] = ["--variant", "azure"];

/// Names of the files that the cache holds for downloads, unfinished ones included.
fn cached(family: &TinyFamily) -> Vec<String> {
    let files = fs::read_dir(family.places().join("cache/artifacts")).expect("the cache").flatten();
    files.map(|file| file.file_name().to_string_lossy().into_owned()).collect()
}

fn download(vendors: &Vendors) -> (String, Vec<u8>) {
    let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "x64" };
    let file = format!("actions-runner-linux-{arch}-{RUNNER_VERSION}.tar.gz");
    let url = format!("https://github.com/actions/runner/releases/download/v{RUNNER_VERSION}/{file}");
    let bytes = vendors.file(&url);
    (url, bytes)
}

#[test]
fn unlocked_pins_are_resolved_and_written_and_locked_builds_then_pass() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    family.build(&VARIANT).ends(0);
    let lock = family.read("variants.lock").expect("the lock is written");
    let (url, bytes) = download(&vendors);
    for part in [&url, &Digest::of(&bytes).to_string(), &family.base(), &family.name] {
        assert!(lock.contains(part.as_str()), "{part} in\n{lock}");
    }
    family.commit();
    family.build(&VARIANT).ends(0);

    let asked = vendors.requests().len();
    let again = family.build(&["--variant", "azure", "--locked"]).ends(0);
    assert_eq!(again.steps_that_are("up-to-date"), ["azure finished"]);
    let mut in_ci = family.planning(&["build", "--variant", "azure"]);
    in_ci.env("CI", "true");
    ran(in_ci).ends(0);
    assert_eq!(vendors.requests().len(), asked, "nobody was asked again");
    assert_eq!(family.read("variants.lock").as_ref(), Some(&lock));
    assert_eq!(family.git(&["status", "--porcelain"]), "");
}

#[test]
fn a_locked_build_refuses_pins_that_the_lock_lacks() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    let refused = family.run(&["build", "--variant", "azure", "--locked"]).ends(2);
    refused.says(&["lacks pin `runner`", &family.base(), "--locked", "hint:"]);
    let mut in_ci = family.planning(&["build", "--variant", "azure"]);
    in_ci.env("CI", "true");
    ran(in_ci).ends(2);
    assert_eq!(family.read("variants.lock"), None);
    assert!(vendors.requests().is_empty() && family.tags().is_empty());
}

#[test]
fn a_plan_resolves_for_itself_and_writes_nothing() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    let plan = family.run(&["plan", "--all"]).ends(0);
    assert!(plan.stdout.contains(&download(&vendors).0), "{}", plan.stdout);
    assert_eq!(family.read("variants.lock"), None);
}

#[test]
fn other_bytes_than_the_pinned_ones_are_refused_and_not_kept() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    vendors.trouble(DOWNLOAD, Trouble::WrongBytes, usize::MAX);
    let refused = family.run(&["build", "--variant", "azure"]).ends(8);
    let bytes = download(&vendors).1;
    let wrong: Vec<u8> = bytes.iter().map(|byte| byte ^ 0xff).collect();
    refused.says(&[&Digest::of(&bytes).to_string(), &Digest::of(&wrong).to_string(), "hint:"]);
    assert_eq!(cached(&family), Vec::<String>::new());
    assert!(!family.tags().contains(&format!("{}:azure", family.name)), "{:?}", family.tags());
}

#[test]
fn a_log_in_page_instead_of_the_file_is_called_one() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    vendors.trouble(DOWNLOAD, Trouble::Html, usize::MAX);
    family.run(&["build", "--variant", "azure"]).ends(8).says(&["a web page came", "proxy"]);
    assert_eq!(cached(&family), Vec::<String>::new());
}

#[test]
fn a_cut_download_goes_on_where_it_ended() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    vendors.trouble(DOWNLOAD, Trouble::Cut { after: 1000 }, 1);
    family.build(&VARIANT).ends(0);
    let requests = vendors.requests_of(DOWNLOAD);
    let ranges: Vec<_> = requests.iter().map(|request| request.headers.get("range").map(String::as_str)).collect();
    assert_eq!(ranges, [None, Some("bytes=1000-")]);
}

#[test]
fn a_vendor_that_cannot_be_reached_is_missing_and_the_hint_says_what_helps() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    family.replace("variants.toml", &vendors.url(), "http://127.0.0.1:9");
    let failed = family.run(&["build", "--variant", "azure"]).ends(3);
    failed.says(&["cannot resolve `runner`", "cannot reach", "[mirrors]", "--profile offline"]);
    assert_eq!(family.read("variants.lock"), None);
}

#[test]
fn a_download_that_vanished_after_it_was_locked_is_missing() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    vendors.trouble(DOWNLOAD, Trouble::Status(404, Vec::new()), usize::MAX);
    let failed = family.run(&["build", "--variant", "azure"]).ends(3);
    failed.says(&["`artifact runner`", "404", "hint:"]);
}

#[test]
fn a_pin_without_a_published_digest_is_an_error_and_not_a_guess() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    let (url, _) = download(&vendors);
    let name = url.rsplit('/').next().expect("a name");
    let asset = serde_json::json!({ "name": name, "browser_download_url": url });
    let release = serde_json::json!({ "tag_name": format!("v{RUNNER_VERSION}"), "assets": [asset], "body": "" });
    vendors.trouble("/releases/tags/", Trouble::Body(release.to_string()), usize::MAX);
    let failed = family.run(&["build", "--variant", "azure"]).ends(3);
    failed.says(&["no digest is published", "never guesses"]);
    assert_eq!(family.read("variants.lock"), None);
    assert!(vendors.requests_of(DOWNLOAD).is_empty());
}

#[test]
fn a_new_runner_rebuilds_its_layer_and_what_is_on_it() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    family.build(&VARIANT).ends(0);
    vendors.publish_runner("2.338.0");
    family.replace("variants.toml", RUNNER_VERSION, "2.338.0");
    let built = family.build(&VARIANT).ends(0);
    assert_eq!(built.steps_that_are("done"), ["artifact runner", "azure + runner", "azure finished", "entrypoint"]);
    assert_eq!(family.inspect("azure")["Config"]["Labels"]["gantry.pin.runner"], "2.338.0");
    let lock = family.read("variants.lock").expect("the lock");
    assert!(lock.contains("2.338.0") && !lock.contains(RUNNER_VERSION), "{lock}");
}

#[test]
fn a_download_that_was_damaged_in_the_cache_comes_again() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    family.build(&VARIANT).ends(0);
    let before = family.diff_ids("azure");
    let file = family.places().join("cache/artifacts").join(&cached(&family)[0]);
    fs::write(&file, "damaged").expect("written");
    ran(family.command(&["clean", "--images"])).ends(0);
    let again = family.build(&VARIANT).ends(0);
    let warnings = again.events_of("warning");
    assert!(warnings[0]["text"].as_str().is_some_and(|text| text.contains("damaged in the cache")), "{warnings:?}");
    assert_eq!(vendors.requests_of(DOWNLOAD).len(), 2);
    assert_eq!(family.diff_ids("azure"), before, "the same to the byte");
}
