//! `diff` of real images, beside what other programs say of them: dpkg and pip in containers, docker's history.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;
use xtask::contents::PackageKind;
use xtask::diff::version::compare;
use xtask::host::places::Places;
use xtask::host::setup::python;

use crate::docker::{docker, inspect};
use crate::family::{image, xtask};

/// Names and versions.
type Versions = BTreeSet<(String, String)>;

const PAIRS: [(&str, &str); 3] = [("aws", "azure"), ("aws", "aws-web"), ("aws-web", "azure-web")];

fn diff(before: &str, after: &str) -> Value {
    let output = xtask(&["--format", "json", "diff", &image(before), &image(after)]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a difference is JSON")
}

/// The versions of packages that only one side has, as the difference tells.
fn told(difference: &Value, kind: &str, side: &str) -> Versions {
    let changes = difference["packages"].as_array().expect("packages").iter();
    let of_kind = changes.filter(|change| change["kind"] == kind && change["change"] != "moved" && change["change"] != "rebuilt");
    let text = |value: &Value| value.as_str().map(str::to_owned);
    of_kind.filter_map(|change| Some((text(&change["name"])?, text(&change[side]["version"])?))).collect()
}

/// What `list` says that only one of the two has must be what the difference tells.
fn agrees(kind: &str, list: impl Fn(&str) -> Versions) {
    for (before, after) in PAIRS {
        let difference = diff(before, after);
        let (one, other) = (list(before), list(after));
        assert!(one.len() > 20 && other.len() > 20, "{one:?} {other:?}");
        let only = |these: &Versions, those: &Versions| these.difference(those).cloned().collect::<Versions>();
        assert_eq!(told(&difference, kind, "before"), only(&one, &other), "{kind}: {before}, not {after}");
        assert_eq!(told(&difference, kind, "after"), only(&other, &one), "{kind}: {after}, not {before}");
        let count = |side: &str| difference["counts"][kind][side].as_u64();
        assert!(count("before") >= Some(one.len() as u64), "{difference}");
        assert!(count("after") >= Some(other.len() as u64), "{difference}");
    }
}

#[test]
fn debian_packages_that_differ_are_those_of_dpkg() {
    agrees("debian", |variant| {
        let format = "${db:Status-Status} ${Package} ${Version}\n";
        let listed =
            docker(&["run", "--rm", "--network=none", "--entrypoint", "dpkg-query", &image(variant), "-W", "-f", format]);
        let line = |line: &str| {
            let mut words = line.strip_prefix("installed ")?.split(' ').map(str::to_owned);
            Some((words.next()?, words.next()?))
        };
        listed.lines().filter_map(line).collect()
    });
}

#[test]
fn python_packages_that_differ_are_those_of_pip() {
    agrees("python", pip_list);
}

/// `pip list` of every environment below /opt. (What lies in Debian's own folder is dpkg's.) The images have no pip: it is
/// lent to them.
fn pip_list(variant: &str) -> Versions {
    let places = Places::from_env(&|name| std::env::var(name).ok()).expect("a home");
    let where_pip_is = "import pip; print(pip.__path__[0])";
    let pip = Command::new(python::folder(&places).join("bin/python")).args(["-c", where_pip_is]).output();
    let pip = pip.expect("a Python with pip (`cargo xtask setup --tests`)");
    let pip = String::from_utf8(pip.stdout).expect("a path");
    let script = "for folder in /opt/*/lib/python3*/site-packages; do \
                  PYTHONPATH=/tmp /usr/bin/python3 -m pip --disable-pip-version-check list --path \"$folder\" --format freeze; done";
    let container = docker(&["create", "--network=none", "--entrypoint", "sh", &image(variant), "-c", script]);
    let container = container.trim();
    docker(&["cp", pip.trim(), &format!("{container}:/tmp/pip")]);
    let listed = Command::new("docker").args(["start", "--attach", container]).output().expect("docker runs");
    docker(&["rm", "--force", container]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let listed = String::from_utf8(listed.stdout).expect("text");
    // PEP 503: `-`, `_` and `.` are one.
    let normal =
        |name: &str| name.to_lowercase().split(['-', '_', '.']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-");
    listed.lines().filter_map(|line| line.split_once("==")).map(|(name, version)| (normal(name), version.to_owned())).collect()
}

#[test]
fn layers_and_sizes_are_those_of_docker() {
    for (before, after) in PAIRS {
        let difference = diff(before, after);
        let layers = &difference["layers"];
        let lines = ["shared", "only-before", "only-after"].map(|which| layers[which].as_array().cloned().unwrap_or_default());
        for (variant, side) in [(before, "before"), (after, "after")] {
            let image = inspect(&image(variant));
            let size = &difference["sizes"][side];
            // By its place in the image.
            let by_place: BTreeMap<u64, &Value> =
                lines.iter().flatten().filter_map(|line| Some((line[side].as_u64()?, line))).collect();
            let diff_ids: Vec<&Value> = by_place.values().map(|line| &line["diff-id"]).collect();
            assert_eq!(diff_ids, image["RootFS"]["Layers"].as_array().expect("layers").iter().collect::<Vec<_>>(), "{variant}");
            let made: Vec<u64> = by_place.values().filter_map(|line| line["size"]["content"].as_u64()).collect();
            assert_eq!(size["content"].as_u64(), Some(made.iter().sum()), "{variant}");
            let mine: Vec<u64> = made.into_iter().filter(|bytes| *bytes > 0).collect();
            let theirs = sizes_in_history(variant);
            assert_eq!(mine.get(1..), theirs.get(1..), "{variant}");
            // Of what was imported, docker adds up the letters of links, too.
            let (lowest, imported) = (mine[0], theirs[0]);
            assert!(lowest <= imported && imported - lowest < lowest / 1000, "{variant}: {lowest} {imported}");
            let tar: u64 = by_place.values().filter_map(|line| line["size"]["tar"].as_u64()).sum();
            assert_eq!(size["tar"].as_u64(), Some(tar));
        }
    }
}

/// dive reads an export, as nobody else here does. One image: it takes as long as that.
#[test]
fn layers_are_as_large_as_dive_says() {
    let (before, after) = PAIRS[0];
    let folder = tempfile::tempdir().expect("a folder");
    let told = folder.path().join("dive.json");
    let mut dive = crate::sbom::tool("dive");
    let output =
        dive.args(["--json", &told.display().to_string(), &format!("docker://{}", image(before))]).env("CI", "true").output();
    let output = output.expect("dive (`cargo xtask setup --tests`)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let told: Value = serde_json::from_slice(&std::fs::read(told).expect("its result")).expect("JSON");
    let by_layer = |lines: &[Value], name: &str, bytes: fn(&Value) -> &Value| -> BTreeMap<String, u64> {
        let text = |line: &Value| line[name].as_str().expect("a digest").to_owned();
        lines.iter().map(|line| (text(line), bytes(line).as_u64().expect("a number"))).collect()
    };
    let theirs = by_layer(told["layer"].as_array().expect("layers"), "digestId", |line| &line["sizeBytes"]);
    let difference = diff(before, after);
    let mine =
        ["shared", "only-before"].map(|which| difference["layers"][which].as_array().cloned().unwrap_or_default()).concat();
    assert_eq!(by_layer(&mine, "diff-id", |line| &line["size"]["content"]), theirs);
    assert_eq!(difference["sizes"]["before"]["content"], told["image"]["sizeBytes"]);
}

/// What `docker history` says that each layer which is not empty has, lowest first.
fn sizes_in_history(variant: &str) -> Vec<u64> {
    let listed = docker(&["history", "--human=false", "--format", "{{.Size}}", &image(variant)]);
    let mut sizes: Vec<u64> = listed.lines().filter_map(|line| line.parse().ok()).filter(|size| *size > 0).collect();
    sizes.reverse();
    sizes
}

#[test]
fn what_both_stand_on_is_what_the_family_says() {
    let difference = diff("aws", "aws-web");
    let layers = &difference["layers"];
    assert_eq!(layers["only-before"], serde_json::json!([]), "a child has everything of its parent");
    assert_eq!(layers["only-after"].as_array().map(Vec::len), Some(1), "{layers}");
    let shared = layers["shared"].as_array().map_or(0, Vec::len) as u64;
    assert_eq!(layers["common-base"].as_u64(), Some(shared - 1), "the entrypoint lies on top of both");
    assert_eq!(difference["files"]["removed"]["number"], 0);
    let pins = told(&difference, "pin", "after");
    assert!(pins.iter().any(|(name, _)| name == "code-server"), "{pins:?}");
}

/// Every pair of these, as `compare` orders it: `-1`, `0`, `1`.
fn ordered(kind: PackageKind, versions: &[&str]) -> Vec<String> {
    let pairs = versions.iter().flat_map(|one| versions.iter().map(move |other| (one, other)));
    pairs.map(|(one, other)| format!("{one} {other} {}", compare(kind, one, other).map_or(9, |order| order as i8))).collect()
}

#[test]
fn debian_versions_are_ordered_as_dpkg_does() {
    let versions = [
        "1.0",
        "1.0-0",
        "1.00",
        "0:1.0",
        "1:0.1",
        "1.0~rc1-1",
        "1.0~~",
        "1.0~",
        "1.0-1",
        "1.0-1+b1",
        "1.0-1+deb13u1",
        "1.0-1.1",
        "1.0a",
        "1.0+dfsg-1",
        "1.0-1~bpo12+1",
        "1.9",
        "1.10",
        "2.41-12",
        "20240101",
        "1.0-rc-1",
        "09",
        "9",
        "a",
        "1.2.3.4.5",
        "00000000000000000000000000000000000001.1",
        "99999999999999999999999999999",
    ];
    let script = "for one in \"$@\"; do for other in \"$@\"; do \
                  if dpkg --compare-versions \"$one\" lt-nl \"$other\"; then order=-1; \
                  elif dpkg --compare-versions \"$one\" eq \"$other\"; then order=0; else order=1; fi; \
                  echo \"$one $other $order\"; done; done 2>/dev/null";
    let image = image("aws");
    let run = ["run", "--rm", "--network=none", "--entrypoint", "sh", &image, "-c", script, "sh"];
    let theirs = docker(&[&run[..], &versions].concat());
    assert_eq!(ordered(PackageKind::Debian, &versions), theirs.lines().collect::<Vec<_>>());
}

#[test]
fn python_versions_are_ordered_as_pip_does() {
    let versions = [
        "1.0",
        "1.0.0",
        "1",
        "0.9",
        "1.dev0",
        "1.0a1",
        "1.0.alpha.1",
        "1.0a1.dev1",
        "1.0b2",
        "1.0rc1",
        "1.0c1",
        "1.0-1",
        "1.0.post1",
        "1.0.post2.dev1",
        "1.0+abc",
        "1.0+abc.5",
        "1.0+5",
        "1.0+10",
        "v1.1",
        "1.10",
        "1!0.1",
        "2026.1",
        "1.0.dev5",
        "1.0-r4",
        "1_0",
        "1.0preview3",
        "git-head",
        "1.0.x",
        "1.0a",
        "1.0post",
        "1.0.0.0.1",
    ];
    let script = "import sys\n\
                  from pip._vendor.packaging.version import Version, InvalidVersion\n\
                  def read(text):\n\
                  \x20   try: return Version(text)\n\
                  \x20   except InvalidVersion: return text\n\
                  def order(one, other):\n\
                  \x20   if one == other: return 0\n\
                  \x20   if isinstance(one, str) or isinstance(other, str): return 9\n\
                  \x20   return -1 if one < other else 1\n\
                  for one in sys.argv[1:]:\n\
                  \x20   for other in sys.argv[1:]: print(one, other, order(read(one), read(other)))";
    let places = Places::from_env(&|name| std::env::var(name).ok()).expect("a home");
    let python = python::folder(&places).join("bin/python");
    let output = Command::new(python).args(["-c", script]).args(versions).output();
    let output = output.expect("a Python with pip (`cargo xtask setup --tests`)");
    let theirs = String::from_utf8_lossy(&output.stdout);
    assert_eq!(ordered(PackageKind::Python, &versions), theirs.lines().collect::<Vec<_>>());
}
