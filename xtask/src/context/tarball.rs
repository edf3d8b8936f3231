//! A context as a tar archive.

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use tar::{Builder, EntryType, Header};

use super::Entry;

pub(super) fn write(entries: &BTreeMap<String, Entry>, mtime: u64) -> io::Result<Bytes> {
    let mut builder = Builder::new(Vec::new());
    for (path, entry) in entries {
        let mut header = Header::new_gnu();
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(mtime);
        header.set_size(0);
        match entry {
            Entry::Folder => {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(0o755);
                builder.append_data(&mut header, format!("{path}/"), io::empty())?;
            }
            Entry::File { executable, bytes } => {
                header.set_entry_type(EntryType::Regular);
                header.set_mode(if *executable { 0o755 } else { 0o644 });
                header.set_size(bytes.len() as u64);
                builder.append_data(&mut header, path, bytes.as_ref())?;
            }
            Entry::Link { target } => {
                header.set_entry_type(EntryType::Symlink);
                header.set_mode(0o777);
                builder.append_link(&mut header, path, target)?;
            }
        }
    }
    builder.into_inner().map(Bytes::from)
}
