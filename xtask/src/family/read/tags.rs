//! `[tags]`, and that no two images get the same tag.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::model::{Tags, Template};
use super::super::name::Name;
use super::super::problem::Problem;
use super::super::reader::{Problems, Table, Text};
use super::{About, images, profiles, template};
use crate::oci::is_tag;

/// The templates, with their places.
pub(super) struct Templates<'t> {
    /// `tags.moving`
    pub(super) moving: (Template, Text<'t>),
    /// `tags.immutable`
    pub(super) immutable: (Template, Text<'t>),
}

/// A revision as long as they get, to try a template with.
const REVISION: &str = "3f2c1ab-dirty-0a1b2c3d";

/// What a template makes for a name: `aws-2026.11.20-3f2c1ab`.
fn tag(template: &Template, name: &str, date: &str) -> String {
    template.fill(|placeholder| match placeholder {
        "variant" => Some(name),
        "date" => Some(date),
        "revision" => Some(REVISION),
        _ => None,
    })
}

/// The templates of `[tags]`, each good by itself.
pub(super) fn templates<'t>(root: &mut Table<'t>, problems: &mut Problems<'t>) -> Option<Templates<'t>> {
    root.require("tags", "[tags]");
    let mut table = root.table("tags", problems)?;
    table.require("moving", r#"moving = "{variant}""#);
    table.require("immutable", r#"immutable = "{variant}-{date}-{revision}""#);
    let mut read = |key| {
        let text = table.text(key, problems)?;
        let template = template(&text, &Tags::PLACEHOLDERS, problems)?;
        let made = tag(&template, "aws", "2026.11.20");
        if !is_tag(&made) {
            let message = format!("`{}` makes `{}`, which is not a tag", text.text.escape_debug(), made.escape_debug());
            let accepted = "expected letters, digits, `_`, `.`, `-` around the placeholders, at most 128, no `.` or `-` first";
            problems.report(Problem::new(text.span, message, accepted));
            return None;
        }
        Some((template, text))
    };
    let (moving, immutable) = (read("moving"), read("immutable"));
    table.finish(problems);
    if let Some((template, text)) = moving.as_ref().filter(|(template, _)| template.uses("revision")) {
        let at = template.as_str().find("{revision}").unwrap_or_default();
        let span = problems.within(text, at..at + "{revision}".len());
        let message = "a moving tag has no `{revision}`: it would be another one with every commit";
        problems.report(
            Problem::new(span, message, "expected `{variant}`, and `{date}` where that is wanted")
                .hint("that is what `immutable` is for"),
        );
    }
    if let Some((_, text)) = immutable.as_ref().filter(|(template, _)| !template.uses("revision") && !template.uses("date")) {
        let message = "an immutable tag needs `{date}` or `{revision}`: the second release could not be published";
        problems.report(Problem::new(text.span.clone(), message, "expected `{variant}-{date}-{revision}`, or one of the two"));
    }
    Some(Templates { moving: moving?, immutable: immutable? })
}

/// Every tag that the file leads to is a tag, and one image's alone.
pub(super) fn check<'t>(
    templates: &Templates<'t>,
    about: Option<&About>,
    profiles: &BTreeMap<Name, profiles::Read>,
    images: &[images::Read<'t>],
    problems: &mut Problems<'t>,
) {
    let date = about.map_or_else(|| "2026.11.20".to_owned(), |about| about.build_date.to_string().replace('-', "."));
    let names: Vec<Named<'_>> = images.iter().filter(|image| image.value.published.is_some()).flat_map(named).collect();
    let mut told_apart = true;
    for (template, text) in [&templates.moving, &templates.immutable] {
        if let ([first, second, ..], false) = (&names[..], template.uses("variant")) {
            told_apart = false;
            let message = format!("`{}` gives `{}` and `{}` the same tag", text.text, first.name, second.name);
            problems.report(Problem::new(text.span.clone(), message, "expected `{variant}` in it"));
        }
    }
    let too_long = |name: &&Named<'_>| {
        !is_tag(&tag(&templates.immutable.0, name.name, &date)) || !is_tag(&tag(&templates.moving.0, name.name, &date))
    };
    for name in names.iter().filter(too_long) {
        let message = format!("the tags of `{}` are longer than 128", name.name);
        problems.report(Problem::new(name.span.clone(), message, "expected a shorter name, or shorter templates in `[tags]`"));
    }
    if told_apart {
        published(templates, &names, &date, problems);
        local(templates, &names, &date, profiles, problems);
    }
}

/// A name under which a variant is published.
struct Named<'n> {
    name: &'n str,
    span: &'n Range<usize>,
    destinations: &'n BTreeSet<Name>,
}

fn named<'n, 't>(image: &'n images::Read<'t>) -> impl Iterator<Item = Named<'n>> {
    let published = image.value.published.as_ref();
    let texts = std::iter::once(&image.key).chain(&image.aliases);
    texts.filter_map(move |text| Some(Named { name: text.text, span: &text.span, destinations: &published?.destinations }))
}

/// In no destination is a moving tag also an immutable one.
fn published<'t>(templates: &Templates<'t>, names: &[Named<'_>], date: &str, problems: &mut Problems<'t>) {
    let moving: BTreeMap<String, &Named<'_>> =
        names.iter().map(|name| (tag(&templates.moving.0, name.name, date), name)).collect();
    for name in names {
        let made = tag(&templates.immutable.0, name.name, date);
        let Some(other) = moving.get(&made) else { continue };
        if other.name == name.name {
            let (_, text) = &templates.immutable;
            let message = "the immutable tag is the moving tag: it would be overwritten";
            problems.report(
                Problem::new(text.span.clone(), message, "expected another one, as `{variant}-{date}-{revision}`")
                    .related(templates.moving.1.span.clone(), "the moving tag"),
            );
            return;
        }
        if let Some(destination) = other.destinations.intersection(name.destinations).next() {
            let message =
                format!("the immutable tag `{made}` of `{}` is the moving tag of `{}` in `{destination}`", name.name, other.name);
            problems.report(
                Problem::new(name.span.clone(), message, "expected a name whose tags are its own")
                    .related(other.span.clone(), "the other one"),
            );
        }
    }
}

/// In the local repository, where every profile's images lie side by side, every tag is one image's alone.
fn local<'t>(
    templates: &Templates<'t>,
    names: &[Named<'_>],
    date: &str,
    profiles: &BTreeMap<Name, profiles::Read>,
    problems: &mut Problems<'t>,
) {
    let mut taken = BTreeMap::<String, (&Named<'_>, &Name)>::new();
    for (profile, read) in profiles {
        for name in names {
            let made = tag(&templates.moving.0, name.name, date) + &read.value.local_suffix;
            let Some((other, of)) = taken.insert(made.clone(), (name, profile)) else { continue };
            // The same name under two profiles is a matter of their suffixes, which was told already.
            if other.name != name.name {
                let message = format!(
                    "`{}` in the profile `{of}` and `{}` in `{profile}` are both `{made}` locally",
                    other.name, name.name
                );
                let later = if name.span.start < other.span.start { other } else { name };
                problems.report(
                    Problem::new(later.span.clone(), message, "expected a name whose tags are its own")
                        .related(read.suffix.clone(), format!("`{}` is added here", read.value.local_suffix)),
                );
            }
        }
    }
}
