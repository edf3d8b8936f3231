//! From images to what is in them. Layers that were read before are not read again; others come through the store, so that
//! what is looked into is exported, downloaded and compressed once, and publishing it needs nothing more.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::release::held;
use super::session::Session;
use super::subject::{Finder, Place, Stored, Subject};
use crate::contents::{Contents, ContentsError, Open, Shelf, assemble, read_layers};
use crate::event::{Event, Events, Outcome};
use crate::failure::{Exit, Failure};
use crate::oci::{Compression, Digest, ImageConfig};
use crate::publish::PublishError;
use crate::registry::{Access, Registry};
use crate::store::{Blobs, Exported, LayerBlob, StoreError, Want, obtain};

/// Blobs that are downloaded at a time.
const AT_ONCE: usize = 3;

/// What is known of layers, and the store that their bytes go through. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Library {
    shelf: Arc<Shelf>,
    blobs: Arc<Blobs>,
    compression: Compression,
    events: Events,
}

impl Library {
    /// The one of this user.
    pub(crate) fn open(session: &Session, compression: Compression) -> Result<Self, Failure> {
        let places = session.places()?;
        let blobs = Blobs::open(&places.cache_folder("layers")?).map_err(PublishError::Store)?;
        let shelf = Shelf::open(&places.cache_folder("contents")?).map_err(ContentsError::Folder)?;
        shelf.trim();
        Ok(Self { shelf: Arc::new(shelf), blobs: Arc::new(blobs), compression, events: session.console.events() })
    }

    /// The same with a store that is open already.
    pub(crate) fn beside(self, blobs: &Arc<Blobs>) -> Self {
        Self { blobs: Arc::clone(blobs), ..self }
    }

    /// Whether a layer was read before.
    pub(crate) fn has(&self, diff_id: Digest) -> bool {
        self.shelf.has(diff_id)
    }

    /// What is in an image whose layers are in the store.
    pub(crate) async fn exported(&self, image: &Exported) -> Result<Contents, Failure> {
        let wanted = image.layers.iter().map(|layer| (layer.diff_id, layer.clone())).collect();
        self.read(&image.name, image.config.clone(), image.config_digest, wanted).await
    }

    /// What is in images, in their order. Those of the engine that have to be exported are exported together.
    pub(crate) async fn contents(&self, finder: &Finder, subjects: &[&Subject]) -> Result<Vec<Contents>, Failure> {
        let wants: Vec<Want> = subjects
            .iter()
            .filter_map(|subject| match &subject.place {
                Place::Engine(want) => Some(want.clone()),
                Place::Registry(_) => None,
            })
            .collect();
        let mut local = self.of_engine(finder, &wants).await?.into_iter();
        let mut all = Vec::new();
        for subject in subjects {
            all.push(match &subject.place {
                Place::Engine(_) => local.next().ok_or_else(|| Failure::new(Exit::Unexpected, "an image was not read"))?,
                Place::Registry(stored) => self.of_registry(finder, subject, stored).await?,
            });
        }
        Ok(all)
    }

    /// What is in images of the engine, in their order.
    pub(crate) async fn of_engine(&self, finder: &Finder, wants: &[Want]) -> Result<Vec<Contents>, Failure> {
        if wants.is_empty() {
            return Ok(Vec::new());
        }
        let engine = finder.engine.get().await?;
        let mut found: BTreeMap<Digest, Contents> = BTreeMap::new();
        for want in wants {
            let held = || engine.held(&[want.id])?.into_iter().next().map(|image| (image.config, want.id));
            if let Some((config, digest)) = self.blobs.config(want.id).or_else(held)
                && let Some(contents) = self.known(&config, digest)
            {
                found.insert(want.id, contents);
            }
        }
        let left: Vec<Want> = wants.iter().filter(|want| !found.contains_key(&want.id)).cloned().collect();
        if !left.is_empty() {
            let beside = held(engine);
            let blobs = Blobs::open(self.blobs.root()).map_err(PublishError::Store)?.beside(beside);
            let (blobs, mut again) = (Arc::new(blobs), true);
            let of = |images: &[Exported]| images.iter().flat_map(|image| &image.layers).map(|layer| layer.digest).collect();
            loop {
                let (told, _) = tokio::sync::mpsc::unbounded_channel();
                let export = async |names: &[String]| engine.export(names).await;
                let images = obtain(&left, self.compression, &blobs, &self.events, told, export).await;
                let images = images.map_err(PublishError::Store)?;
                let library = self.clone().beside(&blobs);
                let read: Result<Vec<Contents>, Failure> =
                    stream::iter(&images).then(|image| library.exported(image)).try_collect().await;
                match read {
                    Ok(read) => {
                        found.extend(left.iter().map(|want| want.id).zip(read));
                        break;
                    }
                    // A damaged blob is made anew, once.
                    Err(_) if std::mem::take(&mut again) && remove_damaged(&blobs, of(&images)).await => {}
                    Err(failure) => return Err(failure),
                }
            }
        }
        let one = |want: &Want| found.get(&want.id).cloned();
        wants.iter().map(one).collect::<Option<_>>().ok_or_else(|| Failure::new(Exit::Unexpected, "an image was not read"))
    }

    /// What would have to be downloaded to look into an image: how many layers, and their bytes.
    pub(crate) fn unread(&self, subject: &Subject) -> (usize, u64) {
        let Place::Registry(stored) = &subject.place else { return (0, 0) };
        let layers = subject.diff_ids.iter().zip(&stored.layers);
        let unread = layers.filter(|(diff_id, blob)| !self.shelf.has(**diff_id) && !self.blobs.path(blob.digest).is_file());
        unread.fold((0, 0), |(number, bytes), (_, blob)| (number + 1, bytes + blob.size))
    }

