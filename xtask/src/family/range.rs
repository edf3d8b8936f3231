//! Versions in their order, and ranges of them as npm writes them: `hold = "<2.330"`, `engines.vscode = "^1.96.0"`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A version that is numbers: `2.337.0`, `2026.4.0`, `1.2.0-rc.1+build`. Missing numbers are zeros.
#[derive(Debug, Clone)]
pub struct Number {
    text: String,
    parts: Vec<u64>,
    /// Identifiers of a prerelease; empty: a release.
    before: Vec<Identifier>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identifier {
    Number(u64),
    Word(String),
}

/// The text is no version that is numbers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a version of numbers, as in `2.337.0`")]
pub struct NoNumber(pub String);

impl FromStr for Number {
    type Err = NoNumber;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NoNumber(text.to_owned());
        let precedence = text.split('+').next().unwrap_or(text);
        let (numbers, before) = precedence.split_once('-').map_or((precedence, None), |(numbers, rest)| (numbers, Some(rest)));
        let parts = numbers.split('.').map(number).collect::<Option<Vec<_>>>().ok_or_else(wrong)?;
        let identifier = |text: &str| match number(text) {
            Some(number) => Some(Identifier::Number(number)),
            None => (!text.is_empty()).then(|| Identifier::Word(text.to_owned())),
        };
        let before = before.map(|rest| rest.split('.').map(identifier).collect::<Option<Vec<_>>>());
        let before = before.map_or(Some(Vec::new()), |before| before).ok_or_else(wrong)?;
        Ok(Self { text: text.to_owned(), parts, before })
    }
}

