//! Where settings come from: the environment, files of secrets, and the sealed memory file that carries the
//! secrets over the re-exec which takes them out of `/proc/1/environ`.

use super::secret::Secret;
use super::table::SECRETS;
use crate::failure::Failure;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::collections::BTreeMap;
use std::ffi::{CString, OsStr, OsString};
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _};
use std::os::unix::ffi::OsStrExt as _;

/// The descriptor of the sealed secrets, set for the re-executed entrypoint alone.
const SEALED: &str = "GANTRY_SEALED_SECRETS";
/// The largest file that is taken for a secret.
const LARGEST_SECRET: u64 = 64 * 1024;

/// The environment, and apart from it the secrets that were in it.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    environment: Vec<(OsString, OsString)>,
    secrets: BTreeMap<String, Secret>,
}

impl Sources {
    /// The process's environment as it is: for commands that start nothing.
    pub(crate) fn plain() -> Self {
        Self::split(std::env::vars_os())
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
            sources.secrets = unseal(&descriptor)?;
            return Ok(sources);
        }
        if sources.secrets.is_empty() {
            return Ok(sources);
        }
        Err(sources.execute_again())
    }

    /// Separates `variables` into environment and secrets.
    pub(super) fn split(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut sources = Self::default();
        for (name, value) in variables {
            match name.to_str().filter(|name| SECRETS.contains(name)) {
                Some(name) => {
                    // A secret that is not UTF-8 can be none that anybody issued.
                    sources.secrets.insert(name.to_owned(), Secret::new(value.to_string_lossy()));
                }
                None => sources.environment.push((name, value)),
            }
        }
        sources
    }

    /// Everything that is no secret.
    pub(crate) fn environment(&self) -> &[(OsString, OsString)] {
        &self.environment
    }

    /// A variable that is no secret; none when unset or empty, an error when not UTF-8.
    pub(super) fn text(&self, name: &str) -> Option<Result<String, OsString>> {
        let (_, value) = self.environment.iter().find(|(n, _)| n == name)?;
        (!value.is_empty()).then(|| value.clone().into_string())
    }

    /// Whether the secret is set, by value or by file.
    pub(super) fn has_secret(&self, name: &str) -> bool {
        self.value(name).is_some() || self.text(&format!("{name}_FILE")).is_some()
    }

    /// The secret `name`, or what the file named by `name`_FILE holds. The error names the variable.
    pub(super) fn secret(&self, name: &str) -> Result<Option<Secret>, String> {
        let variable = format!("{name}_FILE");
        let path = match (self.value(name), self.text(&variable)) {
            (secret, None) => return Ok(secret.cloned()),
            (Some(_), Some(_)) => return Err(format!("{name} and {variable} are both set: leave one of them out")),
            (None, Some(Err(_))) => return Err(format!("{variable} is not UTF-8")),
            (None, Some(Ok(path))) => path,
        };
        let read = || {
            let mut text = String::new();
            File::open(&path)?.take(LARGEST_SECRET + 1).read_to_string(&mut text)?;
            std::io::Result::Ok(text)
        };
        match read() {
            Err(error) => Err(format!("{variable} names `{path}`, which cannot be read: {error}")),
            Ok(text) if text.len() as u64 > LARGEST_SECRET => {
                Err(format!("{variable} names `{path}`, which is no secret: too large"))
            }
            Ok(text) if text.trim().is_empty() => Err(format!("{variable} names `{path}`, which is empty")),
            Ok(text) => Ok(Some(Secret::new(text.trim()))),
        }
    }

    fn value(&self, name: &str) -> Option<&Secret> {
        self.secrets.get(name).filter(|secret| !secret.expose().is_empty())
    }

    /// Executes this program again; returns only when that fails.
    fn execute_again(&self) -> Failure {
        let sealed = match seal(&self.secrets) {
            Ok(sealed) => sealed,
            Err(failure) => return failure,
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

/// Keeps other processes, of the same user too, from reading this one's environment and memory.
pub(crate) fn hide() -> Result<(), Failure> {
    nix::sys::prctl::set_dumpable(false).map_err(|error| Failure::system("to hide the process's memory", error))
}

fn join(name: &OsStr, value: &OsStr) -> Option<CString> {
    CString::new([name.as_bytes(), b"=", value.as_bytes()].concat()).ok()
}

fn all_seals() -> SealFlag {
    SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}

/// Writes the secrets into a memory file that survives an exec.
fn seal(secrets: &BTreeMap<String, Secret>) -> Result<File, Failure> {
    let write = || {
        let mut file = File::from(memfd_create(c"gantry-secrets", MFdFlags::MFD_ALLOW_SEALING)?);
        for (name, secret) in secrets {
            for part in [name.as_bytes(), b"\0", secret.expose().as_bytes(), b"\0"] {
                file.write_all(part)?;
            }
        }
        file.rewind()?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(all_seals()))?;
        std::io::Result::Ok(file)
    };
    write().map_err(|error| Failure::system("to keep the secrets in memory", error))
}

/// Reads the secrets back and closes the memory file.
fn unseal(descriptor: &OsStr) -> Result<BTreeMap<String, Secret>, Failure> {
    let refuse = |why: &str| Failure::system(format!("{SEALED} is set by the entrypoint for itself alone"), why);
    let number = descriptor.to_str().and_then(|text| text.parse::<i32>().ok()).filter(|number| *number > 2);
    let number = number.ok_or_else(|| refuse("no descriptor"))?;
    // SAFETY: nothing else in this process, which has just begun, owns or closes a descriptor above 2; a
    // closed one only makes `fcntl` fail.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    // Only a memory file has seals, and only `seal` sets just these.
    if fcntl(borrowed, FcntlArg::F_GET_SEALS) != Ok(all_seals().bits()) {
        return Err(refuse("not a sealed memory file"));
    }
    // SAFETY: as above, and now known to be the memory file that `seal` left open for us.
    let mut file = unsafe { File::from_raw_fd(number) };
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| refuse(&error.to_string()))?;
    let mut parts = text.split_terminator('\0').map(str::to_owned);
    let mut secrets = BTreeMap::new();
    while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
        secrets.insert(name, Secret::new(value));
    }
    Ok(secrets)
}
