//! A value that is neither printed nor serialised, and how several of them reach another process.

use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::fd::{BorrowedFd, FromRawFd as _, OwnedFd};

/// A token, password or private key.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The value itself, for the one place that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Secrets by the names of their variables. Of some, only that they are set is known: their values are empty.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Secrets(BTreeMap<String, Secret>);

impl Secrets {
    /// The variable that holds the number of the sealed memory file.
    pub(crate) const VARIABLE: &str = "GANTRY_SEALED_SECRETS";

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret `name`; none when it is unset, or its value is not known here.
    pub(super) fn get(&self, name: &str) -> Option<&Secret> {
        self.0.get(name).filter(|secret| !secret.expose().is_empty())
    }

    /// Whether the secret `name` is set, known or not.
    pub(super) fn is_set(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Adds a secret; an empty one is an unset one.
    pub(super) fn insert(&mut self, name: &str, secret: Secret) {
        if !secret.expose().is_empty() {
            self.0.insert(name.to_owned(), secret);
        }
    }

    /// Those called `names`, and that the others are set.
    pub(super) fn only(&self, names: &[&str]) -> Self {
        let unknown = || Secret::new("");
        let known = |name: &str, secret: &Secret| if names.contains(&name) { secret.clone() } else { unknown() };
        Self(self.0.iter().map(|(name, secret)| (name.clone(), known(name, secret))).collect())
    }

    /// Writes them into a memory file that survives an exec and that nobody can change.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(crate) fn seal(&self) -> io::Result<OwnedFd> {
        let mut file = File::from(memfd_create(c"gantry-secrets", MFdFlags::MFD_ALLOW_SEALING | MFdFlags::MFD_CLOEXEC)?);
        for (name, secret) in &self.0 {
            for part in [name.as_bytes(), b"\0", secret.expose().as_bytes(), b"\0"] {
                file.write_all(part)?;
            }
        }
        file.rewind()?;
        fcntl(&file, FcntlArg::F_ADD_SEALS(seals()))?;
        Ok(file.into())
    }

    /// Reads them back from the memory file whose number is `descriptor`, and closes it.
    pub(super) fn unseal(descriptor: &OsStr) -> Result<Self, String> {
        let number = descriptor.to_str().and_then(|text| text.parse::<i32>().ok()).filter(|number| *number > 2);
        let number = number.ok_or("no descriptor")?;
        // SAFETY: nothing else in this process, which has just begun, owns or closes a descriptor above 2; a
        // closed one only makes `fcntl` fail.
        let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
        // Only a memory file has seals, and only `seal` sets just these.
        if fcntl(borrowed, FcntlArg::F_GET_SEALS) != Ok(seals().bits()) {
            return Err("not a sealed memory file".to_owned());
        }
        // SAFETY: as above, and now known to be the memory file that `seal` left open for us.
        let mut file = unsafe { File::from_raw_fd(number) };
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(|error| error.to_string())?;
        let mut parts = text.split_terminator('\0').map(str::to_owned);
        let mut secrets = Self::default();
        while let (Some(name), Some(value)) = (parts.next(), parts.next()) {
            secrets.0.insert(name, Secret::new(value));
        }
        Ok(secrets)
    }
}

fn seals() -> SealFlag {
    SealFlag::F_SEAL_SEAL | SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW | SealFlag::F_SEAL_WRITE
}
