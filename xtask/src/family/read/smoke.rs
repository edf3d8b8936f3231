//! `smoke` of an image or variant: what it is tried for once it is built.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::model::Pin;
use super::super::name::Name;
use super::super::problem::Problem;
use super::super::reader::{Kind, Problems, Table, Text};
use super::super::smoke::{self, Smoke, Trial};
use super::graph::order;
use super::images::{Read, pointers};
use super::template;

const TOOL: Kind = ("the name of a program", "one word, as in `ansible`, or a path, as in `/opt/tool/bin/tool`");
const VARIABLE: Kind = ("the name of a variable", "letters, digits and `_`, not starting with a digit");
const USER: Kind = ("the name of a user", "lower-case letters, digits, `_`, `-`");
const SIZE: Kind = ("a size", "a number and `kB`, `MB` or `GB`, as in `450 MB`");
const GROWTH: Kind = ("a growth", "percent or a size, as in `10%` or `20 MB`");

/// What an image says itself; its parent's is added by [`inherit`].
pub(super) fn read<'t>(table: &mut Table<'t>, pins: &BTreeMap<Name, Pin>, problems: &mut Problems<'t>) -> Smoke {
    let Some(mut table) = table.table("smoke", problems) else { return Smoke::default() };
    let known: Vec<&str> = pins.keys().map(Name::as_str).collect();
    let mut smoke = Smoke::default();
    for (name, expected) in table.map("tools", problems) {
        let valid = problems.check(&name, is_program(name.text), TOOL);
        if let Some(expected) = template(&expected, &known, problems).filter(|_| valid) {
            smoke.tools.insert(name.text.to_owned(), expected);
        }
    }
    for (name, part) in table.map("env", problems) {
        if problems.check(&name, is_variable(name.text), VARIABLE) {
            smoke.env.insert(name.text.to_owned(), part.text.to_owned());
        }
    }
    let mut taken = BTreeMap::<&str, Range<usize>>::new();
    for trial in table.list("checks", problems) {
        smoke.checks.extend(check(trial, &known, &mut taken, problems));
    }
    let size = table.text("max-size", problems);
    smoke.max_size = size.and_then(|text| valid(&text, smoke::bytes(text.text), SIZE, problems));
    let growth = table.text("max-growth", problems);
    smoke.max_growth = growth.and_then(|text| valid(&text, smoke::growth(text.text), GROWTH, problems));
    table.finish(problems);
    smoke
}

/// Adds to every image what its parent is tried for.
pub(super) fn inherit(images: &mut [Read<'_>]) {
    let next = pointers(images, |image| image.parent.as_ref().map(|parent| parent.text));
    for at in order(&next) {
        let parent = next.get(at).copied().flatten().filter(|parent| *parent != at);
        let Some(parent) = parent.and_then(|parent| images.get(parent)).map(|parent| parent.value.smoke.clone()) else {
            continue;
        };
        if let Some(image) = images.get_mut(at) {
            image.value.smoke = std::mem::take(&mut image.value.smoke).on(&parent);
        }
    }
}

fn valid<T>(text: &Text<'_>, value: Option<T>, kind: Kind, problems: &mut Problems<'_>) -> Option<T> {
    problems.check(text, value.is_some(), kind);
    value
}

fn check<'t>(
    mut table: Table<'t>,
    pins: &[&str],
    taken: &mut BTreeMap<&'t str, Range<usize>>,
    problems: &mut Problems<'t>,
) -> Option<Trial> {
    table.require("name", r#"name = "what it shows""#);
    table.require("run", r#"run = "a line of shell""#);
    let name = table.line("name", problems);
    if let Some(text) = &name
        && let Some(first) = taken.insert(text.text, text.span.clone())
    {
        let problem =
            Problem::new(text.span.clone(), format!("two checks are called `{}`", text.text), "expected a name of its own");
        problems.report(problem.related(first, "taken here"));
    }
    let run = table.text("run", problems);
    let expect = table.text("expect", problems);
    if let Some(text) = &expect {
        pattern(text, pins, problems);
    }
    let user = table.text("user", problems).filter(|text| problems.check(text, is_user(text.text), USER));
    let exit = table.number("exit", problems);
    if let Some((256.., span)) = &exit {
        problems.report(Problem::new(span.clone(), "no program ends with this code", "expected a number from 0 to 255"));
    }
    table.finish(problems);
    Some(Trial {
        name: name?.text.to_owned(),
        run: run?.text.to_owned(),
        expect: expect.map(|text| text.text.to_owned()),
        user: user.map_or(Smoke::USER, |text| text.text).to_owned(),
        exit: exit.map_or(0, |(code, _)| code),
    })
}

/// A problem unless the text is a regular expression once pins stand for their versions.
fn pattern(text: &Text<'_>, pins: &[&str], problems: &mut Problems<'_>) {
    let filled = pins.iter().fold(text.text.to_owned(), |text, pin| text.replace(&format!("{{{pin}}}"), "1"));
    if let Err(error) = regex_lite::Regex::new(&filled) {
        let message = format!("`{}` is not a regular expression: {error}", text.text.escape_debug());
        let pins: Vec<String> = pins.iter().map(|pin| format!("{{{pin}}}")).collect();
        let hint = format!("`\\` before a character takes its meaning; of pins there are {}", pins.join(", "));
        problems.report(Problem::new(text.span.clone(), message, "expected a regular expression").hint(hint));
    }
}

fn is_program(text: &str) -> bool {
    let word = |text: &str| {
        !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b'+'))
    };
    text.strip_prefix('/').unwrap_or(text).split('/').all(word) && !text.starts_with('-')
}

fn is_variable(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') && text.as_bytes().first().is_some_and(|b| !b.is_ascii_digit())
}

fn is_user(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-'))
        && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
}
