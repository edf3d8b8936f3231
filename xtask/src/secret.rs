//! Secrets have a type of their own; and the names of variables that hold them, which children do not get that need none.

use std::fmt;

/// A password or a token. Neither printed nor serialised; [`Secret::expose`] is the only way to its text.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text in.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one request (or process) that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Passwords of registries.
pub(crate) const OF_DOCKER: [&str; 1] = ["DOCKER_AUTH_CONFIG"];
/// Secrets of AWS; what else is set for it (profile, region, files) is no secret.
pub(crate) const OF_AWS: [&str; 3] = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"];
/// Secrets of Azure, as its SDKs and Terraform read them.
pub(crate) const OF_AZURE: [&str; 8] = [
    "AZURE_CLIENT_SECRET",
    "AZURE_CLIENT_CERTIFICATE_PASSWORD",
    "AZURE_PASSWORD",
    "ARM_CLIENT_SECRET",
    "ARM_CLIENT_CERTIFICATE_PASSWORD",
    "ARM_ACCESS_KEY",
    "ARM_OIDC_TOKEN",
    "ARM_OIDC_REQUEST_TOKEN",
];
/// Tokens of GitHub, and what its jobs get more of them with.
pub(crate) const OF_GITHUB: [&str; 6] = [
    "GITHUB_TOKEN",
    "GH_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "ACTIONS_ID_TOKEN_REQUEST_TOKEN",
    "ACTIONS_RUNTIME_TOKEN",
];

/// Takes them from the environment of a program that asks no registry of images, nothing of a cloud, and nothing of GitHub.
pub(crate) fn withhold(command: &mut tokio::process::Command) {
    for name in OF_DOCKER.iter().chain(&OF_AWS).chain(&OF_AZURE).chain(&OF_GITHUB) {
        command.env_remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_does_not_print() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(…)");
    }

    #[test]
    fn what_a_child_does_not_get() {
        let mut command = tokio::process::Command::new("true");
        withhold(&mut command);
        let gone: Vec<_> = command.as_std().get_envs().filter_map(|(name, value)| value.is_none().then_some(name)).collect();
        for (name, withheld) in [
            ("DOCKER_AUTH_CONFIG", true),
            ("AWS_SECRET_ACCESS_KEY", true),
            ("AZURE_CLIENT_SECRET", true),
            ("ARM_CLIENT_SECRET", true),
            ("GITHUB_TOKEN", true),
            ("GH_ENTERPRISE_TOKEN", true),
            ("GITHUB_ENTERPRISE_TOKEN", true),
            ("AWS_PROFILE", false),
            ("HTTPS_PROXY", false),
        ] {
            assert_eq!(gone.iter().any(|gone| *gone == name), withheld, "{name}");
        }
    }
}
