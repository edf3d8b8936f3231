//! `cargo xtask propose`: one pull request with the files of the work tree that differ from the base branch.

use std::path::Path;

use serde_json::{Value, json};

use super::Session;
use super::session::variable;
use crate::cli::Propose;
use crate::failure::{Exit, Failure};
use crate::proposal::{self, Act, File, Github, Proposal, PullRequest, Wanted};
use crate::secret::Secret;

const API: &str = "https://api.github.com";

pub(super) async fn run(session: &Session, args: &Propose) -> Result<(), Failure> {
    session.interruptible(propose(session, args)).await
}

/// What is needed, all of it there.
struct Ready {
    github: Github,
    wanted: Wanted,
    files: Vec<File>,
}

async fn propose(session: &Session, args: &Propose) -> Result<(), Failure> {
    let Ready { github, wanted, files } = ready(args).await?;
    let proposal = proposal::plan(&github, &wanted, &files).await?;
    let shown = Shown { github: &github, wanted: &wanted, args };
    if proposal.changed.is_empty() {
        session.console.result(&shown.json(&proposal, None), &shown.nothing(&proposal));
        return Ok(());
    }
    if let Some(commit) = proposal.foreign().filter(|_| !args.force) {
        let message = format!("the branch `{}` holds commits that are not this command's: {commit} is its head", args.branch);
        let hint = "merge or close what is there, or name another branch; `--force` replaces it";
        return Err(Failure::new(Exit::Refused, message).hint(hint));
    }
    if args.dry_run {
        session.console.result(&shown.json(&proposal, None), &shown.plan(&proposal));
        return Ok(());
    }
    let pull_request = proposal::execute(&github, &wanted, proposal.clone()).await?;
    session.console.result(&shown.json(&proposal, Some(&pull_request)), &shown.done(&proposal, &pull_request));
    Ok(())
}

/// GitHub for a command that needs nothing else.
pub(super) fn github(repository: Option<&str>) -> Result<Github, Failure> {
    let repository = repository.unwrap_or_default();
    if !is_repository(repository) {
        let message = format!("`{repository}` is not a repository on GitHub");
        return Err(Failure::new(Exit::Usage, message).hint("--repository OWNER/NAME (in a workflow GITHUB_REPOSITORY says it)"));
    }
    let (token, name) = token().ok_or_else(|| {
        Failure::new(Exit::Missing, "no token for GitHub: `GITHUB_TOKEN` is not set")
            .hint("here: GITHUB_TOKEN=\"$(gh auth token)\"")
    })?;
    Ok(Github::new(&variable("GITHUB_API_URL").unwrap_or_else(|| API.to_owned()), repository, &token, name)?)
}

fn token() -> Option<(Secret, &'static str)> {
    ["GITHUB_TOKEN", "GH_TOKEN"].into_iter().find_map(|name| Some((Secret::new(variable(name)?), name)))
}

/// Checks everything that can be checked here, all at once.
async fn ready(args: &Propose) -> Result<Ready, Failure> {
    let (mut missing, mut wrong, mut hints) = (Vec::new(), Vec::new(), Vec::new());
    let token = token();
    if token.is_none() {
        missing.push("no token for GitHub: `GITHUB_TOKEN` is not set".to_owned());
        hints.push("here: GITHUB_TOKEN=\"$(gh auth token)\"; in a workflow: `env: { GITHUB_TOKEN: ${{ github.token }} }`, or a GitHub App's token");
    }
    let repository = args.repository.as_deref().unwrap_or_default();
    if !is_repository(repository) {
        wrong.push(match repository {
            "" => "which repository on GitHub is not said".to_owned(),
            _ => format!("`{repository}` is not a repository on GitHub"),
        });
        hints.push("--repository OWNER/NAME (in a workflow GITHUB_REPOSITORY says it)");
    }
    for (flag, name) in [("--branch", &args.branch), ("--base", &args.base)] {
        if !is_branch(name) {
            wrong.push(format!("`{flag}`: `{name}` is not the name of a branch"));
        }
    }
    if args.branch == args.base {
        wrong.push(format!("`{}` cannot be merged into itself: `--branch` and `--base` are the same", args.base));
    }
    let title = args.title.trim();
    if title.is_empty() || title.chars().any(char::is_control) {
        wrong.push("`--title` is one line with something in it".to_owned());
    }
    // What lies in the folder of another machine is read as the files are: no link of it leads to something of ours.
    let theirs = args.from.as_ref().and_then(|from| Some((from, args.body_file.strip_prefix(from).ok()?)));
    let body = match theirs {
        Some((from, name)) => proposal::text(from, name).map(fitted),
        None => body(&args.body_file),
    };
    let body = body.map_err(|why| wrong.push(why)).unwrap_or_default();
    let top = proposal::top(Path::new(".")).await?;
    let head = proposal::head(&top).await?;
    let (files, problems) = match &args.from {
        Some(folder) => proposal::handed(&top, folder, &args.files).await?,
        None => proposal::files(&top, &args.files).await?,
    };
    wrong.extend(problems);
    match token {
        Some((token, name)) if wrong.is_empty() => {
            let api = variable("GITHUB_API_URL").unwrap_or_else(|| API.to_owned());
            let github = Github::new(&api, repository, &token, name)?;
            let (branch, base) = (args.branch.clone(), args.base.clone());
            Ok(Ready { github, wanted: Wanted { branch, base, head, title: title.to_owned(), body }, files })
        }
        _ => {
            let exit = if wrong.is_empty() { Exit::Missing } else { Exit::Usage };
            let failure = Failure::new(exit, [missing, wrong].concat().join("\n       "));
            Err(if hints.is_empty() { failure } else { failure.hint(hints.join("\n")) })
        }
    }
}

