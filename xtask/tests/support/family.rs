//! A whole family of images of a few bytes, in a repository of its own, on a base in a registry of its own: what the
//! real one is, but built in seconds. Its name is its own, so that many are built on one engine at the same time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use tempfile::TempDir;

use super::registry::{LocalRegistry, run};
use super::vendors::{RUNNER_VERSION, Vendors};
use super::xtask::{self, Ran};

/// What the family is built on: Debian's `busybox-static`.
const BUSYBOX: &str = "/bin/busybox";
/// Programs of the base.
const APPLETS: [&str; 8] = ["sh", "cat", "echo", "sleep", "false", "seq", "ls", "sha256sum"];
/// `base` → `aws` → `aws-web`, `base` → `azure`.
const TABLE: &str = r#"
[tags]
moving = "{variant}"
immutable = "{variant}-{date}-{revision}"
[images.base]
context = "images/base"
[variants.aws]
description = "for AWS"
parent = "base"
context = "images/aws"
aliases = ["aws-coder"]
destinations = ["near"]
[variants.aws-web]
description = "for AWS, in the browser"
inherits = "aws"
parent = "aws"
context = "images/web"
[variants.azure]
description = "for Azure"
inherits = "aws"
parent = "base"
context = "images/azure"
"#;

static NEXT: AtomicU32 = AtomicU32::new(0);

/// The family. Its images, tags and containers go when it is dropped.
pub struct TinyFamily {
    /// Its name: local tags are `NAME:aws`.
    pub name: String,
    /// Where its base lies, and the destination `near`.
    pub registry: Arc<LocalRegistry>,
    folder: TempDir,
}

impl TinyFamily {
    /// Without components: no pin, no download. Its lock is complete.
    pub fn new() -> Self {
        Self::with("", "", true)
    }

    /// With the component `runner`, a download that `vendors` has, in all variants. Nothing is locked.
    pub fn with_runner(vendors: &Vendors) -> Self {
        let pin = format!(
            r#"
[pins.runner]
version = "{RUNNER_VERSION}"
build-arg = "RUNNER_VERSION"
upstream = {{ github-release = "actions/runner", asset = "actions-runner-linux-{{arch}}-{{version}}.tar.gz" }}
arch = {{ amd64 = "x64", arm64 = "arm64" }}
place = {{ path = "/opt/NAME", unpack = "tar.gz", owner = "1001:1001" }}
"#
        );
        Self::with(&(pin + &vendors.mirrors_toml()), "components = [\"runner\"]\n", false)
    }

