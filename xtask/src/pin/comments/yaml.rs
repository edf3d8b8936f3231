//! YAML: comments, quoted scalars over several lines, block scalars. (YAML 1.2.2: 6.6, 7.3, 8.1)

use std::ops::Range;

pub(super) fn comments(text: &str) -> Vec<Range<usize>> {
    let (mut found, mut start) = (Vec::new(), 0);
    let mut quote: Option<u8> = None;
    // The column that a block scalar's lines are right of.
    let mut block: Option<usize> = None;
    for whole in text.split_inclusive('\n') {
        let line = whole.trim_end_matches(['\r', '\n']);
        let indent = line.len() - line.trim_start_matches(' ').len();
        if let Some(column) = block {
            if line.trim().is_empty() || indent > column {
                start += whole.len();
                continue;
            }
            block = None;
        }
        let continued = quote.is_some();
        let end = content_end(line, &mut quote);
        if end < line.len() {
            found.push(start + end..start + line.len());
        }
        let content = line.get(..end).unwrap_or(line).trim_end();
        if quote.is_none() && opens_block(content) {
            // A quoted scalar's end is no key of its own.
            block = Some(if continued { indent } else { key_column(content) });
        }
        start += whole.len();
    }
    found
}

/// Where the line's comment begins, or its end. `quote` is the scalar that is open.
fn content_end(line: &str, quote: &mut Option<u8>) -> usize {
    let bytes = line.as_bytes();
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before)).copied().unwrap_or(b' ');
        match (*quote, byte) {
            (Some(b'"'), b'\\') => at += 1,
            (Some(b'\''), b'\'') if bytes.get(at + 1) == Some(&b'\'') => at += 1,
            (Some(open), byte) if open == byte => *quote = None,
            (None, b'#') if matches!(before, b' ' | b'\t') => return at,
            (None, b'"' | b'\'') if begins_value(line.get(..at).unwrap_or_default()) => *quote = Some(byte),
            _ => {}
        }
        at += 1;
    }
    line.len()
}

/// Whether a value can begin after this much of a line. Within a plain scalar (`rock 'n' roll`) a quote is a letter like others.
fn begins_value(before: &str) -> bool {
    let spaced = before.ends_with([' ', '\t']);
    let before = before.trim_end_matches([' ', '\t']);
    let last = before.rsplit([' ', '\t']).next().unwrap_or_default();
    match before.bytes().next_back() {
        None => true,
        // In JSON the colon needs no space after it.
        Some(b'[' | b'{' | b',') => true,
        Some(b':') => spaced || before.ends_with("\":"),
        Some(_) => spaced && (matches!(last, "-" | "?" | "---") || last.starts_with(['!', '&'])),
    }
}

/// Whether the line ends in `|` or `>` where a value begins: after a key, a dash, a tag or an anchor.
fn opens_block(content: &str) -> bool {
    let (before, last) = content.rsplit_once([' ', '\t']).unwrap_or(("", content));
    let Some(modifiers) = last.strip_prefix(['|', '>']) else { return false };
    let mut words = before.split_whitespace().rev().skip_while(|word| word.starts_with(['!', '&']));
    modifiers.bytes().all(|b| matches!(b, b'+' | b'-' | b'0'..=b'9'))
        && words.next().is_none_or(|word| word.ends_with(':') || word == "-" || word == "---")
}

/// The column of the line's key, past the dashes before it; of a dash that has no key, its own.
fn key_column(content: &str) -> usize {
    let mut rest = content.trim_start_matches(' ');
    while let Some(after) = rest.strip_prefix("- ") {
        let after = after.trim_start_matches(' ');
        if after.starts_with(['|', '>']) {
            break;
        }
        rest = after;
    }
    content.len() - rest.len()
}
