//! The folder that the runner lives in: the image's, or a copy where that cannot be written to. Everything in it is
//! done with the rights of the jobs' user, who can have put anything there.

use super::{Trouble, record};
use crate::account::Account;
use crate::failure::Failure;
use crate::files::{self, remove};
use crate::places;
use crate::process::Program;
use crate::settings::{Environment, Secret};
use nix::sys::statvfs::{FsFlags, statvfs};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// What `config.sh` and the listener write when a runner is configured.
const CONFIGURATION: [&str; 5] =
    [".runner", ".credentials", ".credentials_rsaparams", ".runner_migrated", ".credentials_migrated"];
/// What of the image's folder is not copied: linked instead, or the runner's own.
const NOT_COPIED: [&str; 3] = ["externals", "_work", "_diag"];
/// A copy of the runner in the work folder.
const COPY: &str = ".actions-runner";
/// What stays in the work folder: that copy, and what a volume has by itself.
const KEPT: [&str; 2] = [COPY, "lost+found"];
/// Says what a copy was made from.
const SOURCE: &str = ".copied-from";

/// The folder.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    /// `--work`: where jobs are checked out, relative to it or absolute.
    pub(super) work: PathBuf,
    /// Whom jobs run as.
    account: Account,
    /// Variables of its programs.
    environment: Environment,
}

impl Folder {
    /// Finds a folder that `account` can write to, and says which where it is not the image's.
    pub(super) fn prepare(account: &Account, job: &Environment, work: Option<&Path>) -> Result<(Self, Option<String>), Trouble> {
        let own = |path: &Path| account_does(account, || Ok(files::writable(path)?)).is_ok();
        let image = Path::new(places::RUNNER);
        let (path, note) = if own(image) {
            (image.to_owned(), None)
        } else {
            let path = copy(account, image, work)?;
            let note =
                format!("`{}` cannot be written to by `{}`: it runs from `{}`", image.display(), account.name, path.display());
            (path, Some(note))
        };
        if let Some(work) = work {
            let work = &path.join(work);
            let usable = || fs::create_dir_all(work).and_then(|()| Ok(files::writable(work)?));
            account_does(account, || with_opened(work, usable)).map_err(|why| Trouble::Refused {
                why: format!("GITHUB_RUNNER_WORKDIR: `{}` cannot be written to by `{}`: {why}", work.display(), account.name),
                hint: format!("a volume has to belong to uid {}", account.uid),
            })?;
        }
        let work = work.map_or_else(|| PathBuf::from("_work"), Path::to_owned);
        let mut environment = account.environment(job);
        environment.retain(|(name, _)| name.to_str().is_some_and(fit_for_jobs));
        Ok((Self { path, work, account: account.clone(), environment }, note))
    }

    /// A program of the runner's, in its folder and as the jobs' user. `secret`: a variable that it takes out of its
    /// own environment.
    pub(super) fn program(&self, name: &str, arguments: Vec<OsString>, secret: Option<(&str, &Secret)>) -> Program {
        let mut environment = self.environment.clone();
        // Only then it ends with a code of its own when it is too old.
        environment.push(("ACTIONS_RUNNER_RETURN_VERSION_DEPRECATED_EXIT_CODE".into(), "1".into()));
        environment.extend(secret.map(|(name, value)| (name.into(), value.expose().into())));
        Program {
            path: self.path.join(name),
            arguments,
            environment,
            user: Some(self.account.clone()),
            folder: self.path.clone(),
            no_new_privileges: true,
            dies_with_parent: true,
            ..Program::default()
        }
    }

    /// The id and name that it is configured with, if it is.
    pub(super) fn configured(&self) -> Option<(u64, String)> {
        account_does(&self.account, || Ok(record::configured(&self.path))).ok().flatten()
    }

    /// Takes away what an earlier configuration has left: `config.sh` refuses to begin with it.
    pub(super) fn clear(&self) -> Result<(), Trouble> {
        let clear = || CONFIGURATION.iter().try_for_each(|name| remove(&self.path.join(name)));
        account_does(&self.account, clear).map_err(|why| Trouble::Later {
            why: format!("the old configuration in `{}`: {why}", self.path.display()),
            after: None,
        })
    }

    /// Empties the work folder, for a job that is to find nothing of the one before: whatever that has left there, or
    /// in the place of the folder itself.
    pub(super) fn clean_work(&self) -> Result<(), String> {
        let work = self.path.join(&self.work);
        let empty = || {
            for entry in fs::read_dir(&work)? {
                let entry = entry?;
                if KEPT.iter().any(|kept| entry.file_name() == *kept) {
                    continue;
                }
                remove(&entry.path())?;
            }
            io::Result::Ok(())
        };
        let clean = || match fs::metadata(&work) {
            Ok(found) if found.is_dir() => with_opened(&work, empty),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            // No folder, or a link that leads nowhere.
            Ok(_) | Err(_) => remove(&work),
        };
        account_does(&self.account, clean).map_err(|why| format!("`{}` cannot be cleaned: {why}", work.display()))
    }
}

