//! What git says, and what follows from it: a pure function.

use crate::settings::Repository;

/// What becomes of a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The network or the server is to blame: another try may help.
    Again(String),
    /// The same would happen again.
    Hopeless(String),
}

/// What git says when it is refused.
const REFUSED: [&str; 6] = [
    "Authentication failed",
    "could not read Username",
    "could not read Password",
    "requested URL returned error: 401",
    "requested URL returned error: 403",
    "Invalid username or token",
];
/// What is the matter with this machine.
const HERE: [&str; 6] = [
    "No space left on device",
    "Disk quota exceeded",
    "Permission denied",
    "Read-only file system",
    "Operation not permitted",
    "already exists and is not an empty directory",
];
/// What is the matter with certificates.
const CERTIFICATES: [&str; 3] =
    ["SSL certificate problem", "server certificate verification failed", "server verification failed"];

/// What follows from what git `said` when it failed to clone.
pub(super) fn explain(said: &str, wanted: &Repository) -> Verdict {
    let has = |parts: &[&str]| parts.iter().any(|part| said.contains(part));
    let told = quoted(said);
    if let Some(branch) = wanted.branch.as_ref().filter(|_| said.contains("Remote branch") && said.contains("not found")) {
        return Verdict::Hopeless(format!("it has no branch `{branch}`"));
    }
    if said.contains("is not given to") {
        return Verdict::Hopeless(told);
    }
    let missing = said.contains("repository '") && said.contains("not found");
    if missing || has(&REFUSED) {
        return Verdict::Hopeless(match (wanted.authenticate, missing) {
            (true, _) => format!(
                "there is no such repository, or GITHUB_TOKEN may not see it (a fine-grained token needs Contents → Read for this \
                 repository, a classic one `repo`; where the organisation has single sign-on, the token must be authorised for it): {told}"
            ),
            (false, true) => format!("there is no such repository: {told}"),
            (false, false) => {
                // One that is set may have been held back.
                let kept =
                    if wanted.url.starts_with("http://") { "; beyond loopback it is sent by `https://` alone" } else { "" };
                format!(
                    "it is private or not there, and there is no GITHUB_TOKEN for it (fine-grained: Contents → Read; classic: \
                     `repo`{kept}): {told}"
                )
            }
        });
    }
    if has(&HERE) {
        return Verdict::Hopeless(told);
    }
    if has(&CERTIFICATES) {
        return Verdict::Again(format!("{told} (EXTRA_CA_FILE names certificates to trust beside the image's)"));
    }
    Verdict::Again(told)
}

/// The last lines of what git said, as one: the first of them often only say what it does.
fn quoted(said: &str) -> String {
    let lines: Vec<_> =
        said.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("Cloning into")).collect();
    let last: Vec<_> = lines.iter().rev().take(3).rev().copied().collect();
    last.join("; ").chars().take(500).collect()
}

#[cfg(test)]
mod tests {
    use super::{Verdict, explain};
    use crate::settings::Repository;
    use proptest::prelude::*;

    fn wanted(authenticate: bool) -> Repository {
        Repository {
            url: "https://h/o/r".into(),
            branch: Some("feat/x".into()),
            depth: None,
            folder: "r".into(),
            authenticate,
            before: None,
            after: None,
        }
    }

    #[test]
    fn what_git_says_is_explained() {
        let table = [
            // what git says, with a token, hopeless, part of what is said
            (
                "fatal: could not read Username for 'https://h': terminal prompts disabled",
                false,
                true,
                "there is no GITHUB_TOKEN",
            ),
            ("fatal: Authentication failed for 'https://h/o/r/'", true, true, "Contents → Read"),
            ("remote: Repository not found.\nfatal: repository 'https://h/o/r/' not found", true, true, "may not see it"),
            ("fatal: repository 'https://h/o/r/' not found", false, true, "there is no such repository: "),
            ("fatal: unable to access 'https://h/o/r/': The requested URL returned error: 403", true, true, "Contents → Read"),
            ("fatal: unable to access 'https://h/o/r/': The requested URL returned error: 429", true, false, "429"),
            ("fatal: unable to access 'https://h/o/r/': The requested URL returned error: 502", true, false, "502"),
            ("fatal: unable to access 'https://h/': Could not resolve host: h", false, false, "resolve host"),
            (
                "fatal: unable to access 'https://h/': SSL certificate problem: self-signed certificate",
                false,
                false,
                "EXTRA_CA_FILE",
            ),
            ("fatal: Remote branch feat/x not found in upstream origin", true, true, "no branch `feat/x`"),
            ("fatal: could not create leading directories of '/x/y': Permission denied", true, true, "Permission denied"),
            ("fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output", true, true, "No space"),
            (
                "error: RPC failed; curl 18 transfer closed\nfatal: early EOF\nfatal: invalid index-pack output",
                true,
                false,
                "early EOF",
            ),
            (
                "GITHUB_TOKEN is for `https://h` and is not given to `https://e`\nfatal: could not",
                true,
                true,
                "not given to `https://e`",
            ),
        ];
        for (said, token, hopeless, part) in table {
            let (found, text) = match explain(said, &wanted(token)) {
                Verdict::Hopeless(text) => (true, text),
                Verdict::Again(text) => (false, text),
            };
            assert!(found == hopeless && text.contains(part), "{said}: {found} {text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_git_says_is_told_in_a_line_or_so(said: String, token: bool) {
            let (Verdict::Hopeless(text) | Verdict::Again(text)) = explain(&said, &wanted(token));
            prop_assert!(text.chars().count() < 1000 && !text.contains('\n'));
        }
    }
}
