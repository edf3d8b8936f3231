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

#[test]
fn health_without_an_entrypoint_is_bad() {
    let output = entrypoint(&["health"], &[]);
    assert_eq!(code(&output), 1);
    assert!(errors(&output).contains("no entrypoint answers at"), "{}", errors(&output));
}
