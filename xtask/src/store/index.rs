//! The index: which uncompressed layer became which blob, and which configuration an engine's image has. A file of JSON
//! lines that is only ever appended to; what is read of it is a hint, since blobs are checked by size and digest when used.

use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::pack;
use crate::oci::{Compression, Digest};

/// What an engine held compressed and was taken as it was.
pub(super) const ENGINE: &str = "engine";
/// What somebody published, unpacked and checked before it was trusted.
pub(super) const PUBLISHED: &str = "published";

/// Who compressed a layer, and how: the key of a record, beside its diff ID.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Maker {
    /// Compressor and version: `gzip/2` is this program's, in its second form. Or where it was had from: [`ENGINE`].
    pub(super) compressor: String,
    /// The level, where known.
    pub(super) level: Option<u32>,
}

impl Maker {
    /// This program, asked for `compression`.
    pub(super) fn of(compression: Compression) -> Self {
        Self { compressor: pack::compressor(compression), level: Some(compression.level()) }
    }

    /// Somebody else.
    pub(super) fn other(compressor: &str) -> Self {
        Self { compressor: compressor.to_owned(), level: None }
    }
}

/// A line of the index about a layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LayerRecord {
    pub(super) diff_id: Digest,
    /// Bytes of the uncompressed tar.
    #[serde(default)]
    pub(super) unpacked: u64,
    #[serde(flatten)]
    pub(super) maker: Maker,
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) media_type: String,
}

/// A line.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    Layer(LayerRecord),
    Image { id: Digest, config: Digest },
}

/// What the index knows.
#[derive(Debug, Default)]
pub(super) struct Index {
    layers: HashMap<Digest, Vec<LayerRecord>>,
    images: HashMap<Digest, Digest>,
    /// Whether the file ends in the middle of a line: somebody was interrupted.
    pub(super) torn: bool,
}

impl Index {
    pub(super) fn read(text: &[u8]) -> Self {
        let mut index = Self { torn: text.last().is_some_and(|last| *last != b'\n'), ..Self::default() };
        // A line that was torn when its writer was killed says nothing, wherever it stands.
        for line in text.split(|byte| *byte == b'\n') {
            if let Ok(line) = serde_json::from_slice(line) {
                index.insert(line);
            }
        }
        index
    }

    /// Whether the line says nothing new.
    pub(super) fn has(&self, line: &Line) -> bool {
        match line {
            Line::Layer(record) => self.layers.get(&record.diff_id).is_some_and(|known| known.contains(record)),
            Line::Image { id, config } => self.images.get(id) == Some(config),
        }
    }

    pub(super) fn insert(&mut self, line: Line) {
        match line {
            Line::Layer(record) => self.layers.entry(record.diff_id).or_default().push(record),
            Line::Image { id, config } => drop(self.images.insert(id, config)),
        }
    }

    /// The digest of the configuration of the image that an engine calls `id`.
    pub(super) fn image(&self, id: Digest) -> Option<Digest> {
        self.images.get(&id).copied()
    }

    /// What a layer may be asked for as, the best first: made by this program with this compression, held by an engine
    /// compressed however, published by somebody with this compressor. Of the same kind the last one first: an earlier one
    /// may have been lost.
    pub(super) fn layer(&self, diff_id: Digest, compression: Compression) -> Vec<LayerRecord> {
        let exact = Maker::of(compression);
        let records = self.layers.get(&diff_id).into_iter().flatten().rev();
        let mut records: Vec<_> = records.filter_map(|record| Some((rank(record, &exact, compression)?, record))).collect();
        records.sort_by_key(|(rank, _)| *rank);
        records.into_iter().map(|(_, record)| record.clone()).collect()
    }

    /// The record of a blob that an engine held.
    pub(super) fn held(&self, digest: Digest) -> Option<LayerRecord> {
        let mut records = self.layers.values().flatten();
        records.find(|record| record.digest == digest && record.maker.compressor == ENGINE).cloned()
    }

