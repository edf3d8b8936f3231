//! Files as a container sees them: what is in one image and not, or not so, in the other.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::{Aspect, Bulk, FileChange, FileCount, Files, Folder};
use crate::contents::{Contents, Entry, EntryKind};

/// As many lines as a person reads.
const FOLDERS: usize = 24;

/// All layers of an image on each other, by path.
pub fn tree(image: &Contents) -> BTreeMap<&str, &Entry> {
    let mut tree = BTreeMap::new();
    for (layer, _) in &image.layers {
        for path in &layer.hidden {
            remove_below(&mut tree, path);
        }
        for path in &layer.removed {
            tree.remove(path.as_str());
            remove_below(&mut tree, path);
        }
        for entry in &layer.entries {
            let old = tree.insert(entry.path.as_str(), entry);
            if old.is_some_and(|old| old.kind == EntryKind::Folder) && entry.kind != EntryKind::Folder {
                remove_below(&mut tree, &entry.path);
            }
        }
    }
    tree
}

/// Everything in a folder, but not the folder.
fn remove_below<'a>(tree: &mut BTreeMap<&'a str, &'a Entry>, folder: &str) {
    if folder.is_empty() {
        return tree.clear();
    }
    let first = format!("{folder}/");
    let below = tree.range::<str, _>((Bound::Included(first.as_str()), Bound::Unbounded));
    let below: Vec<&str> = below.map(|(path, _)| *path).take_while(|path| path.starts_with(&first)).collect();
    for path in below {
        tree.remove(path);
    }
}

/// What differs.
pub(super) fn compare(before: &Contents, after: &Contents) -> Files {
    let (one, other) = (tree(before), tree(after));
    let mut list: Vec<FileChange> = Vec::new();
    for (path, entry) in &one {
        let there = other.get(path);
        let what = there.map(|there| aspects(entry, there)).unwrap_or_default();
        if there.is_none() || !what.is_empty() {
            let after = there.map(|there| there.bytes);
            list.push(FileChange { path: (*path).to_owned(), before: Some(entry.bytes), after, what });
        }
    }
    let added = other.iter().filter(|(path, _)| !one.contains_key(*path));
    list.extend(added.map(|(path, entry)| FileChange {
        path: (*path).to_owned(),
        before: None,
        after: Some(entry.bytes),
        what: Vec::new(),
    }));
    list.sort_by(|one, other| one.path.cmp(&other.path));
    let mut total = FileCount::default();
    for change in &list {
        total.add(&change.count());
    }
    Files { total, folders: folders(&list, FOLDERS), list: Some(list) }
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
    /// Files that lie in it and not below.
    own: FileCount,
    /// All of it.
    total: FileCount,
    children: BTreeMap<String, Node>,
}

/// Folders that together hold everything that differs: beginning with the root, the one with most is taken apart again and again.
fn folders(list: &[FileChange], most: usize) -> Vec<Folder> {
    let mut root = Node::default();
    for change in list {
        let count = change.count();
        let mut node = &mut root;
        node.total.add(&count);
        let folder = change.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        for name in folder.split('/').filter(|name| !name.is_empty()) {
            node = node.children.entry(name.to_owned()).or_default();
            node.total.add(&count);
        }
        node.own.add(&count);
    }
    let weight = |count: &FileCount| count.bytes() + count.number() as u64;
    let all = weight(&root.total);
    let (mut whole, mut done) = (vec![(String::new(), &root)], Vec::new());
    while let Some(heaviest) = whole.iter().enumerate().max_by_key(|(_, (_, node))| weight(&node.total)).map(|(at, _)| at) {
        let (path, node) = whole.swap_remove(heaviest);
        let rest = usize::from(node.own.number() > 0);
        let lines = whole.len() + done.len() + node.children.len() + rest;
        // A hundredth is not worth more lines than one; but the root says nothing.
        let small = weight(&node.total).saturating_mul(100) < all && !path.is_empty();
        if node.children.is_empty() || ((lines > most || small) && !path.is_empty() && node.children.len() + rest > 1) {
            done.push(Folder { path, count: node.total });
            continue;
        }
        let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}/{name}") };
        whole.extend(node.children.iter().map(|(name, child)| (below(name), child)));
        if rest > 0 {
            done.push(Folder { path, count: node.own });
        }
    }
    done.retain(|folder| folder.count.number() > 0);
    done.sort_by(|one, other| one.path.cmp(&other.path));
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added(path: &str, bytes: u64) -> FileChange {
        FileChange { path: path.to_owned(), before: None, after: Some(bytes), what: Vec::new() }
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
    fn nothing_differs_in_no_folder() {
        assert_eq!(folders(&[], FOLDERS), []);
    }
}
