//! What is asked inside a container of an image, whatever its entrypoint does: its tools, its users, its updates. Pure.

use std::time::Duration;

use super::promise::{Component, Promise};
use super::report::Verdict;
use super::updates;
use crate::engine::Command;

/// How long a program may take to answer, on a machine that does other things, too.
const PATIENCE: Duration = Duration::from_secs(120);

/// Something that is asked, or said without asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Inquiry {
    /// To be asked.
    Ask(Question),
    /// The check's name, and what is to be said of it.
    Said(String, Verdict),
}

/// A command, and what is made of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    /// The name of the check.
    pub(super) name: String,
    /// Who asks.
    pub(super) user: String,
    /// A line of shell, in a login shell.
    pub(super) script: String,
    /// What is expected.
    pub(super) about: About,
    /// How long it may take.
    pub(super) patience: Duration,
}

/// What is expected of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// A program prints a text.
    Tool {
        /// The program.
        program: String,
        /// The text.
        expected: String,
    },
    /// A command of the family's own.
    Trial {
        /// A regular expression, to be found in what it prints.
        expect: Option<String>,
        /// Its exit code.
        exit: u32,
    },
    /// The person and the robot are who they should be.
    Users,
    /// The robot cannot become more than it is.
    RunnerRights,
    /// The runner is there in this version, or (none) is not there.
    Runner {
        /// As the label says.
        version: Option<String>,
    },
    /// Packages that Debian has newer.
    Updates,
}

impl Inquiry {
    /// The name of the check.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Ask(question) => &question.name,
            Self::Said(name, _) => name,
        }
    }
}

impl Question {
    /// As the engine is asked for it.
    pub(super) fn command(&self) -> Command {
        let words = ["bash", "-lc", &self.script];
        Command { words: words.map(str::to_owned).to_vec(), user: Some(self.user.clone()), ..Command::default() }
    }
}

const USERS: &str = "for user in root ansible runner; do getent passwd $user; done; \
                     getent shadow root ansible runner | cut -d: -f1,2 | sed 's/^/shadow /'";
const RIGHTS: &str = "echo groups $(id -Gn runner); \
                      if setpriv --reuid=runner --regid=runner --init-groups sudo -n true > /dev/null 2>&1; \
                      then echo sudo works; else echo no sudo; fi";
const LISTENER: &str = "/opt/actions-runner/bin/Runner.Listener";

/// Everything that is asked of an image, in the order in which it is told.
pub(super) fn inquiries(promise: &Promise) -> Vec<Inquiry> {
    let ask = |name: String, user: &str, script: String, about| {
        Inquiry::Ask(Question { name, user: user.to_owned(), script, about, patience: PATIENCE })
    };
    let mut inquiries = Vec::new();
    for (program, expected) in &promise.tools {
        let name = format!("tool {program}");
        inquiries.push(match expected {
            None => Inquiry::Said(name, Verdict::skipped("left out of this build with its pin")),
            Some(expected) => {
                let about = About::Tool { program: program.clone(), expected: expected.clone() };
                ask(name, "ansible", format!("{program} --version"), about)
            }
        });
    }
    for trial in &promise.checks {
        let about = About::Trial { expect: trial.expect.clone(), exit: trial.exit };
        inquiries.push(ask(trial.name.clone(), &trial.user, trial.run.clone(), about));
    }
    inquiries.push(ask("users".to_owned(), "root", USERS.to_owned(), About::Users));
    inquiries.push(ask("runner rights".to_owned(), "root", RIGHTS.to_owned(), About::RunnerRights));
    let version = match &promise.runner {
        Component::Here(version) => Some(version.clone()),
        Component::Omitted | Component::None => None,
    };
    let script = format!("test -e {LISTENER} || {{ echo absent; exit; }}; cd / && {LISTENER} --version");
    inquiries.push(ask("runner version".to_owned(), "runner", script, About::Runner { version }));
    inquiries.push(Inquiry::Ask(Question {
        name: "pending updates".to_owned(),
        user: "root".to_owned(),
        script: updates::SCRIPT.to_owned(),
        about: About::Updates,
        patience: updates::PATIENCE,
    }));
    inquiries
}
