//! Tags: looked at before anything is sent, compared again just before they are written, and read again at the end.

use std::collections::BTreeMap;
use std::time::Instant;

use futures_util::future::join_all;
use futures_util::{StreamExt, stream};

use super::execute::{PublishedTag, Ready, TagState};
use super::plan::{Delivery, Tag, TagKind};
use super::{Failed, PublishError, Refusal};
use crate::event::{self, Event, Events};
use crate::oci::Digest;
use crate::registry::{Registry, RegistryError};

/// Questions at the same time.
const AT_ONCE: usize = 8;

/// One image at one destination.
pub(super) struct Target<'a> {
    pub(super) image: &'a Ready<'a>,
    pub(super) delivery: &'a Delivery,
    pub(super) registry: &'a Registry,
}

/// Where the tags pointed when the release began, by reference.
pub(super) type Looked = BTreeMap<String, Option<Digest>>;

/// What became of the tags.
#[derive(Debug, Default)]
pub(super) struct Journal {
    tags: BTreeMap<String, (PublishedTag, Digest)>,
    /// Whether a write got no answer: the tag may be set.
    unsure: bool,
}

impl Journal {
    pub(super) fn into_tags(self) -> BTreeMap<String, PublishedTag> {
        self.tags.into_iter().map(|(reference, (tag, _))| (reference, tag)).collect()
    }

    /// The error for what failed, by what this run has set.
    fn error(&self, failures: Vec<Failed>, refusals: Vec<Refusal>) -> PublishError {
        let set = self.tags.values().filter(|(tag, _)| tag.state != TagState::AlreadyThere);
        let tags: Vec<_> = set.map(|(tag, digest)| format!("{}@{digest}", tag.reference)).collect();
        match tags.is_empty() && !self.unsure {
            true if failures.is_empty() => PublishError::Refused { refusals },
            true => PublishError::Untagged { failures },
            false => PublishError::Partly { tags, failures, refusals },
        }
    }
}

/// What one tag came to.
enum Outcome {
    Done(PublishedTag, Digest),
    Refused(Refusal),
    Failed { failed: Failed, unsure: bool },
}

fn tags<'a>(targets: &'a [Target<'a>]) -> impl Iterator<Item = (&'a Target<'a>, &'a Tag)> {
    targets.iter().flat_map(|target| target.delivery.tags.iter().map(move |tag| (target, tag)))
}

fn reference(target: &Target<'_>, tag: &Tag) -> String {
    target.delivery.repository.tag(&tag.name).to_string()
}

fn failed(target: &Target<'_>, error: RegistryError) -> Failed {
    Failed { destination: target.delivery.destination.clone(), error }
}

