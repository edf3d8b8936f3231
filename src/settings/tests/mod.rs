//! Settings as a whole: variables in, what they mean or what is wrong with them out.

mod repository;
mod runner;

use super::{Disabled, Settings, Sources, WebAuth};
use crate::access::{Access, Reach};
use crate::failure::{Failure, SETTINGS};
use std::path::Path;

const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2BbNQeGbZ8hlO1eLBGNyN8pCyZ5eQyGY5N3m5bGxkC";

const CODER: (&str, &str) = ("CODER_AGENT_URL", "https://coder.example.com/");

fn read(variables: &[(&str, &str)]) -> Result<Settings, Failure> {
    Settings::read(&Sources::for_test(variables))
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
    let settings = read(&[]).expect("good settings");
    assert_eq!((settings.access, settings.tunnel.name.as_str()), (vec![Access::Tunnel], "ansible_container"));
    assert!(settings.repository.is_none() && settings.runner.is_none() && settings.coder.is_none());
    assert!(settings.persist.is_none() && settings.sudo && settings.extra_ca.is_none());
    assert!(settings.notes.is_empty() && settings.disabled.is_empty());
}

#[test]
fn defaults_depend_on_user_and_platform() {
    let ordinary = Settings::read(&Sources::split([("AUTHORIZED_KEYS".into(), KEY.into())], false)).expect("good settings");
    assert_eq!(ordinary.ssh.port, 2222);
    for platform in [("ECS_CONTAINER_METADATA_URI_V4", "http://169.254.170.2/v4/x"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1")] {
        assert_eq!(read(&[platform]).expect("good settings").grace.as_secs(), 25);
        assert_eq!(read(&[platform, ("STOP_GRACE_SECONDS", "3")]).expect("good settings").grace.as_secs(), 3);
    }
}

#[test]
fn switches_and_paths() {
    let settings = read(&[("WORKSPACE_SUDO", "Off"), ("PERSIST_DIR", "/data/me/"), ("EXTRA_CA_FILE", " /etc/ca.pem ")]);
    let settings = settings.expect("good settings");
    assert!(!settings.sudo);
    assert_eq!(settings.persist.as_deref(), Some(Path::new("/data/me")));
    assert_eq!(settings.extra_ca.as_deref(), Some(Path::new("/etc/ca.pem")));
    let table = [
        ("WORKSPACE_SUDO", "maybe", "WORKSPACE_SUDO is `maybe`; `1` (true, yes, on) and `0` (false, no, off) are known"),
        ("STRICT", "2", "STRICT is `2`"),
        ("PERSIST_DIR", "data", "PERSIST_DIR is `data`; an absolute path"),
        ("PERSIST_DIR", "/data/../etc", "without `..`"),
        ("PERSIST_DIR", "~/data", "an absolute path"),
        ("PERSIST_DIR", "/", "a folder below `/`"),
        ("EXTRA_CA_FILE", "ca.pem", "an absolute path"),
        ("TUNNEL_NAME", "a name with blanks", "TUNNEL_NAME is `a name with blanks` (18 characters); at most 20"),
        ("TUNNEL_NAME", "a-name-of-twenty-one-", "(21 characters)"),
        ("LOG_FORMAT", "xml", "`text` and `json`"),
    ];
    for (name, value, expected) in table {
        let problems = problems(&[(name, value)]);
        assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
    }
}

#[test]
fn the_coder_server() {
    let url = |more: &[(&str, &str)]| read(&[&[("CODER_AGENT_TOKEN", "t")], more].concat()).map(|settings| settings.coder);
    let table = [
        (vec![CODER], "https://coder.example.com"),
        (vec![("CODER_AGENT_URL", "http://127.0.0.1:3000")], "http://127.0.0.1:3000"),
        (vec![("CODER_AGENT_URL", "http://coder/x/"), ("CODER_AGENT_ALLOW_HTTP", "1")], "http://coder/x"),
    ];
    for (variables, expected) in table {
        assert_eq!(url(&variables).expect("good settings").map(|coder| coder.url).as_deref(), Some(expected));
    }
    let token = ("CODER_AGENT_TOKEN", "t");
    let table = [
        (vec![token], "CODER_AGENT_URL is unset"),
        (vec![token, ("CODER_AGENT_URL", "http://coder")], "others than `coder` could listen"),
        (vec![token, ("CODER_AGENT_URL", "http://coder"), ("CODER_AGENT_ALLOW_HTTP", "0")], "could listen"),
        (vec![token, ("CODER_AGENT_URL", "https://me:canary@coder")], "holds credentials"),
        (vec![token, ("CODER_AGENT_URL", "http://me:canary@coder"), ("CODER_AGENT_ALLOW_HTTP", "1")], "holds credentials"),
        (vec![token, ("CODER_AGENT_URL", "coder.example.com")], "is no address"),
        (vec![("CODER_AGENT_TOKEN", "{\"token\":\"canary\"}"), CODER], "is a JSON object"),
        (vec![("CODER_AGENT_TOKEN", "canary x"), CODER], "holds a blank"),
    ];
    for (variables, expected) in table {
        let problems = problems(&variables);
        assert!(problems.len() == 1 && problems[0].contains(expected) && !problems[0].contains("canary"), "{problems:?}");
    }
}

#[test]
fn what_is_no_plain_token_is_explained() {
    let table = [
        ("{\"GITHUB_TOKEN\":\"canary\"}", "is a JSON object where the plain token belongs: store the secret as a plain string"),
        ("[\"canary\"]", "is a JSON object"),
        ("\"canary\"", "quotation mark"),
        ("Bearer canary", "`Bearer`"),
        ("token canary", "`Bearer`"),
        ("export GITHUB_TOKEN=canary", "an assignment"),
        ("GITHUB_TOKEN=canary", "an assignment"),
        ("arn:aws:secretsmanager:eu-central-1:1:secret:canary", "is the ARN of a secret"),
        ("-----BEGIN PRIVATE KEY-----\ncanary", "a key in PEM"),
        ("null", "a word for nothing"),
        ("canary\ncanary", "a line break"),
        ("canary…", "characters that no token has"),
    ];
    for (value, expected) in table {
        let problems = disabled("repository", &[("ANSIBLE_REPO_URL", "https://github.com/o/r"), ("GITHUB_TOKEN", value)]);
        assert!(problems.len() == 1 && problems[0].contains(expected) && !problems[0].contains("canary"), "{problems:?}");
    }
}

#[test]
fn strictness_makes_a_failure_of_what_would_stay_away() {
    let wrong = [("ANSIBLE_REPO_URL", "x"), ("GITHUB_RUNNER_URL", "y"), ("AUTHORIZED_KEYS", KEY)];
    let settings = read(&wrong).expect("the access is fine");
    assert_eq!(settings.disabled.iter().map(|disabled| disabled.service).collect::<Vec<_>>(), ["repository", "runner"]);
    // The address, and nothing to register with.
    assert_eq!(problems(&[&wrong[..], &[("STRICT", "1")]].concat()).len(), 3);
    let failure = Settings::read_strictly(&Sources::for_test(&wrong)).expect_err("strictly wrong");
    assert_eq!((failure.exit, failure.problems.len()), (SETTINGS, 3));
}

#[test]
fn a_worker_sees_the_same_settings_without_the_secrets() {
    let variables = [
        ("CODER_AGENT_TOKEN", "canary"),
        CODER,
        ("VSCODE_WEB", "1"),
        ("GITHUB_RUNNER_URL", "https://github.com/o/r"),
        ("GITHUB_RUNNER_PAT", "canary-pat"),
        ("ANSIBLE_REPO_URL", "https://github.com/o/r"),
        ("GITHUB_TOKEN", "canary"),
    ];
    let all = Sources::for_test(&variables);
    let own = all.withholding(&["GITHUB_RUNNER_PAT"]);
    let (first, again) = (Settings::read(&all).expect("good settings"), Settings::again(&own));
    assert_eq!(format!("{first:?}"), format!("{again:?}"));
    assert_eq!(own.secret("GITHUB_RUNNER_PAT").map(|pat| pat.map(|pat| pat.expose().to_owned())), Ok(Some("canary-pat".into())));
    assert_eq!(own.secret("GITHUB_TOKEN"), Ok(None));
}

#[test]
fn secrets_come_without_what_files_add() {
    let secret = |value: &str| Sources::for_test(&[("GITHUB_APP_PRIVATE_KEY", value)]).secret("GITHUB_APP_PRIVATE_KEY");
    let exposed = |value: &str| secret(value).map(|secret| secret.map(|secret| secret.expose().to_owned()));
    assert_eq!(exposed(" x\r\n"), Ok(Some("x".to_owned())));
    assert_eq!(exposed("a\\nb"), Ok(Some("a\\nb".to_owned())));
    assert_eq!(exposed("-----BEGIN X-----\\na\\n"), Ok(Some("-----BEGIN X-----\na\n".to_owned())));
    assert_eq!(exposed(" \n"), Ok(None));
}

/// The problems of the one service that stays away with these variables.
fn disabled(service: &str, variables: &[(&str, &str)]) -> Vec<String> {
    let settings = read(variables).expect("the access is fine");
    match &settings.disabled[..] {
        [Disabled { service: found, problems }] if *found == service => problems.clone(),
        others => panic!("not just `{service}` is disabled: {others:?}; {:?}", settings.notes),
    }
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
    let empty = std::env::temp_dir().join(format!("entrypoint-empty-{}", std::process::id()));
    std::fs::write(&empty, " \n").expect("an empty file");
    let empty = empty.to_str().expect("UTF-8");
    let table = [
        (vec![web, ("VSCODE_WEB_AUTH", "none"), ("VSCODE_WEB_TOKEN", "01234567")], "leave one of them out"),
        (vec![web, ("VSCODE_WEB_TOKEN", "01234567"), ("VSCODE_WEB_TOKEN_FILE", "/x")], "are both set"),
        (vec![web, ("VSCODE_WEB_TOKEN", "{\"VSCODE_WEB_TOKEN\":\"01234567\"}")], "is a JSON object"),
        (vec![web, ("VSCODE_WEB_TOKEN", "short")], "is shorter than 8"),
        (vec![web, ("VSCODE_WEB_TOKEN_FILE", "/nonexistent")], "`/nonexistent`, which cannot be read"),
        (vec![web, ("VSCODE_WEB_TOKEN_FILE", empty)], "`, which is empty"),
        (vec![web, ("VSCODE_WEB_TOKEN_FILE", "/dev/zero")], "`/dev/zero`, which cannot be read: is no file"),
        (vec![web, ("VSCODE_WEB_TOKEN_FILE", "/proc/kallsyms")], "is larger than 65536 bytes"),
    ];
    for (variables, expected) in table {
        let problems = problems(&variables);
        assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
    }
    std::fs::remove_file(empty).expect("it is there");
}

#[test]
fn secrets_do_not_print() {
    let settings = read(&[("VSCODE_WEB", "1"), ("VSCODE_WEB_TOKEN", "canary-01234")]).expect("good settings");
    assert!(!format!("{settings:?}").contains("canary"));
}
