//! `[pins.NAME]`: versions, where they come from, and how a download lies in its image.

use std::collections::BTreeMap;

use super::super::grammar;
use super::super::model::{Pin, Place, Unpack, Upstream};
use super::super::name::Name;
use super::super::problem::Problem;
use super::super::range::VersionRange;
use super::super::reader::{Kind, Problems, Table, Text};
use super::super::suggest::{closest, one_of};
use super::{NAME, build_arg, template};
use crate::oci::Platform;

/// The build arguments that pins set, each with its pin.
pub(super) type Args = BTreeMap<String, String>;

/// The build arguments of `pins`.
pub(super) fn args(pins: &BTreeMap<Name, Pin>) -> Args {
    pins.iter().filter_map(|(name, pin)| Some((pin.build_arg.clone()?, name.to_string()))).collect()
}

/// All pins that are valid.
pub(super) fn read<'t>(root: &mut Table<'t>, platforms: &[Platform], problems: &mut Problems<'t>) -> BTreeMap<Name, Pin> {
    let mut pins = BTreeMap::new();
    let mut taken = BTreeMap::new();
    for (key, mut table) in root.tables("pins", problems) {
        let name = problems.parse::<Name>(&key, NAME);
        let build_arg = table.text("build-arg", problems).filter(|text| build_arg(text, problems));
        if let Some(text) = &build_arg
            && let Some(first) = taken.insert(text.text, text.span.clone())
        {
            let message = format!("`{}` is the build argument of two pins", text.text);
            problems.report(Problem::new(text.span.clone(), message, "expected one of its own").related(first, "taken here"));
        }
        let pin = pin(&mut table, key.text, platforms, problems);
        table.finish(problems);
        if let (Some(name), Some(pin)) = (name, pin) {
            pins.insert(name, Pin { build_arg: build_arg.map(|text| text.text.to_owned()), ..pin });
        }
    }
    pins
}

fn pin<'t>(table: &mut Table<'t>, name: &str, platforms: &[Platform], problems: &mut Problems<'t>) -> Option<Pin> {
    table.require("version", r#"version = "1.2.3""#);
    table.require("upstream", r#"upstream = { github-release = "owner/name", asset = "…" }"#);
    let version = table.text("version", problems);
    let upstream = table.table("upstream", problems).and_then(|table| upstream(table, problems));
    if let Some(text) = &version {
        let (valid, kind) = match &upstream {
            Some(Upstream::Vscode { .. }) => {
                (grammar::is_commit(text.text), ("a commit", "the 40 hexadecimal digits of a commit of VS Code"))
            }
            _ => (
                grammar::is_version(text.text),
                ("a version", "one version, as in `2.337.0`: letters, digits, `.`, `_`, `+`, `-`"),
            ),
        };
        problems.check(text, valid, kind);
    }
    const HOLD: Kind = ("a range of versions", "what `bump` may move it to, as in `<2.330` or `>=1.2 <2`");
    let hold = table.text("hold", problems).and_then(|text| problems.parse::<VersionRange>(&text, HOLD));
    let arch = arch(table, upstream.as_ref(), platforms, problems);
    match &upstream {
        Some(upstream) if upstream.is_artifact() => {
            table.require("place", r#"place = { path = "/opt/…", unpack = "tar.gz" }"#);
        }
        Some(_) if table.has("place") => problems.report(
            Problem::new(table.key_span("place"), format!("the pin `{name}` has a `place`"), "expected none")
                .hint("npm and PyPI packages are installed by a Dockerfile; only downloads have a place"),
        ),
        _ => {}
    }
    let place = table.table("place", problems).and_then(|table| place(table, problems));
    let max_age_days = max_age_days(table, upstream.as_ref(), problems);
    Some(Pin { version: version?.text.to_owned(), upstream: upstream?, hold, build_arg: None, place, arch, max_age_days })
}

/// Days are counted from the dates of variants.lock, which has none of what a package manager installs.
fn max_age_days<'t>(table: &mut Table<'t>, upstream: Option<&Upstream>, problems: &mut Problems<'t>) -> Option<u32> {
    let (days, span) = table.number("max-age-days", problems)?;
    if days == 0 {
        let message = "`max-age-days` is `0`: the pin could never be used";
        problems.report(Problem::new(span, message, "expected a number of days, as in `30`"));
        return None;
    }
    if upstream.is_some_and(|upstream| !upstream.is_artifact()) {
        let message = "`max-age-days` of a package, of which variants.lock knows no day";
        problems.report(Problem::new(table.key_span("max-age-days"), message, "expected none"));
    }
    Some(days)
}

fn upstream<'t>(mut table: Table<'t>, problems: &mut Problems<'t>) -> Option<Upstream> {
    const KINDS: [&str; 5] = ["github-release", "vscode", "open-vsx", "npm", "pypi"];
    const REPOSITORY: Kind = ("a GitHub repository", "`owner/name`");
    const EXTENSION: Kind = ("an extension", "`publisher.name`");
    const PACKAGE: Kind = ("a package", "the name of a package");
    let given: Vec<&'static str> = KINDS.into_iter().filter(|kind| table.has(kind)).collect();
    let [kind] = given[..] else {
        match given[..] {
            [first, second, ..] => problems.report(
                Problem::new(table.key_span(second), "a pin has two upstreams", format!("expected {} alone", one_of(KINDS)))
                    .related(table.key_span(first), "the first one"),
            ),
            _ if problems.complete => {
                let meant = table.keys().find_map(|key| closest(key, KINDS));
                problems.report(
                    Problem::new(table.span(), "this upstream does not say what it is", format!("expected {}", one_of(KINDS)))
                        .did_you_mean(meant),
                );
            }
            _ => {}
        }
        return None;
    };
    let text = table.text(kind, problems);
    let mut named = |valid: fn(&str) -> bool, kind: Kind| {
        let text = text.clone().filter(|text| problems.check(text, valid(text.text), kind));
        text.map(|text| text.text.to_owned())
    };
    let upstream = match kind {
        "github-release" => {
            let repository = named(grammar::is_github_repository, REPOSITORY);
            table.require("asset", r#"asset = "name-{arch}-{version}.tar.gz""#);
            let asset = table.text("asset", problems).and_then(|text| file_name(&text, &["version", "arch"], problems));
            repository.zip(asset).map(|(repository, asset)| Upstream::GithubRelease { repository, asset })
        }
        "vscode" => text.and_then(|text| file_name(&text, &["arch"], problems)).map(|build| Upstream::Vscode { build }),
        "open-vsx" => named(grammar::is_extension, EXTENSION).map(|extension| Upstream::OpenVsx { extension }),
        "npm" => named(grammar::is_npm_package, PACKAGE).map(|package| Upstream::Npm { package }),
        _ => named(grammar::is_pypi_package, PACKAGE).map(|package| Upstream::Pypi { package }),
    };
    table.finish(problems);
    upstream
}

/// A template that makes one part of a URL's path.
fn file_name<'t>(text: &Text<'t>, known: &[&str], problems: &mut Problems<'t>) -> Option<super::Template> {
    let template = template(text, known, problems)?;
    let made = template.fill(|_| Some("1"));
    let valid = grammar::is_relative_path(&made) && !made.contains('/');
    problems
        .check(text, valid, ("the name of a download", "letters, digits, `.`, `_`, `+`, `-` and placeholders"))
        .then_some(template)
}

