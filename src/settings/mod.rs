//! The settings of a container: the only reader of the environment and of secret files.
//!
//! Reports every problem at once. A variable of a service that is not selected is never a problem, an empty
//! variable is an unset one.

mod keys;
mod model;
mod secret;
mod session;
mod sources;
mod table;

pub(crate) use keys::AuthorizedKey;
pub(crate) use model::{
    Credentials, Disabled, Environment, Repository, Runner, RunnerTarget, Scope, Settings, Ssh, Web, WebAuth,
};
pub(crate) use secret::{Secret, Secrets};
pub(crate) use sources::{Sources, hide};
pub(crate) use table::VARIABLES;

use self::model::Tunnel;
use crate::access::{self, Access, Asked, Reach};
use crate::failure::{self, Failure};
use crate::log::Format;
use std::path::PathBuf;
use std::time::Duration;

/// The format of log lines, known before everything else; a wrong one is reported by [`Settings::read`].
pub(crate) fn log_format() -> Format {
    match std::env::var("LOG_FORMAT") {
        Ok(format) if format == "json" => Format::Json,
        _ => Format::Text,
    }
}

impl Settings {
    /// Reads and checks all settings.
    ///
    /// # Errors
    /// One failure that lists every problem.
    pub(crate) fn read(sources: &Sources) -> Result<Self, Failure> {
        let mut reader = Reader { sources, problems: Vec::new(), notes: Vec::new() };
        let asked = Asked {
            coder_agent: sources.has_secret("CODER_AGENT_TOKEN"),
            web: reader.text("VSCODE_WEB").is_some(),
            keys: reader.text("AUTHORIZED_KEYS").is_some(),
        };
        let access = access::decide(asked);
        let ssh = reader.ssh(access.contains(&Access::Sshd));
        let reach = access.iter().find_map(|access| match access {
            Access::Web(reach) => Some(*reach),
            _ => None,
        });
        let web = reader.web(reach);
        if reach.is_some() && !ssh.keys.is_empty() && ssh.port == web.port {
            reader.problem("SSH_PORT", format!("is {}, and so is VSCODE_WEB_PORT", ssh.port));
        }
        let grace = Duration::from_secs(reader.number("STOP_GRACE_SECONDS", 1..=3600, 25));
        if let Some(format) = reader.text("LOG_FORMAT").filter(|format| !["text", "json"].contains(&format.as_str())) {
            reader.problem("LOG_FORMAT", format!("is `{format}`; `text` and `json` are known"));
        }
        let Reader { problems, notes, .. } = reader;
        if !problems.is_empty() {
            let hints = vec!["`entrypoint --help` lists every variable, `entrypoint check` tries them".to_owned()];
            return Err(Failure { exit: failure::SETTINGS, problems, hints });
        }
        let session = session::select(sources.environment());
        let home = sources.text("HOME").and_then(Result::ok).map(PathBuf::from);
        Ok(Self {
            access,
            ssh,
            web,
            tunnel: Tunnel { name: "ansible_container".to_owned() },
            coder: None,
            repository: None,
            runner: None,
            persist: None,
            sudo: true,
            extra_ca: None,
            grace,
            job: session.clone(),
            fetch: session.clone(),
            session,
            home,
            notes,
            disabled: Vec::new(),
        })
    }
}

struct Reader<'a> {
    sources: &'a Sources,
    problems: Vec<String>,
    notes: Vec<String>,
}

