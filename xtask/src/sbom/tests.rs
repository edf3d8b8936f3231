//! The document of an image by hand.

use serde_json::{Value, json};

use super::*;
use crate::contents::{System, assemble};
use crate::oci::ImageConfig;

fn package(kind: PackageKind, name: &str, version: &str) -> Package {
    Package {
        kind,
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: None,
        place: None,
        bytes: 0,
        license: None,
        source: None,
        origin: None,
    }
}

fn debian() -> System {
    System { id: "debian".to_owned(), version: Some("13".to_owned()), name: "Debian GNU/Linux 13 (trixie)".to_owned() }
}

#[test]
fn names_that_other_tools_know() {
    use PackageKind::{Collection, Crate, Debian, Npm, Pin, Python};
    let git = Package {
        architecture: Some("amd64".to_owned()),
        source: Some("openssl 3.5".to_owned()),
        ..package(Debian, "libssl3t64", "1:2.47~rc1-1+b2")
    };
    for (package, expected) in [
        (git, "pkg:deb/debian/libssl3t64@1:2.47~rc1-1%2Bb2?arch=amd64&distro=debian-13&upstream=openssl"),
        (package(Python, "ruamel-yaml", "0.18"), "pkg:pypi/ruamel-yaml@0.18"),
        (package(Npm, "@vscode/ripgrep", "1.15.0"), "pkg:npm/%40vscode/ripgrep@1.15.0"),
        (package(Npm, "semver", "7.0.0"), "pkg:npm/semver@7.0.0"),
        (package(Collection, "amazon.aws", "9.0.0"), "pkg:generic/ansible-collection/amazon.aws@9.0.0"),
        (package(Pin, "code-server", "4.139.1"), "pkg:generic/code-server@4.139.1"),
        (package(Crate, "nix", "0.31.0"), "pkg:cargo/nix@0.31.0"),
    ] {
        assert_eq!(purl(&package, Some(&debian())), expected);
    }
    assert_eq!(purl(&package(Debian, "git", "1"), None), "pkg:deb/debian/git@1");
}

#[test]
fn licences() {
    let told = |kind, words: &str| serde_json::to_value(licenses(kind, words)).unwrap();
    use PackageKind::{Debian, Npm, Python};
    for (kind, words, expected) in [
        (Python, "MIT", json!([{ "license": { "id": "MIT" } }])),
        (Python, "MIT License", json!([{ "license": { "id": "MIT" } }])),
        (Python, "BSD", json!([{ "license": { "name": "BSD" } }])),
        (Npm, "(MIT OR Apache-2.0)", json!([{ "expression": "(MIT OR Apache-2.0)" }])),
        (Npm, "SEE LICENSE IN LICENSE.txt", json!([{ "license": { "name": "SEE LICENSE IN LICENSE.txt" } }])),
        (Npm, "MIT OR", json!([{ "license": { "name": "MIT OR" } }])),
        (
            Debian,
            "Expat, GPL-2+, odd",
            json!([
                { "license": { "id": "MIT" } }, { "license": { "id": "GPL-2.0-or-later" } }, { "license": { "name": "odd" } },
            ]),
        ),
    ] {
        assert_eq!(told(kind, words), expected, "{words}");
    }
}

fn contents(created: &str) -> Contents {
    let config = json!({
        "os": "linux", "architecture": "amd64",
        "config": { "Labels": {
            "gantry.family": "f", "gantry.variant": "v", "org.opencontainers.image.version": "2026.11.20",
            "org.opencontainers.image.created": created, "gantry.pin.p": "1",
        } },
        "rootfs": { "diff_ids": [] },
    });
    let config = serde_json::to_vec(&config).unwrap();
    let mut contents = assemble(Digest::of(&config), ImageConfig::read(&config).unwrap(), Vec::new());
    let placed = |place: &str| Package { place: Some(place.to_owned()), bytes: 7, ..package(PackageKind::Python, "a", "1") };
    contents.packages.extend([placed("opt/x"), placed("opt/y"), placed("opt/y")]);
    contents.system = Some(debian());
    contents
}

