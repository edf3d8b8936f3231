//! Attaching: to every destination that lacks it, and read back there as a consumer reads it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::future::join_all;
use futures_util::{StreamExt, stream};
use tokio::io::AsyncReadExt as _;

use super::super::execute::{Means, no_client};
use super::super::fetch::fetch;
use super::super::image::{Descriptor, Image};
use super::super::ledger::{AttachmentLine, Ledger, State};
use super::super::plan::Delivery;
use super::super::release::{Item, Release};
use super::super::survey::READS;
use super::super::upload::UploadError;
use super::super::{Failed, PublishError};
use super::artifact::Artifact;
use super::plan::{AttachmentPlan, Looking, plan};
use super::{Attached, Attaching, AttachmentState};
use crate::event::{Event, Outcome};
use crate::oci::Digest;
use crate::registry::{Blob, BlobSource, Registry, RegistryError};

/// Images whose attachments are made at the same time.
const AT_ONCE: usize = 2;

/// An attachment that every destination has now.
pub(in super::super) struct Done {
    artifact: Artifact,
    told: Attached,
}

impl Done {
    pub(in super::super) fn told(&self) -> Attached {
        self.told.clone()
    }
}

/// Attaches to every image what it is to have, in all destinations, and reads it back. For each image, in the order of the
/// release.
///
/// # Errors
/// A document cannot be made, or a destination does not take it or does not show it. No tag was touched.
pub(in super::super) async fn attach(
    release: &Release,
    images: &[Image],
    means: &Means<'_>,
    ledger: &mut Ledger,
) -> Result<Vec<Vec<Done>>, PublishError> {
    if matches!(means.attaching, Attaching::Nothing) {
        return Ok(Vec::new());
    }
    let (step, started) = ("attach".to_owned(), Instant::now());
    let title = match means.attaching {
        Attaching::Copies => "copy what is attached".to_owned(),
        _ => format!("attach the SBOMs of {} images", images.len()),
    };
    means.events.emit(Event::StepStarted { step: step.clone(), title });
    for untrue in &release.untrue {
        means.events.emit(Event::Warning { text: untrue.to_string() });
    }
    let own = ledger.view().attached();
    let all = everything(release, images, means, &own).await;
    let all = all.and_then(|all| record(release, &all, ledger).map(|()| all));
    let (outcome, detail) = match &all {
        Ok(all) => {
            let states = all.iter().flatten().flat_map(|done| done.told.destinations.values());
            let (attached, there): (Vec<_>, Vec<_>) = states.copied().partition(|state| *state == AttachmentState::Attached);
            let outcome = if attached.is_empty() { Outcome::UpToDate } else { Outcome::Done };
            (outcome, format!("{} attached, {} were there", attached.len(), there.len()))
        }
        Err(error) => (Outcome::Failed, error.to_string()),
    };
    means.events.emit(Event::StepFinished { step, outcome, seconds: started.elapsed(), detail });
    all
}

/// Looks again, when all tags are set: an index under a tag that somebody else has read before ours was written, and wrote
/// after it, lacks ours; then it is completed once more. What is lacking all the same.
pub(in super::super) async fn check(release: &Release, all: &[Vec<Done>], means: &Means<'_>) -> Vec<Failed> {
    let of_items = release.items.iter().zip(all).flat_map(|(item, done)| done.iter().map(move |done| (item, done)));
    let at = of_items.flat_map(|(item, done)| item.release.destinations.iter().map(move |to| (to, done)));
    let asks = at.filter_map(|(to, done)| Some((to, means.registries.get(&to.repository)?, &done.artifact)));
    let asks = asks.map(|(to, registry, artifact)| async move {
        let again = async {
            let kind = artifact.referrer.artifact_type.as_deref();
            let listed = registry.referrers(artifact.subject, kind).await?;
            if listed.iter().any(|entry| entry.digest == artifact.digest()) {
                return Ok(());
            }
            registry.attach(&artifact.manifest, artifact.subject, &artifact.referrer).await?;
            read_back(registry, artifact).await
        };
        again.await.err().map(|error| Failed { destination: to.destination.clone(), error })
    });
    join_all(asks).await.into_iter().flatten().collect()
}

