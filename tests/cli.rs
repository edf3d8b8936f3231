//! The command line and the answers to what cannot be started, without a container.

use std::process::{Command, Output};

fn entrypoint(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_entrypoint"));
    command.args(arguments).env_clear().envs(variables.iter().copied()).output().unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn errors(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn help_and_version_are_answers() {
    let help = entrypoint(&["--help"], &[]);
    assert_eq!((code(&help), errors(&help).as_str()), (0, ""));
    assert!(String::from_utf8(help.stdout).unwrap().contains("\n  AUTHORIZED_KEYS"));
    let version = entrypoint(&["--version"], &[]);
    assert_eq!(String::from_utf8(version.stdout).unwrap(), concat!("entrypoint ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn another_program_is_not_swallowed() {
    let output = entrypoint(&["bash", "-c", "id"], &[]);
    assert_eq!(code(&output), 64);
    assert!(errors(&output).contains("`bash -c id` is no command") && errors(&output).contains("--entrypoint"));
}

#[test]
fn a_command_that_lacks_something_is_told_how_it_goes() {
    let table: [(&[&str], &str); 4] = [
        (&["logs"], "`entrypoint logs [-f] SERVICE`"),
        (&["restart"], "`entrypoint restart SERVICE`"),
        (&["check", "--json"], "`entrypoint check`"),
        (&["status", "web"], "`entrypoint status [--json]`"),
    ];
    for (arguments, expected) in table {
        let output = entrypoint(arguments, &[]);
        assert_eq!(code(&output), 64);
        assert!(errors(&output).contains(expected) && errors(&output).contains("lists the services"), "{}", errors(&output));
    }
}

#[test]
fn a_variable_that_is_nearly_right_is_said_before_what_follows_from_it() {
    for arguments in [&["check"][..], &[]] {
        let output = entrypoint(arguments, &[("AUTHORIZED_KEYS_FILE", "/run/keys"), ("GITHUB_RUNNER_TOKN", "canary")]);
        let text = errors(&output);
        assert_eq!(code(&output), 69, "{text}");
        assert!(text.starts_with("gantry: warning: AUTHORIZED_KEYS_FILE is set and means nothing"), "{text}");
        assert!(text.contains("warning: GITHUB_RUNNER_TOKN is set") && !text.contains("canary"), "{text}");
    }
}

#[test]
fn what_this_image_does_not_have_is_an_exit_with_what_works() {
    let table: [(&[(&str, &str)], &str); 2] = [
        (&[], "this image has no `/usr/local/bin/code`"),
        (&[("VSCODE_WEB", "1")], "VSCODE_WEB is set, but this image has neither"),
    ];
    for (variables, expected) in table {
        // `check` says what a start says.
        for arguments in [&["check"][..], &[]] {
            let output = entrypoint(arguments, variables);
            let text = errors(&output);
            assert_eq!(code(&output), 69, "{text}");
            assert!(text.contains(expected) && text.contains("hint:") && !text.contains("canary"), "{text}");
        }
    }
}

#[test]
fn wrong_settings_are_all_reported_in_the_format_that_was_asked_for() {
    let variables = [("AUTHORIZED_KEYS", "nonsense\\nmore"), ("SSH_PORT", "x"), ("STOP_GRACE_SECONDS", "0")];
    for arguments in [&["check"][..], &[]] {
        let output = entrypoint(arguments, &variables);
        assert_eq!(code(&output), 78);
        assert_eq!(errors(&output).matches("gantry: error: ").count(), 4, "{}", errors(&output));
    }
    let output = entrypoint(&["check"], &[&variables[..], &[("LOG_FORMAT", "json")]].concat());
    assert!(errors(&output).lines().all(|line| line.starts_with("{\"level\":") && line.ends_with("\"}")), "{}", errors(&output));
}

/// What needs nothing from the image.
const CODER: [(&str, &str); 2] = [("CODER_AGENT_TOKEN", "canary"), ("CODER_AGENT_URL", "https://coder.example.com/")];

#[test]
fn check_says_what_would_run() {
    let output = entrypoint(&["check"], &CODER);
    assert_eq!((code(&output), errors(&output).as_str()), (0, ""));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.ends_with("agent: server https://coder.example.com, credentials CODER_AGENT_TOKEN\nstop: grace 8 s\n"),
        "{text}"
    );
    let output =
        entrypoint(&["check"], &[&CODER[..], &[("LOG_FORMAT", "json"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1")]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("{\"workspace\":{") && text.ends_with("\"stop\":{\"grace\":\"25 s\"}}\n"), "{text}");
}

#[test]
fn check_is_strict() {
    // A start goes on without the repository and the runner.
    let wrong = [
        ("ANSIBLE_REPO_URL", "git@github.com:o/r.git"),
        ("GITHUB_RUNNER_URL", "https://github.com/o/r/settings"),
        ("GITHUB_RUNNER_PAT", "{\"GITHUB_RUNNER_PAT\":\"canary\"}"),
    ];
    let output = entrypoint(&["check"], &[&CODER[..], &wrong].concat());
    let text = errors(&output);
    assert_eq!((code(&output), output.stdout.as_slice()), (78, &b""[..]), "{text}");
    for expected in ["ANSIBLE_REPO_URL is an address for ssh", "GITHUB_RUNNER_URL has more parts", "GITHUB_RUNNER_PAT is a JSON"]
    {
        assert!(text.contains(expected), "{text}");
    }
    assert!(!text.contains("canary"), "{text}");
}

#[test]
fn health_without_an_entrypoint_is_bad() {
    let output = entrypoint(&["health"], &[]);
    assert_eq!(code(&output), 1);
    assert!(errors(&output).contains("no entrypoint answers at"), "{}", errors(&output));
}
