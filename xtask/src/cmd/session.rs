//! What every command starts from: where it prints, where the family lies, the environment, the way to be interrupted.

use std::path::{Path, PathBuf};

use crate::cli::Cli;
use crate::failure::{Exit, Failure};
use crate::host::interrupt::Interrupt;
use crate::host::places::Places;
use crate::output::Console;

/// What every command starts from.
pub(crate) struct Session {
    pub(crate) console: Console,
    /// variants.toml, as given.
    pub(crate) manifest: PathBuf,
    /// The folder that variants.toml lies in.
    pub(crate) root: PathBuf,
    /// `CI=true`: no questions, plain progress, `--locked`.
    pub(crate) ci: bool,
}

/// A variable of the environment; empty is unset.
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

impl Session {
    pub(crate) fn new(cli: &Cli) -> Self {
        let ci = variable("CI").is_some_and(|value| value == "true" || value == "1");
        let manifest = found_from_below(&cli.manifest);
        let root = manifest.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned();
        Self { console: Console::new(cli.format, ci, variable("NO_COLOR").is_some()), manifest, root, ci }
    }

    /// Cache, state and logs of this user.
    pub(crate) fn places(&self) -> Result<Places, Failure> {
        Ok(Places::from_env(&variable)?)
    }

    /// Fires at the first Ctrl-C; the second one ends the process. From the first call on, Ctrl-C does nothing else.
    pub(crate) fn interrupt(&self) -> Result<Interrupt, Failure> {
        Interrupt::listen().map_err(|error| Failure::new(Exit::Unexpected, "cannot wait for signals").source(error))
    }
}

/// As cargo does for Cargo.toml: the default name is looked for in the folders above, too.
fn found_from_below(manifest: &Path) -> PathBuf {
    if manifest.components().count() > 1 || manifest.exists() {
        return manifest.to_owned();
    }
    let here = std::env::current_dir().unwrap_or_default();
    let mut above = here.ancestors().map(|folder| folder.join(manifest));
    above.find(|candidate| candidate.exists()).unwrap_or_else(|| manifest.to_owned())
}
