//! Where the clone is to be, and where it lies until it is whole. All of it with the user's rights.
//!
//! Usually it is made beside its place and renamed. A folder on which a volume is mounted cannot be replaced: there
//! the files are put into it directly, and `.git` gets its name last.

use crate::failure::{Failure, SYSTEM};
use crate::settings::Secret;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// What the names of partial clones hold.
const MARK: &str = ".gantry-partial-";
/// A file in a partial clone: its files are being put out, in place.
const BEGUN: &str = "check-out-begun";
/// Partial clones of other containers on the same volume that are older than this are of nobody any more.
const OLD: Duration = Duration::from_secs(24 * 3600);
/// What a volume may have by itself.
const OF_VOLUMES: &str = "lost+found";

/// A clone's place.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// Where it is cloned to first.
    pub(super) partial: PathBuf,
    /// Whether the folder has to stay what it is.
    mounted: bool,
}

/// What lies in a folder, apart from partial clones and what a volume has by itself.
pub(super) type Names = BTreeSet<OsString>;

/// What is in a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing, or these names, which a start that was killed has left: they may be overwritten.
    Free(Names),
    /// Something: a clone, or what somebody else put there.
    There,
}

impl Place {
    pub(super) fn new(folder: PathBuf) -> Self {
        let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
        let mounted = folder.parent().is_some_and(|above| folder.is_dir() && device(above) != device(&folder));
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self::with(folder, mounted, host.trim())
    }

    fn with(folder: PathBuf, mounted: bool, host: &str) -> Self {
        let own = format!("{MARK}{host}");
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let partial = if mounted { folder.join(&own) } else { folder.with_file_name(format!(".{name}{own}")) };
        Self { folder, partial, mounted }
    }

    /// Whether the clone is made in the folder itself.
    pub(super) fn in_place(&self) -> bool {
        self.mounted
    }

