//! Tags: compared again just before they are written, and read again at the end. They are written one after the other, in
//! the same order by every publisher: of two at once, the first conflict stops the one that comes second.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures_util::{StreamExt, stream};
use serde::Serialize;

use super::ledger::{ImageLine, Ledger, LedgerError, State, TagLine};
use super::plan::{Delivery, Tag, TagKind};
use super::refusal::Wanted;
use super::survey::Survey;
use super::{Failed, PublishError, Refusal};
use crate::event::{self, Event, Events};
use crate::family::Name;
use crate::oci::{Digest, Platform};
use crate::registry::{Registry, RegistryError};
use crate::store::Manifest;

/// Questions at the same time.
const AT_ONCE: usize = 8;

/// What tags are to point to.
#[derive(Clone)]
pub(super) struct Subject<'a> {
    pub(super) variant: &'a Name,
    /// None: an index.
    pub(super) platform: Option<Platform>,
    pub(super) manifest: &'a Manifest,
    /// What the ledger is told of it.
    pub(super) image: Option<ImageLine>,
}

/// One image at one destination.
#[derive(Clone)]
pub(super) struct Target<'a> {
    pub(super) subject: Subject<'a>,
    pub(super) delivery: &'a Delivery,
    pub(super) registry: &'a Registry,
}

impl Target<'_> {
    fn line(&self, tag: &Tag, state: State) -> TagLine {
        TagLine {
            variant: self.subject.variant.clone(),
            platform: self.subject.platform,
            destination: self.delivery.destination.clone(),
            reference: self.reference(tag),
            kind: tag.kind,
            digest: self.subject.manifest.digest,
            state,
        }
    }

    fn reference(&self, tag: &Tag) -> String {
        self.delivery.repository.tag(&tag.name).to_string()
    }

    fn failed(&self, error: RegistryError) -> Failed {
        Failed { destination: self.delivery.destination.clone(), error }
    }
}

/// One tag that now points to the image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PublishedTag {
    /// In full: `ghcr.io/team/image:aws`.
    pub reference: String,
    /// Whether it may move.
    pub kind: TagKind,
    /// What was done.
    #[serde(flatten)]
    pub state: TagState,
}

/// What was done about a tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum TagState {
    /// It was not there.
    Set,
    /// It pointed elsewhere.
    Moved {
        /// There.
        from: Digest,
    },
    /// It pointed to this image before.
    AlreadyThere,
}

/// What became of the tags, in the ledger and in this run.
pub(super) struct Journal<'a> {
    ledger: &'a mut Ledger,
    events: &'a Events,
    tags: BTreeMap<String, (PublishedTag, Digest)>,
    /// Variants of which an immutable tag was there: only a run of this very release sets them.
    begun: BTreeSet<Name>,
    /// Whether a write got no answer: the tag may be set.
    unsure: bool,
    /// The first immutable tag that this run has set. As long as it stays, nobody else is ahead with the same tags.
    first: Option<(Target<'a>, String)>,
}

impl<'a> Journal<'a> {
    /// Writes down what is wanted, before any of it is done.
    pub(super) fn open(ledger: &'a mut Ledger, targets: &[Target<'a>], events: &'a Events) -> Result<Self, LedgerError> {
        for line in targets.iter().filter_map(|target| target.subject.image.clone()) {
            ledger.image(line)?;
        }
        for (target, tag) in tags(targets) {
            ledger.tag(target.line(tag, State::Pending))?;
        }
        Ok(Self { ledger, events, tags: BTreeMap::new(), begun: BTreeSet::new(), unsure: false, first: None })
    }

    pub(super) fn into_tags(self) -> BTreeMap<String, PublishedTag> {
        self.tags.into_iter().map(|(reference, (tag, _))| (reference, tag)).collect()
    }

    /// The registries are the second ledger: what cannot be written down now does not stop what is half done.
    fn note(&mut self, target: &Target<'_>, tag: &Tag, state: State) {
        if let Err(error) = self.ledger.tag(target.line(tag, state)) {
            self.events.emit(Event::Warning { text: format!("{error}: {}", error.why()) });
        }
    }

    /// No registry compares and sets in one step. Of two publishers that both saw no tag, the one whose first tag was
    /// written over finds out here, before it sets a second one.
    async fn is_first(&self) -> Result<Option<Refusal>, RegistryError> {
        let Some((target, tag)) = &self.first else { return Ok(None) };
        let found = target.registry.digest(tag).await?;
        if found == Some(target.subject.manifest.digest) {
            return Ok(None);
        }
        let found = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
        Ok(Some(Refusal::Overtaken { tag: target.delivery.repository.tag(tag).to_string(), found }))
    }

    /// The error for what failed, by what is set: by this run, or of the variant `of` by one before it, which may have been on a
    /// machine that is lost.
    pub(super) fn error(&self, of: Option<&Name>, failures: Vec<Failed>, refusals: Vec<Refusal>) -> PublishError {
        let in_full = |(tag, digest): &(PublishedTag, Digest)| format!("{}@{digest}", tag.reference);
        let by_this = self.tags.values().filter(|(tag, _)| tag.state != TagState::AlreadyThere);
        let mut tags: Vec<_> = by_this.map(in_full).collect();
        if tags.is_empty() && !failures.is_empty() && of.is_some_and(|variant| self.begun.contains(variant)) {
            tags = self.tags.values().map(in_full).collect();
        }
        match tags.is_empty() && !self.unsure {
            true if failures.is_empty() => PublishError::Refused { refusals },
            true => PublishError::Untagged { failures },
            false => PublishError::Partly { tags, failures, refusals },
        }
    }
}

