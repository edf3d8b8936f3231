//! Comparisons of images made by hand.

use std::cmp::Ordering;

use super::made::{file, image, layer, package, with_packages, without};
use super::{Aspect, SettingKind, compare, version};
use crate::contents::{EntryKind, Package, PackageKind};
use PackageKind::{Debian, Npm, Pin, Python};

#[test]
fn which_version_is_newer() {
    for (kind, versions) in [
        (
            Debian,
            [
                "1.0~~",
                "1.0~rc1-1",
                "1.0",
                "1.0-1",
                "1.0-1+deb13u1",
                "1.0-1.1",
                "1.0a",
                "1.0+dfsg-1",
                "1.2",
                "1.10",
                "1:0.1",
                "2:0",
            ]
            .as_slice(),
        ),
        (Debian, &["2.41-12~bpo12+1", "2.41-12", "2.41-12+b1", "20240101"]),
        (
            Python,
            &[
                "0.9",
                "1.dev0",
                "1.0a1.dev1",
                "1.0a1",
                "1.0b2",
                "1.0rc1",
                "1.0",
                "1.0+abc",
                "1.0+abc.5",
                "1.0+5",
                "1.0-1",
                "1.0.post2.dev1",
                "1.0.post2",
                "1.0.1",
                "1.1",
                "1.10",
                "2026.1",
                "1!0.1",
            ],
        ),
        (
            Npm,
            &[
                "1.0.0-0",
                "1.0.0-alpha",
                "1.0.0-alpha.1",
                "1.0.0-alpha.beta",
                "1.0.0-beta.2",
                "1.0.0-beta.11",
                "1.0.0-rc.1",
                "1.0.0",
                "1.0.1",
                "1.2.0",
                "1.10.0",
                "99999999999999999999.0.0",
            ],
        ),
        (Pin, &["2.99.0", "2.328.0", "2.328.0.1", "v3", "2026.4.0"]),
    ] {
        for (at, older) in versions.iter().enumerate() {
            for newer in versions.iter().skip(at + 1) {
                assert_eq!(version::compare(kind, older, newer), Some(Ordering::Less), "{older} {newer}");
                assert_eq!(version::compare(kind, newer, older), Some(Ordering::Greater), "{newer} {older}");
            }
        }
    }
}

#[test]
fn versions_that_are_the_same_or_cannot_be_compared() {
    for (kind, one, other) in [
        (Debian, "1.0", "1.0-0"),
        (Debian, "0:1.0", "1.00"),
        (Python, "1.0", "1.0.0"),
        (Python, "1.0-alpha.1", "1a1"),
        (Python, "v1.0-r4", "1.0.post4"),
        (Npm, "1.2.3+one", "1.2.3+other"),
    ] {
        assert_eq!(version::compare(kind, one, other), Some(Ordering::Equal), "{one} {other}");
    }
    let commits = ["110a328ea54b42367b803ec53ee0bf52ef26b419", "1234567890123456789012345678901234567890"];
    assert_eq!(version::compare(Pin, commits[0], commits[1]), None);
    assert_eq!(version::compare(Pin, commits[0], "1.0"), None);
    assert_eq!(version::compare(Python, "git-head", "1.0"), None);
}

/// `upgraded libc6 1-1 2-1`, each.
fn told(before: Vec<Package>, after: Vec<Package>) -> Vec<String> {
    let difference = compare(&with_packages(before), &with_packages(after));
    let version = |side: &Option<super::Installed>| side.as_ref().map_or("-".to_owned(), |side| side.version.clone());
    let tell = |change: &super::PackageChange| {
        format!("{:?} {} {} {}", change.change, change.name, version(&change.before), version(&change.after))
    };
    difference.packages.iter().map(tell).collect()
}

#[test]
fn packages_that_came_went_or_are_another_version() {
    let deb = |name: &str, version: &str| package(Debian, name, version, "");
    let before = vec![deb("gone", "1"), deb("libc6", "2.9-1"), deb("same", "1"), deb("down", "1:1"), deb("odd", "1.0")];
    let after = vec![deb("come", "1"), deb("libc6", "2.10-1"), deb("same", "1"), deb("down", "2"), deb("odd", "1.00")];
    let expected =
        ["Added come - 1", "Removed gone 1 -", "Upgraded libc6 2.9-1 2.10-1", "Downgraded down 1:1 2", "Replaced odd 1.0 1.00"];
    assert_eq!(told(before, after), expected);
}

