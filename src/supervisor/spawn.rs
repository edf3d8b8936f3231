//! The only place that starts processes.

use crate::account::Account;
use nix::libc;
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, setgid, setgroups, setuid};
use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The last of the real-time signals.
const LAST_SIGNAL: i32 = 64;

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

/// A program that has to end with 0 before a service is started.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) program: Program,
    /// What it makes: where that is there, the step is done already.
    pub(crate) makes: Option<PathBuf>,
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

/// What a child is before its program begins: default signals, none blocked, no descriptors but
/// the first three, the common mask, its user.
fn settle(user: Option<&(Vec<Gid>, Gid, Uid)>) -> io::Result<()> {
    for signal in 1..=LAST_SIGNAL {
        // Some cannot be changed: SIGKILL, SIGSTOP, and those that the C library keeps for itself.
        // SAFETY: the default disposition runs no code of ours.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
    // Descriptors that somebody left open for the entrypoint are not for services. A kernel before 5.11 refuses.
    // SAFETY: only sets flags, on descriptors that nothing between here and exec uses by number.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    umask(Mode::from_bits_truncate(0o022));
    if let Some((groups, gid, uid)) = user {
        // In this order: after the last one there are no rights left for the others.
        setgroups(groups)?;
        setgid(*gid)?;
        setuid(*uid)?;
    }
    Ok(())
}
