//! What another machine finds of a release that was begun elsewhere, and what a registry may have lost or forbidden since.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use xtask::event::Event;
use xtask::failure::{Exit, Failure};
use xtask::publish::{Choice, PublishError, Published, Refusal, ReleasePlan};
use xtask::registry::Sources;

use crate::support::front::{Front, Say, error};
use crate::support::{LocalImage, LocalRegistry, Trigger};
use crate::{Machine, delivery, hasty, plan, runtime};

fn publish(machine: &Machine, plan: &ReleasePlan, events: &Arc<Trigger>) -> Result<Published, PublishError> {
    runtime(async { machine.publish(plan, &hasty(plan, &Sources::default()).await, &events.events()).await })
}

#[test]
fn tags_that_a_lost_machine_has_set_are_set() {
    let (registry, image) = (LocalRegistry::start(None), LocalImage::build("one"));
    let to = |tags: &[&str]| plan(vec![("aws", &image, vec![delivery("a", registry.repository(), tags)])]);
    publish(&Machine::new(), &to(&["once aws-1"]), &Trigger::never()).expect("begun");
    let dying = Arc::clone(&registry);
    let events =
        Trigger::new(|event| matches!(event, Event::StepStarted { step, .. } if step == "tag moving"), move || dying.kill());
    let error = publish(&Machine::new(), &to(&["once aws-1", "moves aws"]), &events).expect_err("the registry is gone");
    assert_eq!(error.exit(), Exit::PublishPartly, "{error}");
    let set = Failure::from(error).detail.unwrap_or_default();
    assert!(set.contains(":aws-1@sha256:") && !set.contains(":aws@"), "{set}");
}

#[test]
fn a_registry_that_lost_the_configuration_keeps_nobody_from_the_image() {
    let (a, b, image) = (LocalRegistry::start(None), LocalRegistry::start(None), LocalImage::build("one"));
    let to = |registry: &LocalRegistry| delivery("to", registry.repository(), &["once aws-1"]);
    let both = plan(vec![("aws", &image, vec![to(&a), to(&b)])]);
    let published = publish(&Machine::new(), &both, &Trigger::never()).expect("published");
    let (digest, config) = (published.images[0].digest, published.images[0].config_digest);
    for lost in [&a, &b] {
        let bytes = fs::read(lost.blob(config)).expect("the configuration");
        fs::remove_file(lost.blob(config)).expect("lost");
        let again = publish(&Machine::new(), &both, &Trigger::never()).expect("it is the same image all the same");
        assert!(matches!(&again.images[0].choice, Choice::Adopted { digest: found, .. } if *found == digest));
        fs::write(lost.blob(config), bytes).expect("found again");
    }
}

#[test]
fn a_tag_that_has_to_move_and_may_not_is_told_as_that() {
    let (real, one, other) = (LocalRegistry::start(None), LocalImage::build("one"), LocalImage::build("other"));
    let is_there = AtomicBool::new(false);
    let fixed = Front::before(&real.address, move |asked, behind| {
        let is_tag = *asked.method() == Method::PUT && asked.uri().path().ends_with("/manifests/aws");
        match is_tag && is_there.swap(true, Ordering::SeqCst) {
            true => Say::Answer(error(400, "TAG_INVALID", "The image tag 'aws' already exists and the repository is immutable.")),
            false => Say::Answer(behind.answer(asked)),
        }
    });
    let to = |image: &LocalImage| {
        let repository = format!("{}/team/image", fixed.address).parse().expect("a repository");
        plan(vec![("aws", image, vec![delivery("ecr", repository, &["moves aws"])])])
    };
    publish(&Machine::new(), &to(&one), &Trigger::never()).expect("the first is no move");
    let error = publish(&Machine::new(), &to(&other), &Trigger::never()).expect_err("it is refused");
    let frozen = |refusals: &[Refusal]| matches!(refusals, [Refusal::Frozen { .. }]);
    assert!(
        matches!(&error, PublishError::Refused { refusals } | PublishError::Partly { refusals, .. } if frozen(refusals)),
        "{error}"
    );
    let failure = Failure::from(error);
    assert!(failure.hint.as_ref().is_some_and(|hint| hint.contains("cargo xtask ecr init")), "{:?}", failure.hint);
}
