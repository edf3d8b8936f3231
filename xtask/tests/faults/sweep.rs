//! One fault per publish, at every request, of every kind.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use xtask::event::Events;
use xtask::failure::Exit;

use crate::judge::{Expected, copied, earlier_release, twice, without_sbom, words};
use crate::support::faults::{Course, Hook, Kind, Proxy, Seen};
use crate::support::registry::LocalRegistry;
use crate::world::{Job, Silence};

/// Where a sweep takes place.
pub(crate) struct Stage {
    pub(crate) registries: [Arc<LocalRegistry>; 2],
    pub(crate) folder: TempDir,
    pub(crate) expected: Expected,
    /// Requests of a publish that nothing disturbs; those of them with a body.
    pub(crate) requests: usize,
    pub(crate) bodies: usize,
    /// A repository that has it all.
    source: String,
}

/// What a publish finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scene {
    /// The engine has the images, the registries an earlier release.
    Fresh,
    /// The first registry has the release, the second an earlier one; this machine has nothing at all.
    Adopt,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Stage {
    /// Publishes once without any fault, to see what there should be and how many requests it takes.
    pub(crate) fn new() -> Self {
        let registries = [LocalRegistry::start(None), LocalRegistry::start(None)];
        let folder = tempfile::tempdir().expect("a folder");
        let mut stage = Self { registries, folder, expected: Expected::default(), requests: 0, bodies: 0, source: String::new() };
        let course = Course::new(&[], None);
        let (job, _proxies) = stage.job(&course);
        for registry in &stage.registries {
            earlier_release(registry, &job);
        }
        job.publish(&silence()).outcome.expect("nothing disturbs it");
        stage.expected = Expected::learn(&stage.registries[0], &job);
        assert_eq!(stage.expected.judge(&stage.registries, &job, None).missing, Vec::<String>::new());
        let seen = course.seen();
        assert_eq!(stage.expected.early(&seen), Vec::<String>::new());
        stage.requests = seen.len();
        stage.bodies = seen.iter().filter(|request| request.bytes > 0).count();
        stage.source = job.repository;
        stage
    }

    /// A place by chance for a fault of this kind.
    fn place(&self, dice: &mut Dice, kind: Kind) -> usize {
        dice.below(if kind.wants_body() { self.bodies } else { self.requests })
    }

    /// Every fault of one publish, or a sample of it.
    fn faults(&self, seed: u64, each: usize) -> Vec<(usize, Kind)> {
        let mut dice = Dice(seed);
        let places = |kind: Kind| if kind.wants_body() { self.bodies } else { self.requests };
        if !is_all() {
            // Every kind equally often, at places that the seed chooses.
            let kinds = Kind::ALL.into_iter().flat_map(|kind| std::iter::repeat_n(kind, each));
            return kinds.map(|kind| (self.place(&mut dice, kind), kind)).collect();
        }
        let mut all: Vec<_> = Kind::ALL.into_iter().flat_map(|kind| (0..places(kind)).map(move |place| (place, kind))).collect();
        // Shuffled: whoever stops it early has a fair sample.
        for last in (1..all.len()).rev() {
            all.swap(last, dice.below(last + 1));
        }
        all
    }

    /// A publish to fresh repositories, behind proxies.
    pub(crate) fn job(&self, course: &Arc<Course>) -> (Job, [Proxy; 2]) {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let proxies = [0, 1].map(|to| Proxy::start(course, to, &self.registries[to].address));
        let job = Job {
            addresses: proxies.each_ref().map(|proxy| proxy.address.clone()),
            repository: format!("faults/{number}"),
            // What a fault does to a registry does not depend on the cache: one for all.
            cache: self.folder.path().join("cache"),
            state: self.folder.path().join(format!("state-{number}")),
            release: "one".to_owned(),
            build: Some(1),
            stamp: "2026.11.20-3f2c1ab".to_owned(),
        };
        (job, proxies)
    }
}

pub(crate) fn silence() -> Events {
    Arc::new(Silence)
}

/// What a publish under faults came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trial {
    pub(crate) wrong: Vec<String>,
    pub(crate) lies: Vec<String>,
    pub(crate) first: bool,
    pub(crate) second: bool,
    pub(crate) needless: u64,
    pub(crate) needed: u64,
    pub(crate) told: String,
    pub(crate) seen: Vec<Seen>,
}

