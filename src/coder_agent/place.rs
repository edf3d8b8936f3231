//! Where the agent is kept: it has to be a place where programs may be executed, which neither a read-only root
//! nor the usual tmpfs is.

use crate::account::Account;
use crate::failure::{Failure, SYSTEM};
use crate::{files, places};
use nix::sys::statvfs::{FsFlags, statvfs};
use nix::unistd::Uid;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the Coder workspace's terminals expect the agent.
const USUAL: &str = "/tmp/coder-agent";

/// A folder for the agent.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// Whether it is in the hands of the workspace's user, who is not the one that this process runs as.
    pub(super) foreign: bool,
}

/// The first folder that serves, created when it is not there.
///
/// # Errors
/// None does.
pub(super) fn choose(account: &Account) -> Result<Place, String> {
    // Root's own come first, so that whoever works in the workspace cannot exchange the agent. The last one is
    // the user's, whose rights the agent has anyway.
    let root = Uid::effective().is_root();
    let own = [root.then(|| "/opt/gantry".into()), Some(places::runtime().join("coder"))];
    let mut problems = Vec::new();
    for folder in own.into_iter().flatten() {
        match serves(&folder) {
            Ok(()) => return Ok(Place { folder, foreign: false }),
            Err(problem) => problems.push(format!("`{}` {problem}", folder.display())),
        }
    }
    let folder = account.home.join(".cache/gantry");
    let made = account.act(|| serves(&folder).map_err(|problem| Failure::new(SYSTEM, problem)));
    match made {
        Ok(()) => Ok(Place { folder, foreign: root }),
        Err(failure) => {
            problems.push(format!("`{}` {}", folder.display(), failure.problems.concat()));
            Err(format!("there is no place for the agent: {}", problems.join(", ")))
        }
    }
}

/// Creates `folder`; fine where programs in it can be executed.
fn serves(folder: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("cannot be created ({error})");
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent).map_err(failed)?;
    }
    // Found as somebody else's folder or as a link, it is not used.
    files::folder(folder, 0o755).map_err(failed)?;
    let mounted = statvfs(folder).map_err(|error| format!("cannot be looked at ({error})"))?;
    if mounted.flags().contains(FsFlags::ST_RDONLY) {
        return Err("is read-only".to_owned());
    }
    if mounted.flags().contains(FsFlags::ST_NOEXEC) {
        return Err("is mounted with `noexec`".to_owned());
    }
    Ok(())
}

/// Links the usual place to `agent`. Anybody may have put something there: it is replaced, never followed.
///
/// # Errors
/// Something there cannot be replaced.
pub(super) fn usual(agent: &Path) -> Result<(), String> {
    let usual = Path::new(USUAL);
    if fs::symlink_metadata(usual).is_ok_and(|found| found.is_dir()) {
        // A folder cannot be replaced by a rename.
        let aside = usual.with_file_name(format!("coder-agent.{}", std::process::id()));
        fs::rename(usual, &aside).map_err(|error| format!("the folder `{USUAL}` is in the way: {error}"))?;
    }
    files::link(agent, usual).map_err(|error| format!("`{USUAL}` cannot be made a link to the agent: {error}"))
}
