//! The entrypoint as it is baked into images: what it is compiled from, compiling it, and checking what is given.

mod crates;
mod elf;
pub mod origin;
mod sources;
mod toolchain;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::HostError;
use super::program::{Call, Stream};
use crate::event::{Event, Events};
use crate::failure::Exit;

pub use origin::given;
pub use sources::sources_digest;
pub use toolchain::Toolchain;

/// The package and its binary.
const NAME: &str = "entrypoint";

/// What the compiler is told for every image; part of [`sources_digest`].
const PROFILE: &str = "image";

/// Compiles the entrypoint and gives the path of the executable. `cargo` decides whether anything is to be done. Where
/// the target's standard library is missing and rustup is there, it is installed first.
///
/// The files go to a folder `entrypoint` of their own in `target_dir`: neither the lock nor the fingerprints of the
/// `cargo` that we were started by are touched. `RUSTFLAGS` and their like are not handed on, so that the same sources
/// give the same bytes for everybody.
///
/// # Errors
/// It does not compile, or the standard library cannot be installed, or the result is not static.
pub async fn build(
    root: &Path,
    toolchain: &Toolchain,
    target_dir: &Path,
    step: &str,
    events: &Events,
) -> Result<PathBuf, HostError> {
    toolchain.install_target(root, step, events).await?;
    let folder = target_dir.join(NAME);
    let crates = crates::write(root, toolchain, &folder).await?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["build", "--locked", "--profile", PROFILE, "--package", NAME, "--bin", NAME]);
    cargo.args(["--target", &toolchain.target, "--message-format", "json-render-diagnostics"]);
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(changes_the_result) {
            cargo.env_remove(name);
        }
    }
    cargo.env("CARGO_TARGET_DIR", folder).env("CARGO_ENCODED_RUSTFLAGS", rustflags(root, toolchain));
    cargo.env(crates::VARIABLE, std::path::absolute(&crates).unwrap_or(crates));
    let call = Call { program: "cargo build --package entrypoint", needed_for: "the entrypoint", exit: Exit::Build };
    let (mut executable, mut compiled) = (None, 0);
    let line = |stream, line: &str| match (stream, artifact(line)) {
        (Stream::Stdout, Some(artifact)) => {
            compiled += 1;
            executable = artifact.executable.or(executable.take());
        }
        (Stream::Stdout, None) => {}
        (Stream::Stderr, _) => {
            events.emit(Event::StepLog { step: step.to_owned(), line: line.to_owned() });
            if let Some(current) = line.trim_start().strip_prefix("Compiling ") {
                let current = format!("compiling {current}");
                events.emit(Event::StepProgress { step: step.to_owned(), current, done: compiled, total: 0 });
            }
        }
    };
    call.run(cargo, line).await.map_err(|error| without_messages(error, toolchain))?;
    let executable = executable.ok_or_else(|| HostError::Malformed {
        path: root.join("Cargo.toml"),
        why: format!("its package `{NAME}` has no binary `{NAME}`"),
    })?;
    elf::check(&executable, toolchain.platform)?;
    Ok(executable)
}

/// Variables by which the caller's settings, or those of the cargo that runs us, would change what is compiled.
fn changes_the_result(variable: &str) -> bool {
    const EXACTLY: [&str; 9] = [
        "RUSTFLAGS",
        // Crates that look for what a compiler can do find a nightly one.
        "RUSTC_BOOTSTRAP",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_BUILD_TARGET_DIR",
        "CARGO_BUILD_BUILD_DIR",
        "CARGO_INCREMENTAL",
        "CARGO_MANIFEST_DIR",
        "CARGO_MANIFEST_PATH",
    ];
    let prefixes = ["CARGO_PROFILE_", "CARGO_PKG_", "CARGO_BIN_", "CARGO_UNSTABLE_"];
    EXACTLY.contains(&variable) || prefixes.iter().any(|prefix| variable.starts_with(prefix))
}

/// The toolchain's flags, and no path of this machine in the executable.
fn rustflags(root: &Path, toolchain: &Toolchain) -> OsString {
    let cargo_home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let cargo_home = cargo_home.or_else(|| Some(std::env::home_dir()?.join(".cargo")));
    let mut flags = OsString::from(toolchain.flags().join("\x1f"));
    flags.push("\x1f");
    flags.push(crates::FLAG);
    for (from, to) in [(Some(root.to_owned()), "/gantry"), (cargo_home, "/cargo")] {
        if let Some(from) = from {
            flags.push("\x1f--remap-path-prefix=");
            flags.push(from);
            flags.push("=");
            flags.push(to);
        }
    }
    flags
}

struct Artifact {
    executable: Option<PathBuf>,
}

/// One of cargo's messages, if it says that something was compiled (or was fresh).
fn artifact(line: &str) -> Option<Artifact> {
    let message: serde_json::Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" {
        return None;
    }
    let ours = message["target"]["name"] == NAME;
    Some(Artifact { executable: message["executable"].as_str().filter(|_| ours).map(PathBuf::from) })
}

/// What failed, without cargo's JSON between the compiler's words, and with a hint where the cause is known.
fn without_messages(error: HostError, toolchain: &Toolchain) -> HostError {
    let HostError::Program { program, status, mut output, log, exit, .. } = error else { return error };
    output.retain(|line| !line.starts_with("{\"reason\""));
    let says = |words: &str| output.iter().any(|line| line.contains(words));
    let hint = if says("musl-gcc") {
        Some("a package with C code needs Debian's `musl-tools`: apt-get install --no-install-recommends musl-tools".to_owned())
    } else if says("--locked") {
        Some("Cargo.lock does not fit Cargo.toml: cargo update --workspace".to_owned())
    } else if says("can't find crate for `std`") {
        Some(format!("rustup target add {}", toolchain.target))
    } else {
        None
    };
    HostError::Program { program, status, output, log, exit, hint }
}

/// Runs `program` in `root` and gives what it prints.
async fn read(program: &Path, args: &[&str], root: &Path) -> Result<String, HostError> {
    let name = program.display().to_string();
    let mut command = Command::new(program);
    command.current_dir(root).args(args).stdin(Stdio::null()).kill_on_drop(true);
    let missing = |what: String| HostError::Missing {
        what,
        needed_for: "the entrypoint".into(),
        mend: super::Mend::Text("install Rust with rustup, or give a compiled entrypoint with `--entrypoint FILE`".into()),
    };
    let output = command.output().await.map_err(|error| missing(format!("the program `{name}` cannot be run ({error})")))?;
    if !output.status.success() {
        let output = String::from_utf8_lossy(&output.stderr).lines().map(str::to_owned).collect::<Vec<_>>().join("; ");
        return Err(missing(format!("`{name} {}` fails: {output}", args.join(" "))));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[cfg(test)]
mod tests {
    use super::changes_the_result;

    #[test]
    fn what_the_compiler_is_not_told() {
        for (variable, changes) in [
            ("RUSTFLAGS", true),
            ("RUSTC_BOOTSTRAP", true),
            ("CARGO_PROFILE_IMAGE_LTO", true),
            ("CARGO_PKG_NAME", true),
            ("CARGO_HOME", false),
            ("RUSTUP_TOOLCHAIN", false),
            ("HTTPS_PROXY", false),
        ] {
            assert_eq!(changes_the_result(variable), changes, "{variable}");
        }
    }
}
