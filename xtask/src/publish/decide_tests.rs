//! Which image is published, as a table.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::*;
use crate::oci::{Platform, Repository, media_type};
use crate::plan;
use crate::publish::image::Image;
use crate::publish::ledger::{ImageLine, Ledger, State, TagLine};
use crate::publish::plan::{Built, Circumstances, Origin, Tree};
use crate::publish::survey::Found;
use crate::store::Want;

const PLACES: [&str; 2] = ["ghcr.io/team/image", "ecr.example.com/image"];

fn repository(place: usize) -> Repository {
    PLACES[place].parse().expect("a repository")
}

fn built(layers: &str, labels: &[(&str, &str)]) -> Built {
    Built {
        image: "family:aws".to_owned(),
        want: Want { name: "stage".to_owned(), id: Digest::of("id") },
        manifest: None,
        diff_ids: layers.chars().map(|layer| Digest::of(layer.to_string())).collect(),
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    }
}

fn release(variant: &str, ancestors: &[&str], built: Option<Built>) -> VariantRelease {
    let tag = |name: &str, kind| Tag { name: name.to_owned(), kind, uses_revision: false };
    let to = |place: usize| Delivery {
        destination: ["ghcr", "ecr"][place].to_owned(),
        repository: repository(place),
        insecure: false,
        origin: Origin::File,
        tags: vec![tag(&format!("{variant}-1"), TagKind::Immutable), tag(variant, TagKind::Moving)],
    };
    VariantRelease {
        variant: variant.parse().expect("a name"),
        platform: Platform::LinuxAmd64,
        input: Digest::of("input"),
        built,
        config_digest: None,
        ancestors: ancestors.iter().map(|name| name.parse().expect("a name")).collect(),
        destinations: vec![to(0), to(1)],
    }
}

fn plan(variants: Vec<VariantRelease>) -> ReleasePlan {
    ReleasePlan::new(variants, Circumstances { tree: Tree::Clean, allow_dirty: false }).expect("nothing is forbidden")
}

/// An image of `layers` (a letter each) that was built from `input`.
fn image(layers: &str, input: &str, labels: &[(&str, &str)]) -> Image {
    let input = Digest::of(input).to_string();
    let mut all: BTreeMap<&str, &str> = labels.iter().copied().collect();
    all.insert(plan::INPUT, &input);
    let diff_ids: Vec<_> = layers.chars().map(|layer| Digest::of(layer.to_string())).collect();
    let config = serde_json::json!({ "config": { "Labels": all }, "rootfs": { "diff_ids": diff_ids } }).to_string();
    let descriptor =
        |text: &str, kind: &str| serde_json::json!({ "mediaType": kind, "digest": Digest::of(text), "size": text.len() });
    let manifest = serde_json::json!({
        "config": descriptor(&config, media_type::CONFIG),
        "layers": layers.chars().map(|layer| descriptor(&layer.to_string(), media_type::LAYER_GZIP)).collect::<Vec<_>>(),
        "annotations": { plan::INPUT: input },
    });
    Image::published(Bytes::from(manifest.to_string()), Bytes::from(config)).expect("an image")
}

/// `(place, tag, image, what it was built from)`
fn survey(tags: &[(usize, &str, &Image, &str)]) -> Survey {
    let mut survey = Survey::default();
    for (place, tag, image, input) in tags {
        let digest = image.manifest.digest;
        survey.tags.insert(repository(*place).tag(*tag).to_string(), Some(digest));
        let manifest = image.manifest.bytes.clone();
        let found = Found {
            manifest,
            image: Some((*image).clone()),
            input: Some(Digest::of(input)),
            holders: [repository(*place)].into(),
        };
        survey.found.insert(digest, found);
    }
    survey
}

fn words(decided: Result<Vec<Choice>, Undecided>) -> Vec<String> {
    match decided {
        Ok(choices) => choices
            .iter()
            .map(|choice| match choice {
                Choice::Built => "built".to_owned(),
                Choice::Adopted { tag, digest } => format!("adopted {tag} {}", digest.short(6)),
                Choice::Unchanged { tag, digest } => format!("unchanged {tag} {}", digest.short(6)),
                Choice::Resumed { digest } => format!("resumed {}", digest.short(6)),
                Choice::Given { reference, .. } => format!("given {reference}"),
            })
            .collect(),
        Err(undecided) => {
            let missing = undecided.missing.iter().map(|name| format!("{name} is missing"));
            undecided.refusals.iter().map(ToString::to_string).chain(missing).collect()
        }
    }
}

