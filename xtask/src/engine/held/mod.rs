//! Layers as the engine's own files hold them. An export of 20.10 gives nothing for seconds per gigabyte and keeps one core
//! busy; where this user may read what the graph driver `overlay2` keeps (as root may, beside the engine), the same bytes
//! are read from there, several times as fast, and only those of layers that are asked for. What is read is believed for
//! nothing but its digest. Whoever may not read it, or finds it otherwise than expected, exports.

#[cfg(target_os = "linux")]
mod tarsplit;

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::Engine;
use crate::oci::{Digest, ImageConfig};

/// An image, read without an export.
#[derive(Debug)]
pub struct HeldImage {
    /// The configuration: its digest was checked.
    pub config: Bytes,
    /// Lowest first.
    pub layers: Vec<HeldLayer>,
}

/// A layer whose tar can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldLayer {
    /// What its digest has to be. Nobody has looked yet.
    pub diff_id: Digest,
    description: PathBuf,
    files: PathBuf,
}

impl HeldLayer {
    /// The layer's tar. Its digest has to be compared with [`HeldLayer::diff_id`].
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(&self) -> io::Result<impl Read + Send + use<>> {
        #[cfg(target_os = "linux")]
        return tarsplit::TarSplit::open(&self.description, &self.files);
        #[cfg(not(target_os = "linux"))]
        return Err::<io::Empty, _>(io::Error::from(io::ErrorKind::Unsupported));
    }
}

impl Engine {
    /// The images with these ids, in this order, if this user may read all that the engine keeps of them. Blocks for a few
    /// small files.
    pub fn held(&self, ids: &[Digest]) -> Option<Vec<HeldImage>> {
        let root = self.info().overlay2.as_deref().filter(|_| cfg!(target_os = "linux"))?;
        ids.iter().map(|id| image(root, *id)).collect()
    }
}

fn image(root: &Path, id: Digest) -> Option<HeldImage> {
    let config = std::fs::read(root.join("image/overlay2/imagedb/content/sha256").join(id.hex())).ok()?;
    if Digest::of(&config) != id {
        return None;
    }
    let diff_ids = ImageConfig::read(&config).ok()?.diff_ids;
    let layers = chain(&diff_ids).map(|(diff_id, chain)| layer(root, diff_id, chain)).collect::<Option<_>>()?;
    Some(HeldImage { config: config.into(), layers })
}

fn layer(root: &Path, diff_id: Digest, chain: Digest) -> Option<HeldLayer> {
    let folder = root.join("image/overlay2/layerdb/sha256").join(chain.hex());
    let text = |name: &str| Some(std::fs::read_to_string(folder.join(name)).ok()?.trim().to_owned());
    let (diff, cache) = (text("diff")?, text("cache-id")?);
    if diff != diff_id.to_string() || cache.is_empty() || !cache.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let layer = HeldLayer {
        diff_id,
        description: folder.join("tar-split.json.gz"),
        files: root.join("overlay2").join(cache).join("diff"),
    };
    (layer.description.is_file() && layer.files.is_dir()).then_some(layer)
}

/// Every layer with the name of all up to it. (OCI image specification, "Layer ChainID".)
fn chain(diff_ids: &[Digest]) -> impl Iterator<Item = (Digest, Digest)> {
    let below = std::cell::Cell::new(None::<Digest>);
    diff_ids.iter().map(move |diff_id| {
        let chain = below.get().map_or(*diff_id, |below| Digest::of(format!("{below} {diff_id}")));
        below.set(Some(chain));
        (*diff_id, chain)
    })
}
