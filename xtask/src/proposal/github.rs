//! The few questions to GitHub's REST API that a proposal needs. (docs.github.com, REST API version 2022-11-28)

mod answer;
mod release;
mod request;

use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};

use super::decide::{Branch, Entry};
use super::error::GithubError;
use super::model::{Changed, Found, Wanted};
pub use release::Release;
pub use request::Github;
use request::Path;

#[derive(Deserialize)]
struct Ref {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    sha: String,
}

#[derive(Deserialize)]
struct GitCommit {
    tree: Object,
    parents: Vec<Object>,
    message: String,
}

#[derive(Deserialize)]
struct Tree {
    tree: Vec<TreeEntry>,
}

#[derive(Deserialize)]
struct TreeEntry {
    path: String,
    mode: String,
    sha: String,
}

#[derive(Deserialize)]
struct Comparison {
    status: String,
}

#[derive(Deserialize)]
struct Pull {
    number: u64,
    html_url: String,
    title: String,
    body: Option<String>,
    base: PullBase,
}

#[derive(Deserialize)]
struct PullBase {
    #[serde(rename = "ref")]
    name: String,
}

impl Github {
    /// A branch's head; none: there is no such branch.
    ///
    /// # Errors
    /// GitHub does not tell.
    pub async fn branch(&self, name: &str) -> Result<Option<Branch>, GithubError> {
        let what = format!("read the branch `{name}`");
        let path = Path::of("git/ref/heads").parts(name);
        let Some(found) = self.get::<Ref>(&path, &what).await? else {
            // A repository that the token does not see answers the same.
            self.get::<Value>(&Path::of(""), "read the repository").await?.ok_or_else(|| self.unseen("read the repository"))?;
            return Ok(None);
        };
        let sha = found.object.sha;
        let commit: GitCommit = self.had(&Path::of("git/commits").parts(&sha), &what).await?;
        let parents = commit.parents.into_iter().map(|parent| parent.sha).collect();
        Ok(Some(Branch { sha, tree: commit.tree.sha, parents, message: commit.message }))
    }

    /// Whether `commit` is in the history of `base`.
    ///
    /// # Errors
    /// GitHub does not tell.
    pub async fn is_contained(&self, base: &str, commit: &str) -> Result<bool, GithubError> {
        let path = Path::of("compare").parts(&format!("{base}...{commit}")).query("per_page", "1");
        // No such commit: it was never pushed.
        let found: Option<Comparison> = self.get(&path, "compare commits").await?;
        Ok(found.is_some_and(|found| matches!(found.status.as_str(), "behind" | "identical")))
    }

