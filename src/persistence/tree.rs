//! Files and folders with everything in them: copied, compared, removed.

use super::Trouble;
use crate::files;
use std::fs::{self, DirBuilder, File, FileTimes, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

/// How much of a file is copied until somebody may have asked for a stop.
const PIECE: u64 = 16 * 1024 * 1024;

/// Puts the path before an error.
pub(super) fn at(path: &Path) -> impl Fn(io::Error) -> Trouble {
    move |error| Trouble::Failed(format!("`{}`: {error}", path.display()))
}

/// What is at `path`, without following a link there.
pub(super) fn look(path: &Path) -> Result<Option<Metadata>, Trouble> {
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// Whether there is nothing in it that could be lost: a folder without entries, a file without bytes.
pub(super) fn empty(path: &Path, found: &Metadata) -> Result<bool, Trouble> {
    if found.is_dir() {
        return Ok(fs::read_dir(path).map_err(at(path))?.next().is_none());
    }
    Ok(found.is_file() && found.len() == 0)
}

/// The entries of a folder.
fn entries(path: &Path) -> Result<Vec<PathBuf>, Trouble> {
    let entries = fs::read_dir(path).map_err(at(path))?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(at(path))).collect()
}

/// Sockets and pipes are of processes that run; nothing of theirs lies on the disk.
fn holds_nothing(found: &Metadata) -> bool {
    let kind = found.file_type();
    kind.is_socket() || kind.is_fifo() || kind.is_block_device() || kind.is_char_device()
}

/// Copies `from` to `to`, which is not there: content, modes, times and links.
pub(super) fn copy(from: &Path, to: &Path, stop: &dyn Fn() -> bool) -> Result<(), Trouble> {
    if stop() {
        return Err(Trouble::Stopped);
    }
    let found = fs::symlink_metadata(from).map_err(at(from))?;
    if found.is_symlink() {
        let target = fs::read_link(from).map_err(at(from))?;
        return symlink(target, to).map_err(at(to));
    }
    if holds_nothing(&found) {
        return Ok(());
    }
    if found.is_dir() {
        DirBuilder::new().mode(0o700).create(to).map_err(at(to))?;
        for entry in entries(from)? {
            copy(&entry, &to.join(entry.file_name().unwrap_or_default()), stop)?;
        }
    } else {
        let mut source = File::open(from).map_err(at(from))?;
        // Readable for others at the end, if at all.
        let mut target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to).map_err(at(to))?;
        while io::copy(&mut (&mut source).take(PIECE), &mut target).map_err(at(to))? > 0 {
            if stop() {
                return Err(Trouble::Stopped);
            }
        }
    }
    let times = match (found.accessed(), found.modified()) {
        (Ok(accessed), Ok(modified)) => FileTimes::new().set_accessed(accessed).set_modified(modified),
        _ => FileTimes::new(),
    };
    let made = File::open(to).map_err(at(to))?;
    made.set_times(times).and_then(|()| made.set_permissions(Permissions::from_mode(found.permissions().mode()))).map_err(at(to))
}

