//! `diff`: what differs between two images, wherever they are.

use serde_json::{Value, json};

use crate::support::family::TinyFamily;
use crate::support::xtask::{Ran, ran};

/// dpkg's status, of these packages.
fn status(packages: &[(&str, &str)]) -> String {
    let one = |(name, version): &(&str, &str)| {
        format!("Package: {name}\nStatus: install ok installed\nArchitecture: amd64\nInstalled-Size: 10\nVersion: {version}\n\n")
    };
    packages.iter().map(one).collect()
}

fn diff(family: &TinyFamily, args: &[&str]) -> Ran {
    ran(family.command(&[&["diff"], args].concat()))
}

#[test]
fn what_is_pushed_is_the_same_image_as_in_the_engine() {
    let family = TinyFamily::new();
    family.build(&["--variant", "aws"]).ends(0);
    family.run(&["push", "--variant", "aws"]).ends(0);
    let (local, published) = (format!("{}:aws", family.name), family.registry.repository().tag("aws").to_string());
    let same = diff(&family, &[&local, &published, "--check"]).ends(0);
    assert_eq!(same.stdout, format!("the same image: {local} and {published}\n"));

    let same = diff(&family, &["--format", "json", &local, &published, "--files"]).ends(0).json();
    assert_eq!((&same["schema"], &same["same-image"]), (&json!(1), &json!(true)));
    for nothing in ["/packages", "/configuration", "/layers/only-before", "/layers/only-after", "/files/folders", "/files/list"] {
        assert_eq!(same.pointer(nothing), Some(&json!([])), "{nothing}");
    }
    assert_eq!(same["sizes"]["before"], same["sizes"]["after"]);
    assert!(same["sizes"]["before"]["compressed"].as_u64() > Some(0), "{same}");
    assert_eq!(same["after"]["config"].as_str(), Some(family.config_digest("aws").as_str()));
    assert_eq!(same["after"]["manifest"], json!(family.registry.skopeo("aws", None).map(|digest| digest.to_string())));

    // By the names of a destination and of nothing else than a digest; on a machine that knows nothing yet and has no engine.
    let digest = same["after"]["manifest"].as_str().expect("a digest");
    let mut elsewhere = family.command(&["diff", "near:aws", digest, "--check"]);
    elsewhere.env("DOCKER_HOST", "unix:///nonexistent").env("GANTRY_CACHE_DIR", family.places().join("another-cache"));
    let same = ran(elsewhere).ends(0);
    assert!(same.stdout.starts_with("the same image: "), "{}", same.stdout);
}

/// A family whose `azure` was published, then changed in known ways, and built again.
fn changed() -> TinyFamily {
    let family = TinyFamily::new();
    family.write("images/azure/status", &status(&[("gone", "1.0-1"), ("libx", "1.9-1"), ("same", "3")]));
    family.write("images/azure/old", "old");
    family.azure_also("ENV API_TOKEN=canary-1\nCOPY status /var/lib/dpkg/status\nCOPY old /srv/old\nUSER 1000");
    family.commit();
    family.build(&["--variant", "azure"]).ends(0);
    family.run(&["push", "--variant", "azure"]).ends(0);
    family.write("images/azure/status", &status(&[("come", "2:1"), ("libx", "1.10-1"), ("same", "3")]));
    family.write("images/azure/new", "new and more");
    family.replace("images/azure/Dockerfile", "canary-1", "canary-2");
    family.replace("images/azure/Dockerfile", "COPY old /srv/old\nUSER 1000", "COPY new /srv/new\nEXPOSE 22");
    family.build(&["--variant", "azure"]).ends(0);
    family
}

