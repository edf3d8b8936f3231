//! The real binary, as a person or a CI job runs it, in an environment that is known.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// What a run said, and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// Data.
    pub stdout: String,
    /// For people, or events as JSON lines.
    pub stderr: String,
}

/// The binary in the folder `root`, with nothing of the environment but the way to the engine and to programs. Cache,
/// state and home lie below `places`. No request leaves the machine: everything but loopback goes to a proxy that is
/// not there.
pub fn command(root: &Path, places: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(root).env_clear();
    for name in ["PATH", "DOCKER_HOST"] {
        command.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    command.env("HOME", places.join("home")).env("XDG_STATE_HOME", places.join("state"));
    command.env("GANTRY_CACHE_DIR", places.join("cache"));
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"] {
        command.env(name, "http://127.0.0.1:9");
    }
    command.env("NO_PROXY", "127.0.0.1,localhost").stdin(Stdio::null());
    command
}

/// Tokens and passwords, as machines of engineers and of CI have them in their environment.
pub const TOKENS: [&str; 8] = [
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "AWS_SECRET_ACCESS_KEY",
    "AZURE_CLIENT_SECRET",
    "ARM_CLIENT_SECRET",
];

/// Lets `command` have a canary in each of [`TOKENS`], and find a git that writes down in `folder` what it was called with and its
/// environment, before it is git. Which file that is.
pub fn git_that_tells(command: &mut Command, folder: &Path, canary: &str) -> PathBuf {
    let (programs, told) = (folder.join("programs"), folder.join("told"));
    std::fs::create_dir_all(&programs).expect("a folder");
    let path = std::env::var("PATH").expect("a PATH");
    let script = format!("#!/bin/sh\n{{ echo \"git $*\"; env; }} >> '{}'\nPATH='{path}' exec git \"$@\"\n", told.display());
    std::fs::write(programs.join("git"), script).expect("written");
    std::fs::set_permissions(programs.join("git"), std::fs::Permissions::from_mode(0o755)).expect("it can be run");
    command.env("PATH", format!("{}:{path}", programs.display())).envs(TOKENS.map(|name| (name, canary)));
    told
}

/// Runs it to its end.
pub fn ran(mut command: Command) -> Ran {
    let output = command.output().expect("the binary starts");
    of(&output)
}

/// A child with both outputs piped, waited for.
pub fn ended(child: Child) -> Ran {
    of(&child.wait_with_output().expect("it ends"))
}

fn of(output: &Output) -> Ran {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
}

/// Reads events until one is `wanted`, and hands back the rest of the stream.
pub fn wait_for(child: &mut Child, wanted: impl Fn(&Value) -> bool) -> BufReader<ChildStderr> {
    let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
    let mut line = String::new();
    while stderr.read_line(&mut line).expect("text") > 0 {
        if serde_json::from_str(&line).is_ok_and(|event| wanted(&event)) {
            return stderr;
        }
        line.clear();
    }
    panic!("it ended before that");
}

/// Holds a child where it is, with all that it has locked, while what it asked the engine for goes on.
pub fn hold(child: &Child) {
    kill_process(Pid::from_child(child), Signal::STOP).expect("it runs");
}

/// Lets a child that was held go on.
pub fn release(child: &Child) {
    kill_process(Pid::from_child(child), Signal::CONT).expect("it is there");
}

/// The event that an instruction runs now.
pub fn does(instruction: &str) -> impl Fn(&Value) -> bool {
    move |event| event["current"].as_str().is_some_and(|current| current.contains(instruction))
}

impl Ran {
    /// The run, if it ended with `code`; else a panic that shows all that it said.
    #[track_caller]
    pub fn ends(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "\n--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }

    /// The run, if all `words` stand in what it said to people.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Self {
        for word in words {
            assert!(self.stderr.contains(word), "`{word}` is missing in\n{}", self.stderr);
        }
        self
    }

    /// The run, if all `words` stand in its result, or in what it said to people.
    #[track_caller]
    pub fn tells(self, words: &[&str]) -> Self {
        for word in words {
            let told = self.stdout.contains(word) || self.stderr.contains(word);
            assert!(told, "`{word}` is missing in\n{}\n{}", self.stdout, self.stderr);
        }
        self
    }

    /// The result on stdout, which is nothing else.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in\n{}", self.stdout))
    }

    /// The events on stderr, which is nothing else.
    #[track_caller]
    pub fn events(&self) -> Vec<Value> {
        let event = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in `{line}`"));
        self.stderr.lines().map(event).collect()
    }

    /// The events of one kind.
    #[track_caller]
    pub fn events_of(&self, kind: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == kind).collect()
    }

    /// How the steps ended: `aws finished` → `done`.
    #[track_caller]
    pub fn steps(&self) -> BTreeMap<String, String> {
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let ended = self.events_of("step-finished");
        ended.iter().map(|event| (text(&event["step"]), text(&event["outcome"]))).collect()
    }

    /// The steps with this outcome, sorted.
    #[track_caller]
    pub fn steps_that_are(&self, outcome: &str) -> Vec<String> {
        self.steps().into_iter().filter(|(_, ended)| ended == outcome).map(|(step, _)| step).collect()
    }

    /// The lines that a step's build printed.
    #[track_caller]
    pub fn log_of(&self, step: &str) -> Vec<String> {
        let logs = self.events_of("step-log").into_iter().filter(|event| event["step"] == step);
        logs.filter_map(|event| Some(event["line"].as_str()?.to_owned())).collect()
    }
}
