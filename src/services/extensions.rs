//! The image's extensions, offered to a server whose extensions folder is the user's own.
//!
//! The servers know one folder only. The image's is read-only, and it has to be: so that users can install
//! their own, the folder is in their home, with a link for each extension of the image and an entry in the
//! `extensions.json` that the servers keep there. The image's extensions take no space in the home, and a
//! newer image replaces its own older ones.

use std::fs;
use std::io;
use std::path::Path;

/// The list that the servers keep of what is installed.
const LIST: &str = "extensions.json";
/// More than any such list.
const LARGEST: u64 = 16 * 1024 * 1024;

/// Makes the extensions of `baked` available in `own`; what goes wrong is told and prevents nothing.
pub(super) fn offer(baked: &Path, own: &Path) -> Vec<String> {
    if !baked.is_dir() {
        return Vec::new();
    }
    let told = |error: io::Error| format!("the image's extensions cannot be offered in `{}`: {error}", own.display());
    link(baked, own).err().map(told).into_iter().collect()
}

fn link(baked: &Path, own: &Path) -> io::Result<()> {
    // Links of an earlier image.
    for entry in fs::read_dir(own)?.flatten() {
        let path = entry.path();
        if fs::read_link(&path).is_ok_and(|to| to.starts_with(baked) && !to.exists()) {
            fs::remove_file(path)?;
        }
    }
    for entry in fs::read_dir(baked)? {
        let entry = entry?;
        let link = own.join(entry.file_name());
        if entry.path().is_dir() && fs::symlink_metadata(&link).is_err() {
            std::os::unix::fs::symlink(entry.path(), link)?;
        }
    }
    let Ok(offered) = fs::read_to_string(baked.join(LIST)) else { return Ok(()) };
    let list = own.join(LIST);
    // What cannot be read, or is no text, is somebody's all the same: it is not replaced.
    let before = match crate::files::read(&list, LARGEST) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        read => String::from_utf8(read?).map_err(io::Error::other)?,
    };
    let merged = merge(&before, &offered, |folder| own.join(folder).exists());
    if merged == before { Ok(()) } else { crate::files::write(&list, merged.as_bytes(), 0o644, None) }
}

/// The list `own` with the entries of `offered` that it lacks, without entries whose folder is gone. Entries stay
/// as they are, letter by letter. What cannot be understood is left alone (`own`) or out (`offered`).
fn merge(own: &str, offered: &str, exists: impl Fn(&str) -> bool) -> String {
    let Some(offered) = elements(offered) else { return own.to_owned() };
    let before = if own.trim().is_empty() { Some(Vec::new()) } else { elements(own) };
    let Some(before) = before else { return own.to_owned() };
    let gone = |entry: &str| string_of(entry, "relativeLocation").is_some_and(|folder| !exists(folder));
    let mut entries: Vec<&str> = before.iter().copied().filter(|entry| !gone(entry)).collect();
    let lacking: Vec<&str> = offered
        .into_iter()
        .filter(|new| {
            let id = string_of(new, "id");
            // One that the user has (perhaps a newer one) stays.
            id.is_some() && !gone(new) && !entries.iter().any(|entry| string_of(entry, "id") == id)
        })
        .collect();
    if lacking.is_empty() && entries.len() == before.len() {
        return own.to_owned();
    }
    entries.extend(lacking);
    format!("[{}]", entries.join(","))
}

/// The elements of a JSON array of objects, as text.
fn elements(text: &str) -> Option<Vec<&str>> {
    let inner = text.trim().strip_prefix('[')?.strip_suffix(']')?;
    let (mut depth, mut quoted, mut escaped, mut start) = (0_u32, false, false, 0);
    let mut found = Vec::new();
    for (at, c) in inner.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if quoted => {}
            '{' | '[' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            '}' | ']' => {
                depth = depth.checked_sub(1)?;
                if depth == 0 {
                    found.push(&inner[start..=at]);
                }
            }
            _ => {}
        }
    }
    (depth == 0 && !quoted).then_some(found)
}

/// The value of the first `"key": "value"` in `entry`. Good for identifiers and folder names, which hold no escapes.
fn string_of<'a>(entry: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = entry.split_once(&format!("\"{key}\""))?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    value.split_once('"').map(|(value, _)| value)
}

