//! Carrying a release out: blobs as they become ready, manifests, immutable tags, moving tags, a last look.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use tokio::io::AsyncRead;
use tokio::sync::mpsc::{self, UnboundedSender};

use super::attach::{self, Attaching};
use super::decide::Choice;
use super::image::{Descriptor, Image, annotations};
use super::ledger::{ImageLine, Ledger};
use super::plan::{ReleasePlan, TagKind};
use super::published::{Published, Uploaded, published};
use super::release::{Item, Release};
use super::seed;
use super::supply::Supply;
use super::tagging::{self, Journal, Subject, Target};
use super::upload::{Lane, UploadError, Volume};
use super::{Failed, PublishError, Refusal};
use crate::event::{Event, Events, Outcome};
use crate::oci::{Digest, Repository};
use crate::registry::{Access, Registry, RegistryError, Sources};
use crate::store::{Blobs, Compression, LayerBlob, Want, obtain};

/// A client for every repository of a plan.
pub type Registries = BTreeMap<Repository, Registry>;

/// Where the bytes come from and go to.
pub struct Means<'a> {
    /// A client for every repository.
    pub registries: &'a Registries,
    /// Compressed layers.
    pub blobs: &'a Arc<Blobs>,
    /// How layers are compressed.
    pub compression: Compression,
    /// Who is told.
    pub events: &'a Events,
    /// What is attached to images.
    pub attaching: Attaching<'a>,
    /// Whether an image may be published, by what it is called and its config digest; none: every one may. It is asked about
    /// every image before the first tag is set: an engine that keeps manifests calls none by its config digest.
    pub verdict: Option<Verdict<'a>>,
}

/// Why an image is not published; none where it may be.
pub type Verdict<'a> = &'a (dyn Fn(&str, Digest) -> Option<Refusal> + Sync);

/// Makes a client for every repository of the plan. Nothing is sent to a registry yet; credential helpers are asked.
///
/// # Errors
/// [`PublishError::Connect`].
pub async fn connect(plan: &ReleasePlan, sources: &Sources) -> Result<Registries, PublishError> {
    let deliveries = plan.variants().iter().flat_map(|release| &release.destinations);
    let places = deliveries.map(|to| (to.destination.as_str(), &to.repository, to.insecure));
    connect_to(places, Access::Push, sources).await
}

/// The same for repositories that are named: destination, repository, whether plain http is spoken there.
///
/// # Errors
/// [`PublishError::Connect`].
pub async fn connect_to<'a>(
    places: impl IntoIterator<Item = (&'a str, &'a Repository, bool)>,
    access: Access,
    sources: &Sources,
) -> Result<Registries, PublishError> {
    let mut registries = Registries::new();
    for (destination, repository, insecure) in places {
        if !registries.contains_key(repository) {
            let made = Registry::connect(repository, insecure, access, sources).await;
            let failed = |error| PublishError::Connect { destination: destination.to_owned(), error };
            registries.insert(repository.clone(), made.map_err(failed)?);
        }
    }
    Ok(registries)
}

/// Carries the release out. No tag is touched before every blob, manifest and attachment is in every destination and was read back,
/// no moving tag before every immutable one is set; at the end every tag is looked at again. `export` is asked for
/// images whose layers are not known.
///
/// # Errors
/// [`PublishError`]: whether nothing or some of the tags were set.
pub async fn execute<R, E>(
    release: &Release,
    means: &Means<'_>,
    ledger: &mut Ledger,
    export: impl AsyncFn(&[String]) -> Result<R, E>,
) -> Result<Published, PublishError>
where
    R: AsyncRead + Send + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let (images, sent) = store(release, means, export).await?;
    let targets = targets(release, &images, means.registries)?;
    let attached = attach::attach(release, &images, means, ledger).await?;
    let mut journal = Journal::open(ledger, &targets, means.events)?;
    for kind in [TagKind::Immutable, TagKind::Moving] {
        tagging::set(&targets, kind, &release.survey, &mut journal).await?;
    }
    tagging::check(&targets, &journal).await?;
    let lacking = attach::check(release, &attached, means).await;
    if !lacking.is_empty() {
        return Err(journal.error(None, lacking, Vec::new()));
    }
    Ok(published(release, &images, &attached, &sent, journal))
}

impl Item {
    pub(super) fn line(&self, image: &Image) -> ImageLine {
        ImageLine {
            variant: self.release.variant.clone(),
            platform: self.release.platform,
            input: self.release.input,
            digest: image.manifest.digest,
            config: image.config_digest,
        }
    }
}

