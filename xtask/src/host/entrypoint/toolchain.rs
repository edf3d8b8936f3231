//! The compiler, and the target that it compiles the entrypoint for.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::read;
use crate::event::{Event, Events};
use crate::failure::Exit;
use crate::host::program::Call;
use crate::host::{HostError, Mend, os};
use crate::oci::Platform;

/// The compiler, and the target that it compiles the entrypoint for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    /// The platform of the images.
    pub platform: Platform,
    /// What `rustc -vV` says.
    pub version: String,
    /// The musl target of the platform or, without rustup, the host's own.
    pub target: String,
    /// Whether the target's standard library is still to be installed.
    pub install: bool,
}

impl Toolchain {
    /// Finds them, and changes nothing. `root` is the workspace (its `rust-toolchain.toml` counts).
    ///
    /// # Errors
    /// There is no compiler, or no way to a static executable for `platform`.
    pub async fn find(root: &Path, platform: Platform) -> Result<Self, HostError> {
        let rustc = std::env::var_os("RUSTC").filter(|rustc| !rustc.is_empty()).unwrap_or_else(|| "rustc".into());
        let rustc = Path::new(&rustc);
        let musl = platform.rust_target();
        // Side by side: every plan asks both, and each takes rustup and rustc some time to start.
        let libraries = ["--print", "target-libdir", "--target", musl];
        let (version, libraries) = tokio::try_join!(read(rustc, &["-vV"], root), read(rustc, &libraries, root))?;
        let has_musl = PathBuf::from(libraries.trim()).is_dir();
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default().to_owned();
        let (target, install) = choose(platform, &host, has_musl, os::installed("rustup").is_some())?;
        Ok(Self { platform, version, target, install })
    }

    /// What rustc is told beside the profile.
    pub fn flags(&self) -> [&'static str; 1] {
        if self.target.ends_with("-musl") {
            // Rust's own linker: needs no C compiler for the other platform, and links alike on every machine.
            ["-Clinker=rust-lld"]
        } else {
            ["-Ctarget-feature=+crt-static"]
        }
    }

    /// Installs the target's standard library where it is missing.
    pub(super) async fn install_target(&self, root: &Path, step: &str, events: &Events) -> Result<(), HostError> {
        if !self.install {
            return Ok(());
        }
        let current = format!("rustup target add {}", self.target);
        events.emit(Event::StepProgress { step: step.to_owned(), current: current.clone(), done: 0, total: 0 });
        let mut rustup = Command::new("rustup");
        rustup.current_dir(root).args(["target", "add", &self.target]);
        let call = Call { program: &current, needed_for: "the entrypoint", exit: Exit::Missing };
        let line = |_, line: &str| events.emit(Event::StepLog { step: step.to_owned(), line: line.to_owned() });
        call.run(rustup, line).await
    }
}

/// The target, and whether its standard library is to be installed.
fn choose(platform: Platform, host: &str, has_musl: bool, has_rustup: bool) -> Result<(String, bool), HostError> {
    let musl = platform.rust_target();
    let same_machine = host.split('-').next() == musl.split('-').next();
    match (has_musl, has_rustup) {
        (true, _) => Ok((musl.to_owned(), false)),
        (false, true) => Ok((musl.to_owned(), true)),
        (false, false) if same_machine && host.contains("-linux-") => Ok((host.to_owned(), false)),
        (false, false) => Err(HostError::Missing {
            what: format!("the compiler has no standard library for `{musl}`, and there is no rustup to install it"),
            needed_for: format!("the entrypoint on {platform}"),
            mend: Mend::Text(format!(
                "install Rust with rustup, or compile it elsewhere and give it with `--entrypoint FILE` (target `{musl}`)"
            )),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_target() {
        let (gnu, musl) = ("x86_64-unknown-linux-gnu", "x86_64-unknown-linux-musl");
        for (host, has_musl, has_rustup, chosen) in [
            (gnu, true, true, Some((musl, false))),
            (gnu, true, false, Some((musl, false))),
            (gnu, false, true, Some((musl, true))),
            (gnu, false, false, Some((gnu, false))),
            ("aarch64-unknown-linux-gnu", false, false, None),
            ("x86_64-apple-darwin", false, false, None),
            ("x86_64-apple-darwin", false, true, Some((musl, true))),
        ] {
            let found = choose(Platform::LinuxAmd64, host, has_musl, has_rustup).ok();
            let chosen = chosen.map(|(target, install): (&str, bool)| (target.to_owned(), install));
            assert_eq!(found, chosen, "{host} {has_musl} {has_rustup}");
        }
    }
}
