//! `cargo xtask compile`: the programs of a release, so that the machine that publishes compiles nothing.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::prepare::{platform, read_family};
use super::session::variable;
use super::{Session, edge};
use crate::cli::Compile;
use crate::event::Event;
use crate::failure::{Exit, Failure};
use crate::host::entrypoint::{self, Toolchain};
use crate::oci::Digest;

/// The file that holds what a step of a workflow hands on. (GitHub Actions, "Setting an output parameter")
const STEP_OUTPUT: &str = "GITHUB_OUTPUT";

/// The entrypoint, in the folder.
const PROGRAM: &str = "entrypoint";

pub(super) async fn run(session: &Session, args: &Compile) -> Result<(), Failure> {
    let family = read_family(session)?;
    let toolchain = Toolchain::find(&session.root, platform(&family)?).await?;
    let sources = entrypoint::sources_digest(&session.root, &toolchain)?;
    let target = variable("CARGO_TARGET_DIR").map_or_else(|| session.root.join("target"), PathBuf::from);
    let events = session.console.events();
    let compiling = async { Ok(entrypoint::build(&session.root, &toolchain, &target, "entrypoint", &events).await?) };
    let entrypoint = session.interruptible(compiling).await?;
    let this =
        std::env::current_exe().map_err(|error| Failure::new(Exit::Unexpected, "cannot find this program").source(error))?;
    let failed = |path: &Path, error: std::io::Error| {
        Failure::new(Exit::Missing, format!("cannot write `{}`", path.display())).source(error)
    };
    std::fs::create_dir_all(&args.output).map_err(|error| failed(&args.output, error))?;
    let mut sums = String::new();
    for (name, from) in [(PROGRAM, &entrypoint), ("xtask", &this)] {
        let to = args.output.join(name);
        let bytes = std::fs::read(from).map_err(|error| failed(from, error))?;
        edge::write_beside(&to, &bytes)?;
        executable(&to).map_err(|error| failed(&to, error))?;
        let _ = writeln!(sums, "{}  {name}", Digest::of(&bytes).hex());
        if name == PROGRAM {
            let (origin, text) = (entrypoint::origin::beside(&to), entrypoint::origin::written(Digest::of(&bytes), sources));
            edge::write_beside(&origin, text.as_bytes())?;
            let _ = writeln!(sums, "{}  {}", Digest::of(&text).hex(), entrypoint::origin::beside(Path::new(name)).display());
        }
    }
    edge::write_beside(&args.output.join("SHA256SUMS"), sums.as_bytes())?;
    hand_on(&sums)?;
    if session.ci {
        events.emit(Event::Note { text: format!("whoever runs them compares:\n{sums}") });
    }
    session.console.result(&json!({ "schema": 1, "folder": args.output, "sha256": sums }), &sums);
    Ok(())
}

#[cfg(unix)]
fn executable(file: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> std::io::Result<()> {
    Ok(())
}

/// In a workflow the digests are an output of the step: they reach another job by another way than the files do.
fn hand_on(sums: &str) -> Result<(), Failure> {
    let Some(file) = variable(STEP_OUTPUT) else { return Ok(()) };
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(&file);
    // Digests and two names: no line of these ends the text early.
    let written = opened.and_then(|mut opened| opened.write_all(format!("digests<<END\n{sums}END\n").as_bytes()));
    written.map_err(|error| Failure::new(Exit::Missing, format!("cannot write `{file}` ({STEP_OUTPUT})")).source(error))
}
