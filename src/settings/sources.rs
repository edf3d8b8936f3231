//! Where settings come from: the environment, files of secrets, and the sealed memory file that carries the
//! secrets over the re-exec which takes them out of `/proc/1/environ`.

use super::secret::{Secret, Secrets};
use super::table::is_secret;
use crate::failure::Failure;
use crate::files;
use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::Uid;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The descriptor of the sealed secrets, set for the re-executed entrypoint and its workers alone.
const SEALED: &str = Secrets::VARIABLE;
/// The largest file that is taken for a secret.
const LARGEST_SECRET: u64 = 64 * 1024;

/// The environment, and apart from it the secrets that were in it.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    environment: Vec<(OsString, OsString)>,
    secrets: Secrets,
    /// Whether root reads them.
    root: bool,
}

impl Sources {
    /// The process's environment as it is: for commands that start nothing.
    pub(crate) fn plain() -> Self {
        Self::split(std::env::vars_os(), Uid::effective().is_root())
    }

    /// The process's environment, free of secrets from now on: `/proc/<pid>/environ` shows what was there at
    /// the exec, so with secrets in it the process executes itself again without them and hands them over in
    /// memory. Nor can anybody without CAP_SYS_PTRACE look into the memory.
    ///
    /// # Errors
    /// The kernel refuses a memory file or the exec.
    pub(crate) fn sealed() -> Result<Self, Failure> {
        hide()?;
        let mut sources = Self::plain();
        if let Some(at) = sources.environment.iter().position(|(name, _)| name == SEALED) {
            let (_, descriptor) = sources.environment.swap_remove(at);
            let refuse = |why: String| Failure::system(format!("{SEALED} is set by the entrypoint for itself alone"), why);
            sources.secrets = Secrets::unseal(&descriptor).map_err(refuse)?;
            return Ok(sources);
        }
        if sources.secrets.is_empty() {
            return Ok(sources);
        }
        Err(sources.execute_again())
    }

    /// Separates `variables` into environment and secrets.
    pub(super) fn split(variables: impl IntoIterator<Item = (OsString, OsString)>, root: bool) -> Self {
        let mut sources = Self { root, ..Self::default() };
        for (name, value) in variables {
            match name.to_str().filter(|name| is_secret(name)) {
                // A secret that is not UTF-8 can be none that anybody issued.
                Some(name) => sources.secrets.insert(name, clean(&value.to_string_lossy())),
                None => sources.environment.push((name, value)),
            }
        }
        sources
    }

    /// Everything that is no secret.
    pub(crate) fn environment(&self) -> &[(OsString, OsString)] {
        &self.environment
    }

    /// Whether root reads them: an ordinary user is offered other defaults.
    pub(crate) fn is_root(&self) -> bool {
        self.root
    }

    /// The secrets called `names` that were given by value; files are read by whoever needs what is in them.
    pub(crate) fn secrets(&self, names: &[&str]) -> Secrets {
        self.secrets.only(names)
    }

    /// Sources of root's with these variables.
    #[cfg(test)]
    pub(crate) fn for_test(variables: &[(&str, &str)]) -> Self {
        Self::split(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))), true)
    }

    /// What a worker gets that is given the secrets `names`.
    #[cfg(test)]
    pub(super) fn withholding(&self, names: &[&str]) -> Self {
        Self { environment: self.environment.clone(), secrets: self.secrets.only(names), root: self.root }
    }

    /// A variable that is no secret; none when unset or empty, an error when not UTF-8.
    pub(super) fn text(&self, name: &str) -> Option<Result<String, OsString>> {
        let (_, value) = self.environment.iter().find(|(n, _)| n == name)?;
        (!value.is_empty()).then(|| value.clone().into_string())
    }

    /// Whether the secret is set, by value (a worker may not have been given it) or by file.
    pub(super) fn has_secret(&self, name: &str) -> bool {
        self.secrets.is_set(name) || self.in_file(name)
    }

    /// Whether the secret is in a file.
    pub(crate) fn in_file(&self, name: &str) -> bool {
        self.text(&format!("{name}_FILE")).is_some()
    }

    /// The secret `name`, or what the file named by `name`_FILE holds. The error names the variable.
    ///
    /// Read anew at each call: who mounts secrets as files may change them.
    pub(crate) fn secret(&self, name: &str) -> Result<Option<Secret>, String> {
        let variable = format!("{name}_FILE");
        let path = match (self.value(name), self.text(&variable)) {
            (secret, None) => return Ok(secret.cloned()),
            (None, Some(_)) if self.secrets.is_set(name) => return Ok(None),
            (Some(_), Some(_)) => return Err(format!("{name} and {variable} are both set: leave one of them out")),
            (None, Some(Err(_))) => return Err(format!("{variable} is not UTF-8")),
            (None, Some(Ok(path))) => path,
        };
        let read = files::read(Path::new(&path), LARGEST_SECRET);
        match read.and_then(|bytes| String::from_utf8(bytes).map_err(io::Error::other)) {
            Err(error) => Err(format!("{variable} names `{path}`, which cannot be read: {error}")),
            Ok(text) if text.trim().is_empty() => Err(format!("{variable} names `{path}`, which is empty")),
            Ok(text) => Ok(Some(clean(&text))),
        }
    }

    fn value(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name)
    }

    /// Executes this program again; returns only when that fails.
    fn execute_again(&self) -> Failure {
        let sealed = self.secrets.seal().and_then(|sealed| {
            fcntl(&sealed, FcntlArg::F_SETFD(FdFlag::empty()))?;
            Ok(sealed)
        });
        let sealed = match sealed {
            Ok(sealed) => sealed,
            Err(error) => return Failure::system("to keep the secrets in memory", error),
        };
        let environment = self.environment.iter().map(|(name, value)| join(name, value));
        let number = sealed.as_raw_fd().to_string();
        let environment: Option<Vec<_>> = environment.chain([join(OsStr::new(SEALED), OsStr::new(&number))]).collect();
        let arguments: Option<Vec<_>> = std::env::args_os().map(|argument| CString::new(argument.as_bytes()).ok()).collect();
        let (Some(environment), Some(arguments)) = (environment, arguments) else {
            return Failure::system("to execute the entrypoint again", "a variable with a zero byte");
        };
        match nix::unistd::execve(c"/proc/self/exe", &arguments, &environment) {
            Ok(never) => match never {},
            Err(error) => Failure::system("to execute the entrypoint again without secrets (is /proc mounted?)", error),
        }
    }
}

/// A secret without the blanks and line breaks that come with files, and with the line breaks of a key that was
/// written on one line.
fn clean(text: &str) -> Secret {
    let text = text.trim();
    if text.starts_with("-----BEGIN") { Secret::new(text.replace("\\n", "\n")) } else { Secret::new(text) }
}

/// Keeps other processes, of the same user too, from reading this one's environment and memory.
pub(crate) fn hide() -> Result<(), Failure> {
    nix::sys::prctl::set_dumpable(false).map_err(|error| Failure::system("to hide the process's memory", error))
}

fn join(name: &OsStr, value: &OsStr) -> Option<CString> {
    CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
}