#[test]
fn several_versions_of_one_package_side_by_side() {
    let npm = |version: &str, place: &str| package(Npm, "ms", version, place);
    for (what, before, after, expected) in [
        ("one is nested anew", vec![npm("2.0.0", "a")], vec![npm("2.0.0", "a"), npm("2.1.3", "b")], vec!["Added ms - 2.1.3"]),
        (
            "one of two is taken out",
            vec![npm("2.0.0", "a"), npm("2.1.3", "b")],
            vec![npm("2.1.3", "b")],
            vec!["Removed ms 2.0.0 -"],
        ),
        (
            "each is upgraded at its place",
            vec![npm("1.0.0", "a"), npm("2.0.0", "b")],
            vec![npm("2.1.3", "a"), npm("1.0.1", "b")],
            vec!["Upgraded ms 1.0.0 2.1.3", "Downgraded ms 2.0.0 1.0.1"],
        ),
        (
            "elsewhere, the newest becomes the newest",
            vec![npm("1.0.0", "a"), npm("2.0.0", "b")],
            vec![npm("2.1.3", "c")],
            vec!["Removed ms 1.0.0 -", "Upgraded ms 2.0.0 2.1.3"],
        ),
        ("it lies elsewhere", vec![npm("2.0.0", "a")], vec![npm("2.0.0", "b")], vec!["Moved ms 2.0.0 2.0.0"]),
        ("one copy more", vec![npm("2.0.0", "a")], vec![npm("2.0.0", "a"), npm("2.0.0", "b")], vec!["Moved ms 2.0.0 2.0.0"]),
        (
            "the other way round in the list",
            vec![npm("2.0.0", "a"), npm("1.0.0", "b")],
            vec![npm("1.0.0", "b"), npm("2.0.0", "a")],
            vec![],
        ),
    ] {
        assert_eq!(told(before, after), expected, "{what}");
    }
}

#[test]
fn packages_that_are_made_anew() {
    let base = package(Debian, "libc6", "2.41-1", "");
    let of = |architecture: &str| Package { architecture: Some(architecture.to_owned()), ..base.clone() };
    let pin = |origin: &str| Package { origin: Some(origin.to_owned()), ..package(Pin, "runner", "2.0", "") };
    let python = |bytes| Package { bytes, ..package(Python, "boto3", "1.0", "opt/aws") };
    for (what, before, after, expected) in [
        ("another architecture", vec![of("all")], vec![of("amd64")], vec!["Rebuilt libc6 2.41-1 2.41-1"]),
        ("one more architecture", vec![of("amd64")], vec![of("amd64"), of("i386")], vec!["Added libc6 - 2.41-1"]),
        ("another size", vec![base.clone()], vec![Package { bytes: 7, ..base.clone() }], vec!["Rebuilt libc6 2.41-1 2.41-1"]),
        ("another origin", vec![pin("sha256:1")], vec![pin("sha256:2")], vec!["Rebuilt runner 2.0 2.0"]),
        ("Python compiles at the first use", vec![python(10)], vec![python(20)], vec![]),
    ] {
        assert_eq!(told(before, after), expected, "{what}");
    }
    let (one, mut other) = (with_packages(vec![of("amd64")]), with_packages(vec![of("arm64")]));
    other.config.platform = "linux/arm64".to_owned();
    let difference = compare(&one, &other);
    assert_eq!(difference.packages, [], "for another platform, which is told once");
    assert_eq!(difference.configuration[0].kind, SettingKind::Platform);
}

#[test]
fn the_packages_that_differ_most_in_size_come_first() {
    let of = |name: &str, bytes, place: &str| Package { bytes, ..package(Python, name, "1", place) };
    let before = vec![of("less", 500, "a"), of("same", 1, "a"), of("gone", 40, "a")];
    let after = vec![of("less", 100, "a"), of("same", 1, "a"), of("twice", 300, "a"), of("twice", 300, "b")];
    let difference = compare(&with_packages(before), &with_packages(after));
    let grown: Vec<_> = difference.sizes.grown.iter().map(|grown| (grown.name.as_str(), grown.before, grown.after)).collect();
    assert_eq!(grown, [("twice", 0, 600), ("less", 500, 100), ("gone", 40, 0)]);
    assert_eq!((difference.counts[&Python].before, difference.counts[&Python].after), (3, 4));
}

