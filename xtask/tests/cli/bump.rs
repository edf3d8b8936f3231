//! `bump`, against doubles of the vendors' hosts: what is written, to the byte, and that nothing is where something is wrong.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use tempfile::TempDir;

use crate::support::family::TinyFamily;
use crate::support::vendors::{RUNNER_VERSION, Trouble, VSCODE_COMMIT, Vendors};
use crate::support::xtask::{self, Ran, ran};
use ::xtask::oci::Digest;

pub(super) const BEFORE: &str = include_str!("bumped/before.toml");
const AFTER: &str = include_str!("bumped/after.toml");
const LOCK: &str = include_str!("bumped/before.lock");
/// The commit of what is newer than [`VSCODE_COMMIT`].
pub(super) const NEWER_COMMIT: &str = "210a328ea54b42367b803ec53ee0bf52ef26b419";

/// A family whose pins are moved, in a repository of its own; no engine, no registry.
pub(super) struct Pinned {
    pub(super) vendors: Vendors,
    pub(super) folder: TempDir,
}

impl Pinned {
    /// Everything is as new as it may be, and nothing but the runner is locked.
    pub(super) fn new() -> Self {
        let pinned = Self { vendors: Vendors::start(), folder: tempfile::tempdir().expect("a folder") };
        fs::create_dir_all(pinned.root().join("images/base")).expect("a folder");
        fs::create_dir_all(pinned.folder.path().join("home")).expect("a home");
        pinned.write("images/base/Dockerfile", "ARG PARENT\nFROM ${PARENT}\n");
        pinned.write("variants.toml", &pinned.table(BEFORE));
        pinned.write("variants.lock", LOCK);
        pinned.git(&["init", "-q", "-b", "main"]);
        pinned.commit();
        pinned
    }

    /// The same, once something newer was released of everything.
    pub(super) fn with_newer() -> Self {
        let pinned = Self::new();
        pinned.release_newer();
        pinned
    }

    fn release_newer(&self) {
        self.vendors.publish_runner("2.338.0");
        self.vendors.publish_runner("2.338.1");
        self.vendors.publish_vscode(NEWER_COMMIT, "1.129.1");
        self.vendors.publish_extension("26.10.2");
        self.vendors.publish_extension_for("26.11.0", "^1.129.0", true);
        self.vendors.publish_extension_for("26.12.0", "^1.130.0", false);
    }

    pub(super) fn table(&self, text: &str) -> String {
        text.to_owned() + &self.vendors.mirrors_toml()
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    pub(super) fn write(&self, path: &str, text: &str) {
        fs::write(self.root().join(path), text).expect("written");
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root().join(path)).expect("it is there")
    }

    fn git(&self, args: &[&str]) {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.root()).args(["-c", "user.name=a", "-c", "user.email=a@b"]).args(args);
        git.env("HOME", self.folder.path()).env("GIT_CONFIG_NOSYSTEM", "1");
        assert!(git.status().expect("git runs").success(), "git {args:?}");
    }

    pub(super) fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "-m", "all"]);
    }

    pub(super) fn command(&self, args: &[&str]) -> Command {
        let mut command = xtask::command(&self.root(), self.folder.path());
        command.arg("bump").args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(super) fn bump(&self, args: &[&str]) -> Ran {
        ran(self.command(args))
    }

    /// variants.toml and variants.lock, to see whether they change.
    pub(super) fn files(&self) -> [String; 2] {
        ["variants.toml", "variants.lock"].map(|file| self.read(file))
    }

    /// What lies in the folder beside the repository's own.
    pub(super) fn left(&self) -> Vec<String> {
        let names = fs::read_dir(self.root()).expect("a folder").flatten().map(|file| file.file_name());
        let known = [".git", "images", "variants.lock", "variants.toml"];
        names.map(|name| name.to_string_lossy().into_owned()).filter(|name| !known.contains(&name.as_str())).collect()
    }
}

const ALL: [&str; 4] = ["runner", "cli", "server", "ansible"];

