//! Reads `variants.toml`: the sections one by one, then what holds between them.

mod destinations;
mod graph;
mod images;
mod inherit;
mod pins;
mod profiles;
mod smoke;
mod tags;

use std::collections::BTreeMap;
use std::ops::Range;

use super::grammar;
use super::model::{Family, Tags, Template};
use super::name::Name;
use super::problem::{Problem, SourceText};
use super::reader::{Kind, Problems, Table, Text};
use crate::oci::{Compression, Platform, Repository};

/// The version of the file's shape that is read here.
pub(super) const SCHEMA: u32 = 1;

const NAME: Kind = ("a name", "lower-case letters and digits in words joined by `-`, at most 64");
const BUILD_ARG: Kind = ("the name of a build argument", "upper-case letters, digits and `_`, not starting with a digit");

/// What stands in the file by name, whether or not it is valid.
struct Known<'t> {
    pins: BTreeMap<&'t str, Range<usize>>,
    destinations: BTreeMap<&'t str, Range<usize>>,
    images: BTreeMap<&'t str, Range<usize>>,
    variants: BTreeMap<&'t str, Range<usize>>,
    /// What others can be built on: images and variants.
    parents: BTreeMap<&'t str, Range<usize>>,
}

/// The family that `source`, the text of a variants.toml, describes. `facts` tells whether a file exists, by its path
/// relative to variants.toml, `/` between: `images/aws/Dockerfile`.
///
/// # Errors
/// Every problem of the file, in its order. (A file of another schema has that problem alone; a syntax error hides what
/// could only be told from the whole file.)
pub fn read(source: &SourceText, facts: &dyn Fn(&str) -> bool) -> Result<Family, Vec<Problem>> {
    let (document, mut problems) = Problems::parse_file(source);
    let problems = &mut problems;
    let mut root = Table::root(&document);
    if let Some(problem) = other_schema(&mut root, "variants.toml", problems) {
        return Err(vec![problem]);
    }
    let known = Known {
        pins: root.names_in("pins"),
        destinations: root.names_in("destinations"),
        images: root.names_in("images"),
        variants: root.names_in("variants"),
        parents: root.names_in("images").into_iter().chain(root.names_in("variants")).collect(),
    };
    let about = about(&mut root, facts, problems);
    let platforms = about.as_ref().map_or(&[][..], |about| &about.platforms);
    let templates = tags::templates(&mut root, problems);
    let mirrors = mirrors(&mut root, problems);
    let pins = pins::read(&mut root, platforms, problems);
    let profiles = profiles::read(&mut root, &known, &pins, problems);
    let destinations = destinations::read(&mut root, problems);
    let images = images::read(&mut root, &known, &pins, facts, problems);
    if let Some(templates) = &templates {
        tags::check(templates, about.as_ref(), &profiles, &images, problems);
    }
    root.finish(problems);

    let done = std::mem::replace(problems, Problems::none());
    match (about, templates) {
        (Some(about), Some(templates)) if done.is_empty() => Ok(Family {
            name: about.name,
            title: about.title,
            source: about.source,
            licenses: about.licenses,
            platforms: about.platforms,
            build_date: about.build_date,
            ca_bundle: about.ca_bundle,
            compression: about.compression,
            tags: Tags { moving: templates.moving.0, immutable: templates.immutable.0 },
            mirrors,
            pins,
            profiles: profiles.into_iter().map(|(name, profile)| (name, profile.value)).collect(),
            images: images.into_iter().map(|image| (image.value.name.clone(), image.value)).collect(),
            destinations,
        }),
        _ => Err(done.into_found()),
    }
}

/// The one problem of a file of another schema; its other problems would be ours, not its author's.
pub(super) fn other_schema<'t>(root: &mut Table<'t>, file: &str, problems: &mut Problems<'t>) -> Option<Problem> {
    root.require("schema", "schema = 1");
    let (schema, span) = root.number("schema", problems)?;
    (schema != SCHEMA).then(|| {
        let hint = match schema > SCHEMA {
            true => format!("this {file} was written for a newer Gantry"),
            false => format!("there never was a schema {schema}"),
        };
        Problem::new(span, format!("`schema` is {schema}"), format!("expected {SCHEMA}")).hint(hint)
    })
}

