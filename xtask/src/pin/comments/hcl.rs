//! HCL: comments, strings with code in them, heredocs. (HCL native syntax specification)

use std::ops::Range;

use super::{block_end, line_end};

/// Where we are.
enum Within {
    /// Code, so many braces deep: the file, or what stands between `${` and `}`.
    Code(usize),
    /// A string.
    Quote,
}

pub(super) fn comments(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let mut within = vec![Within::Code(0)];
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        let rest = bytes.get(at..).unwrap_or_default();
        let nested = within.len() > 1;
        match within.last_mut() {
            Some(Within::Quote) => match byte {
                b'\\' => at += 2,
                b'$' | b'%' if rest.starts_with(b"$${") || rest.starts_with(b"%%{") => at += 3,
                b'$' | b'%' if rest.get(1) == Some(&b'{') => {
                    within.push(Within::Code(0));
                    at += 2;
                }
                // A string ends on its line.
                b'"' | b'\n' => {
                    within.pop();
                    at += 1;
                }
                _ => at += 1,
            },
            Some(Within::Code(depth)) => {
                let end = match byte {
                    b'#' => Some(line_end(text, at)),
                    b'/' if rest.starts_with(b"//") => Some(line_end(text, at)),
                    b'/' if rest.starts_with(b"/*") => Some(block_end(text, at)),
                    _ => None,
                };
                if let Some(end) = end {
                    found.push(at..end);
                    at = end;
                    continue;
                }
                at = heredoc(text, at).unwrap_or(at + 1);
                match byte {
                    b'"' => within.push(Within::Quote),
                    b'{' => *depth += 1,
                    b'}' if *depth == 0 && nested => drop(within.pop()),
                    b'}' => *depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
            None => break,
        }
    }
    found
}

/// The end of a heredoc that begins at `at`.
fn heredoc(text: &str, at: usize) -> Option<usize> {
    let after = text.get(at..)?.strip_prefix("<<")?;
    let after = after.strip_prefix('-').unwrap_or(after);
    let (marker, mut body) = after.split_once('\n')?;
    let marker = marker.trim_end_matches('\r');
    let named = marker.starts_with(|c: char| c.is_alphabetic() || c == '_');
    if !named || !marker.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-') {
        return None;
    }
    while !body.is_empty() {
        let (line, rest) = body.split_once('\n').unwrap_or((body, ""));
        if line.trim() == marker {
            return Some(text.len() - body.len() + line.len());
        }
        body = rest;
    }
    Some(text.len())
}
