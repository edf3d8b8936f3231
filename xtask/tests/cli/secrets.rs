//! A CA bundle is there while a build runs, and nowhere afterwards.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use xtask::oci::Digest;

use crate::support::family::TinyFamily;
use crate::support::registry::run;
use crate::support::xtask::ran;

const CANARY: &str = "canary-7Qx9-of-a-company";

/// A certificate of our own, with a comment that is found wherever the file went.
fn bundle(folder: &Path) -> PathBuf {
    let (key, file) = (folder.join("key.pem"), folder.join("ca.pem"));
    let text = |path: &Path| path.display().to_string();
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1", "-subj", "/CN=A Company"];
    run("openssl", &[&["req", "-x509", "-keyout", &text(&key), "-out", &text(&file)], &curve[..]].concat());
    let certificate = fs::read_to_string(&file).expect("the certificate");
    fs::write(&file, format!("# {CANARY}\n{certificate}")).expect("written");
    file
}

/// Every file below `folder` that has the canary in it.
fn found(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for item in fs::read_dir(folder).expect("a folder").flatten() {
        let path = item.path();
        if path.is_dir() {
            found.extend(self::found(&path));
        } else if has_canary(&fs::read(&path).unwrap_or_default()) {
            found.push(path);
        }
    }
    found
}

fn has_canary(bytes: &[u8]) -> bool {
    bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes())
}

/// An export with its layers uncompressed: containerd's store hands them out as it keeps them.
fn unpacked(export: &[u8]) -> Vec<u8> {
    let mut seen = Vec::new();
    for entry in tar::Archive::new(export).entries().expect("an export is a tar archive") {
        let mut bytes = Vec::new();
        entry.expect("an entry").read_to_end(&mut bytes).expect("its bytes");
        if bytes.starts_with(&[0x1f, 0x8b]) {
            flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut seen).expect("a gzip stream");
        } else {
            seen.extend(bytes);
        }
    }
    seen
}

#[test]
fn a_ca_bundle_is_a_secret_of_builds_and_in_no_layer_history_or_log() {
    let family = TinyFamily::new();
    family.azure_also("RUN --mount=type=secret,id=ca sha256sum < /run/secrets/ca > /seen && cat /seen");
    let outside = tempfile::tempdir().expect("a folder");
    let file = bundle(outside.path());
    let path = file.display().to_string();
    let built = family.build(&["--variant", "azure", "--ca-bundle", &path]).ends(0);

    let digest = Digest::of(fs::read(&file).expect("the bundle")).hex();
    assert!(family.container("azure", &["/bin/cat", "/seen"]).contains(&digest), "the build saw it");
    assert_eq!(family.inspect("azure")["Config"]["Labels"]["gantry.ca-bundle"], "host");
    assert_eq!(built.events_of("warning").len(), 1, "it is said that these images are not for publishing");

    let tags = family.tags();
    let saved = outside.path().join("saved.tar");
    let names: Vec<&str> = tags.iter().map(String::as_str).collect();
    run("docker", &[&["save", "-o", &saved.display().to_string()], &names[..]].concat());
    let seen = unpacked(&fs::read(&saved).expect("the export"));
    assert!(seen.windows(64).any(|window| window == digest.as_bytes()), "what the build wrote is seen in it");
    assert!(!has_canary(&seen), "a layer or a config has the bundle");
    for tag in &tags {
        let history = run("docker", &["history", "--no-trunc", tag]);
        assert!(!history.contains(CANARY), "{history}");
    }
    assert!(!built.stdout.contains(CANARY) && !built.stderr.contains(CANARY));
    let below = family.places();
    assert_eq!(found(&below), Vec::<PathBuf>::new(), "logs, cache, state");

    // Another bundle, the same images; without one they are others.
    let again = family.build(&["--variant", "azure", "--ca-bundle", &path]).ends(0);
    assert_eq!(again.steps_that_are("up-to-date"), ["azure finished"]);
}

#[test]
fn images_with_a_bundle_that_the_file_does_not_name_are_not_published() {
    let family = TinyFamily::new();
    let outside = tempfile::tempdir().expect("a folder");
    let path = bundle(outside.path()).display().to_string();
    family.build(&["--variant", "azure", "--ca-bundle", &path]).ends(0);
    let args = ["push", "--variant", "azure", "--ca-bundle", &path, "--dry-run"];
    let refused = family.run(&[&args[..], &["--destination", "far=registry.invalid/x"]].concat()).ends(8);
    refused.says(&["CA bundle", "`ca-bundle` in variants.toml"]);
    family.run(&args).ends(0);
}

#[test]
fn a_bundle_that_the_file_names_is_used_and_may_be_published() {
    let family = TinyFamily::new();
    fs::copy(bundle(&family.places()), family.root().join("ca.pem")).expect("copied");
    family.replace("variants.toml", "build-date =", "ca-bundle = \"ca.pem\"\nbuild-date =");
    family.azure_also("RUN --mount=type=secret,id=ca,required sha256sum < /run/secrets/ca > /seen");
    family.commit();
    let entrypoint = family.entrypoint().display().to_string();
    ran(family.command(&["build", "--variant", "azure", "--entrypoint", &entrypoint])).ends(0);
    assert_eq!(family.inspect("azure")["Config"]["Labels"]["gantry.ca-bundle"], "named");
    let push =
        ["push", "--variant", "azure", "--entrypoint", &entrypoint, "--dry-run", "--destination", "far=registry.invalid/x"];
    // Policies let it go: only the registry, which is none, stops it.
    ran(family.command(&push)).ends(6).says(&["`registry.invalid` cannot be reached"]);
}

#[test]
fn a_file_without_a_certificate_is_not_a_bundle() {
    let family = TinyFamily::new();
    let entrypoint = family.entrypoint().display().to_string();
    let failed = family.run(&["plan", "--all", "--ca-bundle", &entrypoint]);
    assert!(matches!(failed.code, Some(2 | 3)), "{failed:?}");
    failed.says(&[&entrypoint, "is not valid"]);
}
