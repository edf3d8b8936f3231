//! Where the listener's lines go: to `entrypoint logs`, and to `~/runner.log` of the workspace's user.

use crate::account::Account;
use crate::failure::Failure;
use crate::log::{Format, Log};
use nix::fcntl::OFlag;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

/// The size at which the file becomes `runner.log.1`.
const ROTATED_AT: u64 = 10 * 1024 * 1024;

/// The lines' way out.
#[derive(Debug)]
pub(super) struct Output {
    log: Log,
    /// None: with RUNNER_DEBUG the container's log shows everything.
    kept: Option<Kept>,
}

/// The file in the workspace. It is opened with its user's rights, wherever a link of theirs may lead.
#[derive(Debug)]
struct Kept {
    account: Account,
    path: PathBuf,
    file: Option<File>,
}

impl Output {
    pub(super) fn new(workspace: Account, debug: bool) -> Self {
        let path = workspace.home.join("runner.log");
        // What is written here comes out at the other end of a pipe, where PID 1 puts it in its place.
        Self { log: Log::new(Format::Text), kept: (!debug).then_some(Kept { account: workspace, path, file: None }) }
    }

    /// Opens the file, so that somebody who follows it finds one.
    ///
    /// # Errors
    /// It cannot be written to, and why; the lines go the other way only.
    pub(super) fn open(&mut self) -> Result<(), String> {
        self.kept.as_mut().map_or(Ok(()), |kept| kept.reopen().map_err(|error| format!("`{}`: {error}", kept.path.display())))
    }

    /// Writes lines, each with its newline.
    pub(super) fn write(&mut self, lines: &str) {
        self.log.answer(lines);
        if let Some(kept) = &mut self.kept {
            // A full disk is no reason to end a runner.
            let _ = kept.write(lines);
        }
    }
}

impl Kept {
    fn write(&mut self, lines: &str) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        file.write_all(lines.as_bytes())?;
        let found = file.metadata()?;
        if found.nlink() == 0 || found.size() >= ROTATED_AT { self.reopen() } else { Ok(()) }
    }

    /// Opens the file anew, moved aside when it is large.
    fn reopen(&mut self) -> io::Result<()> {
        self.file = None;
        let mut result = Ok(());
        let acted = self.account.act(|| {
            result = open(&self.path).map(|file| self.file = Some(file));
            Ok::<_, Failure>(())
        });
        result.and(acted.map_err(|failure| io::Error::other(failure.problems.concat())))
    }
}

fn open(path: &PathBuf) -> io::Result<File> {
    let open = || {
        let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = OpenOptions::new().append(true).create(true).mode(0o640).custom_flags(flags.bits()).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Err(io::Error::other("is no file"));
        }
        Ok((file, found.size()))
    };
    let (file, size) = open()?;
    if size < ROTATED_AT {
        return Ok(file);
    }
    let mut old = path.clone().into_os_string();
    old.push(".1");
    fs::rename(path, old)?;
    open().map(|(file, _)| file)
}