    /// What is there.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub(super) fn look(&self) -> Result<State, Failure> {
        let (names, begun) = self.list()?;
        // It gets its name last: what else was begun here, perhaps by another container, is none of this clone's.
        let whole = names.iter().any(|name| name == ".git");
        Ok(if names.is_empty() || (begun && !whole) { State::Free(names) } else { State::There })
    }

    /// What lies in the folder.
    ///
    /// # Errors
    /// It cannot be looked at.
    pub(super) fn names(&self) -> Result<Names, Failure> {
        self.list().map(|(names, _)| names)
    }

    /// What lies in the folder, and whether the files of a clone were begun to be put out right there.
    fn list(&self) -> Result<(Names, bool), Failure> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok((Names::new(), false)),
            Err(error) if error.kind() == ErrorKind::NotADirectory => {
                return Err(Failure::system(format!("`{}`", self.folder.display()), "is there, and is no folder"));
            }
            Err(error) => return Err(Failure::system(format!("`{}`", self.folder.display()), error)),
        };
        let names = entries.flatten().map(|entry| entry.file_name()).filter(|name| name != OF_VOLUMES);
        let partial = |name: &OsString| self.mounted && name.to_string_lossy().starts_with(MARK);
        let (partial, names): (Names, Names) = names.partition(partial);
        let begun = partial.iter().any(|name| self.folder.join(name).join(BEGUN).exists());
        Ok((names, begun))
    }

    /// Marks, until it is removed or whole, that files are put out in place: what lies there then is a part of the clone.
    ///
    /// # Errors
    /// The file system refuses.
    pub(super) fn begin(&self) -> Result<(), Failure> {
        if !self.mounted {
            return Ok(());
        }
        let made = fs::create_dir_all(&self.partial).and_then(|()| fs::write(self.partial.join(BEGUN), ""));
        made.map_err(|error| Failure::system(format!("to write to `{}`", self.partial.display()), error))
    }

    /// Whether nothing has come to what was `known`: files are put over whatever is there.
    ///
    /// # Errors
    /// Something has, or it cannot be looked at.
    pub(super) fn still_free(&self, known: &Names) -> Result<(), Failure> {
        match self.names()?.difference(known).next() {
            None => Ok(()),
            Some(new) => {
                let (new, folder) = (new.display(), self.folder.display());
                Err(Failure::new(SYSTEM, format!("somebody else has put `{new}` into `{folder}` meanwhile")))
            }
        }
    }

    /// Removes what starts that were killed have left.
    ///
    /// # Errors
    /// It cannot be removed.
    pub(super) fn clean(&self) -> Result<(), Failure> {
        let name = self.partial.file_name().unwrap_or_default().to_string_lossy();
        let family = name.split_once(MARK).map(|(before, _)| format!("{before}{MARK}")).unwrap_or_default();
        let entries = fs::read_dir(self.partial.parent().unwrap_or(&self.partial)).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&family)) {
            let age = entry.metadata().and_then(|found| found.modified()).ok();
            let age = age.and_then(|modified| SystemTime::now().duration_since(modified).ok()).unwrap_or_default();
            // Another container may be at work on the same volume.
            if entry.path() == self.partial || age > OLD {
                let removed = fs::remove_dir_all(entry.path());
                removed.map_err(|error| Failure::system(format!("to remove `{}`", entry.path().display()), error))?;
            }
        }
        Ok(())
    }

    /// Where the repository itself is while files are put out of it.
    pub(super) fn git_folder(&self) -> PathBuf {
        self.partial.join(".git")
    }

    /// Where the files are put.
    pub(super) fn work_tree(&self) -> PathBuf {
        if self.mounted { self.folder.clone() } else { self.partial.clone() }
    }

    /// Makes the clone, which is whole now, what is in its place.
    ///
    /// # Errors
    /// The file system refuses, or somebody else was faster.
    pub(super) fn finish(&self) -> Result<(), Failure> {
        let refused = |error| Failure::system(format!("to put the clone into `{}`", self.folder.display()), error);
        if let Ok(folder) = fs::File::open(&self.partial) {
            // A volume outlives the machine that writes to it; where this is refused, nothing helps.
            let _ = nix::unistd::syncfs(&folder);
        }
        if self.mounted {
            fs::rename(self.git_folder(), self.folder.join(".git")).map_err(refused)?;
            return fs::remove_dir_all(&self.partial).map_err(refused);
        }
        // Replaces an empty folder, and no other.
        fs::rename(&self.partial, &self.folder).map_err(refused)
    }
}

/// Checks that the clone in `folder` has kept nothing of what it was made with.
///
/// # Errors
/// Its configuration holds the token or another way to authenticate.
pub(super) fn is_clean(folder: &Path, token: Option<&Secret>) -> Result<(), Failure> {
    let path = folder.join(".git/config");
    let text = fs::read(&path).map_err(|error| Failure::system(format!("`{}`", path.display()), error))?;
    let text = String::from_utf8_lossy(&text);
    match token.is_some_and(|token| text.contains(token.expose())) || reveals(&text) {
        true => {
            Err(Failure::system("the clone is thrown away", "its `.git/config` holds credentials: look at `git config --list`"))
        }
        false => Ok(()),
    }
}

/// Whether the text of a `.git/config` holds credentials of any kind.
fn reveals(text: &str) -> bool {
    text.lines().any(|line| {
        let line = line.trim().to_ascii_lowercase();
        let userinfo =
            line.split_once("://").is_some_and(|(_, rest)| rest.split('/').next().is_some_and(|host| host.contains('@')));
        line.starts_with("extraheader") || (line.starts_with("url") && userinfo)
    })
}

#[cfg(test)]
mod tests {
    use super::{Names, Place, State, reveals};
    use proptest::prelude::*;
    use std::fs;
    use std::path::Path;

    #[test]
    fn credentials_are_found() {
        let table = [
            ("[remote \"origin\"]\n\turl = https://github.com/o/r\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n", false),
            ("[remote \"origin\"]\n\turl = https://x:y@github.com/o/r\n", true),
            ("[http \"https://github.com/\"]\n\textraHeader = Authorization: basic eA==\n", true),
            ("[user]\n\temail = a@b.example\n", false),
        ];
        for (text, expected) in table {
            assert_eq!(reveals(text), expected, "{text}");
        }
    }