#[test]
fn what_changed_since_the_last_release_is_told() {
    let family = changed();
    let local = format!("{}:azure", family.name);
    let told = diff(&family, &["--format", "json", "near:azure", &local, "--files"]).ends(0);
    assert!(!told.stdout.contains("canary") && !told.stderr.contains("canary"), "{}", told.stdout);
    let told = told.json();
    assert_eq!(told["same-image"], false);

    let version = |package: &Value, side: &str| package[side]["version"].as_str().unwrap_or("-").to_owned();
    let package = |package: &Value| {
        let (change, name) = (&package["change"], &package["name"]);
        format!("{change} {name} {} {}", version(package, "before"), version(package, "after")).replace('"', "")
    };
    let packages: Vec<String> = told["packages"].as_array().expect("packages").iter().map(package).collect();
    assert_eq!(packages, ["added come - 2:1", "removed gone 1.0-1 -", "upgraded libx 1.9-1 1.10-1"]);
    assert_eq!(told["counts"]["debian"], json!({ "before": 3, "after": 3 }));

    let setting = |setting: &Value| {
        let text = |name: &str| setting[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {}", text("kind"), text("name"), text("before"), text("after"))
    };
    let settings: Vec<String> = told["configuration"].as_array().expect("settings").iter().map(setting).collect();
    for line in ["user - 1000 -", "port 22/tcp - set", "environment API_TOKEN … …"] {
        assert!(settings.iter().any(|setting| setting == line), "{line} in {settings:#?}");
    }
    assert!(settings.iter().any(|setting| setting.starts_with("label gantry.input-digest sha256:")), "{settings:#?}");

    let list = told["files"]["list"].as_array().expect("files");
    let files: Vec<_> = list.iter().map(|file| (file["path"].as_str().unwrap_or_default(), file["after"].as_u64())).collect();
    let size = status(&[("come", "2:1"), ("libx", "1.10-1"), ("same", "3")]).len() as u64;
    assert_eq!(files, [("srv/new", Some(12)), ("srv/old", None), ("var/lib/dpkg/status", Some(size))]);

    let layers = &told["layers"];
    let both = family.diff_ids("azure").len();
    let only = ["only-before", "only-after"].map(|side| {
        let lines = layers[side].as_array().expect("layers").iter();
        lines.map(|line| line["instruction"].as_str().unwrap_or("-").to_owned()).collect::<Vec<_>>()
    });
    assert_eq!(only[0], ["COPY status /var/lib/dpkg/status", "COPY old /srv/old"]);
    assert_eq!(only[1], ["COPY status /var/lib/dpkg/status", "COPY new /srv/new"]);
    assert_eq!(layers["shared"].as_array().map(Vec::len), Some(both - 2));
    assert_eq!(layers["common-base"].as_u64(), Some(both as u64 - 3), "the entrypoint's layer lies above");
}

#[test]
fn the_result_in_other_forms_and_to_a_file() {
    let family = changed();
    let local = format!("{}:azure", family.name);
    let human = diff(&family, &["near:azure", &local, "--check"]).ends(10).says(&["differ"]);
    for line in [
        "Debian packages: 1 added, 1 removed, 1 upgraded",
        "  upgraded  libx  1.9-1 → 1.10-1",
        "API_TOKEN",
        "only in after: 2 layers",
    ] {
        assert!(human.stdout.contains(line), "{line} in\n{}", human.stdout);
    }
    let written = diff(&family, &["near:azure", &local, "--format", "markdown", "-o", "notes.md"]).ends(0);
    assert_eq!(written.stdout, "wrote notes.md\n");
    let notes = family.read("notes.md").expect("the file");
    for line in [
        "| upgraded | `libx` | `1.9-1` | `1.10-1` |",
        "| variable | `API_TOKEN` | (not shown) | (not shown) |",
        "**Configuration**",
    ] {
        assert!(notes.contains(line), "{line} in\n{notes}");
    }
    assert!(!notes.contains("canary") && !human.stdout.contains("canary"));
    let refused = ran(family.command(&["doctor", "--format", "markdown"])).ends(2);
    refused.says(&["`--format markdown` is for `diff` and `bump`; accepted here are `human` and `json`"]);
}