#[test]
fn what_a_package_says_of_its_size_may_be_anything() {
    let of = |version: &str, place: &str| Package { bytes: u64::MAX, ..package(Npm, "liar", version, place) };
    let after = with_packages(vec![of("1.0.0", "a"), of("1.0.0", "b"), of("2.0.0", "c")]);
    let difference = compare(&image(), &after);
    assert_eq!(difference.sizes.grown[0].after, u64::MAX);
    assert!(crate::output::diff::text(&difference).contains("+18446744 TB"));
}

#[test]
fn configuration_before_and_after() {
    let mut before = image();
    before.config.run.env =
        vec!["PATH=/bin".into(), "API_TOKEN=one".into(), "OLD_SECRET=x".into(), "SAME=1".into(), "EMPTY=".into()];
    before.config.run.user = "root".into();
    before.config.run.exposed_ports = [("22/tcp".to_owned(), serde_json::json!({}))].into();
    before.config.labels = [("a".to_owned(), "1".to_owned()), ("same".to_owned(), "1".to_owned())].into();
    let mut after = image();
    after.config.run.env = vec!["PATH=/bin:/opt".into(), "API_TOKEN=other".into(), "SAME=1".into()];
    after.config.run.entrypoint = vec!["/e".into(), "--password=x".into()];
    after.config.run.working_dir = "/home".into();
    after.config.run.healthcheck = Some(serde_json::json!({ "Test": ["CMD", "/e"] }));
    after.config.labels = [("same".to_owned(), "1".to_owned()), ("b".to_owned(), "2".to_owned())].into();
    let difference = compare(&before, &after);
    let told: Vec<_> = difference
        .configuration
        .iter()
        .map(|setting| {
            let [before, after] = [&setting.before, &setting.after].map(|value| value.as_deref().unwrap_or("-"));
            format!("{:?} {} {before} {after}", setting.kind, setting.name.as_deref().unwrap_or("-"))
        })
        .collect();
    let expected = [
        "User - root -",
        "WorkingDir - - /home",
        r#"Entrypoint - - ["/e","--password=…"#,
        "Port 22/tcp set -",
        r#"HealthCheck - - {"Test":["CMD","/e"]}"#,
        "Environment API_TOKEN … …",
        "Environment EMPTY  -",
        "Environment OLD_SECRET … -",
        "Environment PATH /bin /bin:/opt",
        "Label a 1 -",
        "Label b - 2",
    ];
    assert_eq!(told, expected);
    let json = serde_json::to_string(&difference).expect("JSON");
    assert!(!json.contains("one") && !json.contains("other"), "{json}");
}

#[test]
fn layers_that_both_share() {
    let base = layer(layer(image(), "gantry", &[("bin/sh", "sh")]), "RUN |1 X_TOKEN=7 /bin/sh -c a # buildkit", &[("a", "aa")]);
    let before = layer(layer(base.clone(), "COPY old", &[("b", "old")]), "COPY rootfs/ /", &[("entrypoint", "e")]);
    let mut after = layer(layer(base, "COPY new", &[("b", "new!"), ("c", "")]), "RUN more", &[("d", "dddd")]);
    after.config.history.push(crate::oci::Instruction { created_by: "ENV A=b".to_owned(), empty_layer: true });
    let after = layer(after, "COPY rootfs/ /", &[("entrypoint", "e")]);
    let difference = compare(&before, &after);
    let layers = &difference.layers;
    assert_eq!(layers.common_base, 2);
    let places: Vec<_> = layers.shared.iter().map(|line| (line.before, line.after)).collect();
    assert_eq!(places, [(Some(0), Some(0)), (Some(1), Some(1)), (Some(3), Some(4))]);
    assert_eq!(layers.shared[1].instruction.as_deref(), Some("RUN |1 X_TOKEN=… /bin/sh -c a"));
    let only = |lines: &[super::LayerLine]| -> Vec<_> {
        lines.iter().map(|line| (line.instruction.clone().unwrap_or_default(), line.size.content, line.size.compressed)).collect()
    };
    assert_eq!(only(&layers.only_before), [("COPY old".to_owned(), 3, Some(257))]);
    assert_eq!(only(&layers.only_after), [("COPY new".to_owned(), 4, Some(514)), ("RUN more".to_owned(), 4, Some(258))]);
    assert_eq!((difference.sizes.before.content, difference.sizes.after.content), (2 + 2 + 3 + 1, 2 + 2 + 4 + 4 + 1));
}

