//! What `publish` writes into files for those who come after it: what is to be attested, and release notes. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::summary::Pushed;
use crate::diff::Difference;
use crate::family::Name;
use crate::oci::Digest;
use crate::output::{self, diff::code};
use crate::publish::{Choice, Item, PublishedImage, PublishedIndex, PublishedTag, Release, TagKind, TagState, View};

/// An image of a release, whose digest is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Candidate {
    variant: Name,
    digest: Digest,
    /// By this run; otherwise it was published before.
    built: bool,
    /// In every destination, under the tag that is set once.
    names: Vec<String>,
}

/// The images of a release, those that are built with the digests that the ledger has of them since it was carried out.
pub(super) fn candidates(release: &Release, ledger: &View) -> Vec<Candidate> {
    let one = |item: &Item| {
        let wanted = &item.release;
        let line = || ledger.images.get(&(wanted.variant.clone(), wanted.platform)).filter(|line| line.input == wanted.input);
        let built = item.choice == Choice::Built;
        let digest = if built { line()?.digest } else { item.choice.digest()? };
        let names = wanted.destinations.iter().filter_map(|to| {
            let once = to.tags.iter().find(|tag| tag.kind == TagKind::Immutable).or(to.tags.first())?;
            Some(to.repository.tag(&once.name).to_string())
        });
        Some(Candidate { variant: wanted.variant.clone(), digest, built, names: names.collect() })
    };
    release.items.iter().filter_map(one).collect()
}

/// The index of a variant of several platforms; none as long as one of them is missing.
pub(super) fn of_index(index: &PublishedIndex) -> Option<Candidate> {
    let once = || index.tags.iter().filter(|tag| tag.kind == TagKind::Immutable);
    Some(Candidate {
        variant: index.variant.clone(),
        digest: index.digest?,
        // The tags that are set once come first: whoever set only one that moves may be another attempt of the same run.
        built: index.tags.iter().any(|tag| tag.state != TagState::AlreadyThere),
        names: once().map(|tag| tag.reference.clone()).collect(),
    })
}

/// What is to be attested.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Subjects {
    /// `DIGEST  NAME`, a line for every image in every destination: what `actions/attest` takes as `subject-checksums`.
    pub(super) text: String,
    /// Variants that somebody else has built: nobody can attest where they come from but who did.
    pub(super) others: Vec<Name>,
}

/// What is built by this run, and what `earlier` names: the file of an earlier attempt.
pub(super) fn subjects(candidates: &[Candidate], earlier: &str) -> Subjects {
    let earlier: BTreeSet<&str> = earlier.lines().collect();
    let mut subjects = Subjects::default();
    for image in candidates {
        let lines = image.names.iter().map(|name| format!("{}  {name}", image.digest.hex()));
        let lines: Vec<String> = lines.filter(|line| image.built || earlier.contains(line.as_str())).collect();
        if lines.is_empty() {
            subjects.others.push(image.variant.clone());
        }
        lines.iter().for_each(|line| subjects.text += &format!("{line}\n"));
    }
    subjects
}

/// Whether release notes that are there are those of all that is published now: an earlier attempt has written them, which knew
/// what tags pointed to before.
pub(super) fn are_of(notes: &str, pushed: &Pushed) -> bool {
    let built = pushed.published.images.iter().any(|image| image.choice == Choice::Built);
    !built && rows(pushed).iter().all(|row| notes.contains(row.as_str()))
}

/// The lines of the table: every image, and every index, with the tags that are set once.
fn rows(pushed: &Pushed) -> Vec<String> {
    let row = |variant: &Name, digest: &Digest, names: Vec<&String>| {
        let names: Vec<String> = names.into_iter().map(|name| code(name)).collect();
        format!("| {} | {} | {} |\n", code(variant.as_str()), code(&digest.to_string()), names.join("<br>"))
    };
    let images = pushed.published.images.iter().map(|image| {
        let once = |tags: &'_ Vec<PublishedTag>| tags.iter().find(|tag| tag.kind == TagKind::Immutable).or(tags.first()).cloned();
        let tags: Vec<PublishedTag> = image.destinations.values().filter_map(once).collect();
        row(&image.variant, &image.digest, tags.iter().map(|tag| &tag.reference).collect())
    });
    let indexes = pushed.indexes.iter().filter_map(of_index);
    let indexes = indexes.map(|index| row(&index.variant, &index.digest, index.names.iter().collect()));
    images.chain(indexes).collect()
}

