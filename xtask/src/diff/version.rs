//! Which of two versions is the newer one, as each manager of packages sees it.

use std::cmp::Ordering;

use crate::contents::PackageKind;

/// Which of two versions is the newer one; none where neither is, as far as can be told: one is no version at all (a commit).
pub fn compare(kind: PackageKind, one: &str, other: &str) -> Option<Ordering> {
    match (Key::new(kind, one), Key::new(kind, other)) {
        (Key::Text(one), Key::Text(other)) if one != other => None,
        (Key::Text(_), Key::Known(_)) | (Key::Known(_), Key::Text(_)) => None,
        (one, other) => Some(one.cmp(&other)),
    }
}

/// What versions are sorted by: a total order, with those that are none at all before the others.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SortKey<'a>(Key<'a>);

impl<'a> SortKey<'a> {
    /// Of a version of this kind.
    pub fn new(kind: PackageKind, version: &'a str) -> Self {
        Self(Key::new(kind, version))
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key<'a> {
    Text(&'a str),
    Known(Known<'a>),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Known<'a> {
    Debian(Debian<'a>),
    Python(Python),
    Semantic(Semantic<'a>),
}

impl<'a> Key<'a> {
    fn new(kind: PackageKind, version: &'a str) -> Self {
        let known = match kind {
            PackageKind::Debian => Some(Known::Debian(Debian::new(version))),
            PackageKind::Python => Python::new(version).map(Known::Python),
            _ => Semantic::new(version).map(Known::Semantic),
        };
        known.map_or(Self::Text(version), Self::Known)
    }
}

/// A number of any length.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Number {
    digits: usize,
    text: String,
}

impl Number {
    /// None: no digits, or more than digits.
    fn new(text: &str) -> Option<Self> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let text = text.trim_start_matches('0').to_owned();
        Some(Self { digits: text.len(), text })
    }

    fn zero() -> Self {
        Self { digits: 0, text: String::new() }
    }

    fn is_zero(&self) -> bool {
        self.digits == 0
    }
}

/// `[epoch:]upstream[-revision]`. (deb-version(7))
#[derive(Debug)]
struct Debian<'a> {
    epoch: Number,
    upstream: &'a str,
    revision: &'a str,
}

impl<'a> Debian<'a> {
    fn new(text: &'a str) -> Self {
        let (epoch, rest) = match text.split_once(':') {
            Some((epoch, rest)) if Number::new(epoch).is_some() => (Number::new(epoch).unwrap_or_else(Number::zero), rest),
            _ => (Number::zero(), text),
        };
        let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
        Self { epoch, upstream, revision }
    }
}

impl Ord for Debian<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let upstream = || natural(self.upstream, other.upstream);
        self.epoch.cmp(&other.epoch).then_with(upstream).then_with(|| natural(self.revision, other.revision))
    }
}

impl PartialOrd for Debian<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Debian<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Debian<'_> {}

/// dpkg's comparison of a part: in turns what is no digit, by letters before all else and `~` before even the end, and
/// numbers.
fn natural(one: &str, other: &str) -> Ordering {
    let weight = |byte: Option<&u8>| match byte {
        Some(b'~') => -1,
        None => 0,
        Some(byte) if byte.is_ascii_alphabetic() => i32::from(*byte),
        Some(byte) => i32::from(*byte) + 256,
    };
    let (mut one, mut other) = (one.as_bytes(), other.as_bytes());
    while !one.is_empty() || !other.is_empty() {
        let (words, rest) = split(one, |byte| !byte.is_ascii_digit());
        let (other_words, other_rest) = split(other, |byte| !byte.is_ascii_digit());
        for at in 0..words.len().max(other_words.len()) {
            match weight(words.get(at)).cmp(&weight(other_words.get(at))) {
                Ordering::Equal => {}
                unequal => return unequal,
            }
        }
        let (digits, rest) = split(rest, u8::is_ascii_digit);
        let (other_digits, other_rest) = split(other_rest, u8::is_ascii_digit);
        let number = |digits: &[u8]| Number::new(&String::from_utf8_lossy(digits)).unwrap_or_else(Number::zero);
        match number(digits).cmp(&number(other_digits)) {
            Ordering::Equal => (one, other) = (rest, other_rest),
            unequal => return unequal,
        }
    }
    Ordering::Equal
}

/// What `is` holds of at the beginning, and the rest.
fn split(text: &[u8], is: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !is(byte)).unwrap_or(text.len()))
}

/// `[N!]N(.N)*[{a|b|rc}N][.postN][.devN][+local]`. (PEP 440, "Summary of permitted suffixes and relative ordering")
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Python {
    epoch: Number,
    /// Without zeros at its end.
    release: Vec<Number>,
    before: Before,
    /// None comes first.
    post: Option<Number>,
    development: Development,
    /// None comes first.
    local: Option<Vec<Local>>,
}