fn arch<'t>(
    table: &mut Table<'t>,
    upstream: Option<&Upstream>,
    platforms: &[Platform],
    problems: &mut Problems<'t>,
) -> BTreeMap<String, String> {
    let known = || Platform::ALL.iter().map(|platform| platform.arch());
    let mut arch = BTreeMap::new();
    for (key, value) in table.map("arch", problems) {
        if !known().any(|arch| arch == key.text) {
            let message = format!("`{}` is not an architecture", key.text);
            problems.report(
                Problem::new(key.span, message, format!("expected {}", one_of(known()))).did_you_mean(closest(key.text, known())),
            );
        } else if problems.check(
            &value,
            grammar::is_version(value.text),
            ("the name of an architecture", "one word, as in `x64`"),
        ) {
            arch.insert(key.text.to_owned(), value.text.to_owned());
        }
    }
    if !table.has("arch") || !problems.complete {
        return arch;
    }
    let uses_arch = match upstream {
        Some(Upstream::GithubRelease { asset, .. }) => asset.uses("arch"),
        Some(Upstream::Vscode { build }) => build.uses("arch"),
        Some(_) => false,
        None => return arch,
    };
    if !uses_arch {
        let message = "nothing uses this `arch`: the upstream's name has no `{arch}`";
        problems.report(Problem::new(table.key_span("arch"), message, "expected none, or `{arch}` in `upstream`"));
    }
    let missing = platforms.iter().filter(|platform| !arch.contains_key(platform.arch()));
    for platform in missing.filter(|_| !arch.is_empty()) {
        let message = format!("`arch` says nothing of `{}`, but the family is built for `{platform}`", platform.arch());
        problems.report(Problem::new(table.key_span("arch"), message, format!("expected `{} = \"…\"` as well", platform.arch())));
    }
    arch
}

fn place<'t>(mut table: Table<'t>, problems: &mut Problems<'t>) -> Option<Place> {
    const PATH: Kind = ("an absolute path", "a path as in `/opt/actions-runner`, without `..`, spaces or a `/` at its end");
    const OWNER: Kind = ("an owner", "the numbers of a user and a group, as in `1001:1001`");
    table.require("path", r#"path = "/opt/…""#);
    table.require("unpack", r#"unpack = "tar.gz"`, or `unpack = "file""#);
    let path = table.text("path", problems);
    let path = path.filter(|text| problems.check(text, grammar::is_absolute_path(text.text), PATH));
    let unpack = table.text("unpack", problems).and_then(|text| match text.text {
        "tar.gz" => Some(Unpack::TarGz),
        "file" => Some(Unpack::File),
        _ => {
            problems.check(&text, false, ("a way to unpack", "`tar.gz`, or `file` where the download is the file"));
            None
        }
    });
    let owner = table.text("owner", problems).map(|text| {
        let owner = grammar::owner(text.text);
        problems.check(&text, owner.is_some(), OWNER);
        owner
    });
    let strip = table.number("strip", problems);
    if let (Some(Unpack::File), Some((1.., span))) = (unpack, &strip) {
        let message = "`strip` drops folders of an archive, but this download is not unpacked";
        problems.report(Problem::new(span.clone(), message, "expected 0, or `unpack = \"tar.gz\"`"));
    }
    table.finish(problems);
    Some(Place {
        path: path?.text.to_owned(),
        unpack: unpack?,
        strip: strip.map_or(0, |(number, _)| number),
        owner: owner.unwrap_or(Some((0, 0)))?,
    })
}
