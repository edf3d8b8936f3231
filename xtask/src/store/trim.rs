//! Keeps the blob folder at a size. What goes is made again when it is needed.

use std::str::FromStr;
use std::time::{Duration, SystemTime};

use super::{Blobs, StoreError};

/// A blob that was used this long ago may be in use by another process.
const IN_USE: Duration = Duration::from_hours(24);

/// How large the blob folder may stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limit {
    /// Bytes.
    pub bytes: u64,
}

/// The text is no size.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a size: a number of bytes, or one with `M`, `G` or `T` behind it, as in `20G`")]
pub struct InvalidLimit(pub String);

impl Limit {
    /// The variable that sets it.
    pub const VARIABLE: &'static str = "GANTRY_CACHE_SIZE";
}

impl Default for Limit {
    /// 20 GiB: some twenty releases of the family, since most layers stay the same.
    fn default() -> Self {
        Self { bytes: 20 << 30 }
    }
}

impl FromStr for Limit {
    type Err = InvalidLimit;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, shift) = match text.as_bytes().last() {
            Some(b'M' | b'm') => (&text[..text.len() - 1], 20),
            Some(b'G' | b'g') => (&text[..text.len() - 1], 30),
            Some(b'T' | b't') => (&text[..text.len() - 1], 40),
            _ => (text, 0),
        };
        let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
        let bytes = number.and_then(|number| number.checked_mul(1 << shift));
        bytes.map(|bytes| Self { bytes }).ok_or_else(|| InvalidLimit(text.to_owned()))
    }
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trimmed {
    /// Blobs.
    pub blobs: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl Blobs {
    /// Removes blobs until the folder is within `limit`, those first that were not used for the longest time. What was used
    /// in the last day stays, whatever the limit: some process may count on it. Blocks, shortly.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn trim(&self, limit: Limit) -> Result<Trimmed, StoreError> {
        self.trim_at(limit, SystemTime::now())
    }

    fn trim_at(&self, limit: Limit, now: SystemTime) -> Result<Trimmed, StoreError> {
        let folder = self.folder();
        let entries = std::fs::read_dir(&folder).map_err(|source| StoreError::Folder { what: "read", path: folder, source })?;
        let file = |entry: std::fs::DirEntry| {
            let metadata = entry.metadata().ok().filter(std::fs::Metadata::is_file)?;
            Some((metadata.modified().ok()?, metadata.len(), entry.path()))
        };
        let mut files: Vec<_> = entries.flatten().filter_map(file).collect();
        files.sort();
        let mut total: u64 = files.iter().map(|(_, size, _)| size).sum();
        let mut trimmed = Trimmed::default();
        for (used, size, path) in files {
            let idle = now.duration_since(used).unwrap_or_default();
            if total <= limit.bytes || idle < IN_USE {
                break;
            }
            // Somebody else may trim, too; and a folder that cannot be written is not ours to keep small.
            if std::fs::remove_file(&path).is_ok() {
                trimmed.blobs += 1;
                trimmed.bytes += size;
            }
            total -= size;
        }
        Ok(trimmed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    #[test]
    fn sizes() {
        for (text, bytes) in [("0", 0), ("1024", 1024), ("5M", 5 << 20), ("20G", 20 << 30), ("1t", 1 << 40)] {
            assert_eq!(text.parse::<Limit>().map(|limit| limit.bytes), Ok(bytes), "{text}");
        }
        for text in ["", "G", "20 G", "-1", "1.5G", "99999999999T", "20GB"] {
            assert_eq!(text.parse::<Limit>(), Err(InvalidLimit(text.to_owned())));
        }
    }

    #[test]
    fn what_was_not_used_for_the_longest_time_goes_first_and_what_may_be_in_use_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let blobs = Blobs::open(folder.path()).expect("a store");
        let now = SystemTime::now();
        for (name, hours) in [("a", 72), ("b", 96), ("c", 23), ("d", 48)] {
            let path = blobs.path(Digest::of(name));
            std::fs::write(&path, [0; 100]).expect("written");
            let used = now - Duration::from_hours(hours);
            std::fs::File::options().append(true).open(path).expect("opened").set_modified(used).expect("touched");
        }
        let left =
            || -> String { ["a", "b", "c", "d"].into_iter().filter(|name| blobs.path(Digest::of(name)).exists()).collect() };
        for (limit, removed, expected) in [(400, 0, "abcd"), (399, 1, "acd"), (200, 1, "cd"), (0, 1, "c"), (0, 0, "c")] {
            let trimmed = blobs.trim_at(Limit { bytes: limit }, now).expect("trimmed");
            assert_eq!((trimmed.blobs, left().as_str()), (removed, expected), "{limit}");
        }
    }
}
