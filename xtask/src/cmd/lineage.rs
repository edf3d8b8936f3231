//! What variants.toml says of a published image without a plan: whom it stands on, what is a layer of it, which tags move.

use std::collections::BTreeSet;

use crate::family::{self, Family, Image, Name};
use crate::plan;
use crate::publish::{Tag, TagKind, View};

/// The published images below `image`, nearest first.
pub(super) fn ancestors(family: &Family, image: &Image) -> Vec<Name> {
    below(family, image).skip(1).filter(|image| image.published.is_some()).map(|image| image.name.clone()).collect()
}

/// The pins of `image` and of all that it is built on.
pub(super) fn pins(family: &Family, image: &Image) -> BTreeSet<Name> {
    below(family, image).flat_map(|image| image.pins.iter().cloned()).collect()
}

/// `image`, its parent, and so on.
fn below<'a>(family: &'a Family, image: &'a Image) -> impl Iterator<Item = &'a Image> {
    std::iter::successors(Some(image), |image| image.parent.as_ref().and_then(|parent| family.images.get(parent)))
}

/// Whether a tag has the form of an immutable one of `image`.
fn is_immutable_of(family: &Family, image: &Image, name: &str) -> bool {
    let mut names = std::iter::once(&image.name).chain(image.published.iter().flat_map(|published| &published.aliases));
    names.any(|variant| {
        let pattern = family.tags.immutable.fill(|key| match key {
            "variant" => Some(variant.as_str()),
            "date" => Some("????.??.??"),
            _ => Some("*"),
        });
        family::matches(&pattern, name)
    })
}

/// The other variant whose tag this is, by what variants.toml says of tags: its image is what people expect there.
pub(super) fn owner<'a>(family: &'a Family, image: &Image, name: &str) -> Option<&'a Name> {
    let has = |image: &Image| {
        let moving = plan::published_tags(family, image, &family.build_date, "").moving;
        moving.iter().any(|tag| tag == name) || is_immutable_of(family, image, name)
    };
    let others = family.images.values().filter(|other| other.published.is_some() && other.name != image.name);
    others.filter(|_| !has(image)).find(|other| has(other)).map(|other| &other.name)
}

/// A tag that somebody names, and whether it may move: not if it has the form of an immutable one, or the `ledger` knows it as
/// one.
pub(super) fn tag(family: &Family, image: &Image, ledger: &View, name: &str) -> Tag {
    let has_the_form = is_immutable_of(family, image, name);
    let of_tag = |reference: &str| reference.rsplit_once(':').is_some_and(|(_, tag)| tag == name);
    let is_known = ledger.tags.values().any(|known| known.line.kind == TagKind::Immutable && of_tag(&known.line.reference));
    let moving = plan::published_tags(family, image, &family.build_date, "").moving;
    let immutable = !moving.iter().any(|tag| tag == name) && (has_the_form || is_known);
    Tag { name: name.to_owned(), kind: if immutable { TagKind::Immutable } else { TagKind::Moving }, uses_revision: false }
}