    fn with(more: &str, of_aws: &str, locked: bool) -> Self {
        // Process ids come again, and the engine's cache remembers the families of former runs.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs();
        let name = format!("gt-{now:x}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let registry = LocalRegistry::start(None);
        let folder = tempfile::tempdir().expect("a folder");
        let family = Self { name, registry, folder };
        let digest = family.push_base();
        fs::create_dir_all(family.places().join("home")).expect("a home");
        fs::copy(BUSYBOX, family.entrypoint()).expect("busybox (Debian: busybox-static)");

        let Self { name, .. } = &family;
        let (base, near) = (family.base(), family.registry.repository());
        let arch = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let table = TABLE.replace("destinations =", &format!("{of_aws}destinations ="));
        let text = format!(
            r#"schema = 1
[family]
name = "{name}"
title = "Tiny"
source = "https://example.org/tiny"
platforms = ["linux/{arch}"]
build-date = "2026-11-20"
[profiles.default]
base = {{ image = "{base}" }}
[profiles.offline]
base = {{ image = "{base}" }}
vendors = false
local-suffix = "-offline"
[destinations.near]
repository = "{near}"
{table}{more}"#
        );
        family.write("variants.toml", &text.replace("NAME", name));
        if locked {
            let lock = format!("schema = 1\nfamily = \"{name}\"\n\n[[base]]\nimage = \"{base}\"\ndigest = \"{digest}\"\n");
            family.write("variants.lock", &lock);
        }
        // The family's name in the lowest layer: no other family's build is in the engine's cache.
        family.write("images/base/family", name);
        family.write(
            "images/base/Dockerfile",
            "ARG PARENT\nFROM ${PARENT} AS tools\nCOPY family /family\nRUN echo tools > /tools\n\
             FROM ${PARENT}\nARG BUILD_DATE\nCOPY family /family\nRUN echo packages of ${BUILD_DATE} > /packages\n\
             COPY --from=tools /tools /tools\n",
        );
        family
            .write("images/aws/Dockerfile", "ARG PARENT\nFROM ${PARENT}\nARG BUILD_DATE\nRUN echo aws of ${BUILD_DATE} > /aws\n");
        for (folder, file) in [("web", "page"), ("azure", "azure")] {
            family.write(&format!("images/{folder}/Dockerfile"), &format!("ARG PARENT\nFROM ${{PARENT}}\nCOPY {file} /{file}\n"));
            family.write(&format!("images/{folder}/{file}"), file);
        }
        family.write(
            "images/component/Dockerfile",
            "ARG PARENT\nARG ARTIFACT\nFROM ${ARTIFACT} AS artifact\nFROM ${PARENT}\nCOPY --from=artifact / /\n",
        );
        family.write(
            "images/finish/Dockerfile",
            "ARG PARENT\nFROM ${PARENT}\nARG COLOUR=none\nENV COLOUR=${COLOUR}\nCOPY rootfs/ /\nENTRYPOINT [\"/usr/local/bin/entrypoint\"]\n",
        );
        family.git(&["init", "-q", "-b", "main"]);
        family.commit();
        family
    }

    /// Lets the base's tag point to another image.
    pub fn push_base_again(&self) {
        self.push_base_with("ENV AGAIN=1");
    }

    /// `docker import`s a root file system with busybox alone and pushes it; its digest.
    fn push_base(&self) -> String {
        self.push_base_with("ENV PATH=/bin")
    }

    fn push_base_with(&self, change: &str) -> String {
        let mut root = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o755);
        let busybox = fs::read(BUSYBOX).expect("busybox (Debian: busybox-static)");
        header.set_size(busybox.len() as u64);
        root.append_data(&mut header, "bin/busybox", busybox.as_slice()).expect("added");
        for applet in APPLETS {
            let mut link = tar::Header::new_gnu();
            link.set_entry_type(tar::EntryType::Symlink);
            link.set_size(0);
            root.append_link(&mut link, format!("bin/{applet}"), "busybox").expect("added");
        }
        let file = self.folder.path().join("base.tar");
        fs::write(&file, root.into_inner().expect("a tar archive")).expect("written");
        let base = self.base();
        run("docker", &["import", "--change", change, &file.display().to_string(), &base]);
        let pushed = run("docker", &["push", &base]);
        run("docker", &["rmi", &base]);
        let digest = pushed.split_whitespace().find(|word| word.starts_with("sha256:"));
        digest.unwrap_or_else(|| panic!("a digest in {pushed}")).to_owned()
    }

    /// The base image, in the family's registry.
    pub fn base(&self) -> String {
        format!("{}/{}/busybox:1", self.registry.address, self.name)
    }

    /// The folder of variants.toml.
    pub fn root(&self) -> PathBuf {
        self.folder.path().join("repository")
    }

    /// Where cache, state and home lie.
    pub fn places(&self) -> PathBuf {
        self.folder.path().join("places")
    }

    /// What `--entrypoint` names.
    pub fn entrypoint(&self) -> PathBuf {
        self.places().join("home/entrypoint")
    }

    /// Another entrypoint, that runs as well.
    pub fn change_entrypoint(&self) {
        let mut bytes = fs::read(self.entrypoint()).expect("the entrypoint");
        bytes.extend_from_slice(b"changed");
        fs::write(self.entrypoint(), bytes).expect("written");
    }

