//! The cache on disk: a folder of one's own, files named by their digest, verified again whenever they are used.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use sha2::Digest as _;

use super::ArtifactError;
use crate::folder;
use crate::oci::Digest;

/// The cache: `artifacts/` holds downloads by digest, `layers/` is the layer store's, `locks/` keeps processes apart.
#[derive(Debug, Clone)]
pub struct Cache {
    root: PathBuf,
    artifacts: PathBuf,
    locks: PathBuf,
}

impl Cache {
    /// Opens the cache in the folder `root`, and makes it (0700) where it is not there.
    ///
    /// # Errors
    /// `root` or a folder in it is a symbolic link, no folder, or belongs to another user; or cannot be made;
    /// or `root` holds what is not Gantry's.
    pub fn open(root: &Path) -> Result<Self, ArtifactError> {
        folder::private_cache(root)?;
        let cache = Self { root: root.to_owned(), artifacts: root.join("artifacts"), locks: root.join("locks") };
        for name in ["artifacts", "layers", "locks"] {
            cache.folder(name)?;
        }
        Ok(cache)
    }

    /// A folder in the cache by one plain name, made (0700) where it is not there.
    ///
    /// # Errors
    /// As [`Cache::open`].
    pub fn folder(&self, name: &str) -> Result<PathBuf, ArtifactError> {
        let path = self.root.join(name);
        folder::private(&path)?;
        Ok(path)
    }

    /// Whether there is a file for `digest`. Cheap and without a promise: nothing is read.
    pub fn has(&self, digest: Digest) -> bool {
        fs::symlink_metadata(self.path(digest)).is_ok_and(|metadata| metadata.is_file())
    }

    /// The file with `digest`, read and verified, or nothing.
    ///
    /// # Errors
    /// [`ArtifactError::Damaged`] when the file no longer matches, [`ArtifactError::Folder`] when a symbolic link stands
    /// there; it is removed, so that asking again gives nothing. Otherwise the file cannot be read.
    pub fn get(&self, digest: Digest) -> Result<Option<PathBuf>, ArtifactError> {
        let path = self.path(digest);
        let mut file = match open_no_follow(&path, OpenOptions::new().read(true)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(_) if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) => {
                fs::remove_file(&path).map_err(ArtifactError::io("remove", &path))?;
                return Err(ArtifactError::Folder { path, why: "a symbolic link stood there; it is removed".into() });
            }
            Err(error) => return Err(ArtifactError::io("read", &path)(error)),
        };
        let hasher = hash(&mut file).map_err(ArtifactError::io("read", &path))?;
        let found = Digest::from_hasher(hasher);
        if found != digest {
            fs::remove_file(&path).map_err(ArtifactError::io("remove", &path))?;
            return Err(ArtifactError::Damaged { path, expected: digest, found });
        }
        Ok(Some(path))
    }

    /// Where the file with `digest` lies or would lie.
    pub(super) fn path(&self, digest: Digest) -> PathBuf {
        self.artifacts.join(digest.hex())
    }

    /// Where an unfinished download of `digest` lies.
    pub(super) fn partial(&self, digest: Digest) -> PathBuf {
        self.artifacts.join(format!("{}.partial", digest.hex()))
    }

    /// The right to download `digest`, against other tasks and other processes; none while another has it. It ends with
    /// the returned file. (Lock files stay: removing one that another process waits for would let two in.)
    pub(super) fn try_lock(&self, digest: Digest) -> Result<Option<File>, ArtifactError> {
        let path = self.locks.join(digest.hex());
        let file = open_no_follow(&path, OpenOptions::new().write(true).create(true).truncate(false))
            .map_err(ArtifactError::io("lock", &path))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(ArtifactError::io("lock", &path)(error)),
        }
    }

    /// Makes a finished file durable and gives it its name.
    pub(super) fn keep(&self, file: File, partial: &Path, digest: Digest) -> Result<PathBuf, ArtifactError> {
        let path = self.path(digest);
        file.sync_all().map_err(ArtifactError::io("write", partial))?;
        drop(file);
        fs::rename(partial, &path).map_err(ArtifactError::io("rename", partial))?;
        if cfg!(unix) {
            File::open(&self.artifacts).and_then(|folder| folder.sync_all()).map_err(ArtifactError::io("write", &path))?;
        }
        Ok(path)
    }
}

/// Opens a regular file, never through a symbolic link in its place, and never waiting for a pipe's other end.
pub(super) fn open_no_follow(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        options.mode(0o600).custom_flags(i32::try_from(flags.bits()).map_err(io::Error::other)?);
    }
    #[cfg(windows)]
    {
        use std::os::windows::fs::OpenOptionsExt as _;
        const FILE_FLAG_OPEN_REPARSE_POINT: u32 = 0x0020_0000;
        options.custom_flags(FILE_FLAG_OPEN_REPARSE_POINT);
    }
    let file = options.open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    Ok(file)
}

/// What a hasher knows after all of `file`.
pub(super) fn hash(file: &mut impl Read) -> io::Result<sha2::Sha256> {
    let mut hasher = sha2::Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(hasher),
            Ok(read) => hasher.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
