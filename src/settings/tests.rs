use super::{Settings, Sources, WebAuth};
use crate::access::{Access, Reach};
use crate::failure::{Failure, SETTINGS};
use std::ffi::OsString;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2BbNQeGbZ8hlO1eLBGNyN8pCyZ5eQyGY5N3m5bGxkC";

const CODER: (&str, &str) = ("CODER_AGENT_URL", "https://coder.example.com/");

fn read(variables: &[(&str, &str)]) -> Result<Settings, Failure> {
    let variables = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Settings::read(&Sources::split(variables, true))
}

fn problems(variables: &[(&str, &str)]) -> Vec<String> {
    let failure = read(variables).expect_err("these settings are wrong");
    assert_eq!(failure.exit, SETTINGS);
    failure.problems
}

#[test]
fn defaults() {
    let settings = read(&[("AUTHORIZED_KEYS", KEY), ("SSH_PORT", "")]).expect("good settings");
    assert_eq!(settings.access, [Access::Sshd]);
    assert_eq!((settings.ssh.port, settings.grace.as_secs()), (22, 8));
    let settings = read(&[("VSCODE_WEB", "1")]).expect("good settings");
    assert_eq!(settings.access, [Access::Web(Reach::Everybody)]);
    assert_eq!(settings.web.port, 8080);
    assert!(matches!(settings.web.auth, WebAuth::Generated));
}

#[test]
fn every_problem_is_reported_at_once() {
    let problems = problems(&[
        ("AUTHORIZED_KEYS", "nonsense"),
        ("SSH_PORT", "0"),
        ("VSCODE_WEB", "1"),
        ("VSCODE_WEB_PORT", "http"),
        ("VSCODE_WEB_AUTH", "maybe"),
        ("VSCODE_WEB_TOKEN", "canary with blanks"),
        ("STOP_GRACE_SECONDS", "soon"),
        ("LOG_FORMAT", "xml"),
    ]);
    assert_eq!(problems.len(), 7, "{problems:#?}");
    assert!(problems.iter().all(|problem| !problem.contains("canary")), "{problems:#?}");
}

#[test]
fn variables_of_services_that_are_not_selected_are_no_problem() {
    read(&[("AUTHORIZED_KEYS", KEY), ("VSCODE_WEB_PORT", "http"), ("VSCODE_WEB_AUTH", "maybe")]).expect("no web server");
    read(&[("VSCODE_WEB", "1"), ("SSH_PORT", "x")]).expect("no sshd");
    let settings = read(&[("CODER_AGENT_TOKEN", "x"), CODER, ("AUTHORIZED_KEYS", "nonsense")]).expect("no sshd behind Coder");
    assert_eq!(settings.access, [Access::CoderAgent]);
}

#[test]
fn ports_of_kubernetes_services_are_recognised() {
    let settings = read(&[("VSCODE_WEB", "1"), ("VSCODE_WEB_PORT", "tcp://10.0.0.1:80")]).expect("taken as unset");
    assert_eq!(settings.web.port, 8080);
    assert!(settings.notes[0].contains("service called `vscode-web`"), "{:?}", settings.notes);
}

#[test]
fn one_port_is_for_one_service() {
    let problems = problems(&[("AUTHORIZED_KEYS", KEY), ("VSCODE_WEB", "1"), ("SSH_PORT", "8080")]);
    assert_eq!(problems, ["SSH_PORT is 8080, and so is VSCODE_WEB_PORT"]);
}

#[test]
fn who_may_use_the_web_server() {
    let auth = |more: &[(&str, &str)]| read(&[&[("VSCODE_WEB", "1")], more].concat()).map(|settings| settings.web.auth);
    assert!(matches!(auth(&[("VSCODE_WEB_AUTH", "none")]), Ok(WebAuth::Nobody)));
    assert!(matches!(auth(&[("VSCODE_WEB_AUTH", "token")]), Ok(WebAuth::Generated)));
    assert!(matches!(auth(&[("VSCODE_WEB_TOKEN", "0123-abc_")]), Ok(WebAuth::Token(token)) if token.expose() == "0123-abc_"));
    assert!(matches!(auth(&[("CODER_AGENT_TOKEN", "x"), CODER]), Ok(WebAuth::Nobody)));
    let web = ("VSCODE_WEB", "1");
    let table = [
        (vec![web, ("VSCODE_WEB_AUTH", "none"), ("VSCODE_WEB_TOKEN", "01234567")], "leave one of them out"),
        (vec![web, ("VSCODE_WEB_TOKEN", "01234567"), ("VSCODE_WEB_TOKEN_FILE", "/x")], "are both set"),
        (vec![web, ("VSCODE_WEB_TOKEN", "{\"VSCODE_WEB_TOKEN\":\"01234567\"}")], "is a JSON object"),
        (vec![web, ("VSCODE_WEB_TOKEN", "short")], "is shorter than 8"),
        (vec![web, ("VSCODE_WEB_TOKEN_FILE", "/nonexistent")], "`/nonexistent`, which cannot be read"),
        (vec![web, ("VSCODE_WEB_TOKEN_FILE", "/dev/null")], "`/dev/null`, which is empty"),
        (vec![web, ("VSCODE_WEB_TOKEN_FILE", "/dev/zero")], "`/dev/zero`, which is no secret"),
    ];
    for (variables, expected) in table {
        let problems = problems(&variables);
        assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
    }
}

#[test]
fn secrets_do_not_print() {
    let settings = read(&[("VSCODE_WEB", "1"), ("VSCODE_WEB_TOKEN", "canary-01234")]).expect("good settings");
    assert!(!format!("{settings:?}").contains("canary"));
}
