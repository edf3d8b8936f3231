//! The only place that waits for children, its own and those that orphans become.

use crate::process::End;
use nix::errno::Errno;
use nix::libc;
use nix::unistd::Pid;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

/// What one round of reaping found.
#[derive(Debug, Default)]
pub(super) struct Reaped {
    /// Everyone who ended.
    pub(super) ended: Vec<(Pid, End)>,
    /// Whether no child is left.
    pub(super) alone: bool,
}

/// Reaps until nobody is left to reap: several deaths may have come as one SIGCHLD.
pub(super) fn reap() -> Reaped {
    let mut reaped = Reaped::default();
    loop {
        let mut status = 0;
        // `nix::sys::wait::waitpid` loses a child that a real-time signal ended: it has no name for the signal.
        // SAFETY: `status` is a valid place for the status.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
        match pid {
            0 => return reaped,
            -1 if Errno::last() == Errno::EINTR => {}
            -1 => {
                reaped.alone = Errno::last() == Errno::ECHILD;
                return reaped;
            }
            pid => {
                let status = ExitStatus::from_raw(status);
                let code = status.code().map(|code| End::Code(code.to_le_bytes()[0]));
                if let Some(end) = code.or(status.signal().map(End::Signal)) {
                    reaped.ended.push((Pid::from_raw(pid), end));
                }
            }
        }
    }
}
