//! `.dockerignore`, by docker's rules: Go's `filepath.Match` with `**`, `!` for exceptions, the last line that matches
//! wins, and what matches a folder matches all that it holds.

use std::iter::Peekable;
use std::str::Chars;

/// The patterns of a `.dockerignore`.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

/// A line that is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidPattern {
    /// The line, from 1.
    pub line: usize,
    /// Its text.
    pub pattern: String,
    /// What is wrong with it.
    pub why: &'static str,
}

#[derive(Debug, Clone)]
struct Pattern {
    /// `!`: what matches is kept after all.
    exception: bool,
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Literal(char),
    /// `?`: one character that is no separator.
    One,
    /// `*`: any of them.
    Star,
    /// `**/`, or `**` before something else: nothing, or anything up to a separator.
    Folders,
    /// `**` at the end: anything.
    Rest,
    /// `[a-z]`, `[^a-z]`
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

impl Ignore {
    /// Reads the text of a `.dockerignore`.
    ///
    /// # Errors
    /// The first line that is not a pattern.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut patterns = Vec::new();
        for (number, raw) in text.lines().enumerate() {
            let invalid = |why| InvalidPattern { line: number + 1, pattern: raw.to_owned(), why };
            if raw.starts_with('#') {
                continue;
            }
            let line = raw.trim();
            if line.is_empty() {
                continue;
            }
            let (exception, glob) = match line.strip_prefix('!') {
                Some(rest) => (true, rest.trim()),
                None => (false, line),
            };
            if glob.is_empty() {
                return Err(invalid("nothing follows the `!`"));
            }
            let glob = clean(glob);
            // `.` and `/` name the context itself, which cannot be left out (docker says the same).
            if glob.is_empty() {
                continue;
            }
            patterns.push(Pattern { exception, tokens: tokens(&glob).map_err(invalid)? });
        }
        Ok(Self { patterns })
    }

    /// Whether some pattern is an exception: then something may be kept in a folder that is left out.
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.exception)
    }

    /// Whether the file or folder at `path` (relative, `/` between) is left out.
    pub fn leaves_out(&self, path: &str) -> bool {
        let mut out = false;
        for pattern in self.patterns.iter().filter(|_| !path.is_empty()) {
            let parents = path.match_indices('/').map(|(slash, _)| &path[..slash]);
            // A pattern that would not change the answer need not be tried.
            if pattern.exception == out && parents.chain([path]).any(|path| matches(&pattern.tokens, path)) {
                out = !pattern.exception;
            }
        }
        out
    }
}

/// Go's `filepath.Clean`, and no leading `/`: patterns are relative to the context.
fn clean(glob: &str) -> String {
    let mut parts = Vec::new();
    for part in glob.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn tokens(glob: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = glob.chars().peekable();
    while let Some(next) = rest.next() {
        tokens.push(match next {
            '*' if rest.next_if_eq(&'*').is_some() => {
                rest.next_if_eq(&'/');
                if rest.peek().is_none() { Token::Rest } else { Token::Folders }
            }
            '*' => Token::Star,
            '?' => Token::One,
            '[' => class(&mut rest)?,
            '\\' => Token::Literal(rest.next().ok_or("a `\\` at the end escapes nothing")?),
            literal => Token::Literal(literal),
        });
    }
    Ok(tokens)
}

fn class(rest: &mut Peekable<Chars<'_>>) -> Result<Token, &'static str> {
    let negated = rest.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while let Some(low) = bound(rest)? {
        let high = match rest.next_if_eq(&'-') {
            Some(_) => bound(rest)?.ok_or("a range in `[…]` has no end")?,
            None => low,
        };
        ranges.push((low, high));
    }
    if ranges.is_empty() { Err("`[]` matches nothing") } else { Ok(Token::Class { negated, ranges }) }
}

/// A character in `[…]`; none at its end.
fn bound(rest: &mut Peekable<Chars<'_>>) -> Result<Option<char>, &'static str> {
    match rest.next().ok_or("`[` is not closed")? {
        ']' => Ok(None),
        '\\' => rest.next().map(Some).ok_or("a `\\` at the end escapes nothing"),
        other => Ok(Some(other)),
    }
}

fn matches(tokens: &[Token], text: &str) -> bool {
    let Some((token, tokens)) = tokens.split_first() else { return text.is_empty() };
    let mut chars = text.chars();
    match token {
        Token::Literal(literal) => chars.next() == Some(*literal) && matches(tokens, chars.as_str()),
        Token::One => chars.next().is_some_and(|next| next != '/') && matches(tokens, chars.as_str()),
        Token::Class { negated, ranges } => {
            let inside = |next| ranges.iter().any(|(low, high)| (*low..=*high).contains(&next));
            chars.next().is_some_and(|next| next != '/' && inside(next) != *negated) && matches(tokens, chars.as_str())
        }
        Token::Star => loop {
            if matches(tokens, chars.as_str()) {
                break true;
            }
            if chars.next().is_none_or(|next| next == '/') {
                break false;
            }
        },
        Token::Folders => matches(tokens, text) || text.match_indices('/').any(|(slash, _)| matches(tokens, &text[slash + 1..])),
        Token::Rest => true,
    }
}
