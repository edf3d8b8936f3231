//! SBOMs of what is published: from the layers as they lie in the store, or else in the registry that has them all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::Session;
use super::contents::Library;
use super::subject::{Finder, Place, Stored, Subject};
use crate::contents::Contents;
use crate::diff::{Difference, compare};
use crate::failure::Failure;
use crate::family::Family;
use crate::oci::{Digest, Repository};
use crate::publish::{Delivery, Describe, Described, Image, Learned, PublishedImage, Truth};
use crate::sbom::{cyclonedx, untrue};
use crate::store::{Blobs, Exported, LayerBlob};

/// Reads images, and remembers what is in them.
pub(super) struct Describing {
    library: Library,
    finder: Finder,
    blobs: Arc<Blobs>,
    known: Mutex<BTreeMap<Digest, Contents>>,
}

impl Describing {
    /// With the store that images are published from.
    pub(super) fn new(session: &Session, family: &Family, blobs: &Arc<Blobs>) -> Result<Self, Failure> {
        let library = Library::open(session, family.compression)?.beside(blobs);
        let finder = Finder::new(session, Some(family), &[])?;
        Ok(Self { library, finder, blobs: Arc::clone(blobs), known: Mutex::default() })
    }

    fn known(&self, config: Digest) -> Option<Contents> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&config).cloned()
    }

    fn keep(&self, contents: &Contents) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(contents.config_digest, contents.clone());
    }

    async fn contents(&self, image: &Image, at: &Delivery) -> Result<Contents, Failure> {
        if let Some(known) = self.known(image.config_digest) {
            return Ok(known);
        }
        let contents = self.read(image, at).await?;
        self.keep(&contents);
        Ok(contents)
    }

    async fn read(&self, image: &Image, at: &Delivery) -> Result<Contents, Failure> {
        let pairs = || image.diff_ids.iter().copied().zip(&image.layers);
        let is_here = |digest, size| std::fs::symlink_metadata(self.blobs.path(digest)).is_ok_and(|file| file.len() == size);
        if pairs().all(|(diff_id, layer)| self.library.has(diff_id) || is_here(layer.digest, layer.size)) {
            let layer = |(diff_id, layer): (Digest, &crate::publish::Descriptor)| {
                let (digest, size, media_type) = (layer.digest, layer.size, layer.media_type.clone());
                LayerBlob { diff_id, digest, size, path: self.blobs.path(digest), media_type }
            };
            let (name, layers) = (at.repository.digest(image.manifest.digest).to_string(), pairs().map(layer).collect());
            let (config, config_digest) = (image.config.clone(), image.config_digest);
            return self.library.exported(&Exported { name, config, config_digest, layers }).await;
        }
        let stored = Stored {
            repository: at.repository.clone(),
            insecure: at.insecure,
            config: image.config.clone(),
            config_digest: image.config_digest,
            layers: image.layers.clone(),
        };
        let subject = Subject {
            name: at.repository.digest(image.manifest.digest).to_string(),
            manifest: Some(image.manifest.digest),
            diff_ids: image.diff_ids.clone(),
            labels: image.labels.clone(),
            place: Place::Registry(stored),
        };
        let mut read = self.library.contents(&self.finder, &[&subject]).await?;
        read.pop().ok_or_else(|| Failure::new(crate::failure::Exit::Unexpected, "an image was not read"))
    }
}

impl Describing {
    /// What changed since an image was published last. Unless `reading`, only where that can be told without reading any layer: of
    /// those that were read before.
    pub(super) async fn changes(&self, image: &PublishedImage, reading: bool) -> Option<Difference> {
        let before = image.before.filter(|before| before.digest != image.digest)?.digest;
        let tag = image.destinations.values().flatten().next()?;
        let repository: Repository = tag.reference.rsplit_once(':')?.0.parse().ok()?;
        let now = match self.known(image.config_digest) {
            Some(known) => known,
            None => self.published(&repository.digest(image.digest).to_string(), reading).await?,
        };
        let before = self.published(&repository.digest(before).to_string(), reading).await?;
        Some(compare(&before, &now))
    }

    async fn published(&self, reference: &str, reading: bool) -> Option<Contents> {
        let subject = self.finder.find(reference).await.ok()?;
        if !reading && !subject.diff_ids.iter().all(|diff_id| self.library.has(*diff_id)) {
            return None;
        }
        self.library.contents(&self.finder, &[&subject]).await.ok()?.pop()
    }
}

impl Describe for Describing {
    fn sbom<'a>(&'a self, image: &'a Image, at: &'a Delivery) -> Described<'a> {
        Box::pin(async move {
            let contents = self.contents(image, at).await.map_err(|failure| failure.message)?;
            Ok(cyclonedx(&contents).into())
        })
    }

    fn knows(&self, image: &Image) -> Option<Truth> {
        let contents = self.known(image.config_digest).or_else(|| self.library.known(&image.config, image.config_digest))?;
        self.keep(&contents);
        Some(Box::new(move |document| untrue(document, &contents)))
    }

    fn learns<'a>(&'a self, image: &'a Image, at: &'a Delivery) -> Learned<'a> {
        Box::pin(async move {
            let contents = self.contents(image, at).await.map_err(|failure| failure.message)?;
            let truth: Truth = Box::new(move |document| untrue(document, &contents));
            Ok(truth)
        })
    }
}
