//! What commands need of this machine, as values: the rows of `doctor`, and what preflight refuses to start without.

mod tools;

use std::path::{Path, PathBuf};

use super::entrypoint::Toolchain;
use super::os::installed;
use super::places::Places;
use super::{HostError, Mend, OsRelease};
use crate::engine::EngineInfo;
use crate::oci::Platform;

pub use tools::{Purpose, TOOLS, Tool};

/// Free bytes that the engine wants for a family: its images, BuildKit's cache and an export of them.
const ENGINE_FREE: u64 = 15 << 30;

/// What makes room there: images of the family, and what BuildKit keeps of every project's builds.
const ENGINE_MEND: &str = "cargo xtask clean --images; docker builder prune --all";

/// Free bytes that the cache wants: downloads, a bootstrapped base and compressed layers.
const CACHE_FREE: u64 = 4 << 30;

/// Something that is needed, and whether it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Requirement {
    /// What it is: `Docker Engine`, `mmdebstrap`.
    pub name: String,
    /// What was found, or why it will not do.
    pub found: Result<String, String>,
    /// What cannot be done without it.
    pub needed_for: String,
    /// What to do when it is missing.
    pub mend: Mend,
}

impl Requirement {
    /// Whether it is there.
    pub fn is_met(&self) -> bool {
        self.found.is_ok()
    }
}

/// Why there is no engine to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoEngine {
    /// What is wrong: it does not answer, it is too old.
    pub why: String,
    /// What to do about it.
    pub mend: Mend,
}

/// What is asked of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Survey<'a> {
    /// What the engine says of itself, or why there is none.
    pub engine: &'a Result<EngineInfo, NoEngine>,
    /// The folder that the engine keeps its images in, when it is on this machine.
    pub engine_root: Option<&'a Path>,
    /// Our folders.
    pub places: &'a Places,
    /// The workspace.
    pub root: &'a Path,
    /// The platform of the images.
    pub platform: Platform,
    /// The Debian suite, when the profile bootstraps its base.
    pub bootstrap: Option<&'a str>,
}

/// Looks at everything, in the order of a table for people. Changes nothing, but that our folders are there afterwards.
pub async fn survey(asked: &Survey<'_>) -> Vec<Requirement> {
    let mut rows = vec![engine(asked.engine)];
    if let Some(root) = asked.engine_root {
        rows.extend(disk("disk of the engine", root, ENGINE_FREE, ENGINE_MEND));
    }
    rows.push(folder("cache folder", asked.places.cache_path(), asked.places.cache()));
    rows.push(folder("state folder", asked.places.state_path(), asked.places.state()));
    rows.extend(disk("disk of the cache", asked.places.cache_path(), CACHE_FREE, "cargo xtask clean --cache"));
    rows.push(toolchain(Toolchain::find(asked.root, asked.platform).await, asked.platform));
    rows.push(git(asked.root).await);
    if let Some(suite) = asked.bootstrap {
        rows.extend(bootstrapping(suite, asked.platform));
    }
    rows
}

/// What making a Debian of packages takes. Quick: a build asks this before it begins.
pub fn bootstrapping(suite: &str, platform: Platform) -> Vec<Requirement> {
    let os = OsRelease::read();
    let mut rows: Vec<Requirement> = tools::of(Purpose::Bootstrap).map(|one| tool(one, &os)).collect();
    rows.push(keyring(suite, Path::new("/usr/share/keyrings")));
    rows.extend(foreign(platform));
    rows
}

fn engine(engine: &Result<EngineInfo, NoEngine>) -> Requirement {
    let (found, mend) = match engine {
        Ok(info) if info.os != "linux" => {
            let why = format!("{} builds images for {}, and Linux is needed", info.version, info.os);
            (Err(why), Mend::Text("switch to Linux containers, or name another engine with DOCKER_HOST".into()))
        }
        Ok(info) => (Ok(format!("{}, API {}, {}/{}", info.version, info.api_version, info.os, info.arch)), Mend::None),
        Err(none) => (Err(none.why.clone()), none.mend.clone()),
    };
    Requirement { name: "Docker Engine".into(), found, needed_for: "building and running images".into(), mend }
}

