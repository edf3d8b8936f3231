//! The tags of a variant: locally, and where it is published.

use crate::family::{BuildDate, Family, Image, Name, Profile};

/// The tags under which a variant is published, in every one of its destinations.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct VariantTags {
    /// Set once, never moved: `aws-2026.11.20-3f2c1ab`.
    pub immutable: Vec<String>,
    /// Moved by every release: `aws`, `aws-coder`.
    pub moving: Vec<String>,
}

/// The variant and its aliases.
fn names(image: &Image) -> impl Iterator<Item = &Name> {
    std::iter::once(&image.name).chain(image.published.iter().flat_map(|published| &published.aliases))
}

/// What the engine knows a variant as: `ansible-epic:aws`, `ansible-epic:aws-coder`.
pub fn local_tags(family: &Family, image: &Image, profile: &Profile, date: &BuildDate) -> Vec<String> {
    let date = dotted(date);
    names(image)
        .map(|name| {
            let tag = family.tags.moving.fill(|key| match key {
                "variant" => Some(name.as_str()),
                "date" => Some(&date),
                _ => None,
            });
            format!("{}:{tag}{}", family.name, profile.local_suffix)
        })
        .collect()
}

/// The tags of a variant in its destinations. `revision` is what stands for `{revision}`.
pub fn published_tags(family: &Family, image: &Image, date: &BuildDate, revision: &str) -> VariantTags {
    let date = dotted(date);
    let fill = |template: &crate::family::Template, name: &Name| {
        template.fill(|key| match key {
            "variant" => Some(name.as_str()),
            "date" => Some(&date),
            "revision" => Some(revision),
            _ => None,
        })
    };
    VariantTags {
        immutable: names(image).map(|name| fill(&family.tags.immutable, name)).collect(),
        moving: names(image).map(|name| fill(&family.tags.moving, name)).collect(),
    }
}

/// `2026-11-20` → `2026.11.20`, as it stands in tags.
fn dotted(date: &BuildDate) -> String {
    date.to_string().replace('-', ".")
}
