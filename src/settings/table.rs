//! The variables that this version knows: for `--help`, the README, and to know what is a secret.

/// What a variable belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Group {
    Ssh,
    Web,
    Tunnel,
    Coder,
    Repository,
    Runner,
    Workspace,
    Network,
    Operation,
    /// Secrets of other programs.
    Foreign,
}

impl Group {
    pub(crate) const ALL: [Self; 10] = [
        Self::Ssh,
        Self::Web,
        Self::Tunnel,
        Self::Coder,
        Self::Repository,
        Self::Runner,
        Self::Workspace,
        Self::Network,
        Self::Operation,
        Self::Foreign,
    ];

    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Ssh => "SSH",
            Self::Web => "VS Code in the browser",
            Self::Tunnel => "VS Code tunnel",
            Self::Coder => "Coder",
            Self::Repository => "Repository",
            Self::Runner => "GitHub runner",
            Self::Workspace => "Workspace",
            Self::Network => "Network",
            Self::Operation => "Operation",
            Self::Foreign => "Secrets of other programs",
        }
    }
}

/// A variable.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Variable {
    pub(crate) group: Group,
    pub(crate) name: &'static str,
    /// Whether its value is a secret, which can also come as `<name>_FILE`.
    pub(crate) secret: bool,
    /// What holds when it is unset; empty: nothing.
    pub(crate) default: &'static str,
    pub(crate) meaning: &'static str,
}

const fn plain(group: Group, name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { group, name, secret: false, default, meaning }
}

const fn secret(group: Group, name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { group, name, secret: true, default, meaning }
}

use Group::{Coder, Foreign, Network, Operation, Repository, Runner, Ssh, Tunnel, Web, Workspace};

