//! The repository that is cloned at the first start.

use super::model::Repository;
use super::reader::{Reader, shown};
use super::url::Url;
use std::path::{Component, Path, PathBuf};

impl Reader<'_> {
    pub(super) fn repository(&mut self) -> Option<Repository> {
        const URL: &str = "ANSIBLE_REPO_URL";
        let text = self.word(URL)?;
        let address = match Address::parse(&text) {
            Ok(address) => address,
            Err(problem) => {
                self.problem(URL, problem);
                return None;
            }
        };
        if address.credentials {
            self.note(format!("{URL} holds credentials, which are not used: replace them, and give a token in GITHUB_TOKEN"));
        }
        let branch = self.branch(address.branch);
        let depth = self.number("ANSIBLE_REPO_DEPTH", 0..=u32::MAX.into(), 0);
        let folder = match self.word("ANSIBLE_REPO_DIR").as_deref().map(folder) {
            None => PathBuf::from(&address.name),
            Some(Ok(folder)) => folder,
            Some(Err(problem)) => {
                self.problem("ANSIBLE_REPO_DIR", problem);
                return None;
            }
        };
        let authenticate = self.sources.has_secret("GITHUB_TOKEN") && {
            self.token("GITHUB_TOKEN");
            if !address.private {
                self.note(format!("{URL} begins with `http://`: GITHUB_TOKEN is not sent there, as others could listen"));
            }
            address.private
        };
        Some(Repository {
            url: address.url,
            branch,
            depth: u32::try_from(depth).ok().filter(|depth| *depth > 0),
            folder,
            authenticate,
            before: self.text("ANSIBLE_REPO_PRE_CLONE"),
            after: self.text("ANSIBLE_REPO_POST_CLONE"),
        })
    }

    fn branch(&mut self, of_address: Option<String>) -> Option<String> {
        let Some(branch) = self.word("ANSIBLE_REPO_BRANCH") else { return of_address };
        if !is_branch(&branch) {
            self.problem("ANSIBLE_REPO_BRANCH", format!("is `{}`, which git does not accept as a branch", shown(&branch)));
        }
        if let Some(other) = of_address.filter(|other| *other != branch) {
            let (branch, other) = (shown(&branch), shown(&other));
            self.problem("ANSIBLE_REPO_BRANCH", format!("is `{branch}`, but ANSIBLE_REPO_URL names the branch `{other}`"));
        }
        Some(branch)
    }
}

/// What `ANSIBLE_REPO_URL` says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// What is cloned.
    pub(super) url: String,
    /// That of `/tree/BRANCH`, as the address of a page in GitHub or GitLab has it.
    pub(super) branch: Option<String>,
    /// The repository's own name.
    pub(super) name: String,
    /// Whether credentials stood in it.
    pub(super) credentials: bool,
    /// Whether nobody in between could read a token.
    pub(super) private: bool,
}

impl Address {
    /// The error continues a sentence that begins with the variable's name.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let looks_like_ssh = !text.contains("://") && text.split_once(':').is_some_and(|(host, _)| host.contains('@'));
        if looks_like_ssh {
            return Err("is an address for ssh; that for https (`https://HOST/OWNER/REPOSITORY`) belongs there".to_owned());
        }
        let mut url = Url::parse(text)?;
        let branch = match split_tree(&url.path) {
            Some((path, branch)) => {
                let branch = decode(branch).filter(|branch| is_branch(branch));
                let branch = branch.ok_or("names a branch behind `/tree/` that git does not accept")?;
                url.path = path.trim_end_matches('/').to_owned();
                Some(branch)
            }
            None => None,
        };
        let last = url.path.rsplit('/').next().unwrap_or_default();
        let name = decode(last.strip_suffix(".git").unwrap_or(last)).unwrap_or_default();
        if !is_folder_name(&name) {
            return Err("names no repository: `https://HOST/OWNER/REPOSITORY` belongs there".to_owned());
        }
        Ok(Self { url: url.to_string(), branch, name, credentials: url.credentials, private: url.is_private() })
    }
}

/// Splits GitLab's `…/-/tree/BRANCH` and GitHub's `/OWNER/REPOSITORY/tree/BRANCH`.
fn split_tree(path: &str) -> Option<(&str, &str)> {
    if let Some(split) = path.split_once("/-/tree/") {
        return Some(split);
    }
    // An owner or a repository may be called `tree`.
    let mut slashes = path.match_indices('/').map(|(at, _)| at);
    let behind_repository = slashes.nth(2)?;
    let branch = path.get(behind_repository..)?.strip_prefix("/tree/")?;
    Some((path.get(..behind_repository)?, branch))
}

