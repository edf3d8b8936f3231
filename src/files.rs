//! Files and folders whose owner and mode matter.

use nix::fcntl::{AT_FDCWD, AtFlags, OFlag};
use nix::unistd::{AccessFlags, Gid, Uid, faccessat, fchown};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

/// Makes sure that `path` is a folder of this process's user with `mode`, and no link.
///
/// # Errors
/// It cannot be created, or is something else or somebody else's.
pub(crate) fn folder(path: &Path, mode: u32) -> io::Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = fs::symlink_metadata(path)?;
    if !found.is_dir() {
        return Err(io::Error::other("is no folder"));
    }
    if found.uid() != Uid::effective().as_raw() {
        let owner = crate::account::owner_name(found.uid(), found.gid());
        return Err(io::Error::other(format!("belongs to {owner}")));
    }
    // Created with the mask applied, or found with another mode.
    if found.mode() & 0o7777 != mode { fs::set_permissions(path, Permissions::from_mode(mode)) } else { Ok(()) }
}

/// Whether this process may, with its effective user, create something in the folder `path`.
///
/// # Errors
/// It may not, and why. (`eaccess` of some C libraries guesses from the mode and forgets read-only mounts.)
pub(crate) fn writable(path: &Path) -> nix::Result<()> {
    faccessat(AT_FDCWD, path, AccessFlags::W_OK | AccessFlags::X_OK, AtFlags::AT_EACCESS)
}

/// Makes `path` a link to `target`, whatever file or link is there: it is put in place by a rename.
///
/// # Errors
/// Those of the file system; a folder is in the way.
pub(crate) fn link(target: &Path, path: &Path) -> io::Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{:016x}", random()?));
    // Nobody knows the name before: in a folder that all may write to, nothing is there already.
    let beside = path.with_file_name(name);
    std::os::unix::fs::symlink(target, &beside)?;
    fs::rename(&beside, path).inspect_err(|_| {
        // The first error tells more than one of the clean-up.
        let _ = fs::remove_file(&beside);
    })
}

/// Removes whatever is at `path`, not where a link there leads; nothing is fine too.
///
/// # Errors
/// Those of the file system.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(()),
        Err(error) => Err(error),
        Ok(found) if found.is_dir() => fs::remove_dir_all(path).or_else(|error| {
            if error.kind() != io::ErrorKind::PermissionDenied {
                return Err(error);
            }
            // Folders that are read-only for their own user too.
            open_up(path);
            fs::remove_dir_all(path)
        }),
        Ok(_) => fs::remove_file(path),
    }
}

/// Lets the owner of a folder change what is in it, all the way down; what cannot be changed stays.
fn open_up(path: &Path) {
    let _ = fs::set_permissions(path, Permissions::from_mode(0o700));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            open_up(&entry.path());
        }
    }
}

/// 64 bits of the kernel's randomness.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}

/// Makes the file `path` a program for everybody.
///
/// # Errors
/// Those of the file system.
pub(crate) fn executable(path: &Path) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Reads a regular file of at most `most` bytes, wherever links lead. Anything else (a pipe, a device) could keep its
/// reader waiting for ever, and PID 1 cannot even be asked to stop then.
///
/// # Errors
/// Those of the file system; it is no file, or larger.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_with(OFlag::empty(), path, most)
}

/// The same where nothing but the file itself may be: a link there is refused.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_no_link(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    read_with(OFlag::O_NOFOLLOW, path, most)
}

fn read_with(flags: OFlag, path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let flags = flags | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no file"));
    }
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most { Err(io::Error::other(format!("is larger than {most} bytes"))) } else { Ok(bytes) }
}

/// Writes a file beside its place and renames it, so that nobody ever sees half of it or follows a link.
///
/// # Errors
/// Those of the file system.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32, owner: Option<(Uid, Gid)>) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".gantry-new");
    let beside = path.with_file_name(name);
    let written = || {
        // Left over from a start that was killed.
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let flags = OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).custom_flags(flags.bits()).open(&beside)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        if let Some((uid, gid)) = owner {
            fchown(&file, Some(uid), Some(gid))?;
        }
        file.write_all(content)?;
        // What lives no longer than the container need not wait for a disk.
        if !path.starts_with(crate::places::runtime()) {
            file.sync_all()?;
        }
        fs::rename(&beside, path)
    };
    written().inspect_err(|_| {
        // The first error tells more than one of the clean-up.
        let _ = fs::remove_file(&beside);
    })
}