    /// Writes a file of the repository.
    pub fn write(&self, path: &str, text: &str) {
        let path = self.root().join(path);
        fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).expect("a folder");
        fs::write(path, text).expect("written");
    }

    /// A file of the repository; none where there is none.
    pub fn read(&self, path: &str) -> Option<String> {
        fs::read_to_string(self.root().join(path)).ok()
    }

    /// Replaces a text, which must be there, in a file of the repository.
    #[track_caller]
    pub fn replace(&self, path: &str, from: &str, to: &str) {
        let text = self.read(path).unwrap_or_else(|| panic!("{path} is there"));
        assert!(text.contains(from), "`{from}` is in {path}");
        self.write(path, &text.replace(from, to));
    }

    /// git in the repository.
    pub fn git(&self, args: &[&str]) -> String {
        let mut git = Command::new("git");
        git.arg("-C").arg(self.root()).args(args).env("HOME", self.places()).env("GIT_CONFIG_NOSYSTEM", "1");
        for who in ["GIT_AUTHOR", "GIT_COMMITTER"] {
            git.env(format!("{who}_NAME"), "Tiny").env(format!("{who}_EMAIL"), "tiny@example.org");
        }
        let output = git.output().expect("git runs");
        assert!(output.status.success(), "git {args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Commits all that is there.
    pub fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "-q", "-m", "all"]);
    }

    /// The binary with these arguments and nothing else.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = xtask::command(&self.root(), &self.places());
        command.args(args).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// The same with the family's entrypoint and without the host's CA bundle: a command that resolves a plan.
    pub fn planning(&self, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.arg("--entrypoint").arg(self.entrypoint());
        if !args.contains(&"--ca-bundle") {
            command.arg("--no-ca-bundle");
        }
        command
    }

    /// Runs [`TinyFamily::planning`].
    pub fn run(&self, args: &[&str]) -> Ran {
        xtask::ran(self.planning(args))
    }

    /// `build --format json` with these arguments.
    pub fn build(&self, args: &[&str]) -> Ran {
        self.run(&[&["build", "--format", "json"], args].concat())
    }

    /// What the engine says of a local tag, `aws`.
    #[track_caller]
    pub fn inspect(&self, tag: &str) -> Value {
        let text = run("docker", &["image", "inspect", &format!("{}:{tag}", self.name)]);
        let mut images: Vec<Value> = serde_json::from_str(&text).expect("JSON");
        images.remove(0)
    }

    /// The digest of a local tag's configuration, which its id is only where the engine keeps no manifests.
    #[track_caller]
    pub fn config_digest(&self, tag: &str) -> String {
        config_digest(&format!("{}:{tag}", self.name))
    }

    /// The diff IDs of a local tag, lowest first.
    #[track_caller]
    pub fn diff_ids(&self, tag: &str) -> Vec<String> {
        let image = self.inspect(tag);
        let layers = image["RootFS"]["Layers"].as_array().expect("layers").iter();
        layers.map(|layer| layer.as_str().expect("a digest").to_owned()).collect()
    }

    /// Lets the Dockerfile of `azure` do this as well, last of all.
    pub fn azure_also(&self, instructions: &str) {
        self.replace("images/azure/Dockerfile", "/azure\n", &format!("/azure\n{instructions}\n"));
    }

    /// What a program prints in a container of a local tag.
    #[track_caller]
    pub fn container(&self, tag: &str, program: &[&str]) -> String {
        let image = format!("{}:{tag}", self.name);
        let args = ["run", "--rm", "--network=none", "--entrypoint", program[0], image.as_str()];
        run("docker", &[&args[..], &program[1..]].concat())
    }

    /// The stage tags that bear this family's label, sorted.
    pub fn stage_tags(&self) -> Vec<String> {
        self.tags().into_iter().filter_map(|tag| Some(tag.strip_prefix("gantry.invalid/stage/")?.to_owned())).collect()
    }

    /// Every tag that bears this family's label, sorted.
    pub fn tags(&self) -> Vec<String> {
        let ours = format!("label=gantry.family={}", self.name);
        let listed = run("docker", &["images", "--filter", &ours, "--format", "{{.Repository}}:{{.Tag}}"]);
        let mut tags: Vec<String> = listed.lines().filter(|tag| !tag.ends_with(":<none>")).map(str::to_owned).collect();
        tags.sort();
        tags
    }
}

/// The digest of an image's configuration, as `docker save` names it: of both of docker's stores.
#[track_caller]
pub fn config_digest(image: &str) -> String {
    let saved = run("sh", &["-c", "docker save \"$0\" | tar -xOf - manifest.json", image]);
    let manifest: Value = serde_json::from_str(&saved).expect("JSON");
    let config = manifest[0]["Config"].as_str().expect("a file");
    // `HEX.json` from docker's own store, `blobs/sha256/HEX` from containerd's.
    let hex = config.rsplit('/').next().unwrap_or(config).trim_end_matches(".json");
    format!("sha256:{hex}")
}

impl Drop for TinyFamily {
    fn drop(&mut self) {
        let ours = format!("label=gantry.family={}", self.name);
        let external = format!("gantry.invalid/stage/external.{}", self.name);
        let mut left = self.tags();
        for (what, wanted) in [("--filter", ours), ("--quiet", external)] {
            let listed = Command::new("docker").args(["images", "-q", what, &wanted]).output().expect("docker runs");
            left.extend(String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned));
        }
        if !left.is_empty() {
            // Tags first, then what has none; what is gone with its tag by then is complained about, and gone.
            let _ = Command::new("docker").args(["rmi", "-f"]).args(left).output();
        }
    }
}
