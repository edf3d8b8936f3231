//! Files as a container sees them: what is in one image and not, or not so, in the other.

use std::collections::BTreeMap;

use super::{Aspect, Bulk, FileChange, FileCount, Files, Folder};
use crate::contents::{Contents, Entry, EntryKind};

/// As many lines as a person reads.
const FOLDERS: usize = 24;
/// What lies deeper counts there: a path in a layer may be of any length.
const DEEPEST: usize = 32;

/// What differs.
pub(super) fn compare(before: &Contents, after: &Contents) -> Files {
    let (one, other) = (before.tree(), after.tree());
    // Whether it is a folder, with each.
    let mut list: Vec<(FileChange, bool)> = Vec::new();
    for (path, file) in &one {
        let (entry, there) = (file.entry, other.get(path).map(|there| there.entry));
        let what = there.map(|there| aspects(entry, there)).unwrap_or_default();
        if there.is_none() || !what.is_empty() {
            let change =
                FileChange { path: (*path).to_owned(), before: Some(entry.bytes), after: there.map(|there| there.bytes), what };
            list.push((change, is_folder(there.unwrap_or(entry))));
        }
    }
    for (path, file) in other.iter().filter(|(path, _)| !one.contains_key(*path)) {
        let change = FileChange { path: (*path).to_owned(), before: None, after: Some(file.entry.bytes), what: Vec::new() };
        list.push((change, is_folder(file.entry)));
    }
    list.sort_by(|(one, _), (other, _)| one.path.cmp(&other.path));
    let mut total = FileCount::default();
    for (change, _) in &list {
        total.add(&change.count());
    }
    let folders = folders(&list, FOLDERS);
    Files { total, folders, list: Some(list.into_iter().map(|(change, _)| change).collect()) }
}

fn is_folder(entry: &Entry) -> bool {
    entry.kind == EntryKind::Folder
}

fn aspects(one: &Entry, other: &Entry) -> Vec<Aspect> {
    // Which of two names of a file is the file and which the link is the builder's affair.
    let kind = |entry: &Entry| if entry.kind == EntryKind::HardLink { EntryKind::File } else { entry.kind };
    let is_link = |entry: &Entry| entry.kind == EntryKind::HardLink;
    let content = one.content != other.content && is_link(one) == is_link(other);
    [
        (Aspect::Kind, kind(one) != kind(other)),
        (Aspect::Content, content),
        (Aspect::Mode, one.mode != other.mode),
        (Aspect::Owner, (one.uid, one.gid) != (other.uid, other.gid)),
    ]
    .into_iter()
    .filter_map(|(aspect, differs)| differs.then_some(aspect))
    .collect()
}

impl FileChange {
    fn count(&self) -> FileCount {
        let bulk = Bulk { number: 1, before: self.before.unwrap_or(0), after: self.after.unwrap_or(0) };
        let nothing = FileCount::default();
        match (self.before, self.after) {
            (None, _) => FileCount { added: bulk, ..nothing },
            (_, None) => FileCount { removed: bulk, ..nothing },
            _ => FileCount { changed: bulk, ..nothing },
        }
    }
}

/// A folder and what differs in it.
#[derive(Default)]
struct Node {
    /// The folder itself, and files that lie in it and not below.
    own: FileCount,
    /// How many of those are more than the folder itself.
    files: usize,
    /// All of it.
    total: FileCount,
    children: BTreeMap<String, Node>,
}

/// A folder that may still be taken apart.
struct Part<'a> {
    path: String,
    node: &'a Node,
    /// Folders above it that hold nothing else: they count here.
    above: FileCount,
}

