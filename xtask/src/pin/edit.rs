//! A text with some of its references replaced.

use std::ops::Range;

/// A reference that becomes another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Where it stands, in bytes.
    pub span: Range<usize>,
    /// What is to stand there.
    pub to: String,
}

/// The text with these changes, which lie in their order and apart; every other byte as it was.
pub fn edited(text: &str, changes: &[Change]) -> String {
    let (mut made, mut at) = (String::with_capacity(text.len() + changes.len() * 80), 0);
    for change in changes {
        made += text.get(at..change.span.start).unwrap_or_default();
        made += &change.to;
        at = change.span.end;
    }
    made += text.get(at..).unwrap_or_default();
    made
}

/// The difference of two texts with the same lines but for what is in them, as `patch` and `git apply --unidiff-zero` take
/// it.
pub fn diff(name: &str, before: &str, after: &str) -> String {
    let mut told = String::new();
    for (at, (old, new)) in before.split_inclusive('\n').zip(after.split_inclusive('\n')).enumerate() {
        if old == new {
            continue;
        }
        if told.is_empty() {
            told = format!("--- a/{name}\n+++ b/{name}\n");
        }
        told += &format!("@@ -{0} +{0} @@\n", at + 1);
        for (sign, line) in [('-', old), ('+', new)] {
            told.push(sign);
            told += line;
            if !line.ends_with('\n') {
                told += "\n\\ No newline at end of file\n";
            }
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_named_changes() {
        let change = |span: Range<usize>, to: &str| Change { span, to: to.to_owned() };
        assert_eq!(edited("a b\r\nc", &[change(0..1, "xyz"), change(5..6, "")]), "xyz b\r\n");
        assert_eq!(edited("ä b", &[]), "ä b");
    }

    #[test]
    fn the_difference_as_a_patch() {
        let told = diff("a.tf", "1\nx\r\n3\nz", "1\ny\r\n3\nw");
        let wanted = "--- a/a.tf\n+++ b/a.tf\n@@ -2 +2 @@\n-x\r\n+y\r\n@@ -4 +4 @@\n-z\n\\ No newline at end of file\n+w\n\\ No newline at end of file\n";
        assert_eq!(told, wanted);
        assert_eq!(diff("a", "1\n", "1\n"), "");
    }
}