#[test]
fn layers_that_are_there_twice_or_in_another_order() {
    let (a, b) = ([("a", "a")], [("b", "b")]);
    let twice = layer(layer(layer(image(), "A", &a), "B", &b), "A", &a);
    let once = layer(layer(image(), "B", &b), "A", &a);
    let layers = compare(&twice, &once).layers;
    assert_eq!((layers.common_base, layers.shared.len(), layers.only_before.len(), layers.only_after.len()), (0, 2, 1, 0));
    let turned = layer(layer(image(), "A", &a), "B", &b);
    assert!(!compare(&turned, &once).is_empty());
    assert!(compare(&turned, &turned.clone()).is_empty());
}

#[test]
fn a_history_that_does_not_fit_the_layers_tells_nothing() {
    let mut odd = layer(image(), "COPY a", &[("a", "a")]);
    odd.config.history.push(crate::oci::Instruction { created_by: "RUN b".to_owned(), empty_layer: false });
    assert_eq!(compare(&odd, &odd.clone()).layers.shared[0].instruction, None);
}

#[test]
fn what_compressed_bytes_are_not_known_of_has_no_sum() {
    let mut one = layer(layer(image(), "A", &[("a", "a")]), "B", &[("b", "b")]);
    one.layers[0].1 = None;
    let difference = compare(&one, &one.clone());
    assert_eq!((difference.sizes.before.compressed, difference.sizes.before.content), (None, 2));
}

#[test]
fn what_a_later_layer_hides_is_not_there() {
    let lower = layer(image(), "A", &[("etc/a", "1"), ("etc/b", "2"), ("opt/x/y", "3"), ("v/w", "5")]);
    let upper = without(layer(lower, "B", &[("etc/b", "new"), ("v/new", "6")]), &["etc/a", "opt/x"], &["v"]);
    let flat = layer(image(), "C", &[("etc/b", "new"), ("v/new", "6")]);
    let difference = compare(&upper, &flat);
    assert_eq!(difference.files.list, Some(vec![]));
    assert_eq!((difference.sizes.before.content, difference.sizes.after.content), (8, 4));
}

#[test]
fn files_that_are_not_the_same() {
    let before =
        layer(image(), "A", &[("same", "1"), ("gone", "12"), ("text", "123"), ("mode", "m"), ("owner", "o"), ("kind", "")]);
    let mut after =
        layer(image(), "B", &[("same", "1"), ("come", "12345"), ("text", "1234"), ("mode", "m"), ("owner", "o"), ("kind", "")]);
    let layer = std::sync::Arc::make_mut(&mut after.layers[0].0);
    for entry in &mut layer.entries {
        match entry.path.as_str() {
            "mode" => entry.mode = 0o755,
            "owner" => entry.uid = 1000,
            "kind" => entry.kind = EntryKind::Link,
            _ => {}
        }
    }
    let files = compare(&before, &after).files;
    let told: Vec<_> =
        files.list.iter().flatten().map(|file| (file.path.as_str(), file.before, file.after, file.what.clone())).collect();
    let expected = [
        ("come", None, Some(5), vec![]),
        ("gone", Some(2), None, vec![]),
        ("kind", Some(0), Some(0), vec![Aspect::Kind]),
        ("mode", Some(1), Some(1), vec![Aspect::Mode]),
        ("owner", Some(1), Some(1), vec![Aspect::Owner]),
        ("text", Some(3), Some(4), vec![Aspect::Content]),
    ];
    assert_eq!(told, expected);
    let total = files.total;
    assert_eq!((total.added.after, total.removed.before, total.changed.number), (5, 2, 4));
    assert_eq!((total.changed.before, total.changed.after), (5, 6));
}

#[test]
fn a_hard_link_is_the_file_that_it_names() {
    let before = layer(image(), "A", &[("a", "text"), ("b", "text")]);
    let mut after = layer(image(), "B", &[("a", "text"), ("b", "text"), ("c", "")]);
    let layer = std::sync::Arc::make_mut(&mut after.layers[0].0);
    layer.entries[1] =
        crate::contents::Entry { kind: EntryKind::HardLink, bytes: 0, content: "of the name a".to_owned(), ..file("b", "") };
    let paths: Vec<_> = compare(&before, &after).files.list.into_iter().flatten().map(|file| file.path).collect();
    assert_eq!(paths, ["c"]);
}
