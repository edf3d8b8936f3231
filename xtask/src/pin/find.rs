//! References in a text, by their repositories.

use std::ops::Range;

use super::comments::Kind;
use crate::oci::{Digest, Repository, is_tag};

/// A reference with a tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Its place among the repositories that were looked for.
    pub repository: usize,
    /// The tag.
    pub tag: String,
    /// The digest that stands there now.
    pub digest: Option<Digest>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The whole of it, in bytes.
    pub span: Range<usize>,
    /// From 1.
    pub line: usize,
    /// What it is, or why it is left.
    pub what: Result<Reference, &'static str>,
}

const COMMENT: &str = "it is in a comment";
const VARIABLE: &str = "it is put together from variables: pin it where they are set";
const NO_TAG: &str = "it has no tag, so that it does not say which image";
const NO_DIGEST: &str = "its digest is none";

/// All references to `repositories` in `text`, in their order.
pub fn find(text: &str, kind: Kind, repositories: &[Repository]) -> Vec<Found> {
    let comments = kind.comments(text);
    let mut found: Vec<Found> = Vec::new();
    for (place, repository) in repositories.iter().enumerate() {
        let name = repository.to_string();
        for (start, _) in text.match_indices(&name) {
            let Some((end, what)) = reference(text, kind, place, start, start + name.len()) else { continue };
            let commented = comments.iter().any(|comment| comment.contains(&start));
            found.push(Found { span: start..end, line: 0, what: if commented { Err(COMMENT) } else { what } });
        }
        for (start, end) in without_registry(text, repository) {
            let commented = comments.iter().any(|comment| comment.contains(&start));
            found.push(Found { span: start..end, line: 0, what: Err(if commented { COMMENT } else { VARIABLE }) });
        }
    }
    found.sort_by_key(|found| found.span.start);
    // Two destinations may be one repository.
    found.dedup_by_key(|found| found.span.start);
    let (mut line, mut before) = (1, 0);
    for found in &mut found {
        line += text.get(before..found.span.start).unwrap_or_default().matches('\n').count();
        (found.line, before) = (line, found.span.start);
    }
    found
}

type What = Result<Reference, &'static str>;

/// What begins with a repository's name, to its end; none: the name of something else.
fn reference(text: &str, kind: Kind, repository: usize, start: usize, name_end: usize) -> Option<(usize, What)> {
    let before = text.get(..start)?;
    let after = text.get(name_end..)?;
    // Compose: `${IMAGE:-ghcr.io/…}`; devcontainer.json: `${localEnv:IMAGE:ghcr.io/…}`. In HCL what stands between braces is code
    // with strings of its own.
    let on_line = before.rsplit('\n').next().unwrap_or(before);
    let in_braces =
        kind != Kind::Hcl && on_line.rfind("${").is_some_and(|open| !on_line.get(open..).unwrap_or_default().contains('}'));
    let is_fallback = in_braces && before.ends_with(['-', ':']);
    if !(is_fallback || begins(before)) || goes_on(after) {
        return None;
    }
    // `${PROXY}ghcr.io/…`
    let in_variables = in_braces || before.ends_with('}');
    let mut end = name_end;
    let mut rest = after;
    let mut tag = None;
    if let Some(text) = rest.strip_prefix(':') {
        let length = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '_' | '.' | '-')).unwrap_or(text.len());
        let word = text.get(..length)?;
        let follows = text.get(length..)?;
        if is_variable(follows) {
            return Some((name_end + 1 + length + variable(follows), Err(VARIABLE)));
        }
        // The full stop of a sentence is no part of a tag.
        let word = word.trim_end_matches('.');
        let (length, follows) = (word.len(), text.get(word.len()..)?);
        // `repository:` and nothing is a key of YAML, or the end of a sentence.
        if !word.is_empty() {
            if !is_tag(word) {
                return Some((name_end + 1 + length, Err("its tag is none")));
            }
            tag = Some(word.to_owned());
            (end, rest) = (name_end + 1 + length, follows);
        }
    } else if is_variable(rest) {
        return Some((name_end + variable(rest), Err(VARIABLE)));
    }
    let mut digest = None;
    if let Some(text) = rest.strip_prefix('@') {
        if is_variable(text) {
            return Some((end + 1 + variable(text), Err(VARIABLE)));
        }
        let length = text.find(|c: char| !c.is_ascii_alphanumeric() && c != ':').unwrap_or(text.len());
        end += 1 + length;
        match text.get(..length).and_then(|text| text.parse().ok()) {
            Some(found) => digest = Some(found),
            None => return Some((end, Err(NO_DIGEST))),
        }
    }
    if in_variables {
        return Some((end, Err(VARIABLE)));
    }
    Some((end, tag.map(|tag| Reference { repository, tag, digest }).ok_or(NO_TAG)))
}

