//! What was published, as a person reads it: on stdout, and as Markdown in the summary of a workflow's run. Pure but for
//! [`add_to_workflow`].

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;

use serde::Serialize;

use super::session::variable;
use crate::byte_size::{self, size};
use crate::diff::Difference;
use crate::event::{Event, Events};
use crate::family::Name;
use crate::output::{self, diff::code};
use crate::publish::{Attached, AttachmentState, Choice, Published, PublishedImage, PublishedIndex, PublishedTag, TagState};

/// The file that a workflow's run shows to people, where there is one (GitHub Actions, "Adding a job summary").
const STEP_SUMMARY: &str = "GITHUB_STEP_SUMMARY";

/// The result of a publish. In JSON it says which shape it has.
#[derive(Debug, Serialize)]
pub(super) struct Pushed {
    pub(super) schema: u32,
    /// How long it took.
    pub(super) seconds: f64,
    #[serde(flatten)]
    pub(super) published: Published,
    /// Of a family of several platforms.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) indexes: Vec<PublishedIndex>,
}

/// `+1.20 MB`; nothing where there is nothing to compare with.
fn growth(image: &PublishedImage) -> Option<String> {
    let before = image.before.filter(|before| before.digest != image.digest)?.size?;
    let growth = byte_size::growth(before, image.size);
    Some(if growth.is_empty() { "as large as before".to_owned() } else { growth })
}

fn state(state: TagState) -> &'static str {
    match state {
        TagState::Set => "set",
        TagState::Moved { .. } => "moved",
        TagState::AlreadyThere => "already there",
    }
}

fn why(image: &PublishedImage) -> String {
    match &image.choice {
        Choice::Built => String::new(),
        Choice::Adopted { tag, .. } => format!(", as published at {tag}"),
        Choice::Unchanged { tag, .. } => format!(", unchanged since {tag}"),
        Choice::Resumed { .. } => ", as it was under way".to_owned(),
        Choice::Given { reference, .. } => format!(", as published at {reference}"),
    }
}

fn attachment(attached: &Attached) -> String {
    let fresh = attached.destinations.values().filter(|state| **state == AttachmentState::Attached).count();
    let what = match fresh {
        0 => "already there".to_owned(),
        1 => "attached in 1 destination".to_owned(),
        many => format!("attached in {many} destinations"),
    };
    format!("{} {}, {what}", attached.artifact_type, attached.digest.short(12))
}

/// For the terminal.
pub(super) fn text(pushed: &Pushed) -> String {
    let mut text = String::new();
    let tags = |text: &mut String, tags: &mut dyn Iterator<Item = &PublishedTag>| {
        for tag in tags {
            let _ = writeln!(text, "  {}  {}", tag.reference, state(tag.state));
        }
    };
    for image in &pushed.published.images {
        let _ = writeln!(text, "{}  {}{}", image.variant, image.digest, why(image));
        tags(&mut text, &mut image.destinations.values().flatten());
        let growth = growth(image).map(|growth| format!(" ({growth})")).unwrap_or_default();
        let _ = writeln!(text, "  {} compressed{growth}", size(image.size));
        for attached in &image.attachments {
            let _ = writeln!(text, "  {}", attachment(attached));
        }
    }
    for index in &pushed.indexes {
        let what = index.digest.map_or_else(|| "not yet: platforms are missing".to_owned(), |digest| digest.to_string());
        let _ = writeln!(text, "{} (all platforms)  {what}", index.variant);
        tags(&mut text, &mut index.tags.iter());
    }
    for sent in &pushed.published.transfers {
        let (new, old) = (size(sent.sent_bytes), size(sent.reused_bytes));
        let _ = writeln!(text, "{}: {} layers sent ({new}), {} reused ({old})", sent.destination, sent.sent, sent.reused);
    }
    let _ = writeln!(text, "{:.1} s", pushed.seconds);
    text
}

/// Text in a cell of a table, whatever it is.
fn cell(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '#' | '~' | '!' | '@' => {
                escaped.push('\\');
                escaped.push(c);
            }
            c => escaped.push(c),
        }
    }
    escaped
}

/// For the summary of a workflow's run.
pub(super) fn markdown(family: &Name, pushed: &Pushed) -> String {
    let mut text = format!("### Published {}\n\n", code(family.as_str()));
    text += "| variant | digest | tags | compressed | difference | SBOM |\n| --- | --- | --- | ---: | ---: | --- |\n";
    for image in &pushed.published.images {
        // The same in every destination: each once.
        let mut tags: BTreeMap<&str, &str> = BTreeMap::new();
        for tag in image.destinations.values().flatten() {
            let name = tag.reference.rsplit_once(':').map_or(tag.reference.as_str(), |(_, name)| name);
            let known = tags.entry(name).or_insert(state(tag.state));
            if *known == "already there" {
                *known = state(tag.state);
            }
        }
        let tags: Vec<String> = tags.iter().map(|(name, state)| format!("{} {state}", code(name))).collect();
        let sboms: Vec<String> = image.attachments.iter().map(|attached| code(&attached.digest.short(12))).collect();
        let difference = match image.before {
            None => "new".to_owned(),
            Some(before) if before.digest == image.digest => "unchanged".to_owned(),
            Some(_) => growth(image).unwrap_or_default(),
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {difference} | {} |",
            code(image.variant.as_str()),
            code(&image.digest.to_string()),
            tags.join("<br>"),
            size(image.size),
            if sboms.is_empty() { "–".to_owned() } else { sboms.join(" ") },
        );
    }
    text += "\n| destination | layers sent | layers reused |\n| --- | ---: | ---: |\n";
    for sent in &pushed.published.transfers {
        let _ = writeln!(
            text,
            "| {} ({}) | {} ({}) | {} ({}) |",
            cell(&sent.destination),
            code(&sent.repository.to_string()),
            sent.sent,
            size(sent.sent_bytes),
            sent.reused,
            size(sent.reused_bytes),
        );
    }
    let _ = writeln!(text, "\n{:.1} s", pushed.seconds);
    text
}

