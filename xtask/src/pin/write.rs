//! Several files at once: all are written beside their places before the first is renamed.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// A file that gets another text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replaced {
    /// Where it is.
    pub path: PathBuf,
    /// What was read there.
    pub before: String,
    /// What is to be there.
    pub after: String,
}

/// Replaces files, each with the permissions that it has.
///
/// # Errors
/// A file cannot be written, or somebody has changed it since it was read; the path says which. Nothing was replaced, unless it was a renaming
/// that failed.
pub fn write(files: &[Replaced]) -> Result<(), (PathBuf, io::Error)> {
    let beside = |path: &Path, text: &str| -> io::Result<tempfile::NamedTempFile> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".gantry-pin-").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(path.metadata()?.permissions())?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    let mut made = Vec::new();
    for Replaced { path, after, .. } in files {
        made.push((path, beside(path, after).map_err(|error| (path.clone(), error))?));
    }
    for Replaced { path, before, .. } in files {
        let now = std::fs::read(path).map_err(|error| (path.clone(), error))?;
        if now != before.as_bytes() {
            return Err((path.clone(), io::Error::other("somebody has changed it meanwhile")));
        }
    }
    for (path, file) in made {
        file.persist(path).map_err(|error| (path.clone(), error.error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_has_changed_meanwhile_stays_and_so_does_everything_else() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = |name: &str, before: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, before).expect("written");
            Replaced { path, before: before.to_owned(), after: "new".to_owned() }
        };
        let files = [file("one", "1"), file("two", "2")];
        let texts = || files.each_ref().map(|file| std::fs::read_to_string(&file.path).expect("read"));
        std::fs::write(&files[1].path, "theirs").expect("written");
        assert_eq!(write(&files).expect_err("refused").0, files[1].path);
        assert_eq!(texts(), ["1", "theirs"]);
        std::fs::write(&files[1].path, "2").expect("written");
        write(&files).expect("replaced");
        assert_eq!(texts(), ["new", "new"]);
        assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 2);
    }
}
