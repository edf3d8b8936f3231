//! `[images.NAME]` and `[variants.NAME]`, and how they are built on each other.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::grammar;
use super::super::model::{Image, Pin, Published};
use super::super::name::Name;
use super::super::problem::Problem;
use super::super::reader::{Kind, Problems, Table, Text};
use super::super::suggest::one_of;
use super::graph::circles;
use super::profiles::pin_names;
use super::{Known, NAME, RELATIVE, args, exists, inherit, pins, smoke};

/// An image or variant, with the places that further checks point at.
pub(super) struct Read<'t> {
    /// What was read; its settings are complete once `inherit` has seen it.
    pub(super) value: Image,
    /// Its name in the file.
    pub(super) key: Text<'t>,
    /// Its aliases in the file.
    pub(super) aliases: Vec<Text<'t>>,
    /// `parent`
    pub(super) parent: Option<Text<'t>>,
    /// `inherits`
    pub(super) inherits: Option<Text<'t>>,
    /// Which of the settings that replace an inherited one are given.
    pub(super) own: Own,
}

/// The settings that an own one replaces.
pub(super) struct Own {
    /// `components`
    pub(super) components: bool,
    /// `destinations`
    pub(super) destinations: bool,
}

/// All images and variants whose names are valid, in the order of their kind, then of the file.
pub(super) fn read<'t>(
    root: &mut Table<'t>,
    known: &Known<'t>,
    pins: &BTreeMap<Name, Pin>,
    facts: &dyn Fn(&str) -> bool,
    problems: &mut Problems<'t>,
) -> Vec<Read<'t>> {
    let reader = Reader { known, pins, args: pins::args(pins), facts };
    let mut images = Vec::new();
    for (key, table) in root.tables("images", problems) {
        images.extend(reader.image(key, table, problems));
    }
    root.require("variants", "[variants.NAME]");
    for (key, table) in root.tables("variants", problems) {
        images.extend(reader.variant(key, table, problems));
    }
    if root.has("variants") && known.variants.is_empty() && problems.complete {
        let span = root.key_span("variants");
        problems.report(Problem::new(span, "there is no variant", "expected a table `[variants.NAME]` at least"));
    }
    for (name, first) in &known.images {
        if let Some(second) = known.variants.get(name) {
            let message = format!("`{name}` is an image and a variant");
            let (first, second) = if first.start < second.start { (first, second) } else { (second, first) };
            problems
                .report(Problem::new(second.clone(), message, "expected a name of its own").related(first.clone(), "taken here"));
        }
    }
    aliases(&images, known, problems);
    parents(&images, problems);
    inherit::resolve(&mut images, problems);
    smoke::inherit(&mut images);
    images
}

struct Reader<'r, 't> {
    known: &'r Known<'t>,
    pins: &'r BTreeMap<Name, Pin>,
    args: pins::Args,
    facts: &'r dyn Fn(&str) -> bool,
}