/// Whether everything in `part` is in `whole` too, with the same content.
pub(super) fn contains(whole: &Path, part: &Path) -> Result<bool, Trouble> {
    let (Some(inner), Some(outer)) = (look(part)?, look(whole)?) else { return Ok(false) };
    if inner.is_symlink() {
        return Ok(outer.is_symlink() && fs::read_link(part).ok() == fs::read_link(whole).ok());
    }
    if inner.is_dir() {
        if !outer.is_dir() {
            return Ok(false);
        }
        for entry in entries(part)? {
            let found = fs::symlink_metadata(&entry).map_err(at(&entry))?;
            let same = holds_nothing(&found) || contains(&whole.join(entry.file_name().unwrap_or_default()), &entry)?;
            if !same {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    if !outer.is_file() || inner.len() != outer.len() {
        return Ok(false);
    }
    same(File::open(part).map_err(at(part))?, File::open(whole).map_err(at(whole))?).map_err(at(part))
}

fn same(one: File, other: File) -> io::Result<bool> {
    let (mut one, mut other) = (io::BufReader::new(one), io::BufReader::new(other));
    let (mut first, mut second) = ([0; 8192], [0; 8192]);
    loop {
        let (read, also) = (fill(&mut one, &mut first)?, fill(&mut other, &mut second)?);
        if first.get(..read) != second.get(..also) {
            return Ok(false);
        }
        if read == 0 {
            return Ok(true);
        }
    }
}

/// As many bytes as there are, up to the buffer's size.
fn fill(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
        match from.read(room) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Removes whatever is at `path`; nothing is fine too.
pub(super) fn remove(path: &Path) -> Result<(), Trouble> {
    files::remove(path).map_err(at(path))
}

/// Where something is mounted.
pub(super) fn mounts() -> Vec<PathBuf> {
    mount_points(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
}

/// The mount points in the text of `/proc/self/mountinfo`.
fn mount_points(text: &str) -> Vec<PathBuf> {
    // The kernel writes a blank as `\040`, and so on.
    let plain = |field: &str| {
        let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
        escapes.into_iter().fold(field.to_owned(), |field, (code, character)| field.replace(code, character))
    };
    text.lines().filter_map(|line| line.split(' ').nth(4)).map(|field| plain(field).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::{contains, copy, mount_points};
    use proptest::prelude::*;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::path::PathBuf;

    #[test]
    fn mount_points_of_the_kernel() {
        let text =
            "36 35 98:0 / / rw - ext4 /dev/root rw\n37 36 0:5 /a /home/a\\040b rw,noatime shared:1 - tmpfs t rw\n\nnonsense\n";
        assert_eq!(mount_points(text), ["/", "/home/a b"].map(PathBuf::from));
    }

    #[test]
    fn a_copy_contains_its_original_until_one_changes() {
        let folder = std::env::temp_dir().join(format!("entrypoint-tree-{}", std::process::id()));
        let (original, copied) = (folder.join("original"), folder.join("copied"));
        fs::create_dir_all(original.join("folder/deeper")).unwrap();
        fs::write(original.join("folder/file"), vec![7; 20_000]).unwrap();
        fs::set_permissions(original.join("folder/file"), fs::Permissions::from_mode(0o600)).unwrap();
        symlink("nowhere", original.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(original.join("socket")).unwrap();
        copy(&original, &copied, &|| false).unwrap();
        assert_eq!(fs::metadata(copied.join("folder/file")).unwrap().permissions().mode() & 0o777, 0o600);
        let modified = |path: &PathBuf| fs::metadata(path.join("folder/file")).unwrap().modified().unwrap();
        assert_eq!(modified(&original), modified(&copied));
        assert!(contains(&copied, &original).unwrap());
        fs::write(copied.join("more"), "").unwrap();
        assert!(contains(&copied, &original).unwrap() && !contains(&original, &copied).unwrap());
        let mut changed = vec![7; 20_000];
        changed[19_999] = 8;
        fs::write(original.join("folder/file"), changed).unwrap();
        assert!(!contains(&copied, &original).unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_stop_is_heeded_in_the_middle_of_a_file() {
        let folder = std::env::temp_dir().join(format!("entrypoint-large-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (original, copied) = (folder.join("original"), folder.join("copied"));
        fs::File::create(&original).unwrap().set_len(3 * super::PIECE).unwrap();
        let asked = std::cell::Cell::new(0);
        let stop = || asked.replace(asked.get() + 1) > 1;
        assert!(matches!(copy(&original, &copied, &stop), Err(super::Trouble::Stopped)));
        assert!(fs::metadata(&copied).unwrap().len() < 3 * super::PIECE);
        copy(&original, &folder.join("whole"), &|| false).unwrap();
        assert!(contains(&folder.join("whole"), &original).unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }

    proptest! {
        #[test]
        fn any_list_of_mounts_is_read(text in "([ -~]| |\\\\040|\n|\\PC){0,60}") {
            prop_assert!(mount_points(&text).len() <= text.lines().count());
        }
    }
}
