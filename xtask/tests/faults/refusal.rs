//! Immutable tags: the same digest is success, another one is refused, and nothing else moves.

use xtask::failure::Exit;

use crate::judge::earlier_release;
use crate::support::faults::Course;
use crate::support::faults::wire::ask;
use crate::sweep::{Stage, silence};
use crate::world::Job;

#[test]
fn an_immutable_tag_with_the_same_digest_is_success() {
    let stage = Stage::new();
    let (job, _proxies) = stage.job(&Course::new(&[], None));
    for _ in 0..2 {
        job.publish(&silence()).outcome.expect("it is published");
        let found = stage.expected.judge(&stage.registries, &job, None);
        assert_eq!((found.wrong, found.missing), (Vec::new(), Vec::new()));
    }
}

/// In one registry only, and for one variant only: nothing moves anywhere.
#[test]
fn an_immutable_tag_with_another_digest_is_refused_and_nothing_else_moves() {
    let stage = Stage::new();
    let course = Course::new(&[], None);
    let (job, _proxies) = stage.job(&course);
    let before = stage.registries.each_ref().map(|registry| earlier_release(registry, &job))[0];
    let taken = job.immutable("azure");
    copy_tag(&stage, &job, "azure", &taken);
    let error = job.publish(&silence()).outcome.expect_err("the tag is taken");
    assert_eq!(error.exit(), Exit::Refused, "{error}");
    let wanted = stage.expected.tags[&taken];
    for part in [&taken, &before.to_string(), &wanted.to_string()] {
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
    let tags = course.seen().iter().filter(|seen| seen.tag().is_some()).count();
    assert_eq!(tags, 0, "no tag was written, not even with what it was");
}

#[test]
fn a_refusal_says_what_the_ledger_has() {
    let stage = Stage::new();
    let (job, _proxies) = stage.job(&Course::new(&[], None));
    job.publish(&silence()).outcome.expect("it is published");
    let other = Job { release: "two".to_owned(), ..job.clone() };
    let error = other.publish(&silence()).outcome.expect_err("every tag is taken");
    assert_eq!(error.exit(), Exit::Refused, "{error}");
    for (tag, is_immutable) in job.tags() {
        let said = format!("the ledger says it was set to {}", stage.expected.tags[&tag]);
        assert!(!is_immutable || error.to_string().contains(&said), "{said} in {error}");
    }
    let found = stage.expected.judge(&stage.registries, &job, None);
    assert_eq!((found.wrong, found.missing), (Vec::new(), Vec::new()), "nothing has moved");
}

/// The same input, built on another machine to other bytes: what is published stays what it is.
#[test]
fn what_is_published_of_the_same_input_is_adopted() {
    let stage = Stage::new();
    let course = Course::new(&[], None);
    let (job, _proxies) = stage.job(&course);
    job.publish(&silence()).outcome.expect("it is published");
    let before = course.seen().len();
    let folder = tempfile::tempdir().expect("a folder");
    for build in [Some(2), None] {
        let again = Job { build, ..job.elsewhere(folder.path()) };
        let ended = again.publish(&silence());
        ended.outcome.expect("nothing is to be done");
        assert!(!ended.exported, "nothing is exported");
    }
    assert!(!course.seen()[before..].iter().any(|seen| seen.request.starts_with("PUT ")), "nothing is sent");
    let found = stage.expected.judge(&stage.registries, &job, None);
    assert_eq!((found.wrong, found.missing), (Vec::new(), Vec::new()));
}

/// The tag `to` becomes what the tag `from` is, in the second registry, by hand.
fn copy_tag(stage: &Stage, job: &Job, from: &str, to: &str) {
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let address = &stage.registries[1].address;
    let path = |tag: &str| format!("/v2/{}/manifests/{tag}", job.repository);
    let manifest = ask(address, "GET", &path(from), &[("Accept", kind)], b"").expect("the manifest").body;
    let put = ask(address, "PUT", &path(to), &[("Content-Type", kind)], &manifest).expect("an answer");
    assert_eq!(put.head.status(), 201);
}
