//! A folder on a volume: made, and made the user's, where that is harmless.

use super::tree;
use crate::account::{Account, owner_name};
use crate::failure::Failure;
use crate::files;
use nix::fcntl::{AT_FDCWD, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::{Uid, fchown};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Makes sure that the user can write to the folder `path`, which is made where it is missing.
///
/// A new volume is empty and belongs to root: it is given to the user, since nobody else can be meant. Anything else
/// that belongs to others stays theirs.
///
/// # Errors
/// The user cannot write to it, and what to do about that.
pub(crate) fn claim(path: &Path, account: &Account, mode: u32) -> Result<(), String> {
    let root = Uid::effective().is_root() && !account.uid.is_root();
    let make = |path: &Path| DirBuilder::new().recursive(true).mode(mode).create(path);
    let made = account.act(|| Ok(make(path))).map_err(|failure| failure.problems.concat())?;
    let roots = fs::metadata(path).is_ok_and(|found| found.uid() == 0);
    let new = roots && (!writable(path, account) || tree::mounts().iter().any(|mount| mount == path));
    if root && (made.is_err() || new) {
        // What cannot be given is said below, in the words of what the user then meets.
        let _ = give(path, account, mode);
    }
    if !writable(path, account) {
        let found = fs::metadata(path);
        let (name, uid) = (&account.name, account.uid);
        return Err(match found {
            Ok(found) if !found.is_dir() => format!("`{}` is no folder", path.display()),
            Ok(found) => format!(
                "`{}` cannot be written to by `{name}`: it belongs to {}, mode {:o} (it has to belong to uid {uid}, and not be \
                 mounted read-only)",
                path.display(),
                owner_name(found.uid(), found.gid()),
                found.mode() & 0o7777
            ),
            Err(error) => format!("`{}` cannot be made for `{name}`: {}", path.display(), made.err().unwrap_or(error)),
        });
    }
    // For the user alone; where the file system knows no owners, that is its own business.
    let private = account.act(|| {
        let found = fs::metadata(path).map_err(|error| Failure::system("", error))?;
        if mode & 0o077 == 0 && found.mode() & 0o077 != 0 && found.uid() == account.uid.as_raw() {
            let _ = fs::set_permissions(path, Permissions::from_mode(mode));
        }
        Ok(())
    });
    private.map_err(|failure| failure.problems.concat())
}

/// Gives the user the home where an empty volume of root's is mounted in its place.
pub(crate) fn adopt_home(account: &Account) {
    if Uid::effective().is_root() && !account.uid.is_root() && fs::metadata(&account.home).is_ok_and(|found| found.uid() == 0) {
        // Whether that was enough is looked at next.
        let _ = give(&account.home, account, 0o700);
    }
}

fn writable(path: &Path, account: &Account) -> bool {
    path.is_dir() && account.act(|| files::writable(path).map_err(|error| Failure::system("", error))).is_ok()
}

/// As root: makes the folder where it is missing, and gives it to the user when it is root's and empty. Not through
/// links, which could be the user's own and lead anywhere.
fn give(path: &Path, account: &Account, mode: u32) -> io::Result<()> {
    let open = |path: &Path| {
        let how = OpenHow::new()
            .flags(OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_NO_SYMLINKS);
        openat2(AT_FDCWD, path, how)
    };
    if open(path).is_err() {
        let mut missing: Vec<_> = path.ancestors().take_while(|path| open(path).is_err()).collect();
        missing.reverse();
        for folder in missing {
            let parent = open(folder.parent().unwrap_or(folder))?;
            let mode = Mode::from_bits_truncate(if folder == path { mode } else { 0o755 });
            nix::sys::stat::mkdirat(&parent, Path::new(folder.file_name().unwrap_or_default()), mode)?;
        }
    }
    let folder = File::from(open(path)?);
    let mut entries = fs::read_dir(path)?.flatten();
    let found = folder.metadata()?;
    if found.uid() != 0 || entries.any(|entry| entry.file_name() != "lost+found") {
        return Err(io::Error::other("somebody's already"));
    }
    fchown(&folder, Some(account.uid), Some(account.gid))?;
    Ok(fchmod(&folder, Mode::from_bits_truncate(mode))?)
}
