//! A build context as a value: what a folder holds, without what its `.dockerignore` leaves out, with names sorted and
//! modes normalised, so that the same sources give the same digest and the same tar archive on every machine.

mod ignore;
mod tarball;

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use sha2::Digest as _;

use crate::oci::Digest;
pub use ignore::Ignore;

/// The build instructions' name in every context.
pub const DOCKERFILE: &str = "Dockerfile";

/// Why a folder is no build context.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// The folder, or something in it, cannot be read.
    #[error("cannot read `{path}`")]
    Read {
        /// What.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The folder has no Dockerfile.
    #[error("`{0}` has no file `Dockerfile`")]
    NoDockerfile(PathBuf),
    /// A line of `.dockerignore` is not a pattern.
    #[error("`{path}` line {line}: `{pattern}` is not a pattern: {why}")]
    Pattern {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The line's text.
        pattern: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name that is not UTF-8: it would not look the same everywhere.
    #[error("the name of `{0}` is not UTF-8")]
    Name(PathBuf),
    /// Neither file, folder nor symbolic link.
    #[error("`{0}` is neither a file, a folder nor a symbolic link; remove it or name it in `.dockerignore`")]
    Special(PathBuf),
    /// A path that [`Context::add`] cannot take.
    #[error("`{path}` cannot be added to a build context: {why}")]
    Added {
        /// The path.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
}

/// Something in a context.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    Folder,
    File { executable: bool, bytes: Bytes },
    Link { target: String },
}

/// A build context, in memory: contexts are small, downloads come as images of their own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Context {
    /// By path, `/` between, no leading one. Parents are always there, and sort before what they hold.
    entries: BTreeMap<String, Entry>,
}

/// Reads the folder `dir`, without what `dir/.dockerignore` leaves out. The Dockerfile is kept whatever that file says
/// (as docker does); `.dockerignore` itself is not part of the context: its effect is.
///
/// Modes are 0755 for folders and for files that their owner may execute, 0644 for all others. Symbolic links are kept
/// as links. Empty folders are kept.
///
/// # Errors
/// See [`ContextError`].
pub fn read(dir: &Path) -> Result<Context, ContextError> {
    let ignore_path = dir.join(".dockerignore");
    let ignore = match fs::read_to_string(&ignore_path) {
        Ok(text) => Ignore::parse(&text).map_err(|problem| ContextError::Pattern {
            path: ignore_path,
            line: problem.line,
            pattern: problem.pattern,
            why: problem.why,
        })?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ignore::default(),
        Err(source) => return Err(ContextError::Read { path: ignore_path, source }),
    };
    let mut context = Context::default();
    context.walk(dir, "", &ignore)?;
    if !matches!(context.entries.get(DOCKERFILE), Some(Entry::File { .. })) {
        return Err(ContextError::NoDockerfile(dir.to_owned()));
    }
    Ok(context)
}

impl Context {
    fn walk(&mut self, dir: &Path, prefix: &str, ignore: &Ignore) -> Result<(), ContextError> {
        let failed = |source| ContextError::Read { path: dir.to_owned(), source };
        for item in fs::read_dir(dir).map_err(failed)? {
            let item = item.map_err(failed)?;
            let on_disk = item.path();
            let name = item.file_name().into_string().map_err(|_| ContextError::Name(on_disk.clone()))?;
            let path = format!("{prefix}{name}");
            let kind = item.file_type().map_err(failed)?;
            let left_out = path == ".dockerignore" || (path != DOCKERFILE && ignore.leaves_out(&path));
            if kind.is_dir() {
                if !left_out {
                    self.insert(&path, Entry::Folder);
                }
                if !left_out || ignore.has_exceptions() {
                    self.walk(&on_disk, &format!("{path}/"), ignore)?;
                }
            } else if !left_out {
                let entry = read_entry(&on_disk, kind)?;
                self.insert(&path, entry);
            }
        }
        Ok(())
    }

