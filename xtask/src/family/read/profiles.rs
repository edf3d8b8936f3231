//! `[profiles.NAME]`: the same family under other circumstances.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::grammar;
use super::super::model::{Base, Pin, Profile};
use super::super::name::Name;
use super::super::problem::Problem;
use super::super::reader::{Kind, Problems, Table, Text};
use super::{Known, NAME, args, pins};
use crate::oci::Reference;

/// A profile, with the places that further checks point at.
pub(super) struct Read {
    /// What was read.
    pub(super) value: Profile,
    /// Its local suffix, or its name where it has none of its own.
    pub(super) suffix: Range<usize>,
}

/// All profiles that are valid.
pub(super) fn read<'t>(
    root: &mut Table<'t>,
    known: &Known<'t>,
    pins: &BTreeMap<Name, Pin>,
    problems: &mut Problems<'t>,
) -> BTreeMap<Name, Read> {
    root.require("profiles", "[profiles.default]");
    let mut profiles = BTreeMap::<Name, Read>::new();
    let mut suffixes = BTreeMap::<String, Range<usize>>::new();
    let pin_args = pins::args(pins);
    for (key, mut table) in root.tables("profiles", problems) {
        let name = problems.parse::<Name>(&key, NAME);
        table.require("base", r#"base = { image = "docker.io/library/debian:trixie-slim" }"#);
        let base = table.table("base", problems).and_then(|table| base(table, problems));
        let args = args(&mut table, &pin_args, problems);
        let vendors = table.boolean("vendors", problems).unwrap_or(true);
        let suffix = table.text("local-suffix", problems);
        let without = table.texts("without", problems).unwrap_or_default();
        let without = pin_names(&without, known, problems);
        table.finish(problems);
        let Some(name) = name else { continue };
        let local_suffix = match &suffix {
            Some(text) => text.text.to_owned(),
            None if name.as_str() == "default" => String::new(),
            None => format!("-{name}"),
        };
        let suffix = suffix.unwrap_or(Text { text: "", span: key.span.clone() });
        let valid = local_suffix.is_empty() || crate::oci::is_tag(&format!("a{local_suffix}"));
        problems.check(&suffix, valid, ("the end of a tag", "letters, digits, `_`, `.`, `-`, as in `-offline`"));
        if let Some(first) = suffixes.insert(local_suffix.clone(), suffix.span.clone()) {
            let message =
                format!("two profiles have the local suffix `{local_suffix}`: they would overwrite each other's images");
            problems.report(
                Problem::new(suffix.span.clone(), message, "expected one of its own, as in `-offline`")
                    .related(first, "taken here"),
            );
        }
        if let Some(base) = base {
            profiles.insert(name, Read { value: Profile { base, args, vendors, local_suffix, without }, suffix: suffix.span });
        }
    }
    if root.has("profiles") && !root.names_in("profiles").contains_key("default") && problems.complete {
        problems.report(Problem::new(
            root.key_span("profiles"),
            "there is no profile `default`",
            "expected `[profiles.default]`: what is used where no `--profile` is given",
        ));
    }
    profiles
}

/// Names of pins, each known.
pub(super) fn pin_names<'t>(texts: &[Text<'t>], known: &Known<'t>, problems: &mut Problems<'t>) -> BTreeSet<Name> {
    let name = |text: &Text<'t>| problems.known(text, "a pin", &known.pins).then(|| text.text.parse().ok()).flatten();
    texts.iter().filter_map(name).collect()
}

fn base<'t>(mut table: Table<'t>, problems: &mut Problems<'t>) -> Option<Base> {
    const SUITE: Kind = ("a Debian suite", "its name in one lower-case word, as in `trixie`");
    const PACKAGE: Kind = ("a Debian package", "the name of a package, as in `ca-certificates`");
    if table.has("image") && table.has("bootstrap") {
        problems.report(
            Problem::new(table.key_span("bootstrap"), "a base is an image or bootstrapped, not both", "expected one of them")
                .related(table.key_span("image"), "the other one"),
        );
    }
    if table.has("bootstrap") {
        let suite = table.text("bootstrap", problems);
        let word = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase());
        let suite = suite.filter(|text| problems.check(text, word(text.text), SUITE));
        let mut packages = table.texts("packages", problems).unwrap_or_default();
        packages.retain(|text| problems.check(text, grammar::is_debian_package(text.text), PACKAGE));
        table.text("image", &mut *problems);
        table.finish(problems);
        let packages = packages.into_iter().map(|text| text.text.to_owned()).collect();
        return Some(Base::Bootstrap { suite: suite?.text.to_owned(), packages });
    }
    table.require("image", r#"image = "docker.io/library/debian:trixie-slim"`, or `bootstrap = "trixie""#);
    let image = table.text("image", problems).and_then(|text| reference(&text, problems));
    table.finish_with(problems, |key| (key == "packages").then(|| "packages belong to `bootstrap = \"trixie\"`".to_owned()));
    image.map(Base::Image)
}

/// A reference with a tag or a digest.
fn reference(text: &Text<'_>, problems: &mut Problems<'_>) -> Option<Reference> {
    let shown = text.text.escape_debug();
    let problem = match text.text.parse::<Reference>() {
        Ok(reference) if reference.tag.is_some() || reference.digest.is_some() => return Some(reference),
        Ok(_) => Problem::new(
            text.span.clone(),
            format!("`{shown}` has no tag"),
            format!("expected a tag, as in `{shown}:trixie-slim`"),
        ),
        Err(error) => {
            let in_full = format!("docker.io/{}{}", if text.text.contains('/') { "" } else { "library/" }, text.text);
            let implied = in_full.parse::<Reference>().is_ok();
            Problem::new(text.span.clone(), format!("`{shown}` is not a reference"), error.why)
                .did_you_mean(implied.then_some(in_full.as_str()))
        }
    };
    problems.report(problem);
    None
}
