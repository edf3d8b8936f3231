//! The only place that starts processes.

use crate::account::Account;
use crate::settings::Secrets;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::libc;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{Gid, Pid, Uid, chdir, setgid, setgroups, setuid};
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, Stdio};

/// The last of the real-time signals.
const LAST_SIGNAL: i32 = 64;

/// Where the descriptors end that are looked for one by one: far beyond those that anybody leaves open.
const MOST_DESCRIPTORS: RawFd = 1024;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Code(u8),
    Signal(i32),
}

impl End {
    /// The exit code that shells and container engines use: 128+n for a signal.
    pub(crate) fn exit_code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => u8::try_from(128 + signal).unwrap_or(u8::MAX),
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// A program to start: nothing of the entrypoint's own environment goes along.
#[derive(Debug, Clone, Default)]
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
    /// Only for the entrypoint's own workers: what they get in a sealed memory file.
    pub(crate) secrets: Secrets,
    /// Only for the entrypoint's own workers: whether they get a pipe to tell PID 1 what happens.
    pub(crate) reports: bool,
    /// Neither it nor its children ever gain rights (`PR_SET_NO_NEW_PRIVS`): no sudo.
    pub(crate) no_new_privileges: bool,
    /// Killed when the process that starts it ends. For children of workers: PID 1 outlives everybody.
    pub(crate) dies_with_parent: bool,
}

/// Where a standard stream goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Stream {
    /// To the entrypoint's own.
    #[default]
    Inherited,
    /// To whoever starts the program.
    Piped,
}

/// The standard streams of a program to start.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Streams {
    /// Whether something will be written to its standard input; otherwise that is empty.
    pub(crate) input: bool,
    pub(crate) output: Stream,
    pub(crate) errors: Stream,
}

/// An open descriptor that a program keeps, and the variable that tells it the number.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handed<'a> {
    pub(crate) variable: &'a str,
    pub(crate) descriptor: BorrowedFd<'a>,
}

/// A program that runs; waiting for it is its starter's business.
#[derive(Debug)]
pub(crate) struct Spawned {
    pub(crate) pid: Pid,
    pub(crate) stdin: Option<ChildStdin>,
    pub(crate) stdout: Option<ChildStdout>,
    pub(crate) stderr: Option<ChildStderr>,
}