    /// Inserts an entry and the folders it lies in.
    fn insert(&mut self, path: &str, entry: Entry) {
        for (slash, _) in path.match_indices('/') {
            if !self.entries.contains_key(&path[..slash]) {
                self.entries.insert(path[..slash].to_owned(), Entry::Folder);
            }
        }
        self.entries.insert(path.to_owned(), entry);
    }

    /// Adds (or replaces) a file that does not lie in the folder: the entrypoint. `path` is relative, `/` between. Of
    /// `mode` only the owner's right to execute counts, as for files that are read.
    ///
    /// # Errors
    /// The path is absolute, has `.` or `..` in it, is a folder, or leads through something that is no folder.
    pub fn add(&mut self, path: &str, mode: u32, bytes: impl Into<Bytes>) -> Result<(), ContextError> {
        let refused = |why| Err(ContextError::Added { path: path.to_owned(), why });
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return refused("expected a relative path without `.` and `..`");
        }
        if matches!(self.entries.get(path), Some(Entry::Folder)) {
            return refused("a folder stands there");
        }
        let through = |slash| !matches!(self.entries.get(&path[..slash]), None | Some(Entry::Folder));
        if path.match_indices('/').any(|(slash, _)| through(slash)) {
            return refused("it leads through something that is no folder");
        }
        self.insert(path, Entry::File { executable: mode & 0o100 != 0, bytes: bytes.into() });
        Ok(())
    }

    /// The digest of everything that a build can see of the context: paths, modes, link targets, contents.
    pub fn digest(&self) -> Digest {
        let mut hasher = sha2::Sha256::new();
        let mut part = |bytes: &[u8]| {
            hasher.update((bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        for (path, entry) in &self.entries {
            part(path.as_bytes());
            match entry {
                Entry::Folder => part(b"folder"),
                Entry::File { executable, bytes } => {
                    part(if *executable { b"program" } else { b"file" });
                    part(bytes);
                }
                Entry::Link { target } => {
                    part(b"link");
                    part(target.as_bytes());
                }
            }
        }
        Digest::from_hasher(hasher)
    }

    /// The context as a tar archive: sorted, folders before what they hold, owned by root, everything changed at `mtime`
    /// (seconds since 1970). The same context gives the same bytes.
    ///
    /// # Errors
    /// A name that a tar archive cannot hold (one with a NUL).
    pub fn tar(&self, mtime: u64) -> io::Result<Bytes> {
        tarball::write(&self.entries, mtime)
    }

    /// The Dockerfile. Empty in a context that was not read from a folder.
    pub fn dockerfile(&self) -> &[u8] {
        match self.entries.get(DOCKERFILE) {
            Some(Entry::File { bytes, .. }) => bytes,
            _ => &[],
        }
    }

    /// The paths in the context, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// The bytes of all files together.
    pub fn size(&self) -> u64 {
        self.entries.values().map(|entry| if let Entry::File { bytes, .. } = entry { bytes.len() as u64 } else { 0 }).sum()
    }
}

fn read_entry(path: &Path, kind: fs::FileType) -> Result<Entry, ContextError> {
    let failed = |source| ContextError::Read { path: path.to_owned(), source };
    if kind.is_symlink() {
        let target = fs::read_link(path).map_err(failed)?;
        let target = target.into_os_string().into_string().map_err(|_| ContextError::Name(path.to_owned()))?;
        let target = if cfg!(windows) { target.replace('\\', "/") } else { target };
        return Ok(Entry::Link { target });
    }
    if !kind.is_file() {
        return Err(ContextError::Special(path.to_owned()));
    }
    let mut file = fs::File::open(path).map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default() + 1);
    file.read_to_end(&mut bytes).map_err(failed)?;
    Ok(Entry::File { executable: is_executable(&metadata, &bytes), bytes: bytes.into() })
}

#[cfg(unix)]
fn is_executable(metadata: &fs::Metadata, _: &[u8]) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o100 != 0
}

/// Windows keeps no such bit: scripts and programs for Linux are told by how they begin.
#[cfg(not(unix))]
fn is_executable(_: &fs::Metadata, bytes: &[u8]) -> bool {
    bytes.starts_with(b"#!") || bytes.starts_with(b"\x7fELF")
}

#[cfg(test)]
mod tests;
