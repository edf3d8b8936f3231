//! What `publish` writes into files for those who come after it: what is to be attested, and release notes. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::diff::Difference;
use crate::family::Name;
use crate::output::{self, diff::code};
use crate::publish::{Published, PublishedImage, TagKind};

/// `DIGEST  NAME`, a line for every image in every destination, under the tag that is set once: what `actions/attest` takes as
/// `subject-checksums`.
pub(super) fn subjects(published: &Published) -> String {
    let mut text = String::new();
    for image in &published.images {
        for tags in image.destinations.values() {
            let once = tags.iter().find(|tag| tag.kind == TagKind::Immutable).or(tags.first());
            if let Some(tag) = once {
                let _ = writeln!(text, "{}  {}", image.digest.hex(), tag.reference);
            }
        }
    }
    text
}

/// How to pull it, and what changed.
pub(super) fn release(family: &Name, published: &Published, changes: &BTreeMap<Name, Difference>) -> String {
    let mut text = format!("## {}\n\n| variant | digest | pull |\n| --- | --- | --- |\n", code(family.as_str()));
    for image in &published.images {
        let tags = image.destinations.values().filter_map(|tags| {
            let once = tags.iter().find(|tag| tag.kind == TagKind::Immutable).or(tags.first())?;
            Some(code(&once.reference))
        });
        let tags: Vec<String> = tags.collect();
        let _ =
            writeln!(text, "| {} | {} | {} |", code(image.variant.as_str()), code(&image.digest.to_string()), tags.join("<br>"));
    }
    for image in &published.images {
        let _ = writeln!(text, "\n### {}\n", code(image.variant.as_str()));
        text += &match changes.get(&image.variant) {
            Some(difference) => output::diff::markdown(difference, 4),
            None => format!("{}\n", without_difference(image)),
        };
    }
    text
}

fn without_difference(image: &PublishedImage) -> &'static str {
    match image.before {
        None => "Published for the first time.",
        Some(before) if before.digest == image.digest => "Unchanged.",
        Some(_) => "What changed could not be read.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::PackageKind;
    use crate::diff::{compare, made};
    use crate::oci::{Digest, Platform};
    use crate::publish::{Before, Choice, PublishedTag, TagState};

    fn tag(reference: &str, kind: TagKind) -> PublishedTag {
        PublishedTag { reference: reference.to_owned(), kind, state: TagState::Set }
    }

    fn image(variant: &str, before: Option<&str>, destinations: &[(&str, &[PublishedTag])]) -> PublishedImage {
        PublishedImage {
            variant: variant.parse().expect("a name"),
            platform: Platform::LinuxAmd64,
            choice: Choice::Built,
            digest: Digest::of(variant),
            config_digest: Digest::of("configuration"),
            size: 412_300_000,
            before: before.map(|before| Before { digest: Digest::of(before), size: None }),
            destinations: destinations.iter().map(|(name, tags)| ((*name).to_owned(), tags.to_vec())).collect(),
            attachments: Vec::new(),
        }
    }

    fn both(variant: &str, before: Option<&str>) -> PublishedImage {
        let tags = |registry: &str| {
            [
                tag(&format!("{registry}/epic:{variant}"), TagKind::Moving),
                tag(&format!("{registry}/epic:{variant}-2026-11-22"), TagKind::Immutable),
            ]
        };
        image(variant, before, &[("ecr", &tags("ecr.example")), ("ghcr", &tags("ghcr.io/team"))])
    }

    fn published(images: Vec<PublishedImage>) -> Published {
        Published { images, transfers: Vec::new() }
    }

    #[test]
    fn every_image_is_attested_in_every_destination_under_the_tag_that_is_set_once() {
        let only_moving = image("azure", None, &[("ghcr", &[tag("ghcr.io/team/epic:azure", TagKind::Moving)])]);
        let text = subjects(&published(vec![both("aws", None), only_moving, image("none", None, &[("ghcr", &[])])]));
        let [aws, azure] = ["aws", "azure"].map(|variant| Digest::of(variant).hex());
        let expected = format!(
            "{aws}  ecr.example/epic:aws-2026-11-22\n\
             {aws}  ghcr.io/team/epic:aws-2026-11-22\n\
             {azure}  ghcr.io/team/epic:azure\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn release_notes_say_how_each_is_pulled_and_what_changed() {
        let package = |version| made::with_packages(vec![made::package(PackageKind::Debian, "libc6", version, "")]);
        let changed = compare(&package("2.41-1"), &package("2.41-2"));
        let changes = BTreeMap::from([("aws".parse().expect("a name"), changed)]);
        let images = vec![
            both("aws", Some("an older one")),
            both("azure", None),
            both("aws-web", Some("aws-web")),
            both("azure-web", Some("an older one")),
        ];
        let text = release(&"ansible-epic".parse().expect("a name"), &published(images), &changes);
        let (head, sections) = text.split_once("\n### `aws`\n\n").expect("a section of the first");
        let row = |variant: &str| {
            let digest = Digest::of(variant);
            format!(
                "| `{variant}` | `{digest}` | `ecr.example/epic:{variant}-2026-11-22`<br>`ghcr.io/team/epic:{variant}-2026-11-22` |\n"
            )
        };
        let rows: String = ["aws", "azure", "aws-web", "azure-web"].map(row).concat();
        assert_eq!(head, format!("## `ansible-epic`\n\n| variant | digest | pull |\n| --- | --- | --- |\n{rows}"));
        let (aws, others) = sections.split_once("\n### `azure`\n\n").expect("a section of the second");
        assert!(aws.contains("| upgraded | `libc6` | `2.41-1` | `2.41-2` |"), "{aws}");
        assert!(aws.lines().filter(|line| line.starts_with('#')).all(|line| line.starts_with("#### ")), "{aws}");
        let expected = "\
Published for the first time.

### `aws-web`

Unchanged.

### `azure-web`

What changed could not be read.
";
        assert_eq!(others, expected);
    }

    #[test]
    fn a_release_of_nothing_is_a_table_of_nothing() {
        let text = release(&"ansible-epic".parse().expect("a name"), &published(Vec::new()), &BTreeMap::new());
        assert_eq!(text, "## `ansible-epic`\n\n| variant | digest | pull |\n| --- | --- | --- |\n");
        assert_eq!(subjects(&published(Vec::new())), "");
    }
}
