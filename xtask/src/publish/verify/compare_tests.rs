use serde_json::json;

use super::*;
use crate::oci::{Platform, media_type};
use crate::publish::{Origin, Remembered, Tag, TagLine};

#[path = "index_tests.rs"]
mod index;

/// What two destinations hold of `aws` and `aws-web`, which is built on it.
struct World {
    asked: Vec<Asked>,
    evidence: Evidence,
    ledger: View,
}

fn name(text: &str) -> Name {
    text.parse().expect("a name")
}

fn repository(destination: &str) -> Repository {
    format!("{destination}.example.org/team/epic").parse().expect("a repository")
}

/// An image of these layers, lowest first; a label without value is taken away.
fn image(variant: &str, layers: &[&str], more: &[(&str, &str)]) -> SeenImage {
    let mut labels: BTreeMap<String, String> = BTreeMap::new();
    let input = Digest::of(variant).to_string();
    let usual = [
        (plan::FAMILY, "epic"),
        (plan::VARIANT, variant),
        (plan::INPUT, &input),
        (plan::REVISION, "3f2c1ab"),
        (VERSION, "2026.11.20"),
    ];
    labels.extend(usual.iter().chain(more).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    labels.retain(|_, value| !value.is_empty());
    let diff_ids: Vec<Digest> = layers.iter().map(Digest::of).collect();
    let config = json!({"config": {"Labels": labels}, "rootfs": {"type": "layers", "diff_ids": diff_ids}}).to_string();
    let layer =
        |layer: &&str| json!({"mediaType": media_type::LAYER_GZIP, "digest": Digest::of(format!("{layer}.gz")), "size": 1});
    let manifest = json!({
        "schemaVersion": 2,
        "config": {"mediaType": media_type::CONFIG, "digest": Digest::of(&config), "size": config.len()},
        "layers": layers.iter().map(layer).collect::<Vec<_>>(),
    });
    let image = Image::published(manifest.to_string().into(), config.into()).expect("an image");
    SeenImage { annotations: annotations(&labels), image: Some(image), ..SeenImage::default() }
}

impl World {
    fn new() -> Self {
        let tag = |name: &str, kind| Tag { name: name.to_owned(), kind, uses_revision: false };
        let tags = |variant: &str| {
            vec![tag(variant, TagKind::Moving), tag(&format!("{variant}-2026.11.20-3f2c1ab"), TagKind::Immutable)]
        };
        let asked = |variant: &str, parent: Option<&str>| Asked {
            variant: name(variant),
            parent: parent.map(name),
            pins: BTreeSet::from([name("code-server")]),
            platforms: vec![Platform::LinuxAmd64],
            deliveries: ["a", "b"]
                .map(|at| Delivery {
                    destination: at.to_owned(),
                    repository: repository(at),
                    insecure: false,
                    origin: Origin::File,
                    tags: tags(variant),
                })
                .to_vec(),
            tentative: BTreeSet::new(),
            aside: false,
        };
        let mut world = Self {
            asked: vec![asked("aws", None), asked("aws-web", Some("aws"))],
            evidence: Evidence::default(),
            ledger: View::default(),
        };
        for at in ["a", "b"] {
            let runner = ("gantry.pin.runner", "2.330.0");
            world.holds(at, "aws", image("aws", &["base", "aws", "runner", "entrypoint"], &[runner]));
            let layers = ["base", "aws", "web", "runner", "entrypoint"];
            world.holds(at, "aws-web", image("aws-web", &layers, &[runner, ("gantry.pin.code-server", "4.139.1")]));
        }
        world
    }

    /// All tags of the variant point to `image` there.
    fn holds(&mut self, at: &str, variant: &str, image: SeenImage) {
        let digest = image.image.as_ref().map(|image| image.manifest.digest);
        let is_it = |tag: &SeenTag| tag.variant.as_str() == variant && tag.destination == at;
        self.evidence.tags.retain(|tag| !is_it(tag));
        let delivery = self.asked.iter().filter(|asked| asked.variant.as_str() == variant).flat_map(|asked| &asked.deliveries);
        for delivery in delivery.filter(|delivery| delivery.destination == at) {
            self.evidence.tags.extend(delivery.tags.iter().map(|tag| SeenTag {
                variant: name(variant),
                destination: at.to_owned(),
                repository: delivery.repository.clone(),
                tag: tag.clone(),
                found: Ok(digest),
            }));
        }
        self.evidence.images.insert((repository(at), digest.expect("an image")), image);
    }

    fn everywhere(&mut self, variant: &str, image: &SeenImage) {
        ["a", "b"].iter().for_each(|at| self.holds(at, variant, image.clone()));
    }

    fn tag(&mut self, at: &str, tag: &str) -> &mut SeenTag {
        let mut tags = self.evidence.tags.iter_mut();
        tags.find(|seen| seen.destination == at && seen.tag.name == tag).expect("the tag")
    }

    fn remembers(&mut self, at: &str, tag: &str, kind: TagKind, digest: Digest, state: State, when: &str) {
        let reference = repository(at).tag(tag).to_string();
        let line = TagLine {
            variant: name("aws"),
            platform: Some(Platform::LinuxAmd64),
            destination: at.to_owned(),
            reference: reference.clone(),
            kind,
            digest,
            state,
        };
        self.ledger.tags.insert(reference, Remembered { line, at: when.to_owned() });
    }

    fn digest(&mut self, at: &str, tag: &str) -> Digest {
        self.tag(at, tag).found.clone().expect("asked").expect("there")
    }

    fn report(&self) -> Report {
        compare(&name("epic"), &self.asked, &self.evidence, &self.ledger, false)
    }
}

#[test]
fn what_differs() {
    use Kind::{Blob, Digest as Other, Entrypoint, Label, Ledger, Manifest, Missing, Parent, Policy, Unreachable};
    type Case = (&'static str, fn(&mut World), &'static [(Kind, &'static str, &'static str)]);
    const WEB: [&str; 5] = ["base", "aws", "web", "runner", "entrypoint"];
    let cases: &[Case] = &[
        ("nothing", |_| {}, &[]),
        (
            "a tag that moved in one destination",
            |world| world.tag("b", "aws").found = Ok(Some(Digest::of("other"))),
            &[(Other, "aws", "the tag `aws` is sha256:")],
        ),
        (
            "a tag that is missing in one destination",
            |world| world.tag("b", "aws").found = Ok(None),
            &[(Missing, "aws", "`b.example.org/team/epic:aws` is not there")],
        ),
        (
            "a tag that is missing everywhere",
            |world| ["a", "b"].iter().for_each(|at| world.tag(at, "aws").found = Ok(None)),
            &[
                (Missing, "aws", "`a.example.org/team/epic:aws` is not there anywhere"),
                (Missing, "aws", "`b.example.org/team/epic:aws` is not there anywhere"),
            ],
        ),
        (
            "one that may be missing everywhere",
            |world| {
                let tag = "aws-2026.11.20-3f2c1ab";
                world.asked[0].tentative.insert(tag.to_owned());
                ["a", "b"].iter().for_each(|at| world.tag(at, tag).found = Ok(None));
            },
            &[],
        ),
        (
            "but not in one place only",
            |world| {
                let tag = "aws-2026.11.20-3f2c1ab";
                world.asked[0].tentative.insert(tag.to_owned());
                world.tag("a", tag).found = Ok(None);
            },
            &[(Missing, "aws", "a.example.org/team/epic:aws-2026.11.20-3f2c1ab` is not there")],
        ),
        (
            "a ledger that agrees, also about what it could not set",
            |world| {
                let digest = world.digest("a", "aws");
                world.remembers("a", "aws", TagKind::Moving, digest, State::Pushed, "2026-11-20T10:00:00Z");
                world.remembers("b", "aws", TagKind::Moving, digest, State::Failed, "2026-11-20T10:00:00Z");
            },
            &[],
        ),
        (
            "a ledger that says something else",
            |world| world.remembers("a", "aws", TagKind::Moving, Digest::of("x"), State::Pushed, "2026-11-20T10:00:00Z"),
            &[(Ledger, "aws", "; the ledger says it was set to sha256:")],
        ),
        (
            "a destination that does not answer is told of once",
            |world| {
                for tag in ["aws", "aws-2026.11.20-3f2c1ab", "aws-web", "aws-web-2026.11.20-3f2c1ab"] {
                    world.tag("b", tag).found = Err("`b.example.org` cannot be reached".to_owned());
                }
            },
            &[(Unreachable, "aws", "`b`: `b.example.org` cannot"), (Unreachable, "aws-web", "`b`: `b.example.org` cannot")],
        ),
        (
            "a blob that is missing in one destination",
            |world| {
                let at = (repository("b"), world.digest("b", "aws"));
                let image = world.evidence.images.get_mut(&at).expect("the image");
                image.faults.push(Fault::NoBlob { digest: Digest::of("layer") });
            },
            &[(Blob, "aws", "the blob sha256:")],
        ),
        (
            "a manifest that is none of ours",
            |world| {
                let at = (repository("b"), world.digest("b", "aws-web"));
                let faults = vec![Fault::Foreign { why: "it is an index".to_owned() }];
                world.evidence.images.insert(at, SeenImage { faults, ..SeenImage::default() });
            },
            &[(Manifest, "aws-web", "it is an index")],
        ),
        (
            "labels",
            |world| {
                let more = [(plan::VARIANT, "azure"), (plan::FAMILY, ""), (plan::INPUT, ""), (plan::REVISION, ""), (VERSION, "")];
                world.holds("a", "aws-web", image("aws-web", &WEB, &more));
                world.holds("b", "aws-web", image("aws-web", &WEB, &more));
            },
            &[
                (Label, "aws-web", "lacks the label `gantry.family`, and is to be `epic`"),
                (Label, "aws-web", "has the label `gantry.variant` `azure`, and is to be `aws-web`"),
                (Label, "aws-web", "lacks the label `gantry.input-digest`"),
                (Label, "aws-web", "lacks the label `org.opencontainers.image.version`"),
                (Label, "aws-web", "lacks the label `org.opencontainers.image.revision`"),
                (Label, "aws-web", "lacks"),
                (Label, "aws-web", "has"),
                (Label, "aws-web", "lacks"),
                (Label, "aws-web", "lacks"),
                (Label, "aws-web", "lacks"),
            ],
        ),
        (
            "a label that the annotation does not repeat",
            |world| {
                let mut seen = image("aws-web", &WEB, &[]);
                seen.annotations.insert(plan::INPUT.to_owned(), "sha256:0".to_owned());
                world.everywhere("aws-web", &seen);
            },
            &[(Label, "aws-web", "and the annotation `sha256:0`"), (Label, "aws-web", "and the annotation `sha256:0`")],
        ),
        (
            "what is not to be published",
            |world| {
                let more = [(plan::OMITTED, "vscode-cli"), (plan::CA_BUNDLE, "host")];
                world.everywhere("aws-web", &image("aws-web", &WEB, &more));
            },
            &[
                (Policy, "aws-web", "`aws-web` lacks `vscode-cli`"),
                (Policy, "aws-web", "CA bundle, so it does not go to `a`"),
                (Policy, "aws-web", "`aws-web` lacks `vscode-cli`"),
                (Policy, "aws-web", "CA bundle, so it does not go to `b`"),
            ],
        ),
        (
            "a child of another parent",
            |world| {
                world.everywhere("aws-web", &image("aws-web", &["base", "another aws", "web", "runner", "entrypoint"], &[]));
            },
            &[(Parent, "aws-web", "it has 1 of its 2 layers"), (Parent, "aws-web", "it has 1 of its 2 layers")],
        ),
        (
            "a child that was built on the finished parent",
            |world| {
                let layers = ["base", "aws", "runner", "entrypoint", "web", "runner", "entrypoint"];
                world.everywhere("aws-web", &image("aws-web", &layers, &[]));
            },
            &[],
        ),
        (
            "a parent that is looked at for its children only",
            |world| {
                world.asked[0].aside = true;
                world.tag("b", "aws-2026.11.20-3f2c1ab").found = Ok(None);
                world.everywhere("aws", &image("aws", &["base", "new aws", "entrypoint"], &[(plan::REVISION, "1234567")]));
            },
            &[(Parent, "aws-web", "it has 1 of its 2 layers"), (Parent, "aws-web", "it has 1 of its 2 layers")],
        ),
        (
            "an entrypoint that is another one in the same release",
            |world| world.everywhere("aws-web", &image("aws-web", &["base", "aws", "web", "runner", "entrypoint 2"], &[])),
            &[(Entrypoint, "aws-web", "another than that of `aws`"), (Entrypoint, "aws-web", "another than that of `aws`")],
        ),
        (
            "but not in another release",
            |world| {
                let more = [(plan::REVISION, "1234567")];
                world.everywhere("aws-web", &image("aws-web", &["base", "aws", "web", "runner", "entrypoint 2"], &more));
            },
            &[],
        ),
    ];
    for (case, change, expected) in cases {
        let mut world = World::new();
        change(&mut world);
        let report = world.report();
        let found: Vec<_> = report.differences.iter().map(|it| (it.kind, it.variant.as_str(), it.message.as_str())).collect();
        let same = found.len() == expected.len()
            && found
                .iter()
                .zip(*expected)
                .all(|(found, (kind, variant, part))| found.0 == *kind && found.1 == *variant && found.2.contains(part));
        assert!(same, "{case}: {found:#?}");
        assert_eq!(report.equal, expected.is_empty(), "{case}");
    }
}

#[test]
fn the_report_says_whether_there_is_a_ledger() {
    let mut world = World::new();
    let text = world.report().to_string();
    assert!(text.contains("no ledger of these tags") && text.ends_with("all is equal\n"), "{text}");
    let digest = world.digest("a", "aws");
    world.remembers("a", "aws", TagKind::Moving, digest, State::Pushed, "2026-11-20T10:00:00Z");
    let report = world.report();
    assert!(report.ledger && !report.to_string().contains("no ledger"), "{report}");
    assert_eq!(report.tags.len(), 8);
}

#[test]
fn the_newest_release_in_the_ledger() {
    let mut world = World::new();
    let (old, new) = (Digest::of("old"), Digest::of("new"));
    let fixed = TagKind::Immutable;
    world.remembers("a", "aws-1", fixed, old, State::Pushed, "2026-11-18T10:00:00Z");
    world.remembers("a", "aws-2", fixed, new, State::Pushed, "2026-11-19T10:00:00Z");
    world.remembers("a", "aws-coder-2", fixed, new, State::AlreadyThere, "2026-11-19T10:00:01Z");
    world.remembers("b", "aws-2", fixed, new, State::Failed, "2026-11-19T10:00:02Z");
    world.remembers("a", "aws-3", fixed, Digest::of("never set"), State::Pending, "2026-11-20T10:00:00Z");
    world.remembers("a", "aws", TagKind::Moving, Digest::of("promoted"), State::Pushed, "2026-11-20T10:00:00Z");
    let (a, elsewhere) = (repository("a"), repository("c"));
    let newest = |variant: &str, at: &Repository| newest_immutable(&world.ledger, &name(variant), &BTreeSet::from([at]));
    assert_eq!(newest("aws", &a), BTreeSet::from(["aws-2".to_owned(), "aws-coder-2".to_owned()]));
    assert_eq!(newest("aws", &elsewhere), BTreeSet::new());
    assert_eq!(newest("azure", &a), BTreeSet::new());
}
