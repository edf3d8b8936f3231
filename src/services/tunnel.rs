//! The VS Code tunnel: a way in that needs no port, by VS Code's own command line program.

use super::{Surroundings, outside_policy};
use crate::failure::Failure;
use crate::supervisor::{Probe, Service, Shown};
use crate::worker::Worker;
use crate::{places, tunnel};
use nix::sys::signal::Signal;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

/// Why it cannot be started here at all.
pub(super) fn missing() -> Option<String> {
    let absent = !Path::new(places::VSCODE_CLI).exists();
    absent.then(|| {
        let cli = places::VSCODE_CLI;
        format!("neither AUTHORIZED_KEYS nor VSCODE_WEB is set, which asks for the VS Code tunnel, and this image has no `{cli}`")
    })
}

pub(super) fn prepare(on: &Surroundings<'_>) -> Result<Service, Failure> {
    data_folder(on)?;
    Ok(Service {
        name: "tunnel",
        policy: outside_policy(0, Duration::from_secs(8)),
        steps: Vec::new(),
        program: Worker::Tunnel.program(on.sources, &[]),
        stop: Signal::SIGTERM,
        probe: Probe::Said,
        shown: Shown::Log,
        watch: Some(tunnel::watch),
    })
}

/// Creates the folder where VS Code's program keeps its login, for its user alone.
pub(super) fn data_folder(on: &Surroundings<'_>) -> Result<(), Failure> {
    let data = tunnel::data(&on.account.home);
    on.account.act(|| {
        let made = fs::create_dir_all(&data).and_then(|()| fs::set_permissions(&data, Permissions::from_mode(0o700)));
        made.map_err(|error| Failure::system(format!("the folder `{}`", data.display()), error))
    })
}
