//! What `publish` writes into files for those who come after it: what is to be attested, and release notes. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::diff::Difference;
use crate::family::Name;
use crate::output::{self, diff::code};
use crate::publish::{Published, PublishedImage, TagKind};

/// `DIGEST  NAME`, a line for every image in every destination, under the tag that is set once: what `actions/attest` takes as
/// `subject-checksums`.
pub(super) fn subjects(published: &Published) -> String {
    let mut text = String::new();
    for image in &published.images {
        for tags in image.destinations.values() {
            let once = tags.iter().find(|tag| tag.kind == TagKind::Immutable).or(tags.first());
            if let Some(tag) = once {
                let _ = writeln!(text, "{}  {}", image.digest.hex(), tag.reference);
            }
        }
    }
    text
}

/// How to pull it, and what changed.
pub(super) fn release(family: &Name, published: &Published, changes: &BTreeMap<Name, Difference>) -> String {
    let mut text = format!("## {}\n\n| variant | digest | pull |\n| --- | --- | --- |\n", code(family.as_str()));
    for image in &published.images {
        let tags = image.destinations.values().filter_map(|tags| {
            let once = tags.iter().find(|tag| tag.kind == TagKind::Immutable).or(tags.first())?;
            Some(code(&once.reference))
        });
        let tags: Vec<String> = tags.collect();
        let _ =
            writeln!(text, "| {} | {} | {} |", code(image.variant.as_str()), code(&image.digest.to_string()), tags.join("<br>"));
    }
    for image in &published.images {
        let _ = writeln!(text, "\n### {}\n", code(image.variant.as_str()));
        text += &match changes.get(&image.variant) {
            Some(difference) => output::diff::markdown(difference, 4),
            None => format!("{}\n", without_difference(image)),
        };
    }
    text
}

fn without_difference(image: &PublishedImage) -> &'static str {
    match image.before {
        None => "Published for the first time.",
        Some(before) if before.digest == image.digest => "Unchanged.",
        Some(_) => "What changed could not be read.",
    }
}