/// What is told to the destinations: blobs that are ready.
struct Senders(BTreeMap<Repository, UnboundedSender<Descriptor>>);

impl Senders {
    /// A lane that has failed takes nothing any more, which is no trouble of the others.
    fn send(&self, item: &Item, release: &Release, blobs: impl Iterator<Item = Descriptor> + Clone) {
        for delivery in item.release.destinations.iter().filter(|delivery| !release.holds(delivery, item)) {
            let there = release.there.get(&delivery.repository);
            let Some(lane) = self.0.get(&delivery.repository) else { continue };
            for blob in blobs.clone().filter(|blob| there.is_none_or(|there| !there.contains(&blob.digest))) {
                let _ = lane.send(blob);
            }
        }
    }
}

/// Brings every blob and every manifest to every destination; the images, in the order of the release.
async fn store<R, E>(
    release: &Release,
    means: &Means<'_>,
    export: impl AsyncFn(&[String]) -> Result<R, E>,
) -> Result<(Vec<Image>, Uploaded), PublishError>
where
    R: AsyncRead + Send + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let adopted = release.items.iter().filter(|item| item.choice != Choice::Built).filter_map(|item| item.image.as_ref());
    let supply = Supply::new(adopted, &release.survey, means.blobs, means.registries, means.events);
    let (mut senders, mut lanes, none) = (BTreeMap::new(), Vec::new(), HashSet::new());
    for (_, delivery) in release.deliveries() {
        let Some(registry) = means.registries.get(&delivery.repository) else { return Err(no_client(&delivery.destination)) };
        if !senders.contains_key(&delivery.repository) {
            let (sender, queue) = mpsc::unbounded_channel();
            senders.insert(delivery.repository.clone(), sender);
            let missing = release.missing.get(&delivery.repository).unwrap_or(&none);
            lanes.push((
                &delivery.destination,
                Lane { step: format!("push {}", delivery.destination), registry, missing },
                queue,
            ));
        }
    }
    let senders = Senders(senders);
    let (ready, done) = tokio::sync::watch::channel(None::<Arc<Vec<Image>>>);
    let producing = async {
        let images = produce(release, means, &senders, export).await;
        drop(senders);
        let images = Arc::new(images?);
        ready.send_replace(Some(Arc::clone(&images)));
        Ok::<_, PublishError>(images)
    };
    let supply = &supply;
    let lanes = join_all(lanes.into_iter().map(|(destination, lane, queue)| {
        let mut done = done.clone();
        async move {
            let started = Instant::now();
            let (step, events) = (lane.step.clone(), means.events);
            events.emit(Event::StepStarted { step: step.clone(), title: format!("push to {}", lane.registry.repository()) });
            let sent = async {
                let volume = lane.blobs(queue, supply, events).await?;
                let images = done.wait_for(Option::is_some).await.ok().and_then(|images| images.clone()).unwrap_or_default();
                let at = lane.registry.repository();
                let wanted = release.items.iter().zip(images.iter()).filter(|(item, _)| {
                    item.release.destinations.iter().any(|to| to.repository == *at && !release.holds(to, item))
                });
                lane.manifests(&wanted.map(|(_, image)| image).collect::<Vec<_>>()).await?;
                Ok::<_, UploadError>(volume)
            }
            .await;
            let (outcome, detail) = match &sent {
                Ok(Volume { sent, .. }) if sent.is_empty() => (Outcome::UpToDate, "every blob was there".to_owned()),
                Ok(Volume { sent, bytes, there }) => {
                    let there = there + release.there.get(lane.registry.repository()).map_or(0, |there| there.len() as u64);
                    (Outcome::Done, format!("{} blobs sent ({bytes} bytes), {there} were there", sent.len()))
                }
                Err(error) => (Outcome::Failed, error.to_string()),
            };
            events.emit(Event::StepFinished { step, outcome, seconds: started.elapsed(), detail });
            (destination, lane.registry.repository(), sent)
        }
    }));
    let lanes = async { Ok(lanes.await) };
    let (images, sent) = tokio::try_join!(producing, lanes)?;
    let (mut failures, mut uploaded) = (Vec::new(), Uploaded::new());
    for (destination, repository, sent) in sent {
        match sent {
            Ok(volume) => drop(uploaded.insert(repository.clone(), volume.sent)),
            Err(UploadError::Registry(error)) => failures.push(Failed { destination: destination.clone(), error }),
            Err(UploadError::Store(error)) => return Err(PublishError::Store(error)),
            Err(UploadError::Nowhere { digest }) => return Err(PublishError::Nowhere { digest }),
        }
    }
    if failures.is_empty() { Ok((Arc::unwrap_or_clone(images), uploaded)) } else { Err(PublishError::Untagged { failures }) }
}

