//! Reads TOML tables key by key, with spans. What was asked for is what is accepted: [`Table::finish`] reports the rest.

use std::collections::BTreeMap;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::problem::{Problem, SourceText};
use super::suggest::{closest, one_of};
use super::syntax::{self, SyntaxError};

/// A string of the file, with its place (the quotes are part of it).
#[derive(Debug, Clone)]
pub(super) struct Text<'t> {
    /// The value.
    pub(super) text: &'t str,
    /// Bytes of it in the file.
    pub(super) span: Range<usize>,
}

/// The problems found so far in one file.
pub(super) struct Problems<'t> {
    source: &'t str,
    found: Vec<Problem>,
    syntax: Vec<SyntaxError>,
    /// How often a name was looked for that might have been meant.
    suggestions: usize,
    /// No syntax error: what was not read is not there. (Otherwise it may stand in what could not be read, and neither
    /// missing things nor unknown names are reported.)
    pub(super) complete: bool,
}

/// What a text has to be, for messages: `a version`, ``a number with dots, as `2.337.0` ``.
pub(super) type Kind = (&'static str, &'static str);

impl<'t> Problems<'t> {
    /// Parses the file, taking down its syntax errors, and hands out what could be read of it.
    pub(super) fn parse_file(source: &'t SourceText) -> (DeTable<'t>, Self) {
        let (document, errors) = DeTable::parse_recoverable(&source.text);
        let text = source.text.as_str();
        let syntax = syntax::problems(text, &errors);
        let problems = Self { source: text, found: Vec::new(), syntax, suggestions: 0, complete: errors.is_empty() };
        (document.into_inner(), problems)
    }

    /// Nothing yet, of no file.
    pub(super) fn none() -> Self {
        Self { source: "", found: Vec::new(), syntax: Vec::new(), suggestions: 0, complete: true }
    }

    /// Takes down a problem.
    pub(super) fn report(&mut self, problem: Problem) {
        self.found.push(problem);
    }

    /// All problems in the order of the file; those that only follow from a syntax error in the same line are left out.
    pub(super) fn into_found(mut self) -> Vec<Problem> {
        self.found.retain(|problem| {
            let after = self.syntax.partition_point(|error| error.line.start <= problem.span.start);
            after.checked_sub(1).is_none_or(|at| self.syntax[at].line.end < problem.span.start)
        });
        self.found.extend(self.syntax.into_iter().map(|error| error.problem));
        self.found.sort_by_key(|problem| problem.span.start);
        self.found.dedup();
        self.found
    }

    /// Whether nothing was found.
    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty() && self.syntax.is_empty()
    }

    /// `text` as a `T`, or a problem.
    pub(super) fn parse<T: std::str::FromStr>(&mut self, text: &Text<'_>, kind: Kind) -> Option<T> {
        let parsed = text.text.parse().ok();
        self.check(text, parsed.is_some(), kind);
        parsed
    }

    /// A problem unless `valid`.
    pub(super) fn check(&mut self, text: &Text<'_>, valid: bool, (what, accepted): Kind) -> bool {
        if !valid {
            let message = match text.text {
                "" => format!("an empty text is not {what}"),
                found => format!("`{}` is not {what}", found.escape_debug()),
            };
            self.report(Problem::new(text.span.clone(), message, format!("expected {accepted}")));
        }
        valid
    }

    /// A problem unless `text` is among `known`: names that the file gives elsewhere. `what` is `a pin`.
    pub(super) fn known<V>(&mut self, text: &Text<'_>, what: &str, known: &BTreeMap<&'t str, V>) -> bool {
        let found = known.contains_key(text.text);
        if !found && self.complete {
            let names = || known.keys().copied();
            // Where so many names are unknown, something else happened than a slip of a finger.
            self.suggestions += 1;
            let meant = (self.suggestions <= 100).then(|| closest(text.text, names())).flatten();
            let message = format!("`{}` is not {what} of this file", text.text.escape_debug());
            let accepted = format!("expected {}", one_of(names()));
            self.report(Problem::new(text.span.clone(), message, accepted).did_you_mean(meant));
        }
        found
    }

    /// The bytes of the file that `part` of `text` stands in; all of the text where it is written with escapes.
    pub(super) fn within(&self, text: &Text<'_>, part: Range<usize>) -> Range<usize> {
        let from = text.span.start + 1;
        match self.source.get(from..from + text.text.len()) == Some(text.text) {
            true => from + part.start..from + part.end,
            false => text.span.clone(),
        }
    }

    fn wrong_type(&mut self, path: &str, found: &Spanned<DeValue<'_>>, expected: &str, wanted: Type) {
        let written = self.source.get(found.span()).unwrap_or_default();
        let hint = match (found.get_ref(), wanted) {
            (DeValue::Array(_) | DeValue::Table(_), _) => None,
            (DeValue::String(text), Type::Boolean) if matches!(&**text, "true" | "false") => {
                Some(format!("without quotes: {text}"))
            }
            (DeValue::String(text), Type::Integer) if text.parse::<u32>().is_ok() => Some(format!("without quotes: {text}")),
            (DeValue::String(_), Type::Array) => Some(format!("in brackets: [{written}]")),
            (DeValue::String(_), _) => None,
            (_, Type::Text) => Some(format!("in quotes: \"{written}\"")),
            _ => None,
        };
        let article = match found.get_ref() {
            DeValue::String(_) => "a string",
            DeValue::Integer(_) => "an integer",
            DeValue::Float(_) => "a float",
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date",
            DeValue::Array(_) => "an array",
            DeValue::Table(_) => "a table",
        };
        let problem = Problem::new(found.span(), format!("`{path}` is {article}"), format!("expected {expected}"));
        self.report(Problem { hint, ..problem });
    }
}