impl Reader<'_> {
    fn problem(&mut self, variable: &str, message: impl std::fmt::Display) {
        self.problems.push(format!("{variable} {message}"));
    }

    /// The variable's text; none when unset, empty or (a problem) not UTF-8.
    fn text(&mut self, name: &str) -> Option<String> {
        match self.sources.text(name)? {
            Ok(text) => Some(text),
            Err(_) => {
                self.problem(name, "is not UTF-8");
                None
            }
        }
    }

    fn number(&mut self, name: &str, accepted: std::ops::RangeInclusive<u64>, default: u64) -> u64 {
        let Some(text) = self.text(name) else { return default };
        match text.trim().parse() {
            Ok(number) if accepted.contains(&number) => number,
            _ => {
                let (first, last) = accepted.into_inner();
                self.problem(name, format!("is `{text}`; a whole number from {first} to {last} belongs there"));
                default
            }
        }
    }

    fn port(&mut self, name: &str, default: u16) -> u16 {
        if self.text(name).is_some_and(|text| text.starts_with("tcp://") || text.starts_with("udp://")) {
            // Kubernetes sets `<SERVICE>_PORT=tcp://ADDRESS:PORT` for every service of the namespace.
            let service = name.trim_end_matches("_PORT").to_lowercase().replace('_', "-");
            self.notes.push(format!(
                "{name} comes from a Kubernetes service called `{service}` and is taken as unset: port {default} \
                 (`enableServiceLinks: false` keeps Kubernetes from setting it)"
            ));
            return default;
        }
        u16::try_from(self.number(name, 1..=65535, default.into())).unwrap_or(default)
    }

    fn ssh(&mut self, selected: bool) -> Ssh {
        if !selected {
            return Ssh { keys: Vec::new(), port: 22 };
        }
        let keys = match keys::parse(&self.text("AUTHORIZED_KEYS").unwrap_or_default()) {
            Ok(keys) => keys,
            Err(problems) => {
                problems.into_iter().for_each(|problem| self.problem("AUTHORIZED_KEYS", problem));
                Vec::new()
            }
        };
        Ssh { keys, port: self.port("SSH_PORT", 22) }
    }

    fn web(&mut self, reach: Option<Reach>) -> Web {
        let Some(reach) = reach else { return Web { port: 8080, auth: WebAuth::Nobody } };
        if self.text("VSCODE_WEB").is_some_and(|text| ["0", "false", "no", "off"].contains(&text.to_lowercase().as_str())) {
            self.notes.push("VSCODE_WEB is set, and any value but an empty one starts the web server".to_owned());
        }
        let port = self.port("VSCODE_WEB_PORT", 8080);
        let open = match self.text("VSCODE_WEB_AUTH").as_deref() {
            None if reach == Reach::Loopback => true,
            None | Some("token") => false,
            Some("none") => true,
            Some(other) => {
                self.problem("VSCODE_WEB_AUTH", format!("is `{other}`; `token` and `none` are known"));
                false
            }
        };
        let token = self.secret("VSCODE_WEB_TOKEN");
        if let Some(Err(problem)) = token.as_ref().map(|token| web_token(token.expose())) {
            self.problem("VSCODE_WEB_TOKEN", problem);
        }
        let auth = match (open, token) {
            (true, Some(_)) if reach == Reach::Everybody => {
                self.problem("VSCODE_WEB_AUTH", "is `none`, but VSCODE_WEB_TOKEN is set: leave one of them out");
                WebAuth::Nobody
            }
            (true, None) => WebAuth::Nobody,
            (_, Some(token)) => WebAuth::Token(token),
            (false, None) => WebAuth::Generated,
        };
        Web { port, auth }
    }

    /// A secret from `name` or from the file that `name`_FILE names.
    fn secret(&mut self, name: &str) -> Option<Secret> {
        match self.sources.secret(name) {
            Ok(secret) => secret,
            Err(problem) => {
                self.problems.push(problem);
                None
            }
        }
    }
}

/// Checks a token for what VS Code's server accepts, without repeating it.
fn web_token(token: &str) -> Result<(), &'static str> {
    if token.starts_with('{') {
        return Err("is a JSON object where the plain token belongs (store the secret as a plain string)");
    }
    if !token.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-') {
        return Err("holds something else than letters, digits, `_` and `-`");
    }
    if token.len() < 8 {
        return Err("is shorter than 8 characters");
    }
    Ok(())
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