/// Folders that together hold everything that differs: beginning with the root, the one with most is taken apart again and again.
fn folders(list: &[(FileChange, bool)], most: usize) -> Vec<Folder> {
    let mut root = Node::default();
    for (change, is_folder) in list {
        let count = change.count();
        let mut node = &mut root;
        node.total.add(&count);
        let folder = if *is_folder { &change.path } else { change.path.rsplit_once('/').map_or("", |(folder, _)| folder) };
        for name in folder.split('/').filter(|name| !name.is_empty()).take(DEEPEST) {
            node = node.children.entry(name.to_owned()).or_default();
            node.total.add(&count);
        }
        node.own.add(&count);
        node.files += usize::from(!is_folder);
    }
    let weight = |count: &FileCount| count.bytes() + count.number() as u64;
    let all = weight(&root.total);
    let mut whole = vec![Part { path: String::new(), node: &root, above: FileCount::default() }];
    let mut done = Vec::new();
    while let Some(heaviest) = whole.iter().enumerate().max_by_key(|(_, part)| weight(&part.node.total)).map(|(at, _)| at) {
        let Part { path, node, mut above } = whole.swap_remove(heaviest);
        let lines = node.children.len() + usize::from(node.files > 0);
        // A hundredth is not worth more lines than one; but the root says nothing.
        let is_small = weight(&node.total).saturating_mul(100) < all;
        let is_split = lines <= 1 || path.is_empty() || (!is_small && whole.len() + done.len() + lines <= most);
        if node.children.is_empty() || !is_split {
            above.add(&node.total);
            done.push(Folder { path, count: above });
            continue;
        }
        above.add(&node.own);
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        let mut children: Vec<_> =
            node.children.iter().map(|(name, node)| Part { path: below(name), node, above: FileCount::default() }).collect();
        let largest = children.iter_mut().max_by_key(|part| weight(&part.node.total));
        if let (0, Some(largest)) = (node.files, largest) {
            largest.above = above;
        } else {
            done.push(Folder { path, count: above });
        }
        whole.extend(children);
    }
    done.retain(|folder| folder.count.number() > 0);
    done.sort_by(|one, other| one.path.cmp(&other.path));
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was added: a file, or a folder (`path/`).
    fn added(path: &str, bytes: u64) -> (FileChange, bool) {
        let name = path.trim_end_matches('/').to_owned();
        (FileChange { path: name, before: None, after: Some(bytes), what: Vec::new() }, path.ends_with('/'))
    }

    #[test]
    fn folders_hold_everything_that_differs_once() {
        let mut list = vec![added("etc/passwd", 10), added("top", 1)];
        list.extend((0..200).map(|at| added(&format!("usr/lib/node_modules/m{at}/index.js"), 1000)));
        list.extend((0..3).map(|at| added(&format!("usr/share/doc/d{at}/copyright"), 5000)));
        let folders = folders(&list, 8);
        let lines: Vec<_> = folders.iter().map(|folder| (folder.path.as_str(), folder.count.added.number)).collect();
        let doc = |at: usize| ["usr/share/doc/d0", "usr/share/doc/d1", "usr/share/doc/d2"].get(at).copied().unwrap_or_default();
        let expected = [("", 1), ("etc", 1), ("usr/lib/node_modules", 200), (doc(0), 1), (doc(1), 1), (doc(2), 1)];
        assert_eq!(lines, expected);
        assert_eq!(folders.iter().map(|folder| folder.count.bytes()).sum::<u64>(), 10 + 1 + 200_000 + 15_000);
    }

    #[test]
    fn folders_on_the_way_count_with_what_is_in_them() {
        let list = [added("opt/", 0), added("opt/a/", 0), added("opt/a/b/", 0), added("opt/a/b/x", 7), added("opt/a/b/y", 7)];
        let folders = folders(&list, 8);
        let lines: Vec<_> = folders.iter().map(|folder| (folder.path.as_str(), folder.count.added.number)).collect();
        assert_eq!(lines, [("opt/a/b", 5)]);
    }

    #[test]
    fn paths_of_any_depth() {
        let list = [added(&format!("{}x", "a/".repeat(100_000)), 1)];
        let folders = folders(&list, 8);
        assert_eq!(folders.iter().map(|folder| folder.path.len()).collect::<Vec<_>>(), [DEEPEST * 2 - 1]);
    }

    #[test]
    fn nothing_differs_in_no_folder() {
        assert_eq!(folders(&[], FOLDERS), []);
    }
}
