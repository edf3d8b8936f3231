//! What a proposal changes, and whose its branch is. Pure.

use std::collections::BTreeMap;

use super::model::Changed;

/// A file of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `100644`
    pub mode: String,
    /// The blob's id.
    pub sha: String,
}

/// A file as it was named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// From the repository's root, with `/`.
    pub path: String,
    /// What the work tree has: mode, blob's id, bytes; none: it is not there.
    pub work: Option<(Entry, Vec<u8>)>,
    /// What the commit has that is checked out.
    pub head: Option<Entry>,
}

/// What files come to, against a commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// What the commit is to change.
    pub changed: Vec<Changed>,
    /// Files that somebody changed since the commit that is checked out: ours would take that back.
    pub moved: Vec<String>,
}

/// Compares files with those of the base branch's head, of which the commit that is checked out is an ancestor: what the work
/// tree has changed is proposed, what only the base branch has changed is left. By their content: a mode does not survive an artifact's way
/// through a workflow, so that the base branch's is kept.
pub fn compare(files: &[File], base: &BTreeMap<String, Entry>) -> Difference {
    let sha = |entry: Option<&Entry>| entry.map(|entry| entry.sha.clone());
    let mut difference = Difference::default();
    for file in files {
        let there = base.get(&file.path);
        let (work, head) = (sha(file.work.as_ref().map(|(entry, _)| entry)), sha(file.head.as_ref()));
        if work == head || work == sha(there) {
            continue;
        }
        if head != sha(there) {
            difference.moved.push(file.path.clone());
            continue;
        }
        let own = file.work.as_ref().map(|(entry, _)| &entry.mode);
        let mode = there.map(|entry| &entry.mode).or(own).cloned().unwrap_or_default();
        let content = file.work.as_ref().map(|(_, bytes)| bytes.clone());
        difference.changed.push(Changed { path: file.path.clone(), mode, content, known: there.is_some() });
    }
    difference
}

/// A branch's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its commit.
    pub sha: String,
    /// That commit's tree.
    pub tree: String,
    /// That commit's parents.
    pub parents: Vec<String>,
    /// That commit's message.
    pub message: String,
}

/// Whose a branch is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is not there.
    Absent,
    /// Nothing in it is anybody else's.
    Ours,
    /// Somebody pushed to it.
    Foreign {
        /// What is at its head.
        commit: String,
    },
}

/// The line of a commit's message that tells whose it is.
const MARK: &str = "Proposed-Tree: ";

/// A commit's message, with the tree that it was made with: who amends it or adds to it changes the tree or the message.
pub fn marked(title: &str, tree: &str) -> String {
    format!("{title}\n\n{MARK}{tree}\n")
}

/// Whether a branch's head is what this command left there.
pub fn is_ours(branch: &Branch) -> bool {
    let mut marks = branch.message.lines().filter_map(|line| line.strip_prefix(MARK));
    branch.parents.len() == 1 && marks.next_back() == Some(branch.tree.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(sha: &str) -> Entry {
        Entry { mode: "100644".to_owned(), sha: sha.to_owned() }
    }

    #[test]
    fn what_a_file_comes_to() {
        // In the work tree, in the commit that is checked out, at the base branch's head.
        for (work, head, base, comes_to) in [
            (Some("new"), Some("old"), Some("old"), "changed"),
            (Some("new"), None, None, "added"),
            (None, Some("old"), Some("old"), "removed"),
            (Some("old"), Some("old"), Some("old"), "nothing"),
            (None, None, None, "nothing"),
            (Some("old"), Some("old"), Some("theirs"), "nothing"),
            (Some("new"), Some("old"), Some("theirs"), "moved"),
            (Some("new"), Some("old"), None, "moved"),
            (Some("new"), None, Some("theirs"), "moved"),
            (None, Some("old"), Some("theirs"), "moved"),
            (Some("new"), Some("old"), Some("new"), "nothing"),
            (None, Some("old"), None, "nothing"),
        ] {
            let path = "a/b".to_owned();
            let work = work.map(|sha| (entry(sha), sha.into()));
            let file = File { path: path.clone(), work, head: head.map(entry) };
            let found = base.map(|sha| (path.clone(), entry(sha))).into_iter().collect();
            let difference = compare(&[file], &found);
            let told = match (difference.changed.first(), difference.moved.first()) {
                (Some(changed), None) => changed.kind(),
                (None, Some(_)) => "moved",
                _ => "nothing",
            };
            assert_eq!(told, comes_to, "{head:?} {base:?}");
        }
    }

    #[test]
    fn a_mode_of_the_base_branch_is_kept() {
        let work = Some((entry("new"), b"new".to_vec()));
        let file = File { path: "run".to_owned(), work, head: Some(entry("old")) };
        let base = [("run".to_owned(), Entry { mode: "100755".to_owned(), ..entry("old") })].into();
        assert_eq!(compare(&[file], &base).changed.first().map(|changed| changed.mode.as_str()), Some("100755"));
    }

    #[test]
    fn whose_a_branch_is() {
        let branch = |message: &str, parents: &[&str]| Branch {
            sha: "c".to_owned(),
            tree: "t1".to_owned(),
            parents: parents.iter().map(|&parent| parent.to_owned()).collect(),
            message: message.to_owned(),
        };
        for (message, parents, ours) in [
            (marked("Move pins", "t1"), &["b"][..], true),
            (marked("Move pins\n\nProposed-Tree: t0", "t1"), &["b"], true),
            ("Move pins".to_owned(), &["b"], false),
            (marked("Move pins", "t2"), &["b"], false),
            (marked("Move pins", "t1"), &["b", "x"], false),
            (format!("Merge\n\n    {}", marked("Move pins", "t1")), &["b"], true),
        ] {
            assert_eq!(is_ours(&branch(&message, parents)), ours, "{message:?} {parents:?}");
        }
    }
}
