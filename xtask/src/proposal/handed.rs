//! Files that another machine has made, in a folder that is no work tree (`--from`). Only names below it are taken, only files,
//! and nothing is removed: who made them is not trusted with more than their text.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::decide::{Entry, File};
use super::worktree::{committed, git};
use crate::host::HostError;

/// The files at `from` that are named, or lie in folders that are named, as they are to be in the work tree at `top`. The second
/// half: what is wrong with them, all of it. What is executable in the commit stays so: artifacts of workflows do not keep that.
///
/// # Errors
/// git does not tell.
pub async fn handed(top: &Path, from: &Path, named: &[PathBuf]) -> Result<(Vec<File>, Vec<String>), HostError> {
    let (mut found, mut problems) = (BTreeMap::new(), Vec::new());
    for name in named {
        if let Err(why) = gather(from, name, &mut found) {
            problems.push(format!("`{}` {why}", name.display()));
        }
    }
    if found.is_empty() {
        return Ok((Vec::new(), problems));
    }
    let paths: Vec<&str> = found.keys().map(String::as_str).collect();
    let head = committed(top, &paths).await?;
    let absolute = std::path::absolute(from).map_err(HostError::io("find", from))?;
    let places: Vec<String> = paths.iter().map(|path| absolute.join(path).display().to_string()).collect();
    let places: Vec<&str> = places.iter().map(String::as_str).collect();
    let told = git(top, &["hash-object", "--no-filters", "--"], &places).await?;
    let mut files = Vec::new();
    for ((path, bytes), sha) in found.into_iter().zip(told.lines()) {
        let head = head.get(&path).cloned();
        let mode = head.as_ref().map_or_else(|| "100644".to_owned(), |entry| entry.mode.clone());
        if !mode.starts_with("100") {
            problems.push(format!("`{path}` is no file in the commit that is checked out"));
        }
        files.push(File { path, work: Some((Entry { mode, sha: sha.to_owned() }, bytes)), head });
    }
    Ok((files, problems))
}

/// The text of the file `name` at `from`.
///
/// # Errors
/// In words: it is no file below it, or not text.
pub fn text(from: &Path, name: &Path) -> Result<String, String> {
    let mut found = BTreeMap::new();
    let whole = from.join(name);
    gather(from, name, &mut found).map_err(|why| format!("`{}` {why}", whole.display()))?;
    if whole.is_dir() {
        return Err(format!("`{}` is a folder", whole.display()));
    }
    let bytes = found.into_values().next().unwrap_or_default();
    String::from_utf8(bytes).map_err(|_| format!("`{}` is not text (UTF-8)", whole.display()))
}

/// Adds what `name` is in `from`: a file, or all files below a folder.
fn gather(from: &Path, name: &Path, found: &mut BTreeMap<String, Vec<u8>>) -> Result<(), String> {
    let parts: Option<Vec<&str>> = name
        .components()
        .map(|part| match part {
            Component::Normal(part) => part.to_str().filter(|part| !part.eq_ignore_ascii_case(".git")),
            _ => None,
        })
        .collect();
    let path = parts.filter(|parts| !parts.is_empty()).ok_or("is no name of a file in a repository")?.join("/");
    let whole = from.join(&path);
    let failed = |error: std::io::Error| format!("cannot be read in `{}`: {error}", from.display());
    // A link is not followed: not here, not below, and not on the way.
    for (at, _) in path.match_indices('/') {
        let above = path.get(..at).unwrap_or_default();
        if !from.join(above).symlink_metadata().map_err(failed)?.is_dir() {
            return Err(format!("is not there: `{above}` is no folder in `{}`", from.display()));
        }
    }
    let kind = whole.symlink_metadata().map_err(failed)?;
    if kind.is_file() {
        found.insert(path, std::fs::read(&whole).map_err(failed)?);
        return Ok(());
    }
    if !kind.is_dir() {
        return Err(format!("is neither a file nor a folder in `{}`", from.display()));
    }
    for entry in std::fs::read_dir(&whole).map_err(failed)? {
        let below = entry.map_err(failed)?.file_name();
        gather(from, &name.join(&below), found).map_err(|why| match why.starts_with('`') {
            true => why,
            false => format!("has `{}`, which {why}", below.display()),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_below_the_folder_are_taken() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("images/web/.git")).expect("folders");
        for file in ["variants.toml", "images/web/one", "images/two", "images/web/.git/config"] {
            std::fs::write(at(file), file).expect("written");
        }
        std::os::unix::fs::symlink("/etc/passwd", at("link")).expect("a link");
        std::os::unix::fs::symlink("/etc", at("etc")).expect("a link");
        assert_eq!(text(folder.path(), Path::new("variants.toml")).as_deref(), Ok("variants.toml"));
        for name in ["link", "etc/passwd", "images/web"] {
            let told = text(folder.path(), Path::new(name)).expect_err(name);
            assert!(!told.contains("root:") && told.starts_with('`'), "{told}");
        }
        let mut found = BTreeMap::new();
        assert_eq!(gather(folder.path(), Path::new("variants.toml"), &mut found), Ok(()));
        for (name, why) in [
            ("images", "has `web`, which has `.git`, which is no name of a file in a repository"),
            ("../variants.toml", "is no name of a file in a repository"),
            ("/etc/passwd", "is no name of a file in a repository"),
            (".", "is no name of a file in a repository"),
            ("link", "is neither a file nor a folder"),
            ("etc/passwd", "`etc` is no folder"),
            ("gone", "cannot be read"),
            ("gone/too", "cannot be read"),
        ] {
            let told = gather(folder.path(), Path::new(name), &mut found).expect_err(name);
            assert!(told.contains(why), "{name}: {told}");
        }
        std::fs::remove_dir_all(at("images/web/.git")).expect("removed");
        assert_eq!(gather(folder.path(), Path::new("images"), &mut found), Ok(()));
        assert_eq!(found.keys().collect::<Vec<_>>(), ["images/two", "images/web/one", "variants.toml"]);
    }
}
