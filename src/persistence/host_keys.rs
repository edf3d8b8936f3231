//! The host keys of sshd on the volume, so that a new container is known to those who knew the old one.
//!
//! sshd reads copies in a folder of root's that lives as long as the container: on the volume, which is the
//! user's, anybody could be put in their place while sshd looks.

use super::normal;
use crate::account::{Account, owner_name};
use crate::failure::Failure;
use crate::files;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Uid, UnlinkatFlags, unlinkat};
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// The folder on the volume.
const FOLDER: &str = ".host-keys";
/// What a key begins with, as OpenSSH and OpenSSL write it.
const BEGINS: &[u8] = b"-----BEGIN ";
/// More than the longest key.
const LONGEST: u64 = 64 * 1024;

/// The folder with the keys on the volume.
#[derive(Debug)]
pub(crate) struct HostKeys<'a> {
    folder: File,
    /// Whose rights are used. The folder is root's alone; but a network file system may take root for nobody or
    /// everybody for one user, and then it is the workspace's user's.
    user: Option<&'a Account>,
}

impl<'a> HostKeys<'a> {
    /// Opens the folder on `volume`, and makes it where it is missing.
    ///
    /// # Errors
    /// It is somebody else's, or the file system refuses; in words.
    pub(crate) fn open(volume: &Path, account: &'a Account) -> Result<Self, String> {
        let path = normal(volume).join(FOLDER);
        let refused = |error: io::Error| format!("`{}`: {error}", path.display());
        // No link is followed at the last step, which is the one that the user could have made.
        let make = || {
            let volume = fs::OpenOptions::new().read(true).custom_flags(OFlag::O_DIRECTORY.bits()).open(volume)?;
            match mkdirat(&volume, FOLDER, Mode::S_IRWXU) {
                Ok(()) | Err(Errno::EEXIST) => {}
                Err(error) => return Err(error.into()),
            }
            let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            Ok(File::from(openat(&volume, FOLDER, flags, Mode::empty())?))
        };
        let folder = match make() {
            Ok(folder) => folder,
            Err(_) => account.act(|| make().map_err(|error| Failure::new(0, refused(error)))).map_err(|f| f.problems.concat())?,
        };
        let found = folder.metadata().map_err(refused)?;
        let user = match found.uid() {
            uid if uid == Uid::effective().as_raw() => None,
            uid if uid == account.uid.as_raw() => Some(account),
            uid => return Err(format!("`{}` belongs to {}", path.display(), owner_name(uid, found.gid()))),
        };
        let keys = Self { folder, user };
        if found.mode() & 0o7777 != 0o700 {
            keys.act(|| Ok(fchmod(&keys.folder, Mode::S_IRWXU)?)).map_err(|error| refused(io::Error::other(error)))?;
        }
        Ok(keys)
    }

    /// Whether it is the workspace's user's and not root's.
    pub(crate) fn is_users(&self) -> bool {
        self.user.is_some()
    }

    fn act<T>(&self, work: impl FnOnce() -> io::Result<T>) -> Result<T, String> {
        match self.user {
            None => work().map_err(|error| error.to_string()),
            Some(user) => {
                let done = user.act(|| work().map_err(|error| Failure::new(0, error.to_string())));
                done.map_err(|failure| failure.problems.concat())
            }
        }
    }

    /// Copies the keys called `names` that are there to the folder `to`; returns what is wrong with those that cannot be.
    pub(crate) fn restore<'n>(&self, names: impl IntoIterator<Item = &'n str>, to: &Path) -> Vec<String> {
        let restore = |name: &str| {
            let found = self.act(|| self.read(name)).map_err(|error| format!("the host key `{name}`: {error}"))?;
            let path = to.join(name);
            let written = found.map_or(Ok(()), |key| files::write(&path, &key, 0o600, None));
            written.map_err(|error| format!("`{}`: {error}", path.display()))
        };
        names.into_iter().filter_map(|name| restore(name).err()).collect()
    }

    /// Copies the keys called `names` from the folder `from` to the volume, unless they are there.
    ///
    /// # Errors
    /// One cannot be read or written.
    pub(crate) fn save<'n>(&self, names: impl IntoIterator<Item = &'n str>, from: &Path) -> Result<(), String> {
        for name in names {
            let Ok(key) = fs::read(from.join(name)) else { continue };
            let there = self.act(|| self.read(name));
            if !matches!(there, Ok(Some(_))) {
                self.act(|| self.write(name, &key)).map_err(|error| format!("the host key `{name}`: {error}"))?;
            }
        }
        Ok(())
    }

    fn read(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let file = match openat(&self.folder, name, flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::ENOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let mut key = Vec::new();
        file.take(LONGEST).read_to_end(&mut key)?;
        match key.starts_with(BEGINS) {
            true => Ok(Some(key)),
            false => Err(io::Error::other("is none")),
        }
    }

    /// Beside, then renamed.
    fn write(&self, name: &str, key: &[u8]) -> io::Result<()> {
        let beside = format!("{name}.gantry-new");
        match unlinkat(&self.folder, beside.as_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.folder, beside.as_str(), flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
        file.write_all(key)?;
        file.sync_all()?;
        Ok(renameat(&self.folder, beside.as_str(), &self.folder, name)?)
    }
}
