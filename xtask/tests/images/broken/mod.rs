//! Images that are broken on purpose: `smoke` fails at the right check, with the right words, and at nothing else.

mod cases;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use self::cases::{Case, STILL, cases};
use crate::docker::try_docker;
use crate::family::image;
use crate::smoke::{checks, report, smoke};

/// An image that is broken on purpose.
pub(crate) struct Broken {
    pub(crate) tag: String,
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
        Self { tag }
    }
}

impl Drop for Broken {
    fn drop(&mut self) {
        try_docker(&["rmi", "--force", &self.tag]);
    }
}

#[test]
fn every_broken_image_fails_where_it_is_broken_and_nowhere_else() {
    let only = std::env::var("GANTRY_BROKEN").ok();
    let cases: Vec<Case> =
        cases().into_iter().filter(|case| only.as_ref().is_none_or(|only| case.name.contains(only.as_str()))).collect();
    let (todo, wrong) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    let next = || todo.lock().expect("nobody panicked").next();
    let work = || {
        while let Some(case) = next() {
            let state = tempfile::tempdir().expect("a folder");
            let broken = Broken::new(case.name, case.from, &case.dockerfile);
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
}