/// Whether a job may see the variable: some mean something to jobs or to the listener, and none of ours is theirs.
fn fit_for_jobs(name: &str) -> bool {
    let ours = ["GITHUB_RUNNER_", "GITHUB_APP_", "ACTIONS_RUNNER_INPUT_", "GANTRY_"];
    !matches!(name, "GITHUB_TOKEN" | "GH_TOKEN" | "RUNNER_DEBUG") && !ours.iter().any(|ours| name.starts_with(ours))
}

/// Does `work` with the rights of `account`; an error in words.
fn account_does<T>(account: &Account, work: impl FnOnce() -> io::Result<T>) -> Result<T, String> {
    let acted = account.act(|| Ok::<_, Failure>(work().map_err(|error| error.to_string())));
    acted.map_err(|failure| failure.problems.concat())?
}

/// Copies the runner to the first folder that it can be executed from.
fn copy(account: &Account, image: &Path, work: Option<&Path>) -> Result<PathBuf, Trouble> {
    let home = account.home.join("actions-runner");
    let beside = work.filter(|work| work.is_absolute()).map(|work| work.join(COPY));
    let candidates = [beside, Some(home), Some(places::runner_copy(account.uid))];
    let mut problems = Vec::new();
    for candidate in candidates.into_iter().flatten() {
        match account_does(account, || copy_to(image, &candidate)) {
            Ok(()) => return Ok(candidate),
            Err(why) => problems.push(format!("`{}`: {why}", candidate.display())),
        }
    }
    Err(Trouble::Refused {
        why: format!("`{}` cannot be written to by `{}`, nor copied: {}", image.display(), account.name, problems.join("; ")),
        hint: "set GITHUB_RUNNER_WORKDIR to a folder on a volume without `noexec`, which belongs to that user".to_owned(),
    })
}

fn copy_to(image: &Path, to: &Path) -> io::Result<()> {
    if let Some(above) = to.parent() {
        fs::create_dir_all(above)?;
    }
    files::folder(to, 0o755)?;
    if statvfs(to)?.flags().contains(FsFlags::ST_NOEXEC) {
        return Err(io::Error::other("nothing can be executed there (`noexec`)"));
    }
    let listener = fs::metadata(image.join("bin/Runner.Listener"))?;
    let source = format!("{} {} {}\n", listener.len(), listener.mtime(), listener.ino());
    if files::read(&to.join(SOURCE), 1024).is_ok_and(|found| found == source.as_bytes()) {
        return Ok(());
    }
    for entry in fs::read_dir(image)? {
        let entry = entry?;
        let name = entry.file_name();
        let hidden = name.to_string_lossy().starts_with('.');
        if !hidden && !NOT_COPIED.iter().any(|other| name == *other) {
            tree(&entry.path(), &to.join(name))?;
        }
    }
    let externals = to.join("externals");
    remove(&externals)?;
    symlink(image.join("externals"), externals)?;
    files::write(&to.join(SOURCE), source.as_bytes(), 0o644, None)
}

/// Copies a file, a link or a folder in place of whatever is there.
fn tree(from: &Path, to: &Path) -> io::Result<()> {
    remove(to)?;
    let found = fs::symlink_metadata(from)?;
    if found.is_symlink() {
        return symlink(fs::read_link(from)?, to);
    }
    if !found.is_dir() {
        return fs::copy(from, to).map(|_| ());
    }
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        tree(&entry.path(), &to.join(entry.file_name()))?;
    }
    Ok(())
}

/// Does `work` in `folder`; where its mode forbids that to its own user, once more with another mode.
fn with_opened<T>(folder: &Path, work: impl Fn() -> io::Result<T>) -> io::Result<T> {
    work().or_else(|error| {
        let denied = error.kind() == io::ErrorKind::PermissionDenied;
        let mode = fs::metadata(folder).ok().filter(|_| denied).map(|found| found.mode());
        match mode.map(|mode| fs::set_permissions(folder, fs::Permissions::from_mode(mode & 0o7777 | 0o700))) {
            Some(Ok(())) => work(),
            // It is somebody else's.
            Some(Err(_)) | None => Err(error),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::fit_for_jobs;

    #[test]
    fn a_job_sees_none_of_what_is_ours() {
        let table = [
            ("PATH", true),
            ("HTTPS_PROXY", true),
            ("GITHUB_TOKEN", false),
            ("RUNNER_DEBUG", false),
            ("GITHUB_RUNNER_URL", false),
            ("GITHUB_RUNNER_ANYTHING", false),
            ("GITHUB_APP_ID", false),
            ("ACTIONS_RUNNER_INPUT_TOKEN", false),
            ("ACTIONS_RUNNER_HOOK_JOB_STARTED", true),
        ];
        for (name, expected) in table {
            assert_eq!(fit_for_jobs(name), expected, "{name}");
        }
    }
}
