//! The machine's own bad days: a full disk, a cache that cannot be written. Needs root, for mounts in a namespace.

use std::path::Path;

use crate::child::{Said, said, start};
use crate::support::faults::Course;
use crate::sweep::{Stage, silence};
use crate::world::Job;

/// The publisher in a mount namespace of its own, after these commands.
fn behind(mounts: &str, job: &Job) -> Said {
    let script = format!("set -e; {mounts}; exec \"$0\" \"$@\"");
    said(start(job, &["unshare", "--mount", "sh", "-c", &script])).expect("nobody kills it")
}

fn fresh(stage: &Stage, folder: &Path) -> (Job, [crate::support::faults::Proxy; 2]) {
    let (job, proxies) = stage.job(&Course::new(&[], None));
    let job = job.elsewhere(folder);
    for folder in [&job.cache, &job.state] {
        std::fs::create_dir_all(folder).expect("a folder");
    }
    (job, proxies)
}

fn is_published(stage: &Stage, job: &Job) {
    let found = stage.expected.judge(&stage.registries, job, None);
    assert_eq!((found.wrong, found.missing), (Vec::new(), Vec::new()));
}

#[test]
fn a_full_disk_is_told_and_nothing_is_tagged() {
    let stage = Stage::new();
    for size in ["16k", "256k", "1m", "2m"] {
        let own = tempfile::tempdir().expect("a folder");
        let (job, _proxies) = fresh(&stage, own.path());
        let said = behind(&format!("mount -t tmpfs -o size={size},mode=700 tmpfs '{}'", job.cache.display()), &job);
        assert_eq!(said.code, 6, "{size}: {}", said.text);
        assert!(said.text.contains("No space left") || said.text.contains("disk is full"), "{size}: {}", said.text);
        let found = stage.expected.judge(&stage.registries, &job, None);
        assert_eq!((found.wrong, found.set), (Vec::new(), 0), "{size}");
        job.publish(&silence()).outcome.expect("there is space now");
        is_published(&stage, &job);
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_enough_where_everything_is_known() {
    let stage = Stage::new();
    let own = tempfile::tempdir().expect("a folder");
    let (first, _proxies) = fresh(&stage, own.path());
    first.publish(&silence()).outcome.expect("it is published");
    let (again, _proxies) = stage.job(&Course::new(&[], None));
    let again = Job { cache: first.cache.clone(), state: first.state.clone(), ..again };
    let cache = again.cache.display();
    let said = behind(&format!("mount --bind '{cache}' '{cache}'; mount -o remount,bind,ro '{cache}'"), &again);
    assert_eq!((said.code, said.exported), (0, false), "{}", said.text);
    is_published(&stage, &again);
}

#[test]
fn an_empty_cache_that_cannot_be_written_is_told_or_does_without() {
    let stage = Stage::new();
    let own = tempfile::tempdir().expect("a folder");
    let (job, _proxies) = fresh(&stage, own.path());
    let cache = job.cache.display();
    let said = behind(&format!("mount --bind '{cache}' '{cache}'; mount -o remount,bind,ro '{cache}'"), &job);
    if said.code == 0 {
        is_published(&stage, &job);
    } else {
        assert_eq!(said.code, 6, "{}", said.text);
        assert!(said.text.contains("Read-only") && said.text.contains(&*cache.to_string()), "{}", said.text);
        let found = stage.expected.judge(&stage.registries, &job, None);
        assert_eq!((found.wrong, found.set), (Vec::new(), 0));
        job.publish(&silence()).outcome.expect("it can be written now");
        is_published(&stage, &job);
    }
}

/// What is wanted is written down before any tag is touched; what became of it may be lost with the disk.
#[test]
fn a_ledger_without_space_stops_before_the_tags_or_not_at_all() {
    let stage = Stage::new();
    let mut codes = std::collections::BTreeSet::new();
    for size in ["4k", "8k", "12k", "16k"] {
        let own = tempfile::tempdir().expect("a folder");
        let (job, _proxies) = fresh(&stage, own.path());
        let said = behind(&format!("mount -t tmpfs -o size={size},mode=700 tmpfs '{}'", job.state.display()), &job);
        codes.insert(said.code);
        if said.code == 0 {
            is_published(&stage, &job);
            continue;
        }
        assert_eq!(said.code, 6, "{size}: {}", said.text);
        assert!(said.text.contains("ledger") && said.text.contains("No space left"), "{size}: {}", said.text);
        let found = stage.expected.judge(&stage.registries, &job, None);
        assert_eq!((found.wrong, found.set), (Vec::new(), 0), "{size}");
        job.publish(&silence()).outcome.expect("there is space now");
        is_published(&stage, &job);
    }
    assert!(codes.contains(&6), "{codes:?}");
}
