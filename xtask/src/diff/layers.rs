//! Which layers two images share.

use std::collections::{BTreeMap, VecDeque};

use super::configuration::masked;
use super::{LayerLine, Layers, Size};
use crate::contents::{Contents, Layer};
use crate::oci::Digest;

/// What differs.
pub(super) fn compare(before: &Contents, after: &Contents) -> Layers {
    let (one, mut other) = (lines(before), lines(after).into_iter().map(Some).collect::<Vec<_>>());
    let same = |(one, other): &(&LayerLine, &Option<LayerLine>)| other.as_ref().is_some_and(|other| one.diff_id == other.diff_id);
    let common_base = one.iter().zip(&other).take_while(same).count();
    // An image may hold a layer twice.
    let mut places = BTreeMap::<Digest, VecDeque<usize>>::new();
    for (at, line) in other.iter().enumerate() {
        places.entry(line.as_ref().map_or(Digest::of(""), |line| line.diff_id)).or_default().push_back(at);
    }
    let mut layers = Layers { common_base, shared: Vec::new(), only_before: Vec::new(), only_after: Vec::new() };
    for (at, line) in one.into_iter().enumerate() {
        let line = LayerLine { before: Some(at), ..line };
        let there = places.get_mut(&line.diff_id).and_then(VecDeque::pop_front);
        match there.and_then(|there| Some((there, other.get_mut(there)?.take()?))) {
            Some((there, its)) => {
                let size = Size { compressed: line.size.compressed.or(its.size.compressed), ..line.size };
                layers.shared.push(LayerLine { after: Some(there), size, ..line });
            }
            None => layers.only_before.push(line),
        }
    }
    let left = other.into_iter().enumerate().filter_map(|(at, line)| Some(LayerLine { after: Some(at), ..line? }));
    layers.only_after.extend(left);
    layers
}

/// The instructions that made the layers of an image, lowest first, with values that look like secrets left out; none where the
/// history does not tell.
pub fn instructions(image: &Contents) -> Vec<Option<String>> {
    lines(image).into_iter().map(|line| line.instruction).collect()
}

/// The layers of an image, lowest first, each with its instruction: the lines of the history that made one, where these are as many.
fn lines(image: &Contents) -> Vec<LayerLine> {
    let made: Vec<_> = image.config.history.iter().filter(|line| !line.empty_layer).collect();
    let told = made.len() == image.layers.len();
    let line = |(at, (layer, compressed)): (usize, &(std::sync::Arc<Layer>, Option<u64>))| LayerLine {
        diff_id: layer.diff_id,
        before: None,
        after: None,
        size: size(layer, *compressed),
        instruction: made.get(at).filter(|line| told && !line.created_by.is_empty()).map(|line| instruction(&line.created_by)),
    };
    image.layers.iter().enumerate().map(line).collect()
}

/// How large a layer is.
pub(super) fn size(layer: &Layer, compressed: Option<u64>) -> Size {
    Size { content: layer.entries.iter().map(|entry| entry.bytes).sum(), tar: layer.bytes, compressed }
}

/// As it stands in the Dockerfile, on one line.
fn instruction(created_by: &str) -> String {
    let text = created_by.split_whitespace().collect::<Vec<_>>().join(" ");
    let text = text.strip_suffix("# buildkit").unwrap_or(&text).trim_end();
    let text = text.strip_prefix("/bin/sh -c #(nop) ").unwrap_or(text);
    masked(text.strip_prefix("/bin/sh -c ").map_or_else(|| text.to_owned(), |command| format!("RUN {command}")).trim())
}

#[cfg(test)]
mod tests {
    use super::instruction;

    #[test]
    fn instructions_read_as_in_the_dockerfile() {
        for (history, shown) in [
            ("COPY rootfs/ / # buildkit", "COPY rootfs/ /"),
            ("RUN /bin/sh -c apt-get update  \t && x # buildkit", "RUN /bin/sh -c apt-get update && x"),
            ("/bin/sh -c #(nop) ADD file:0 in / ", "ADD file:0 in /"),
            ("/bin/sh -c apt-get update", "RUN apt-get update"),
            ("RUN |1 API_TOKEN=abc /bin/sh -c x", "RUN |1 API_TOKEN=… /bin/sh -c x"),
        ] {
            assert_eq!(instruction(history), shown);
        }
    }
}