/// What one tag came to.
enum Outcome {
    Done(TagState),
    Refused(Refusal),
    Failed { error: RegistryError, unsure: bool },
}

fn tags<'a>(targets: &'a [Target<'a>]) -> impl Iterator<Item = (&'a Target<'a>, &'a Tag)> {
    targets.iter().flat_map(|target| target.delivery.tags.iter().map(move |tag| (target, tag)))
}

/// Refuses where an immutable tag points to something else.
pub(super) fn refuse_taken(targets: &[Target<'_>], survey: &Survey, ledger: &Ledger) -> Result<(), PublishError> {
    let immutable = tags(targets).filter(|(_, tag)| tag.kind == TagKind::Immutable);
    let taken = immutable.filter_map(|(target, tag)| {
        let found = survey.tag(target.delivery, &tag.name).filter(|found| *found != target.subject.manifest.digest)?;
        let (reference, wanted) = (target.reference(tag), Wanted::Manifest(target.subject.manifest.digest));
        let remembered = ledger.view().tags.get(&reference).cloned();
        Some(Refusal::Taken { tag: reference, found, wanted, remembered })
    });
    let refusals: Vec<_> = taken.collect();
    if refusals.is_empty() { Ok(()) } else { Err(PublishError::Refused { refusals }) }
}

/// Sets all tags of one kind, in the order of their references.
pub(super) async fn set<'a>(
    targets: &'a [Target<'a>],
    kind: TagKind,
    survey: &Survey,
    journal: &mut Journal<'a>,
) -> Result<(), PublishError> {
    let wanted: BTreeMap<String, _> =
        tags(targets).filter(|(_, tag)| tag.kind == kind).map(|(target, tag)| (target.reference(tag), (target, tag))).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let (step, words) = match kind {
        TagKind::Immutable => ("tag immutable", "immutable tags"),
        TagKind::Moving => ("tag moving", "moving tags"),
    };
    let (started, events) = (Instant::now(), journal.events);
    let finished = |outcome, detail| Event::StepFinished { step: step.to_owned(), outcome, seconds: started.elapsed(), detail };
    events.emit(Event::StepStarted { step: step.to_owned(), title: format!("set {} {words}", wanted.len()) });
    let mut done = 0;
    for (reference, (target, tag)) in &wanted {
        let before = survey.tag(target.delivery, &tag.name);
        let outcome = match before == Some(target.subject.manifest.digest) {
            true => Outcome::Done(TagState::AlreadyThere),
            false => match journal.is_first().await {
                Ok(None) => one(target, tag, before, journal.ledger).await,
                Ok(Some(refusal)) => Outcome::Refused(refusal),
                Err(error) => Outcome::Failed { error, unsure: false },
            },
        };
        let error = match outcome {
            Outcome::Done(state) => {
                let there = state == TagState::AlreadyThere;
                journal.note(target, tag, if there { State::AlreadyThere } else { State::Pushed });
                let published = PublishedTag { reference: reference.clone(), kind, state };
                journal.tags.insert(reference.clone(), (published, target.subject.manifest.digest));
                if there && kind == TagKind::Immutable {
                    journal.begun.insert(target.subject.variant.clone());
                }
                if !there && kind == TagKind::Immutable && journal.first.is_none() {
                    journal.first = Some(((*target).clone(), tag.name.clone()));
                }
                done += u32::from(!there);
                continue;
            }
            Outcome::Refused(refusal) => {
                journal.note(target, tag, State::Failed);
                journal.error(Some(target.subject.variant), Vec::new(), vec![refusal])
            }
            Outcome::Failed { error, unsure } => {
                journal.note(target, tag, State::Failed);
                journal.unsure |= unsure;
                journal.error(Some(target.subject.variant), vec![target.failed(error)], Vec::new())
            }
        };
        events.emit(finished(event::Outcome::Failed, error.to_string()));
        return Err(error);
    }
    let outcome = if done == 0 { event::Outcome::UpToDate } else { event::Outcome::Done };
    events.emit(finished(outcome, format!("{done} set, {} were there", wanted.len() as u32 - done)));
    Ok(())
}

