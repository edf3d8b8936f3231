//! The commit that is built, as git tells it.

use std::path::Path;

use tokio::process::Command;

use super::HostError;
use crate::secret;

/// The commit that is built.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitFacts {
    /// The commit's id: 40 hexadecimal digits (64 in a repository of the newer format).
    pub revision: String,
    /// Its first 7 digits.
    pub short: String,
    /// Whether anything in the folder differs from the commit, files that git does not know included.
    pub dirty: bool,
}

/// What `git status` says of the folder `root`. None: no git, no repository or no commit yet. Variables that point git to
/// another repository (`GIT_DIR`, …) are not handed on: what counts is where the files lie.
///
/// # Errors
/// There is a repository, and git does not tell about it (it belongs to somebody else, it is broken).
pub async fn facts(root: &Path) -> Result<Option<GitFacts>, HostError> {
    Ok(status(root, &["--porcelain=v2", "--branch", "-z", "--"], ".").await?.and_then(|status| parse(&status)))
}

/// What `git status` with these options prints of a path in `root`. None: no git, or no repository.
async fn status(root: &Path, options: &[&str], path: &str) -> Result<Option<String>, HostError> {
    let output = match git(root).args(["--literal-pathspecs", "status"]).args(options).arg(path).output().await {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(HostError::Git { path: root.to_owned(), why: error.to_string() }),
    };
    if output.status.success() {
        return Ok(Some(String::from_utf8_lossy(&output.stdout).into_owned()));
    }
    let error = String::from_utf8_lossy(&output.stderr);
    if error.contains("not a git repository") {
        return Ok(None);
    }
    let why = error.lines().next().unwrap_or("no reason given").trim_start_matches("fatal: ").to_owned();
    Err(HostError::Git { path: root.to_owned(), why })
}

/// git, which only looks: no locks and no programs that the repository's configuration names.
fn git(root: &Path) -> Command {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["-c", "core.fsmonitor=false"]);
    for (name, _) in std::env::vars_os() {
        // GIT_CONFIG_* stay: that is how CI says `safe.directory`.
        if name.to_str().is_some_and(|name| name.starts_with("GIT_") && !name.starts_with("GIT_CONFIG")) {
            git.env_remove(name);
        }
    }
    secret::withhold(&mut git);
    git.env("GIT_OPTIONAL_LOCKS", "0").env("LC_ALL", "C").stdin(std::process::Stdio::null()).kill_on_drop(true);
    git
}

/// Whether `commit` comes after the one that is checked out: false where it is the same one, or git does not know it (a clone
/// without history, another branch's).
pub async fn is_later(root: &Path, commit: &str) -> bool {
    // What a registry says goes on a command line only where it can be nothing but a commit.
    if !matches!(commit.len(), 40 | 64) || !commit.bytes().all(|b| b.is_ascii_hexdigit()) {
        return false;
    }
    // Its exit code is the answer: git-merge-base(1).
    let is_ancestor = async |args: &[&str]| git(root).arg("merge-base").arg("--is-ancestor").args(args).output().await;
    let asked = (is_ancestor(&["HEAD", commit]).await, is_ancestor(&[commit, "HEAD"]).await);
    let said = |output: std::io::Result<std::process::Output>| output.ok().and_then(|output| output.status.code());
    (said(asked.0), said(asked.1)) == (Some(0), Some(1))
}

/// Which of the files `paths`, relative to `root`, differ from what is committed; those that git does not know do. None: no git or
/// no repository, so that nothing says what they were.
///
/// # Errors
/// As [`facts`].
pub async fn changed(root: &Path, paths: &[String]) -> Result<Option<Vec<String>>, HostError> {
    let mut changed = Vec::new();
    for path in paths {
        let Some(status) = status(root, &["--porcelain=v2", "-z", "--"], path).await? else { return Ok(None) };
        if !status.is_empty() {
            changed.push(path.clone());
        }
    }
    Ok(Some(changed))
}

