//! `kill -9` at any moment, then again: on the same machine, and on one that knows nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use xtask::oci::Digest;
use xtask::publish::PublishError;

use crate::child::{said, start};
use crate::family::VARIANTS;
use crate::judge::{Read, behind, earlier_release, twice};
use crate::support::faults::{Course, Moment};
use crate::sweep::{Dice, Stage, is_all, seed, silence};
use crate::world::{Job, NAMES};

/// When a publisher is killed.
#[derive(Debug, Clone, Copy)]
enum When {
    /// With this request.
    Request(usize, Moment),
    /// So long after its start.
    Time(Duration),
}

/// What many kills came to.
#[derive(Debug, Default)]
struct Sum {
    killed: usize,
    /// It was done before.
    spared: usize,
    wrong: Vec<String>,
    /// The second run did not finish the job.
    unfinished: Vec<String>,
    /// Bytes of blobs that the registry had already.
    needless: u64,
    /// Bytes of blobs that were on their way when it was killed.
    cut: u64,
    /// Kills after which nothing had to be exported again.
    kept: usize,
}

/// Where it is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// With the ledger and the cache.
    Here,
    /// With neither.
    Elsewhere,
    /// With neither, and the images were built anew, to other bytes.
    Rebuilt,
    /// With neither, and the engine has no image.
    Unbuilt,
}

fn kill(stage: &Stage, when: When, again: Again, sum: &mut Sum) {
    let victim: Arc<Mutex<Option<u32>>> = Arc::default();
    let shoot = |victim: &Mutex<Option<u32>>| {
        let pid = victim.lock().expect("the victim").take();
        if let Some(pid) = pid.and_then(|pid| rustix::process::Pid::from_raw(pid.cast_signed())) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        }
    };
    let hook: Option<crate::support::faults::Hook> = match when {
        When::Request(index, moment) => {
            let victim = Arc::clone(&victim);
            Some(Box::new(move |seen, now| {
                if seen.index == index && now == moment {
                    shoot(&victim);
                }
            }))
        }
        When::Time(_) => None,
    };
    let course = Course::new(&[], hook);
    let (job, _proxies) = stage.job(&course);
    // A cache of its own: it may be killed while it exports or compresses.
    let own = tempfile::tempdir().expect("a folder");
    let job = job.elsewhere(own.path());
    let before = stage.registries.each_ref().map(|registry| earlier_release(registry, &job))[0];
    // The proxies serve nobody before the victim is known: its number is there when its first request is.
    let mut known = victim.lock().expect("the victim");
    let mut child = start(&job, &[]);
    *known = Some(child.id());
    drop(known);
    if let When::Time(after) = when {
        std::thread::sleep(after);
        shoot(&victim);
    }
    let status = child.wait().expect("it ends");
    *victim.lock().expect("the victim") = None;
    if status.code().is_some() {
        sum.spared += 1
    } else {
        sum.killed += 1
    }
    let mut wrong = stage.expected.judge(&stage.registries, &job, Some(before)).wrong;

    wrong.extend(contradictions(stage, &job));

    let other = tempfile::tempdir().expect("a folder");
    let adoptable = fixed(stage, &job);
    let next = match again {
        Again::Here => job.clone(),
        Again::Elsewhere => job.elsewhere(other.path()),
        Again::Rebuilt => Job { build: Some(2), ..job.elsewhere(other.path()) },
        Again::Unbuilt => Job { build: None, ..job.elsewhere(other.path()) },
    };
    let mut ended = next.publish(&silence());
    if again == Again::Unbuilt && adoptable.len() < VARIANTS.len() {
        // What is in no registry cannot be finished without it: that is said, and the machine that has it does.
        match ended.outcome {
            Err(PublishError::Missing { .. }) => ended = job.publish(&silence()),
            ref other => sum.unfinished.push(format!("{when:?}: images from nowhere: {other:?}")),
        }
    }
    let expected = match again {
        Again::Rebuilt => stage.expected.with(fixed(stage, &job)),
        _ => stage.expected.clone(),
    };
    if again == Again::Rebuilt {
        let kept = adoptable.iter().all(|(tag, digest)| expected.tags.get(tag) == Some(digest));
        wrong.extend((!kept).then(|| format!("an immutable tag has moved: {adoptable:?}, {:?}", expected.tags)));
    }
    let found = expected.judge(&stage.registries, &job, None);
    let seen = course.seen();
    wrong.extend(found.wrong);
    if again != Again::Rebuilt {
        wrong.extend(expected.early(&seen));
    }
    sum.wrong.extend(wrong.into_iter().map(|wrong| format!("{when:?}: {wrong}")));
    if let Err(error) = ended.outcome {
        sum.unfinished.push(format!("{when:?}: {error}"));
    } else if !found.missing.is_empty() {
        sum.unfinished.push(format!("{when:?}: success, but not set: {}", found.missing.join(", ")));
    }
    let (needless, cut) = twice(&seen);
    sum.needless += needless;
    sum.cut += cut;
    sum.kept += usize::from(!ended.exported);
}

