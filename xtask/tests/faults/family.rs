//! Four variants of a few megabytes, as an engine would export them: no engine is needed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use xtask::oci::Digest;

/// The variants: name, layers. `f` is what all have on top, `a` what all have below.
pub(crate) const VARIANTS: [(&str, &[char]); 4] = [
    ("aws", &['a', 'b', 'f']),
    ("azure", &['a', 'c', 'f']),
    ("aws-web", &['a', 'b', 'w', 'f']),
    ("azure-web", &['a', 'c', 'w', 'f']),
];

/// An export of all four, for the release with this name: other bytes on top for another one, and where the same one was
/// built a second time.
pub(crate) struct Export {
    /// What the engine would stream.
    pub(crate) archive: Vec<u8>,
    /// As [`VARIANTS`].
    pub(crate) images: Vec<Exported>,
}

/// An image as the engine knows it.
pub(crate) struct Exported {
    pub(crate) name: String,
    pub(crate) id: Digest,
    pub(crate) diff_ids: Vec<Digest>,
    pub(crate) labels: BTreeMap<String, String>,
}

impl Export {
    /// Made once per process.
    pub(crate) fn of(release: &str, build: u32) -> Arc<Self> {
        static MADE: Mutex<BTreeMap<(String, u32), Arc<Export>>> = Mutex::new(BTreeMap::new());
        let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(made.entry((release.to_owned(), build)).or_insert_with(|| Arc::new(Self::make(release, build))))
    }

    fn make(release: &str, build: u32) -> Self {
        let top = format!("{release}, build {build}");
        let mut archive = tar::Builder::new(Vec::new());
        let mut add = |path: &str, bytes: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_size(bytes.len() as u64);
            header.set_mode(0o644);
            archive.append_data(&mut header, path, bytes).expect("memory");
        };
        let layers = ['a', 'b', 'c', 'w', 'f'].map(|name| (name, layer(name, if name == 'f' { &top } else { "" })));
        for (name, bytes) in &layers {
            add(&format!("{name}/layer.tar"), bytes);
        }
        let (mut saved, mut images) = (Vec::new(), Vec::new());
        for (variant, parts) in VARIANTS {
            let diff_ids = parts.iter().filter_map(|part| layers.iter().find(|(name, _)| name == part));
            let diff_ids: Vec<_> = diff_ids.map(|(_, bytes)| Digest::of(bytes)).collect();
            let labels = BTreeMap::from([(xtask::plan::INPUT.to_owned(), input(variant, release).to_string())]);
            let config = serde_json::json!({
                "architecture": "amd64", "os": "linux",
                "config": {"Labels": labels},
                "rootfs": {"type": "layers", "diff_ids": diff_ids},
            });
            let (config, name) = (config.to_string(), format!("faults:{variant}"));
            let id = Digest::of(&config);
            add(&format!("{}.json", id.hex()), config.as_bytes());
            let layers: Vec<_> = parts.iter().map(|part| format!("{part}/layer.tar")).collect();
            saved.push(serde_json::json!({"Config": format!("{}.json", id.hex()), "RepoTags": [name], "Layers": layers}));
            images.push(Exported { name, id, diff_ids, labels });
        }
        add("manifest.json", serde_json::Value::from(saved).to_string().as_bytes());
        Self { archive: archive.into_inner().expect("memory"), images }
    }
}

/// What a variant of a release is built from.
pub(crate) fn input(variant: &str, release: &str) -> Digest {
    Digest::of(format!("{variant} {release}"))
}

/// A layer of two files: half a megabyte that cannot be compressed, a quarter that can.
fn layer(name: char, release: &str) -> Vec<u8> {
    let mut state = u64::from(u32::from(name)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let noise: Vec<u8> = std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    })
    .take(64 << 10)
    .flatten()
    .collect();
    let text = format!("{name} of {release}\n").repeat(16 << 10);
    let mut archive = tar::Builder::new(Vec::new());
    for (path, bytes) in [(format!("{name}/noise"), &noise[..]), (format!("{name}/text"), text.as_bytes())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        archive.append_data(&mut header, path, bytes).expect("memory");
    }
    archive.into_inner().expect("memory")
}