    async fn of_registry(&self, finder: &Finder, subject: &Subject, stored: &Stored) -> Result<Contents, Failure> {
        match self.downloaded(finder, subject, stored).await {
            // A damaged blob is downloaded anew, once.
            Err(failure) => match remove_damaged(&self.blobs, stored.layers.iter().map(|layer| layer.digest).collect()).await {
                true => self.downloaded(finder, subject, stored).await,
                false => Err(failure),
            },
            contents => contents,
        }
    }

    async fn downloaded(&self, finder: &Finder, subject: &Subject, stored: &Stored) -> Result<Contents, Failure> {
        let pairs = || subject.diff_ids.iter().copied().zip(&stored.layers);
        let mut unknown = HashSet::new();
        let missing: Vec<_> = pairs().filter(|(diff_id, _)| !self.shelf.has(*diff_id) && unknown.insert(*diff_id)).collect();
        if !missing.is_empty() {
            let registry = Registry::connect(&stored.repository, stored.insecure, Access::Pull, &finder.sources).await?;
            let downloads = missing.iter().map(|(_, layer)| self.download(&registry, &subject.name, layer.digest, layer.size));
            stream::iter(downloads).buffer_unordered(AT_ONCE).try_collect::<Vec<()>>().await?;
        }
        let blob = |(diff_id, layer): (Digest, &crate::publish::Descriptor)| {
            let (digest, size, media_type) = (layer.digest, layer.size, layer.media_type.clone());
            (diff_id, LayerBlob { diff_id, digest, size, path: self.blobs.path(digest), media_type })
        };
        self.read(&subject.name, stored.config.clone(), stored.config_digest, pairs().map(blob).collect()).await
    }

    async fn download(&self, registry: &Registry, name: &str, digest: Digest, size: u64) -> Result<(), Failure> {
        let (id, what) = (digest.to_string(), format!("{name} {}", digest.short(12)));
        let told = |bytes| Event::Transfer { id: id.clone(), what: what.clone(), bytes, total: Some(size) };
        self.events.emit(told(0));
        let gone = || Failure::new(Exit::Missing, format!("`{name}` names the layer {digest}, which its registry does not have"));
        let reader = registry.read_blob(digest).await?.ok_or_else(gone)?;
        self.blobs.take_in(digest, size, reader).await.map_err(PublishError::Store)?;
        self.events.emit(told(size));
        Ok(())
    }

    /// An image of which every layer was read before.
    pub(crate) fn known(&self, config: &Bytes, digest: Digest) -> Option<Contents> {
        let config = ImageConfig::read(config).ok()?;
        let layer = |diff_id: &Digest| {
            let size = self.blobs.layer(*diff_id, &self.compression).map(|blob| blob.size);
            Some((self.shelf.layer(*diff_id)?, size))
        };
        let layers = config.diff_ids.iter().map(layer).collect::<Option<_>>()?;
        Some(assemble(digest, config, layers))
    }

    async fn read(
        &self,
        name: &str,
        config: Bytes,
        config_digest: Digest,
        layers: Vec<(Digest, LayerBlob)>,
    ) -> Result<Contents, Failure> {
        let config = ImageConfig::read(&config).map_err(|error| {
            Failure::new(Exit::Unexpected, format!("the configuration of `{name}` cannot be read")).source(error)
        })?;
        let unknown = layers.iter().filter(|(diff_id, _)| !self.shelf.has(*diff_id)).count();
        let (step, started) = (format!("look {name}"), Instant::now());
        if unknown > 0 {
            let title = format!("look into {unknown} layers of {name}");
            self.events.emit(Event::StepStarted { step: step.clone(), title });
        }
        let library = self.clone();
        let work = tokio::task::spawn_blocking(move || {
            let open = |(diff_id, blob): &(Digest, LayerBlob)| {
                let (blobs, blob) = (Arc::clone(&library.blobs), blob.clone());
                let open: Open = Box::new(move || blobs.tar(&blob));
                (*diff_id, open)
            };
            let read = read_layers(&library.shelf, layers.iter().map(open).collect())?;
            let sizes = layers.iter().map(|(_, blob)| Some(blob.size));
            Ok::<_, ContentsError>(assemble(config_digest, config, read.into_iter().zip(sizes).collect()))
        });
        let read = work.await.map_err(|_| ContentsError::Worker)?;
        if unknown > 0 {
            let (outcome, detail) = match &read {
                Ok(contents) => (Outcome::Done, format!("{} packages", contents.packages.len())),
                Err(error) => (Outcome::Failed, error.to_string()),
            };
            self.events.emit(Event::StepFinished { step, outcome, seconds: started.elapsed(), detail });
        }
        Ok(read?)
    }
}

/// Whether one of these blobs was damaged; then it is gone now.
async fn remove_damaged(blobs: &Arc<Blobs>, digests: HashSet<Digest>) -> bool {
    let blobs = Arc::clone(blobs);
    let look =
        move || digests.into_iter().filter(|digest| matches!(blobs.verify(*digest), Err(StoreError::Mismatch { .. }))).count();
    tokio::task::spawn_blocking(look).await.is_ok_and(|damaged| damaged > 0)
}

impl From<ContentsError> for Failure {
    fn from(error: ContentsError) -> Self {
        let failure = Self::new(Exit::Unexpected, error.to_string());
        match &error {
            ContentsError::Folder(_) => Self { exit: Exit::Missing, ..failure }
                .hint("make room, or name another folder with GANTRY_CACHE_DIR")
                .source(error),
            _ => failure.source(error),
        }
    }
}