    fn names(names: &[&str]) -> Names {
        names.iter().map(Into::into).collect()
    }

    #[test]
    fn what_was_begun_is_told_from_what_is_there() {
        let root = std::env::temp_dir().join(format!("entrypoint-place-{}", std::process::id()));
        let folder = root.join("r");
        let beside = Place::with(folder.clone(), false, "one");
        assert_eq!(beside.partial, root.join(".r.gantry-partial-one"));
        assert_eq!(beside.look().unwrap(), State::Free(names(&[])));
        fs::create_dir_all(folder.join("lost+found")).unwrap();
        assert_eq!(beside.look().unwrap(), State::Free(names(&[])));
        let mounted = Place::with(folder.clone(), true, "one");
        fs::write(folder.join("README"), "").unwrap();
        assert_eq!((beside.look().unwrap(), mounted.look().unwrap()), (State::There, State::There));
        fs::create_dir_all(mounted.git_folder()).unwrap();
        assert_eq!(mounted.look().unwrap(), State::There, "it was there before any file of the clone");
        mounted.begin().unwrap();
        assert_eq!(mounted.look().unwrap(), State::Free(names(&["README"])));
        mounted.finish().unwrap();
        assert_eq!(mounted.look().unwrap(), State::There);
        assert!(folder.join(".git").is_dir() && !mounted.partial.exists());
        // Another container was killed while it cloned here, and this one was quicker than a day.
        fs::create_dir_all(folder.join(".gantry-partial-two/.git")).unwrap();
        fs::write(folder.join(".gantry-partial-two").join(super::BEGUN), "").unwrap();
        assert_eq!(mounted.look().unwrap(), State::There, "`.git` gets its name last, and people work there");

        for other in ["one", "two"] {
            fs::create_dir_all(root.join(format!(".r.gantry-partial-{other}/deep"))).unwrap();
        }
        fs::create_dir_all(root.join(".rr.gantry-partial-one")).unwrap();
        beside.clean().unwrap();
        let left = |name: &str| Path::new(&root).join(name).exists();
        assert!(!left(".r.gantry-partial-one") && left(".r.gantry-partial-two") && left(".rr.gantry-partial-one"));
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn what_came_meanwhile_is_told_from_what_was_there() {
        let root = std::env::temp_dir().join(format!("entrypoint-meanwhile-{}", std::process::id()));
        // mounted, what was known, what is there now, what came
        type Case<'a> = (bool, &'a [&'a str], &'a [&'a str], Option<&'a str>);
        let table: [Case; 9] = [
            (true, &[], &[], None),
            (true, &[], &[".gantry-partial-one", ".gantry-partial-two", "lost+found"], None),
            (true, &["left", "other"], &[".gantry-partial-one", "left"], None),
            (true, &[], &[".gantry-partial-one", "new"], Some("new")),
            (true, &["left"], &[".gantry-partial-one", "left", "new"], Some("new")),
            (true, &["left"], &[".gantry-partial-one", ".gantry-partial-two", ".git", "left"], Some(".git")),
            (false, &[], &["lost+found"], None),
            (false, &[], &["new"], Some("new")),
            (false, &[], &[".gantry-partial-one"], Some(".gantry-partial-one")),
        ];
        for (index, (mounted, known, now, came)) in table.into_iter().enumerate() {
            let folder = root.join(index.to_string());
            now.iter().for_each(|name| fs::create_dir_all(folder.join(name)).unwrap());
            let refused = Place::with(folder.clone(), mounted, "one").still_free(&names(known)).err();
            let expected = came.map(|new| format!("somebody else has put `{new}` into `{}` meanwhile", folder.display()));
            assert_eq!(refused.map(|failure| failure.problems.concat()), expected, "{known:?} {now:?}");
        }
        fs::remove_dir_all(&root).unwrap();
    }

    proptest! {
        #[test]
        fn credentials_in_an_address_are_found_whatever_is_around(before: String, user in "[a-z0-9:]{1,12}", after: String) {
            let text = format!("{before}\n\turl = https://{user}@host/o/r\n{after}");
            prop_assert!(reveals(&text));
        }
    }
}
