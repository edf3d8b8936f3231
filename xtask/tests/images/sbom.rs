//! The bills of materials of the real images, beside what other programs say is in them: dpkg, pip and npm's own records in
//! containers, syft from outside; and CycloneDX's own validator.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use serde_json::Value;
use xtask::host::places::Places;
use xtask::host::setup::python;

use crate::docker::docker;
use crate::family::{VARIANTS, WEB, image, xtask};

/// A package: its name, its version and where it lies (what Debian packages: its architecture).
type Packages = BTreeSet<(String, String, String)>;

/// The document of a variant, which is asked for once: that it is the same every time is tried below.
fn document(variant: &str) -> Value {
    static KNOWN: Mutex<BTreeMap<String, Value>> = Mutex::new(BTreeMap::new());
    // Whoever panicked with it has asked in vain, and so do the others.
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let document = known.entry(variant.to_owned()).or_insert_with(|| {
        let output = xtask(&["sbom", &image(variant)]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("a document is JSON")
    });
    document.clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn components(document: &Value) -> impl Iterator<Item = &Value> {
    document["components"].as_array().expect("components").iter()
}

fn kind(component: &Value) -> String {
    let properties = component["properties"].as_array().into_iter().flatten();
    properties.filter(|property| property["name"] == "gantry:kind").map(|property| text(&property["value"])).collect()
}

/// The packages of a kind, as the document tells.
fn told(document: &Value, of: &str) -> Packages {
    let place = |component: &Value| match of {
        "debian" => {
            let purl = text(&component["purl"]);
            let arch = purl.split(['?', '&']).find_map(|part| part.strip_prefix("arch="));
            arch.unwrap_or_default().to_owned()
        }
        _ => text(&component["evidence"]["occurrences"][0]["location"]),
    };
    let of_kind = components(document).filter(|component| kind(component) == of);
    of_kind.map(|component| (text(&component["name"]), text(&component["version"]), place(component))).collect()
}

/// What a script prints in a container of the image, on its standard output.
fn inside(variant: &str, script: &str) -> String {
    let mut run = Command::new("docker");
    run.args(["run", "--rm", "--network=none", "--entrypoint", "sh", &image(variant), "-c", script]);
    let output = run.output().expect("docker runs");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

fn three(line: &str) -> Option<(String, String, String)> {
    let mut words = line.split(' ').map(str::to_owned);
    Some((words.next()?, words.next()?, words.next()?))
}

#[test]
fn debian_packages_are_those_of_dpkg() {
    for variant in VARIANTS {
        let listed = inside(variant, "dpkg-query -W -f '${Package} ${Version} ${Architecture} ${db:Status-Status}\n'");
        let installed = listed.lines().filter(|line| line.ends_with(" installed"));
        let listed: Packages = installed.filter_map(three).collect();
        assert!(listed.len() > 100, "{listed:?}");
        assert_eq!(told(&document(variant), "debian"), listed, "{variant}");
    }
}

/// PEP 503: `-`, `_` and `.` are one.
fn normal(name: &str) -> String {
    name.to_lowercase().split(['-', '_', '.']).filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

pub(crate) fn tool(name: &str) -> Command {
    let places = Places::from_env(&|name| std::env::var(name).ok()).expect("a home");
    Command::new(python::folder(&places).join("bin").join(name))
}

/// What `pip list` says of every Python that `/opt` has, and of Debian's. The images have no pip: it is lent to them.
fn pip_lists(variant: &str) -> Packages {
    let path = tool("python").args(["-c", "import pip; print(pip.__path__[0])"]).output();
    let path = path.expect("a Python with pip (`cargo xtask setup --tests`)");
    let path = String::from_utf8(path.stdout).expect("a path");
    let script = "mkdir /tmp/lent && mv /tmp/pip /tmp/lent && for python in /opt/*/bin/python3 /usr/bin/python3; do \
                  PYTHONPATH=/tmp/lent $python -m pip --disable-pip-version-check list --verbose --format json && echo; done";
    let container = docker(&["create", "--network=none", "--entrypoint", "sh", &image(variant), "-c", script]);
    let container = container.trim();
    docker(&["cp", path.trim(), &format!("{container}:/tmp/pip")]);
    let listed = Command::new("docker").args(["start", "--attach", container]).output().expect("docker runs");
    docker(&["rm", "--force", container]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let lists = serde_json::Deserializer::from_slice(&listed.stdout).into_iter::<Value>();
    let lists: Vec<Value> = lists.map(|list| list.expect("a list is JSON")).collect();
    let packages = lists.iter().filter_map(Value::as_array).flatten();
    let package = |package: &Value| (normal(&text(&package["name"])), text(&package["version"]), text(&package["location"]));
    packages.map(package).collect()
}

#[test]
fn python_packages_are_those_of_pip_and_what_debian_packages_is_told_once() {
    for variant in VARIANTS {
        let debian = |place: &str| place == "/usr/lib/python3/dist-packages";
        let (owned, listed): (Packages, Packages) = pip_lists(variant).into_iter().partition(|(.., place)| debian(place));
        assert!(listed.len() > 40, "{listed:?}");
        assert_eq!(told(&document(variant), "python"), listed, "{variant}");
        // What pip sees of Debian's belongs to packages that dpkg lists: with Amazon's CLI in `aws`, nothing elsewhere.
        assert_eq!(!owned.is_empty(), variant.starts_with("aws"), "{owned:?}");
        if !owned.is_empty() {
            let script = "cd /usr/lib/python3/dist-packages && dpkg -S $(realpath *.dist-info *.egg-info) >/dev/null";
            inside(variant, script);
        }
    }
}

#[test]
fn npm_packages_are_those_that_npm_has_written_down() {
    for variant in VARIANTS {
        let script = "for lock in $(find / -xdev -name .package-lock.json); do echo $lock; cat $lock | tr -d '\n'; echo; done";
        let locks = inside(variant, script);
        let mut written = Packages::new();
        let lines: Vec<&str> = locks.lines().collect();
        for lock in lines.chunks(2) {
            let [path, lock] = lock else { panic!("{lock:?}") };
            let folder = path.strip_suffix("node_modules/.package-lock.json").expect("npm's own record");
            let lock: Value = serde_json::from_str(lock).expect("a lock is JSON");
            for (place, package) in lock["packages"].as_object().expect("packages") {
                let name = place.rsplit("node_modules/").next().unwrap_or_default();
                let name = package["name"].as_str().unwrap_or(name).to_owned();
                written.insert((name, text(&package["version"]), format!("{folder}{place}")));
            }
        }
        assert_eq!(written.len() > 100, WEB.contains(&variant), "{}", written.len());
        assert_eq!(told(&document(variant), "npm"), written, "{variant}");
    }
}

#[test]
fn documents_are_what_the_schema_of_cyclonedx_says_and_the_same_every_time() {
    let script = "import sys\n\
                  from cyclonedx.schema import SchemaVersion\n\
                  from cyclonedx.validation.json import JsonStrictValidator\n\
                  wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(sys.stdin.read())\n\
                  sys.exit(str(wrong) if wrong else 0)";
    for variant in VARIANTS {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("sbom.json");
        let output = xtask(&["--format", "json", "sbom", &image(variant), "--output", file.to_str().expect("text")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let bytes = std::fs::read(&file).expect("written");
        assert_eq!(told["bytes"].as_u64(), Some(bytes.len() as u64));
        assert_eq!(xtask(&["sbom", &image(variant)]).stdout, bytes, "{variant}");
        let mut python = tool("python").args(["-c", script]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let validator = python.as_mut().expect("a Python (`cargo xtask setup --tests`)");
        validator.stdin.take().expect("a pipe").write_all(&bytes).expect("it reads");
        let ended = python.expect("a Python").wait_with_output().expect("it ends");
        assert!(ended.status.success(), "{variant}: {}", String::from_utf8_lossy(&ended.stderr));

        let document: Value = serde_json::from_slice(&bytes).expect("JSON");
        let packages = components(&document).count();
        assert_eq!(told["packages"].as_u64(), Some(packages as u64 - 1), "the distribution is no package");
        let depends = document["dependencies"][0]["dependsOn"].as_array().map(Vec::len);
        assert_eq!(depends, Some(packages));
        assert_eq!(document["metadata"]["component"]["name"], format!("ansible-epic-{variant}"));
    }
}

/// What syft finds: kind, name and version, with the files it found each in.
fn syft(variant: &str) -> BTreeMap<(String, String, String), Vec<String>> {
    let mut syft = tool("syft");
    syft.args(["--quiet", "--output", "json", &format!("docker:{}", image(variant))]);
    // It looks for a newer one of itself otherwise.
    let output = syft.env("SYFT_CHECK_FOR_APP_UPDATE", "false").output().expect("syft (`cargo xtask setup --tests`)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed: Value = serde_json::from_slice(&output.stdout).expect("a list is JSON");
    let mut found: BTreeMap<_, Vec<String>> = BTreeMap::new();
    for artifact in listed["artifacts"].as_array().expect("artifacts") {
        let name = text(&artifact["name"]);
        let (kind, name) = match artifact["type"].as_str().unwrap_or_default() {
            "deb" => ("debian", name),
            "python" => ("python", normal(&name)),
            "rust-crate" => ("crate", name),
            other => (other, name),
        };
        let place = text(&artifact["locations"][0]["path"]);
        found.entry((kind.to_owned(), name, text(&artifact["version"]))).or_default().push(place);
    }
    found
}

/// Why syft tells of something that the document does not; none: it should.
fn left_out(kind: &str, place: &str) -> Option<&'static str> {
    let folder = place.strip_suffix("/package.json").unwrap_or(place);
    let above = folder.rsplit('/').nth(if folder.rsplit('/').nth(1).is_some_and(|above| above.starts_with('@')) { 2 } else { 1 });
    match kind {
        "npm" if above != Some("node_modules") => {
            Some("a file of a package, which npm did not install as one: an extension of VS Code")
        }
        "python" if place.starts_with("/usr/lib/python3/dist-packages/") => Some("Debian's, told by dpkg"),
        "go-module" if place.starts_with("/usr/bin/") => Some("what a program of Debian's was made of"),
        "binary" if place.starts_with("/opt/code-server/node_modules/") => Some("a file of a package: its node"),
        _ => None,
    }
}

#[test]
fn syft_finds_the_same_and_what_it_does_not_is_explained() {
    // The one with all kinds of packages in it, some of them Python that Debian has packaged; and the one with most packages of
    // Python. (The package lists of all four are compared with those of dpkg, pip and npm above; syft takes its time, which is mostly
    // that of an export.)
    for variant in ["aws-web", "azure"] {
        let document = document(variant);
        let ours: BTreeSet<(String, String, String)> = components(&document)
            .filter(|component| component["type"] != "operating-system")
            .map(|component| (kind(component), text(&component["name"]), text(&component["version"])))
            .collect();
        let theirs = syft(variant);
        let explained = |kind: &str, places: &[String]| places.iter().all(|place| left_out(kind, place).is_some());
        let unexplained: Vec<_> =
            theirs.iter().filter(|(package, places)| !ours.contains(package) && !explained(&package.0, places)).collect();
        assert!(unexplained.is_empty(), "{variant}: only syft tells of {unexplained:#?}");
        // It knows neither Ansible's collections nor what the family pins.
        let known = |kind: &str| kind != "ansible-collection" && kind != "pin";
        let only_ours: Vec<_> = ours.iter().filter(|package| known(&package.0) && !theirs.contains_key(package)).collect();
        assert!(only_ours.is_empty(), "{variant}: syft does not tell of {only_ours:#?}");
        let crates = ours.iter().filter(|(kind, ..)| kind == "crate").count();
        assert!(crates > 5, "{variant}: the entrypoint's crates: {crates}");
    }
}

#[test]
fn an_image_that_is_nowhere_is_told_with_every_place_that_was_looked_at() {
    let output = xtask(&["sbom", "ansible-epic:aws", "--destination", "near=127.0.0.1:1/none"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    for words in ["there is no image `ansible-epic:aws`", "has no image of this name or id", "did you mean `ansible-epic:aws-"] {
        assert!(stderr.contains(words), "{words}: {stderr}");
    }
}
