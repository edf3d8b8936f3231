//! `entrypoint web-url`: where the web server is, token and all, for those who may know it: root and the
//! workspace's user, for whom alone it is written down.

use crate::account::{Account, WORKSPACE_USER};
use crate::failure::{Failure, USAGE};
use crate::log::Log;
use crate::{files, places};
use nix::unistd::Uid;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The file in the runtime folder.
const FILE: &str = "web-url";

/// Writes the address down, and on a second line the password where there is one.
///
/// # Errors
/// Those of the file system.
pub(crate) fn keep(runtime: &Path, account: &Account, address: &str, password: Option<&str>) -> Result<(), Failure> {
    let path = runtime.join(FILE);
    let password = password.map_or(String::new(), |password| format!("password {password}\n"));
    let written = files::write(&path, format!("{address}\n{password}").as_bytes(), 0o600, Some((account.uid, account.gid)));
    written.map_err(|error| Failure::system(format!("to write `{}`", path.display()), error))
}

/// Prints it.
///
/// # Errors
/// There is no web server, or who asks may not know.
pub(crate) fn show(log: &Log) -> Result<u8, Failure> {
    let found = places::running(FILE).into_iter().find_map(|path| match trusted(&path) {
        Ok(false) => None,
        Ok(true) => Some(fs::read_to_string(&path)),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => Some(Err(error)),
    });
    let problem = match found {
        Some(Ok(text)) => {
            log.answer(&text);
            return Ok(0);
        }
        Some(Err(error)) if error.kind() == ErrorKind::PermissionDenied && Uid::effective().is_root() => {
            "root has lost its rights in this container: ask as the user that it was started as".to_owned()
        }
        Some(Err(error)) if error.kind() == ErrorKind::PermissionDenied => {
            format!("only root and `{WORKSPACE_USER}` are told where the web server is")
        }
        Some(Err(error)) => format!("`{FILE}`: {error}"),
        None => "no web server was started here".to_owned(),
    };
    Err(Failure { exit: 1, ..Failure::new(USAGE, problem) })
}

/// Whether the file is no link, and in a folder that only root or the caller can have made (for root: its owner). In
/// /tmp anybody could make one and have people sent to an address of theirs.
fn trusted(path: &Path) -> io::Result<bool> {
    let file = fs::symlink_metadata(path)?;
    let folder = fs::symlink_metadata(path.parent().unwrap_or(path))?;
    let own = Uid::effective();
    let known = folder.uid() == 0 || folder.uid() == own.as_raw() || (own.is_root() && folder.uid() == file.uid());
    Ok(file.is_file() && folder.is_dir() && known)
}
