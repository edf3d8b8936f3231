//! Folders of our own: made for this user alone, never through a link, never somebody else's, and a cache never in a
//! folder that holds other things.

use std::fs::{self, DirBuilder, Metadata};
use std::io;
use std::path::{Path, PathBuf};

/// What Gantry makes in the root of its cache; nothing else there is Gantry's.
pub const CACHE_FOLDERS: [&str; 6] = ["artifacts", "bootstrap", "contents", "layers", "locks", "spool"];

/// The file that marks the root of a cache as ours, so that backups leave it out. (Cache Directory Tagging
/// Specification 0.6)
const TAG: &str = "CACHEDIR.TAG";
const TAG_TEXT: &str =
    "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is Gantry's cache: `cargo xtask clean --cache`\n";

/// Why a folder is not used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// It is not one of ours.
    #[error("`{path}` cannot be used: {why}", path = path.display())]
    Refused {
        /// The folder.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file system refuses.
    #[error("cannot {doing} `{path}`", path = path.display())]
    Io {
        /// `create`, `read`
        doing: &'static str,
        /// The folder.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl FolderError {
    fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }

    fn refused(path: &Path, why: impl Into<String>) -> Self {
        Self::Refused { path: path.to_owned(), why: why.into() }
    }
}

/// Makes sure that `path` is a folder (not a link to one) that is ours and that nobody else can look into. Parents that
/// are not there are made for us alone, too, as the XDG Base Directory specification asks.
///
/// # Errors
/// It cannot be created, or is a link, no folder, or somebody else's.
pub fn private(path: &Path) -> Result<(), FolderError> {
    if path.symlink_metadata().is_err() {
        create(path).map_err(FolderError::io("create", path))?;
    }
    close(path, &ours(path)?)
}

/// The same for the root of a cache, which a person may have named: one that holds other things is left as it is.
///
/// # Errors
/// As [`private`], or it holds what is not Gantry's.
pub fn private_cache(path: &Path) -> Result<(), FolderError> {
    if path.symlink_metadata().is_err() {
        create(path).map_err(FolderError::io("create", path))?;
    }
    let metadata = ours(path)?;
    if !is_tagged(path) {
        refuse_foreign(path)?;
        close(path, &metadata)?;
        let tag = path.join(TAG);
        return fs::write(&tag, TAG_TEXT).map_err(FolderError::io("write", &tag));
    }
    close(path, &metadata)
}

/// What of a cache is there and Gantry's, to be removed; nothing where there is no cache.
///
/// # Errors
/// As [`private_cache`], but nothing is made or changed.
pub fn cache_contents(root: &Path) -> Result<Vec<PathBuf>, FolderError> {
    if root.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(Vec::new());
    }
    ours(root)?;
    if !is_tagged(root) {
        refuse_foreign(root)?;
    }
    let folders = CACHE_FOLDERS.iter().map(|name| root.join(name));
    Ok(folders.filter(|folder| folder.symlink_metadata().is_ok()).collect())
}

/// Removes what of a cache is Gantry's, and its root when nothing else is in it.
///
/// # Errors
/// As [`cache_contents`], or something cannot be removed.
pub fn remove_cache(root: &Path) -> Result<(), FolderError> {
    for folder in cache_contents(root)? {
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(FolderError::io("remove", &folder)(error)),
            _ => {}
        }
    }
    if is_tagged(root) {
        let tag = root.join(TAG);
        fs::remove_file(&tag).map_err(FolderError::io("remove", &tag))?;
    }
    match fs::remove_dir(root) {
        // A person's files in it, or a place where something is mounted.
        Err(error) if matches!(error.kind(), io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::ResourceBusy) => Ok(()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(FolderError::io("remove", root)(error)),
        _ => Ok(()),
    }
}

fn is_tagged(root: &Path) -> bool {
    // cargo marks its target folder with the same name.
    fs::read_to_string(root.join(TAG)).is_ok_and(|text| text == TAG_TEXT)
}

