//! Images made by hand, for tests.

use std::sync::Arc;

use crate::contents::{Contents, Entry, EntryKind, Layer, Package, PackageKind};
use crate::oci::{Digest, ImageConfig, Instruction, RunConfig};

/// An image without anything in it.
pub(crate) fn image() -> Contents {
    let config = ImageConfig {
        diff_ids: Vec::new(),
        labels: [].into(),
        run: RunConfig::default(),
        history: Vec::new(),
        platform: "linux/amd64".to_owned(),
        created: None,
    };
    Contents { config_digest: Digest::of("image"), config, layers: Vec::new(), packages: Vec::new(), system: None }
}

/// An image with these packages, which needs no layer for them.
pub(crate) fn with_packages(packages: Vec<Package>) -> Contents {
    Contents { config_digest: Digest::of(format!("{packages:?}")), packages, ..image() }
}

/// The same with one more layer of these files, made by this instruction.
pub(crate) fn layer(mut image: Contents, made_by: &str, files: &[(&str, &str)]) -> Contents {
    let entries: Vec<_> = files.iter().map(|(path, content)| file(path, content)).collect();
    let bytes = entries.iter().map(|entry| entry.bytes + 512).sum();
    let diff_id = Digest::of(format!("{files:?}"));
    let nothing =
        Layer { diff_id, bytes, entries, removed: Vec::new(), hidden: Vec::new(), evidence: Vec::new(), findings: Vec::new() };
    image.layers.push((Arc::new(nothing), Some(bytes / 2)));
    image.config.diff_ids.push(diff_id);
    image.config.history.push(Instruction { created_by: made_by.to_owned(), empty_layer: false });
    image.config_digest = Digest::of(format!("{:?}", image.config));
    image
}

/// The same, whose last layer also removes these paths and hides what lies in these folders.
pub(crate) fn without(mut image: Contents, removed: &[&str], hidden: &[&str]) -> Contents {
    if let Some((layer, _)) = image.layers.last_mut() {
        let layer = Arc::make_mut(layer);
        layer.removed = removed.iter().map(|&path| path.to_owned()).collect();
        layer.hidden = hidden.iter().map(|&path| path.to_owned()).collect();
        layer.diff_id = Digest::of(format!("{layer:?}"));
    }
    image
}

/// A file; a path that ends with `/` is a folder.
pub(crate) fn file(path: &str, content: &str) -> Entry {
    let kind = if path.ends_with('/') { EntryKind::Folder } else { EntryKind::File };
    Entry {
        path: path.trim_end_matches('/').to_owned(),
        kind,
        bytes: content.len() as u64,
        mode: if kind == EntryKind::Folder { 0o755 } else { 0o644 },
        uid: 0,
        gid: 0,
        content: Digest::of(content).short(16),
    }
}

/// A package of 1000 bytes; Debian's are for amd64, others at `place`.
pub(crate) fn package(kind: PackageKind, name: &str, version: &str, place: &str) -> Package {
    let is_debian = kind == PackageKind::Debian;
    Package {
        kind,
        name: name.to_owned(),
        version: version.to_owned(),
        architecture: is_debian.then(|| "amd64".to_owned()),
        place: (!is_debian).then(|| place.to_owned()),
        bytes: 1000,
        license: None,
        source: None,
        origin: None,
    }
}
