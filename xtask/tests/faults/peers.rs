//! What other programs make of the same faults: one image (`aws`, three layers) to one registry, one fault per publish.
//! For comparison only, so it is no part of the suite: `tests/faults.sh peers --ignored`. Needs skopeo and an engine; crane
//! where the environment variable `CRANE` names it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::family::Export;
use crate::judge::{Read, behind, words};
use crate::support::faults::{Course, Kind, Proxy};
use crate::support::registry::{LocalRegistry, run};
use crate::sweep::{Dice, is_all, seed};

/// A program that publishes, or the words for one.
struct Peer {
    name: &'static str,
    /// Whether it said that it was done.
    push: Box<dyn Fn(&str) -> bool + Sync>,
}

fn says_yes(program: &str, args: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

fn peers(archive: &Path) -> Vec<Peer> {
    let archive = archive.display().to_string();
    let of_crane = archive.clone();
    let skopeo = move |to: &str| {
        let from = format!("docker-archive:{archive}:faults:aws");
        says_yes("skopeo", &["copy", "-q", "--retry-times=3", "--dest-tls-verify=false", &from, &format!("docker://{to}")])
    };
    let docker = |to: &str| {
        run("docker", &["tag", "faults:aws", to]);
        let done = says_yes("docker", &["push", "-q", to]);
        run("docker", &["rmi", to]);
        done
    };
    let mut peers = vec![
        Peer { name: "skopeo --retry-times=3", push: Box::new(skopeo) },
        Peer { name: "docker push", push: Box::new(docker) },
    ];
    if let Ok(crane) = std::env::var("CRANE") {
        peers.push(Peer { name: "crane", push: Box::new(move |to| says_yes(&crane, &["push", "--insecure", &of_crane, to])) });
    }
    peers
}

/// The requests of a publish, those with a body, whether it was told as done, whether it was.
fn publish(peer: &Peer, registry: &LocalRegistry, faults: &[(usize, Kind)]) -> (usize, usize, bool, bool) {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let course = Course::new(faults, None);
    let proxy = Proxy::start(&course, 0, &registry.address);
    let repository = format!("peers/{}", NEXT.fetch_add(1, Ordering::Relaxed));
    let told = (peer.push)(&format!("{}/{repository}:aws", proxy.address));
    let is_there = behind(&registry.address, &repository, "aws", &mut Read::new()).is_ok();
    let seen = course.seen();
    (seen.len(), seen.iter().filter(|seen| seen.bytes > 0).count(), told, is_there)
}

#[test]
#[ignore = "other programs, for comparison"]
fn peers_under_the_same_faults() {
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("images.tar");
    fs::write(&archive, &Export::of("one", 1).archive).expect("the archive");
    let one = folder.path().join("aws.tar");
    run("docker", &["load", "-q", "-i", &archive.display().to_string()]);
    run("docker", &["save", "-o", &one.display().to_string(), "faults:aws"]);
    let registry = LocalRegistry::start(None);
    let peers = peers(&one);
    std::thread::scope(|scope| {
        for peer in &peers {
            let registry = &registry;
            scope.spawn(move || {
                let (requests, bodies, ..) = publish(peer, registry, &[]);
                let mut dice = Dice(seed() + 8);
                let (mut all, mut well, mut lies) = (0, 0, 0);
                let mut failed = std::collections::BTreeMap::<&str, usize>::new();
                for kind in Kind::ALL {
                    let places = if kind.wants_body() { bodies } else { requests };
                    let sample: Vec<usize> =
                        if is_all() { (0..places).collect() } else { (0..4).map(|_| dice.below(places)).collect() };
                    for place in sample {
                        let (.., told, is_there) = publish(peer, registry, &[(place, kind)]);
                        all += 1;
                        well += usize::from(told && is_there);
                        lies += usize::from(told && !is_there);
                        *failed.entry(words(kind)).or_default() += usize::from(!told);
                    }
                }
                failed.retain(|_, failed| *failed > 0);
                println!(
                    "{}: {requests} requests; {all} publishes, {well} ({} %) ended well, {lies} false successes; failed {failed:?}",
                    peer.name,
                    well * 100 / all
                );
            });
        }
    });
    for (variant, _) in crate::family::VARIANTS {
        run("docker", &["rmi", "-f", &format!("faults:{variant}")]);
    }
}