/// What comes before a release.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Before {
    /// `1.0.dev1` is before `1.0a1`.
    Development,
    /// `a`, `b`, `rc`
    Pre(&'static str, Number),
    Release,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Development {
    Of(Number),
    None,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Local {
    Text(String),
    Number(Number),
}

impl Python {
    fn new(text: &str) -> Option<Self> {
        let text = text.trim().to_ascii_lowercase();
        let text = text.strip_prefix('v').unwrap_or(&text);
        let (public, local) = match text.split_once('+') {
            Some((public, local)) => (public, Some(local)),
            None => (text, None),
        };
        let local = match local {
            Some(local) => Some(local.split(['.', '-', '_']).map(Local::new).collect::<Option<Vec<_>>>()?),
            None => None,
        };
        let (epoch, rest) = match public.split_once('!') {
            Some((epoch, rest)) => (Number::new(epoch)?, rest),
            None => (Number::zero(), public),
        };
        let mut rest = Rest(rest);
        let mut release = vec![rest.number()?];
        while let Some(number) = rest.after(|rest| rest.literal(&["."]).and_then(|_| rest.number())) {
            release.push(number);
        }
        while release.last().is_some_and(Number::is_zero) {
            release.pop();
        }
        let pre = rest.after(|rest| {
            let word = rest.word(&["alpha", "a", "beta", "b", "preview", "pre", "rc", "c"])?;
            let phase = match word {
                "alpha" | "a" => "a",
                "beta" | "b" => "b",
                _ => "rc",
            };
            Some((phase, rest.suffix_number()))
        });
        let post = rest.after(|rest| {
            let implicit = rest.after(|rest| rest.literal(&["-"]).and_then(|_| rest.number()));
            implicit.or_else(|| rest.word(&["post", "rev", "r"]).map(|_| rest.suffix_number()))
        });
        let development = rest.after(|rest| rest.word(&["dev"]).map(|_| rest.suffix_number()));
        if !rest.0.is_empty() {
            return None;
        }
        let before = match pre {
            Some((phase, number)) => Before::Pre(phase, number),
            None if post.is_none() && development.is_some() => Before::Development,
            None => Before::Release,
        };
        let development = development.map_or(Development::None, Development::Of);
        Some(Self { epoch, release, before, post, development, local })
    }
}

impl Local {
    fn new(text: &str) -> Option<Self> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return None;
        }
        Some(Number::new(text).map_or_else(|| Self::Text(text.to_owned()), Self::Number))
    }
}

/// What is still to be read.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    /// Reads something, or nothing at all.
    fn after<T>(&mut self, read: impl FnOnce(&mut Self) -> Option<T>) -> Option<T> {
        let start = self.0;
        let found = read(self);
        if found.is_none() {
            self.0 = start;
        }
        found
    }

    fn literal(&mut self, words: &[&'static str]) -> Option<&'static str> {
        let word = words.iter().find(|word| self.0.starts_with(**word))?;
        self.0 = self.0.strip_prefix(word)?;
        Some(word)
    }

    /// A word, with or without something that separates it.
    fn word(&mut self, words: &[&'static str]) -> Option<&'static str> {
        self.literal(&[".", "-", "_"]);
        self.literal(words)
    }

    fn number(&mut self) -> Option<Number> {
        let end = self.0.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        Number::new(digits)
    }

    /// `1`, `.1`, or nothing, which is 0.
    fn suffix_number(&mut self) -> Number {
        let number = self.after(|rest| {
            rest.literal(&[".", "-", "_"]);
            rest.number()
        });
        number.unwrap_or_else(Number::zero)
    }
}

/// `1.2.3-pre.1+build`, with as many numbers as there are. (Semantic Versioning 2.0.0, 11)
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Semantic<'a> {
    /// Without zeros at its end.
    numbers: Vec<Number>,
    stage: Stage<'a>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage<'a> {
    Pre(Vec<Identifier<'a>>),
    Release,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier<'a> {
    Number(Number),
    Text(&'a str),
}

impl<'a> Semantic<'a> {
    fn new(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let text = text.split_once('+').map_or(text, |(version, _build)| version);
        let (numbers, pre) = match text.split_once('-') {
            Some((numbers, pre)) => (numbers, Some(pre)),
            None => (text, None),
        };
        // One number alone is a version; forty digits are a commit.
        let mut numbers = numbers.split('.').map(Number::new).collect::<Option<Vec<_>>>()?;
        if numbers.iter().any(|number| number.digits > 20) {
            return None;
        }
        while numbers.last().is_some_and(Number::is_zero) {
            numbers.pop();
        }
        let identifier = |text| Number::new(text).map_or(Identifier::Text(text), Identifier::Number);
        let stage = pre.map_or(Stage::Release, |pre| Stage::Pre(pre.split('.').map(identifier).collect()));
        Some(Self { numbers, stage })
    }
}