#[test]
fn every_pin_moves_and_nothing_else_in_the_file_changes() {
    let pinned = Pinned::with_newer();
    let said = pinned.bump(&ALL).ends(0);
    assert_eq!(pinned.read("variants.toml"), pinned.table(AFTER));
    assert_eq!(pinned.left(), Vec::<String>::new());
    let lock = pinned.read("variants.lock");
    let runner = |arch: &str| {
        let file = format!("actions-runner-linux-{arch}-2.338.1.tar.gz");
        let url = format!("https://github.com/actions/runner/releases/download/v2.338.1/{file}");
        (Digest::of(pinned.vendors.file(&url)), url)
    };
    for arch in ["x64", "arm64"] {
        let (digest, url) = runner(arch);
        assert!(lock.contains(&format!("url = \"{url}\"\ndigest = \"{digest}\"\nreleased = \"2026-08-26\"\n")), "{lock}");
    }
    assert_eq!(lock.matches(NEWER_COMMIT).count(), 4, "version and address of CLI and server: {lock}");
    assert!(lock.contains("26.10.2") && !lock.contains(RUNNER_VERSION) && !lock.contains(VSCODE_COMMIT), "{lock}");
    for part in ["2.337.0 → 2.338.1", "VS Code 1.128.0 → VS Code 1.129.1", "26.9.0 → 26.10.2", "# of August 2026", "moved 4 of 4"]
    {
        assert!(said.stdout.contains(part), "`{part}` in\n{}", said.stdout);
    }

    // Again: nothing to do, nobody's file is touched, and there is no difference to what was committed.
    pinned.commit();
    let files = pinned.files();
    let again = pinned.bump(&ALL).ends(0);
    assert!(again.stdout.contains("everything is as new as it may be"), "{}", again.stdout);
    assert_eq!(pinned.files(), files);
    pinned.bump(&[&ALL[..], &["--check"]].concat()).ends(0);
}

#[test]
fn line_ends_stay_as_they_are() {
    let pinned = Pinned::with_newer();
    let crlf = |text: &str| pinned.table(text).replace('\n', "\r\n");
    pinned.write("variants.toml", &crlf(BEFORE));
    pinned.commit();
    pinned.bump(&ALL).ends(0);
    assert_eq!(pinned.read("variants.toml"), crlf(AFTER));
}

#[test]
fn a_check_and_a_dry_run_write_nothing_and_tell_the_same() {
    let pinned = Pinned::with_newer();
    // What is not committed does not matter where nothing is written.
    pinned.write("variants.lock", &(LOCK.to_owned() + "\n"));
    let files = pinned.files();
    let check = pinned.bump(&["runner", "cli", "--check", "--format", "json"]).ends(10);
    let dry = pinned.bump(&["runner", "cli", "--dry-run", "--format", "json"]).ends(0);
    assert_eq!(check.json(), dry.json());
    assert_eq!(pinned.files(), files);
    let report = dry.json();
    assert_eq!((&report["schema"], &report["written"]), (&1.into(), &false.into()));
    assert_eq!(report["files"], serde_json::json!(["variants.toml", "variants.lock"]));
    // CLI and server are of one commit: one brings the other.
    let names: Vec<_> = report["moved"].as_array().expect("a list").iter().map(|moved| &moved["name"]).collect();
    assert_eq!(names, ["cli", "runner", "server"]);
    let runner = &report["moved"][1];
    assert_eq!((&runner["from"]["id"], &runner["to"]["id"]), (&"2.337.0".into(), &"2.338.1".into()));
    assert_eq!((&runner["released"], runner["age-days"].is_number()), (&"2026-08-26".into(), true));
    assert_eq!(runner["notes"], "https://github.com/actions/runner/releases/tag/v2.338.1");
    assert_eq!(report["moved"][0]["to"]["shown"], "VS Code 1.129.1");

    let page = pinned.bump(&["runner", "--dry-run", "--format", "markdown"]).ends(0).stdout;
    assert!(page.contains("| `runner` | `2.337.0` | `2.338.1` | 2026-08-26, "), "{page}");
}

#[test]
fn what_is_held_back_stays_below() {
    let pinned = Pinned::with_newer();
    let held = |pin: &str, hold: &str| {
        let text = pinned.table(BEFORE).replace(pin, &format!("hold = \"{hold}\"\n{pin}"));
        pinned.write("variants.toml", &text);
        pinned.commit();
    };
    held("build-arg", "<2.338.1");
    let said = pinned.bump(&["runner"]).ends(0);
    assert!(
        said.stdout.contains("2.337.0 → 2.338.0") && said.stdout.contains("2.338.1 is there, held back by"),
        "{}",
        said.stdout
    );

    held("build-arg", "<2.330");
    let files = pinned.files();
    pinned.bump(&["runner"]).ends(8).tells(&["2.337.0 is not what `hold = \"<2.330\"` of `runner` allows", "by hand"]);
    assert_eq!(pinned.files(), files);

    // VS Code is held back by its version, and the extension then fits the one that stays.
    held("upstream.vscode", "<1.129");
    let said = pinned.bump(&["server", "ansible", "--dry-run"]).ends(0);
    for part in ["VS Code 1.128.0", "VS Code 1.129.1 is there, held back by", "26.9.0 → 26.10.2"] {
        assert!(said.stdout.contains(part), "`{part}` in\n{}", said.stdout);
    }
}

