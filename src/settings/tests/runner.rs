//! The runner: what it is registered at, with what, and how it runs.

use super::super::{Credentials, Runner, Scope, Settings};
use super::{disabled, read};
use std::path::Path;

const URL: (&str, &str) = ("GITHUB_RUNNER_URL", "https://github.com/o/r");
const PAT: (&str, &str) = ("GITHUB_RUNNER_PAT", "canary-pat");
const TOKEN: (&str, &str) = ("GITHUB_RUNNER_TOKEN", "canary-token");
const APP: (&str, &str) = ("GITHUB_APP_ID", "12345");
const KEY: (&str, &str) =
    ("GITHUB_APP_PRIVATE_KEY", "-----BEGIN RSA PRIVATE KEY-----\\ncanary\\n-----END RSA PRIVATE KEY-----\\n");
const CODESPACE: [(&str, &str); 3] = [("GH_OWNER", "o"), ("GH_REPOSITORY", "r"), ("GH_TOKEN", "canary-gh")];

fn settings(variables: &[(&str, &str)]) -> Settings {
    let settings = read(variables).expect("good settings");
    assert!(settings.disabled.is_empty(), "{:?}", settings.disabled);
    assert!(!format!("{settings:?}").contains("canary"), "{settings:?}");
    settings
}

fn runner(variables: &[(&str, &str)]) -> Runner {
    settings(variables).runner.expect("a runner")
}

#[test]
fn defaults_and_choices() {
    let plain = runner(&[URL, PAT]);
    assert_eq!(plain.target.api, "https://api.github.com");
    assert_eq!(plain.target.scope, Scope::Repository { owner: "o".to_owned(), name: "r".to_owned() });
    assert_eq!((plain.name, plain.group, plain.work_folder), (None, None, None));
    assert_eq!((plain.labels, plain.user.as_str()), (vec!["self-hosted".to_owned(), "linux".to_owned()], "runner"));
    assert!(plain.autostart && !plain.ephemeral && !plain.allow_public && !plain.debug);
    let chosen = runner(&[
        ("GITHUB_RUNNER_URL", "https://github.com/o"),
        PAT,
        ("GITHUB_RUNNER_NAME", "mine"),
        ("GITHUB_RUNNER_LABELS", " a, b ,,A,c d"),
        ("GITHUB_RUNNER_GROUP", "of us"),
        ("GITHUB_RUNNER_EPHEMERAL", "true"),
        ("GITHUB_RUNNER_WORKDIR", "/work"),
        ("GITHUB_RUNNER_USER", "builder"),
        ("GITHUB_RUNNER_ALLOW_PUBLIC", "1"),
        ("GITHUB_RUNNER_AUTOSTART", "off"),
        ("GITHUB_RUNNER_API_URL", "http://127.0.0.1:8080/api/v3/"),
        ("RUNNER_DEBUG", "1"),
    ]);
    assert_eq!(chosen.target.api, "http://127.0.0.1:8080/api/v3");
    assert_eq!((chosen.name.as_deref(), chosen.group.as_deref(), chosen.user.as_str()), (Some("mine"), Some("of us"), "builder"));
    assert!(
        settings(&[URL, PAT, ("GITHUB_RUNNER_GROUP", "x")]).notes[0].contains("means nothing for the runner of a repository")
    );
    assert_eq!(chosen.labels, ["a", "b", "c d"]);
    assert_eq!(chosen.work_folder.as_deref(), Some(Path::new("/work")));
    assert!(!chosen.autostart && chosen.ephemeral && chosen.allow_public && chosen.debug);
}

#[test]
fn the_credentials_that_can_be_renewed_come_first() {
    let app = |installation| Credentials::App { id: "12345".to_owned(), installation };
    let table = [
        (vec![PAT], Credentials::Pat("GITHUB_RUNNER_PAT"), 0),
        (vec![PAT, APP, KEY, TOKEN], Credentials::Pat("GITHUB_RUNNER_PAT"), 1),
        (vec![APP, KEY], app(None), 0),
        (vec![APP, KEY, ("GITHUB_APP_INSTALLATION_ID", "7"), TOKEN], app(Some(7)), 1),
        // It says what an hour means.
        (vec![TOKEN], Credentials::RegistrationToken, 1),
        (vec![APP, TOKEN], Credentials::RegistrationToken, 1),
    ];
    for (variables, expected, notes) in table {
        let settings = settings(&[&[URL], &variables[..]].concat());
        assert_eq!(settings.notes.len(), notes, "{variables:?}: {:?}", settings.notes);
        assert_eq!(settings.runner.map(|runner| runner.credentials), Some(expected), "{variables:?}");
    }
}

#[test]
fn the_variables_of_a_codespace_mean_something_together_only() {
    let runner = runner(&CODESPACE);
    assert_eq!((runner.target.url.as_str(), runner.credentials), ("https://github.com/o/r", Credentials::Pat("GH_TOKEN")));
    for without in CODESPACE {
        let two: Vec<_> = CODESPACE.into_iter().filter(|variable| *variable != without).collect();
        let settings = settings(&two);
        assert!(settings.runner.is_none() && settings.notes.is_empty(), "{two:?}: {:?}", settings.notes);
    }
    // Another address is not GH_TOKEN's business.
    let elsewhere = [("GITHUB_RUNNER_URL", "https://git.corp/o/r")];
    assert!(disabled("runner", &[&CODESPACE[..], &elsewhere].concat())[0].contains("nothing to register with"));
    let here = settings(&[&CODESPACE[..], &[URL]].concat());
    assert_eq!(here.runner.map(|runner| runner.credentials), Some(Credentials::Pat("GH_TOKEN")));
    let both = settings(&[&CODESPACE[..], &[PAT]].concat());
    assert_eq!(both.runner.map(|runner| runner.credentials), Some(Credentials::Pat("GITHUB_RUNNER_PAT")));
}