    /// How large the uncompressed tars are that need not be compressed any more.
    pub(super) fn unpacked(&self, compression: Compression) -> HashSet<u64> {
        let exact = Maker::of(compression);
        let usable = self.layers.values().flatten().filter(|record| rank(record, &exact, compression).is_some());
        usable.map(|record| record.unpacked).collect()
    }
}

/// How good a blob is for somebody who asks for `compression`, the least best; none: not at all.
fn rank(record: &LayerRecord, exact: &Maker, compression: Compression) -> Option<u8> {
    match record.maker.compressor.as_str() {
        _ if record.maker == *exact => Some(0),
        ENGINE => Some(1),
        PUBLISHED if record.media_type == compression.media_type() => Some(2),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(maker: Maker, media_type: &str, blob: &str) -> LayerRecord {
        let (diff_id, digest) = (Digest::of("tar"), Digest::of(blob));
        LayerRecord { diff_id, unpacked: 3, maker, digest, size: 1, media_type: media_type.to_owned() }
    }

    #[test]
    fn a_layer_is_looked_up_by_compression() {
        let (gzip, zstd) = (Compression::default(), Compression::Zstd { level: 3 });
        let gzip_9 = Compression::Gzip { level: 9 };
        let own =
            |compression: Compression| record(Maker::of(compression), compression.media_type(), &format!("own {compression}"));
        let other = |maker, compression: Compression| {
            record(Maker::other(maker), compression.media_type(), &format!("{maker} {compression}"))
        };
        let old = record(Maker { compressor: "gzip/1".to_owned(), level: Some(6) }, gzip.media_type(), "old gzip 6");
        type Case = (&'static str, Vec<LayerRecord>, Compression, &'static [&'static str]);
        let cases: Vec<Case> = vec![
            ("nothing is known", vec![], gzip, &[]),
            ("the exact key", vec![own(gzip), own(zstd)], gzip, &["own gzip 6"]),
            ("the exact key", vec![own(gzip), own(zstd)], zstd, &["own zstd 3"]),
            ("another level is another key", vec![own(gzip)], gzip_9, &[]),
            ("another version is another key", vec![old], gzip, &[]),
            ("own before held", vec![other(ENGINE, gzip), own(gzip)], gzip, &["own gzip 6", "engine gzip 6"]),
            ("held is taken as it is", vec![other(ENGINE, gzip)], zstd, &["engine gzip 6"]),
            ("published, of the same kind", vec![other(PUBLISHED, gzip)], gzip_9, &["published gzip 6"]),
            ("published, of another kind", vec![other(PUBLISHED, gzip)], zstd, &[]),
            (
                "held before published",
                vec![other(PUBLISHED, gzip), other(ENGINE, zstd)],
                gzip,
                &["engine zstd 3", "published gzip 6"],
            ),
        ];
        for (what, records, asked, expected) in cases {
            let mut index = Index::default();
            records.into_iter().for_each(|record| index.insert(Line::Layer(record)));
            let found: Vec<_> = index.layer(Digest::of("tar"), asked).into_iter().map(|record| record.digest).collect();
            let expected: Vec<_> = expected.iter().map(Digest::of).collect();
            assert_eq!(found, expected, "{what}");
            assert_eq!(index.unpacked(asked).len(), usize::from(!expected.is_empty()), "{what}");
        }
    }

    #[test]
    fn torn_lines_say_nothing_and_harm_nothing() {
        let line = |line: &Line| serde_json::to_string(line).expect("JSON");
        let layer = line(&Line::Layer(record(Maker::of(Compression::default()), "type", "blob")));
        let image = line(&Line::Image { id: Digest::of("id"), config: Digest::of("config") });
        for torn in 0..layer.len() {
            let index = Index::read(format!("{}\n{image}\n{}", &layer[..torn], &layer[..torn]).as_bytes());
            assert_eq!((index.layers.len(), index.image(Digest::of("id"))), (0, Some(Digest::of("config"))), "{torn}");
            assert_eq!(index.torn, torn > 0);
        }
        let index = Index::read(format!("{image}\n{layer}\n").as_bytes());
        assert_eq!((index.layers.len(), index.torn), (1, false));
    }
}
