//! variants.toml and variants.lock, read and checked.

use std::path::{Path, PathBuf};

use super::Session;
use crate::failure::{Exit, Failure};
use crate::family::{self, Family, Lock, SourceText};
use crate::output::diagnostics;

/// variants.toml, checked.
pub(super) fn read_family(session: &Session) -> Result<Family, Failure> {
    read_manifest(session).map(|(_, family)| family)
}

/// variants.toml as it is written, and checked.
pub(super) fn read_manifest(session: &Session) -> Result<(SourceText, Family), Failure> {
    let source = read(&session.manifest).map_err(|error| {
        Failure::new(Exit::Usage, format!("cannot read `{}`", session.manifest.display()))
            .source(error)
            .hint("run it in the repository of the family, or name the file: cargo xtask --manifest FILE …")
    })?;
    let family = check_manifest(session, &source)?;
    Ok((source, family))
}

/// The family that a text of variants.toml describes.
pub(super) fn check_manifest(session: &Session, source: &SourceText) -> Result<Family, Failure> {
    let exists = |path: &str| session.root.join(path).is_file();
    family::read(source, &exists).map_err(|problems| invalid(session, source, &problems))
}

fn read(path: &Path) -> std::io::Result<SourceText> {
    Ok(SourceText { name: path.display().to_string(), text: std::fs::read_to_string(path)? })
}

fn invalid(session: &Session, source: &SourceText, problems: &[family::Problem]) -> Failure {
    let count = match problems.len() {
        1 => "1 problem".to_owned(),
        count => format!("{count} problems"),
    };
    Failure::new(Exit::Usage, format!("`{}` has {count}", source.name)).detail(diagnostics::render(
        source,
        problems,
        session.console.color(),
    ))
}

pub(super) fn lock_path(session: &Session) -> PathBuf {
    session.manifest.with_extension("lock")
}

/// variants.lock, checked; empty where there is none.
pub(super) fn read_lock(session: &Session, family: &Family) -> Result<Lock, Failure> {
    let path = lock_path(session);
    match read(&path) {
        Ok(source) => family::read_lock(&source, family).map_err(|problems| invalid(session, &source, &problems)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Lock::default()),
        Err(error) => Err(Failure::new(Exit::Usage, format!("cannot read `{}`", path.display())).source(error)),
    }
}
