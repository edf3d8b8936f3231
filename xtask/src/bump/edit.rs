//! variants.toml with other values: only the bytes of the values change, and what a comment behind one says of it.

use std::collections::BTreeMap;
use std::ops::Range;

use super::{Candidate, Place};
use crate::family::{SourceText, Spans};

/// The new text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edited {
    /// The whole file.
    pub text: String,
    /// Comments behind moved values that may no longer be true: they were left as they are.
    pub doubtful: Vec<Comment>,
}

/// A comment behind a value that moved.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Comment {
    /// Its line in the new file, from 1.
    pub line: usize,
    /// What it says, `#` included.
    pub text: String,
}

/// The value is not where it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no {0} in variants.toml")]
pub struct NoPlace(String);

/// `source` with what `candidates` move. A comment behind a value that names its old version, as the file has it or as people
/// call it, names the new one afterwards; one that names another version or a date is doubtful.
///
/// # Errors
/// A value is not in the file.
pub fn edit<'c>(source: &SourceText, candidates: impl IntoIterator<Item = &'c Candidate>) -> Result<Edited, NoPlace> {
    let spans = Spans::of(source);
    // By place in the file, so that what stands before does not move.
    let mut edits = BTreeMap::new();
    let mut comments = Vec::new();
    for candidate in candidates {
        for (place, value) in &candidate.change.values {
            let span = span_of(&spans, place).ok_or_else(|| NoPlace(described(place)))?;
            if let Some(comment) = comment_behind(&source.text, &span) {
                let text = source.text.get(comment.clone()).unwrap_or_default();
                let moved = renamed(text, candidate);
                if moved == text {
                    comments.push(comment.start);
                } else {
                    edits.insert(comment.start, (comment, moved));
                }
            }
            let quote = if source.text.get(span.clone()).is_some_and(|text| text.starts_with('\'')) { '\'' } else { '"' };
            edits.insert(span.start, (span, format!("{quote}{value}{quote}")));
        }
    }
    let (mut text, mut from) = (String::with_capacity(source.text.len() + 64), 0);
    for (span, new) in edits.into_values() {
        text += source.text.get(from..span.start).unwrap_or_default();
        text += &new;
        from = span.end;
    }
    text += source.text.get(from..).unwrap_or_default();
    comments.sort_unstable();
    let doubtful = comments.into_iter().filter_map(|start| doubtful(&source.text, start)).collect();
    Ok(Edited { text, doubtful })
}

fn span_of(spans: &Spans, place: &Place) -> Option<Range<usize>> {
    match place {
        Place::Version(pin) => spans.versions.get(pin).cloned(),
        Place::BuildDate => spans.build_date.clone(),
        Place::Base(profile) => spans.bases.get(profile).cloned(),
    }
}

fn described(place: &Place) -> String {
    match place {
        Place::Version(pin) => format!("`pins.{pin}.version`"),
        Place::BuildDate => "`family.build-date`".to_owned(),
        Place::Base(profile) => format!("`profiles.{profile}.base.image`"),
    }
}

/// The comment that ends the line of a value, if nothing but white space stands between, or the ends of tables that hold nothing
/// else.
fn comment_behind(text: &str, value: &Range<usize>) -> Option<Range<usize>> {
    let line = text.get(value.end..)?.split('\n').next()?.trim_end();
    let is_alone = !text.get(..value.start)?.rsplit('\n').next()?.contains(',');
    let comment = line.trim_start_matches(|c: char| c.is_whitespace() || is_alone && c == '}');
    let end = value.end + line.len();
    comment.starts_with('#').then(|| end - comment.len()..end)
}

/// The comment with the old version's names replaced by the new one's, where they stand as words.
fn renamed(comment: &str, candidate: &Candidate) -> String {
    let (from, to) = (&candidate.from, &candidate.to);
    let mut text = comment.to_owned();
    if let (Some(from), Some(to)) = (&from.shown, &to.shown) {
        text = with_word(&text, from, to);
    }
    with_word(&text, &from.id, &to.id)
}

/// `text` with every `from` that is not part of a longer version or word as `to`.
fn with_word(text: &str, from: &str, to: &str) -> String {
    if from.is_empty() {
        return text.to_owned();
    }
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(from) {
        let belongs = |letter: char| letter.is_alphanumeric() || letter == '_';
        let mut following = after.chars();
        let next = following.next();
        // `1.2` in `1.2.1` is part of it; in `1.2.` it ends a sentence.
        let goes_on = next.is_some_and(belongs)
            || matches!(next, Some('.' | '-' | '+')) && following.next().is_some_and(char::is_alphanumeric);
        let last = before.chars().next_back();
        let is_part = goes_on || last.is_some_and(|letter| belongs(letter) || letter == '.');
        result += before;
        result += if is_part { from } else { to };
        rest = after;
    }
    result + rest
}