/// The immutable tags that are set anywhere.
fn fixed(stage: &Stage, job: &Job) -> BTreeMap<String, Digest> {
    let tags = job.tags().into_iter().filter(|(_, is_immutable)| *is_immutable);
    let find = |tag: &String| {
        stage
            .registries
            .iter()
            .find_map(|registry| Some(behind(&registry.address, &job.repository, tag, &mut Read::new()).ok()?.0))
    };
    tags.filter_map(|(tag, _)| Some((tag.clone(), find(&tag)?))).collect()
}

/// What the ledger says was done and was not; that it cannot be read.
fn contradictions(stage: &Stage, job: &Job) -> Vec<String> {
    let ledger = match job.ledger() {
        Ok(ledger) => ledger,
        Err(error) => return vec![format!("{error}: {}", error.why())],
    };
    let mut contradictions = Vec::new();
    for line in ledger.view().pushed() {
        let place = NAMES.iter().position(|name| *name == line.destination).expect("a destination");
        let tag = line.reference.rsplit(':').next().unwrap_or_default();
        let found = behind(&stage.registries[place].address, &job.repository, tag, &mut Read::new()).map(|(digest, _)| digest);
        if found.as_ref() != Ok(&line.digest) {
            contradictions.push(format!("the ledger says that {} is {}: {found:?}", line.reference, line.digest));
        }
    }
    contradictions
}

/// Half of them with a certain request, half at a certain time: before the first request there is work, too.
fn kills(again: Again, all: u32, sample: u32, seed: u64) {
    let stage = Stage::new();
    let mut dice = Dice(seed);
    let typical = {
        let (job, _proxies) = stage.job(&Course::new(&[], None));
        let own = tempfile::tempdir().expect("a folder");
        let started = Instant::now();
        let said = said(start(&job.elsewhere(own.path()), &[])).expect("nobody kills it");
        assert_eq!((said.code, said.exported), (0, true), "{}", said.text);
        started.elapsed()
    };
    let (mut sum, started) = (Sum::default(), Instant::now());
    for number in 0..if is_all() { all } else { sample } {
        let when = if number % 2 == 0 {
            let moment = [Moment::Arrived, Moment::Halfway, Moment::Answered][dice.below(3)];
            When::Request(dice.below(stage.requests), moment)
        } else {
            When::Time(typical.mul_f64(dice.below(1000) as f64 / 1000.0))
        };
        kill(&stage, when, again, &mut sum);
    }
    let Sum { killed, spared, wrong, unfinished, needless, cut, kept } = &sum;
    println!(
        "\nkill -9, then {again:?}: {killed} killed, {spared} had ended before; wrong end states {}, not finished {}, \
         bytes sent though they were there {needless}, bytes cut off and sent again {cut}, {kept} without another export; {} s",
        wrong.len(),
        unfinished.len(),
        started.elapsed().as_secs()
    );
    assert_eq!((wrong, unfinished, *needless), (&Vec::new(), &Vec::new(), 0));
}

#[test]
fn a_killed_publisher_is_finished_by_the_next_one() {
    kills(Again::Here, 300, 6, seed() + 2);
}

#[test]
fn a_killed_publisher_is_finished_on_a_machine_that_knows_nothing() {
    kills(Again::Elsewhere, 100, 3, seed() + 3);
}

#[test]
fn a_killed_publisher_is_finished_with_what_it_had_begun_even_where_others_were_built() {
    kills(Again::Rebuilt, 100, 4, seed() + 5);
}

#[test]
fn a_killed_publisher_is_finished_without_an_engine_once_every_image_has_an_immutable_tag() {
    kills(Again::Unbuilt, 100, 4, seed() + 6);
}
