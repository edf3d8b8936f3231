//! Signals as something to read: blocked for good, and taken from a descriptor.

use crate::failure::Failure;
use nix::libc;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// The signals that ask for a stop.
pub(crate) const STOPS: [Signal; 4] = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT];

/// Signals that end or stop a process and mean nothing here. The real-time ones are ignored, too; those of faults are not.
const MEANINGLESS: [Signal; 14] = [
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGPIPE,
    Signal::SIGALRM,
    Signal::SIGSTKFLT,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
    Signal::SIGXCPU,
    Signal::SIGXFSZ,
    Signal::SIGVTALRM,
    Signal::SIGPROF,
    Signal::SIGIO,
    Signal::SIGPWR,
];

/// Every signal that the supervisor acts on.
#[derive(Debug)]
pub(crate) struct Signals {
    descriptor: SignalFd,
}

impl Signals {
    /// Blocks the signals, so that they wait (also across an exec) until they are read. The kernel drops a
    /// signal that PID 1 neither handles nor blocks: this comes first. Under another init, where it would not, what
    /// means nothing is ignored.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn block() -> Result<Self, Failure> {
        let mut set: SigSet = STOPS.into_iter().collect();
        set.add(Signal::SIGCHLD);
        for signal in MEANINGLESS.into_iter().map(|signal| signal as i32).chain(libc::SIGRTMIN()..=libc::SIGRTMAX()) {
            // SAFETY: to be ignored runs no code of ours. Children get the default back.
            unsafe { libc::signal(signal, libc::SIG_IGN) };
        }
        // Whoever executed this may have ignored the deaths of its children: nobody would be left to wait for.
        // SAFETY: as above.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
        let open = || {
            set.thread_block()?;
            SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)
        };
        open().map(|descriptor| Self { descriptor }).map_err(|error| Failure::system("to receive signals", error))
    }

    /// The next signal that has arrived.
    pub(crate) fn next(&self) -> Option<Signal> {
        let info = self.descriptor.read_signal().ok().flatten()?;
        Signal::try_from(info.ssi_signo as i32).ok()
    }
}

/// Whether a signal that asks for a stop waits to be read: for work before there is anything to stop.
pub(crate) fn stop_is_pending() -> bool {
    // SAFETY: a set of signals may begin as any bytes; `sigpending` writes all of it.
    let mut pending: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `pending` is valid for the whole call.
    let asked = unsafe { libc::sigpending(&mut pending) };
    // SAFETY: as above; the signals are valid ones.
    asked == 0 && STOPS.into_iter().any(|signal| unsafe { libc::sigismember(&pending, signal as i32) } == 1)
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
