//! A token that neither prints nor serialises.

use std::fmt;
use std::sync::Arc;

/// A GitHub token.
#[derive(Clone)]
pub struct Token(Arc<str>);

impl Token {
    /// None where the text is empty: an empty variable is an unset one.
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.into()))
    }

    /// The token itself, to be sent.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}
