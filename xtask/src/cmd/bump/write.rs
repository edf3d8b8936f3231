//! Writing what was decided: first the files that lock files and requirements are, then variants.toml, variants.lock last. A run
//! that is killed between two of them is mended by the next, which finds what is missing.

use std::path::{Path, PathBuf};

use super::super::prepare::{check_manifest, lock_path, read_lock, read_manifest};
use super::super::{Session, edge};
use crate::bump::Candidate;
use crate::event::Event;
use crate::failure::{Exit, Failure};
use crate::family::{Family, Lock, SourceText};
use crate::host::git;
use crate::host::lockfile::{FamilyLock, LockKind, WhenHeld};

/// What is to be written.
pub(super) struct Writing<'a> {
    session: &'a Session,
    before: &'a SourceText,
    after: SourceText,
    family: Family,
    candidates: &'a [&'a Candidate],
}

impl<'a> Writing<'a> {
    /// The text that variants.toml gets is looked at as any other is.
    pub(super) fn new(
        session: &'a Session,
        before: &'a SourceText,
        text: String,
        candidates: &'a [&'a Candidate],
    ) -> Result<Self, Failure> {
        let after = SourceText { name: before.name.clone(), text };
        let family = check_manifest(session, &after).map_err(|failure| {
            let message = "what an upstream answered does not make a valid variants.toml; nothing was written";
            Failure { message: message.to_owned(), exit: Exit::Missing, ..failure }
        })?;
        Ok(Self { session, before, after, family, candidates })
    }

    /// What is written, relative to the folder of variants.toml.
    pub(super) fn files(&self) -> Vec<String> {
        let mut files: Vec<String> = self.others().map(|(path, _)| path.clone()).collect();
        let [manifest, lock] = always(self.session);
        if self.after != *self.before {
            files.push(manifest);
        }
        let locks = |candidate: &&&Candidate| !candidate.change.artifacts.is_empty() || !candidate.change.bases.is_empty();
        // A pin that moved leaves its old entries behind, which go.
        if self.after != *self.before || self.candidates.iter().any(|candidate| locks(&candidate)) {
            files.push(lock);
        }
        files
    }

    fn others(&self) -> impl Iterator<Item = (&String, &String)> {
        self.candidates.iter().flat_map(|candidate| &candidate.change.files)
    }

    /// Writes everything. `family` is what was read before.
    pub(super) async fn write(&self, family: &Family) -> Result<(), Failure> {
        let events = self.session.console.events();
        let waiting = |holder: &str| events.emit(Event::Note { text: format!("waiting to write variants.lock: {holder}") });
        let places = self.session.places()?;
        let _held = FamilyLock::acquire(&places, LockKind::Pins, &family.name, WhenHeld::Wait, waiting).await?;
        // While others were asked, somebody may have written here.
        if read_manifest(self.session)?.0 != *self.before {
            let message = format!("`{}` was changed while upstreams were asked; nothing was written", self.before.name);
            return Err(Failure::new(Exit::Refused, message).hint("run the same command again"));
        }
        let files = self.files();
        let mut texts: Vec<(PathBuf, &str)> =
            self.others().map(|(path, text)| (self.session.root.join(path), text.as_str())).collect();
        let [manifest, lock] = always(self.session);
        if files.contains(&manifest) {
            texts.push((self.session.manifest.clone(), &self.after.text));
        }
        let locked = files.contains(&lock).then(|| self.lock(family)).transpose()?;
        if let Some(text) = &locked {
            texts.push((lock_path(self.session), text));
        }
        edge::write_all_beside(&texts)
    }

    /// The text of variants.lock: what is there now, with what was found.
    fn lock(&self, family: &Family) -> Result<String, Failure> {
        let mut lock: Lock = read_lock(self.session, family)?;
        for candidate in self.candidates {
            lock.artifacts.extend(candidate.change.artifacts.clone());
            lock.bases.extend(candidate.change.bases.clone());
        }
        Ok(lock.write(&self.family))
    }
}

/// The names of variants.toml and variants.lock in their folder.
pub(super) fn always(session: &Session) -> [String; 2] {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    [name(&session.manifest), name(&lock_path(session))]
}

/// Refuses to write over what is not committed: it could not be told from what is written, and not be had back.
pub(super) async fn refuse_changed(session: &Session, files: &[String]) -> Result<(), Failure> {
    let changed = git::changed(&session.root, files).await?.unwrap_or_default();
    if changed.is_empty() {
        return Ok(());
    }
    let names = changed.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let (verb, which) = if changed.len() == 1 { ("has", "it") } else { ("have", "them") };
    Err(Failure::new(Exit::Refused, format!("{names} {verb} changes that are not committed, and would be written"))
        .hint(format!(
            "commit {which}, or take {which} back: git restore {}\n--allow-dirty    writes all the same, as after a run that was killed while it wrote",
            changed.join(" ")
        )))
}
