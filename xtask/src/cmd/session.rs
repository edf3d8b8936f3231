//! What every command starts from: where it prints, where the family lies, the environment, the way to be interrupted.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

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
    interrupt: OnceLock<Interrupt>,
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
        Self {
            console: Console::new(cli.format, ci, variable("NO_COLOR").is_some()).verbose(cli.verbose),
            manifest,
            root,
            ci,
            interrupt: OnceLock::new(),
        }
    }

    /// The same command on another variants.toml.
    pub(crate) fn elsewhere(&self, manifest: PathBuf) -> Self {
        let root = manifest.parent().unwrap_or(Path::new(".")).to_owned();
        Self { console: self.console, manifest, root, ci: self.ci, interrupt: self.interrupt.clone() }
    }

    /// Cache, state and logs of this user.
    pub(crate) fn places(&self) -> Result<Places, Failure> {
        Ok(Places::from_env(&variable)?)
    }

    /// Fires at the first Ctrl-C; the second one ends the process. From the first call on Ctrl-C does nothing else, so
    /// whatever may take long goes through [`Session::interruptible`].
    pub(crate) fn interrupt(&self) -> Result<Interrupt, Failure> {
        if let Some(interrupt) = self.interrupt.get() {
            return Ok(interrupt.clone());
        }
        let listening = Interrupt::listen();
        let interrupt = listening.map_err(|error| Failure::new(Exit::Unexpected, "cannot wait for signals").source(error))?;
        Ok(self.interrupt.get_or_init(|| interrupt).clone())
    }

    /// Does something until it is done, or Ctrl-C comes: then it is dropped, and the command ends with 130.
    pub(crate) async fn interruptible<T>(&self, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        match self.interrupt()?.or(work).await {
            Some(result) => result,
            None => Err(Failure::new(Exit::Interrupted, "interrupted")),
        }
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