impl<'t> Reader<'_, 't> {
    fn image(&self, key: Text<'t>, mut table: Table<'t>, problems: &mut Problems<'t>) -> Option<Read<'t>> {
        table.require("context", r#"context = "images/…""#);
        let read = self.common(key, &mut table, problems);
        table.finish_with(problems, |key| {
            let for_variants = ["description", "inherits", "components", "aliases", "destinations", "labels"].contains(&key);
            for_variants.then(|| format!("only variants have `{key}`: an image is not published, others are built on it"))
        });
        read
    }

    fn variant(&self, key: Text<'t>, mut table: Table<'t>, problems: &mut Problems<'t>) -> Option<Read<'t>> {
        table.require("description", r#"description = "what it is for, in one line""#);
        let description = table.line("description", problems).map_or("", |text| text.text).to_owned();
        let inherits = table.text("inherits", problems);
        let inherits = inherits.filter(|text| self.is_variant(text, problems));
        if inherits.is_none() && !table.has("inherits") {
            table.require("destinations", r#"destinations = ["…"]`, or `inherits = "…""#);
        }
        if !table.has("context") && !table.has("parent") {
            table.require("context", r#"context = "images/…"`, or `parent = "…""#);
        }
        let read = self.common(key, &mut table, problems);
        let components = table.texts("components", problems);
        let aliases = table.texts("aliases", problems).unwrap_or_default();
        let destinations = table.texts("destinations", problems);
        let labels = labels(&mut table, problems);
        table.finish(problems);

        let own = Own { components: components.is_some(), destinations: destinations.is_some() };
        let destination = |text: &Text<'t>| {
            let known = problems.known(text, "a destination", &self.known.destinations);
            known.then(|| text.text.parse().ok()).flatten()
        };
        let destinations = destinations.unwrap_or_default().iter().filter_map(destination).collect();
        let component = |text: &Text<'t>| self.component(text, problems);
        let components = components.unwrap_or_default().iter().filter_map(component).collect();
        let alias = |text: &Text<'t>| problems.parse::<Name>(text, NAME);
        let names = aliases.iter().filter_map(alias).collect();
        let mut read = read?;
        read.value.published = Some(Published { description, components, aliases: names, destinations, labels });
        Some(Read { aliases, inherits, own, ..read })
    }

    /// What images and variants have alike.
    fn common(&self, key: Text<'t>, table: &mut Table<'t>, problems: &mut Problems<'t>) -> Option<Read<'t>> {
        const STAGE: Kind = ("a build stage", "the name of a stage of the Dockerfile: lower-case letters, digits, `.`, `_`, `-`");
        let name = problems.parse::<Name>(&key, NAME);
        let parent = table.text("parent", problems);
        let parent = parent.filter(|text| problems.known(text, "an image or variant", &self.known.parents));
        let context = table.text("context", problems);
        let context = context.filter(|text| problems.check(text, grammar::is_relative_path(text.text), RELATIVE));
        if let Some(text) = &context {
            exists(text, &format!("{}/Dockerfile", text.text), self.facts, problems);
        }
        let target = table.text("target", problems);
        let target = target.filter(|text| problems.check(text, grammar::is_stage(text.text), STAGE));
        if let Some(text) = target.as_ref().filter(|_| !table.has("context")) {
            let message = "a `target` without a `context`";
            problems.report(Problem::new(text.span.clone(), message, "expected a `context` whose Dockerfile has this stage"));
        }
        let args = args(table, &self.args, problems);
        let pins = table.texts("pins", problems).unwrap_or_default();
        let value = Image {
            name: name?,
            parent: parent.as_ref().and_then(|text| text.text.parse().ok()),
            context: context.map(|text| text.text.to_owned()),
            target: target.map(|text| text.text.to_owned()),
            args,
            pins: pin_names(&pins, self.known, problems),
            smoke: smoke::read(table, self.pins, problems),
            published: None,
        };
        let own = Own { components: false, destinations: false };
        Some(Read { value, key, aliases: Vec::new(), parent, inherits: None, own })
    }

    fn is_variant(&self, text: &Text<'t>, problems: &mut Problems<'t>) -> bool {
        if let Some(image) = self.known.images.get(text.text).filter(|_| !self.known.variants.contains_key(text.text)) {
            problems.report(
                Problem::new(
                    text.span.clone(),
                    format!("`{}` is an image: it has no settings to inherit", text.text),
                    "expected a variant",
                )
                .related(image.clone(), "an image, not a variant")
                .hint(format!("to build on it, write `parent = \"{}\"`", text.text)),
            );
            return false;
        }
        problems.known(text, "a variant", &self.known.variants)
    }

    /// A pin that can become a layer of its own.
    fn component(&self, text: &Text<'t>, problems: &mut Problems<'t>) -> Option<Name> {
        if !problems.known(text, "a pin", &self.known.pins) {
            return None;
        }
        let name = text.text.parse::<Name>().ok()?;
        if self.pins.get(&name).is_some_and(|pin| !pin.upstream.is_artifact()) {
            let downloads = self.pins.iter().filter(|(_, pin)| pin.upstream.is_artifact()).map(|(name, _)| name.as_str());
            problems.report(
                Problem::new(
                    text.span.clone(),
                    format!("`{name}` cannot be a component: a package manager installs it, so it has no layer of its own"),
                    format!("expected {}", one_of(downloads)),
                )
                .hint(format!("write `pins = [\"{name}\"]` and install it in the Dockerfile")),
            );
            return None;
        }
        Some(name)
    }
}

fn labels<'t>(table: &mut Table<'t>, problems: &mut Problems<'t>) -> BTreeMap<String, String> {
    const LABEL: Kind = ("a label", "a key as in `com.example.team`: letters, digits, `.`, `_`, `-`, `/`");
    let mut labels = BTreeMap::new();
    for (key, value) in table.map("labels", problems) {
        if grammar::is_reserved_label(key.text) {
            let message = format!("the label `{}` is set by the pipeline itself", key.text);
            problems.report(Problem::new(key.span, message, "expected another label"));
        } else if problems.check(&key, grammar::is_label(key.text), LABEL) {
            labels.insert(key.text.to_owned(), value.text.to_owned());
        }
    }
    labels
}

/// No alias is the name of an image or variant or another alias.
fn aliases<'t>(images: &[Read<'t>], known: &Known<'t>, problems: &mut Problems<'t>) {
    let mut taken = BTreeMap::<&str, Range<usize>>::new();
    for alias in images.iter().flat_map(|image| &image.aliases) {
        let what = |what: &str| format!("the alias `{}` is {what}", alias.text);
        let named = known.variants.get(alias.text).map(|span| (span, what("the name of a variant")));
        let named = named.or_else(|| known.images.get(alias.text).map(|span| (span, what("the name of an image"))));
        let named = named.or_else(|| taken.get(alias.text).map(|span| (span, what("given to two variants"))));
        if let Some((first, message)) = named {
            problems.report(
                Problem::new(alias.span.clone(), message, "expected a name of its own: each becomes a tag")
                    .related(first.clone(), "taken here"),
            );
        }
        taken.entry(alias.text).or_insert_with(|| alias.span.clone());
    }
}

/// Where each of `images` points, by the name that `to` gives.
pub(super) fn pointers<'t>(images: &[Read<'t>], to: impl Fn(&Read<'t>) -> Option<&'t str>) -> Vec<Option<usize>> {
    let index: BTreeMap<&str, usize> = images.iter().enumerate().map(|(at, image)| (image.key.text, at)).collect();
    images.iter().map(|image| index.get(to(image)?).copied()).collect()
}

/// A circle as a path: `` `a` → `b` → `a` ``.
pub(super) fn path(images: &[Read<'_>], circle: &[usize]) -> String {
    let names: Vec<String> = circle.iter().chain(circle.first()).map(|at| format!("`{}`", images[*at].key.text)).collect();
    names.join(" → ")
}

fn parents<'t>(images: &[Read<'t>], problems: &mut Problems<'t>) {
    for circle in circles(&pointers(images, |image| image.parent.as_ref().map(|parent| parent.text))) {
        let Some(parent) = circle.first().and_then(|at| images[*at].parent.as_ref()) else { continue };
        let problem = match circle[..] {
            [own] => {
                let message = format!("`{}` is its own parent", images[own].key.text);
                Problem::new(parent.span.clone(), message, "expected another image, or none for the profile's base")
            }
            _ => {
                let message = format!("the parents go in a circle: {}", path(images, &circle));
                let problem = Problem::new(parent.span.clone(), message, "expected an image that is not built on this one");
                let others = circle.iter().skip(1).filter_map(|at| images[*at].parent.as_ref());
                others.fold(problem, |problem, parent| problem.related(parent.span.clone(), "further in the circle"))
            }
        };
        problems.report(problem);
    }
}
