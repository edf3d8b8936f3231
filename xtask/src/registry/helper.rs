//! docker's credential helpers: `docker-credential-NAME get`, the registry on standard input, JSON on standard output.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use super::credentials::{Credential, CredentialError};
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
        Answer { username, .. } if username == "<token>" => {
            Err(CredentialError::IdentityToken { origin: format!("`{program}`"), host: key.to_owned() })
        }
        Answer { secret, .. } if secret.is_empty() => Ok(None),
        Answer { username, secret } => Ok(Some(Credential::Basic { username, password: Secret::new(secret) })),
    }
}
