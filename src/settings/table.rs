//! The variables that this version knows.

/// A variable, for `--help`.
#[derive(Debug)]
pub(crate) struct Variable {
    pub(crate) name: &'static str,
    /// What holds when it is unset; empty: nothing.
    pub(crate) default: &'static str,
    pub(crate) meaning: &'static str,
}

const fn variable(name: &'static str, default: &'static str, meaning: &'static str) -> Variable {
    Variable { name, default, meaning }
}

/// Every variable that has an effect, in the order of `--help`.
pub(crate) const VARIABLES: &[Variable] = &[
    variable("AUTHORIZED_KEYS", "", "SSH public keys, one a line (newline or a literal \\n); when set, starts sshd"),
    variable("SSH_PORT", "22", "port of sshd"),
    variable("VSCODE_WEB", "", "any value starts VS Code in the browser"),
    variable("VSCODE_WEB_PORT", "8080", "port of the web server"),
    variable("VSCODE_WEB_AUTH", "token", "`token`: only with the token; `none`: whoever reaches the port has a shell"),
    variable("VSCODE_WEB_TOKEN", "generated", "the token (for code-server: the password); letters, digits, `_`, `-`"),
    variable("VSCODE_WEB_TOKEN_FILE", "", "a file that holds the token"),
    variable("STOP_GRACE_SECONDS", "25", "from a stop to the last SIGKILL; give the container engine a little more"),
    variable("LOG_FORMAT", "text", "`text` or `json`"),
];

/// Variables whose values are secrets, known to this version or not: they leave the environment before anything runs.
pub(super) const SECRETS: &[&str] = &[
    "CLAUDE_POOL_SECRET",
    "CODER_AGENT_TOKEN",
    "CODER_SELF_TOKEN",
    "GH_TOKEN",
    "GITHUB_APP_PRIVATE_KEY",
    "GITHUB_RUNNER_PAT",
    "GITHUB_RUNNER_TOKEN",
    "GITHUB_TOKEN",
    "GIT_BOT_TOKEN",
    "VSCODE_WEB_TOKEN",
];
