//! From the modules' errors to what a person is told: the exit code and the hint.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use time::OffsetDateTime;

use crate::artifact::ArtifactError;
use crate::build::StepError;
use crate::context::ContextError;
use crate::engine::{DEFAULT_SOCKET, EngineError};
use crate::failure::{Exit, Failure};
use crate::family::BuildDate;
use crate::plan::StepId;
use crate::registry::{CredentialError, RegistryError};
use crate::upstream::UpstreamError;

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let message = error.to_string();
        match error {
            EngineError::InvalidEndpoint { .. } => Self::new(Exit::Usage, message)
                .hint("unset DOCKER_HOST for the engine of this machine, or see `docker context ls`"),
            EngineError::Unreachable { endpoint, .. } if endpoint != DEFAULT_SOCKET => Self::new(Exit::Missing, message)
                .hint("DOCKER_HOST or a docker context (`docker context ls`) names it: start it, or unset that for the engine of this machine"),
            EngineError::Unreachable { .. } => {
                Self::new(Exit::Missing, message).hint("cargo xtask setup    installs and starts an engine on this machine")
            }
            EngineError::PermissionDenied { .. } => Self::new(Exit::Missing, message)
                .hint("sudo usermod -aG docker \"$USER\"    then log in again; members of this group are root on this machine"),
            EngineError::TooOld { .. } => {
                Self::new(Exit::Missing, message).hint("update docker.io, or name another engine with DOCKER_HOST")
            }
            EngineError::NoBuildKit { .. } => {
                Self::new(Exit::Missing, message).hint("Docker Engine 20.10 or later for Linux containers has it")
            }
            EngineError::BuildFailed { log_tail, .. } => {
                let failure = Self::new(Exit::Build, message).detail(log_tail.join("\n"));
                match is_damaged(&log_tail) {
                    true => failure.hint("docker builder prune --all    the engine's build cache names a layer that is gone"),
                    false => failure,
                }
            }
            EngineError::NoSpace { .. } => Self::new(Exit::Missing, message)
                .hint("docker system df             what takes the room\ncargo xtask clean --cache    removes Gantry's downloads and layers"),
            EngineError::MissingImage { .. } => Self::new(Exit::Missing, message)
                .hint("if it is a private image: `docker login` to its registry; offline: --profile offline"),
            EngineError::Cancelled => Self::new(Exit::Interrupted, message),
            EngineError::Refused { .. } | EngineError::Protocol { .. } => Self::new(Exit::Unexpected, message),
        }
    }
}

/// Whether BuildKit has lost a layer that it counts on: every build that stands on it fails. (Seen of Docker 20.10, after a
/// `docker builder prune` of a part.)
fn is_damaged(log: &[String]) -> bool {
    log.iter().any(|line| line.contains("failed to prepare ") && line.contains("no such file or directory"))
}

impl From<ArtifactError> for Failure {
    fn from(error: ArtifactError) -> Self {
        let (exit, hint) = match &error {
            ArtifactError::Mismatch { html: true, .. } => {
                (Exit::Refused, Some("a proxy answers in its place: try the URL in a browser, or name a mirror in `[mirrors]`"))
            }
            ArtifactError::Mismatch { .. } => (
                Exit::Refused,
                Some(
                    "nothing was kept. If the upstream replaced the file: find out why, then remove its entry from variants.lock",
                ),
            ),
            ArtifactError::DiskFull { .. } => (Exit::Missing, Some("cargo xtask clean --cache, or another GANTRY_CACHE_DIR")),
            ArtifactError::Folder { .. } => (Exit::Missing, Some("remove it, or name another folder with GANTRY_CACHE_DIR")),
            ArtifactError::Damaged { .. } => (Exit::Missing, Some("it was removed: run the same command again")),
            _ => (Exit::Missing, Some("name a mirror in `[mirrors]` of variants.toml, or build with `--profile offline`")),
        };
        with_hint(Self::new(exit, error.to_string()), hint.map(str::to_owned))
    }
}

impl From<ContextError> for Failure {
    fn from(error: ContextError) -> Self {
        Self::new(Exit::Usage, error.to_string()).source(error)
    }
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        RegistryError::Credential(error).into()
    }
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        let hint = error.hint();
        with_hint(Self::new(Exit::Missing, error.to_string()).source(error), hint)
    }
}

/// A registry that does not say what the tag of a base image points to. Nothing is uploaded there, of which its hint could speak.
pub(super) fn base_unknown(error: RegistryError) -> Failure {
    let hint = match &error {
        RegistryError::Credential(_) => error.hint(),
        RegistryError::Denied { registry, .. } => Some(format!("docker login {registry}")),
        _ => Some("try again later, or name an image of another registry in `base` of the profile".to_owned()),
    };
    Failure { hint, ..Failure::from(error) }
}

impl From<UpstreamError> for Failure {
    fn from(error: UpstreamError) -> Self {
        let hint = error.hint();
        Self::new(Exit::Missing, error.to_string()).hint(hint)
    }
}