fn refuse_foreign(root: &Path) -> Result<(), FolderError> {
    for entry in fs::read_dir(root).map_err(FolderError::io("read", root))? {
        let name = entry.map_err(FolderError::io("read", root))?.file_name();
        // `lost+found`: a disk of its own.
        if !CACHE_FOLDERS.iter().chain(&[TAG, "lost+found"]).any(|known| name == **known) {
            let why = format!("it is no cache of Gantry's, and it holds `{}`", name.to_string_lossy());
            return Err(FolderError::refused(root, why));
        }
    }
    Ok(())
}

fn ours(path: &Path) -> Result<Metadata, FolderError> {
    let metadata = path.symlink_metadata().map_err(FolderError::io("read", path))?;
    if metadata.is_symlink() {
        return Err(FolderError::refused(path, "it is a symbolic link"));
    }
    if !metadata.is_dir() {
        return Err(FolderError::refused(path, "it is not a folder"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        let us = rustix::process::geteuid().as_raw();
        if metadata.uid() != us {
            let why = format!("it belongs to another user ({}, and this is {us})", metadata.uid());
            return Err(FolderError::refused(path, why));
        }
    }
    Ok(metadata)
}

#[cfg(unix)]
fn create(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).create(path)
}

#[cfg(unix)]
fn close(path: &Path, metadata: &Metadata) -> Result<(), FolderError> {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    if metadata.mode() & 0o777 == 0o700 {
        return Ok(());
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(FolderError::io("change the mode of", path))
}

#[cfg(not(unix))]
fn close(_: &Path, _: &Metadata) -> Result<(), FolderError> {
    // %LOCALAPPDATA% is the user's own already.
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).expect("listed").flatten();
        let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_cache_is_removed_and_what_a_person_put_there_stays() {
        let home = tempfile::tempdir().expect("a folder");
        let root = home.path().join("a/cache");
        assert_eq!(cache_contents(&root).expect("none"), Vec::<PathBuf>::new());
        remove_cache(&root).expect("nothing to do");
        for folder in CACHE_FOLDERS {
            private_cache(&root).expect("ours");
            private(&root.join(folder)).expect("made");
        }
        fs::write(root.join("notes"), "").expect("written");
        private_cache(&root).expect("it is still ours");
        assert_eq!(cache_contents(&root).expect("ours").len(), CACHE_FOLDERS.len());
        remove_cache(&root).expect("removed");
        assert_eq!(names(&root), ["notes"]);

        fs::remove_file(root.join("notes")).expect("removed");
        private_cache(&root).expect("ours again");
        remove_cache(&root).expect("removed");
        assert!(!root.exists() && home.path().join("a").exists());
    }

    #[test]
    #[cfg(unix)]
    fn a_folder_with_other_things_is_left_as_it_is() {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |path: &Path| path.metadata().expect("there").permissions().mode() & 0o7777;
        // As in /tmp, in /var, and in cargo's target folder.
        for (there, tag) in [(vec!["mine"], ""), (vec!["spool", "lib"], ""), (vec!["debug"], "Signature: …\n# cargo\n")] {
            let home = tempfile::tempdir().expect("a folder");
            let root = home.path();
            for name in &there {
                fs::create_dir(root.join(name)).expect("made");
            }
            if !tag.is_empty() {
                fs::write(root.join(TAG), tag).expect("written");
            }
            fs::set_permissions(root, fs::Permissions::from_mode(0o1777)).expect("open");
            let before = names(root);
            for result in [private_cache(root), remove_cache(root)] {
                let error = result.expect_err("refused").to_string();
                assert!(error.contains("is no cache of Gantry's, and it holds `"), "{error}");
            }
            assert_eq!((names(root), mode(root)), (before, 0o1777), "{there:?}");
        }
    }

    #[test]
    fn an_empty_folder_and_a_cache_without_a_mark_are_taken() {
        let home = tempfile::tempdir().expect("a folder");
        private_cache(home.path()).expect("empty");
        assert_eq!(names(home.path()), [TAG]);
        let home = tempfile::tempdir().expect("a folder");
        for name in ["artifacts", "lost+found"] {
            fs::create_dir(home.path().join(name)).expect("made");
        }
        private_cache(home.path()).expect("all is ours");
    }
}