/// One publish under these faults, and, where it failed, a second one under none.
pub(crate) fn trial(stage: &Stage, scene: Scene, faults: &[(usize, Kind)], hook: Option<Hook>) -> Trial {
    let course = Course::new(faults, hook);
    let (job, proxies) = stage.job(&course);
    let own = tempfile::tempdir().expect("a folder");
    let before = earlier_release(&stage.registries[1], &job);
    let (job, whole, set_before): (_, &[usize], _) = match scene {
        Scene::Fresh => {
            earlier_release(&stage.registries[0], &job);
            (job, &[], 0)
        }
        Scene::Adopt => {
            copied(&stage.registries[0], &stage.source, &job, &stage.expected);
            (Job { build: None, ..job.elsewhere(own.path()) }, &[0], stage.expected.tags.len())
        }
    };
    let mut trial = Trial::default();
    let run = |job: &Job, course: &Course, trial: &mut Trial| {
        let ended = job.publish(&silence());
        let found = stage.expected.judge(&stage.registries, job, Some(before));
        trial.wrong.extend(found.wrong);
        // What was adopted may lack it until the end.
        if ended.outcome.is_ok() || scene == Scene::Fresh {
            trial.wrong.extend(without_sbom(&stage.registries, job, &stage.expected));
        }
        trial.wrong.extend(stage.expected.early_but_for(&course.seen(), whole));
        let lie = match &ended.outcome {
            Ok(_) if !found.missing.is_empty() => Some(format!("success, but not set: {}", found.missing.join(", "))),
            Ok(published) => {
                let said = published.images.iter().all(|image| {
                    image.destinations.values().flatten().all(|tag| {
                        let name = tag.reference.rsplit_once(':').map(|(_, name)| name).unwrap_or_default();
                        stage.expected.tags.get(name) == Some(&image.digest)
                    })
                });
                (!said).then(|| format!("success with other digests: {published:?}"))
            }
            Err(error) => match error.exit() {
                Exit::PublishUntagged if found.set > set_before => {
                    Some(format!("`nothing was tagged`, but {} are: {error}", found.set))
                }
                Exit::PublishUntagged | Exit::PublishPartly => None,
                other => Some(format!("{other:?}: {error}")),
            },
        };
        trial.lies.extend(lie);
        if let Err(error) = &ended.outcome {
            trial.told = error.to_string();
        }
        ended.outcome.is_ok()
    };
    trial.first = run(&job, &course, &mut trial);
    trial.second = trial.first;
    if !trial.first {
        // The first run's proxies, so that they know what was sent; their plan is used up but for what was not reached.
        course.forgive();
        trial.second = run(&job, &course, &mut trial);
    }
    drop(proxies);
    trial.seen = course.seen();
    (trial.needless, trial.needed) = twice(&trial.seen);
    trial
}

/// What all trials of one kind came to.
#[derive(Debug, Clone, Copy, Default)]
struct Row {
    publishes: usize,
    wrong: usize,
    lies: usize,
    first: usize,
    second: usize,
    needless: u64,
    needed: u64,
}

/// The last row: it is sorted behind the kinds.
const ALL: &str = "~ in all";

/// The table, and what was not as it should be.
#[derive(Default)]
pub(crate) struct Table {
    rows: BTreeMap<String, Row>,
    pub(crate) findings: Vec<String>,
}

impl Table {
    pub(crate) fn add(&mut self, name: &str, faults: &[(usize, Kind)], trial: &Trial) {
        for row in [name, ALL] {
            let row = self.rows.entry(row.to_owned()).or_default();
            row.publishes += 1;
            row.wrong += usize::from(!trial.wrong.is_empty());
            row.lies += usize::from(!trial.lies.is_empty());
            row.first += usize::from(trial.first);
            row.second += usize::from(trial.second);
            row.needless += trial.needless;
            row.needed += trial.needed;
        }
        let bad = !trial.wrong.is_empty() || !trial.lies.is_empty() || !trial.first || trial.needless > 0;
        if bad {
            let hit = trial.seen.iter().filter_map(|seen| Some(format!("{} {:?}", seen.request, seen.fault?)));
            let hit = hit.collect::<Vec<_>>().join(", ");
            let Trial { wrong, lies, first, second, needless, told, .. } = trial;
            self.findings.push(format!(
                "{faults:?} [{hit}] first {first}, second {second}, sent twice {needless}, wrong {wrong:?}, lies {lies:?}: {told}"
            ));
        }
    }

    fn publishes(&self) -> usize {
        self.rows.get(ALL).map_or(0, |row| row.publishes)
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = format!(
            "{:<22}{:>10}{:>7}{:>15}{:>16}{:>13}{:>13}{:>15}\n",
            "fault", "publishes", "wrong", "false success", "well at first", "at a second", "sent twice B", "again, lost B"
        );
        for (name, row) in &self.rows {
            let share = |count: usize| format!("{count} ({} %)", count * 100 / row.publishes.max(1));
            let Row { publishes, wrong, lies, first, second, needless, needed } = *row;
            let _ = writeln!(
                text,
                "{:<22}{publishes:>10}{wrong:>7}{lies:>15}{:>16}{:>13}{needless:>13}{needed:>15}",
                name.trim_start_matches("~ "),
                share(first),
                share(second)
            );
        }
        text
    }
}

