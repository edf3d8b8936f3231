//! Images whose layers can be read one by one, without an export: then only those are read that are not known.

use std::collections::HashSet;
use std::io::{self, Read};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::mpsc;

use super::pack::Packer;
use super::split::{Sorter, collect};
use super::{Blobs, Finished, StoreError, diff_ids};
use crate::event::{Event, Events, Outcome};
use crate::oci::{Compression, Digest};

/// Where images with some ids are read from without an export, if they can be.
pub struct Direct(Box<Look>);

type Look = dyn Fn(&[Digest]) -> Option<Vec<DirectImage>> + Send + Sync;

impl Direct {
    /// `look` gives the images with the ids that it is asked for, all or none. It looks for no longer than a few small
    /// files take.
    pub fn new(look: impl Fn(&[Digest]) -> Option<Vec<DirectImage>> + Send + Sync + 'static) -> Self {
        Self(Box::new(look))
    }

    pub(super) fn images(&self, ids: &[Digest]) -> Option<Vec<DirectImage>> {
        (self.0)(ids)
    }
}

impl std::fmt::Debug for Direct {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Direct(…)")
    }
}

/// An image that is read without an export.
pub struct DirectImage {
    /// The configuration.
    pub config: Bytes,
    /// Its layers, in any order.
    pub layers: Vec<DirectLayer>,
}

/// A layer that is read without an export.
pub struct DirectLayer {
    /// What the digest of its tar has to be: it is believed for nothing else.
    pub diff_id: Digest,
    /// Gives the tar.
    pub open: Open,
}

/// Opens the tar of a layer.
pub type Open = Box<dyn FnOnce() -> io::Result<Box<dyn Read + Send>> + Send>;

/// Reads what is not known of `images` into the store, so that [`super::obtain`] needs no export for them. Every new layer
/// goes to `finished` as soon as its blob is there.
///
/// # Errors
/// Something cannot be read, or is not what its digest says, or the disk is full. What was finished before stays.
pub(super) async fn take(
    images: Vec<DirectImage>,
    compression: Compression,
    blobs: &Arc<Blobs>,
    events: &Events,
    finished: &Finished,
) -> Result<(), StoreError> {
    let mut seen = HashSet::new();
    let (mut configs, mut unknown) = (Vec::new(), Vec::new());
    for DirectImage { config, layers } in images {
        let wanted = |layer: &DirectLayer| blobs.layer(layer.diff_id, &compression).is_none();
        unknown.extend(layers.into_iter().filter(|layer| seen.insert(layer.diff_id) && wanted(layer)));
        configs.push(config);
    }
    if !unknown.is_empty() {
        let (step, started) = ("export".to_owned(), Instant::now());
        let title = format!("read {} layers from the engine's files", unknown.len());
        events.emit(Event::StepStarted { step: step.clone(), title });
        let read = read(unknown, compression, blobs, finished).await;
        let (outcome, detail) = match &read {
            Ok(()) => (Outcome::Done, String::new()),
            Err(error) => (Outcome::Failed, error.to_string()),
        };
        events.emit(Event::StepFinished { step, outcome, seconds: started.elapsed(), detail });
        read?;
    }
    for config in configs {
        let all = diff_ids(&config)?.into_iter().all(|diff_id| blobs.layer(diff_id, &compression).is_some());
        let digest = Digest::of(&config);
        if all {
            blobs.remember_image(&config, digest, &[digest])?;
        }
    }
    Ok(())
}

