//! What this container has registered, in a file that only the entrypoint's user can read: it is written before
//! anything is registered and emptied after it was removed, so that whoever comes next (this worker started again,
//! the container started again) removes what a killed one has left.

use super::api;
use crate::files;
use serde_json::{Value, json};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The largest such file.
const LARGEST: u64 = 256 * 1024;

/// A registration: begun, or done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// The address of the list that it is on.
    pub(super) list: String,
    pub(super) name: String,
    /// None: it was about to be registered.
    pub(super) id: Option<u64>,
    /// The process group that works with it, if one was started.
    pub(super) group: Option<i32>,
    /// When PID 1 was started: the group's number means something in the life of one container only.
    pub(super) life: u64,
    /// When it was written first, in seconds since 1970.
    pub(super) since: u64,
}

/// The file and what is in it.
#[derive(Debug)]
pub(super) struct Records {
    path: PathBuf,
    records: Vec<Record>,
}

impl Records {
    /// Reads the file; what cannot be understood, or is of another list than `list`, is none of ours. (Where the
    /// entrypoint is no more than an ordinary user, jobs can write to it: nobody else is asked with our token.)
    pub(super) fn open(path: PathBuf, list: &str) -> Self {
        let mut records = files::read_no_link(&path, LARGEST).map(|bytes| parse(&bytes)).unwrap_or_default();
        records.retain(|record| record.list == list);
        Self { path, records }
    }

    pub(super) fn all(&self) -> &[Record] {
        &self.records
    }

    /// Adds a record, or replaces that of the same list and name.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn put(&mut self, record: &Record) -> io::Result<()> {
        self.records.retain(|other| !same(other, record));
        self.records.push(record.clone());
        self.write()
    }

    /// Takes a record away.
    pub(super) fn remove(&mut self, record: &Record) {
        self.records.retain(|other| !same(other, record));
        // One that stays in the file is looked for once more, and not found.
        let _ = self.write();
    }

    fn write(&self) -> io::Result<()> {
        if self.records.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        files::write(&self.path, render(&self.records).as_bytes(), 0o600, None)
    }
}

fn same(a: &Record, b: &Record) -> bool {
    a.list == b.list && a.name == b.name
}

fn render(records: &[Record]) -> String {
    let records: Vec<_> = records
        .iter()
        .map(|record| {
            json!({
                "list": record.list, "name": record.name, "id": record.id,
                "group": record.group, "life": record.life, "since": record.since,
            })
        })
        .collect();
    Value::from(records).to_string()
}

fn parse(bytes: &[u8]) -> Vec<Record> {
    let Ok(Value::Array(values)) = serde_json::from_slice(bytes) else { return Vec::new() };
    let record = |value: &Value| {
        Some(Record {
            list: value.get("list")?.as_str()?.to_owned(),
            name: value.get("name")?.as_str()?.to_owned(),
            id: value.get("id")?.as_u64(),
            group: value.get("group")?.as_i64().and_then(|group| i32::try_from(group).ok()).filter(|group| *group > 1),
            life: value.get("life")?.as_u64()?,
            since: value.get("since")?.as_u64()?,
        })
    };
    values.iter().filter_map(record).collect()
}

/// What `.runner` in `folder` says: id and name.
pub(super) fn configured(folder: &Path) -> Option<(u64, String)> {
    api::configured(&files::read_no_link(&folder.join(".runner"), LARGEST).ok()?)
}

#[cfg(test)]
mod tests {
    use super::{Record, parse, render};
    use proptest::prelude::*;

    #[test]
    fn records_are_read_as_they_were_written() {
        let record = Record { list: "https://x".into(), name: "a\"b".into(), id: Some(7), group: Some(12), life: 3, since: 4 };
        let begun = Record { id: None, group: None, ..record.clone() };
        let records = vec![record, begun];
        assert_eq!(parse(render(&records).as_bytes()), records);
        // A group that would be everybody is none.
        let text = r#"[{"list":"l","name":"n","id":1,"group":1,"life":1,"since":1},{"list":"l"},7]"#;
        assert_eq!(parse(text.as_bytes()).iter().map(|record| record.group).collect::<Vec<_>>(), [None]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            parse(&bytes);
        }
    }
}