/// What the summary of a workflow's run says of a failure.
pub(super) fn failed(what: &str, message: &str) -> String {
    format!("### {what} failed\n\n{}\n", cell(message))
}

/// What changed since an image was published last.
pub(super) fn changes(image: &PublishedImage, difference: &Difference) -> String {
    let text = output::diff::markdown(difference, 5);
    format!("\n<details><summary>What changed in {}</summary>\n\n{text}\n</details>\n", code(image.variant.as_str()))
}

/// Whether there is a summary to add to.
pub(super) fn is_wanted() -> bool {
    variable(STEP_SUMMARY).is_some()
}

/// Adds `text` to the summary of a workflow's run, where there is one. That it cannot be written fails nothing.
pub(super) fn add_to_workflow(text: &str, events: &Events) {
    let Some(file) = variable(STEP_SUMMARY) else { return };
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(&file);
    if let Err(error) = opened.and_then(|mut opened| opened.write_all(format!("{text}\n").as_bytes())) {
        events.emit(Event::Warning { text: format!("cannot write `{file}` ({STEP_SUMMARY}): {error}") });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Digest, Platform, media_type};
    use crate::publish::{Because, Before, Sent, TagKind};

    fn pushed(before: Option<Before>) -> Pushed {
        let tag =
            |name: &str, state| PublishedTag { reference: format!("ghcr.io/team/image:{name}"), kind: TagKind::Moving, state };
        let image = PublishedImage {
            variant: "aws".parse().expect("a name"),
            platform: Platform::LinuxAmd64,
            choice: Choice::Built,
            digest: Digest::of("image"),
            config_digest: Digest::of("configuration"),
            size: 412_300_000,
            before,
            destinations: BTreeMap::from([
                ("one".to_owned(), vec![tag("aws", TagState::AlreadyThere)]),
                ("two".to_owned(), vec![tag("aws", TagState::Set)]),
            ]),
            attachments: vec![Attached {
                artifact_type: media_type::CYCLONEDX.to_owned(),
                digest: Digest::of("sbom"),
                because: Because::Made,
                size: 7,
                destinations: BTreeMap::from([
                    ("one".to_owned(), AttachmentState::Attached),
                    ("two".to_owned(), AttachmentState::AlreadyThere),
                ]),
            }],
        };
        let transfers = vec![Sent {
            destination: "o|ne <b>".to_owned(),
            repository: "ghcr.io/team/image".parse().expect("a repository"),
            sent: 2,
            sent_bytes: 1_234,
            reused: 9,
            reused_bytes: 2_000_000_000,
        }];
        let published = Published { images: vec![image], transfers };
        Pushed { schema: 1, seconds: 12.34, published, indexes: Vec::new() }
    }

    #[test]
    fn what_a_person_reads() {
        let before = |size| Some(Before { digest: Digest::of("before"), size });
        for (before, told) in [
            (None, "  412 MB compressed\n"),
            (before(None), "  412 MB compressed\n"),
            (before(Some(411_100_000)), "  412 MB compressed (+1.20 MB)\n"),
            (before(Some(412_300_500)), "  412 MB compressed (-500 B)\n"),
            (before(Some(412_300_000)), "  412 MB compressed (as large as before)\n"),
            (Some(Before { digest: Digest::of("image"), size: Some(412_300_000) }), "  412 MB compressed\n"),
        ] {
            let text = text(&pushed(before));
            assert!(text.contains(told), "{told} in {text}");
            for part in [
                "ghcr.io/team/image:aws  set",
                "application/vnd.cyclonedx+json 98f3ae1ef671, attached in 1 destination",
                "2 layers sent (1.23 kB), 9 reused (2.00 GB)",
                "12.3 s",
            ] {
                assert!(text.contains(part), "{part} in {text}");
            }
        }
    }

    #[test]
    fn a_table_is_a_table_whatever_is_in_it() {
        let text = markdown(&"epic".parse().expect("a name"), &pushed(None));
        let image = Digest::of("image");
        let row = format!("| `aws` | `{image}` | `aws` set | 412 MB | new | `{}` |", Digest::of("sbom").short(12));
        assert!(text.contains(&row), "{text}");
        assert!(text.contains("| o\\|ne &lt;b&gt; (`ghcr.io/team/image`) | 2 (1.23 kB) | 9 (2.00 GB) |"), "{text}");
        assert_eq!(cell("a\nb|c`d"), "a b\\|c\\`d");
        assert_eq!((code("a`b"), code("a b")), ("``a`b``".to_owned(), "`a b`".to_owned()));
    }
}
