//! A report made by hand, with names as bad as they can be.

use super::*;
use crate::build::{InstructionRun, Run, StepRun};
use crate::contents::PackageKind;
use crate::event::{InstructionState, Outcome};
use crate::oci::Digest;

/// What must stay text wherever it stands.
pub(super) const BAD: &str = "<script>alert(1)</script>\"'&";

fn step(id: &str, kind: StepKind, parent: Option<&str>, variant: Option<&str>) -> Step {
    Step {
        id: id.to_owned(),
        kind,
        parent: parent.map(str::to_owned),
        needs: parent.into_iter().map(str::to_owned).collect(),
        what: format!("images/{id}"),
        input: Digest::of(id),
        variant: variant.map(str::to_owned),
        there: Some(true),
        adds: Some(1_000_000),
    }
}

fn item(name: &str, bytes: u64) -> Item {
    Item { name: name.to_owned(), version: Some("1.0".to_owned()), bytes }
}

fn image(variant: &str, layers: &[&str], bytes: u64) -> Image {
    let python = Group {
        kind: Some(PackageKind::Python),
        bytes: 700,
        count: 7,
        items: vec![item("boto3", 400), item(BAD, 200)],
        rest: 100,
    };
    let other = Group { kind: None, bytes: 300, count: 2, items: vec![item("opt/tool", 250)], rest: 50 };
    Image {
        variant: variant.to_owned(),
        description: format!("{variant} {BAD}"),
        tags: vec![format!("epic:{variant}")],
        omitted: vec![],
        built: Some(Built {
            config_digest: Digest::of(variant),
            outdated: false,
            created: Some("2026-11-20T00:00:00Z".to_owned()),
            smoke: Some(Smoke { passed: variant == "aws", checks: 21, at: "2026-11-20T10:00:00Z".to_owned() }),
            bytes,
            packed: None,
            layers: layers.iter().map(|letter| (*letter).to_owned()).collect(),
            groups: vec![python, other],
            files: 1000,
            file_count: 12,
            biggest: vec![Item { version: None, ..item("opt/tool", 250) }],
        }),
    }
}

fn layer(letter: &str, bytes: u64, images: &[&str]) -> Layer {
    Layer {
        letter: letter.to_owned(),
        diff_id: Digest::of(letter),
        bytes,
        packed: Some(bytes / 2),
        instruction: format!("RUN {BAD} {}", "x".repeat(200)),
        step: None,
        images: images.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn run() -> Run {
    let instruction = |name: &str, begin, end, state| InstructionRun { name: format!("{name} {BAD}"), begin, end, state };
    let step = |step: &str, begin, end, outcome, instructions| StepRun {
        step: step.to_owned(),
        title: "images/aws".to_owned(),
        begin,
        end,
        outcome,
        detail: BAD.to_owned(),
        instructions,
    };
    Run {
        began: "2026-11-20T10:00:00Z".to_owned(),
        jobs: 2,
        seconds: 47.0,
        outcome: Some(Outcome::Failed),
        steps: vec![
            step(
                "base",
                Some(1.0),
                Some(20.0),
                Some(Outcome::Done),
                vec![
                    instruction("[1/2] FROM", 1.0, Some(1.0), InstructionState::Cached),
                    instruction("[2/2] RUN", 2.0, Some(20.0), InstructionState::Done),
                ],
            ),
            step("aws", Some(20.0), Some(47.0), Some(Outcome::Failed), vec![]),
            step("aws-web", None, None, Some(Outcome::Skipped), vec![]),
            step("azure", Some(21.0), None, None, vec![instruction("[1/1] RUN", 22.0, None, InstructionState::Started)]),
        ],
        ..Run::default()
    }
}

/// Two images of three layers, the lowest of which they share.
pub(super) fn report() -> Report {
    Report {
        schema: 1,
        family: "epic".to_owned(),
        title: format!("Epic {BAD}"),
        source: "https://example.org/epic".to_owned(),
        profile: "default".to_owned(),
        platform: "linux/amd64".to_owned(),
        build_date: "2026-11-20".to_owned(),
        revision: Some("3f2c1ab".to_owned()),
        dirty: true,
        made: "2026-11-21T10:00:00Z".to_owned(),
        notes: vec![BAD.to_owned()],
        steps: vec![
            step("bootstrap", StepKind::Base, None, None),
            step("base", StepKind::Image, Some("bootstrap"), None),
            step("aws", StepKind::Image, Some("base"), None),
            step("aws + runner", StepKind::Component, Some("aws"), None),
            step("aws finished", StepKind::Finish, Some("aws + runner"), Some("aws")),
            step("azure", StepKind::Image, Some("base"), None),
            step("azure finished", StepKind::Finish, Some("azure"), Some("azure")),
        ],
        images: vec![image("aws", &["A", "B"], 300), image("azure", &["A", "C"], 150)],
        layers: vec![layer("A", 100, &["aws", "azure"]), layer("B", 200, &["aws"]), layer("C", 50, &["azure"])],
        build: Some(Build { run: run(), since: None }),
        destinations: vec![
            Destination {
                name: "ghcr".to_owned(),
                repository: "ghcr.io/team/image".to_owned(),
                asked: Asked::Answered,
                tags: vec![PublishedTag {
                    variant: "aws".to_owned(),
                    tag: "aws".to_owned(),
                    moving: true,
                    digest: Some(Digest::of("published")),
                    says: Some(Says { version: BAD.to_owned(), revision: Some("é3f2c1ab".to_owned()), packed: 77 }),
                    remembered: Some((Digest::of("published"), "2026-11-20T10:00:00.000001Z".to_owned())),
                }],
            },
            Destination {
                name: "ecr".to_owned(),
                repository: "ecr/image".to_owned(),
                asked: Asked::Failed { why: BAD.to_owned() },
                tags: vec![],
            },
        ],
        differences: vec![Change {
            variant: "aws".to_owned(),
            from: "ghcr.io/team/image:aws".to_owned(),
            digest: Some(Digest::of("published")),
            found: ChangeFound::NotCompared { why: BAD.to_owned() },
        }],
    }
}
