//! Which variants a command is about: `--variant` with patterns, or `--all`.

use std::collections::BTreeSet;

use super::model::Family;
use super::name::Name;
use super::suggest::{closest, one_of};

/// The variants that a command is about, as its user named them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Selection {
    /// Every variant.
    All,
    /// The variants that match one of these: a name, an alias, or a pattern with `*` (anything) and `?` (one character).
    Patterns(Vec<String>),
}

/// The selection does not lead to variants.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SelectionError {
    /// No pattern at all.
    #[error("no variant is selected")]
    Nothing {
        /// What there is.
        variants: String,
    },
    /// A name that is not there.
    #[error("`{pattern}` is not a variant: there is {variants}")]
    Unknown {
        /// What was asked for.
        pattern: String,
        /// What there is.
        variants: String,
        /// What was probably meant.
        meant: Option<String>,
    },
    /// A pattern that nothing matches.
    #[error("no variant matches `{pattern}`: there is {variants}")]
    Unmatched {
        /// What was asked for.
        pattern: String,
        /// What there is.
        variants: String,
    },
    /// An image that is not published.
    #[error("`{name}` is an image that others are built on, not a variant")]
    Image {
        /// Its name.
        name: String,
        /// The variants that are built on it, directly or not.
        built_on_it: String,
    },
}

impl SelectionError {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Nothing { variants } => format!("name one with `--variant`, or take them with `--all`: there is {variants}"),
            Self::Unknown { meant: Some(meant), .. } => format!("did you mean `{meant}`?"),
            Self::Unknown { .. } => "a variant is a table `[variants.NAME]` in variants.toml".to_owned(),
            Self::Unmatched { .. } => "quote patterns, so that the shell does not expand them: `--variant 'aws*'`".to_owned(),
            Self::Image { name, built_on_it } => {
                format!("it is built with the variants that need it: {built_on_it} (`{name}` is their parent)")
            }
        }
    }
}

impl Selection {
    /// What the flags say: `--all`, or patterns.
    pub fn new(all: bool, patterns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        if all { Self::All } else { Self::Patterns(patterns.into_iter().map(Into::into).collect()) }
    }

    /// The variants of `family` that are selected, each once, in the order of their names.
    ///
    /// # Errors
    /// Nothing is selected, or a pattern leads to no variant.
    pub fn resolve(&self, family: &Family) -> Result<Vec<Name>, SelectionError> {
        let variants = || one_of(family.variants().map(|(image, _)| image.name.as_str()));
        let mut selected = BTreeSet::new();
        match self {
            Self::All => selected.extend(family.variants().map(|(image, _)| image.name.clone())),
            Self::Patterns(patterns) => {
                for pattern in patterns {
                    let found = matching(family, pattern);
                    if found.is_empty() {
                        return Err(not_found(family, pattern, variants()));
                    }
                    selected.extend(found);
                }
            }
        }
        match selected.is_empty() {
            true => Err(SelectionError::Nothing { variants: variants() }),
            false => Ok(selected.into_iter().collect()),
        }
    }
}

fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

fn matching(family: &Family, pattern: &str) -> Vec<Name> {
    let alias = |aliases: &[Name]| !is_pattern(pattern) && aliases.iter().any(|alias| alias.as_str() == pattern);
    let found = family.variants().filter(|(image, published)| matches(pattern, image.name.as_str()) || alias(&published.aliases));
    found.map(|(image, _)| image.name.clone()).collect()
}

fn not_found(family: &Family, pattern: &str, variants: String) -> SelectionError {
    let pattern = pattern.to_owned();
    if is_pattern(&pattern) {
        return SelectionError::Unmatched { pattern, variants };
    }
    if let Some(image) = family.images.values().find(|image| image.name.as_str() == pattern) {
        let below = |name: &Name| {
            std::iter::successors(Some(name), |name| family.images.get(name)?.parent.as_ref()).any(|name| *name == image.name)
        };
        let built_on_it =
            one_of(family.variants().map(|(variant, _)| &variant.name).filter(|name| below(name)).map(Name::as_str));
        return SelectionError::Image { name: pattern, built_on_it };
    }
    let names = family.variants().flat_map(|(image, published)| std::iter::once(&image.name).chain(&published.aliases));
    let meant = closest(&pattern, names.map(Name::as_str)).map(str::to_owned);
    SelectionError::Unknown { pattern, variants, meant }
}

/// Whether `name` matches `pattern`; `*` is anything, `?` is one character. Linear but for the stars.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while n < name.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(b) if *b == b'?' || *b == name[n] => {
                p += 1;
                n += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                n = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("aws", "aws", true),
            ("aws", "aws-web", false),
            ("aws*", "aws", true),
            ("aws*", "aws-web", true),
            ("*-web", "aws-web", true),
            ("*-web", "aws", false),
            ("a*s*b", "aws-web", true),
            ("a?s", "aws", true),
            ("a?s", "as", false),
            ("*", "x", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern} {name}");
        }
    }
}
