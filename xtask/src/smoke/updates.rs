//! Packages of an image that Debian has newer by now.

use std::time::Duration;

use super::enter;
use super::room::Room;
use crate::engine::{Command, CommandOutput, ContainerRequest, EngineError};
use crate::family::Name;

/// How long the package repositories may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(180);
/// A line of shell, for root.
pub(super) const SCRIPT: &str = "apt-get update -qq --error-on=any 2>&1 || exit 100; apt-get -qq -s upgrade";

/// A package that Debian has newer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Update {
    /// Whether it is not for security: those that are come first.
    pub other: bool,
    /// The package.
    pub name: String,
    /// What is installed; none: nothing of it.
    pub before: Option<String>,
    /// What there is.
    pub after: String,
}

/// What an answer to [`SCRIPT`] tells, those for security first.
///
/// # Errors
/// Why the repositories cannot be asked.
pub(super) fn told(output: &CommandOutput) -> Result<Vec<Update>, String> {
    if !output.success() {
        let reason = output.text();
        return Err(reason.lines().find(|line| line.starts_with("E:")).unwrap_or(&reason).to_owned());
    }
    // Inst openssl [3.5.1-1] (3.5.1-1+deb13u1 Debian-Security:13/stable-security [amd64])
    let update = |line: &str| {
        let (name, rest) = line.strip_prefix("Inst ")?.split_once(' ')?;
        let (before, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once("] ")) {
            Some((before, rest)) => (Some(before.to_owned()), rest),
            None => (None, rest),
        };
        let after = rest.strip_prefix('(').unwrap_or(rest).split_whitespace().next().unwrap_or_default().to_owned();
        Some(Update { other: !rest.to_ascii_lowercase().contains("security"), name: name.to_owned(), before, after })
    };
    let mut updates: Vec<Update> = output.stdout.lines().filter_map(update).collect();
    updates.sort();
    Ok(updates)
}

/// Asks in a container of `image` that does nothing else; the room has to be open, and clears it away.
///
/// # Errors
/// The engine starts no container, or ends it. Within: why the repositories cannot be asked.
pub async fn updates(room: &Room, variant: &Name, image: &str) -> Result<Result<Vec<Update>, String>, EngineError> {
    let request = ContainerRequest {
        entrypoint: Some(vec!["sleep".to_owned()]),
        command: vec!["infinity".to_owned()],
        user: Some("0".to_owned()),
        ..room.container(image, variant, "updates")
    };
    let name = request.name.clone();
    room.run(request).await?;
    let words = ["bash", "-lc", SCRIPT].map(str::to_owned).to_vec();
    let command = Command { words, user: Some("root".to_owned()), ..Command::default() };
    let output = enter::within(PATIENCE, room.engine().exec(&name, command)).await;
    room.done(&name).await;
    Ok(told(&output))
}