#[test]
fn a_version_that_is_named() {
    for (args, code, words) in [
        (&["runner", "--to", "2.338.0"][..], 0, &[][..]),
        // The release is another one than that of the lock.
        (&["runner", "--to", "2.337.0"], 8, &["when it was locked, and is sha256:", "find out why"]),
        (&["runner", "--to", "2.336.0"], 8, &["2.336.0 is older than 2.337.0: `bump` does not go back"]),
        (&["runner", "--to", "2.999.0"], 3, &["`actions/runner` has no release `v2.999.0`"]),
        (&["runner", "--to", "v2.338.0"], 2, &["`--to v2.338.0`: `v2.338.0` is not a version of numbers"]),
        (&["cli", "--to", "1.129.1"], 0, &[]),
        (&["server", "--to", NEWER_COMMIT], 0, &[]),
        (&["server", "--to", "1.200.0"], 3, &["the update service knows no build `cli-alpine-x64` of VS Code 1.200.0"]),
        (&["ansible", "--to", "26.12.0"], 8, &["needs VS Code ^1.130.0, and VS Code is 1.128.0"]),
        (&["ansible", "--to", "1.0.0"], 8, &["1.0.0 is older than 26.9.0"]),
        (&["--to", "1.0.0"], 2, &["`--to 1.0.0` is a version of one thing"]),
        (&["runer"], 2, &["`runer` is nothing that can be moved", "did you mean `runner`?"]),
    ] {
        let pinned = Pinned::with_newer();
        let files = pinned.files();
        pinned.bump(args).ends(code).tells(words);
        assert_eq!(pinned.files() != files, code == 0, "{args:?}");
    }
}

#[test]
fn what_is_not_committed_is_not_written_over() {
    let pinned = Pinned::with_newer();
    pinned.write("variants.toml", &(pinned.table(BEFORE) + "# mine\n"));
    let files = pinned.files();
    let asked = pinned.vendors.requests().len();
    pinned.bump(&["runner"]).ends(8).tells(&["`variants.toml` has changes that are not committed", "--allow-dirty"]);
    assert_eq!((pinned.files(), pinned.vendors.requests().len()), (files, asked));
    pinned.bump(&["runner", "--allow-dirty"]).ends(0);
    assert_eq!(pinned.read("variants.toml").matches("2.338.1").count(), 2);
    assert!(pinned.read("variants.toml").ends_with("# mine\n"));
}

#[test]
fn a_run_that_was_killed_between_two_files_is_mended_by_the_next() {
    let pinned = Pinned::with_newer();
    // variants.toml was written, variants.lock lies beside its place.
    pinned.write("variants.toml", &pinned.table(AFTER));
    pinned.write(".variants.lock.4711.partial", "half of a");
    pinned.bump(&[&ALL[..], &["--allow-dirty"]].concat()).ends(0);
    let lock = pinned.read("variants.lock");
    assert!(lock.contains("2.338.1") && !lock.contains(RUNNER_VERSION) && lock.contains("26.10.2"), "{lock}");
    assert_eq!((pinned.read("variants.toml"), pinned.left()), (pinned.table(AFTER), vec![]));
}

/// A forced bump from start to end: the base and the runner move, and what is built afterwards has the new ones.
#[test]
fn the_base_moves_with_its_tag_and_a_build_can_move_everything_first() {
    let vendors = Vendors::start();
    let family = TinyFamily::with_runner(&vendors);
    ran(family.command(&["bump", "base", "runner"])).ends(0);
    let digest = |lock: &str| lock.lines().rfind(|line| line.starts_with("digest")).expect("the base comes last").to_owned();
    let before = family.read("variants.lock").expect("it was written");
    assert!(before.contains(&format!("image = \"{}\"", family.base())) && before.contains(RUNNER_VERSION), "{before}");
    family.commit();
    ran(family.command(&["bump", "base", "runner", "--check"])).ends(0);

    // The tag points to another image, and there is a newer runner.
    family.push_base_again();
    vendors.publish_runner("2.338.0");
    let said = ran(family.command(&["bump", "base", "--dry-run"])).ends(0);
    assert!(said.stdout.contains("base  1@sha256:") && said.stdout.contains(" → 1@sha256:"), "{}", said.stdout);
    ran(family.command(&["bump", "base", "--to", "2"])).ends(2).tells(&["`base` is what its tag points to, and has no version"]);
    // Nothing is built where something could not be moved; what was found is written all the same.
    vendors.trouble("/releases?", Trouble::Status(404, vec![]), 1);
    let refused = family.build(&["--variant", "azure", "--bump"]).ends(3);
    assert!(refused.stderr.contains("`runner`: there is no repository") && family.tags().is_empty(), "{}", refused.stderr);
    family.commit();
    family.build(&["--variant", "azure", "--bump"]).ends(0);
    assert!(family.inspect("azure")["Config"]["Labels"].to_string().contains("2.338.0"));
    let after = family.read("variants.lock").expect("it is there");
    assert_ne!(digest(&before), digest(&after));
    assert!(after.contains("2.338.0") && !after.contains(RUNNER_VERSION), "{after}");
    assert!(family.read("variants.toml").is_some_and(|text| text.contains("version = \"2.338.0\"")));
}
