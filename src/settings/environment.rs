//! Which of the container's variables reach whom: people's sessions, jobs of the runner, programs that fetch.

use super::model::Environment;
use super::table::{self, Group};
use std::ffi::{OsStr, OsString};

/// What everything finds that talks to others: certificates, and where and in which language it is.
const COMMON: &[&str] = &[
    "AWS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "GIT_SSL_CAPATH",
    "LANG",
    "LANGUAGE",
    "NODE_EXTRA_CA_CERTS",
    "PATH",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "TZ",
];

/// Proxies, in upper case; programs differ in which case they read.
const PROXIES: &[&str] = &["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];

/// Hosts that are this machine.
const LOCAL: &str = "localhost,127.0.0.1,127.0.0.0/8,::1";

/// What belongs to the process that the container engine started, and to nobody else.
const OWN: &[&str] = &[
    "BASH_ENV",
    "ENV",
    "GCONV_PATH",
    "GLIBC_TUNABLES",
    "HOME",
    "HOSTNAME",
    "IFS",
    "LISTEN_FDS",
    "LISTEN_PID",
    "LOGNAME",
    "MAIL",
    "NOTIFY_SOCKET",
    "OLDPWD",
    "POSIXLY_CORRECT",
    "PROMPT_COMMAND",
    "PS0",
    "PS1",
    "PS2",
    "PS4",
    "PWD",
    "RUNNER_TRACKING_ID",
    "SHELL",
    "SHELLOPTS",
    "BASHOPTS",
    "SHLVL",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_ORIGINAL_COMMAND",
    "SSH_TTY",
    "TERM",
    "USER",
    "_",
];

/// Beginnings of such names: the loader's, shell functions, ours, what the runner understands.
const OWN_FAMILIES: &[&str] = &["LD_", "BASH_FUNC_", "GANTRY_", "ACTIONS_RUNNER_"];

/// What people's sessions and editors find: everything but secrets, the entrypoint's own settings, and what
/// belongs to a single process.
pub(super) fn session(environment: &[(OsString, OsString)]) -> Environment {
    select(environment, for_sessions)
}

/// What jobs of the runner find: an allow-list.
pub(super) fn job(environment: &[(OsString, OsString)]) -> Environment {
    select(environment, is_common)
}

/// What a program finds that only fetches something. What is on this machine is never asked for by way of a proxy:
/// tokens may go there by plain `http`, as nobody can listen.
pub(super) fn fetch(environment: &[(OsString, OsString)]) -> Environment {
    let mut selected = select(environment, is_common);
    for name in ["NO_PROXY", "no_proxy"] {
        match selected.iter_mut().find(|(other, _)| other == name) {
            Some((_, value)) if value.is_empty() => *value = LOCAL.into(),
            // `*` means everybody only where it stands alone.
            Some((_, value)) if value != "*" => value.push(format!(",{LOCAL}")),
            Some(_) => {}
            None => selected.push((name.into(), LOCAL.into())),
        }
    }
    selected
}

fn select(environment: &[(OsString, OsString)], wanted: fn(&str) -> bool) -> Environment {
    let wanted = |(name, _): &&(OsString, OsString)| is_name(name) && name.to_str().is_some_and(wanted);
    let mut selected: Environment = environment.iter().filter(wanted).cloned().collect();
    for upper in PROXIES {
        let lower = upper.to_ascii_lowercase();
        let value = |name: &str| selected.iter().find(|(other, _)| other == name).map(|(_, value)| value.clone());
        match (value(upper), value(&lower)) {
            (Some(value), None) => selected.push((lower.into(), value)),
            (None, Some(value)) => selected.push((OsString::from(upper), value)),
            _ => {}
        }
    }
    selected
}

/// Whether it can be written wherever variables are written.
fn is_name(name: &OsStr) -> bool {
    let name = name.as_encoded_bytes();
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\=".contains(byte))
}

fn is_common(name: &str) -> bool {
    COMMON.contains(&name) || PROXIES.contains(&name.to_ascii_uppercase().as_str()) || name.starts_with("LC_")
}

fn for_sessions(name: &str) -> bool {
    if OWN.contains(&name) || OWN_FAMILIES.iter().any(|family| name.starts_with(family)) {
        return false;
    }
    match table::find(name) {
        // `entrypoint persist` is for sessions; the others of these groups are not only ours.
        Some(variable) => {
            matches!(variable.group, Group::Network) || ["PERSIST_DIR", "GH_OWNER", "GH_REPOSITORY"].contains(&name)
        }
        None => !name.strip_suffix("_FILE").is_some_and(table::is_secret),
    }
}

#[cfg(test)]
mod tests {
    use super::{LOCAL, fetch, for_sessions, is_common, job, session};
    use std::ffi::OsString;

    #[test]
    fn who_finds_what() {
        let table = [
            // name, sessions, jobs
            ("PATH", true, true),
            ("LC_ALL", true, true),
            ("TZ", true, true),
            ("HTTPS_PROXY", true, true),
            ("no_proxy", true, true),
            ("REQUESTS_CA_BUNDLE", true, true),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", true, false),
            ("AWS_SECRET_ACCESS_KEY", true, false),
            ("ECS_CONTAINER_METADATA_URI_V4", true, false),
            ("ANSIBLE_VAULT_PASSWORD_FILE", true, false),
            ("ANSIBLE_BECOME_PASS", true, false),
            ("MY_OWN", true, false),
            ("CODER_WORKSPACE_ID", true, false),
            ("PERSIST_DIR", true, false),
            ("GH_REPOSITORY", true, false),
            ("GITHUB_REPOSITORY", true, false),
            ("ANSIBLE_REPO_URL", false, false),
            ("AUTHORIZED_KEYS", false, false),
            ("GITHUB_RUNNER_URL", false, false),
            ("GITHUB_TOKEN", false, false),
            ("GITHUB_TOKEN_FILE", false, false),
            ("GH_TOKEN", false, false),
            ("CLAUDE_POOL_SECRET", false, false),
            ("VSCODE_WEB_TOKEN", false, false),
            ("RUNNER_TRACKING_ID", false, false),
            ("RUNNER_DEBUG", false, false),
            ("GANTRY_SEALED_SECRETS", false, false),
            ("LD_PRELOAD", false, false),
            ("HOME", false, false),
            ("PS1", false, false),
        ];
        for (name, in_sessions, in_jobs) in table {
            assert_eq!((for_sessions(name), is_common(name)), (in_sessions, in_jobs), "{name}");
        }
    }

    #[test]
    fn what_is_on_this_machine_is_fetched_without_a_proxy() {
        let table = [
            (vec![], LOCAL.to_owned()),
            (vec![("NO_PROXY", "")], LOCAL.to_owned()),
            (vec![("no_proxy", "*")], "*".to_owned()),
            (vec![("NO_PROXY", "a,b")], format!("a,b,{LOCAL}")),
        ];
        for (environment, expected) in table {
            let environment: Vec<_> = environment.iter().map(|(name, value)| (name.into(), value.into())).collect();
            let mut found = fetch(&environment);
            found.sort();
            let expected = [("NO_PROXY", &expected), ("no_proxy", &expected)];
            assert_eq!(found, expected.map(|(name, value)| (name.into(), value.into())));
        }
    }

    #[test]
    fn names_that_could_be_taken_for_something_else_are_left_out() {
        let environment =
            ["", "A\nPort 1", "A=", "A B", "A\"", "é", "my.own-name"].map(|name| (name.into(), OsString::from("x")));
        assert_eq!(session(&environment), [("my.own-name".into(), OsString::from("x"))]);
    }

    #[test]
    fn proxies_are_known_in_both_cases() {
        let environment = [("HTTPS_PROXY", "a"), ("http_proxy", "b"), ("NO_PROXY", "c"), ("no_proxy", "d")];
        let mut found = job(&environment.map(|(name, value)| (name.into(), value.into())));
        found.sort();
        let expected = [
            ("HTTPS_PROXY", "a"),
            ("HTTP_PROXY", "b"),
            ("NO_PROXY", "c"),
            ("http_proxy", "b"),
            ("https_proxy", "a"),
            ("no_proxy", "d"),
        ];
        assert_eq!(found, expected.map(|(name, value)| (name.into(), value.into())));
    }
}