#[test]
fn the_same_image_makes_the_same_document_and_another_one_another() {
    let one = cyclonedx(&contents("2026-11-20T00:00:00Z"));
    assert_eq!(one, cyclonedx(&contents("2026-11-20T00:00:00Z")));
    let other = cyclonedx(&contents("no time"));
    let [one, other]: [Value; 2] = [one, other].map(|bytes| serde_json::from_slice(&bytes).unwrap());
    assert_ne!(one["serialNumber"], other["serialNumber"]);
    assert_eq!(one["metadata"]["timestamp"], "2026-11-20T00:00:00Z");
    assert_eq!(other["metadata"]["timestamp"], Value::Null);
    assert_eq!(one["metadata"]["component"]["name"], "f-v");
    let refs: Vec<_> = one["components"].as_array().unwrap().iter().map(|component| &component["bom-ref"]).collect();
    let expected = ["os:debian", "pkg:generic/p@1", "pkg:pypi/a@1#opt/x", "pkg:pypi/a@1#opt/y", "pkg:pypi/a@1#opt/y#2"];
    assert_eq!(refs, expected);
    assert_eq!(one["dependencies"], json!([{ "ref": "image", "dependsOn": expected }]));
    assert_eq!(one["components"][2]["evidence"]["occurrences"][0]["location"], "/opt/x");
}

#[test]
fn what_a_document_says_otherwise_than_the_image_is() {
    let contents = contents("2026-11-20T00:00:00Z");
    let ours: Value = serde_json::from_slice(&cyclonedx(&contents)).unwrap();
    type Edit = fn(&mut Value);
    let cases: [(Edit, Option<&str>); 9] = [
        (|_| {}, None),
        // Of an older version of this program: other fields, other qualifiers, another order.
        (
            |of| {
                of["components"].as_array_mut().unwrap().reverse();
                of["specVersion"] = "1.5".into();
                of["components"][0]["purl"] = "pkg:pypi/a@1?arch=all".into();
                of["components"][1]["licenses"] = json!([]);
            },
            None,
        ),
        (|of| drop(of["metadata"]["component"]["hashes"].take()), Some("it is no CycloneDX: ")),
        (|of| drop(of["metadata"].as_object_mut().unwrap().remove("component")), None),
        (
            |of| of["metadata"]["component"]["hashes"][0]["content"] = "00\u{1b}11".into(),
            Some("it is of another image, sha256:0011"),
        ),
        (
            |of| of["components"][1]["purl"] = "pkg:generic/p@2".into(),
            Some("it lists what is not in the image: `pkg:generic/p@2`, and leaves out what is: `pkg:generic/p@1`"),
        ),
        (|of| drop(of["components"].as_array_mut().unwrap().remove(1)), Some("it leaves out what is: `pkg:generic/p@1`")),
        (
            |of| {
                let more = (0..5).map(|n| json!({ "purl": format!("pkg:deb/debian/x{n}@1") }));
                of["components"].as_array_mut().unwrap().extend(more);
            },
            Some(
                "it lists what is not in the image: `pkg:deb/debian/x0@1`, `pkg:deb/debian/x1@1`, `pkg:deb/debian/x2@1` and 2 more",
            ),
        ),
        (|of| of["bomFormat"] = "SPDX".into(), Some("it is no CycloneDX but `SPDX`")),
    ];
    for (number, (edit, expected)) in cases.into_iter().enumerate() {
        let mut document = ours.clone();
        edit(&mut document);
        let found = untrue(&serde_json::to_vec(&document).unwrap(), &contents);
        let same = match (&found, expected) {
            (Some(found), Some(expected)) => found.starts_with(expected),
            (None, None) => true,
            _ => false,
        };
        assert!(same, "case {number}: {found:?}");
    }
}
