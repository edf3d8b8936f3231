//! Two publishers at once, with different images for the same tags, on two machines: no lock helps. A registry cannot
//! compare and set a tag, so each looks just before it writes, and looks again at the end.

use std::collections::BTreeSet;
use std::sync::Mutex;

use xtask::failure::{Exit, Failure};
use xtask::oci::Digest;

use crate::child::{said, start};
use crate::judge::{Expected, Read, behind};
use crate::support::faults::{Course, Hook, Moment, Seen};
use crate::sweep::{Dice, Stage, is_all, seed, silence};
use crate::world::Job;

/// The same tags in the same repositories, from another machine that has built something else.
fn rival(stage: &Stage, job: &Job, course: &std::sync::Arc<Course>) -> (Job, [crate::support::faults::Proxy; 2]) {
    let (other, proxies) = stage.job(course);
    let folder = stage.folder.path().join(format!("rival-{}", job.repository.replace('/', "-")));
    let other = Job { repository: job.repository.clone(), release: "two".to_owned(), ..other };
    (other.elsewhere(&folder), proxies)
}

/// What the second release comes to, where nobody is in its way.
fn expected_of_the_other(stage: &Stage) -> Expected {
    let (job, _proxies) = stage.job(&Course::new(&[], None));
    let job = Job { release: "two".to_owned(), ..job };
    job.publish(&silence()).outcome.expect("nothing is in its way");
    Expected::learn(&stage.registries[0], &job)
}

/// Where every tag points, in both registries; all of it is whole.
fn state(stage: &Stage, job: &Job) -> [Vec<(String, bool, Digest)>; 2] {
    stage.registries.each_ref().map(|registry| {
        let mut read = Read::new();
        let tags = job.tags().into_iter().filter_map(|(tag, is_immutable)| {
            match behind(&registry.address, &job.repository, &tag, &mut read) {
                Ok((digest, _)) => Some((tag, is_immutable, digest)),
                Err(why) if why.contains(&format!("manifests/{tag}: HTTP/1.1 404")) => None,
                Err(why) => panic!("{tag} is not whole: {why}"),
            }
        });
        tags.collect()
    })
}

/// The other one publishes everything at a certain moment of ours.
fn overtaken(when: impl Fn(&Seen, Moment) -> bool + Send + Sync + 'static) -> (Stage, Job, Result<(), (Exit, String)>, usize) {
    let stage = Stage::new();
    let (theirs, _other_proxies) = stage.job(&Course::new(&[], None));
    // Whatever else arrives meanwhile waits.
    let done = Mutex::new(false);
    let other = theirs.clone();
    let hook: Hook = Box::new(move |seen, moment| {
        if when(seen, moment) {
            let mut done = done.lock().expect("the other one");
            if !*done {
                other.publish(&silence()).outcome.expect("it is first");
                *done = true;
            }
        }
    });
    let course = Course::new(&[], Some(hook));
    let (ours, _proxies) = rival(&stage, &theirs, &course);
    let outcome = ours.publish(&silence()).outcome;
    let outcome = outcome.map(|_| ()).map_err(|error| {
        let failure = Failure::from(error);
        (failure.exit, format!("{failure}\n{}", failure.detail.clone().unwrap_or_default()))
    });
    let written = course.seen().iter().filter(|seen| seen.tag().is_some()).count();
    (stage, theirs, outcome, written)
}

#[test]
fn who_is_overtaken_before_the_tags_is_refused_and_has_moved_nothing() {
    let (stage, theirs, outcome, written) = overtaken(|seen, moment| {
        seen.request.contains("PUT ") && seen.request.contains("/manifests/") && moment == Moment::Arrived
    });
    let (exit, text) = outcome.expect_err("the tags are taken");
    assert_eq!((exit, written), (Exit::Refused, 0), "{text}");
    let found = stage.expected.judge(&stage.registries, &theirs, None);
    assert_eq!((found.wrong, found.missing), (Vec::new(), Vec::new()));
}

/// Between the last look and the write there is nothing that a registry offers: the tag that was on its way is overwritten.
/// It is told, and nothing else moves.
#[test]
fn who_is_overtaken_between_look_and_write_says_so_and_stops() {
    let (stage, theirs, outcome, written) = overtaken(|seen, moment| seen.tag().is_some() && moment == Moment::Arrived);
    let (exit, text) = outcome.expect_err("the tags are taken");
    assert_eq!(exit, Exit::PublishPartly, "{text}");
    // One on its way to each registry.
    assert!((1..=2).contains(&written), "{written}: {text}");
    for tags in state(&stage, &theirs) {
        let foreign: Vec<_> = tags.iter().filter(|(tag, _, digest)| stage.expected.tags[tag] != *digest).collect();
        assert!(foreign.len() <= 1 && foreign.iter().all(|(_, is_immutable, _)| *is_immutable), "{foreign:?}");
        assert!(foreign.iter().all(|(tag, _, _)| text.contains(tag)), "{foreign:?} in {text}");
    }
}

/// Freely, many times: whatever comes out is whole, and whoever says success was right about the immutable tags.
#[test]
fn two_at_once_never_both_win() {
    let stage = Stage::new();
    let expected = [stage.expected.clone(), expected_of_the_other(&stage)];
    let mut dice = Dice(seed() + 4);
    let mut ends = std::collections::BTreeMap::<(i32, i32), usize>::new();
    for _ in 0..if is_all() { 60 } else { 4 } {
        let (one, _proxies) = stage.job(&Course::new(&[], None));
        let (two, _others) = rival(&stage, &one, &Course::new(&[], None));
        let first = start(&one, &[]);
        std::thread::sleep(std::time::Duration::from_millis(dice.below(150) as u64));
        let second = start(&two, &[]);
        let said = [first, second].map(|child| said(child).expect("nobody kills it"));
        let state = state(&stage, &one);
        let all: BTreeSet<_> = state.iter().flatten().collect();
        for (tag, _, digest) in &all {
            assert!(expected.iter().any(|expected| expected.tags[tag] == *digest), "{tag} is {digest}, which nobody meant");
        }
        for (said, expected) in said.iter().zip(&expected) {
            if said.code == 0 {
                let lost: Vec<_> =
                    all.iter().filter(|(tag, is_immutable, digest)| *is_immutable && expected.tags[tag] != *digest).collect();
                assert!(lost.is_empty(), "success, but {lost:?}; {said:?}");
            }
            assert!([0, 6, 7, 8].contains(&said.code), "{said:?}");
        }
        let moving = state.each_ref().map(|tags| tags.iter().filter(|(_, is_immutable, _)| !is_immutable).collect::<Vec<_>>());
        assert!(moving[0] == moving[1] || said.iter().any(|said| said.code == 7), "{moving:?}; {said:?}");
        *ends.entry((said[0].code, said[1].code)).or_default() += 1;
    }
    println!("\ntwo publishers at once, exit codes of the first and the second: {ends:?}");
}
