//! GitHub's own client: whoever is logged in there has a token.

use std::process::Stdio;
use std::time::Duration;

use tokio::process::Command;

use crate::secret::{OF_AWS, OF_AZURE, OF_DOCKER, Secret};

/// It reads a file, or unlocks a key ring; longer than this it hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// The token of `gh`, found on `path` (this process's PATH if none). None where there is no `gh`, nobody is logged in, or
/// it does not answer: it is the last that is asked, and most machines have none.
pub(super) async fn token(path: Option<&str>) -> Option<Secret> {
    let mut command = Command::new("gh");
    if let Some(path) = path {
        command.env("PATH", path);
    }
    for variable in OF_AWS.iter().chain(&OF_AZURE).chain(&OF_DOCKER) {
        command.env_remove(variable);
    }
    command.args(["auth", "token", "--hostname", "github.com"]).env("GH_PROMPT_DISABLED", "1");
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).kill_on_drop(true).spawn().ok()?;
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output()).await.ok()?.ok()?;
    let token = String::from_utf8(output.stdout).ok()?;
    let token = token.trim();
    // One word: whatever else it says is no token.
    (output.status.success() && !token.is_empty() && !token.contains(char::is_whitespace)).then(|| Secret::new(token))
}
