//! What this machine knows of a release's images: what failed is not published, and what was never tried is told, or tried
//! first. An image that a destination has already may have been pushed by somebody who never tried it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::release::OnceEngine;
use super::smoke::Published;
use crate::build;
use crate::engine::{Engine, EngineError};
use crate::event::{Event, Events};
use crate::failure::{Exit, Failure};
use crate::family::Name;
use crate::host::places::Places;
use crate::oci::{Digest, Reference, Repository};
use crate::plan;
use crate::publish::{Item, PublishError, Refusal, Release};
use crate::registry::Sources;
use crate::smoke::{Outcome, Record};

/// What the records say of a release. (They are of this machine: what another one has tried, this one cannot know.)
#[derive(Debug, Default)]
pub(super) struct Tried {
    /// What is published anew and was not tried: variant and local name.
    built: Vec<(Name, String)>,
    /// What is published already, and did not pass here: it was not tried, or it failed.
    pub(super) not_passed: Vec<Untried>,
    /// What failed.
    refusals: Vec<Refusal>,
}

/// An image that is published already, and of which this machine has no record that it passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Untried {
    pub(super) variant: Name,
    /// Its manifest.
    pub(super) manifest: Digest,
    /// Whether it was tried, and failed.
    pub(super) failed: bool,
    /// The tag under which the engine has this very image.
    pub(super) here: Option<String>,
    /// Where it can be pulled.
    pub(super) at: Option<Repository>,
}

/// Why this machine does not publish an image: it failed when it was tried last.
pub(super) fn refusal(places: &Places, image: &str, config: Digest) -> Option<Refusal> {
    match Record::read(places, config) {
        Ok(Some(record)) if !record.passed() => Some(failed(image, record)),
        Ok(_) => None,
        Err(error) => Some(Refusal::Unjudged { image: image.to_owned(), why: error.to_string() }),
    }
}

fn failed(image: &str, record: Record) -> Refusal {
    let failed = record.results.iter().filter(|check| check.outcome == Outcome::Failed);
    let checks = failed.map(|check| format!("`{}`", check.name)).collect();
    Refusal::Failed { image: image.to_owned(), config: record.config_digest, at: record.at, checks }
}

impl Tried {
    /// Looks up every image of the release. `config_of` is the config digest of what an engine calls so, where it is known.
    pub(super) fn of(places: &Places, release: &Release, config_of: impl Fn(Digest) -> Option<Digest>) -> Self {
        let mut tried = Self::default();
        for item in &release.items {
            // An engine that keeps no manifests calls an image by the digest of its configuration.
            let of_engine = item.release.built.as_ref().map(|built| config_of(built.want.id).unwrap_or(built.want.id));
            let Some(config) = item.image.as_ref().map(|image| image.config_digest).or(of_engine) else { continue };
            let here = item.release.built.as_ref().map(|built| built.image.clone());
            let name = item.choice.digest().map(|digest| digest.to_string()).or(here).unwrap_or_default();
            let not_passed = |failed| {
                let manifest = item.choice.digest()?;
                let is_here = of_engine == Some(config) || looks_like(item);
                Some(Untried { failed, ..Untried::new(item, manifest, is_here, release) })
            };
            match Record::read(places, config) {
                Ok(Some(record)) if record.passed() => {}
                Ok(Some(record)) => {
                    tried.refusals.push(failed(&name, record));
                    tried.not_passed.extend(not_passed(true));
                }
                Ok(None) => match not_passed(false) {
                    Some(published) => tried.not_passed.push(published),
                    None => tried.built.push((item.release.variant.clone(), name)),
                },
                Err(error) => tried.refusals.push(Refusal::Unjudged { image: name, why: error.to_string() }),
            }
        }
        tried
    }

    /// Nothing of it failed.
    ///
    /// # Errors
    /// What failed.
    pub(super) fn accepted(self) -> Result<Self, PublishError> {
        match self.refusals.is_empty() {
            true => Ok(self),
            false => Err(PublishError::Refused { refusals: self.refusals }),
        }
    }

    /// Says what was never tried and goes out all the same.
    pub(super) fn tell(&self, events: &Events) {
        for (variant, image) in &self.built {
            let text = format!(
                "`{image}` was not tried on this machine: cargo xtask smoke --variant {variant}, with the same --profile"
            );
            events.emit(Event::Note { text });
        }
        for Untried { variant, manifest, .. } in &self.not_passed {
            let text = format!("`{variant}` stays as it was published, {manifest}: not tried on this machine");
            events.emit(Event::Note { text });
        }
    }
}

