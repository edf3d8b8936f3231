//! The repository: which one, where to, and when its token is sent.

use super::super::Repository;
use super::{disabled, problems, read};
use std::path::PathBuf;

const URL: (&str, &str) = ("ANSIBLE_REPO_URL", "https://github.com/o/r.git");

fn repository(more: &[(&str, &str)]) -> Repository {
    let settings = read(&[&[URL], more].concat()).expect("good settings");
    assert!(settings.disabled.is_empty(), "{:?}", settings.disabled);
    settings.repository.expect("a repository")
}

#[test]
fn defaults_and_choices() {
    let plain = repository(&[("ANSIBLE_REPO_DEPTH", "0")]);
    assert_eq!(
        (plain.url.as_str(), plain.branch, plain.depth, plain.folder),
        ("https://github.com/o/r.git", None, None, PathBuf::from("r"))
    );
    assert!(!plain.authenticate && plain.before.is_none() && plain.after.is_none());
    let chosen = repository(&[
        ("ANSIBLE_REPO_BRANCH", "feat/x"),
        ("ANSIBLE_REPO_DEPTH", "1"),
        ("ANSIBLE_REPO_DIR", "~/src/here"),
        ("ANSIBLE_REPO_PRE_CLONE", "#!/bin/sh\necho before\n"),
        ("ANSIBLE_REPO_POST_CLONE", "make"),
        ("GITHUB_TOKEN", "t"),
    ]);
    assert_eq!((chosen.branch.as_deref(), chosen.depth, chosen.folder), (Some("feat/x"), Some(1), PathBuf::from("src/here")));
    assert_eq!((chosen.before.as_deref(), chosen.after.as_deref()), (Some("#!/bin/sh\necho before\n"), Some("make")));
    assert!(chosen.authenticate);
}

#[test]
fn a_branch_stands_in_one_place() {
    let tree = ("ANSIBLE_REPO_URL", "https://github.com/o/r/tree/main");
    let branch = |name| read(&[tree, ("ANSIBLE_REPO_BRANCH", name)]).expect("good").repository.and_then(|found| found.branch);
    assert_eq!(branch("main").as_deref(), Some("main"));
    assert_eq!(branch("").as_deref(), Some("main"));
    let problems = disabled("repository", &[tree, ("ANSIBLE_REPO_BRANCH", "other")]);
    assert_eq!(problems, ["ANSIBLE_REPO_BRANCH is `other`, but ANSIBLE_REPO_URL names the branch `main`"]);
}

#[test]
fn a_token_is_only_sent_where_nobody_listens() {
    let token = ("GITHUB_TOKEN", "canary");
    for (url, sent) in [("https://h/o/r", true), ("http://127.0.0.1:8080/r", true), ("http://h/o/r", false)] {
        let settings = read(&[("ANSIBLE_REPO_URL", url), token]).expect("good settings");
        assert_eq!(settings.repository.map(|repository| repository.authenticate), Some(sent), "{url}");
        assert_eq!(settings.notes.len(), usize::from(!sent), "{url}: {:?}", settings.notes);
    }
}

#[test]
fn credentials_in_the_address_are_neither_used_nor_shown() {
    let settings = read(&[("ANSIBLE_REPO_URL", "https://me:canary@github.com/o/r")]).expect("good settings");
    assert!(settings.notes[0].contains("holds credentials, which are not used"), "{:?}", settings.notes);
    assert_eq!(settings.repository.as_ref().map(|found| found.url.as_str()), Some("https://github.com/o/r"));
    assert!(!format!("{settings:?}").contains("canary"));
}

#[test]
fn what_is_wrong_keeps_it_away_with_every_problem() {
    let problems_of = disabled(
        "repository",
        &[URL, ("ANSIBLE_REPO_BRANCH", "-x"), ("ANSIBLE_REPO_DEPTH", "all"), ("GITHUB_TOKEN_FILE", "/nonexistent")],
    );
    assert_eq!(problems_of.len(), 3, "{problems_of:#?}");
    for (name, value, expected) in [
        ("ANSIBLE_REPO_URL", "git@github.com:o/r.git", "is an address for ssh"),
        ("ANSIBLE_REPO_URL", "ftp://github.com/o/r", "begins with `ftp://`"),
        ("ANSIBLE_REPO_DIR", "~other/x", "only `~/`"),
        ("ANSIBLE_REPO_DIR", "../x", "without `..`"),
    ] {
        let variables = if name == URL.0 { vec![(name, value)] } else { vec![URL, (name, value)] };
        let problems = disabled("repository", &variables);
        assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
    }
    // Without an address the others mean nothing.
    let settings = read(&[("ANSIBLE_REPO_DEPTH", "all"), ("GITHUB_TOKEN", "{}")]).expect("nothing to clone");
    assert!(settings.repository.is_none() && settings.disabled.is_empty() && settings.notes.is_empty());
    assert_eq!(problems(&[URL, ("ANSIBLE_REPO_DEPTH", "all"), ("STRICT", "1")]).len(), 1);
}
