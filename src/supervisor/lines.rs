//! Output cut into lines: whatever a program writes, what comes out is printable text of bounded length.

/// The longest line, in bytes; a longer one is cut into several.
const LONGEST: usize = 8 * 1024;

/// The bytes of a stream, cut into lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// A line whose end has not come yet.
    partial: Vec<u8>,
}

impl Lines {
    /// Takes `bytes` in and hands out every line that is whole.
    pub(super) fn feed(&mut self, bytes: &[u8], line: &mut dyn FnMut(String)) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n');
            let room = LONGEST.saturating_sub(self.partial.len());
            let (taken, whole) = match end {
                Some(end) if end <= room => (end, true),
                None if rest.len() <= room => (rest.len(), false),
                _ => (room, true),
            };
            let (part, after) = rest.split_at(taken);
            self.partial.extend(part);
            let at_newline = whole && after.first() == Some(&b'\n');
            rest = if at_newline { after.get(1..).unwrap_or_default() } else { after };
            if at_newline {
                self.rest(line);
            } else if whole {
                self.cut(line);
            }
        }
    }

    /// Hands out what has no end yet: nothing more comes.
    pub(super) fn flush(&mut self, line: &mut dyn FnMut(String)) {
        if !self.partial.is_empty() {
            self.rest(line);
        }
    }

    fn rest(&mut self, line: &mut dyn FnMut(String)) {
        line(printable(&self.partial));
        self.partial.clear();
    }

    /// Hands out a line that is too long, without its last character if that may not be whole.
    fn cut(&mut self, line: &mut dyn FnMut(String)) {
        let valid = match std::str::from_utf8(&self.partial) {
            Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
            _ => self.partial.len(),
        };
        let kept = self.partial.split_off(valid);
        self.rest(line);
        self.partial = kept;
    }
}

/// `bytes` as text without control characters: terminal sequences (colours, say) are left out, others become spaces.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let text = text.trim_end_matches('\r');
    let mut clean = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        match c {
            '\t' => clean.push(c),
            '\u{1b}' if rest.as_str().starts_with('[') => {
                rest.next();
                // Parameters end with a letter or one of a few others.
                rest.by_ref().find(|c| ('@'..='~').contains(c));
            }
            c if c.is_control() => clean.push(' '),
            c => clean.push(c),
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::{LONGEST, Lines};
    use proptest::prelude::*;

    fn lines(parts: &[&[u8]]) -> Vec<String> {
        let mut found = Vec::new();
        let mut lines = Lines::default();
        parts.iter().for_each(|part| lines.feed(part, &mut |line| found.push(line)));
        lines.flush(&mut |line| found.push(line));
        found
    }

    #[test]
    fn lines_are_whole_however_they_come() {
        let table: [(&[&[u8]], &[&str]); 7] = [
            (&[b"a\nb\n"], &["a", "b"]),
            (&[b"a", b"b", b"\nc"], &["ab", "c"]),
            (&[b"\n\na"], &["", "", "a"]),
            (&[b"a\r\nb\rc\n"], &["a", "b c"]),
            (&[b"\x1b[1;31mred\x1b[0m \x1b]x\x07\tok\n"], &["red  ]x \tok"]),
            (&[b"\xff\xc3\n"], &["\u{fffd}\u{fffd}"]),
            (&[], &[]),
        ];
        for (parts, expected) in table {
            assert_eq!(lines(parts), expected, "{parts:?}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_between_characters() {
        let text = "é".repeat(LONGEST);
        let found = lines(&[b"x", text.as_bytes(), b"\nnext\n"]);
        assert_eq!(found.concat(), format!("x{text}next"));
        assert!(found.len() == 4 && found.iter().all(|line| line.len() <= LONGEST), "{}", found.len());
        for after in ["\nb", "b"] {
            assert_eq!(lines(&[&[b'a'; LONGEST], after.as_bytes()]), ["a".repeat(LONGEST), "b".into()]);
        }
        // Bytes that are no text at all.
        assert_eq!(lines(&[&[0xff; 3 * LONGEST]]).len(), 3);
    }

    proptest! {
        #[test]
        fn lines_do_not_depend_on_how_they_come(
            bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(0x1b), Just(b'['), Just(0xc3), any::<u8>()], 0..400),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        ) {
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let parts: Vec<_> = cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect();
            let found = lines(&parts);
            prop_assert_eq!(&found, &lines(&[&bytes]));
            prop_assert!(found.iter().all(|line| !line.contains(|c: char| c.is_control() && c != '\t')), "{:?}", found);
            let ends = bytes.iter().filter(|byte| **byte == b'\n').count();
            prop_assert_eq!(found.len(), ends + usize::from(bytes.last().is_some_and(|last| *last != b'\n')));
        }
    }
}