async fn one(target: &Target<'_>, tag: &Tag, before: Option<Digest>, ledger: &Ledger) -> Outcome {
    let manifest = target.subject.manifest;
    // Somebody else may have published since the release began.
    let now = match target.registry.digest(&tag.name).await {
        Ok(now) => now,
        Err(error) => return Outcome::Failed { error, unsure: false },
    };
    if now == Some(manifest.digest) {
        return Outcome::Done(TagState::AlreadyThere);
    }
    match (now, tag.kind) {
        (Some(found), TagKind::Immutable) => {
            let reference = target.reference(tag);
            let remembered = ledger.view().tags.get(&reference).cloned();
            let wanted = Wanted::Manifest(manifest.digest);
            return Outcome::Refused(Refusal::Taken { tag: reference, found, wanted, remembered });
        }
        (_, TagKind::Moving) if now != before => {
            let found = now.map_or_else(|| "nothing".to_owned(), |now| now.to_string());
            return Outcome::Refused(Refusal::Overtaken { tag: target.reference(tag), found });
        }
        _ => {}
    }
    match target.registry.put_tag(&tag.name, &manifest.bytes, manifest.media_type, now).await {
        Ok(()) => Outcome::Done(now.map_or(TagState::Set, |from| TagState::Moved { from })),
        Err(RegistryError::Immutable { reference, found, .. }) if tag.kind == TagKind::Moving => {
            Outcome::Refused(Refusal::Frozen { tag: reference, found })
        }
        Err(RegistryError::Immutable { reference, found, wanted }) => {
            let remembered = ledger.view().tags.get(&reference).cloned();
            Outcome::Refused(Refusal::Taken { tag: reference, found, wanted: Wanted::Manifest(wanted), remembered })
        }
        Err(RegistryError::Overtaken { reference, found, .. }) => {
            Outcome::Refused(Refusal::Overtaken { tag: reference, found: found.to_string() })
        }
        Err(error) => {
            let unsure = match &error {
                // A page that came with a success says nothing about the tag either.
                RegistryError::Unreachable { .. } | RegistryError::Protocol { .. } | RegistryError::Unsure { .. } => true,
                RegistryError::Status { status, .. } => crate::retry::is_passing(*status),
                _ => false,
            };
            Outcome::Failed { error, unsure }
        }
    }
}

/// Reads every tag again: a difference is never a success.
pub(super) async fn check(targets: &[Target<'_>], journal: &Journal<'_>) -> Result<(), PublishError> {
    let asks = tags(targets).map(|(target, tag)| async move { (target, tag, target.registry.digest(&tag.name).await) });
    let asks: Vec<_> = asks.collect();
    let mut failures = Vec::new();
    for (target, tag, found) in stream::iter(asks).buffered(AT_ONCE).collect::<Vec<_>>().await {
        let sent = target.subject.manifest.digest;
        match found {
            Ok(Some(found)) if found == sent => {}
            Ok(found) => {
                let found = found.map_or_else(|| "nothing".to_owned(), |found| found.to_string());
                failures.push(target.failed(RegistryError::ReadBack { reference: target.reference(tag), found, sent }));
            }
            Err(error) => failures.push(target.failed(error)),
        }
    }
    if failures.is_empty() {
        return Ok(());
    }
    // What cannot be looked at is no difference yet: then it matters what this run has set.
    if !failures.iter().any(|failed| matches!(failed.error, RegistryError::ReadBack { .. })) {
        return Err(journal.error(None, failures, Vec::new()));
    }
    let tags = journal.tags.values().map(|(tag, digest)| format!("{}@{digest}", tag.reference)).collect();
    Err(PublishError::Partly { tags, failures, refusals: Vec::new() })
}