/// The most that GitHub takes, in characters.
const LONGEST_BODY: usize = 65_536;

/// A pull request's text, or a release's.
pub(super) fn body(file: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("`{}` cannot be read: {error}", file.display()))?;
    Ok(fitted(text))
}

/// What is too long is cut at a line's end, and says so.
fn fitted(text: String) -> String {
    let text = text.replace("\r\n", "\n").trim_end().to_owned();
    if text.chars().count() <= LONGEST_BODY {
        return text;
    }
    let kept: String = text.chars().take(LONGEST_BODY - 100).collect();
    let kept = kept.rsplit_once('\n').map_or(kept.as_str(), |(lines, _)| lines);
    format!("{kept}\n\n… (longer than GitHub takes)")
}

fn is_repository(text: &str) -> bool {
    let word = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
            && !part.starts_with('.')
    };
    text.split_once('/').is_some_and(|(owner, name)| word(owner) && word(name))
}

/// What git and GitHub take as a branch's name. (git-check-ref-format(1))
fn is_branch(name: &str) -> bool {
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let odd = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    name.split('/').all(part)
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && !name.contains(odd)
        && name != "@"
        && name != "HEAD"
}

/// The result, for people and programs.
struct Shown<'a> {
    github: &'a Github,
    wanted: &'a Wanted,
    args: &'a Propose,
}

impl Shown<'_> {
    fn json(&self, proposal: &Proposal, done: Option<&PullRequest>) -> Value {
        let files = proposal.changed.iter().map(|file| json!({ "path": file.path, "change": file.kind() }));
        let open = proposal.pull_request.as_ref().map(|found| json!({ "number": found.number, "url": found.url, "act": "left" }));
        let now = done.map(|done| json!({ "number": done.number, "url": done.url, "act": done.act }));
        json!({
            "schema": 1,
            "repository": self.github.repository(),
            "branch": self.wanted.branch,
            "base": { "branch": self.wanted.base, "sha": proposal.base.sha },
            "dry-run": self.args.dry_run,
            "files": files.collect::<Vec<_>>(),
            "commit": done.map(|done| &done.commit),
            "pull-request": now.or(open),
        })
    }

    fn nothing(&self, proposal: &Proposal) -> String {
        let nothing = format!("nothing to propose: no file differs from `{}`", self.wanted.base);
        match &proposal.pull_request {
            // What it says may have been merged another way, or be held back now: people decide what becomes of it.
            Some(found) => format!("{nothing}; pull request {} is left as it is: {}", found.number, found.url),
            None => nothing,
        }
    }

    fn plan(&self, proposal: &Proposal) -> String {
        let Wanted { branch, base, title, .. } = self.wanted;
        let mut text = format!("would propose `{title}` to {}: `{branch}` into `{base}`\n", self.github.repository());
        for file in &proposal.changed {
            text += &format!("  {} {}\n", file.kind(), file.path);
        }
        text += &match (&proposal.branch, proposal.foreign()) {
            (None, _) => format!("  makes the branch `{branch}`\n"),
            (Some(_), None) => format!("  moves the branch `{branch}`, unless it holds just this\n"),
            (Some(_), Some(commit)) => format!("  replaces what is on the branch `{branch}` ({commit})\n"),
        };
        text += &match &proposal.pull_request {
            Some(found) => format!("  updates pull request {}: {}\n", found.number, found.url),
            None => "  opens a pull request\n".to_owned(),
        };
        text
    }

    fn done(&self, proposal: &Proposal, done: &PullRequest) -> String {
        let act = match (done.act, done.commit.made) {
            (Act::Opened, _) => "opened",
            (Act::Updated, _) | (Act::Left, true) => "updated",
            (Act::Left, false) => "already has",
        };
        let number = proposal.changed.len();
        let files = if number == 1 { "1 file".to_owned() } else { format!("{number} files") };
        format!("{act} pull request {} with {files}: {}", done.number, done.url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_branches_and_repositories() {
        for (name, good) in [("main", true), ("gantry/bump", true), ("a.b-c", true)] {
            assert_eq!(is_branch(name), good, "{name}");
        }
        for name in ["", "a//b", "/a", "a/", ".a", "a.lock", "a..b", "a b", "a:b", "-a", "a@{b", "@", "HEAD", "a~1", "a\nb", "a."]
        {
            assert!(!is_branch(name), "{name:?}");
        }
        for (text, good) in
            [("team/image", true), ("Sapphire-Health/ansible-epic", true), ("team", false), ("a/b/c", false), ("../x", false)]
        {
            assert_eq!(is_repository(text), good, "{text}");
        }
    }
}