/// Every variable that has an effect, in the order of `--help`.
pub(crate) const VARIABLES: &[Variable] = &[
    plain(Ssh, "AUTHORIZED_KEYS", "", "public keys, one a line (newline or a literal `\\n`); starts sshd"),
    plain(Ssh, "SSH_PORT", "22", "its port; 2222 for an ordinary user"),
    plain(Web, "VSCODE_WEB", "", "any value starts VS Code in the browser"),
    plain(Web, "VSCODE_WEB_PORT", "8080", "its port"),
    plain(Web, "VSCODE_WEB_AUTH", "token", "`none`: whoever reaches the port has a shell (the default behind Coder)"),
    secret(Web, "VSCODE_WEB_TOKEN", "generated", "the token (code-server: password), 8 or more of letters, digits, `_`, `-`"),
    plain(Tunnel, "TUNNEL_NAME", "ansible_container", "its name: up to 20 letters, digits, `_`, `-`"),
    secret(Coder, "CODER_AGENT_TOKEN", "", "starts the Coder agent instead of sshd and the tunnel"),
    plain(Coder, "CODER_AGENT_URL", "", "the Coder server; needed with the token"),
    plain(Coder, "CODER_AGENT_ALLOW_HTTP", "off", "`on`: it may be `http://` beyond loopback"),
    plain(Repository, "ANSIBLE_REPO_URL", "", "cloned at the first start; `/tree/BRANCH` at its end names a branch"),
    plain(Repository, "ANSIBLE_REPO_BRANCH", "", "another branch than the default one"),
    plain(Repository, "ANSIBLE_REPO_DEPTH", "", "only so many commits"),
    plain(Repository, "ANSIBLE_REPO_DIR", "~/<repository>", "where to: in the home, or absolute"),
    plain(Repository, "ANSIBLE_REPO_PRE_CLONE", "", "a script to run before"),
    plain(Repository, "ANSIBLE_REPO_POST_CLONE", "", "a script to run afterwards, in the clone"),
    secret(Repository, "GITHUB_TOKEN", "", "for a private repository: `repo`, or Contents → Read"),
    plain(Runner, "GITHUB_RUNNER_URL", "", "repository, organisation or enterprise; with one of the next three: starts a runner"),
    secret(Runner, "GITHUB_RUNNER_PAT", "", "a PAT: `repo`, `admin:org`; or Administration, Self-hosted runners → Write"),
    secret(Runner, "GITHUB_APP_PRIVATE_KEY", "", "the key (PEM) of a GitHub App"),
    secret(Runner, "GITHUB_RUNNER_TOKEN", "", "a registration token, good for an hour"),
    plain(Runner, "GITHUB_APP_ID", "", "the App's number or client ID"),
    plain(Runner, "GITHUB_APP_INSTALLATION_ID", "looked up", "its installation"),
    plain(Runner, "GITHUB_RUNNER_NAME", "ECS task ID or hostname", "up to 64 characters"),
    plain(Runner, "GITHUB_RUNNER_LABELS", "self-hosted,linux", "separated by commas"),
    plain(Runner, "GITHUB_RUNNER_GROUP", "GitHub's default", "the runner group, of an organisation or enterprise"),
    plain(Runner, "GITHUB_RUNNER_EPHEMERAL", "off", "`on`: a new runner for every job"),
    plain(Runner, "GITHUB_RUNNER_AUTOSTART", "on", "`off`: only `entrypoint start runner` starts it"),
    plain(Runner, "GITHUB_RUNNER_WORKDIR", "_work", "where jobs work; within the runner's folder unless absolute"),
    plain(Runner, "GITHUB_RUNNER_USER", "runner", "whom jobs run as"),
    plain(
        Runner,
        "GITHUB_RUNNER_ALLOW_PUBLIC",
        "off",
        "`on`: the repository may be public, where anybody's pull request is a job",
    ),
    plain(Runner, "GITHUB_RUNNER_API_URL", "by the URL", "another place of the REST API"),
    plain(Runner, "RUNNER_DEBUG", "", "any value: its output goes to the container's log instead of `~/runner.log`"),
    plain(Runner, "GH_OWNER", "", "with GH_REPOSITORY and GH_TOKEN: as GITHUB_RUNNER_URL, for codespaces"),
    plain(Runner, "GH_REPOSITORY", "", "the repository's name"),
    secret(Runner, "GH_TOKEN", "", "as GITHUB_RUNNER_PAT; without the other two it means nothing"),
    plain(Workspace, "PERSIST_DIR", "", "a volume's folder for keys, history, settings of VS Code and Claude, host keys"),
    plain(Workspace, "WORKSPACE_SUDO", "on", "`off`: the workspace's user may not become root"),
    plain(Network, "HTTPS_PROXY", "", "proxy for `https://`, in either case; for everything that fetches, sessions and jobs"),
    plain(Network, "HTTP_PROXY", "", "proxy for `http://`"),
    plain(Network, "NO_PROXY", "", "hosts that are asked directly"),
    plain(Network, "EXTRA_CA_FILE", "", "certificates (PEM) to trust beside the image's"),
    plain(
        Operation,
        "STOP_GRACE_SECONDS",
        "8",
        "from a stop to the last SIGKILL (ECS, Kubernetes: 25); more needs `--stop-timeout`",
    ),
    plain(Operation, "LOG_FORMAT", "text", "`text` or `json`"),
    plain(Operation, "STRICT", "off", "`on`: wrong settings of runner or repository stop the start, too"),
    secret(Foreign, "CODER_SELF_TOKEN", "", "kept from everything"),
    secret(Foreign, "CLAUDE_POOL_SECRET", "", "kept from everything"),
    secret(Foreign, "GIT_BOT_TOKEN", "", "kept from everything"),
];

/// The variable called `name`.
pub(super) fn find(name: &str) -> Option<&'static Variable> {
    let lower_proxy = name.ends_with("_proxy").then(|| name.to_ascii_uppercase());
    let name = lower_proxy.as_deref().unwrap_or(name);
    VARIABLES.iter().find(|variable| variable.name == name)
}

/// Whether `name` is that of a secret: those leave the environment before anything runs.
pub(crate) fn is_secret(name: &str) -> bool {
    find(name).is_some_and(|variable| variable.secret)
}

#[cfg(test)]
mod tests {
    use super::{Group, VARIABLES};

    #[test]
    fn every_variable_is_read() {
        let readers = [
            include_str!("mod.rs"),
            include_str!("access.rs"),
            include_str!("repository.rs"),
            include_str!("runner.rs"),
            include_str!("environment.rs"),
        ];
        for variable in VARIABLES.iter().filter(|variable| variable.group != Group::Foreign) {
            let literal = format!("\"{}\"", variable.name);
            assert!(readers.iter().any(|reader| reader.contains(&literal)), "{}", variable.name);
        }
    }

    #[test]
    fn a_variable_stands_there_once_and_with_its_group() {
        for (at, variable) in VARIABLES.iter().enumerate() {
            assert!(VARIABLES[..at].iter().all(|before| before.name != variable.name), "{}", variable.name);
            let group = |variable: &super::Variable| Group::ALL.iter().position(|group| *group == variable.group);
            assert!(at == 0 || group(&VARIABLES[at - 1]) <= group(variable), "{}", variable.name);
        }
    }
}
