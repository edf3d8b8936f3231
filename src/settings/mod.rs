//! The settings of a container: the only reader of the environment and of secret files.
//!
//! Reports every problem at once. A variable of a service that is not selected is never a problem, an empty
//! variable is an unset one.

mod access;
mod environment;
mod keys;
mod model;
mod reader;
mod repository;
mod runner;
mod secret;
mod sources;
mod table;
mod target;
mod unknown;
mod url;

pub(crate) use keys::AuthorizedKey;
pub(crate) use model::{Credentials, Disabled, Environment, Repository, Runner, RunnerTarget, Scope, Settings, WebAuth};
pub(crate) use secret::{Secret, Secrets};
pub(crate) use sources::{Sources, hide};
pub(crate) use table::{Group, VARIABLES, Variable};

use self::reader::{Reader, shown};
use crate::access::{Access, Asked, Reach, decide};
use crate::failure::{self, Failure};
use crate::log::{Format, Log};
use std::path::{Component, PathBuf};
use std::time::Duration;

/// The format of log lines, known before everything else; a wrong one is reported by [`Settings::read`].
pub(crate) fn log_format() -> Format {
    match std::env::var("LOG_FORMAT") {
        Ok(format) if format == "json" => Format::Json,
        _ => Format::Text,
    }
}

/// Variables of platforms that wait longer than 10 seconds for a container to stop.
const PATIENT: [&str; 2] = ["ECS_CONTAINER_METADATA_URI_V4", "KUBERNETES_SERVICE_HOST"];

impl Settings {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// One failure that lists every problem.
    pub(crate) fn read(sources: &Sources) -> Result<Self, Failure> {
        let (settings, problems) = gather(sources, false);
        settings.or_refuse(problems)
    }

    /// The same, and a service that would stay away for its settings is a problem as well.
    ///
    /// # Errors
    /// One failure that lists every problem.
    pub(crate) fn read_strictly(sources: &Sources) -> Result<Self, Failure> {
        let (settings, problems) = gather(sources, true);
        settings.or_refuse(problems)
    }

    /// The settings that PID 1 has read, for its workers. They may not have every secret, and say nothing about what
    /// is not theirs.
    pub(crate) fn again(sources: &Sources) -> Self {
        gather(sources, false).0
    }

    /// The token of the web server as it is now.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn web_token(sources: &Sources) -> Result<Secret, String> {
        let mut reader = Reader::new(sources);
        match reader.web_token() {
            Some(token) if reader.problems.is_empty() => Ok(token),
            None if reader.problems.is_empty() => Err("VSCODE_WEB_TOKEN is unset".to_owned()),
            Some(_) | None => Err(reader.problems.join("; ")),
        }
    }

    /// Logs what should be known: notes, and which services stay away.
    pub(crate) fn say(&self, log: &Log) {
        self.notes.iter().for_each(|note| log.warning(note));
        for Disabled { service, problems } in &self.disabled {
            problems.iter().for_each(|problem| log.service("error", service, problem));
            log.service("error", service, "is not started for that; everything else is (STRICT=1 refuses such a start)");
        }
    }

    /// Why `service`, which PID 1 has started, has no settings any more: a secret file may be another one by now.
    pub(crate) fn why_disabled(&self, service: &str) -> Option<Failure> {
        let disabled = self.disabled.iter().find(|disabled| disabled.service == service)?;
        Some(Failure { exit: failure::SETTINGS, problems: disabled.problems.clone(), hints: Vec::new() })
    }

    /// Notes what a runner that is going to be started can reach.
    pub(crate) fn note_reach_of_jobs(&mut self) {
        let open = self.access.contains(&Access::Web(Reach::Loopback)) && matches!(self.web.auth, WebAuth::Nobody);
        if open && self.runner.is_some() {
            let port = self.web.port;
            self.notes.push(format!(
                "jobs of the runner can reach the web server on port {port}, as everything in this container can, and with it \
                 a shell of the workspace: VSCODE_WEB_AUTH=token closes it to them"
            ));
        }
    }

    fn or_refuse(self, problems: Vec<String>) -> Result<Self, Failure> {
        if problems.is_empty() {
            return Ok(self);
        }
        let hints = vec!["`entrypoint --help` lists every variable, `entrypoint check` tries them".to_owned()];
        Err(Failure { exit: failure::SETTINGS, problems, hints })
    }
}

/// What the settings say, and what is wrong with them.
fn gather(sources: &Sources, strict: bool) -> (Settings, Vec<String>) {
    let mut reader = Reader::new(sources);
    let asked = Asked {
        coder_agent: sources.has_secret("CODER_AGENT_TOKEN"),
        web: reader.any_value("VSCODE_WEB"),
        keys: reader.text("AUTHORIZED_KEYS").is_some(),
    };
    let access = decide(asked);
    let ssh = reader.ssh(access.contains(&Access::Sshd));
    let reach = access.iter().find_map(|access| match access {
        Access::Web(reach) => Some(*reach),
        _ => None,
    });
    let web = reader.web(reach);
    if reach.is_some() && access.contains(&Access::Sshd) && ssh.port == web.port {
        reader.problem("SSH_PORT", format!("is {}, and so is VSCODE_WEB_PORT", ssh.port));
    }
    let tunnel = reader.tunnel(access.contains(&Access::Tunnel));
    let coder = if asked.coder_agent { reader.coder() } else { None };
    let persist = reader.absolute("PERSIST_DIR");
    let sudo = reader.switch("WORKSPACE_SUDO", true);
    let extra_ca = reader.absolute("EXTRA_CA_FILE");
    let patient = PATIENT.iter().any(|name| sources.text(name).is_some());
    let grace = Duration::from_secs(reader.number("STOP_GRACE_SECONDS", 1..=3600, if patient { 25 } else { 8 }));
    if let Some(format) = reader.word("LOG_FORMAT").filter(|format| !["text", "json"].contains(&format.as_str())) {
        reader.problem("LOG_FORMAT", format!("is `{}`; `text` and `json` are known", shown(&format)));
    }
    let strict = reader.switch("STRICT", false) || strict;
    let repository = reader.beside("repository", Reader::repository);
    let runner = reader.beside("runner", Reader::runner);
    reader.unknown();
    let Reader { mut problems, notes, disabled, .. } = reader;
    if strict {
        problems.extend(disabled.iter().flat_map(|disabled| disabled.problems.clone()));
    }
    let settings = Settings {
        access,
        ssh,
        web,
        tunnel,
        coder,
        repository,
        runner,
        persist,
        sudo,
        extra_ca,
        grace,
        session: environment::session(sources.environment()),
        job: environment::job(sources.environment()),
        fetch: environment::fetch(sources.environment()),
        home: sources.text("HOME").and_then(Result::ok).map(PathBuf::from),
        notes,
        strict,
        disabled,
    };
    (settings, problems)
}

impl Reader<'_> {
    /// A path that means the same wherever it is used.
    fn absolute(&mut self, name: &str) -> Option<PathBuf> {
        let text = self.word(name)?;
        let path = PathBuf::from(text.trim_end_matches('/'));
        let plain = path.components().all(|part| matches!(part, Component::Normal(_) | Component::RootDir));
        if path.as_os_str().is_empty() {
            self.problem(name, "is `/`; a folder below `/` belongs there");
            return None;
        }
        if !path.is_absolute() || !plain || text.contains(char::is_control) {
            self.problem(name, format!("is `{}`; an absolute path without `..` belongs there", shown(&text)));
            return None;
        }
        Some(path)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