fn with_hint(failure: Failure, hint: Option<String>) -> Failure {
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

/// All pins that could not be resolved, in one failure.
pub(super) fn unresolved(errors: Vec<UpstreamError>) -> Option<Failure> {
    let mut errors = errors.into_iter().map(Failure::from);
    let mut failure = errors.next()?;
    for other in errors {
        failure.message += &format!("\n       {}", other.message);
        if failure.hint.is_none() {
            failure.hint = other.hint;
        }
    }
    Some(failure)
}

/// A step that failed, as its user is told.
pub(super) fn step_failure(step: &StepId, error: StepError) -> Failure {
    let mut failure = match error {
        StepError::Engine(error) => Failure::from(error),
        StepError::Artifact(error) => Failure::from(error),
        StepError::Image(error) => Failure::new(Exit::Refused, error.to_string()),
        StepError::Credential(error) => Failure::from(error),
        StepError::Context(error) => Failure::from(error),
        StepError::Host(error) => Failure::from(error),
        StepError::Io { .. } => Failure::new(Exit::Unexpected, error.to_string()).source(error),
        StepError::Parentage { .. } => Failure::new(Exit::Build, error.to_string())
            .hint("every Dockerfile of the family begins its last stage with `ARG PARENT` and `FROM ${PARENT}`"),
        StepError::NoParent { .. } => Failure::new(Exit::Build, error.to_string())
            .hint("somebody removed it while this build ran: run the same command again"),
    };
    failure.message = format!("`{step}`: {}", failure.message);
    failure
}

/// A value on the command line that is not valid.
pub(super) fn usage(flag: &str, error: &dyn std::error::Error) -> Failure {
    Failure::new(Exit::Usage, format!("{flag}: {error}"))
}

/// Writes a file beside its place and renames it, so that nobody ever sees half of it.
pub(super) fn write_beside(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let beside = path.with_extension(format!("{}.partial", std::process::id()));
    let written = std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path));
    written.map_err(|error| {
        std::fs::remove_file(&beside).ok();
        Failure::new(Exit::Missing, format!("cannot write `{}`", path.display())).source(error)
    })
}

/// Today, in UTC. Nothing that is built depends on it.
pub(super) fn today() -> BuildDate {
    BuildDate::on(OffsetDateTime::now_utc().date())
}

/// Writes several files so that nobody ever sees half of one: all beside their places first, then each is renamed, in order. What
/// a run that was killed left beside them goes.
pub(super) fn write_all_beside(texts: &[(PathBuf, &str)]) -> Result<(), Failure> {
    let mut beside: Vec<PathBuf> = Vec::new();
    for (path, text) in texts {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (folder, prefix) = (path.parent().unwrap_or(Path::new("")), format!(".{name}."));
        remove_partial(folder, &prefix);
        beside.push(folder.join(format!("{prefix}{}.partial", std::process::id())));
        if let Err(error) = beside.last().map_or(Ok(()), |beside| std::fs::write(beside, text)) {
            return Err(unwritten(path, error, &beside));
        }
    }
    for ((path, _), partial) in texts.iter().zip(&beside) {
        std::fs::rename(partial, path).map_err(|error| unwritten(path, error, &beside))?;
    }
    Ok(())
}

fn unwritten(path: &Path, error: std::io::Error, beside: &[PathBuf]) -> Failure {
    for partial in beside {
        std::fs::remove_file(partial).ok();
    }
    Failure::new(Exit::Missing, format!("cannot write `{}`", path.display())).source(error)
}

/// Removes files `PREFIX….partial` of a folder.
fn remove_partial(folder: &Path, prefix: &str) {
    let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(prefix) && name.ends_with(".partial")) {
            std::fs::remove_file(entry.path()).ok();
        }
    }
}

/// A name for this run's log: what, when, who.
pub(super) fn log_name(what: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{what}-{now}-{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_looks_for_a_base_image_is_told_nothing_of_uploads() {
        let [registry, what, why] = ["docker.io", "look for `trixie-slim`", "refused"].map(str::to_owned);
        let failure = base_unknown(RegistryError::Unreachable { registry, what, attempts: 7, why });
        assert_eq!(failure.exit, Exit::Missing);
        assert!(failure.hint.is_some_and(|hint| hint.starts_with("try again later")));
    }

    #[test]
    fn a_build_cache_that_has_lost_a_layer_is_told_with_what_mends_it() {
        let failed = |line: &str| {
            let log_tail = vec!["one".to_owned(), line.to_owned()];
            Failure::from(EngineError::BuildFailed { step: "[2/2] RUN x".to_owned(), exit_code: None, log_tail }).hint
        };
        let lost =
            failed("failed to prepare jqkwi16m: open /var/lib/docker/overlay2/q7mwziut/committed: no such file or directory");
        assert!(lost.is_some_and(|hint| hint.starts_with("docker builder prune --all")));
        assert_eq!(failed("cat: /etc/x: No such file or directory"), None);
    }
}
