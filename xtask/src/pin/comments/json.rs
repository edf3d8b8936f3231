//! JSON with comments, as VS Code reads it.

use std::ops::Range;

use super::{block_end, line_end};

pub(super) fn comments(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let (mut found, mut at, mut quoted) = (Vec::new(), 0, false);
    while let Some(&byte) = bytes.get(at) {
        let next = bytes.get(at + 1);
        let end = match (byte, next) {
            (b'\\', _) if quoted => at + 2,
            (b'"', _) => {
                quoted = !quoted;
                at + 1
            }
            (b'/', Some(b'/')) if !quoted => line_end(text, at),
            (b'/', Some(b'*')) if !quoted => block_end(text, at),
            _ => at + 1,
        };
        if byte == b'/' && end > at + 1 {
            found.push(at..end);
        }
        at = end;
    }
    found
}