/// The comment at `start`, where it has a number in it: a version or date that may be of the old value.
fn doubtful(text: &str, start: usize) -> Option<Comment> {
    let comment = text.get(start..)?.split('\n').next()?.trim_end();
    let line = text.get(..start)?.matches('\n').count() + 1;
    comment.bytes().any(|byte| byte.is_ascii_digit()).then(|| Comment { line, text: comment.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bump::{Change, Version};

    fn moved(place: Place, from: (&str, Option<&str>), to: (&str, Option<&str>)) -> Candidate {
        let version = |(id, shown): (&str, Option<&str>)| Version { id: id.to_owned(), shown: shown.map(str::to_owned) };
        let values = BTreeMap::from([(place, to.0.to_owned())]);
        Candidate { to: version(to), change: Change { values, ..Change::default() }, ..Candidate::unmoved(version(from)) }
    }

    #[test]
    fn only_values_and_what_comments_say_of_them_change() {
        let a = || Place::Version("a".parse().unwrap());
        let plain = [moved(a(), ("1.2", None), ("1.10", None))];
        let named = [moved(a(), ("c0ffee", Some("VS Code 1.2.0")), ("beef", Some("VS Code 1.3.0")))];
        for (before, candidates, after, doubtful) in [
            ("version = \"1.2\"\n", &plain, "version = \"1.10\"\n", vec![]),
            ("version = '1.2'\r\n", &plain, "version = '1.10'\r\n", vec![]),
            (
                "version=\"1.2\"# new in 1.2, not 1.2.1 or 11.2\n",
                &plain,
                "version=\"1.10\"# new in 1.10, not 1.2.1 or 11.2\n",
                vec![],
            ),
            ("version = \"1.2\"   # since 1.2.\r\n", &plain, "version = \"1.10\"   # since 1.10.\r\n", vec![]),
            ("version = \"1.2\" # see below\n", &plain, "version = \"1.10\" # see below\n", vec![]),
            ("version = \"1.2\" # of May 2026 \n", &plain, "version = \"1.10\" # of May 2026 \n", vec![(2, "# of May 2026")]),
            ("version = \"1.2\"\n# 1.2 is good\n", &plain, "version = \"1.10\"\n# 1.2 is good\n", vec![]),
            (
                "version = \"c0ffee\" # VS Code 1.2.0; of one commit\n",
                &named,
                "version = \"beef\" # VS Code 1.3.0; of one commit\n",
                vec![],
            ),
        ] {
            let text = format!("[pins.a]\n{before}hold = \"<3\" # 1.2\n");
            let edited = edit(&SourceText { name: String::new(), text }, candidates).unwrap();
            assert_eq!(edited.text, format!("[pins.a]\n{after}hold = \"<3\" # 1.2\n"));
            let told: Vec<_> = edited.doubtful.iter().map(|comment| (comment.line, comment.text.as_str())).collect();
            assert_eq!(told, doubtful, "{before}");
        }
    }

    /// As in `base = { image = "debian:trixie@sha256:…" } # trixie of November`.
    #[test]
    fn a_comment_behind_a_table_of_one_value_is_about_that_value() {
        let version = |digest: &str| (format!("debian:trixie@sha256:{digest}"), format!("trixie@sha256:{}", &digest[..4]));
        let (from, to) = (version("0123456789"), version("fedcba9876"));
        let moved = [moved(Place::Base("x".parse().unwrap()), (&from.0, Some(&from.1)), (&to.0, Some(&to.1)))];
        for (before, after, doubtful) in [
            ("base = { image = 'OLD' } # trixie@sha256:0123", "base = { image = 'NEW' } # trixie@sha256:fedc", None),
            ("base={image=\"OLD\"}# as of OLD", "base={image=\"NEW\"}# as of NEW", None),
            ("base = { image = \"OLD\" } # of 2026-11-20", "base = { image = \"NEW\" } # of 2026-11-20", Some("# of 2026-11-20")),
            ("base.image = \"OLD\" # small", "base.image = \"NEW\" # small", None),
        ] {
            let text = format!("[profiles.x]\n{before}\nvendors = false # trixie@sha256:0123\n").replace("OLD", &from.0);
            let edited = edit(&SourceText { name: String::new(), text: text.clone() }, &moved).unwrap();
            assert_eq!(edited.text, text.replace(&before.replace("OLD", &from.0), &after.replace("NEW", &to.0)));
            assert_eq!(edited.doubtful.first().map(|comment| comment.text.as_str()), doubtful, "{before}");
        }
    }

    #[test]
    fn several_values_move_at_once() {
        let text = "family.build-date = \"2026-11-20\" # 2026-11-20\npins = { a = { version = '1' }, b.version = \"1\" } # 1\n";
        let date = moved(Place::BuildDate, ("2026-11-20", None), ("2026-12-01", None));
        let [a, b] = ["a", "b"].map(|name| moved(Place::Version(name.parse().unwrap()), ("1", None), ("22", None)));
        let edited = edit(&SourceText { name: String::new(), text: text.to_owned() }, [&b, &date, &a]).unwrap();
        let after =
            "family.build-date = \"2026-12-01\" # 2026-12-01\npins = { a = { version = '22' }, b.version = \"22\" } # 1\n";
        assert_eq!(edited.text, after);
        let nowhere = moved(Place::Base("x".parse().unwrap()), ("1", None), ("2", None));
        let error = edit(&SourceText { name: String::new(), text: text.to_owned() }, [&nowhere]).unwrap_err();
        assert_eq!(error.to_string(), "there is no `profiles.x.base.image` in variants.toml");
    }
}
