//! What the settings say, as types. How they are read from the environment stands beside it.

use super::keys::AuthorizedKey;
use super::secret::Secret;
use crate::access::Access;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

/// Variables of a process.
pub(crate) type Environment = Vec<(OsString, OsString)>;

/// What the container was asked to be.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The services that give access, by the decision table.
    pub(crate) access: Vec<Access>,
    pub(crate) ssh: Ssh,
    pub(crate) web: Web,
    pub(crate) tunnel: Tunnel,
    /// With `CODER_AGENT_TOKEN`.
    pub(crate) coder: Option<Coder>,
    /// With `ANSIBLE_REPO_URL`.
    pub(crate) repository: Option<Repository>,
    /// With `GITHUB_RUNNER_URL` and something to register with.
    pub(crate) runner: Option<Runner>,
    /// `PERSIST_DIR`
    pub(crate) persist: Option<PathBuf>,
    /// `WORKSPACE_SUDO`: whether the workspace's user may become root.
    pub(crate) sudo: bool,
    /// `EXTRA_CA_FILE`: certificates to trust beside the image's.
    pub(crate) extra_ca: Option<PathBuf>,
    /// `STOP_GRACE_SECONDS`: from a stop to the last SIGKILL.
    pub(crate) grace: Duration,
    /// What sessions and editors see of the container's environment: everything but secrets and Gantry's own.
    pub(crate) session: Environment,
    /// What jobs of the runner see of it: an allow-list.
    pub(crate) job: Environment,
    /// What a program that only fetches something sees of it: proxies, certificates, locale.
    pub(crate) fetch: Environment,
    /// `HOME`, for a user whom `/etc/passwd` does not know.
    pub(crate) home: Option<PathBuf>,
    /// What is no problem but should be known.
    pub(crate) notes: Vec<String>,
    /// `STRICT`: what would stay away is a problem of the whole.
    pub(crate) strict: bool,
    /// Services beside the access that were asked for and cannot run as they are set up, with every problem.
    pub(crate) disabled: Vec<Disabled>,
}

/// A service that stays away because its settings are wrong.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Disabled {
    pub(crate) service: &'static str,
    pub(crate) problems: Vec<String>,
}

/// Settings of sshd; without keys when it is not selected.
#[derive(Debug)]
pub(crate) struct Ssh {
    pub(crate) keys: Vec<AuthorizedKey>,
    pub(crate) port: u16,
}

/// Settings of the web server.
#[derive(Debug)]
pub(crate) struct Web {
    pub(crate) port: u16,
    pub(crate) auth: WebAuth,
}

/// Who may use the web server.
#[derive(Debug)]
pub(crate) enum WebAuth {
    /// Whoever reaches the port.
    Nobody,
    /// Whoever knows a token that is generated at the start.
    Generated,
    /// Whoever knows this token.
    Token(Secret),
}

/// Settings of the VS Code tunnel.
#[derive(Debug)]
pub(crate) struct Tunnel {
    /// `TUNNEL_NAME`: at most 20 of letters, digits, `_` and `-`.
    pub(crate) name: String,
}

/// Settings of the Coder agent. Its token is the secret `CODER_AGENT_TOKEN`.
#[derive(Debug)]
pub(crate) struct Coder {
    /// `CODER_AGENT_URL` without a trailing `/`; https, or http to loopback or where allowed.
    pub(crate) url: String,
}

/// Settings of the clone. Its token is the secret `GITHUB_TOKEN`.
#[derive(Debug)]
pub(crate) struct Repository {
    /// `ANSIBLE_REPO_URL`, without `/tree/BRANCH` and without credentials.
    pub(crate) url: String,
    /// `ANSIBLE_REPO_BRANCH`, or that of `/tree/BRANCH`.
    pub(crate) branch: Option<String>,
    /// `ANSIBLE_REPO_DEPTH`; none: everything.
    pub(crate) depth: Option<u32>,
    /// `ANSIBLE_REPO_DIR`, absolute, or relative to the home; the repository's name unless given.
    pub(crate) folder: PathBuf,
    /// Whether there is a `GITHUB_TOKEN` and it may be sent there: by https, or within the machine.
    pub(crate) authenticate: bool,
    /// `ANSIBLE_REPO_PRE_CLONE`: a script.
    pub(crate) before: Option<String>,
    /// `ANSIBLE_REPO_POST_CLONE`: a script.
    pub(crate) after: Option<String>,
}

/// Settings of the GitHub runner.
#[derive(Debug)]
pub(crate) struct Runner {
    pub(crate) target: RunnerTarget,
    pub(crate) credentials: Credentials,
    /// `GITHUB_RUNNER_NAME`; none: the ECS task's id, else the hostname.
    pub(crate) name: Option<String>,
    /// `GITHUB_RUNNER_LABELS`
    pub(crate) labels: Vec<String>,
    /// `GITHUB_RUNNER_GROUP`
    pub(crate) group: Option<String>,
    /// `GITHUB_RUNNER_EPHEMERAL`: a just-in-time configuration for each job.
    pub(crate) ephemeral: bool,
    /// `GITHUB_RUNNER_WORKDIR`; none: `_work` in the runner's folder.
    pub(crate) work_folder: Option<PathBuf>,
    /// `GITHUB_RUNNER_USER`: whom jobs run as.
    pub(crate) user: String,
    /// `GITHUB_RUNNER_ALLOW_PUBLIC`
    pub(crate) allow_public: bool,
    /// `RUNNER_DEBUG`: its output goes to the container's log instead of `~/runner.log`.
    pub(crate) debug: bool,
    /// `GITHUB_RUNNER_AUTOSTART`: whether it starts with the container, or by `entrypoint start runner`.
    pub(crate) autostart: bool,
}

/// What runners are registered at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunnerTarget {
    /// The address as `config.sh --url` takes it.
    pub(crate) url: String,
    /// Where the REST API is, without a trailing `/`: `https://api.github.com`, or `GITHUB_RUNNER_API_URL`.
    pub(crate) api: String,
    pub(crate) scope: Scope,
}

/// Whose runners they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Scope {
    Repository { owner: String, name: String },
    Organization(String),
    Enterprise(String),
}

/// What a runner is registered with: the names of secrets, which are read at each use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Credentials {
    /// A personal access token, in `GITHUB_RUNNER_PAT` or, in a codespace, `GH_TOKEN`.
    Pat(&'static str),
    /// A GitHub App, whose key is `GITHUB_APP_PRIVATE_KEY`; the installation is looked up unless given.
    App { id: String, installation: Option<u64> },
    /// The registration token `GITHUB_RUNNER_TOKEN`, good for an hour.
    RegistrationToken,
}
