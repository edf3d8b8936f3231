//! docker's credential helpers: `docker-credential-NAME get`, the registry on standard input, JSON on standard output.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::credentials::{Credential, CredentialError};
use crate::oci::EcrRegistry;
use crate::secret::Secret;

/// A helper may have to unlock a key ring or to ask a cloud; longer than this it hangs.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    username: String,
    #[serde(default)]
    secret: String,
}

/// Asks the helper `name`, found on `path` (this process's PATH if none), for `key`; none where it knows nothing.
///
/// # Errors
/// The helper is missing, fails, hangs or answers something else.
pub(super) async fn get(name: &str, key: &str, path: Option<&str>) -> Result<Option<Credential>, CredentialError> {
    let program = format!("docker-credential-{name}");
    let failed = |why: String| CredentialError::Helper { program: program.clone(), host: key.to_owned(), why };
    if !name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.')) {
        return Err(failed("this is not a helper's name".to_owned()));
    }
    let mut command = Command::new(&program);
    if let Some(path) = path {
        command.env("PATH", path);
    }
    for variable in withheld(name, key) {
        command.env_remove(variable);
    }
    let mut child = command
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| failed(format!("it cannot be started: {error}")))?;
    let asking = async {
        if let Some(mut input) = child.stdin.take() {
            // A helper that does not read its input tells so by its answer.
            let _ = input.write_all(format!("{key}\n").as_bytes()).await;
        }
        child.wait_with_output().await
    };
    let output = tokio::time::timeout(PATIENCE, asking)
        .await
        .map_err(|_| failed(format!("no answer within {} s", PATIENCE.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        // Helpers complain on standard output. It is not passed on, because it may be anything, a secret included.
        return match String::from_utf8_lossy(&output.stdout).contains("credentials not found") {
            true => Ok(None),
            false => Err(failed(format!("{}; `{program} get` says more", output.status))),
        };
    }
    let answer: Answer =
        serde_json::from_slice(&output.stdout).map_err(|_| failed("its answer is not what a helper answers".to_owned()))?;
    match answer {
        Answer { secret, .. } if secret.is_empty() => Ok(None),
        Answer { username, secret } if username == "<token>" => Ok(Some(Credential::Refresh(Secret::new(secret)))),
        Answer { username, secret } => Ok(Some(Credential::Basic { username, password: Secret::new(secret) })),
    }
}

/// Passwords of other registries.
pub(super) const OF_DOCKER: [&str; 1] = ["DOCKER_AUTH_CONFIG"];
/// Secrets of AWS; what else is set for it (profile, region, files) is no secret.
pub(super) const OF_AWS: [&str; 3] = ["AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_CONTAINER_AUTHORIZATION_TOKEN"];
/// Tokens of GitHub, and what its jobs get more of them with.
const OF_GITHUB: [&str; 4] = ["GITHUB_TOKEN", "GH_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "ACTIONS_RUNTIME_TOKEN"];

/// The variables that a program is not given which asks no registry of images, and nothing of a cloud.
pub(crate) fn secret_variables() -> impl Iterator<Item = &'static str> {
    OF_DOCKER.into_iter().chain(OF_AWS).chain(OF_GITHUB)
}

/// The variables that a helper is not given: secrets of other registries than the one that it is asked for. A helper is any
/// program, so that it keeps the rest: `HOME`, `PATH`, key rings, proxies, …
fn withheld(name: &str, key: &str) -> Vec<&'static str> {
    let host = key.trim_start_matches("https://").split('/').next().unwrap_or_default();
    let of_aws = EcrRegistry::at(host).is_some() || host == "public.ecr.aws" || name.contains("ecr");
    let of_github = host == "ghcr.io" || host.ends_with(".github.com") || name.contains("gh");
    let mut names = OF_DOCKER.to_vec();
    if !of_aws {
        names.extend(OF_AWS);
    }
    if !of_github {
        names.extend(OF_GITHUB);
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_sees_no_secrets_of_other_registries() {
        for (name, key, aws, github) in [
            ("pass", "reg.example:5000", false, false),
            ("pass", "https://index.docker.io/v1/", false, false),
            ("ecr-login", "271851283454.dkr.ecr.us-west-2.amazonaws.com", true, false),
            ("pass", "271851283454.dkr.ecr.us-west-2.amazonaws.com", true, false),
            ("ghcr-login", "ghcr.io", false, true),
            ("pass", "ghcr.io", false, true),
        ] {
            let withheld = withheld(name, key);
            let sees = |variable| !withheld.contains(&variable);
            assert!(!sees("DOCKER_AUTH_CONFIG") && sees("AWS_PROFILE") && sees("HOME"));
            assert_eq!((sees("AWS_SECRET_ACCESS_KEY"), sees("GITHUB_TOKEN")), (aws, github), "{name} {key}");
        }
    }
}
