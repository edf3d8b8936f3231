//! moto, which stands in for AWS in the tests: from PyPI, in a folder of its own, so that no Python of the system changes.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::event::{Event, Events};
use crate::failure::Exit;
use crate::host::HostError;
use crate::host::places::Places;
use crate::host::program::Call;

/// What is installed: its server needs no more than these (`moto[server]` is three times as much).
pub const PACKAGES: [&str; 3] = ["moto==5.2.5", "flask==3.1.3", "flask-cors==6.0.5"];

const TOOLS: &str = "test-tools";

/// The folder with all that the tests have in it.
pub fn all(places: &Places) -> PathBuf {
    places.state_path().join(TOOLS)
}

/// Takes that folder away.
///
/// # Errors
/// It cannot be removed.
pub fn remove(places: &Places) -> Result<(), HostError> {
    let folder = all(places);
    std::fs::remove_dir_all(&folder).map_err(HostError::io("remove", &folder))
}

/// Where it is, or will be.
pub fn folder(places: &Places) -> PathBuf {
    all(places).join("moto-5.2.5")
}

/// The program that the tests start.
pub fn moto_server(places: &Places) -> PathBuf {
    folder(places).join("bin/moto_server")
}

/// Whether this machine's Python can make such a folder: Debian has that in a package of its own.
pub(super) async fn can_make_folders() -> bool {
    let asked = Command::new("python3").args(["-c", "import ensurepip, venv"]).output().await;
    asked.is_ok_and(|output| output.status.success())
}

/// The same as command lines.
pub(super) fn commands(folder: &Path) -> [String; 2] {
    let folder = folder.display();
    [format!("python3 -m venv --clear {folder}"), format!("{folder}/bin/pip install {}", PACKAGES.join(" "))]
}

/// Makes the folder and installs what belongs in it.
///
/// # Errors
/// A program fails.
pub(super) async fn install(folder: &Path, places: &Places, log: &Path, step: &str, events: &Events) -> Result<(), HostError> {
    places.state_folder(TOOLS)?;
    File::options().create(true).append(true).open(log).map_err(HostError::io("open", log))?;
    let mut make = Command::new("python3");
    make.args(["-m", "venv", "--clear"]).arg(folder);
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--disable-pip-version-check", "--no-input"]).args(PACKAGES);
    for (program, command) in [("python3 -m venv", make), ("pip install", pip)] {
        let mut log = OpenOptions::new().append(true).open(log).map_err(HostError::io("open", log))?;
        let progress = Event::StepProgress { step: step.to_owned(), current: program.to_owned(), done: 0, total: 0 };
        events.emit(progress);
        let line = |_, line: &str| {
            let _ = writeln!(log, "{line}");
            events.emit(Event::StepLog { step: step.to_owned(), line: line.to_owned() });
        };
        Call { program, needed_for: "moto, which stands in for AWS in the tests", exit: Exit::Missing }
            .run(command, line)
            .await?;
    }
    Ok(())
}
