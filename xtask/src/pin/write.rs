//! Several files at once: all are written beside their places before the first is renamed.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

/// Replaces files, each with the permissions that it has.
///
/// # Errors
/// A file cannot be written; the path says which. Nothing was replaced, unless it was a renaming that failed.
pub fn write(files: &[(PathBuf, String)]) -> Result<(), (PathBuf, io::Error)> {
    let beside = |path: &Path, text: &str| -> io::Result<tempfile::NamedTempFile> {
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::Builder::new().prefix(".gantry-pin-").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.as_file().set_permissions(path.metadata()?.permissions())?;
        file.as_file().sync_all()?;
        Ok(file)
    };
    let mut made = Vec::new();
    for (path, text) in files {
        made.push((path, beside(path, text).map_err(|error| (path.clone(), error))?));
    }
    for (path, file) in made {
        file.persist(path).map_err(|error| (path.clone(), error.error))?;
    }
    Ok(())
}