fn record(release: &Release, all: &[Vec<Done>], ledger: &mut Ledger) -> Result<(), PublishError> {
    for (item, done) in release.items.iter().zip(all) {
        for (done, to) in done.iter().flat_map(|done| item.release.destinations.iter().map(move |to| (done, to))) {
            let state = match done.told.destinations.get(&to.destination) {
                Some(AttachmentState::Attached) => State::Pushed,
                _ => State::AlreadyThere,
            };
            ledger.attachment(AttachmentLine {
                variant: item.release.variant.clone(),
                platform: item.release.platform,
                destination: to.destination.clone(),
                reference: to.repository.digest(done.artifact.subject).to_string(),
                artifact_type: done.told.artifact_type.clone(),
                digest: done.artifact.digest(),
                state,
            })?;
        }
    }
    Ok(())
}

async fn everything(
    release: &Release,
    images: &[Image],
    means: &Means<'_>,
    own: &BTreeSet<Digest>,
) -> Result<Vec<Vec<Done>>, PublishError> {
    let work: Vec<_> = release.items.iter().zip(images).map(|(item, image)| made(item, image, means, own)).collect();
    let made: Vec<Result<Vec<Made>, PublishError>> = stream::iter(work).buffered(AT_ONCE).collect().await;
    let mut all = Vec::new();
    // One image after the other: they have blobs in common.
    for (item, made) in release.items.iter().zip(made) {
        let mut done = Vec::new();
        for Made { planned, artifact } in made? {
            let states = everywhere(item, &artifact, &planned, means).await?;
            let told = Attached {
                artifact_type: artifact.referrer.artifact_type.clone().unwrap_or_default(),
                digest: artifact.digest(),
                because: planned.because(),
                size: artifact.size(),
                destinations: states,
            };
            done.push(Done { artifact, told });
        }
        all.push(done);
    }
    Ok(all)
}

/// What an image is to have.
struct Made {
    planned: AttachmentPlan,
    artifact: Artifact,
}

async fn made(item: &Item, image: &Image, means: &Means<'_>, own: &BTreeSet<Digest>) -> Result<Vec<Made>, PublishError> {
    let planned = match &item.attachments {
        Some(planned) => planned.clone(),
        None => {
            let looking = Looking { scope: means.attaching.scope(), describe: means.attaching.describe(), own };
            let (planned, untrue) = plan(item, image, looking, &BTreeSet::new(), means.registries).await?;
            for untrue in untrue {
                means.events.emit(Event::Warning { text: untrue.to_string() });
            }
            planned
        }
    };
    let mut all = Vec::new();
    for planned in planned {
        let artifact = match (&planned.artifact, means.attaching) {
            (Some(artifact), _) => artifact.clone(),
            (None, Attaching::Sboms(describe)) => {
                let Some(at) = item.release.destinations.first() else { continue };
                let failed = |why| PublishError::Sbom { variant: item.release.variant.clone(), why };
                let document = describe.sbom(image, at).await.map_err(failed)?;
                Artifact::sbom(image, document).map_err(|error| failed(error.to_string()))?
            }
            (None, _) => continue,
        };
        all.push(Made { planned, artifact });
    }
    Ok(all)
}

/// Brings it to every destination at once.
async fn everywhere(
    item: &Item,
    artifact: &Artifact,
    planned: &AttachmentPlan,
    means: &Means<'_>,
) -> Result<BTreeMap<String, AttachmentState>, PublishError> {
    let source = Source { artifact, planned, means };
    let work = item.release.destinations.iter().map(|to| async {
        let registry = means.registries.get(&to.repository).ok_or_else(|| no_client(&to.destination))?;
        source.bring(registry, to).await.map(|state| (to.destination.clone(), state)).map_err(|error| failed(to, error))
    });
    let (mut states, mut failures) = (BTreeMap::new(), Vec::new());
    for brought in join_all(work).await {
        match brought {
            Ok((destination, state)) => drop(states.insert(destination, state)),
            Err(PublishError::Untagged { failures: more }) => failures.extend(more),
            Err(error) => return Err(error),
        }
    }
    if failures.is_empty() { Ok(states) } else { Err(PublishError::Untagged { failures }) }
}

