//! The GitHub runner: where it is registered, with what, and how it runs.

use super::model::{Credentials, Runner, RunnerTarget, Scope};
use super::reader::{Reader, shown};
use super::url::Url;
use std::path::{Component, Path, PathBuf};

const URL: &str = "GITHUB_RUNNER_URL";
const PAT: &str = "GITHUB_RUNNER_PAT";
const TOKEN: &str = "GITHUB_RUNNER_TOKEN";
const APP: &str = "GITHUB_APP_ID";
const KEY: &str = "GITHUB_APP_PRIVATE_KEY";
const INSTALLATION: &str = "GITHUB_APP_INSTALLATION_ID";
/// A codespace's: secrets there may not begin with `GITHUB_`.
const CODESPACE: [&str; 3] = ["GH_OWNER", "GH_REPOSITORY", "GH_TOKEN"];

/// What GitHub accepts.
const LONGEST_NAME: usize = 64;
const LONGEST_LABEL: usize = 256;
const MOST_LABELS: usize = 100;

impl Reader<'_> {
    pub(super) fn runner(&mut self) -> Option<Runner> {
        let codespace = self.codespace();
        let (variable, text) = match (self.word(URL), &codespace) {
            (Some(text), _) => (URL, text),
            (None, Some(url)) => (CODESPACE[1], url.clone()),
            (None, None) => {
                self.credentials_alone();
                return None;
            }
        };
        let api = self.private_url("GITHUB_RUNNER_API_URL");
        let target = self.private_url_of(variable, &text).and_then(|url| match RunnerTarget::of(url, api.as_ref()) {
            Ok(target) => Some(target),
            Err(problem) => {
                self.problem(variable, problem);
                None
            }
        });
        let of_codespace = codespace.and_then(|url| RunnerTarget::of(Url::parse(&url).ok()?, api.as_ref()).ok());
        let use_gh_token = variable == CODESPACE[1] || (of_codespace.is_some() && of_codespace == target);
        let credentials = self.credentials(use_gh_token);
        let name = self.runner_name();
        let labels = self.labels();
        let group = self.plain("GITHUB_RUNNER_GROUP");
        if group.is_some() && matches!(&target, Some(RunnerTarget { scope: Scope::Repository { .. }, .. })) {
            self.note(
                "GITHUB_RUNNER_GROUP means nothing for the runner of a repository: organisations and enterprises have groups",
            );
        }
        let ephemeral = self.switch("GITHUB_RUNNER_EPHEMERAL", false);
        let work_folder = self.work_folder();
        let user = self.runner_user();
        let allow_public = self.switch("GITHUB_RUNNER_ALLOW_PUBLIC", false);
        let debug = self.any_value("RUNNER_DEBUG");
        let autostart = self.switch("GITHUB_RUNNER_AUTOSTART", true);
        let (target, credentials) = (target?, credentials?);
        Some(Runner { target, credentials, name, labels, group, ephemeral, work_folder, user, allow_public, debug, autostart })
    }

    /// The repository of a codespace's variables; they mean something only all together.
    fn codespace(&mut self) -> Option<String> {
        let [owner, repository, token] = CODESPACE;
        if !self.sources.has_secret(token) {
            return None;
        }
        let (owner, repository) = (self.word(owner)?, self.word(repository)?);
        Some(format!("https://github.com/{owner}/{repository}"))
    }

    /// Says that there is something to register with, but no runner is asked for.
    fn credentials_alone(&mut self) {
        let set: Vec<_> = [PAT, TOKEN, KEY].into_iter().filter(|name| self.sources.has_secret(name)).collect();
        if !set.is_empty() {
            let verb = if set.len() == 1 { "is" } else { "are" };
            self.note(format!("{} {verb} set, but {URL} is not: no runner is started", set.join(" and ")));
        }
    }

    /// What to register with. The best one that is there, as it is renewed: PAT, App, token.
    fn credentials(&mut self, use_gh_token: bool) -> Option<Credentials> {
        let has = |name: &str| self.sources.has_secret(name);
        let (has_pat, has_key, has_token) = (has(PAT), has(KEY), has(TOKEN));
        let app = self.word(APP);
        let mut set = Vec::new();
        if has_pat {
            set.push(PAT);
        }
        if use_gh_token {
            set.push("GH_TOKEN");
        }
        if app.is_some() && has_key {
            set.push(KEY);
        }
        if has_token {
            set.push(TOKEN);
        }
        let Some((first, others)) = set.split_first() else {
            match (app.is_some(), has_key) {
                (true, false) => self.problem(APP, format!("is set, but its {KEY} is not")),
                (false, true) => self.problem(KEY, format!("is set, but {APP} is not")),
                _ => self.problem(
                    URL,
                    format!(
                        "is set, but nothing to register with: set {PAT}, or {APP} and {KEY}, or {TOKEN} (each secret also \
                         as a file, with `_FILE` behind its name)"
                    ),
                ),
            }
            return None;
        };
        if !others.is_empty() {
            self.note(format!("{first} is used for the runner; {} not", others.join(" and ")));
        }
        match *first {
            TOKEN => {
                self.token(TOKEN);
                self.note(format!(
                    "{TOKEN} is good for an hour: a runner that stops later stays in GitHub's list, offline, until GitHub removes it \
                     after 14 days; {PAT} or an App renews"
                ));
                Some(Credentials::RegistrationToken)
            }
            KEY => self.app(app.unwrap_or_default()),
            name => {
                self.token(name);
                Some(Credentials::Pat(if name == PAT { PAT } else { "GH_TOKEN" }))
            }
        }
    }

    fn app(&mut self, id: String) -> Option<Credentials> {
        if !id.chars().all(|c| c.is_ascii_alphanumeric() || c == '.') {
            self.problem(APP, format!("is `{}`; the App's number, or its client ID, belongs there", shown(&id)));
        }
        let installation = match self.number(INSTALLATION, 0..=u64::MAX, 0) {
            0 => None,
            number => Some(number),
        };
        if let Some(key) = self.secret(KEY) {
            let key = key.expose();
            if key.starts_with('{') {
                self.problem(KEY, "is a JSON object where the plain key belongs: store the secret as a plain string");
            } else if !key.starts_with("-----BEGIN ") || !key.contains("PRIVATE KEY-----") {
                self.problem(KEY, "is no private key in PEM, which begins with `-----BEGIN`");
            } else if !key.contains("-----END ") {
                self.problem(KEY, "is cut short: the line `-----END …` is missing");
            } else if key.contains("ENCRYPTED") {
                self.problem(KEY, "is encrypted: GitHub's Apps have keys without a passphrase");
            }
        }
        Some(Credentials::App { id, installation })
    }

    fn runner_name(&mut self) -> Option<String> {
        let name = self.plain("GITHUB_RUNNER_NAME")?;
        let length = name.chars().count();
        if length > LONGEST_NAME {
            self.problem("GITHUB_RUNNER_NAME", format!("has {length} characters; GitHub accepts {LONGEST_NAME}"));
        }
        Some(name)
    }

    fn labels(&mut self) -> Vec<String> {
        const NAME: &str = "GITHUB_RUNNER_LABELS";
        let text = self.plain(NAME).unwrap_or_default();
        let mut labels: Vec<String> = Vec::new();
        for label in text.split(',').map(str::trim).filter(|label| !label.is_empty()) {
            // GitHub does not tell `Linux` from `linux`.
            if !labels.iter().any(|other| other.eq_ignore_ascii_case(label)) {
                labels.push(label.to_owned());
            }
        }
        if let Some(long) = labels.iter().map(|label| label.chars().count()).find(|length| *length > LONGEST_LABEL) {
            self.problem(NAME, format!("holds a label of {long} characters; GitHub accepts {LONGEST_LABEL}"));
        }
        if labels.len() > MOST_LABELS {
            self.problem(NAME, format!("holds {} labels; GitHub accepts {MOST_LABELS}", labels.len()));
        }
        if labels.is_empty() { ["self-hosted", "linux"].map(str::to_owned).to_vec() } else { labels }
    }

    /// Text that goes into arguments and messages as it is.
    fn plain(&mut self, name: &str) -> Option<String> {
        let text = self.word(name)?;
        if text.contains(char::is_control) {
            self.problem(name, "holds a control character");
        } else if text.starts_with('-') {
            self.problem(name, "begins with `-`, as options do");
        }
        Some(text)
    }

    fn work_folder(&mut self) -> Option<PathBuf> {
        const NAME: &str = "GITHUB_RUNNER_WORKDIR";
        let text = self.plain(NAME)?;
        let path = Path::new(&text);
        let normal = |part: Component<'_>| matches!(part, Component::Normal(_) | Component::RootDir);
        if !path.components().all(normal) || path.file_name().is_none() || text.starts_with(['~', '$']) {
            let rule = "an absolute folder, or one within the runner's, without `..` and `~`, belongs there";
            self.problem(NAME, format!("is `{}`; {rule}", shown(&text)));
        }
        Some(text.into())
    }

    fn runner_user(&mut self) -> String {
        const NAME: &str = "GITHUB_RUNNER_USER";
        let Some(user) = self.word(NAME) else { return "runner".to_owned() };
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !user.chars().all(good) || user.starts_with('-') {
            self.problem(NAME, format!("is `{}`, which is no user's name", shown(&user)));
        } else if user == "root" || user == "0" {
            self.problem(NAME, "is `root`, which the runner itself refuses: its jobs would own the container");
        } else if user == crate::account::WORKSPACE_USER {
            self.note(format!("{NAME} is the workspace's user: jobs can read and change everything of the workspace"));
        }
        user
    }
}
