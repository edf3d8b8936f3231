//! The only place that starts processes.

use crate::account::Account;
use nix::sys::signal::{SigHandler, SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, setgid, setgroups, setuid};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// A program to start: nothing of the entrypoint's own environment goes along.
#[derive(Debug, Clone)]
pub(crate) struct Program {
    /// Absolute: nothing is searched for.
    pub(crate) path: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    /// The whole environment.
    pub(crate) environment: Vec<(OsString, OsString)>,
    /// The user that it runs as, when it is not the entrypoint's own.
    pub(crate) user: Option<Account>,
    /// The working folder.
    pub(crate) folder: PathBuf,
}

/// Starts `program` in a process group of its own and returns its process id.
///
/// # Errors
/// The program or the folder is not there, or the kernel refuses.
pub(super) fn spawn(program: &Program) -> io::Result<Pid> {
    let mut command = Command::new(&program.path);
    command
        .args(&program.arguments)
        .env_clear()
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .current_dir(&program.folder)
        .stdin(Stdio::null())
        .process_group(0);
    let user = program.user.as_ref().filter(|_| Uid::effective().is_root());
    let user = user.map(|user| (user.groups.clone(), user.gid, user.uid));
    let prepare = move || settle(user.as_ref());
    // SAFETY: between fork and exec of this single-threaded process; `settle` makes system calls only.
    unsafe { command.pre_exec(prepare) };
    // Nobody calls `wait` on the child: the reaper owns that.
    let child = command.spawn()?;
    Ok(Pid::from_raw(child.id().cast_signed()))
}

/// What a child is before its program begins: default signals, none blocked, the common mask, its user.
fn settle(user: Option<&(Vec<Gid>, Gid, Uid)>) -> io::Result<()> {
    for signal in Signal::iterator().filter(|signal| ![Signal::SIGKILL, Signal::SIGSTOP].contains(signal)) {
        // SAFETY: the default disposition runs no code of ours.
        unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) }?;
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    umask(Mode::from_bits_truncate(0o022));
    if let Some((groups, gid, uid)) = user {
        // In this order: after the last one there are no rights left for the others.
        setgroups(groups)?;
        setgid(*gid)?;
        setuid(*uid)?;
    }
    Ok(())
}
