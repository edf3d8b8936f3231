//! A Debian made of packages: the base of images where no registry can be reached.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::lockfile::exclusively;
use super::program::Call;
use super::{HostError, Mend, os};
use crate::event::{Event, Events};
use crate::failure::Exit;
use crate::oci::{Digest, Platform};

/// Raised when the same request would give other bytes than before.
const SCHEMA: u32 = 1;

/// What mmdebstrap copies from this machine or leaves behind for its administrator.
const NOT_OURS: &str = r#"rm -f "$1/etc/hostname" "$1/etc/resolv.conf" "$1"/var/cache/debconf/*-old "$1"/var/lib/dpkg/*-old"#;

/// A minimal Debian `suite` with `packages` for `platform`, as a tar archive in `folder`. All of its times are at most
/// `epoch` (seconds since 1970). One that was made before from the same words is taken as it is: whoever wants newer
/// packages gives a newer `epoch`. Without machine id, logs, package lists, downloads and device nodes.
///
/// # Errors
/// mmdebstrap, or what it needs, is missing; or it fails.
pub async fn root_filesystem(
    suite: &str,
    packages: &[String],
    platform: Platform,
    folder: &Path,
    epoch: u64,
    step: &str,
    events: &Events,
) -> Result<PathBuf, HostError> {
    let mut packages = packages.to_vec();
    packages.sort();
    packages.dedup();
    let key = Digest::of(format!("{SCHEMA}\0{suite}\0{}\0{platform}\0{epoch}", packages.join("\0")));
    let file = folder.join(format!("{suite}-{}-{}.tar", platform.arch(), key.short(16)));
    if file.is_file() {
        return Ok(file);
    }
    let say = |current: &str| {
        events.emit(Event::StepProgress { step: step.to_owned(), current: current.to_owned(), done: 0, total: 0 });
    };
    // Whoever comes second finds the first one's file, and a leftover of one that was killed is overwritten.
    let _lock = exclusively(&file.with_extension("lock"), || say("waiting for another process that makes the same")).await?;
    if file.is_file() {
        return Ok(file);
    }
    let mut command = command(&packages, platform)?;
    let partial = Partial(file.with_extension("tar.partial"));
    command.arg(suite).arg(&partial.0).env("SOURCE_DATE_EPOCH", epoch.to_string()).env("LC_ALL", "C.UTF-8");
    let call = Call { program: "mmdebstrap", needed_for: "a base image without a registry", exit: Exit::Build };
    let line = |_, line: &str| {
        events.emit(Event::StepLog { step: step.to_owned(), line: line.to_owned() });
        if let Some(current) = line.strip_prefix("I: ") {
            say(current);
        }
    };
    call.run(command, line).await.map_err(|error| with_hint(error, suite))?;
    std::fs::File::open(&partial.0).and_then(|file| file.sync_all()).map_err(HostError::io("write", &partial.0))?;
    std::fs::rename(&partial.0, &file).map_err(HostError::io("create", &file))?;
    Ok(file)
}

/// A file that is removed unless it was renamed.
struct Partial(PathBuf);

impl Drop for Partial {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn command(packages: &[String], platform: Platform) -> Result<Command, HostError> {
    let missing = |program: &str, package: &str| HostError::Missing {
        what: format!("no program `{program}`"),
        needed_for: "a base image without a registry".into(),
        mend: Mend::apt(&[package]),
    };
    let program = os::installed("mmdebstrap").ok_or_else(|| missing("mmdebstrap", "mmdebstrap"))?;
    let mode = if os::is_root() {
        "root"
    } else {
        os::installed("newuidmap").ok_or_else(|| missing("newuidmap", "uidmap"))?;
        "unshare"
    };
    let mut command = Command::new(program);
    command.arg(format!("--mode={mode}")).args(["--variant=minbase", "--format=tar", "--skip=output/dev"]);
    command.arg(format!("--architectures={}", platform.arch()));
    if !packages.is_empty() {
        command.arg(format!("--include={}", packages.join(",")));
    }
    command.arg(format!("--customize-hook={NOT_OURS}"));
    Ok(command)
}

fn with_hint(error: HostError, suite: &str) -> HostError {
    let HostError::Program { program, status, output, log, exit, .. } = error else { return error };
    let says = |words: &[&str]| output.iter().any(|line| words.iter().any(|word| line.contains(word)));
    let hint = if says(&["NO_PUBKEY", "is not signed"]) {
        let package = "debian-archive-keyring";
        Some(format!("the key of `{suite}` is not known here: apt-get install --no-install-recommends {package}"))
    } else if says(&["Temporary failure resolving", "Could not connect", "Could not resolve", "Connection timed out"]) {
        Some("Debian's mirror cannot be reached: check the network, or apt's proxy (`Acquire::http::Proxy`)".to_owned())
    } else if says(&["404  Not Found", "does not have a Release file"]) {
        Some(format!("is `{suite}` a suite of Debian?"))
    } else if says(&["Unable to locate package"]) {
        Some(format!("a package of the base is not in `{suite}`"))
    } else if says(&["No space left on device"]) {
        Some("the disk is full: `TMPDIR` names the folder that mmdebstrap works in".to_owned())
    } else {
        None
    };
    HostError::Program { program, status, output, log, exit, hint }
}