/// Starts `program` in a process group of its own.
///
/// # Errors
/// The program or the folder is not there, or the kernel refuses.
pub(crate) fn spawn(program: &Program, streams: Streams, handed: &[Handed<'_>]) -> io::Result<Spawned> {
    let stream = |stream| match stream {
        Stream::Inherited => Stdio::inherit(),
        Stream::Piped => Stdio::piped(),
    };
    let mut command = Command::new(&program.path);
    command
        .args(&program.arguments)
        .env_clear()
        .envs(program.environment.iter().map(|(name, value)| (name, value)))
        .stdin(if streams.input { Stdio::piped() } else { Stdio::null() })
        .stdout(stream(streams.output))
        .stderr(stream(streams.errors))
        .process_group(0);
    let sealed: Option<OwnedFd> = if program.secrets.is_empty() { None } else { Some(program.secrets.seal()?) };
    let mut kept: Vec<RawFd> = Vec::new();
    for handed in handed {
        command.env(handed.variable, handed.descriptor.as_raw_fd().to_string());
        kept.push(handed.descriptor.as_raw_fd());
    }
    if let Some(sealed) = &sealed {
        command.env(Secrets::VARIABLE, sealed.as_raw_fd().to_string());
        kept.push(sealed.as_raw_fd());
    }
    let user = program.user.as_ref().filter(|_| Uid::effective().is_root());
    let child = Child {
        user: user.map(|user| (user.groups.clone(), user.gid, user.uid)),
        folder: CString::new(program.folder.as_os_str().as_bytes())?,
        kept,
        no_new_privileges: program.no_new_privileges,
        dies_with: program.dies_with_parent.then(Pid::this),
    };
    // SAFETY: between fork and exec of this single-threaded process; `settle` makes system calls only.
    unsafe { command.pre_exec(move || child.settle()) };
    // Nobody calls `wait` on the child: its starter waits by process id.
    let mut child = command.spawn().map_err(|error| {
        let denied = error.kind() == io::ErrorKind::PermissionDenied && user.is_some();
        let told = || format!("{error} (to execute it, or to enter its folder `{}`)", program.folder.display());
        if denied { io::Error::new(error.kind(), told()) } else { error }
    })?;
    Ok(Spawned {
        pid: Pid::from_raw(child.id().cast_signed()),
        stdin: child.stdin.take(),
        stdout: child.stdout.take(),
        stderr: child.stderr.take(),
    })
}

/// What a child becomes before its program begins.
struct Child {
    user: Option<(Vec<Gid>, Gid, Uid)>,
    folder: CString,
    kept: Vec<RawFd>,
    no_new_privileges: bool,
    dies_with: Option<Pid>,
}

impl Child {
    /// Default signals, none blocked, no descriptors but the first three and those kept, the common mask, its user, and
    /// its folder.
    fn settle(&self) -> io::Result<()> {
        for signal in 1..=LAST_SIGNAL {
            // Some cannot be changed: SIGKILL, SIGSTOP, and those that the C library keeps for itself.
            // SAFETY: the default disposition runs no code of ours.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None)?;
        close_the_rest();
        for descriptor in &self.kept {
            // SAFETY: open in the parent, which waits for the exec; only its flag changes.
            let descriptor = unsafe { BorrowedFd::borrow_raw(*descriptor) };
            fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::empty()))?;
        }
        umask(Mode::from_bits_truncate(0o022));
        if let Some((groups, gid, uid)) = &self.user {
            // In this order: after the last one there are no rights left for the others.
            setgroups(groups)?;
            setgid(*gid)?;
            setuid(*uid)?;
        }
        // With the user's rights: a server of files may give root none in a home.
        chdir(self.folder.as_c_str())?;
        if self.no_new_privileges {
            nix::sys::prctl::set_no_new_privs()?;
        }
        if let Some(parent) = self.dies_with {
            // What workers start holds secrets in its memory, and a core file would lie in its user's folder.
            let (_, hard) = getrlimit(Resource::RLIMIT_CORE)?;
            setrlimit(Resource::RLIMIT_CORE, 0, hard)?;
            // After the change of user, which resets it.
            nix::sys::prctl::set_pdeathsig(Some(nix::sys::signal::Signal::SIGKILL))?;
            if Pid::parent() != parent {
                return Err(io::Error::other("its parent has ended"));
            }
        }
        Ok(())
    }
}

/// Closes, at the exec, the descriptors that somebody left open for the entrypoint: they are not for services.
fn close_the_rest() {
    // SAFETY: only sets flags, on descriptors that nothing between here and exec uses by number.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return;
    }
    // A kernel before 5.11, or a sandbox that does not know the call.
    for descriptor in 3..MOST_DESCRIPTORS {
        // SAFETY: as above; most are not open, which is refused.
        unsafe { libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

#[cfg(test)]
mod tests {
    use super::{Program, Streams, spawn};
    use crate::account::Account;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_folder_that_the_user_may_not_enter_is_named() {
        if !nix::unistd::Uid::effective().is_root() {
            return;
        }
        let folder = std::env::temp_dir().join(format!("entrypoint-folder-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
        let user = Account::called("nobody").unwrap();
        let program = Program { path: "/bin/true".into(), folder: folder.clone(), user, ..Program::default() };
        let refused = spawn(&program, Streams::default(), &[]).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::PermissionDenied);
        assert!(refused.to_string().contains(&format!("or to enter its folder `{}`", folder.display())), "{refused}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
