//! Where things are in the images.

use crate::failure::Failure;
use crate::files;
use nix::unistd::Uid;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) const SSHD: &str = "/usr/sbin/sshd";
pub(crate) const SSH_KEYGEN: &str = "/usr/bin/ssh-keygen";
/// The privilege separation folder that is compiled into Debian's sshd.
pub(crate) const SSHD_RUN: &str = "/run/sshd";
pub(crate) const HOST_KEYS: &str = "/etc/ssh";
/// In the runtime folder: host keys that are not in the usual place.
pub(crate) const OWN_HOST_KEYS: &str = "host_keys";
/// The certificates that the image trusts.
pub(crate) const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What gives the workspace's user sudo.
pub(crate) const SUDOERS: &str = "/etc/sudoers.d/ansible";
/// Microsoft's VS Code server.
pub(crate) const VSCODE_SERVER: &str = "/opt/vscode-server/bin/code-server";
/// Coder's code-server.
pub(crate) const CODE_SERVER: &str = "/opt/code-server/bin/code-server";
/// VS Code's command line program: tunnels, and a web server that downloads itself.
pub(crate) const VSCODE_CLI: &str = "/usr/local/bin/code";
/// The extensions that the image brings along.
pub(crate) const BAKED_EXTENSIONS: &str = "/opt/vscode-extensions";
/// The GitHub runner.
pub(crate) const RUNNER: &str = "/opt/actions-runner";

/// The folder for what lives as long as the container: `/run/gantry`, or one in `/tmp` for an ordinary user,
/// who may not write to `/run`.
pub(crate) fn runtime() -> PathBuf {
    runtime_of(Uid::effective())
}

fn runtime_of(user: Uid) -> PathBuf {
    if user.is_root() { "/run/gantry".into() } else { format!("/tmp/gantry-{user}").into() }
}

/// Where the GitHub runner of the user `uid` is copied to when there is nowhere else.
pub(crate) fn runner_copy(uid: Uid) -> PathBuf {
    format!("/tmp/gantry-runner-{uid}").into()
}

/// The socket on which the running entrypoint answers.
pub(crate) fn control() -> PathBuf {
    runtime().join("control.sock")
}

/// Where the file `name` of the running entrypoint may be, as a caller sees it: in root's runtime folder, the caller's
/// own, and for root in that of the user whom the container was started as.
pub(crate) fn running(name: &str) -> Vec<PathBuf> {
    let own = Uid::effective();
    let mut users = vec![Uid::from_raw(0), own];
    if own.is_root() {
        let status = fs::read_to_string("/proc/1/status").unwrap_or_default();
        let user = status.lines().find_map(|line| line.strip_prefix("Uid:")?.split_ascii_whitespace().next()?.parse().ok());
        users.extend(user.map(Uid::from_raw));
    }
    users.into_iter().map(|user| runtime_of(user).join(name)).collect()
}

/// Creates the runtime folder.
///
/// # Errors
/// The folder above it is read-only, or somebody else owns it.
pub(crate) fn create_runtime() -> Result<PathBuf, Failure> {
    let path = runtime();
    // Services that run as the workspace's user read their own files in it.
    let mode = if Uid::effective().is_root() { 0o755 } else { 0o700 };
    let parent = path.parent().unwrap_or(Path::new("/")).display().to_string();
    files::folder(&path, mode).map_err(|error| {
        Failure::system(format!("the folder `{}`", path.display()), error)
            .hint(format!("with a read-only root, `{parent}` has to be a tmpfs: `--tmpfs {parent}`"))
    })?;
    Ok(path)
}