/// How to pull it, and what changed.
pub(super) fn release(family: &Name, pushed: &Pushed, changes: &BTreeMap<Name, Difference>) -> String {
    let published = &pushed.published;
    let mut text = format!("## {}\n\n| variant | digest | pull |\n| --- | --- | --- |\n", code(family.as_str()));
    text.extend(rows(pushed));
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
        Some(_) if matches!(image.choice, Choice::Unchanged { .. }) => "Unchanged.",
        Some(before) if before.digest == image.digest => "Published by an earlier run.",
        Some(_) => "What changed could not be read.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contents::PackageKind;
    use crate::diff::{compare, made};
    use crate::oci::Platform;
    use crate::publish::{Before, Published};

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
    fn what_this_run_or_an_earlier_attempt_has_built_is_attested_in_every_destination() {
        let candidate = |variant: &str, built| Candidate {
            variant: variant.parse().expect("a name"),
            digest: Digest::of(variant),
            built,
            names: ["ecr.example", "ghcr.io/team"].map(|registry| format!("{registry}/epic:{variant}-2026-11-22")).to_vec(),
        };
        let lines = |variant: &str| {
            let digest = Digest::of(variant).hex();
            format!("{digest}  ecr.example/epic:{variant}-2026-11-22\n{digest}  ghcr.io/team/epic:{variant}-2026-11-22\n")
        };
        let other_digest = lines("azure-web").replace(&Digest::of("azure-web").hex(), &Digest::of("another").hex());
        let earlier = format!("{}{other_digest}{}", lines("azure"), lines("gone"));
        let candidates =
            [candidate("aws", true), candidate("azure", false), candidate("aws-web", false), candidate("azure-web", false)];
        let others = ["aws-web", "azure-web"].map(|name| name.parse().expect("a name")).to_vec();
        let found = subjects(&candidates, &earlier);
        assert_eq!(found, Subjects { text: lines("aws") + &lines("azure"), others }, "one is nobody's, one has changed since");
        assert_eq!(subjects(&[], &earlier), Subjects::default());
    }

    #[test]
    fn an_index_is_attested_by_whoever_has_made_it_of_all_platforms() {
        let index = |digest, state| {
            let tag = |reference: &str, kind| PublishedTag { state, ..tag(reference, kind) };
            let tags = vec![tag("ghcr.io/epic:aws", TagKind::Moving), tag("ghcr.io/epic:aws-1", TagKind::Immutable)];
            PublishedIndex { variant: "aws".parse().expect("a name"), digest, missing: Vec::new(), tags }
        };
        let digest = Digest::of("an index");
        let lines = |index: &PublishedIndex| subjects(&of_index(index).into_iter().collect::<Vec<_>>(), "").text;
        assert_eq!(lines(&index(Some(digest), TagState::Set)), format!("{}  ghcr.io/epic:aws-1\n", digest.hex()));
        assert_eq!(lines(&index(Some(digest), TagState::AlreadyThere)), "");
        assert_eq!(lines(&index(None, TagState::Set)), "", "a platform is missing");
        let pushed = Pushed {
            schema: 1,
            seconds: 1.0,
            published: published(Vec::new()),
            indexes: vec![index(Some(digest), TagState::Set)],
        };
        let notes = release(&"epic".parse().expect("a name"), &pushed, &BTreeMap::new());
        assert!(notes.ends_with(&format!("| `aws` | `{digest}` | `ghcr.io/epic:aws-1` |\n")), "{notes}");
    }

    #[test]
    fn notes_are_those_of_the_attempt_that_has_published_it() {
        let pushed = |images| Pushed { schema: 1, seconds: 1.0, published: published(images), indexes: Vec::new() };
        let there = |variant: &str| PublishedImage {
            choice: Choice::Adopted { tag: String::new(), digest: Digest::of(variant) },
            ..both(variant, Some(variant))
        };
        let family = "epic".parse().expect("a name");
        let notes = release(&family, &pushed(vec![both("aws", None), both("azure", None)]), &BTreeMap::new());
        for (images, are) in [
            (vec![there("aws"), there("azure")], true),
            (vec![there("azure")], true),
            (vec![there("aws"), both("azure", Some("azure"))], false),
            (vec![there("aws"), there("azure"), there("aws-web")], false),
        ] {
            let names: Vec<_> = images.iter().map(|image| (image.variant.clone(), image.choice.clone())).collect();
            assert_eq!(are_of(&notes, &pushed(images)), are, "{names:?}");
        }
    }

    #[test]
    fn release_notes_say_how_each_is_pulled_and_what_changed() {
        let package = |version| made::with_packages(vec![made::package(PackageKind::Debian, "libc6", version, "")]);
        let changed = compare(&package("2.41-1"), &package("2.41-2"));
        let changes = BTreeMap::from([("aws".parse().expect("a name"), changed)]);
        let images = vec![
            both("aws", Some("an older one")),
            both("azure", None),
            PublishedImage {
                choice: Choice::Unchanged { tag: String::new(), digest: Digest::of("aws-web") },
                ..both("aws-web", Some("aws-web"))
            },
            both("azure-web", Some("an older one")),
            both("gcp", Some("gcp")),
        ];
        let pushed = Pushed { schema: 1, seconds: 1.0, published: published(images), indexes: Vec::new() };
        let text = release(&"ansible-epic".parse().expect("a name"), &pushed, &changes);
        let (head, sections) = text.split_once("\n### `aws`\n\n").expect("a section of the first");
        let row = |variant: &str| {
            let digest = Digest::of(variant);
            format!(
                "| `{variant}` | `{digest}` | `ecr.example/epic:{variant}-2026-11-22`<br>`ghcr.io/team/epic:{variant}-2026-11-22` |\n"
            )
        };
        let rows: String = ["aws", "azure", "aws-web", "azure-web", "gcp"].map(row).concat();
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

### `gcp`

Published by an earlier run.
";
        assert_eq!(others, expected);
    }

    #[test]
    fn a_release_of_nothing_is_a_table_of_nothing() {
        let nothing = Pushed { schema: 1, seconds: 1.0, published: published(Vec::new()), indexes: Vec::new() };
        let text = release(&"ansible-epic".parse().expect("a name"), &nothing, &BTreeMap::new());
        assert_eq!(text, "## `ansible-epic`\n\n| variant | digest | pull |\n| --- | --- | --- |\n");
    }
}