/// The types that are asked for, to word the hint.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Boolean,
    Integer,
    Array,
    Table,
}

/// A table that is being read.
pub(super) struct Table<'t> {
    path: String,
    span: Range<usize>,
    entries: &'t DeTable<'t>,
    asked: Vec<&'static str>,
    missing: Vec<(&'static str, Problem)>,
}

impl<'t> Table<'t> {
    /// The whole file.
    pub(super) fn root(entries: &'t DeTable<'t>) -> Self {
        Self { path: String::new(), span: 0..0, entries, asked: Vec::new(), missing: Vec::new() }
    }

    /// The bytes of its header, or of all of it where it stands in a line.
    pub(super) fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Whether the key is there.
    pub(super) fn has(&self, key: &str) -> bool {
        self.entries.contains_key(key)
    }

    /// The keys that are there, in their order.
    pub(super) fn keys(&self) -> impl Iterator<Item = &'t str> {
        self.entries.keys().map(|key| &**key.get_ref())
    }

    /// The bytes of a key.
    pub(super) fn key_span(&self, key: &str) -> Range<usize> {
        self.entries.get_key_value(key).map_or_else(|| self.span(), |(key, _)| key.span())
    }

    /// A problem unless the key is there (told by [`Table::finish`], unless the key is there but misspelt); `example` shows
    /// what would be accepted.
    pub(super) fn require(&mut self, key: &'static str, example: &str) {
        if !self.has(key) {
            let message = match self.path.as_str() {
                "" => format!("missing `{key}`"),
                path => format!("missing `{key}` in `{path}`"),
            };
            self.missing.push((key, Problem::new(self.span(), message, format!("expected `{example}`"))));
        }
    }

    fn take(&mut self, key: &'static str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.asked.push(key);
        self.entries.get(key)
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// A string.
    pub(super) fn text(&mut self, key: &'static str, problems: &mut Problems<'t>) -> Option<Text<'t>> {
        let value = self.take(key)?;
        as_text(value, &self.path_of(key), problems)
    }

    /// A string of one line that is not empty.
    pub(super) fn line(&mut self, key: &'static str, problems: &mut Problems<'t>) -> Option<Text<'t>> {
        let text = self.text(key, problems)?;
        let valid = !text.text.trim().is_empty() && !text.text.contains(char::is_control);
        problems.check(&text, valid, ("a line of text", "one line that says something")).then_some(text)
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &'static str, problems: &mut Problems<'t>) -> Option<bool> {
        let value = self.take(key)?;
        if value.get_ref().as_bool().is_none() {
            problems.wrong_type(&self.path_of(key), value, "`true` or `false`", Type::Boolean);
        }
        value.get_ref().as_bool()
    }

    /// A small number, with its place.
    pub(super) fn number(&mut self, key: &'static str, problems: &mut Problems<'t>) -> Option<(u32, Range<usize>)> {
        let value = self.take(key)?;
        let number = value.get_ref().as_integer();
        let parsed = number.and_then(|number| u32::from_str_radix(number.as_str(), number.radix()).ok());
        match (number, parsed) {
            (Some(number), None) => {
                let text = format!("`{}` is `{number}`", self.path_of(key));
                problems.report(Problem::new(value.span(), text, format!("expected a number from 0 to {}", u32::MAX)));
            }
            (None, _) => problems.wrong_type(&self.path_of(key), value, "a number", Type::Integer),
            _ => {}
        }
        Some((parsed?, value.span()))
    }

    /// Strings, none of them twice. None where the key is missing.
    pub(super) fn texts(&mut self, key: &'static str, problems: &mut Problems<'t>) -> Option<Vec<Text<'t>>> {
        let value = self.take(key)?;
        let path = self.path_of(key);
        let Some(array) = value.get_ref().as_array() else {
            problems.wrong_type(&path, value, "an array of strings", Type::Array);
            return None;
        };
        Some(distinct(array, &path, problems))
    }

    /// A table of strings, in their order; `what` is a key of it, for messages. Keys of one table differ.
    pub(super) fn map(&mut self, key: &'static str, problems: &mut Problems<'t>) -> Vec<(Text<'t>, Text<'t>)> {
        let Some(table) = self.table(key, problems) else { return Vec::new() };
        let entry = |(key, value): (&'t Spanned<_>, &'t Spanned<_>)| {
            let key = Text { text: std::convert::AsRef::<std::borrow::Cow<'t, str>>::as_ref(key), span: key.span() };
            let value = as_text(value, &table.path_of(key.text), problems)?;
            Some((key, value))
        };
        table.entries.iter().filter_map(entry).collect()
    }

    /// A table.
    pub(super) fn table(&mut self, key: &'static str, problems: &mut Problems<'t>) -> Option<Table<'t>> {
        let value = self.take(key)?;
        as_table(value, self.path_of(key), "a table", problems)
    }

    /// The tables of a table, in their order: `[pins.NAME]`, each with its name.
    pub(super) fn tables(&mut self, key: &'static str, problems: &mut Problems<'t>) -> Vec<(Text<'t>, Table<'t>)> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let expected = format!("tables `[{key}.NAME]`");
        let Some(outer) = as_table(value, self.path_of(key), &expected, problems) else { return Vec::new() };
        let named = |(name, value): (&'t Spanned<std::borrow::Cow<'t, str>>, &'t Spanned<DeValue<'t>>)| {
            let name = Text { text: name.get_ref(), span: name.span() };
            let table = as_table(value, outer.path_of(name.text), &format!("a table `[{key}.NAME]`"), problems)?;
            Some((name, table))
        };
        outer.entries.iter().filter_map(named).collect()
    }

    /// The tables of an array of tables: `[[artifact]]`.
    pub(super) fn list(&mut self, key: &'static str, problems: &mut Problems<'t>) -> Vec<Table<'t>> {
        let Some(value) = self.take(key) else { return Vec::new() };
        let path = self.path_of(key);
        let Some(array) = value.get_ref().as_array() else {
            problems.wrong_type(&path, value, &format!("tables `[[{key}]]`"), Type::Table);
            return Vec::new();
        };
        array.iter().filter_map(|item| as_table(item, path.clone(), "a table", problems)).collect()
    }

    /// The names and places of a table of tables, whatever stands in them.
    pub(super) fn names_in(&self, key: &str) -> BTreeMap<&'t str, Range<usize>> {
        let table = self.entries.get(key).and_then(|value| value.get_ref().as_table());
        table.into_iter().flatten().map(|(name, _)| (&**name.get_ref(), name.span())).collect()
    }

    /// Reports the keys that nobody asked for and those that are missing.
    pub(super) fn finish(self, problems: &mut Problems<'t>) {
        self.finish_with(problems, |_| None);
    }

    /// Reports the keys that nobody asked for and those that are missing, with what `hint` knows of them.
    pub(super) fn finish_with(mut self, problems: &mut Problems<'t>, hint: impl Fn(&str) -> Option<String>) {
        let mut missing = std::mem::take(&mut self.missing);
        for (key, _) in self.entries.iter().filter(|(key, _)| !self.asked.contains(&&**key.get_ref())) {
            let left = || self.asked.iter().copied().filter(|asked| !self.has(asked));
            let message = match self.path.as_str() {
                "" => format!("unknown key `{}`", key.get_ref()),
                path => format!("unknown key `{}` in `{path}`", key.get_ref()),
            };
            let accepted = match left().next() {
                Some(_) => format!("expected {}", one_of(left())),
                None => "every key that is known is already there".to_owned(),
            };
            let meant = closest(key.get_ref(), left());
            missing.retain(|(key, _)| Some(*key) != meant);
            let problem = Problem::new(key.span(), message, accepted).did_you_mean(meant);
            problems.report(match hint(key.get_ref()) {
                Some(hint) => problem.hint(hint),
                None => problem,
            });
        }
        if problems.complete {
            problems.found.extend(missing.into_iter().map(|(_, problem)| problem));
        }
    }
}