#[test]
fn credentials_alone_are_told_of_and_start_nothing() {
    for (variables, expected) in [
        (vec![PAT], "GITHUB_RUNNER_PAT is set, but GITHUB_RUNNER_URL is not: no runner is started"),
        (vec![PAT, TOKEN], "GITHUB_RUNNER_PAT and GITHUB_RUNNER_TOKEN are set"),
        (vec![KEY, APP], "GITHUB_APP_PRIVATE_KEY is set"),
    ] {
        let settings = settings(&variables);
        assert!(settings.runner.is_none() && settings.notes[0].contains(expected), "{:?}", settings.notes);
    }
}

#[test]
fn what_is_wrong_keeps_it_away() {
    let long = "x".repeat(65);
    let label = "x".repeat(257);
    let table = [
        (vec![URL], "GITHUB_RUNNER_URL is set, but nothing to register with: set GITHUB_RUNNER_PAT, or GITHUB_APP_ID and"),
        (vec![URL, APP], "GITHUB_APP_ID is set, but its GITHUB_APP_PRIVATE_KEY is not"),
        (vec![URL, KEY], "GITHUB_APP_PRIVATE_KEY is set, but GITHUB_APP_ID is not"),
        (vec![URL, ("GITHUB_RUNNER_PAT", "{\"a\":\"canary\"}")], "GITHUB_RUNNER_PAT is a JSON object"),
        (vec![URL, ("GITHUB_RUNNER_PAT_FILE", "/nonexistent")], "which cannot be read"),
        (vec![URL, PAT, ("GITHUB_RUNNER_PAT_FILE", "/nonexistent")], "are both set"),
        (vec![URL, ("GITHUB_RUNNER_TOKEN", "canary canary")], "GITHUB_RUNNER_TOKEN holds a blank"),
        (vec![URL, APP, ("GITHUB_APP_PRIVATE_KEY", "canary")], "is no private key in PEM"),
        (vec![URL, APP, ("GITHUB_APP_PRIVATE_KEY", "-----BEGIN PRIVATE KEY-----\\ncanary")], "is cut short"),
        (vec![URL, APP, ("GITHUB_APP_PRIVATE_KEY", "{\"k\":\"canary\"}")], "is a JSON object"),
        (vec![URL, KEY, ("GITHUB_APP_ID", "my app")], "GITHUB_APP_ID is `my app`"),
        (vec![URL, KEY, APP, ("GITHUB_APP_INSTALLATION_ID", "x")], "GITHUB_APP_INSTALLATION_ID is `x`"),
        (vec![("GITHUB_RUNNER_URL", "https://me:canary@github.com/o/r"), PAT], "holds credentials"),
        (vec![("GITHUB_RUNNER_URL", "http://github.com/o/r"), PAT], "others than `github.com` could listen"),
        (vec![("GITHUB_RUNNER_URL", "ftp://github.com/o/r"), PAT], "`ftp://`"),
        (vec![("GITHUB_RUNNER_URL", "https://github.com"), PAT], "names no owner"),
        (vec![URL, PAT, ("GITHUB_RUNNER_API_URL", "http://git.corp/api")], "GITHUB_RUNNER_API_URL begins with `http://`"),
        (vec![URL, PAT, ("GITHUB_RUNNER_NAME", &long)], "has 65 characters; GitHub accepts 64"),
        (vec![URL, PAT, ("GITHUB_RUNNER_NAME", "--x")], "begins with `-`"),
        (vec![URL, PAT, ("GITHUB_RUNNER_LABELS", &label)], "a label of 257 characters"),
        (vec![URL, PAT, ("GITHUB_RUNNER_GROUP", "a\nb")], "a control character"),
        (vec![URL, PAT, ("GITHUB_RUNNER_USER", "root")], "which the runner itself refuses"),
        (vec![URL, PAT, ("GITHUB_RUNNER_USER", "a b")], "is no user's name"),
        (vec![URL, PAT, ("GITHUB_RUNNER_WORKDIR", "../x")], "without `..`"),
        (vec![URL, PAT, ("GITHUB_RUNNER_EPHEMERAL", "x")], "GITHUB_RUNNER_EPHEMERAL is `x`"),
        (vec![("GH_OWNER", "a/b"), CODESPACE[1], CODESPACE[2]], "GH_REPOSITORY has more parts"),
    ];
    for (variables, expected) in table {
        let problems = disabled("runner", &variables);
        assert!(problems.len() == 1 && problems[0].contains(expected) && !problems[0].contains("canary"), "{problems:?}");
    }
    let all = [URL, ("GITHUB_RUNNER_NAME", &long), ("GITHUB_RUNNER_USER", "root"), ("GITHUB_RUNNER_AUTOSTART", "x")];
    assert_eq!(disabled("runner", &all).len(), 4, "all at once");
}