#[cfg(test)]
mod tests {
    use super::{elements, merge};
    use proptest::prelude::*;

    fn entry(id: &str, version: &str) -> String {
        format!(
            r#"{{"identifier":{{"id":"{id}","uuid":"u"}},"version":"{version}","relativeLocation":"{id}-{version}","metadata":{{"x":"] }} \" ["}}}}"#
        )
    }

    fn list(entries: &[String]) -> String {
        format!("[{}]", entries.join(","))
    }

    #[test]
    fn elements_of_a_list() {
        let entries = [entry("a.b", "1"), entry("c.d", "2")];
        assert_eq!(elements(&list(&entries)).as_deref(), Some(&[entries[0].as_str(), &entries[1]][..]));
        assert_eq!(elements(" [ ] "), Some(vec![]));
        assert_eq!(elements("[{]"), None);
        assert_eq!(elements("{}"), None);
    }

    #[test]
    fn the_image_adds_what_the_user_lacks_and_removes_what_is_gone() {
        let exists = |folder: &str| folder != "red.ansible-1";
        let (old, new, own) = (entry("red.ansible", "1"), entry("red.ansible", "2"), entry("my.own", "7"));
        let newer = entry("red.ansible", "3");
        let baked = list(std::slice::from_ref(&new));
        let table = [
            ("a first start", String::new(), list(std::slice::from_ref(&new))),
            ("an own one beside", list(std::slice::from_ref(&own)), list(&[own.clone(), new.clone()])),
            ("a newer image", list(&[old, own.clone()]), list(&[own.clone(), new.clone()])),
            ("updated by the user", list(&[newer.clone(), own.clone()]), list(&[newer, own.clone()])),
            ("nothing to do", format!(" {}\n", list(&[new.clone(), own.clone()])), format!(" {}\n", list(&[new, own]))),
            ("not understood", "{\"v\":2}".to_owned(), "{\"v\":2}".to_owned()),
        ];
        for (case, before, after) in table {
            assert_eq!(merge(&before, &baked, exists), after, "{case}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_list_that_anybody_may_have_written_is_no_reason_to_panic(
            own in r#"([\[\]{}",:\\ä]|"relativeLocation"|"id"){0,40}"#,
            offered in r#"\[(\{"id":"[a-c]","relativeLocation":"[a-c]\\?"\},?){0,4}\]?"#,
        ) {
            let merged = merge(&own, &offered, |folder| folder != "a");
            proptest::prop_assert_eq!(merge(&merged, &offered, |folder| folder != "a"), merged.clone());
        }
    }

    /// A list as a server may have written it: anything in it, in any form that JSON allows.
    fn any_list() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "[a-z.]{0,4}".prop_map(serde_json::Value::from),
            any::<String>().prop_map(serde_json::Value::from),
            any::<i32>().prop_map(serde_json::Value::from),
            Just(serde_json::Value::Null)
        ];
        let value = leaf.prop_recursive(3, 12, 3, |inner| {
            let key = prop_oneof!["id|relativeLocation|identifier|version", any::<String>()];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(serde_json::Value::from),
                prop::collection::vec((key, inner), 0..4).prop_map(|pairs| pairs.into_iter().collect::<serde_json::Value>()),
            ]
        });
        let pretty = any::<bool>();
        (prop::collection::vec(value, 0..4), pretty).prop_map(|(values, pretty)| {
            let list = serde_json::Value::from(values);
            if pretty { format!("{list:#}\n") } else { list.to_string() }
        })
    }

    proptest! {
        #[test]
        fn what_was_json_stays_json(own in any_list(), offered in any_list(), there: bool) {
            let merged = merge(&own, &offered, |_| there);
            let parsed: Result<serde_json::Value, _> = serde_json::from_str(&merged);
            prop_assert!(parsed.as_ref().is_ok_and(serde_json::Value::is_array), "{}\n{}\n{}", own, offered, merged);
            // Once is enough.
            prop_assert_eq!(merge(&merged, &offered, |_| there), merged);
        }
    }
}
