//! Files as the work tree and its commit have them, told by git.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use super::decide::{Entry, File};
use crate::host::{HostError, Mend};
use crate::secret;

/// The top of the work tree that `folder` lies in.
///
/// # Errors
/// There is no git, or no work tree.
pub async fn top(folder: &Path) -> Result<PathBuf, HostError> {
    let told = git(folder, &["rev-parse", "--show-toplevel"], &[]).await?;
    let path = PathBuf::from(told.trim_end_matches(['\r', '\n']));
    path.canonicalize().map_err(HostError::io("find", &path))
}

/// The commit that is checked out.
///
/// # Errors
/// There is none.
pub async fn head(top: &Path) -> Result<String, HostError> {
    Ok(git(top, &["rev-parse", "--verify", "HEAD^{commit}"], &[]).await?.trim().to_owned())
}

/// Files of the work tree at `top`, each as it is there and as the commit has it that is checked out. The second half: what
/// is wrong with them, all of it.
///
/// # Errors
/// git does not tell.
pub async fn files(top: &Path, named: &[PathBuf]) -> Result<(Vec<File>, Vec<String>), HostError> {
    let mut found: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
    let mut problems: Vec<String> = Vec::new();
    for file in named {
        match look(top, file) {
            Ok((path, bytes)) => drop(found.insert(path, bytes)),
            Err(why) => problems.push(format!("`{}` {why}", file.display())),
        }
    }
    let paths: Vec<&str> = found.keys().map(String::as_str).collect();
    let head = if paths.is_empty() { BTreeMap::new() } else { committed(top, &paths).await? };
    let there: Vec<&str> = found.iter().filter(|(_, bytes)| bytes.is_some()).map(|(path, _)| path.as_str()).collect();
    // The bytes as they are: what line ends a checkout made of them is what was asked to be committed.
    let told = if there.is_empty() { String::new() } else { git(top, &["hash-object", "--no-filters", "--"], &there).await? };
    let mut ids = told.lines().map(str::to_owned);
    let mut files = Vec::new();
    for (path, bytes) in found {
        let head = head.get(&path).cloned();
        if bytes.is_none() && head.is_none() {
            problems.push(format!("`{path}` is neither in the work tree nor in its commit"));
            continue;
        }
        if head.as_ref().is_some_and(|entry| !entry.mode.starts_with("100")) {
            problems.push(format!("`{path}` is no file in the commit that is checked out"));
        }
        let work = bytes.and_then(|bytes| {
            let mode = if is_executable(&top.join(&path)) { "100755" } else { "100644" };
            Some((Entry { mode: mode.to_owned(), sha: ids.next()? }, bytes))
        });
        files.push(File { path, work, head });
    }
    Ok((files, problems))
}

/// A file's path from the top, and its bytes; none: it is not there.
fn look(top: &Path, file: &Path) -> Result<(String, Option<Vec<u8>>), String> {
    let name = file.file_name().ok_or("is no file")?;
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // Only the folder is resolved: the file may be gone, and a link is not followed.
    let folder = folder.canonicalize().map_err(|error| format!("cannot be found: {error}"))?;
    let within = folder.strip_prefix(top).map_err(|_| format!("is not in the work tree `{}`", top.display()))?.join(name);
    let parts: Option<Vec<&str>> = within.components().map(|part| part.as_os_str().to_str()).collect();
    let path = parts.ok_or("has a name that is not text")?.join("/");
    let whole = folder.join(name);
    match whole.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok((path, None)),
        Err(error) => Err(format!("cannot be read: {error}")),
        Ok(found) if found.is_dir() => Err("is a folder: name the files in it".to_owned()),
        Ok(found) if !found.is_file() => Err("is neither a file nor gone".to_owned()),
        Ok(_) => std::fs::read(&whole).map(|bytes| (path, Some(bytes))).map_err(|error| format!("cannot be read: {error}")),
    }
}

pub(super) async fn committed(top: &Path, paths: &[&str]) -> Result<BTreeMap<String, Entry>, HostError> {
    let told = git(top, &["ls-tree", "-z", "--full-tree", "HEAD", "--"], paths).await?;
    // <mode> SP <type> SP <object> TAB <file>
    let entries = told.split('\0').filter_map(|record| {
        let (facts, path) = record.split_once('\t')?;
        let mut facts = facts.split(' ');
        let (mode, _, sha) = (facts.next()?, facts.next()?, facts.next()?);
        Some((path.to_owned(), Entry { mode: mode.to_owned(), sha: sha.to_owned() }))
    });
    Ok(entries.collect())
}

pub(super) async fn git(folder: &Path, arguments: &[&str], paths: &[&str]) -> Result<String, HostError> {
    let mut git = Command::new("git");
    git.arg("-C").arg(folder).args(["--literal-pathspecs", "-c", "core.fsmonitor=false"]).args(arguments).args(paths);
    // All that is pushed goes to GitHub's API.
    secret::withhold(&mut git);
    git.env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C").env_remove("GIT_DIR").env_remove("GIT_WORK_TREE");
    git.stdin(Stdio::null()).kill_on_drop(true);
    let failed = |why: String| HostError::Git { path: folder.to_owned(), why };
    let output = match git.output().await {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let (what, needed_for) = ("no program `git`".to_owned(), "the files of the work tree".to_owned());
            return Err(HostError::Missing { what, needed_for, mend: Mend::apt(&["git"]) });
        }
        Err(error) => return Err(failed(error.to_string())),
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let error = String::from_utf8_lossy(&output.stderr);
    Err(failed(error.lines().next().unwrap_or("no reason given").trim_start_matches("fatal: ").to_owned()))
}

#[cfg(unix)]
fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    path.metadata().is_ok_and(|found| found.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn is_executable(_: &Path) -> bool {
    false
}
