//! Where the bytes of a blob come from: this machine's store, or a destination that holds them already.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::sync::{Mutex, OnceCell};

use super::fetch::fetch;
use super::image::{Descriptor, Image};
use super::upload::UploadError;
use super::{Registries, Survey};
use crate::event::{Event, Events};
use crate::oci::{Digest, Repository};
use crate::registry::{Blob, BlobSource};
use crate::store::{Blobs, StoreError};

/// Gets blobs ready to be sent. What a destination alone holds is fetched once, however many others want it.
pub(super) struct Supply<'a> {
    blobs: &'a Arc<Blobs>,
    registries: &'a Registries,
    /// Per blob of an adopted image: who holds it.
    holders: BTreeMap<Digest, Vec<Repository>>,
    configs: BTreeMap<Digest, bytes::Bytes>,
    fetched: Mutex<HashMap<Digest, Arc<OnceCell<()>>>>,
    events: &'a Events,
}

impl<'a> Supply<'a> {
    /// For the images that registries hold.
    pub(super) fn new<'i>(
        adopted: impl Iterator<Item = &'i Image>,
        survey: &Survey,
        blobs: &'a Arc<Blobs>,
        registries: &'a Registries,
        events: &'a Events,
    ) -> Self {
        let (mut holders, mut configs) = (BTreeMap::<Digest, Vec<Repository>>::new(), BTreeMap::new());
        for image in adopted {
            let found = survey.found.get(&image.manifest.digest);
            let repositories: Vec<Repository> = found.into_iter().flat_map(|found| &found.holders).cloned().collect();
            configs.insert(image.config_digest, image.config.clone());
            for layer in &image.layers {
                holders.entry(layer.digest).or_default().extend(repositories.clone());
            }
        }
        Self { blobs, registries, holders, configs, fetched: Mutex::default(), events }
    }

    /// The blob, ready to be sent: what lies in the store is hashed before it leaves, since a registry would only say that
    /// something is wrong with it.
    pub(super) async fn blob(&self, wanted: &Descriptor) -> Result<Blob, UploadError> {
        let Descriptor { digest, size, .. } = *wanted;
        if let Some(config) = self.configs.get(&digest) {
            return Ok(Blob { digest, size, source: BlobSource::Memory(config.clone()) });
        }
        let path = self.blobs.path(digest);
        let is_here = || std::fs::symlink_metadata(&path).is_ok_and(|file| file.is_file() && file.len() == size);
        if is_here() {
            match self.verify(digest).await {
                // It was removed; another one may be had.
                Err(StoreError::Mismatch { .. }) if self.holders.contains_key(&digest) => {}
                verified => verified?,
            }
        }
        if !is_here() {
            self.fetch(wanted).await?;
        }
        Ok(Blob { digest, size, source: BlobSource::File(path) })
    }

    async fn verify(&self, digest: Digest) -> Result<(), StoreError> {
        let blobs = Arc::clone(self.blobs);
        tokio::task::spawn_blocking(move || blobs.verify(digest)).await.map_err(|_| StoreError::Worker)?
    }

    async fn fetch(&self, wanted: &Descriptor) -> Result<(), UploadError> {
        let once = Arc::clone(self.fetched.lock().await.entry(wanted.digest).or_default());
        once.get_or_try_init(|| self.fetch_once(wanted)).await.copied()
    }

    async fn fetch_once(&self, wanted: &Descriptor) -> Result<(), UploadError> {
        let holders = self.holders.get(&wanted.digest).into_iter().flatten();
        let registries = holders.filter_map(|repository| self.registries.get(repository)).inspect(|registry| {
            let from = registry.repository().registry();
            self.events.emit(Event::Note { text: format!("fetching {} from {from}", wanted.digest.short(12)) });
        });
        match fetch(registries, self.blobs, wanted.digest, wanted.size).await? {
            true => Ok(()),
            false => Err(UploadError::Nowhere { digest: wanted.digest }),
        }
    }
}