/// Digits alone: `+1` is none.
fn number(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

impl Number {
    /// Whether it comes before the release of the same numbers.
    pub fn is_prerelease(&self) -> bool {
        !self.before.is_empty()
    }

    /// Its numbers, the most important first.
    pub fn parts(&self) -> impl Iterator<Item = u64> {
        self.parts.iter().copied()
    }

    fn part(&self, at: usize) -> u64 {
        self.parts.get(at).copied().unwrap_or_default()
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Ord for Number {
    /// As Semantic Versioning 2.0.0, 11, for any number of numbers.
    fn cmp(&self, other: &Self) -> Ordering {
        let count = self.parts.len().max(other.parts.len());
        let numbers = (0..count).map(|at| self.part(at)).cmp((0..count).map(|at| other.part(at)));
        numbers.then_with(|| match (self.is_prerelease(), other.is_prerelease()) {
            (true, true) => self.before.cmp(&other.before),
            (one, other) => other.cmp(&one),
        })
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Number {}

/// A range of versions: `<2.330`, `^1.96.0`, `>=1.2 <2 || 3.x`, `*`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionRange {
    text: String,
    /// One of them has to hold; of each, every comparison.
    any: Vec<Vec<(Comparison, Number)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Less,
    AtMost,
    More,
    AtLeast,
    Equal,
}

/// The text is no range of versions.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a range of versions, as in `<2.330`")]
pub struct NoRange(pub String);

impl FromStr for VersionRange {
    type Err = NoRange;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let any = text.split("||").map(comparisons).collect::<Option<Vec<_>>>();
        Ok(Self { text: text.to_owned(), any: any.ok_or_else(|| NoRange(text.to_owned()))? })
    }
}

/// All comparisons of one alternative; `*` is none.
fn comparisons(text: &str) -> Option<Vec<(Comparison, Number)>> {
    const OPERATORS: [&str; 7] = ["<=", ">=", "<", ">", "=", "^", "~"];
    let mut comparisons = Vec::new();
    let mut words = text.split([' ', ',']).filter(|word| !word.is_empty()).peekable();
    words.peek()?;
    while let Some(word) = words.next() {
        let operator = OPERATORS.into_iter().find(|operator| word.starts_with(operator)).unwrap_or_default();
        // `< 2.330` is one comparison in two words.
        let version = match word.strip_prefix(operator) {
            Some("") => words.next()?,
            Some(version) => version,
            None => return None,
        };
        comparisons.extend(expanded(operator, version)?);
    }
    Some(comparisons)
}

/// What an operator with a version, whose last numbers may be missing or `x`, comes down to.
fn expanded(operator: &str, version: &str) -> Option<Vec<(Comparison, Number)>> {
    use Comparison::{AtLeast, AtMost, Equal, Less, More};
    let wild = |part: &str| matches!(part, "x" | "X" | "*");
    let given: Vec<&str> = version.split('.').collect();
    let known: Vec<&str> = given.iter().copied().take_while(|part| !wild(part)).collect();
    if given.iter().skip(known.len()).any(|part| !wild(part)) {
        return None;
    }
    if known.is_empty() {
        return matches!(operator, "" | "=" | ">=" | "<=" | "^" | "~").then(Vec::new);
    }
    let base: Number = known.join(".").parse().ok()?;
    // The first version that has another number at this place: 1.2 at 0 is 2.
    let next = |at: usize| -> Option<Number> {
        let raised = base.part(at).checked_add(1)?;
        let parts = (0..at).map(|at| base.part(at)).chain([raised]).map(|part| part.to_string());
        parts.collect::<Vec<_>>().join(".").parse().ok()
    };
    let whole = known.len() >= 3 || base.is_prerelease();
    let last = known.len() - 1;
    Some(match operator {
        "<" => vec![(Less, base)],
        ">=" => vec![(AtLeast, base)],
        "<=" if whole => vec![(AtMost, base)],
        "<=" => vec![(Less, next(last)?)],
        ">" if whole => vec![(More, base)],
        ">" => vec![(AtLeast, next(last)?)],
        "^" => {
            let first = (0..known.len()).find(|at| base.part(*at) > 0).unwrap_or(last);
            vec![(Less, next(first)?), (AtLeast, base)]
        }
        "~" => vec![(Less, next(last.min(1))?), (AtLeast, base)],
        _ if whole => vec![(Equal, base)],
        _ => vec![(Less, next(last)?), (AtLeast, base)],
    })
}

impl VersionRange {
    /// Whether the version is one of it. (Prereleases are where their order puts them.)
    pub fn contains(&self, version: &Number) -> bool {
        let holds = |(comparison, bound): &(Comparison, Number)| match comparison {
            Comparison::Less => version < bound,
            Comparison::AtMost => version <= bound,
            Comparison::More => version > bound,
            Comparison::AtLeast => version >= bound,
            Comparison::Equal => version == bound,
        };
        self.any.iter().any(|all| all.iter().all(holds))
    }
}

impl fmt::Display for VersionRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_in_their_order() {
        let ascending =
            ["0", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-rc.2", "1.0.0-rc.10", "1", "1.2", "1.10.0", "2.337.0", "2026.4.0"];
        let numbers: Vec<Number> = ascending.iter().map(|text| text.parse().unwrap()).collect();
        assert!(numbers.is_sorted(), "{numbers:?}");
        assert!(numbers.windows(2).all(|pair| pair[0] != pair[1]));
        let equal = |one: &str, other: &str| one.parse::<Number>().unwrap() == other.parse().unwrap();
        assert!(equal("1.0", "1.0.0+build") && equal("01.2", "1.2.0"));
        for text in ["", "v1", "1.", ".1", "1..2", "1.x", "110a328ea54b", "1-", "1.0-a..b", "+1", "99999999999999999999"] {
            assert!(text.parse::<Number>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_in_a_range() {
        for (range, inside, outside) in [
            ("<2.330", &["2.329.9", "1"][..], &["2.330.0", "2.331"][..]),
            ("< 2.330", &["2.329.9"], &["2.330.0"]),
            ("<=2.330", &["2.330.9"], &["2.331"]),
            ("<=2.330.0", &["2.330.0"], &["2.330.1"]),
            (">1.2", &["1.3.0"], &["1.2.9"]),
            (">1.2.0", &["1.2.1"], &["1.2.0"]),
            (">=1.2 <2", &["1.2.0", "1.99"], &["1.1", "2.0.0"]),
            (">=1.2, <2", &["1.2.0"], &["2.0.0"]),
            ("^1.96.0", &["1.96.0", "1.134.1"], &["1.95.9", "2.0.0"]),
            ("^0.10.5", &["0.10.5", "0.10.9"], &["0.11.0", "0.10.4"]),
            ("^0.0.3", &["0.0.3"], &["0.0.4"]),
            ("^0", &["0.9"], &["1.0"]),
            ("~1.2.3", &["1.2.9"], &["1.3.0", "1.2.2"]),
            ("~1", &["1.9"], &["2.0"]),
            ("1.x.x", &["1.0.0", "1.9.9"], &["2.0.0", "0.9"]),
            ("1.2", &["1.2.0", "1.2.7"], &["1.3.0"]),
            ("=1.2.3", &["1.2.3"], &["1.2.4"]),
            ("1.2.3 || ^2.1", &["1.2.3", "2.5"], &["1.2.4", "2.0", "3.0"]),
            ("*", &["0", "99.1"], &[]),
            ("^1.108.0-20251204", &["1.108.0", "1.109.0"], &["1.107.9", "2.0.0"]),
        ] {
            let parsed: VersionRange = range.parse().unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(parsed.to_string(), range);
            inside.iter().for_each(|text| assert!(parsed.contains(&text.parse().unwrap()), "{text} in {range}"));
            outside.iter().for_each(|text| assert!(!parsed.contains(&text.parse().unwrap()), "{text} not in {range}"));
        }
        for text in ["", " ", "<", "<v2", "latest", "<2.x.1", ">*", "1 ||", "=>1", "!1", "1 - 2 x"] {
            assert!(text.parse::<VersionRange>().is_err(), "{text}");
        }
    }
}
