//! What GitHub refuses, and what to do about it.

use crate::failure::{Exit, Failure};

/// Why there is no pull request.
#[derive(Debug, thiserror::Error)]
pub enum GithubError {
    /// The address of the API cannot be used.
    #[error("`{url}` (GITHUB_API_URL) cannot be used: {why}")]
    Address {
        /// As it was found.
        url: String,
        /// What is wrong with it.
        why: String,
    },
    /// No answer.
    #[error("GitHub cannot be asked to {what}: {why}")]
    Unreachable {
        /// ``read the branch `main` ``
        what: String,
        /// The innermost cause.
        why: String,
    },
    /// The token is no good.
    #[error("GitHub does not accept the token (`{variable}`)")]
    Token {
        /// Where it came from.
        variable: &'static str,
    },
    /// This token may not do this, or does not see it: GitHub answers 404 for both.
    #[error("GitHub does not let this token {what}: {status}{message}")]
    Forbidden {
        /// What was asked.
        what: String,
        /// 403, 404
        status: u16,
        /// `: ` and GitHub's words.
        message: String,
        /// What would do, as GitHub says it: `contents=write`.
        accepted: Option<String>,
    },
    /// Too many requests.
    #[error("GitHub answers no more requests of this token{}", .until.as_ref().map(|time| format!(" until {time}")).unwrap_or_default())]
    RateLimited {
        /// When it answers again (RFC 3339), where it says.
        until: Option<String>,
    },
    /// A rule of the repository, or a value that is not valid.
    #[error("GitHub does not {what}: {status}{message}")]
    Invalid {
        /// What was asked.
        what: String,
        /// 409, 422
        status: u16,
        /// `: ` and GitHub's words.
        message: String,
    },
    /// The repository has another name now.
    #[error("`{repository}` has moved on GitHub, and a token is not sent on")]
    Moved {
        /// As it was named.
        repository: String,
    },
    /// An answer that is not what GitHub is known to answer.
    #[error("GitHub's answer cannot be used, when asked to {what}: {why}")]
    Odd {
        /// What was asked.
        what: String,
        /// What is odd about it.
        why: String,
    },
    /// The base branch is not there.
    #[error("`{repository}` has no branch `{branch}`")]
    NoBranch {
        /// Whose.
        repository: String,
        /// Which.
        branch: String,
    },
    /// There is no such tag.
    #[error("`{repository}` has no tag `{tag}`, or the token does not see it")]
    NoTag {
        /// Whose.
        repository: String,
        /// Which.
        tag: String,
    },
    /// The work tree is of another branch.
    #[error("the commit that is checked out ({}) is not of the branch `{base}`", short(.head))]
    NotOfBase {
        /// The base branch.
        base: String,
        /// The commit.
        head: String,
    },
    /// Files were changed on the base branch, too.
    #[error("`{base}` has moved since this work tree was checked out, and changed {}", listed(.files))]
    BaseMoved {
        /// The base branch.
        base: String,
        /// Which files.
        files: Vec<String>,
    },
    /// Somebody made the branch meanwhile.
    #[error("the branch `{branch}` was made or moved by somebody else just now")]
    BranchMoved {
        /// Which.
        branch: String,
    },
}

fn short(sha: &str) -> &str {
    sha.get(..7).unwrap_or(sha)
}

fn listed(files: &[String]) -> String {
    files.iter().map(|file| format!("`{file}`")).collect::<Vec<_>>().join(", ")
}

impl GithubError {
    /// What the command ends with.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Address { .. } | Self::NoBranch { .. } => Exit::Usage,
            Self::Unreachable { .. }
            | Self::Token { .. }
            | Self::Forbidden { .. }
            | Self::RateLimited { .. }
            | Self::NoTag { .. } => Exit::Missing,
            Self::Moved { .. } => Exit::Usage,
            Self::Invalid { .. } | Self::NotOfBase { .. } | Self::BaseMoved { .. } | Self::BranchMoved { .. } => Exit::Refused,
            Self::Odd { .. } => Exit::Unexpected,
        }
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Address { .. } => "unset it for github.com; GitHub Enterprise Server's ends in `/api/v3`".to_owned(),
            Self::Unreachable { .. } => "check the network, and HTTPS_PROXY and NO_PROXY".to_owned(),
            Self::Token { .. } => "it may have ended: make a new one; here: GITHUB_TOKEN=\"$(gh auth token)\"".to_owned(),
            Self::Forbidden { message, .. } if message.contains("not permitted to create") => {
                "Settings → Actions → General → Workflow permissions: allow GitHub Actions to create pull requests; or use the \
                 token of a GitHub App, whose pull requests start workflows, too"
                    .to_owned()
            }
            Self::Forbidden { accepted: Some(accepted), .. } => format!("it needs the permission {}", permissions(accepted)),
            Self::Forbidden { .. } => {
                "it needs the permissions `contents: write` and `pull-requests: write` on this repository (classic: `repo`), and \
                 `workflows` for files in .github/workflows"
                    .to_owned()
            }
            Self::RateLimited { .. } => "run the same command again then".to_owned(),
            Self::Moved { .. } => "name it as it is called now: --repository OWNER/NAME".to_owned(),
            Self::NoBranch { .. } => "name the one to merge into: --base BRANCH".to_owned(),
            Self::NoTag { tag, .. } => {
                format!("git push origin {tag}; the token needs `contents: write` on this repository (classic: `repo`)")
            }
            Self::NotOfBase { base, .. } => {
                format!("git switch {base}; or name the branch that this work tree is of: --base BRANCH")
            }
            Self::BaseMoved { base, .. } => format!("git pull origin {base}, and make the change again"),
            Self::BranchMoved { .. } => "look at what it is, and run the same command again".to_owned(),
            Self::Invalid { .. } | Self::Odd { .. } => return None,
        })
    }
}

/// `contents=write; contents=write,workflows=write` → `` `contents=write` or `contents=write,workflows=write` ``
fn permissions(header: &str) -> String {
    header.split(';').map(|set| format!("`{}`", set.trim())).collect::<Vec<_>>().join(" or ")
}

impl From<GithubError> for Failure {
    fn from(error: GithubError) -> Self {
        let failure = Self::new(error.exit(), error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