/// Reads `git status --porcelain=v2 --branch -z`. (git-status(1))
fn parse(status: &str) -> Option<GitFacts> {
    let (mut revision, mut dirty) = (None, false);
    let mut records = status.split('\0').filter(|record| !record.is_empty());
    while let Some(record) = records.next() {
        // What is no header is something that differs.
        let Some(header) = record.strip_prefix("# ") else {
            dirty = true;
            if record.starts_with('2') {
                records.next(); // the path that it had before, whatever that looks like
            }
            continue;
        };
        match header.split_once(' ') {
            Some(("branch.oid", oid)) if oid != "(initial)" => revision = Some(oid.to_owned()),
            _ => {}
        }
    }
    let revision = revision?;
    Some(GitFacts { short: revision.chars().take(7).collect(), revision, dirty })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OID: &str = "449948a0123456789abcdef0123456789abcdef0";

    #[test]
    fn what_status_says() {
        let head = format!("# branch.oid {OID}\0# branch.head main\0# branch.upstream origin/main\0");
        let clean = parse(&head).expect("a commit");
        assert_eq!((clean.revision.as_str(), clean.short.as_str(), clean.dirty), (OID, "449948a", false));
        let zeros = "0000000000000000000000000000000000000000";
        for record in [
            format!("1 .M N... 100644 100644 100644 {zeros} {zeros} a file"),
            format!("2 R. N... 100644 100644 100644 {zeros} {zeros} R100 new\0# branch.oid old"),
            format!("u UU N... 100644 100644 100644 100644 {zeros} {zeros} {zeros} both"),
            "? untracked".to_owned(),
        ] {
            let facts = parse(&format!("{head}{record}\0")).expect("a commit");
            assert_eq!((facts.revision.as_str(), facts.dirty), (OID, true), "{record}");
        }
        assert_eq!(parse("# branch.oid (initial)\0# branch.head main\0? a\0"), None);
    }

    async fn act(root: &Path, args: &[&str]) {
        let mut git = Command::new("git");
        git.arg("-C").arg(root).args(["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]).args(args);
        assert!(git.env_remove("GIT_DIR").output().await.expect("git runs").status.success(), "{args:?}");
    }

    #[tokio::test]
    async fn which_commit_is_later() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        assert!(!is_later(root, OID).await, "no repository");
        act(root, &["init", "-q", "-b", "main"]).await;
        let mut commits = Vec::new();
        for message in ["one", "two"] {
            act(root, &["commit", "-q", "--allow-empty", "-m", message]).await;
            commits.push(facts(root).await.expect("no error").expect("a commit").revision);
        }
        let seen = async |commit: &str| is_later(root, commit).await;
        assert_eq!((seen(&commits[0]).await, seen(&commits[1]).await), (false, false), "from the second");
        act(root, &["checkout", "-q", &commits[0]]).await;
        assert_eq!((seen(&commits[0]).await, seen(&commits[1]).await), (false, true), "from the first");
        for odd in ["", "main", "--all", &format!("{}-dirty", commits[1]), OID] {
            assert!(!seen(odd).await, "{odd}");
        }
    }

    #[tokio::test]
    async fn a_real_repository() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        assert_eq!(facts(root).await.expect("no error"), None, "no repository");
        act(root, &["init", "-q", "-b", "main"]).await;
        assert_eq!(facts(root).await.expect("no error"), None, "no commit");
        std::fs::create_dir(root.join("sub")).expect("created");
        std::fs::write(root.join("sub/file"), "one").expect("written");
        act(root, &["add", "."]).await;
        act(root, &["commit", "-q", "-m", "one"]).await;
        let clean = facts(root).await.expect("no error").expect("a commit");
        assert_eq!((clean.revision.len(), clean.dirty), (40, false));
        std::fs::write(root.join("outside"), "new").expect("written");
        let sub = facts(&root.join("sub")).await.expect("no error").expect("a commit");
        assert_eq!(sub, clean, "what lies outside the folder does not count");
        let dirty = facts(root).await.expect("no error").expect("a commit");
        assert!(dirty.dirty);
    }

    #[tokio::test]
    async fn which_files_differ_from_what_is_committed() {
        let root = tempfile::tempdir().expect("a folder");
        let root = root.path();
        let paths = ["same", "changed", "staged", "untracked", "nowhere", "sub/changed"].map(str::to_owned);
        assert_eq!(changed(root, &paths).await.expect("no error"), None, "no repository");
        act(root, &["init", "-q", "-b", "main"]).await;
        std::fs::create_dir(root.join("sub")).expect("created");
        for file in ["same", "changed", "staged", "sub/changed"] {
            std::fs::write(root.join(file), "one").expect("written");
        }
        act(root, &["add", "."]).await;
        act(root, &["commit", "-q", "-m", "one"]).await;
        assert_eq!(changed(root, &paths).await.expect("no error"), Some(vec![]));
        for file in ["changed", "staged", "untracked", "sub/changed", "other"] {
            std::fs::write(root.join(file), "two").expect("written");
        }
        act(root, &["add", "staged"]).await;
        let expected = ["changed", "staged", "untracked", "sub/changed"].map(str::to_owned).to_vec();
        assert_eq!(changed(root, &paths).await.expect("no error"), Some(expected));
        let below = changed(&root.join("sub"), &["changed".to_owned()]).await.expect("no error");
        assert_eq!(below, Some(vec!["changed".to_owned()]), "relative to the folder");
    }
}
