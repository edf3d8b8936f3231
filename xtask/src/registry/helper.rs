//! docker's credential helpers: `docker-credential-NAME get`, the registry on standard input, JSON on standard output.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::credentials::{Credential, CredentialError};
use crate::oci::EcrRegistry;
use crate::secret::{OF_AWS, OF_AZURE, OF_DOCKER, OF_GITHUB, Secret};

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

/// The variables that a helper is not given: secrets of other registries than the one that it is asked for. A helper is any
/// program, so that it keeps the rest: `HOME`, `PATH`, key rings, proxies, …
fn withheld(name: &str, key: &str) -> Vec<&'static str> {
    let host = key.trim_start_matches("https://").split('/').next().unwrap_or_default();
    let of_aws = EcrRegistry::at(host).is_some() || host == "public.ecr.aws" || name.contains("ecr");
    let of_azure = [".azurecr.io", ".azurecr.us", ".azurecr.cn"].iter().any(|end| host.ends_with(end)) || name.contains("acr");
    let of_github = host == "ghcr.io" || host.ends_with(".github.com") || name.contains("gh");
    let mut names = OF_DOCKER.to_vec();
    if !of_aws {
        names.extend(OF_AWS);
    }
    if !of_azure {
        names.extend(OF_AZURE);
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
        let of = |name: &str, key: &str| {
            let withheld = withheld(name, key);
            let sees = |variable| !withheld.contains(&variable);
            assert!(!sees("DOCKER_AUTH_CONFIG") && sees("AWS_PROFILE") && sees("HOME"));
            [("AWS_SECRET_ACCESS_KEY", "aws"), ("AZURE_CLIENT_SECRET", "azure"), ("GITHUB_TOKEN", "github")]
                .into_iter()
                .filter_map(|(variable, whose)| sees(variable).then_some(whose))
                .collect::<Vec<_>>()
                .join(" ")
        };
        for (name, key, sees) in [
            ("pass", "reg.example:5000", ""),
            ("pass", "https://index.docker.io/v1/", ""),
            ("ecr-login", "271851283454.dkr.ecr.us-west-2.amazonaws.com", "aws"),
            ("pass", "271851283454.dkr.ecr.us-west-2.amazonaws.com", "aws"),
            ("acr-env", "team.azurecr.io", "azure"),
            ("pass", "team.azurecr.io", "azure"),
            ("ghcr-login", "ghcr.io", "github"),
            ("pass", "ghcr.io", "github"),
        ] {
            assert_eq!(of(name, key), sees, "{name} {key}");
        }
    }
}