/// Whether what was built here has the layers and labels of what is published: where an engine calls images by their manifests, it
/// cannot be told that it is the same. (Trying it tells: another one is refused then.)
fn looks_like(item: &Item) -> bool {
    let (Some(built), Some(image)) = (&item.release.built, &item.image) else { return false };
    built.diff_ids == image.diff_ids && built.labels == image.labels
}

impl Untried {
    fn new(item: &Item, manifest: Digest, is_here: bool, release: &Release) -> Self {
        let here = item.release.built.as_ref().filter(|_| is_here).map(|built| built.want.name.clone());
        let holds = |repository: &&Repository| {
            release.survey.found.get(&manifest).is_some_and(|found| found.holders.contains(*repository))
        };
        let at = item.release.destinations.iter().map(|to| &to.repository).find(holds);
        Self { variant: item.release.variant.clone(), manifest, failed: false, here, at: at.cloned() }
    }

    /// `ghcr.io/team/image@sha256:…`
    pub(super) fn reference(&self) -> Option<Reference> {
        Some(self.at.as_ref()?.digest(self.manifest))
    }

    /// As people read it.
    pub(super) fn name(&self) -> String {
        self.reference().map_or_else(|| self.manifest.to_string(), |reference| reference.to_string())
    }

    /// The tag that it is pulled under. (`clean` knows these tags.)
    fn stage(&self) -> String {
        plan::stage_reference(&format!("{}.published", self.variant), &self.manifest)
    }
}

/// Published images in the engine: those that it has, and others for as long as they are looked at.
#[derive(Default)]
pub(super) struct Fetched {
    pub(super) images: BTreeMap<Name, Published>,
    pulled: Vec<String>,
}

impl Fetched {
    /// Gets into the engine what it lacks.
    ///
    /// # Errors
    /// It cannot be pulled.
    pub(super) async fn get(
        &mut self,
        untried: &[Untried],
        engine: &OnceEngine,
        credentials: &Sources,
        events: &Events,
    ) -> Result<(), Failure> {
        for one in untried {
            self.add(one, engine.get().await?, credentials, events).await?;
        }
        Ok(())
    }

    async fn add(&mut self, one: &Untried, engine: &Engine, credentials: &Sources, events: &Events) -> Result<(), Failure> {
        let tag = match (&one.here, one.reference()) {
            (Some(tag), _) => tag.clone(),
            (None, None) => {
                let message = format!("`{}` ({}) is in no destination any more", one.variant, one.manifest);
                return Err(Failure::new(Exit::Missing, message).hint(untried_hint()));
            }
            (None, Some(reference)) => {
                let credential = credentials.credential(reference.repository.registry()).await?;
                let (tag, credential) = (one.stage(), credential.as_ref().map(|(credential, _)| credential));
                // Also where this is interrupted between the tag and its end.
                self.pulled.push(tag.clone());
                let pulled = build::pull(engine, credential, &reference, &tag, events).await;
                let cannot = |exit, why: &str| {
                    let message = format!("`{}` has to be tried on this machine, and {why}", one.variant);
                    Failure::new(exit, message).hint(untried_hint())
                };
                pulled.map_err(|error: EngineError| {
                    let failure = Failure::from(error);
                    cannot(failure.exit, &failure.message)
                })?;
                // Docker 28 with the containerd store leaves out what it has unpacked already of another form of the same layers,
                // and does not know the image then.
                if !engine.inspect(&tag).await.is_ok_and(|found| found.is_some_and(|found| !found.diff_ids.is_empty())) {
                    let why = format!("the engine took `{reference}` only in part: it has the same layers of another image");
                    return Err(cannot(Exit::Missing, &why));
                }
                tag
            }
        };
        self.images.insert(one.variant.clone(), Published { tag, name: one.name() });
        Ok(())
    }

    /// Removes what was pulled. What cannot be removed is left to `clean`.
    pub(super) async fn forget(self, engine: &OnceEngine) {
        for tag in &self.pulled {
            if let Ok(engine) = engine.get().await {
                let _ = engine.untag(tag).await;
            }
        }
    }
}

fn untried_hint() -> &'static str {
    "let the engine reach that registry; or `--untried` takes what is published as it is"
}