fn failed(to: &Delivery, error: UploadError) -> PublishError {
    match error {
        UploadError::Registry(error) => {
            PublishError::Untagged { failures: vec![Failed { destination: to.destination.clone(), error }] }
        }
        UploadError::Store(error) => PublishError::Store(error),
        UploadError::Nowhere { digest } => PublishError::Nowhere { digest },
    }
}

/// Where the bytes of an attachment come from: they are at hand, or a destination has them.
struct Source<'a> {
    artifact: &'a Artifact,
    planned: &'a AttachmentPlan,
    means: &'a Means<'a>,
}

impl Source<'_> {
    async fn bring(&self, registry: &Registry, to: &Delivery) -> Result<AttachmentState, UploadError> {
        let mut missing = Vec::new();
        for blob in &self.artifact.blobs {
            if !registry.holds_blob(blob.digest, blob.size).await? {
                missing.push(blob);
            }
        }
        if missing.is_empty() && self.planned.holders.contains(&to.repository) {
            return Ok(AttachmentState::AlreadyThere);
        }
        for blob in missing {
            let blob = self.blob(blob, registry).await?;
            registry.send(&blob, &Arc::default()).await?;
        }
        registry.attach(&self.artifact.manifest, self.artifact.subject, &self.artifact.referrer).await?;
        read_back(registry, self.artifact).await?;
        Ok(AttachmentState::Attached)
    }

    async fn blob(&self, wanted: &Descriptor, asking: &Registry) -> Result<Blob, UploadError> {
        let Descriptor { digest, size, .. } = *wanted;
        if let Some(bytes) = self.artifact.bytes.get(&digest) {
            return Ok(Blob { digest, size, source: BlobSource::Memory(bytes.clone()) });
        }
        let holders = self.planned.holders.iter().filter(|holder| *holder != asking.repository());
        let registries = holders.filter_map(|holder| self.means.registries.get(holder));
        if fetch(registries, self.means.blobs, digest, size).await? {
            return Ok(Blob { digest, size, source: BlobSource::File(self.means.blobs.path(digest)) });
        }
        let gone = RegistryError::ReadBack {
            reference: asking.repository().digest(digest).to_string(),
            found: "nothing, here or in another destination".to_owned(),
            sent: digest,
        };
        Err(gone.into())
    }
}

/// As a consumer does: from the image to the list, to the manifest, to the blobs.
async fn read_back(registry: &Registry, artifact: &Artifact) -> Result<(), RegistryError> {
    let lacks = |found: &str, digest| RegistryError::ReadBack {
        reference: registry.repository().digest(digest).to_string(),
        found: found.to_owned(),
        sent: digest,
    };
    if !registry.shows(artifact.subject, &artifact.referrer).await? {
        let found = format!("nothing among what refers to {}", artifact.subject);
        return Err(lacks(&found, artifact.digest()));
    }
    match registry.manifest(&artifact.digest().to_string()).await? {
        Some(found) if found.bytes == artifact.manifest => {}
        _ => return Err(lacks("another manifest", artifact.digest())),
    }
    for blob in &artifact.blobs {
        // What was copied may be of any size: a look is enough there.
        let there = match artifact.bytes.get(&blob.digest) {
            Some(sent) => reads(registry, blob, sent).await?,
            None => registry.holds_blob(blob.digest, blob.size).await?,
        };
        if !there {
            return Err(lacks("nothing, or other bytes", blob.digest));
        }
    }
    Ok(())
}

/// Whether a blob reads as it was sent; what comes damaged is read again.
async fn reads(registry: &Registry, blob: &Descriptor, sent: &Bytes) -> Result<bool, RegistryError> {
    for _ in 0..READS {
        if read(registry, blob).await?.is_some_and(|found| found == *sent) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A blob in memory; none where it is missing or breaks off.
async fn read(registry: &Registry, blob: &Descriptor) -> Result<Option<Bytes>, RegistryError> {
    let Some(reader) = registry.read_blob(blob.digest).await? else { return Ok(None) };
    let mut bytes = Vec::new();
    let read = reader.take(blob.size.saturating_add(1)).read_to_end(&mut bytes).await;
    Ok(read.ok().map(|_| Bytes::from(bytes)))
}