#[test]
fn what_is_published_of_a_variant() {
    let (ours, same, other) = (image("ab", "input", &[]), image("ac", "input", &[]), image("ad", "other", &[]));
    let name = |image: &Image| image.manifest.digest.short(6);
    let here = || Some(built("ab", &[]));
    let (o, s) = ((&ours, "input"), (&same, "input"));
    let x = (&other, "other");
    type At<'a> = (usize, &'a str, (&'a Image, &'a str));
    type Case<'a> = (&'a str, Option<Built>, Vec<At<'a>>, bool, String);
    let cases: Vec<Case<'_>> = vec![
        ("nothing is there", here(), vec![], false, "built".to_owned()),
        ("nothing is there nor here", None, vec![], false, "aws is missing".to_owned()),
        ("the last release", here(), vec![(0, "aws", x), (1, "aws", x)], false, "built".to_owned()),
        ("an unchanged one", here(), vec![(1, "aws", o)], false, format!("unchanged {}:aws {}", PLACES[1], name(&ours))),
        ("an unchanged one, not here", None, vec![(0, "aws", s)], false, format!("unchanged {}:aws {}", PLACES[0], name(&same))),
        ("an unchanged one by force", here(), vec![(0, "aws", o)], true, "built".to_owned()),
        ("begun elsewhere", here(), vec![(1, "aws-1", s)], false, format!("adopted {}:aws-1 {}", PLACES[1], name(&same))),
        ("begun elsewhere, not here", None, vec![(1, "aws-1", s)], true, format!("adopted {}:aws-1 {}", PLACES[1], name(&same))),
        (
            "begun elsewhere, while another is published",
            here(),
            vec![(0, "aws", o), (1, "aws-1", s)],
            false,
            format!("adopted {}:aws-1 {}", PLACES[1], name(&same)),
        ),
        (
            "the tag is another image's",
            here(),
            vec![(0, "aws-1", x)],
            true,
            format!(
                "`{}:aws-1` is immutable and is {} already; this release is the image {}; the ledger knows nothing of it",
                PLACES[0],
                other.manifest.digest,
                Digest::of("id")
            ),
        ),
        (
            "two builds of one input under one tag",
            here(),
            vec![(0, "aws-1", o), (1, "aws-1", s)],
            false,
            format!(
                "`{}:aws-1` is immutable and is {} already, `{}:aws-1` is {}; the ledger knows nothing of it",
                PLACES[1], same.manifest.digest, PLACES[0], ours.manifest.digest
            ),
        ),
    ];
    for (case, built, tags, force, expected) in cases {
        let tags: Vec<_> = tags.into_iter().map(|(place, tag, (image, input))| (place, tag, image, input)).collect();
        let plan = plan(vec![release("aws", &[], built)]);
        assert_eq!(
            words(decide(&plan, &survey(&tags), &View::default(), Rules { force, building: false })),
            [expected],
            "{case}"
        );
    }
}

#[test]
fn what_was_under_way_is_resumed_without_its_image() {
    let ours = image("ab", "input", &[]);
    let (variant, platform) = ("aws".parse().expect("a name"), Platform::LinuxAmd64);
    let line = |input: &str| ImageLine {
        variant: "aws".parse().expect("a name"),
        platform,
        input: Digest::of(input),
        digest: ours.manifest.digest,
        config: ours.config_digest,
    };
    let mut survey = survey(&[(0, "x", &ours, "input")]);
    survey.tags.clear();
    let mut ledger = View::default();
    ledger.images.insert((variant, platform), line("input"));
    let plan = plan(vec![release("aws", &[], None)]);
    assert_eq!(words(decide(&plan, &survey, &ledger, Rules::default())), [format!("resumed {}", ours.manifest.digest.short(6))]);
    survey.found.clear();
    assert_eq!(words(decide(&plan, &survey, &ledger, Rules::default())), ["aws is missing"]);
    let building = Rules { building: true, ..Rules::default() };
    assert_eq!(words(decide(&plan, &survey, &ledger, building)), ["built"], "where it is going to be built");
}

#[test]
fn the_ledger_is_quoted_where_a_tag_is_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ledger = Ledger::open(folder.path(), "epic").expect("a ledger");
    let line = TagLine {
        variant: "aws".parse().expect("a name"),
        platform: Some(Platform::LinuxAmd64),
        destination: "ghcr".to_owned(),
        reference: format!("{}:aws-1", PLACES[0]),
        kind: TagKind::Immutable,
        digest: Digest::of("wanted"),
        state: State::Pending,
    };
    ledger.tag(line).expect("written");
    let plan = plan(vec![release("aws", &[], Some(built("ab", &[])))]);
    let told = words(decide(&plan, &survey(&[(0, "aws-1", &image("a", "x", &[]), "x")]), ledger.view(), Rules::default()));
    let expected = format!("; the ledger says it was to be set to {} at 2", Digest::of("wanted"));
    assert!(told[0].contains(&expected), "{told:?}");
}

#[test]
fn a_parent_goes_with_a_child_that_is_published_anew() {
    let (parent, sibling) = (image("ab", "input", &[]), image("abx", "input", &[]));
    let published = [(0, "aws", &parent, "input"), (0, "aws-web", &sibling, "input")];
    let family = |parent: &str, web: &str| {
        plan(vec![
            release("aws", &[], Some(built(parent, &[]))),
            release("aws-web", &["aws"], Some(built(web, &[]))),
            release("aws-new", &["aws"], Some(built(&format!("{parent}n"), &[]))),
        ])
    };
    let is_built = |plan: &ReleasePlan| {
        let decided = words(decide(plan, &survey(&published), &View::default(), Rules::default()));
        decided.iter().map(|words| words == "built").collect::<Vec<_>>()
    };
    assert_eq!(is_built(&family("ab", "abx")), [false, false, true], "the layers are those that are published");
    assert_eq!(is_built(&family("ac", "acx")), [true, true, true], "other layers of the same input");
}

#[test]
fn what_may_not_leave_is_not_copied_either() {
    let ours = image("ab", "input", &[("gantry.omitted", "github-runner")]);
    let plan = plan(vec![release("aws", &[], None)]);
    let told = words(decide(&plan, &survey(&[(0, "aws", &ours, "input")]), &View::default(), Rules::default()));
    let expected = |to| format!("`aws` lacks `github-runner`, so it does not go to `{to}`");
    assert_eq!(told, [expected("ghcr"), expected("ecr")]);
}