async fn read(
    layers: Vec<DirectLayer>,
    compression: Compression,
    blobs: &Arc<Blobs>,
    finished: &Finished,
) -> Result<(), StoreError> {
    let (found, done) = mpsc::unbounded_channel();
    let sorter = Sorter { blobs: Arc::clone(blobs), compression, known: HashSet::new(), spool: Arc::new(blobs.spool()?), found };
    let reader = tokio::task::spawn_blocking(move || {
        let packer = Packer::start(compression).map_err(|source| StoreError::Threads { source })?;
        layers.into_iter().try_for_each(|layer| {
            let mut tar = (layer.open)().map_err(|source| StoreError::Export { source })?;
            // A path that says what the digest has to be: it is compared at the end.
            sorter.pack(format!("blobs/sha256/{}", layer.diff_id.hex()), None, &mut tar, &packer)
        })
    });
    let read = async { reader.await.map_err(|_| StoreError::Worker)? };
    tokio::try_join!(read, collect(done, compression, blobs, finished))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use crate::event::Sink;
    use crate::store::{Exported, LayerBlob, Want, obtain};

    const GZIP: Compression = Compression::Gzip { level: 6 };

    #[derive(Default)]
    struct Heard(Mutex<Vec<Event>>);

    impl Sink for Heard {
        fn emit(&self, event: Event) {
            self.0.lock().unwrap().push(event);
        }
    }

    fn config(layers: &[&'static str]) -> Bytes {
        let diff_ids: Vec<Digest> = layers.iter().map(Digest::of).collect();
        serde_json::to_vec(&serde_json::json!({ "rootfs": { "type": "layers", "diff_ids": diff_ids } })).unwrap().into()
    }

    /// Images of layers with these bytes. Layers that are opened are noted; `damaged` ones are something else.
    fn images(all: &[&[&'static str]], opened: &Arc<Mutex<Vec<&'static str>>>, damaged: &'static str) -> Vec<DirectImage> {
        let layer = |text: &'static str| {
            let opened = Arc::clone(opened);
            let open: Open = Box::new(move || {
                opened.lock().unwrap().push(text);
                let bytes = if text == damaged { "else" } else { text };
                Ok(Box::new(bytes.as_bytes()))
            });
            DirectLayer { diff_id: Digest::of(text), open }
        };
        let image = |layers: &&[&'static str]| DirectImage {
            config: config(layers),
            layers: layers.iter().copied().map(layer).collect(),
        };
        all.iter().map(image).collect()
    }

    /// What became of images that can be read directly: the result, the layers that were opened, how many were told.
    type Taken = (Result<Vec<Exported>, StoreError>, Vec<&'static str>, Vec<LayerBlob>);

    fn take_in(folder: &std::path::Path, all: &'static [&'static [&'static str]], damaged: &'static str) -> Taken {
        let opened = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&opened);
        let direct = Direct::new(move |ids| {
            let wanted: Vec<_> = all.iter().copied().filter(|layers| ids.contains(&Digest::of(config(layers)))).collect();
            Some(images(&wanted, &noted, damaged))
        });
        let blobs = Arc::new(Blobs::open(folder).unwrap().beside(direct));
        let wants: Vec<Want> =
            all.iter().map(|layers| Want { name: format!("of {}", layers.len()), id: Digest::of(config(layers)) }).collect();
        let events: Events = Arc::new(Heard::default());
        let (finished, mut heard) = mpsc::unbounded_channel();
        let export = async |_: &[String]| Err::<tokio::io::Empty, _>(io::Error::other("exported"));
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let result = runtime.block_on(obtain(&wants, GZIP, &blobs, &events, finished, export));
        let told = std::iter::from_fn(|| heard.try_recv().ok()).collect();
        let opened = opened.lock().unwrap().clone();
        (result, opened, told)
    }

    #[test]
    fn what_can_be_read_is_not_exported_and_only_what_is_unknown_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let (images, opened, told) = take_in(folder.path(), &[&["below", "one"], &["below", "two"]], "");
        let images = images.unwrap();
        assert_eq!(opened, ["below", "one", "two"]);
        assert_eq!(images[0].layers[0], images[1].layers[0]);
        assert!(images.iter().flat_map(|image| &image.layers).all(|layer| told.contains(layer)));
        assert_eq!(images[1].config, config(&["below", "two"]));

        let (images, opened, _) = take_in(folder.path(), &[&["below", "one"], &["below", "three"]], "");
        assert_eq!((images.unwrap().len(), opened.as_slice()), (2, ["three"].as_slice()));
    }

    #[test]
    fn a_layer_that_is_not_what_it_should_be_is_exported() {
        let folder = tempfile::tempdir().unwrap();
        let (images, _, _) = take_in(folder.path(), &[&["below", "one"]], "one");
        assert!(matches!(&images, Err(StoreError::Engine { source }) if source.to_string() == "exported"), "{images:?}");
        let (images, opened, _) = take_in(folder.path(), &[&["below", "one"]], "");
        assert_eq!((images.unwrap().len(), opened.last()), (1, Some(&"one")));
    }
}
