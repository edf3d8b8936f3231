//! One of two registries is gone, from each phase of a publish on: nothing wrong is left, the exit code is true, and when
//! it is back the job is finished without sending anything twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use xtask::failure::Exit;

use crate::judge::{earlier_release, twice};
use crate::support::faults::{Course, Hook, Moment, Seen};
use crate::sweep::{Stage, silence};

/// When it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Before,
    Blobs,
    Manifests,
    ImmutableTags,
    Between,
    MovingTags,
    LastLook,
}

impl Phase {
    const ALL: [Self; 7] =
        [Self::Before, Self::Blobs, Self::Manifests, Self::ImmutableTags, Self::Between, Self::MovingTags, Self::LastLook];

    /// Whether this moment of this request to the registry that goes is the beginning of the phase. `tags`: how many tags
    /// were set in all so far.
    fn begins(self, seen: &Seen, moment: Moment, tags: usize, immutable: usize) -> bool {
        let ours = seen.destination == 1;
        match self {
            Self::Before => false,
            Self::Blobs => ours && seen.blob().is_some() && moment == Moment::Halfway,
            Self::Manifests => ours && seen.request.starts_with("PUT ") && seen.request.contains("/manifests/sha256:"),
            Self::ImmutableTags => ours && seen.tag().is_some() && moment == Moment::Arrived,
            Self::Between => tags == immutable && moment == Moment::Answered && seen.tag().is_some(),
            Self::MovingTags => ours && tags >= immutable && seen.tag().is_some() && moment == Moment::Arrived,
            Self::LastLook => tags == 2 * immutable && moment == Moment::Answered && seen.tag().is_some(),
        }
    }

    /// The exit code of the first run, where there is only one that is true.
    fn exit(self) -> Option<Exit> {
        match self {
            Self::Before | Self::Blobs | Self::Manifests => Some(Exit::PublishUntagged),
            // The other registry's tags may or may not have been set.
            Self::ImmutableTags => None,
            Self::Between | Self::MovingTags | Self::LastLook => Some(Exit::PublishPartly),
        }
    }
}

fn goes_in(phase: Phase, stage: &Stage) {
    let registry = Arc::clone(&stage.registries[1]);
    let (tags, gone) = (AtomicUsize::new(0), AtomicBool::new(false));
    let immutable = stage.expected.tags.len();
    let hook: Hook = Box::new(move |seen, moment| {
        let mut set = tags.load(Ordering::Relaxed);
        if moment == Moment::Answered && seen.tag().is_some() {
            set = tags.fetch_add(1, Ordering::Relaxed) + 1;
        }
        if phase.begins(seen, moment, set, immutable) && !gone.swap(true, Ordering::Relaxed) {
            registry.kill();
        }
    });
    let course = Course::new(&[], Some(hook));
    let (job, _proxies) = stage.job(&course);
    let before = stage.registries.each_ref().map(|registry| earlier_release(registry, &job))[0];
    if phase == Phase::Before {
        stage.registries[1].kill();
    }
    let ended = job.publish(&silence());
    stage.registries[1].run();

    let error = ended.outcome.expect_err("one registry is gone");
    let found = stage.expected.judge(&stage.registries, &job, Some(before));
    assert_eq!(found.wrong, Vec::<String>::new(), "{phase:?}");
    assert_eq!(stage.expected.early(&course.seen()), Vec::<String>::new(), "{phase:?}");
    assert!(phase.exit().is_none_or(|exit| exit == error.exit()), "{phase:?}: {error}");
    assert!(found.set == 0 || error.exit() == Exit::PublishPartly, "{phase:?}: {error}");
    assert!(error.to_string().contains("`two`"), "{phase:?}: {error}");

    job.publish(&silence()).outcome.expect("it is back");
    let found = stage.expected.judge(&stage.registries, &job, None);
    assert_eq!((found.wrong, found.missing), (Vec::new(), Vec::new()), "{phase:?}");
    assert_eq!(twice(&course.seen()).0, 0, "{phase:?}: what was there is not sent again");
}

#[test]
fn one_registry_is_gone_from_each_phase_on() {
    let stage = Stage::new();
    for phase in Phase::ALL {
        goes_in(phase, &stage);
    }
}