fn folder(name: &str, path: &Path, usable: Result<PathBuf, HostError>) -> Requirement {
    let mend = usable.as_ref().err().and_then(HostError::hint).map_or(Mend::None, Mend::Text);
    let found = usable.map(|_| path.display().to_string()).map_err(|error| error.to_string());
    Requirement { name: name.into(), found, needed_for: "downloads, layers, logs and the ledger".into(), mend }
}

fn toolchain(found: Result<Toolchain, HostError>, platform: Platform) -> Requirement {
    let mend = match &found {
        Err(HostError::Missing { mend, .. }) => mend.clone(),
        _ => Mend::None,
    };
    let found = found.map_err(|error| error.to_string()).map(|toolchain| {
        let version = toolchain.version.lines().next().unwrap_or_default().to_owned();
        let install = if toolchain.install { ", whose standard library `build` will install with rustup" } else { "" };
        format!("{version}, target `{}`{install}", toolchain.target)
    });
    Requirement { name: "Rust".into(), found, needed_for: format!("the entrypoint on {platform}"), mend }
}

async fn git(root: &Path) -> Requirement {
    let found = match (installed("git"), super::git::facts(root).await) {
        (None, _) => Err("no program `git`".to_owned()),
        (Some(_), Err(error)) => Err(error.to_string()),
        (Some(_), Ok(None)) => Err("no commit here".to_owned()),
        (Some(_), Ok(Some(facts))) => Ok(format!("{}{}", facts.short, if facts.dirty { ", with changes" } else { "" })),
    };
    let needed_for = "the revision in labels and in published tags (local builds do without)".into();
    Requirement { name: "git".into(), found, needed_for, mend: Mend::apt(&["git"]) }
}

fn tool(tool: &Tool, os: &OsRelease) -> Requirement {
    let found = installed(tool.program).map(|path| path.display().to_string());
    Requirement {
        name: tool.program.into(),
        found: found.ok_or_else(|| format!("no program `{}`", tool.program)),
        needed_for: tool.why.into(),
        mend: Mend::apt(&[tool.package_on(os)]),
    }
}

/// Debian's signing keys; those of a suite came with the package of about its release.
fn keyring(suite: &str, folder: &Path) -> Requirement {
    let files = ["gpg", "pgp"].map(|end| format!("debian-archive-{suite}-stable.{end}"));
    let one = files.iter().map(|file| folder.join(file)).find(|file| file.is_file());
    let any = ["gpg", "pgp"].iter().any(|end| folder.join(format!("debian-archive-keyring.{end}")).is_file());
    let found = match one {
        Some(file) => Ok(file.display().to_string()),
        // testing and unstable are signed with the keys of the releases.
        None if any && matches!(suite, "sid" | "unstable" | "testing" | "stable" | "forky") => {
            Ok("debian-archive-keyring".into())
        }
        None if any => Err(format!("`debian-archive-keyring` is older than `{suite}`")),
        None => Err("no package `debian-archive-keyring`".into()),
    };
    let needed_for = format!("a base image made of `{suite}`'s packages");
    Requirement { name: "Debian's keys".into(), found, needed_for, mend: Mend::apt(&["debian-archive-keyring"]) }
}

/// Programs of another architecture run only with an emulator that the kernel knows of.
fn foreign(platform: Platform) -> Option<Requirement> {
    let (host, machine) = match std::env::consts::ARCH {
        "x86_64" => ("amd64", "aarch64"),
        "aarch64" => ("arm64", "x86_64"),
        other => (other, platform.arch()),
    };
    if host == platform.arch() {
        return None;
    }
    let file = Path::new("/proc/sys/fs/binfmt_misc").join(format!("qemu-{machine}"));
    Some(Requirement {
        name: format!("emulator for {}", platform.arch()),
        found: if file.exists() { Ok(file.display().to_string()) } else { Err("the kernel knows of none".into()) },
        needed_for: format!("building for {platform} on {host}"),
        mend: Mend::apt(&["qemu-user-static", "binfmt-support", "arch-test"]),
    })
}

