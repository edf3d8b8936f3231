//! Exports as `docker save` writes them: with 20.10 a folder per layer, links for what is there already, `manifest.json` at
//! the end; from 25 on an OCI layout with `manifest.json` beside it. Layers are made of numbers, the same ones each time.

use std::collections::HashMap;
use std::io::{Read, Write};

use xtask::oci::Digest;
use xtask::store::Want;

/// A layer as an export holds it.
#[derive(Clone)]
pub(crate) struct Layer {
    bytes: Vec<u8>,
    /// What the configuration calls it.
    diff_id: Digest,
    /// What its file in a layout is called.
    name: Digest,
}

/// A tar archive of about `size` bytes.
pub(crate) fn layer(seed: u64, size: usize) -> Layer {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut text = Vec::with_capacity(size + 20);
    // Longer than any compressor looks back, at their usual levels.
    while text.len() < size.min(5 << 20) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.extend_from_slice(format!("{state:x} ").as_bytes());
    }
    let text: Vec<u8> = text.into_iter().cycle().take(size).collect();
    let mut tar = tar::Builder::new(Vec::new());
    append(&mut tar, "file", &text);
    let bytes = tar.into_inner().expect("an archive");
    let digest = Digest::of(&bytes);
    Layer { bytes, diff_id: digest, name: digest }
}

/// The layer as an engine that keeps compressed layers holds it.
pub(crate) fn gzip(layer: &Layer) -> Layer {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(&layer.bytes).expect("compressed");
    let bytes = encoder.finish().expect("compressed");
    Layer { name: Digest::of(&bytes), bytes, diff_id: layer.diff_id }
}

pub(crate) fn zstd(layer: &Layer) -> Layer {
    let bytes = zstd::encode_all(&layer.bytes[..], 1).expect("compressed");
    Layer { name: Digest::of(&bytes), bytes, diff_id: layer.diff_id }
}

pub(crate) fn unpack(bytes: &[u8]) -> Vec<u8> {
    let mut unpacked = Vec::new();
    match bytes {
        [0x1f, 0x8b, ..] => drop(flate2::read::MultiGzDecoder::new(bytes).read_to_end(&mut unpacked).expect("gzip")),
        _ => drop(zstd::Decoder::new(bytes).expect("zstd").read_to_end(&mut unpacked).expect("zstd")),
    }
    unpacked
}

impl Layer {
    pub(crate) fn diff_id(&self) -> Digest {
        self.diff_id
    }

    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The configuration calls it what another one is.
    pub(crate) fn called(mut self, other: &Self) -> Self {
        self.diff_id = other.diff_id;
        self
    }

    /// A layout calls it what it is not.
    pub(crate) fn named(mut self, name: Digest) -> Self {
        self.name = name;
        self
    }
}

/// An export of some images.
pub(crate) struct Export {
    bytes: Vec<u8>,
    wants: Vec<Want>,
}

impl Export {
    /// As Docker 20.10 writes it.
    pub(crate) fn legacy(images: &[(&str, &[&Layer])]) -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        let (mut first, mut saved, mut wants) = (HashMap::new(), Vec::new(), Vec::new());
        for (name, layers) in images {
            let mut paths = Vec::new();
            for (number, layer) in layers.iter().enumerate() {
                let folder = Digest::of(format!("{name} {number}")).hex();
                let path = format!("{folder}/layer.tar");
                if let Some(there) = first.get(&layer.digest().hex()) {
                    let mut header = tar::Header::new_gnu();
                    header.set_entry_type(tar::EntryType::Symlink);
                    header.set_size(0);
                    tar.append_link(&mut header, &path, format!("../{there}")).expect("a link");
                } else {
                    append(&mut tar, &format!("{folder}/VERSION"), b"1.0");
                    append(&mut tar, &path, &layer.bytes);
                    first.insert(layer.digest().hex(), path.clone());
                }
                paths.push(path);
            }
            let config = config(name, layers);
            let file = format!("{}.json", Digest::of(&config).hex());
            append(&mut tar, &file, &config);
            saved.push(serde_json::json!({"Config": file, "RepoTags": [name], "Layers": paths}));
            wants.push(Want { name: (*name).to_owned(), id: Digest::of(&config) });
        }
        append(&mut tar, "manifest.json", serde_json::Value::from(saved).to_string().as_bytes());
        Self { bytes: tar.into_inner().expect("an archive"), wants }
    }

    /// As Docker 25 and later write it.
    pub(crate) fn layout(images: &[(&str, &[&Layer])]) -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        let (mut saved, mut wants) = (Vec::new(), Vec::new());
        let path = |digest: Digest| format!("blobs/sha256/{}", digest.hex());
        for (name, layers) in images {
            layers.iter().for_each(|layer| append(&mut tar, &path(layer.name), &layer.bytes));
            let config = config(name, layers);
            append(&mut tar, &path(Digest::of(&config)), &config);
            let layers: Vec<_> = layers.iter().map(|layer| path(layer.name)).collect();
            saved.push(serde_json::json!({"Config": path(Digest::of(&config)), "RepoTags": [name], "Layers": layers}));
            wants.push(Want { name: (*name).to_owned(), id: Digest::of(&config) });
        }
        append(&mut tar, "manifest.json", serde_json::Value::from(saved).to_string().as_bytes());
        Self { bytes: tar.into_inner().expect("an archive"), wants }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    pub(crate) fn wants(&self) -> Vec<Want> {
        self.wants.clone()
    }
}

fn config(name: &str, layers: &[&Layer]) -> Vec<u8> {
    let diff_ids: Vec<_> = layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    serde_json::json!({"author": name, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).to_string().into_bytes()
}

fn append(tar: &mut tar::Builder<Vec<u8>>, path: &str, bytes: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_size(bytes.len() as u64);
    header.set_mode(0o644);
    tar.append_data(&mut header, path, bytes).expect("a file");
}
