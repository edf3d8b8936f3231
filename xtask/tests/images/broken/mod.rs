//! Images that are broken on purpose: `smoke` fails at the right check, with the right words, and at nothing else.

mod cases;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use self::cases::{Case, STILL, cases};
use crate::docker::{docker, try_docker};
use crate::family::image;
use crate::smoke::{checks, report, smoke};

/// An image that is broken on purpose.
pub(crate) struct Broken {
    pub(crate) tag: String,
    /// What the engine calls it.
    id: String,
}

impl Broken {
    pub(crate) fn new(name: &str, from: &str, dockerfile: &str) -> Self {
        let tag =
            format!("gantry-test-broken-{}:{}", std::process::id(), name.replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        let mut build = Command::new("docker");
        // The classic builder asks no registry for a local name.
        build.args(["build", "--quiet", "--force-rm", "--tag", &tag, "-"]).env("DOCKER_BUILDKIT", "0");
        let mut build = build.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("docker runs");
        let text = format!("FROM {}\n{dockerfile}\n", image(from));
        build.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("docker reads");
        let built = build.wait_with_output().expect("docker ends");
        assert!(built.status.success(), "{name}: {}", String::from_utf8_lossy(&built.stderr));
        Self { tag, id: String::from_utf8_lossy(&built.stdout).trim().to_owned() }
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        try_docker(&["rmi", "--force", &self.tag]);
    }
}

/// Listens to the engine, which tells everybody of which image a container is made, and for which run.
struct Containers(Child);

impl Containers {
    fn listen() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs().to_string();
        let format = "{{index .Actor.Attributes \"image\"}} {{index .Actor.Attributes \"gantry.smoke\"}}";
        let mut events = Command::new("docker");
        events.args(["events", "--since", &now, "--filter", "type=container", "--filter", "event=create"]);
        events.args(["--filter", "label=gantry.smoke", "--format", format]).stdout(Stdio::piped());
        Self(events.spawn().expect("docker runs"))
    }

    /// The runs that made one of these images.
    fn runs(mut self, images: &BTreeSet<String>) -> BTreeSet<String> {
        self.0.kill().ok();
        let heard = self.0.wait_with_output().expect("it ends").stdout;
        let pairs = String::from_utf8_lossy(&heard);
        let pairs = pairs.lines().filter_map(|line| line.split_once(' '));
        pairs.filter(|(image, _)| images.contains(*image)).map(|(_, run)| run.to_owned()).collect()
    }
}

/// The runs of which a container or a network is there.
fn still_there() -> BTreeSet<String> {
    let label = ["--filter", "label=gantry.smoke", "--format", "{{.Label \"gantry.smoke\"}}"];
    let listed = docker(&[&["ps", "-a"], &label[..]].concat()) + &docker(&[&["network", "ls"], &label[..]].concat());
    listed.lines().map(str::to_owned).collect()
}

#[test]
fn every_broken_image_fails_where_it_is_broken_and_nowhere_else() {
    let only = std::env::var("GANTRY_BROKEN").ok();
    let cases: Vec<Case> =
        cases().into_iter().filter(|case| only.as_ref().is_none_or(|only| case.name.contains(only.as_str()))).collect();
    let (todo, wrong, images) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()), Mutex::new(BTreeSet::new()));
    let containers = Containers::listen();
    let next = || todo.lock().expect("nobody panicked").next();
    let work = || {
        while let Some(case) = next() {
            let state = tempfile::tempdir().expect("a folder");
            let broken = Broken::new(case.name, case.from, &case.dockerfile);
            images.lock().expect("nobody panicked").insert(broken.id.clone());
            let patience = case.patience.to_string();
            let mut args = vec!["--variant", case.from, "--image", &broken.tag, "--patience", &patience];
            if !case.tries.is_empty() {
                args.extend(STILL.iter().chain(case.tries).flat_map(|check| ["--only", check]));
            }
            let output = smoke(state.path(), &args).output().expect("xtask runs");
            let report = report(&output);
            let failed = checks(&report, "failed");
            let expected: Vec<&str> = case.fails.iter().map(|(name, _)| *name).collect();
            let found: Vec<&str> = failed.iter().map(|(name, _)| name.as_str()).collect();
            let said = failed.iter().zip(&case.fails).all(|((_, message), (_, words))| message.contains(words));
            println!("{}: {} s", case.name, report["seconds"]);
            if found != expected || !said || output.status.code() != Some(5) {
                wrong.lock().expect("nobody panicked").push(format!("{}: {:?} {failed:#?}", case.name, output.status.code()));
            }
            // It is nobody's image: nothing remembers it.
            assert!(!state.path().join("gantry/smoke").exists());
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(work);
        }
    });
    let wrong = wrong.into_inner().expect("nobody panicked");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(only.is_some() || cases.len() >= 15);
    // What a run has started is gone when it has failed.
    let runs = containers.runs(&images.into_inner().expect("nobody panicked"));
    assert!(only.is_some() || runs.len() >= 15, "{runs:?}");
    let there = still_there();
    let left: Vec<&String> = there.intersection(&runs).collect();
    assert!(left.is_empty(), "{left:?}");
}