pub(super) fn no_client(destination: &str) -> PublishError {
    let error = RegistryError::Client { registry: destination.to_owned(), why: "none was made".to_owned() };
    PublishError::Connect { destination: destination.to_owned(), error }
}

/// Hands out what is known, then every layer as soon as it is compressed, then the configurations.
async fn produce<R, E>(
    release: &Release,
    means: &Means<'_>,
    senders: &Senders,
    export: impl AsyncFn(&[String]) -> Result<R, E>,
) -> Result<Vec<Image>, PublishError>
where
    R: AsyncRead + Send + Unpin,
    E: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    for item in &release.items {
        if let Some(image) = &item.image {
            // The largest first: it is what the end waits for.
            let mut blobs: Vec<_> = image.blobs().collect();
            blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size));
            senders.send(item, release, blobs.into_iter());
        }
    }
    let unknown: Vec<(&Item, &super::plan::Built)> = release
        .items
        .iter()
        .filter(|item| item.image.is_none())
        .filter_map(|item| Some((item, item.release.built.as_ref()?)))
        .collect();
    let layers = unknown.iter().flat_map(|(_, built)| built.diff_ids.iter().copied());
    seed::seed(&release.survey, layers.collect(), means).await;
    let wants: Vec<Want> = unknown.iter().map(|(_, built)| built.want.clone()).collect();
    let (finished, mut layers) = mpsc::unbounded_channel::<LayerBlob>();
    let obtaining = async {
        let images = obtain(&wants, means.compression, means.blobs, means.events, finished, export).await;
        images.map_err(PublishError::Store)
    };
    let forwarding = async {
        while let Some(layer) = layers.recv().await {
            let LayerBlob { diff_id, digest, size, media_type, .. } = layer;
            let blob = Descriptor { media_type, digest, size };
            for (item, _) in unknown.iter().filter(|(_, built)| built.diff_ids.contains(&diff_id)) {
                senders.send(item, release, std::iter::once(blob.clone()));
            }
        }
        Ok(())
    };
    let (exported, ()) = tokio::try_join!(obtaining, forwarding)?;
    let mut exported = exported.into_iter();
    let (mut images, mut refusals) = (Vec::new(), Vec::new());
    for item in &release.items {
        let image = match (&item.image, &item.release.built) {
            (Some(image), _) => image.clone(),
            (None, Some(built)) => {
                let lacking = || crate::store::StoreError::Missing { name: built.want.name.clone() };
                let image = Image::exported(&exported.next().ok_or_else(lacking)?, &annotations(&built.labels))?;
                senders.send(item, release, image.blobs().collect::<Vec<_>>().into_iter());
                image
            }
            (None, None) => return Err(PublishError::Missing { variants: vec![item.release.variant.clone()] }),
        };
        let here = item.release.built.as_ref().filter(|_| item.choice == Choice::Built).map(|built| built.image.clone());
        let name = here.unwrap_or_else(|| image.manifest.digest.to_string());
        refusals.extend(means.verdict.and_then(|verdict| verdict(&name, image.config_digest)));
        if let Some(tested) = item.release.config_digest.filter(|tested| *tested != image.config_digest) {
            refusals.push(Refusal::OtherImage { image: name, found: image.config_digest, tested });
        }
        images.push(image);
    }
    if refusals.is_empty() { Ok(images) } else { Err(PublishError::Refused { refusals }) }
}

fn targets<'a>(release: &'a Release, images: &'a [Image], registries: &'a Registries) -> Result<Vec<Target<'a>>, PublishError> {
    let mut targets = Vec::new();
    for (item, image) in release.items.iter().zip(images) {
        for delivery in &item.release.destinations {
            let registry = registries.get(&delivery.repository).ok_or_else(|| no_client(&delivery.destination))?;
            let (variant, platform) = (&item.release.variant, Some(item.release.platform));
            let subject = Subject { variant, platform, manifest: &image.manifest, image: Some(item.line(image)) };
            targets.push(Target { subject, delivery, registry });
        }
    }
    Ok(targets)
}
