//! `kill -9` at any moment, then again: on the same machine, and on one that knows nothing.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::child::{said, start};
use crate::judge::{earlier_release, twice};
use crate::support::faults::{Course, Moment};
use crate::sweep::{Dice, Stage, is_all, seed, silence};

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

#[derive(Clone, Copy)]
enum Again {
    /// With the ledger and the cache.
    Here,
    /// With neither.
    Elsewhere,
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

    let other = tempfile::tempdir().expect("a folder");
    let job = match again {
        Again::Here => job,
        Again::Elsewhere => job.elsewhere(other.path()),
    };
    let ended = job.publish(&silence());
    let found = stage.expected.judge(&stage.registries, &job, None);
    let seen = course.seen();
    wrong.extend(found.wrong);
    wrong.extend(stage.expected.early(&seen));
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

/// Half of them with a certain request, half at a certain time: before the first request there is work, too.
fn kills(again: Again, title: &str, seed: u64) {
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
    for number in 0..if is_all() { 150 } else { 6 } {
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
        "\nkill -9, {title}: {killed} killed, {spared} had ended before; wrong end states {}, not finished {}, \
         bytes sent though they were there {needless}, bytes cut off and sent again {cut}, {kept} without another export; {} s",
        wrong.len(),
        unfinished.len(),
        started.elapsed().as_secs()
    );
    assert_eq!((wrong, unfinished, *needless), (&Vec::new(), &Vec::new(), 0));
}

#[test]
fn a_killed_publisher_is_finished_by_the_next_one() {
    kills(Again::Here, "ledger and cache kept", seed() + 2);
}

#[test]
fn a_killed_publisher_is_finished_on_a_machine_that_knows_nothing() {
    kills(Again::Elsewhere, "ledger and cache lost", seed() + 3);
}