/// Whether there is room for a family, where that can be told: in the engine's folder, when it is on this machine, and in ours.
pub fn room(engine_root: Option<&Path>, places: &Places) -> Vec<Requirement> {
    let engine = engine_root.and_then(|root| disk("disk of the engine", root, ENGINE_FREE, ENGINE_MEND));
    engine.into_iter().chain(disk("disk of the cache", places.cache_path(), CACHE_FREE, "cargo xtask clean --cache")).collect()
}

/// Whether `wanted` bytes are free where `path` is or will be, or else the command that frees some; none where that
/// cannot be told.
fn disk(name: &str, path: &Path, wanted: u64, mend: &str) -> Option<Requirement> {
    let free = free_bytes(path.ancestors().find(|folder| folder.exists())?)?;
    let gib = |bytes: u64| format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30));
    let text = format!("{} free at {}", gib(free), path.display());
    Some(Requirement {
        name: name.into(),
        found: if free >= wanted { Ok(text) } else { Err(format!("{text}, and {} are wanted", gib(wanted))) },
        needed_for: "building a whole family".into(),
        mend: Mend::Command(mend.into()),
    })
}

/// Bytes that are free for this user where `folder` is; none where that cannot be told.
#[cfg(unix)]
pub fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(folder).ok()?;
    stat.f_bavail.checked_mul(stat.f_frsize)
}

/// Nobody is asked there.
#[cfg(not(unix))]
pub fn free_bytes(_: &Path) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(version: &str, api: &str, os: &str) -> Result<EngineInfo, NoEngine> {
        let (version, api_version, os) = (version.to_owned(), api.to_owned(), os.to_owned());
        Ok(EngineInfo { version, api_version, os, arch: "amd64".into(), containerd_store: false, overlay2: None })
    }

    #[test]
    fn which_engine_will_do() {
        let silent = NoEngine { why: "nothing answers".into(), mend: Mend::Command("start one".into()) };
        for (asked, found, mend) in [
            (info("20.10.24", "1.41", "linux"), Ok("20.10.24, API 1.41, linux/amd64"), ""),
            (
                info("28.5.2", "1.51", "windows"),
                Err("28.5.2 builds images for windows, and Linux is needed"),
                "switch to Linux containers, or name another engine with DOCKER_HOST",
            ),
            (Err(silent), Err("nothing answers"), "start one"),
        ] {
            let row = engine(&asked);
            assert_eq!(row.found.as_deref().map_err(String::as_str), found);
            assert_eq!(row.mend.to_string(), mend);
        }
    }

    #[test]
    fn whose_keys_are_there() {
        let folder = tempfile::tempdir().expect("a folder");
        assert_eq!(keyring("trixie", folder.path()).found, Err("no package `debian-archive-keyring`".into()));
        std::fs::write(folder.path().join("debian-archive-keyring.gpg"), "").expect("written");
        assert_eq!(keyring("trixie", folder.path()).found, Err("`debian-archive-keyring` is older than `trixie`".into()));
        assert!(keyring("sid", folder.path()).is_met());
        std::fs::write(folder.path().join("debian-archive-trixie-stable.gpg"), "").expect("written");
        assert!(keyring("trixie", folder.path()).is_met());
    }

    #[test]
    #[cfg(unix)]
    fn free_space() {
        let folder = tempfile::tempdir().expect("a folder");
        let later = folder.path().join("not/there/yet");
        assert!(disk("disk", &later, 1, "rm").expect("told").is_met());
        let row = disk("disk", &later, u64::MAX, "rm").expect("told");
        assert_eq!(row.mend, Mend::Command("rm".into()));
        assert!(row.found.expect_err("too little").contains("GiB are wanted"));
    }
}