fn as_table<'t>(value: &'t Spanned<DeValue<'t>>, path: String, expected: &str, problems: &mut Problems<'t>) -> Option<Table<'t>> {
    match value.get_ref().as_table() {
        Some(entries) => Some(Table { path, span: value.span(), entries, asked: Vec::new(), missing: Vec::new() }),
        None => {
            problems.wrong_type(&path, value, expected, Type::Table);
            None
        }
    }
}

fn as_text<'t>(value: &'t Spanned<DeValue<'t>>, path: &str, problems: &mut Problems<'t>) -> Option<Text<'t>> {
    match value.get_ref().as_str() {
        Some(text) => Some(Text { text, span: value.span() }),
        None => {
            problems.wrong_type(path, value, "a string", Type::Text);
            None
        }
    }
}

fn distinct<'t>(array: &'t DeArray<'t>, path: &str, problems: &mut Problems<'t>) -> Vec<Text<'t>> {
    let mut first = BTreeMap::new();
    let mut texts = Vec::with_capacity(array.len());
    for item in array.iter() {
        let Some(text) = as_text(item, &format!("{path}[]"), problems) else { continue };
        match first.insert(text.text, text.span.clone()) {
            None => texts.push(text),
            Some(before) => problems.report(
                Problem::new(text.span, format!("`{}` stands twice in `{path}`", text.text), "expected each once")
                    .related(before, "the first time"),
            ),
        }
    }
    texts
}