/// How much is done: a sample, or everything (`GANTRY_FAULTS=all`).
pub(crate) fn is_all() -> bool {
    std::env::var("GANTRY_FAULTS").is_ok_and(|value| value == "all")
}

/// Numbers that are the same every time.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or_default() % end.max(1)
    }
}

pub(crate) fn seed() -> u64 {
    std::env::var("GANTRY_FAULTS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_120)
}

/// `GANTRY_FAULTS_PART=2/6`: the second of six parts that are all faults together, for a machine that is not free for an hour.
fn part(all: Vec<(usize, Kind)>) -> Vec<(usize, Kind)> {
    let Ok(text) = std::env::var("GANTRY_FAULTS_PART") else { return all };
    let numbers =
        text.split_once('/').and_then(|(part, parts)| Some((part.parse::<usize>().ok()?, parts.parse::<usize>().ok()?)));
    let (part, parts) = numbers.filter(|(part, parts)| (1..=*parts).contains(part)).expect("GANTRY_FAULTS_PART is like 2/6");
    all.into_iter().skip(part - 1).step_by(parts).collect()
}

#[test]
fn one_fault_leaves_no_wrong_tag_and_needs_no_second_run() {
    let stage = Stage::new();
    let all = part(stage.faults(seed(), 3));
    sweep(&stage, Scene::Fresh, &all, "one fault per publish");
}

/// A lost machine: the new one has neither images nor a cache, and one registry has the release.
#[test]
fn one_fault_leaves_no_wrong_tag_where_a_release_is_copied_from_one_registry_to_the_other() {
    let mut stage = Stage::new();
    let trial = trial(&stage, Scene::Adopt, &[], None);
    assert!(trial.first && trial.wrong.is_empty() && trial.lies.is_empty(), "{trial:?}");
    stage.requests = trial.seen.len();
    stage.bodies = trial.seen.iter().filter(|request| request.bytes > 0).count();
    let all = part(stage.faults(seed() + 7, 2));
    sweep(&stage, Scene::Adopt, &all, "one fault per publish that copies a release to the other registry");
}

/// What comes damaged is neither believed nor taken for another image's.
#[test]
fn a_blob_that_comes_damaged_is_read_again() {
    let stage = Stage::new();
    let undisturbed = trial(&stage, Scene::Adopt, &[], None);
    let reads = undisturbed
        .seen
        .iter()
        .enumerate()
        .filter(|(_, seen)| seen.request.starts_with("GET ") && seen.request.contains("/blobs/"));
    let reads: Vec<usize> = reads.map(|(place, _)| place).collect();
    assert!(reads.len() >= 4, "{:?}", undisturbed.seen);
    for place in reads {
        let trial = trial(&stage, Scene::Adopt, &[(place, Kind::Garbled)], None);
        assert!(trial.first && trial.wrong.is_empty() && trial.lies.is_empty(), "{place}: {trial:?}");
    }
}

fn sweep(stage: &Stage, scene: Scene, all: &[(usize, Kind)], title: &str) {
    let table = Mutex::new(Table::default());
    let (started, next) = (Instant::now(), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        // They wait for each other's registries more than they work.
        for _ in 0..4 {
            scope.spawn(|| {
                while let Some(fault) = all.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let trial = trial(stage, scene, &[*fault], None);
                    let mut table = table.lock().expect("the table");
                    table.add(words(fault.1), &[*fault], &trial);
                    if table.publishes().is_multiple_of(100) {
                        println!("{} of {}\n{}\n{:?}", table.publishes(), all.len(), table.text(), table.findings);
                    }
                }
            });
        }
    });
    let table = table.into_inner().expect("the table");
    report(title, stage, &table, started.elapsed());
    assert_eq!(table.findings, Vec::<String>::new());
}

#[test]
fn two_faults_leave_no_wrong_tag() {
    let stage = Stage::new();
    let mut dice = Dice(seed() + 1);
    let mut table = Table::default();
    let started = Instant::now();
    for _ in 0..if is_all() { 400 } else { 15 } {
        let faults = [0, 1].map(|_| {
            let kind = Kind::ALL[dice.below(Kind::ALL.len())];
            (stage.place(&mut dice, kind), kind)
        });
        let trial = trial(&stage, Scene::Fresh, &faults, None);
        table.add("two at once", &faults, &trial);
    }
    report("two faults per publish", &stage, &table, started.elapsed());
    assert_eq!(table.findings, Vec::<String>::new());
}

/// For who runs it with `--nocapture`, and for the script.
fn report(title: &str, stage: &Stage, table: &Table, took: Duration) {
    println!("\n{title}: {} requests, {} with a body; {} s", stage.requests, stage.bodies, took.as_secs());
    println!("{}", table.text());
    for finding in &table.findings {
        println!("- {finding}");
    }
}