/// Where every tag points now, a few at a time.
async fn ask<'a>(targets: &'a [Target<'a>]) -> Vec<(&'a Target<'a>, &'a Tag, Result<Option<Digest>, RegistryError>)> {
    let one = async |(target, tag): (&'a Target<'a>, &'a Tag)| (target, tag, target.registry.digest(&tag.name).await);
    stream::iter(tags(targets)).map(one).buffered(AT_ONCE).collect().await
}

/// Where every tag points now; refuses when an immutable one points to something else. Nothing has been sent yet.
pub(super) async fn look(targets: &[Target<'_>]) -> Result<Looked, PublishError> {
    let (mut looked, mut refusals, mut failures) = (Looked::new(), Vec::new(), Vec::new());
    for (target, tag, found) in ask(targets).await {
        match found {
            Ok(found) => {
                refusals.extend(taken(target, tag, found));
                looked.insert(reference(target, tag), found);
            }
            Err(error) => failures.push(failed(target, error)),
        }
    }
    match (refusals.is_empty(), failures.is_empty()) {
        (false, _) => Err(PublishError::Refused { refusals }),
        (_, false) => Err(PublishError::Untagged { failures }),
        _ => Ok(looked),
    }
}

fn taken(target: &Target<'_>, tag: &Tag, found: Option<Digest>) -> Option<Refusal> {
    let wanted = target.image.manifest.digest;
    let found = found.filter(|found| *found != wanted && tag.kind == TagKind::Immutable)?;
    Some(Refusal::Taken { tag: reference(target, tag), found, wanted })
}

/// Sets all tags of one kind: one after the other at each destination, the destinations side by side.
pub(super) async fn set(
    targets: &[Target<'_>],
    kind: TagKind,
    looked: &Looked,
    journal: &mut Journal,
    events: &Events,
) -> Result<(), PublishError> {
    let mut lanes: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for (target, tag) in tags(targets).filter(|(_, tag)| tag.kind == kind) {
        lanes.entry(&target.delivery.repository).or_default().push((target, tag));
    }
    let total = lanes.values().map(Vec::len).sum::<usize>() as u64;
    if total == 0 {
        return Ok(());
    }
    let (step, words) = match kind {
        TagKind::Immutable => ("tag immutable", "immutable tags"),
        TagKind::Moving => ("tag moving", "moving tags"),
    };
    let started = Instant::now();
    let finished = |outcome, detail| Event::StepFinished { step: step.to_owned(), outcome, seconds: started.elapsed(), detail };
    events.emit(Event::StepStarted { step: step.to_owned(), title: format!("set {total} {words}") });
    let lanes = join_all(lanes.into_values().map(|lane| async move {
        let mut outcomes = Vec::new();
        for (target, tag) in lane {
            let outcome = one(target, tag, looked).await;
            let done = matches!(outcome, Outcome::Done(..));
            outcomes.push(outcome);
            if !done {
                break;
            }
        }
        outcomes
    }));
    let (mut refusals, mut failures) = (Vec::new(), Vec::new());
    for outcome in lanes.await.into_iter().flatten() {
        match outcome {
            Outcome::Done(tag, digest) => {
                journal.tags.insert(tag.reference.clone(), (tag, digest));
            }
            Outcome::Refused(refusal) => refusals.push(refusal),
            Outcome::Failed { failed, unsure } => {
                failures.push(failed);
                journal.unsure |= unsure;
            }
        }
    }
    if refusals.is_empty() && failures.is_empty() {
        events.emit(finished(event::Outcome::Done, String::new()));
        return Ok(());
    }
    let error = journal.error(failures, refusals);
    events.emit(finished(event::Outcome::Failed, error.to_string()));
    Err(error)
}

async fn one(target: &Target<'_>, tag: &Tag, looked: &Looked) -> Outcome {
    let manifest = &target.image.manifest;
    let done = |state| {
        let tag = PublishedTag { reference: reference(target, tag), kind: tag.kind, state };
        Outcome::Done(tag, manifest.digest)
    };
    // Somebody else may have published since the release began.
    let now = match target.registry.digest(&tag.name).await {
        Ok(now) => now,
        Err(error) => return Outcome::Failed { failed: failed(target, error), unsure: false },
    };
    if let Some(refusal) = taken(target, tag, now) {
        return Outcome::Refused(refusal);
    }
    if now == Some(manifest.digest) {
        return done(TagState::AlreadyThere);
    }
    match target.registry.put_tag(&tag.name, &manifest.bytes, manifest.media_type, now).await {
        Ok(()) => {
            let before = now.or_else(|| looked.get(&reference(target, tag)).copied().flatten());
            done(before.map_or(TagState::Set, |from| TagState::Moved { from }))
        }
        Err(error) => {
            let unsure = match &error {
                RegistryError::Unreachable { .. } => true,
                RegistryError::Status { status, .. } => crate::retry::is_passing(*status),
                _ => false,
            };
            Outcome::Failed { failed: failed(target, error), unsure }
        }
    }
}

/// Reads every tag again: a difference is never a success.
pub(super) async fn check(targets: &[Target<'_>], journal: &Journal) -> Result<(), PublishError> {
    let mut failures = Vec::new();
    for (target, tag, found) in ask(targets).await {
        let sent = target.image.manifest.digest;
        match found {
            Ok(Some(found)) if found == sent => {}
            Ok(found) => {
                let found = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
                let error = RegistryError::ReadBack { reference: reference(target, tag), found, sent };
                failures.push(failed(target, error));
            }
            Err(error) => failures.push(failed(target, error)),
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    let tags = journal.tags.values().map(|(tag, digest)| format!("{}@{digest}", tag.reference)).collect();
    Err(PublishError::Partly { tags, failures, refusals: Vec::new() })
}
