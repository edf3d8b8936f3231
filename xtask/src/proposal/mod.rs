//! One pull request with the files of the work tree that differ from the base branch.
//!
//! The branch holds one commit on the base branch's head, and is this command's own: every run leaves it as if nothing
//! had been there before. The commit is made before the branch is moved to it, so that the branch never stands at the
//! base branch's head, where GitHub closes its pull request. It names no author: GitHub then signs what a GitHub App or the
//! token of a workflow commits. (REST API: "Git database", "Pulls"; "Signature verification for bots")

mod decide;
mod error;
mod github;
mod handed;
mod model;
mod worktree;

pub use decide::{Branch, Difference, Entry, File, compare, is_ours, marked};
pub use error::GithubError;
pub use github::{Github, Release};
pub use handed::{handed, text};
pub use model::{Act, Changed, Commit, Proposal, PullRequest, Wanted};
pub use worktree::{files, head, top};

use decide::Standing;

/// What is to be done, from what GitHub has and what the work tree has. Changes nothing.
///
/// # Errors
/// GitHub does not tell, or the branch or the base branch was moved by somebody else.
pub async fn plan(github: &Github, wanted: &Wanted, files: &[File]) -> Result<Proposal, GithubError> {
    let base = github
        .branch(&wanted.base)
        .await?
        .ok_or_else(|| GithubError::NoBranch { repository: github.repository().to_owned(), branch: wanted.base.clone() })?;
    if !github.is_contained(&base.sha, &wanted.head).await? {
        return Err(GithubError::NotOfBase { base: wanted.base.clone(), head: wanted.head.clone() });
    }
    let found = github.entries(&base.tree, files.iter().map(|file| file.path.as_str())).await?;
    let difference = compare(files, &found);
    if !difference.moved.is_empty() {
        return Err(GithubError::BaseMoved { base: wanted.base.clone(), files: difference.moved });
    }
    let branch = github.branch(&wanted.branch).await?;
    let standing = match &branch {
        None => Standing::Absent,
        Some(branch) if is_ours(branch) || github.is_contained(&base.sha, &branch.sha).await? => Standing::Ours,
        Some(branch) => Standing::Foreign { commit: branch.sha.clone() },
    };
    let pull_request = github.pull_request(&wanted.branch, &wanted.base).await?;
    Ok(Proposal { base, changed: difference.changed, branch, standing, pull_request })
}

/// Carries a plan out.
///
/// # Errors
/// GitHub refuses, or somebody else moved the branch meanwhile.
pub async fn execute(github: &Github, wanted: &Wanted, proposal: Proposal) -> Result<PullRequest, GithubError> {
    let tree = github.make_tree(&proposal.base.tree, &proposal.changed).await?;
    let there = proposal.branch.as_ref().filter(|branch| branch.tree == tree && branch.parents == [proposal.base.sha.clone()]);
    let commit = match there {
        Some(branch) => Commit { sha: branch.sha.clone(), made: false },
        None => {
            let sha = github.make_commit(&marked(&wanted.title, &tree), &tree, &proposal.base.sha).await?;
            github.move_branch(&wanted.branch, proposal.branch.as_ref().map(|branch| branch.sha.as_str()), &sha).await?;
            Commit { sha, made: true }
        }
    };
    let (number, url, act) = match proposal.pull_request {
        Some(found) if found.title == wanted.title && found.body == wanted.body && found.base == wanted.base => {
            (found.number, found.url, Act::Left)
        }
        Some(found) => {
            github.update_pull_request(found.number, wanted).await?;
            (found.number, found.url, Act::Updated)
        }
        None => {
            let (number, url) = github.open_pull_request(wanted).await?;
            (number, url, Act::Opened)
        }
    };
    Ok(PullRequest { number, url, act, commit })
}