/// Whether a reference can begin here: not in the middle of a name or an address (`https://ghcr.io/…` is a page).
fn begins(before: &str) -> bool {
    if ["docker://", "docker-image://", ":-"].iter().any(|end| before.ends_with(end)) {
        return true;
    }
    !before.ends_with(|c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/' | '@' | ':'))
}

/// Whether the repository's name is only the beginning of another one.
fn goes_on(after: &str) -> bool {
    let word = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '-'));
    let mut chars = after.chars();
    let first = chars.next();
    word(first) || (first == Some('.') && word(chars.next()))
}

/// `${`, `%{`, `{{` of a template, `$NAME` of Compose.
fn is_variable(text: &str) -> bool {
    text.starts_with(['$', '%']) || text.starts_with("{{")
}

/// How long it is, so that it can be shown.
fn variable(text: &str) -> usize {
    let line = text.lines().next().unwrap_or_default();
    let close = if line.starts_with("{{") { "}}" } else { "}" };
    let named = || line.find(|c: char| c != '$' && !c.is_ascii_alphanumeric() && c != '_').unwrap_or(line.len());
    match line.contains('{') {
        true => line.find(close).map_or(line.len(), |at| at + close.len()),
        false => named(),
    }
}

/// `${REGISTRY}/team/image:aws`: the repository's path behind a variable.
fn without_registry(text: &str, repository: &Repository) -> Vec<(usize, usize)> {
    let path = format!("}}/{}", repository.path());
    let found = text.match_indices(&path).filter_map(|(at, _)| {
        let end = at + path.len();
        let after = text.get(end..)?;
        if !after.starts_with([':', '@']) {
            return None;
        }
        let line = text.get(..at)?.rsplit('\n').next()?;
        let open = line.rfind("${").or_else(|| line.rfind("{{"))?;
        let stops = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '\\');
        let length = after.find(stops).unwrap_or(after.len());
        Some((at - (line.len() - open), end + length))
    });
    found.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn repositories() -> Vec<Repository> {
        ["ghcr.io/team/image", "123456789012.dkr.ecr.us-west-2.amazonaws.com/image"].map(|text| text.parse().expect("one")).into()
    }

    /// Each as it stands there, with its tag (`*` for a digest) or why it is left.
    fn told(kind: Kind, text: &str) -> Vec<(String, String)> {
        let found = find(text, kind, &repositories()).into_iter();
        let what = |found: &Found| match &found.what {
            Ok(Reference { tag, digest, .. }) => format!("{tag}{}", if digest.is_some() { "*" } else { "" }),
            Err(why) => (*why).to_owned(),
        };
        found.map(|found| (text[found.span.clone()].to_owned(), what(&found))).collect()
    }

    #[test]
    fn what_is_a_reference_of_ours() {
        let pinned = format!("ghcr.io/team/image:aws@{DIGEST}");
        let bare = format!("ghcr.io/team/image@{DIGEST}");
        for (kind, text, found, what) in [
            (Kind::Hcl, "image = \"ghcr.io/team/image:aws-coder\"".to_owned(), "ghcr.io/team/image:aws-coder", "aws-coder"),
            (Kind::Hcl, format!("image = \"{pinned}\""), &pinned, "aws*"),
            (Kind::Hcl, "x = \"{\\\"image\\\":\\\"ghcr.io/team/image:aws\\\"}\"".to_owned(), "ghcr.io/team/image:aws", "aws"),
            (Kind::Hcl, "x = \"${var.a ? \"ghcr.io/team/image:aws\" : \"\"}\"".to_owned(), "ghcr.io/team/image:aws", "aws"),
            (
                Kind::Hcl,
                "image = \"123456789012.dkr.ecr.us-west-2.amazonaws.com/image:aws-2026.11.20-3f2c1ab\"".to_owned(),
                "123456789012.dkr.ecr.us-west-2.amazonaws.com/image:aws-2026.11.20-3f2c1ab",
                "aws-2026.11.20-3f2c1ab",
            ),
            (Kind::Yaml, "uses: docker://ghcr.io/team/image:aws".to_owned(), "ghcr.io/team/image:aws", "aws"),
            (Kind::Yaml, "image: &i ghcr.io/team/image:aws # c".to_owned(), "ghcr.io/team/image:aws", "aws"),
            (Kind::Yaml, "image: ghcr.io/team/image:${TAG:-aws}".to_owned(), "ghcr.io/team/image:${TAG:-aws}", VARIABLE),
            (Kind::Yaml, "image: ghcr.io/team/image:aws-$TAG x".to_owned(), "ghcr.io/team/image:aws-$TAG", VARIABLE),
            (Kind::Yaml, "image: ${IMAGE:-ghcr.io/team/image:aws}".to_owned(), "ghcr.io/team/image:aws", VARIABLE),
            (Kind::Yaml, "image: ${IMAGE-ghcr.io/team/image:aws}".to_owned(), "ghcr.io/team/image:aws", VARIABLE),
            (Kind::Yaml, "image: ${PROXY:-}ghcr.io/team/image:aws".to_owned(), "ghcr.io/team/image:aws", VARIABLE),
            (Kind::Hcl, "image = \"${var.proxy}ghcr.io/team/image:aws\"".to_owned(), "ghcr.io/team/image:aws", VARIABLE),
            (
                Kind::Json,
                "\"image\": \"${localEnv:IMAGE:ghcr.io/team/image:aws}\"".to_owned(),
                "ghcr.io/team/image:aws",
                VARIABLE,
            ),
            (Kind::Yaml, "base: docker-image://ghcr.io/team/image:aws".to_owned(), "ghcr.io/team/image:aws", "aws"),
            (Kind::Yaml, "image: ghcr.io/team/image:aws.$DAY".to_owned(), "ghcr.io/team/image:aws.$DAY", VARIABLE),
            (Kind::Hcl, "description = \"as ghcr.io/team/image:aws.\"".to_owned(), "ghcr.io/team/image:aws", "aws"),
            (Kind::Yaml, "image: \"${REGISTRY}/team/image:aws\"".to_owned(), "${REGISTRY}/team/image:aws", VARIABLE),
            (
                Kind::Yaml,
                "image: ghcr.io/team/image:{{ .Values.tag }}".to_owned(),
                "ghcr.io/team/image:{{ .Values.tag }}",
                VARIABLE,
            ),
            (Kind::Hcl, "image = \"ghcr.io/team/image:${var.tag}\"".to_owned(), "ghcr.io/team/image:${var.tag}", VARIABLE),
            (Kind::Hcl, "image = \"ghcr.io/team/image@${var.digest}\"".to_owned(), "ghcr.io/team/image@${var.digest}", VARIABLE),
            (Kind::Yaml, "newName: ghcr.io/team/image\nnewTag: aws".to_owned(), "ghcr.io/team/image", NO_TAG),
            (Kind::Yaml, format!("image: {bare}"), &bare, NO_TAG),
            (Kind::Yaml, "image: ghcr.io/team/image:aws@sha256:12".to_owned(), "ghcr.io/team/image:aws@sha256:12", NO_DIGEST),
            (Kind::Yaml, "# image: ghcr.io/team/image:aws".to_owned(), "ghcr.io/team/image:aws", COMMENT),
        ] {
            assert_eq!(told(kind, &text), [(found.to_owned(), what.to_owned())], "{text}");
        }
    }

    #[test]
    fn what_is_something_else() {
        for text in [
            "image: ghcr.io/team/image-extra:aws",
            "image: ghcr.io/team/image_tools:aws",
            "image: ghcr.io/team/image2:aws",
            "image: xghcr.io/team/image:aws",
            "image: ${IMAGE:-mirror.example/ghcr.io/team/image:aws}",
            "image: ghcr.io/team/image/cache:aws",
            "image: ghcr.io/team/image.old:aws",
            "image: notghcr.io/team/image:aws",
            "image: mirror.example/ghcr.io/team/image:aws",
            "url: https://ghcr.io/team/image:aws",
            "image: ghcr.io/team/other:aws",
            "path: ${HOME}/team/image/x",
        ] {
            assert_eq!(told(Kind::Yaml, text), [], "{text}");
        }
    }

    #[test]
    fn lines_are_counted_from_one() {
        let text = "a: 1\r\nimage: ghcr.io/team/image:aws\r\n\r\nimage: ghcr.io/team/image:azure\r\n";
        let lines: Vec<usize> = find(text, Kind::Yaml, &repositories()).iter().map(|found| found.line).collect();
        assert_eq!(lines, [2, 4]);
    }
}