    /// The entries of these files in a tree, folder by folder: the whole of a large tree is not listed.
    ///
    /// # Errors
    /// GitHub does not tell.
    pub async fn entries<'p>(
        &self,
        tree: &str,
        paths: impl Iterator<Item = &'p str>,
    ) -> Result<BTreeMap<String, Entry>, GithubError> {
        let mut found = BTreeMap::new();
        let mut open = vec![(tree.to_owned(), String::new(), paths.collect::<BTreeSet<_>>())];
        while let Some((tree, prefix, paths)) = open.pop() {
            let listed: Tree = self.had(&Path::of("git/trees").parts(&tree), "read a folder of the base branch").await?;
            for entry in listed.tree {
                let whole = format!("{prefix}{}", entry.path);
                let below = format!("{whole}/");
                let inside: BTreeSet<&str> = paths.iter().copied().filter(|path| path.starts_with(&below)).collect();
                if paths.contains(whole.as_str()) {
                    found.insert(whole, Entry { mode: entry.mode, sha: entry.sha });
                } else if !inside.is_empty() {
                    open.push((entry.sha, below, inside));
                }
            }
        }
        Ok(found)
    }

    /// The open pull request from a branch of this repository: the one into `base`, else one that is to go there from now on.
    ///
    /// # Errors
    /// GitHub does not tell.
    pub async fn pull_request(&self, branch: &str, base: &str) -> Result<Option<Found>, GithubError> {
        let head = format!("{}:{branch}", self.owner());
        let path = Path::of("pulls").query("state", "open").query("head", &head);
        let found: Vec<Pull> = self.had(&path, "list pull requests").await?;
        let (into, elsewhere): (Vec<Pull>, Vec<Pull>) = found.into_iter().partition(|pull| pull.base.name == base);
        Ok(into.into_iter().chain(elsewhere).next().map(|pull| Found {
            number: pull.number,
            url: pull.html_url,
            title: pull.title,
            // A form on a web page sends CR LF.
            body: pull.body.unwrap_or_default().replace("\r\n", "\n"),
            base: pull.base.name,
        }))
    }

    /// A tree: `base` with these files changed.
    ///
    /// # Errors
    /// GitHub refuses.
    pub async fn make_tree(&self, base: &str, changed: &[Changed]) -> Result<String, GithubError> {
        let mut entries = Vec::new();
        for file in changed {
            let what = format!("take `{}`", file.path);
            let sha = match &file.content {
                None => None,
                Some(bytes) => {
                    let blob = json!({ "content": STANDARD.encode(bytes), "encoding": "base64" });
                    Some(self.made::<Object>(Method::POST, &Path::of("git/blobs"), &blob, &what).await?.sha)
                }
            };
            entries.push(json!({ "path": file.path, "mode": file.mode, "type": "blob", "sha": sha }));
        }
        let tree = json!({ "base_tree": base, "tree": entries });
        Ok(self.made::<Object>(Method::POST, &Path::of("git/trees"), &tree, "make a tree").await?.sha)
    }

    /// A commit, without an author of its own.
    ///
    /// # Errors
    /// GitHub refuses.
    pub async fn make_commit(&self, message: &str, tree: &str, parent: &str) -> Result<String, GithubError> {
        let commit = json!({ "message": message, "tree": tree, "parents": [parent] });
        Ok(self.made::<Object>(Method::POST, &Path::of("git/commits"), &commit, "make a commit").await?.sha)
    }

    /// Points a branch to a commit, if it is still where it was: at `before`, or nowhere.
    ///
    /// # Errors
    /// GitHub refuses, or somebody else was faster.
    pub async fn move_branch(&self, name: &str, before: Option<&str>, to: &str) -> Result<(), GithubError> {
        let what = format!("move the branch `{name}`");
        let moved = || GithubError::BranchMoved { branch: name.to_owned() };
        let place = Path::of("git/ref/heads").parts(name);
        let now = self.get::<Ref>(&place, &what).await?.map(|found| found.object.sha);
        if now.as_deref() != before {
            return Err(moved());
        }
        match before {
            Some(_) => {
                let change = json!({ "sha": to, "force": true });
                self.made::<Value>(Method::PATCH, &Path::of("git/refs/heads").parts(name), &change, &what).await?;
            }
            None => {
                let new = json!({ "ref": format!("refs/heads/{name}"), "sha": to });
                let made = self.made::<Value>(Method::POST, &Path::of("git/refs"), &new, &what).await;
                if let Err(GithubError::Invalid { message, .. }) = &made
                    && message.contains("already exists")
                {
                    // Our own request may have got through although its answer did not.
                    let now = self.get::<Ref>(&place, &what).await?.map(|found| found.object.sha);
                    return if now.as_deref() == Some(to) { Ok(()) } else { Err(moved()) };
                }
                made?;
            }
        }
        Ok(())
    }

    /// Opens a pull request: its number and page.
    ///
    /// # Errors
    /// GitHub refuses.
    pub async fn open_pull_request(&self, wanted: &Wanted) -> Result<(u64, String), GithubError> {
        let Wanted { branch, base, title, body, .. } = wanted;
        let new = json!({ "title": title, "head": branch, "base": base, "body": body, "maintainer_can_modify": true });
        match self.made::<Pull>(Method::POST, &Path::of("pulls"), &new, "open a pull request").await {
            Ok(pull) => Ok((pull.number, pull.html_url)),
            Err(GithubError::Invalid { message, status, what }) if message.contains("already exists") => {
                match self.pull_request(branch, base).await? {
                    Some(found) => Ok((found.number, found.url)),
                    None => Err(GithubError::Invalid { what, status, message }),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a pull request this title, text and base.
    ///
    /// # Errors
    /// GitHub refuses.
    pub async fn update_pull_request(&self, number: u64, wanted: &Wanted) -> Result<(), GithubError> {
        let change = json!({ "title": wanted.title, "body": wanted.body, "base": wanted.base });
        let what = format!("update pull request {number}");
        self.made::<Value>(Method::PATCH, &Path::of("pulls").parts(&number.to_string()), &change, &what).await?;
        Ok(())
    }
}
