//! variants.toml and variants.lock of this repository, and a large family.

use std::fmt::Write as _;

use crate::family::{Family, Name, Selection, SourceText, read, read_lock};
use crate::oci::Platform;
use crate::output::diagnostics::render;

fn source(name: &str, text: impl Into<String>) -> SourceText {
    SourceText { name: name.to_owned(), text: text.into() }
}

fn real() -> Family {
    let source = source("variants.toml", include_str!("../../../../variants.toml"));
    read(&source, &|path| path.starts_with("images/") && path.ends_with("/Dockerfile"))
        .unwrap_or_else(|problems| panic!("{}", render(&source, &problems, false)))
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

#[test]
fn the_family_of_this_repository_has_four_variants() {
    let family = real();
    let table: Vec<String> = family
        .variants()
        .map(|(image, published)| {
            let join = |names: &mut dyn Iterator<Item = &Name>| names.map(Name::as_str).collect::<Vec<_>>().join(" ");
            format!(
                "{} on {}: {} | {} | {} | {}",
                image.name,
                image.parent.as_ref().map_or("", Name::as_str),
                join(&mut published.components.iter()),
                join(&mut published.aliases.iter()),
                join(&mut published.destinations.iter()),
                join(&mut image.pins.iter()),
            )
        })
        .collect();
    assert_eq!(
        table,
        [
            "aws on base: vscode-cli github-runner | aws-coder | ecr ghcr | ",
            "aws-web on aws: vscode-cli github-runner |  | ecr ghcr | ansible-extension code-server python-extension vscode-server yaml-extension",
            "azure on base: vscode-cli github-runner |  | ghcr | ",
            "azure-web on azure: vscode-cli github-runner |  | ghcr | ansible-extension code-server python-extension vscode-server yaml-extension",
        ]
    );
    assert!(family.images[&name("base")].published.is_none());
    assert_eq!(family.profiles[&name("offline")].local_suffix, "-offline");
    assert_eq!(family.pins[&name("github-runner")].place.as_ref().map(|place| place.owner), Some((1001, 1001)));
}

#[test]
fn the_lock_of_this_repository_is_what_would_be_written() {
    let family = real();
    let source = source("variants.lock", include_str!("../../../../variants.lock"));
    let lock = read_lock(&source, &family).unwrap_or_else(|problems| panic!("{}", render(&source, &problems, false)));
    assert_eq!(lock.write(&family), source.text);
    assert!(lock.artifact(&family, &name("github-runner"), Platform::LinuxArm64).is_some());
    assert!(lock.artifact(&family, &name("vscode-server"), Platform::LinuxAmd64).is_none());
}

#[test]
fn a_stale_entry_is_read_but_neither_used_nor_written() {
    let mut family = real();
    let source = source("variants.lock", include_str!("../../../../variants.lock"));
    let runner = name("github-runner");
    family.pins.get_mut(&runner).unwrap().version = "2.338.0".to_owned();
    let lock = read_lock(&source, &family).unwrap();
    assert_eq!(lock.artifacts[&(runner.clone(), Platform::LinuxAmd64)].version, "2.337.0");
    assert!(lock.artifact(&family, &runner, Platform::LinuxAmd64).is_none());
    assert!(!lock.write(&family).contains("github-runner"));
}

#[test]
fn what_two_builds_resolved_at_the_same_time_is_kept() {
    let mut family = real();
    let source = source("variants.lock", include_str!("../../../../variants.lock"));
    let whole = read_lock(&source, &family).unwrap();
    let (runner, cli) = (name("github-runner"), name("vscode-cli"));
    // One lacked the runner and every base, the other what both wrote in an older version.
    let mut one = whole.clone();
    one.artifacts.retain(|(pin, _), _| *pin != runner);
    one.bases.clear();
    let mut other = whole.clone();
    other.artifacts.retain(|(pin, _), _| *pin != cli);
    one.complete_from(other.clone(), &family);
    assert_eq!(one, whole);
    other.complete_from(one, &family);
    assert_eq!(other, whole);

    family.pins.get_mut(&runner).unwrap().version = "2.338.0".to_owned();
    let key = (runner, Platform::LinuxAmd64);
    let mut newer = whole.clone();
    newer.artifacts.get_mut(&key).unwrap().version = "2.338.0".to_owned();
    let mut file = whole.clone();
    file.complete_from(newer.clone(), &family);
    assert_eq!(file.artifacts[&key].version, "2.338.0", "what is stale gives way");
    newer.complete_from(whole, &family);
    assert_eq!(newer.artifacts[&key].version, "2.338.0", "and does not come back");
}

#[test]
fn variants_are_selected_by_name_alias_or_pattern() {
    let family = real();
    let select = |patterns: &[&str]| {
        let selected = Selection::new(false, patterns.iter().copied()).resolve(&family);
        selected
            .map(|names| names.iter().map(Name::as_str).collect::<Vec<_>>().join(" "))
            .map_err(|error| (error.to_string(), error.hint()))
    };
    let error = |message: &str, hint: &str| Err((message.to_owned(), hint.to_owned()));
    let all = "`aws`, `aws-web`, `azure` or `azure-web`";
    for (patterns, expected) in [
        (&["aws"][..], Ok("aws".to_owned())),
        (&["azure-web", "aws", "aws"], Ok("aws azure-web".to_owned())),
        (&["aws*"], Ok("aws aws-web".to_owned())),
        (&["*-web"], Ok("aws-web azure-web".to_owned())),
        (&["aws-coder"], Ok("aws".to_owned())),
        (&[], error("no variant is selected", &format!("name one with `--variant`, or take them with `--all`: there is {all}"))),
        (&["aws", "azur"], error(&format!("`azur` is not a variant: there is {all}"), "did you mean `azure`?")),
        (
            &["gcp"],
            error(&format!("`gcp` is not a variant: there is {all}"), "a variant is a table `[variants.NAME]` in variants.toml"),
        ),
        (
            &["gcp*"],
            error(
                &format!("no variant matches `gcp*`: there is {all}"),
                "quote patterns, so that the shell does not expand them: `--variant 'aws*'`",
            ),
        ),
        (
            &["base"],
            error(
                "`base` is an image that others are built on, not a variant",
                &format!("it is built with the variants that need it: {all} (`base` is their parent)"),
            ),
        ),
    ] {
        assert_eq!(select(patterns), expected, "{patterns:?}");
    }
    assert_eq!(Selection::new(true, ["ignored"]).resolve(&family).map(|names| names.len()), Ok(4));
}

/// A family of `count` variants, each on the one before.
fn large(count: usize) -> SourceText {
    let real = include_str!("../../../../variants.toml");
    let mut text = real.to_owned();
    for number in 0..count {
        let parent = if number == 0 { "aws-web".to_owned() } else { format!("v{}", number - 1) };
        let _ =
            writeln!(text, "[variants.v{number}]\ndescription = \"one of many\"\ninherits = \"{parent}\"\nparent = \"{parent}\"");
        let _ = writeln!(text, "context = \"images/web\"\naliases = [\"w{number}\"]\nlabels = {{ number = \"{number}\" }}");
    }
    source("variants.toml", text)
}

#[test]
fn a_family_of_any_size_is_read_and_settings_reach_the_end_of_a_long_chain() {
    let family = read(&large(300), &|_| true).unwrap();
    let last = family.images[&name("v299")].published.as_ref().unwrap();
    assert_eq!(last.components, [name("vscode-cli"), name("github-runner")]);
    assert_eq!(last.labels["number"], "299");
}