/// `[family]`
struct About {
    name: Name,
    title: String,
    source: String,
    licenses: Option<String>,
    platforms: Vec<Platform>,
    build_date: super::date::BuildDate,
    ca_bundle: Option<String>,
    compression: Compression,
}

fn about<'t>(root: &mut Table<'t>, facts: &dyn Fn(&str) -> bool, problems: &mut Problems<'t>) -> Option<About> {
    root.require("family", "[family]");
    let mut table = root.table("family", problems)?;
    for (key, example) in [
        ("name", r#"name = "ansible-epic""#),
        ("title", r#"title = "Ansible workspace""#),
        ("source", r#"source = "https://github.com/team/repository""#),
        ("platforms", r#"platforms = ["linux/amd64"]"#),
        ("build-date", r#"build-date = "2026-11-20""#),
    ] {
        table.require(key, example);
    }
    let name = table.text("name", problems).and_then(|text| problems.parse(&text, NAME));
    let title = table.line("title", problems);
    let source = table.text("source", problems);
    let source = source.filter(|text| problems.check(text, grammar::is_url(text.text), URL));
    let licenses = table.line("licenses", problems).map(|text| text.text.to_owned());
    let array = table.key_span("platforms");
    let platforms = table.texts("platforms", problems);
    if platforms.as_ref().is_some_and(Vec::is_empty) {
        problems.report(Problem::new(array, "`family.platforms` is empty", "expected one platform at least"));
    }
    let platform = |text: &Text<'t>| problems.parse(text, ("a platform", "`linux/amd64` or `linux/arm64`"));
    let platforms = platforms.map(|texts| texts.iter().filter_map(platform).collect::<Vec<_>>());
    let date = ("a date", "`YYYY-MM-DD`, 1980 or later");
    let build_date = table.text("build-date", problems).and_then(|text| problems.parse(&text, date));
    let ca_bundle = table.text("ca-bundle", problems).filter(|text| {
        problems.check(text, grammar::is_relative_path(text.text), RELATIVE) && exists(text, text.text, facts, problems)
    });
    let compression = compression(&mut table, problems);
    table.finish(problems);
    Some(About {
        name: name?,
        title: title?.text.to_owned(),
        source: source?.text.to_owned(),
        licenses,
        platforms: platforms?,
        build_date: build_date?,
        ca_bundle: ca_bundle.map(|text| text.text.to_owned()),
        compression,
    })
}

/// `compression` and `compression-level`. What is wrong was reported: then the value does not matter.
fn compression<'t>(table: &mut Table<'t>, problems: &mut Problems<'t>) -> Compression {
    let text = table.text("compression", problems);
    let compressor = text.and_then(|text| problems.parse(&text, ("a compression", "`gzip` or `zstd`"))).unwrap_or_default();
    let Some((level, span)) = table.number("compression-level", problems) else { return compressor };
    compressor.at(level).unwrap_or_else(|| {
        let message = format!("{} has no level {level}", compressor.name());
        let accepted = format!("expected a number from 1 to {}", compressor.largest_level());
        let usual = format!("without `compression-level` it is {}", compressor.level());
        problems.report(Problem::new(span, message, accepted).hint(usual));
        compressor
    })
}

const URL: Kind = ("a URL", "`https://…` or `http://…`, without spaces, quotes and a password");
const RELATIVE: Kind =
    ("a path beside variants.toml", "folders joined by `/`, as in `images/aws`, without `..`, spaces or a `/` at an end");

/// A problem at `text` unless the file at `path` exists.
fn exists(text: &Text<'_>, path: &str, facts: &dyn Fn(&str) -> bool, problems: &mut Problems<'_>) -> bool {
    let there = facts(path);
    if !there {
        problems.report(Problem::new(
            text.span.clone(),
            format!("`{path}` does not exist"),
            format!("expected a file `{path}` beside variants.toml"),
        ));
    }
    there
}

fn mirrors<'t>(root: &mut Table<'t>, problems: &mut Problems<'t>) -> BTreeMap<String, String> {
    const PREFIX: Kind = ("a URL prefix", "`https://…/` or `http://…/`, with a `/` at its end");
    let valid = |text: &Text<'_>| grammar::is_url(text.text) && text.text.ends_with('/');
    let mut mirrors = BTreeMap::new();
    for (from, to) in root.map("mirrors", problems) {
        if problems.check(&from, valid(&from), PREFIX) & problems.check(&to, valid(&to), PREFIX) {
            mirrors.insert(from.text.to_owned(), to.text.to_owned());
        }
    }
    mirrors
}

/// A repository without a tag or digest.
fn repository(text: &Text<'_>, problems: &mut Problems<'_>) -> Option<Repository> {
    let problem = match text.text.parse::<Repository>() {
        Ok(repository) => return Some(repository),
        Err(error) => Problem::new(text.span.clone(), format!("`{}` is not a repository", text.text.escape_debug()), error.why),
    };
    let bare = text.text.parse::<crate::oci::Reference>().ok().map(|reference| reference.repository.to_string());
    let bare = bare.or_else(|| Some(text.text.split_once("://")?.1.to_owned())).filter(|bare| bare.parse::<Repository>().is_ok());
    problems.report(match bare {
        Some(bare) => Problem { accepted: format!("expected `{bare}`"), ..problem }.hint("without scheme, tag and digest"),
        None => problem,
    });
    None
}

/// A template, or a problem at what is wrong in it.
fn template(text: &Text<'_>, known: &[&str], problems: &mut Problems<'_>) -> Option<Template> {
    let (what, part) = match Template::new(text.text, known) {
        Ok(template) => return Some(template),
        Err(error) => error,
    };
    let span = problems.within(text, part);
    let accepted = format!(
        "expected {}",
        super::suggest::one_of(known.iter().map(|name| format!("{{{name}}}")).collect::<Vec<_>>().iter().map(String::as_str))
    );
    let problem = match what.as_str() {
        "{" | "}" => Problem::new(span, format!("unbalanced `{what}` in `{}`", text.text), accepted),
        _ => {
            let problem = Problem::new(span, format!("unknown placeholder `{{{what}}}`"), accepted);
            problem.did_you_mean(super::closest(&what, known.iter().copied()).map(|name| format!("{{{name}}}")).as_deref())
        }
    };
    problems.report(problem);
    None
}

/// Build arguments that someone sets in the file.
fn args<'t>(table: &mut Table<'t>, pins: &pins::Args, problems: &mut Problems<'t>) -> BTreeMap<String, String> {
    let mut args = BTreeMap::new();
    for (name, value) in table.map("args", problems) {
        if build_arg(&name, problems) {
            if let Some(pin) = pins.get(name.text) {
                let message = format!("`{}` is set by the pin `{pin}`", name.text);
                let accepted = "expected another build argument";
                problems.report(Problem::new(name.span, message, accepted).hint(format!("change `pins.{pin}.version` instead")));
            } else {
                args.insert(name.text.to_owned(), value.text.to_owned());
            }
        }
    }
    args
}

/// Whether `text` may be a build argument; if not, a problem.
fn build_arg(text: &Text<'_>, problems: &mut Problems<'_>) -> bool {
    let reserved = grammar::is_reserved_build_arg(text.text);
    if reserved {
        problems.report(
            Problem::new(
                text.span.clone(),
                format!("`{}` is set by the pipeline itself", text.text),
                "expected another name than `PARENT`, `BASE`, `BUILD_DATE` and `ARTIFACT…`",
            )
            .hint(match text.text {
                "BUILD_DATE" => "set `family.build-date`, or `--build-date` for one build",
                "PARENT" | "BASE" => "what an image is built on is said by its `parent` and by `base` of the profile",
                _ => "an artifact is handed to a Dockerfile by the image's `pins`",
            }),
        );
    }
    !reserved && problems.check(text, grammar::is_build_arg(text.text), BUILD_ARG)
}