/// Decodes `%2F` and the like.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = tail.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// The rules of `git check-ref-format`.
fn is_branch(name: &str) -> bool {
    let bad = |c: char| c.is_control() || c.is_whitespace() || "~^:?*[\\".contains(c);
    let parts_are_good = name
        .split('/')
        .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with('.') && !part.ends_with(".lock"));
    parts_are_good && !name.contains("..") && !name.contains("@{") && name != "@" && !name.starts_with('-') && !name.contains(bad)
}

fn is_folder_name(name: &str) -> bool {
    !name.is_empty()
        && name != "."
        && name != ".."
        && !name.starts_with('-')
        && !name.contains(|c: char| c == '/' || c.is_control())
}

/// `ANSIBLE_REPO_DIR`: absolute, or relative to the home, which may be written as `~`.
fn folder(text: &str) -> Result<PathBuf, String> {
    let path = text.strip_prefix("~/").unwrap_or(text).trim_end_matches('/');
    if path.starts_with('~') || path.starts_with('$') {
        return Err(format!("is `{}`: only `~/` at its beginning is known to mean the home", shown(text)));
    }
    let path = Path::new(path);
    let inside = path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
    if !inside || text.contains(char::is_control) || path.file_name().is_none() {
        return Err(format!("is `{}`; a folder in the home, or an absolute one, without `..`, belongs there", shown(text)));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Address, folder};
    use std::path::Path;

    #[test]
    fn addresses() {
        let table = [
            ("https://github.com/o/r", "https://github.com/o/r", None, "r"),
            ("https://github.com/o/r.git", "https://github.com/o/r.git", None, "r"),
            ("https://github.com/o/repo-tests.log/", "https://github.com/o/repo-tests.log", None, "repo-tests.log"),
            ("https://github.com/o/r/tree/feat/example", "https://github.com/o/r", Some("feat/example"), "r"),
            ("https://github.com/o/r/tree/a%2Fb?tab=x#y", "https://github.com/o/r", Some("a/b"), "r"),
            ("https://github.com/tree/tree", "https://github.com/tree/tree", None, "tree"),
            ("https://github.com/o/tree/tree/main", "https://github.com/o/tree", Some("main"), "tree"),
            ("https://gitlab.com/g/s/r/-/tree/feat/x", "https://gitlab.com/g/s/r", Some("feat/x"), "r"),
            ("https://gitlab.com/g/tree/s/r", "https://gitlab.com/g/tree/s/r", None, "r"),
            ("http://127.0.0.1:8080/r.git", "http://127.0.0.1:8080/r.git", None, "r"),
            ("https://me:canary@host/o/r/tree/x", "https://host/o/r", Some("x"), "r"),
        ];
        for (text, url, branch, name) in table {
            let address = Address::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((address.url.as_str(), address.branch.as_deref(), address.name.as_str()), (url, branch, name), "{text}");
            assert_eq!(address.credentials, text.contains('@'));
        }
        assert!(!Address::parse("http://host/o/r").expect("good").private);
        for (text, expected) in [
            ("git@github.com:canary/r.git", "for ssh"),
            ("https://github.com", "names no repository"),
            ("https://github.com/o/..", "names no repository"),
            ("https://github.com/o/%2e%2e", "names no repository"),
            ("https://github.com/o/a%2fb", "names no repository"),
            ("https://github.com/o/r/tree/-canary", "names a branch"),
            ("https://github.com/o/r/tree/a..canary", "names a branch"),
            ("https://github.com/o/r/tree/%0acanary", "names a branch"),
            ("https://github.com/o/r/tree/%zz", "names a branch"),
        ] {
            let error = Address::parse(text).expect_err(text);
            assert!(error.contains(expected) && !error.contains("canary"), "{text}: {error}");
        }
    }

    #[test]
    fn folders() {
        for (text, expected) in [("~/a/b/", "a/b"), ("a", "a"), ("/srv/x", "/srv/x")] {
            assert_eq!(folder(text).as_deref(), Ok(Path::new(expected)), "{text}");
        }
        for text in ["~", "~/", "~other/x", "$HOME/x", "..", "a/../b", "/", "/..", "./a", "a\nb"] {
            assert!(folder(text).is_err(), "{text}");
        }
    }
}
