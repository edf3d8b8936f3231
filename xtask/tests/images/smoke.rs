//! `cargo xtask smoke`: the real images pass and are remembered, growth is measured, nothing is left behind. (Images that are
//! broken on purpose: `broken`.)

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::broken::Broken;
use crate::docker::docker;
use crate::family::{VARIANTS, image, root};

/// `cargo xtask --format json smoke …` with a state folder of its own.
pub(crate) fn smoke(state: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
    command.current_dir(root()).args(["--format", "json", "smoke", "--profile", "offline"]).args(args);
    // A destination where nothing answers: the last release is not looked for beyond this machine.
    command.args(["--destination", "none=127.0.0.1:9/none"]).env("XDG_STATE_HOME", state).env_remove("CI");
    command
}

pub(crate) fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The checks of the first image that ended so: name and message.
pub(crate) fn checks(report: &Value, outcome: &str) -> Vec<(String, String)> {
    let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
    let checks = report["images"][0]["checks"].as_array().expect("checks");
    let ended = checks.iter().filter(|check| check["outcome"] == outcome);
    ended.map(|check| (text(check, "name"), text(check, "message"))).collect()
}

/// Containers and networks of the run that is named in them.
fn left(label: &str) -> String {
    let filter = format!("label={label}");
    docker(&["ps", "-aq", "--filter", &filter]) + &docker(&["network", "ls", "-q", "--filter", &filter])
}

#[test]
fn the_real_images_pass_and_are_remembered() {
    image("aws");
    let folder = tempfile::tempdir().expect("a folder");
    let junit = folder.path().join("junit.xml");
    let args = ["--all", "--junit", junit.to_str().expect("a path")];
    let output = smoke(folder.path(), &args).output().expect("xtask runs");
    let first = report(&output);
    for (at, image) in first["images"].as_array().expect("images").iter().enumerate() {
        let checks = image["checks"].as_array().expect("checks");
        let failed: Vec<&Value> = checks.iter().filter(|check| check["outcome"] == "failed").collect();
        assert!(failed.is_empty(), "{}: {failed:#?}", image["variant"]);
        let count = |outcome: &str| checks.iter().filter(|check| check["outcome"] == outcome).count();
        assert!(count("passed") >= 40, "{image:#}");
        // What no other test asks of them.
        let own = if image["variant"].as_str().is_some_and(|name| name.starts_with("aws")) { "tool aws" } else { "tool az" };
        let asked = ["ansible", "ansible-lint", "curl", "gh", "git", "jq"].map(|tool| format!("tool {tool}"));
        let others = [own, "sudo of the person", "Windows by Kerberos and PSRP", "collections", "users", "runner rights"];
        for name in asked.iter().map(String::as_str).chain(others) {
            assert!(checks.iter().any(|check| check["name"] == name && check["outcome"] == "passed"), "{name}: {image:#}");
        }
        // In the order of their names.
        let mut variants = VARIANTS;
        variants.sort_unstable();
        assert_eq!(image["variant"], variants[at]);
        println!("{}: {} s", image["variant"], image["seconds"]);
    }
    println!("all: {} s", first["seconds"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let parsed = "import sys, xml.etree.ElementTree as e; r = e.parse(sys.argv[1]).getroot(); \
                  print(len(r), r.get('failures'), len(r.findall('.//testcase')) == int(r.get('tests')))";
    let parsed = Command::new("python3").args(["-c", parsed]).arg(&junit).output().expect("python3 runs");
    assert_eq!(String::from_utf8_lossy(&parsed.stdout), "4 0 True\n", "{}", String::from_utf8_lossy(&parsed.stderr));

    // By the same checks there is nothing new to learn.
    let again = report(&smoke(folder.path(), &["--all"]).output().expect("xtask runs"));
    for (now, before) in again["images"].as_array().expect("images").iter().zip(first["images"].as_array().expect("images")) {
        assert!(now["remembered"].is_string(), "{now}");
        assert_eq!(now["checks"], before["checks"]);
    }
    assert!(again["seconds"].as_f64() < first["seconds"].as_f64());
    // Some of the checks say nothing of the others: they are tried, and what was recorded stays.
    let some = smoke(folder.path(), &["--variant", "aws", "--only", "labels", "--only", "tool code"]).output();
    let some = report(&some.expect("xtask runs"));
    let of = |outcome| checks(&some, outcome).into_iter().map(|(name, _)| name).collect::<Vec<_>>();
    assert_eq!((of("passed"), of("skipped")), (vec!["labels".to_owned()], vec!["tool code".to_owned()]), "{some}");
    assert!(some["images"][0]["remembered"].is_null(), "{some}");
}

/// An image of its own, by whose label its containers are known from those of other tests.
const OWN: &str = "gantry-test.interrupted";

/// A run under way, and its label.
fn under_way(state: &Path, image: &Broken) -> (std::process::Child, String) {
    let listed = || {
        let filters = ["--filter", "label=gantry.smoke", "--filter", &format!("label={OWN}={}", std::process::id())];
        docker(&[&["ps", "-a", "--format", "{{.Label \"gantry.smoke\"}}"], &filters[..]].concat())
    };
    let known = listed();
    let mut run = smoke(state, &["--variant", "aws", "--image", &image.tag]);
    let mut run = run.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("xtask runs");
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        if let Some(new) = listed().lines().find(|label| !known.contains(label)) {
            return (run, format!("gantry.smoke={new}"));
        }
        assert!(Instant::now() < deadline && run.try_wait().expect("its state").is_none(), "it started nothing");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn nothing_is_left_after_an_interruption_and_clean_finds_what_a_killed_run_left() {
    let state = tempfile::tempdir().expect("a folder");
    let image = Broken::new("interrupted", "aws", &format!("LABEL {OWN}={}", std::process::id()));
    let (run, label) = under_way(state.path(), &image);
    let pid = run.id().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().expect("kill runs").success());
    let output = run.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(left(&label), "");

    let (mut run, label) = under_way(state.path(), &image);
    run.kill().expect("killed");
    run.wait().expect("it ends");
    let clean = crate::family::xtask(&["--format", "json", "clean", "--dry-run"]);
    let found: Value = serde_json::from_slice(&clean.stdout).expect("JSON");
    let run = label.trim_start_matches("gantry.smoke=");
    for kind in ["containers", "networks"] {
        let names = found[kind].as_array().expect("names");
        assert!(names.iter().any(|name| name.as_str().is_some_and(|name| name.contains(run))), "{kind}: {found}");
    }
    // Not `clean` itself, which takes away what other tests have.
    for container in docker(&["ps", "-aq", "--filter", &format!("label={label}")]).lines() {
        docker(&["rm", "--force", container]);
    }
    docker(&["network", "rm", &format!("gantry-smoke-{run}")]);
    assert_eq!(left(&label), "");
}

/// A network namespace of its own, with the engine's socket in reach: ports that the engine publishes are on another loopback.
#[test]
fn where_the_engines_loopback_is_another_one_images_are_entered_from_inside() {
    let (state, image) = (tempfile::tempdir().expect("a folder"), image("aws-web"));
    let inner = smoke(state.path(), &["--variant", "aws-web", "--image", &image]);
    let mut outer = Command::new("unshare");
    outer.args(["--map-root-user", "--net", "sh", "-c", "ip link set lo up; exec \"$@\"", "sh"]);
    outer
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(root())
        .env("XDG_STATE_HOME", state.path())
        .env_remove("CI");
    // The engine tells everybody who asks which commands it was given.
    let mut events = Command::new("docker");
    events
        .args(["events", "--filter", "event=exec_create", "--filter", "label=gantry.smoke", "--format", "{{.Action}}"])
        .stdout(Stdio::piped());
    let mut events = events.spawn().expect("docker runs");
    let report = report(&outer.output().expect("unshare runs"));
    events.kill().ok();
    let events = events.wait_with_output().expect("it ends").stdout;
    let events = String::from_utf8_lossy(&events);
    assert!(events.contains("-F/dev/null"), "{events}");
    for secret in ["LS0tLS1CRUdJTiBPUEVOU1NI", "BEGIN OPENSSH", "UE9TVCAvbG9naW4", "password="] {
        assert!(!events.contains(secret), "{secret} in {events}");
    }
    assert_eq!(checks(&report, "failed"), []);
    let passed = checks(&report, "passed");
    let message = |name: &str| passed.iter().find(|(check, _)| check == name).map(|(_, message)| message.as_str());
    for name in ["ssh: login", "web: page", "restricted: login", "restricted: page"] {
        assert!(message(name).is_some_and(|message| message.contains("tried inside the container")), "{name}: {passed:#?}");
    }
    assert_eq!(message("restricted: password refused"), Some("keys only"));
}

#[test]
fn what_cannot_be_tried_is_said_with_the_command_that_mends_it() {
    let state = tempfile::tempdir().expect("a folder");
    for (args, code, text) in [
        (&["--variant", "aws", "--build-date", "2001-02-03"][..], 3, "cargo xtask build --variant aws --profile offline"),
        (&["--variant", "aws", "--image", "gantry-test-none:none"], 3, "has no image `gantry-test-none:none`"),
        (&["--all", "--image", "x"], 2, "stands in for one variant"),
    ] {
        let output = smoke(state.path(), args).output().expect("xtask runs");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(code) && stderr.contains(text), "{args:?}: {:?} {stderr}", output.status);
    }
    image("aws");
    let unknown = smoke(state.path(), &["--variant", "aws", "--only", "size", "--only", "web: *"]).output().expect("xtask runs");
    let stderr = String::from_utf8_lossy(&unknown.stderr);
    assert!(unknown.status.code() == Some(2) && stderr.contains("no check is called `web: *`"), "{stderr}");
    let dry = smoke(state.path(), &["--variant", "aws", "--dry-run"]).output().expect("xtask runs");
    let planned = report(&dry);
    let names = planned["images"][0]["checks"].as_array().expect("names");
    assert!(names.contains(&Value::from("ssh: login")) && names.contains(&Value::from("tool aws")), "{planned}");
}

/// A registry on loopback, empty at first.
struct Registry {
    process: std::process::Child,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Registry {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let port = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("its address").port();
        let config = format!(
            "version: 0.1\nlog: {{ level: error }}\nstorage: {{ filesystem: {{ rootdirectory: {} }} }}\nhttp: {{ addr: 127.0.0.1:{port} }}\n",
            folder.path().join("data").display()
        );
        let file = folder.path().join("config.yml");
        std::fs::write(&file, config).expect("written");
        let mut serve = Command::new("docker-registry");
        serve.arg("serve").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        let process = serve.spawn().expect("docker-registry runs");
        let deadline = Instant::now() + Duration::from_secs(60);
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the registry does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self { process, port, _folder: folder }
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[test]
fn growth_is_measured_against_what_is_published() {
    let (registry, state, image) = (Registry::start(), tempfile::tempdir().expect("a folder"), image("aws"));
    let destination = format!("none=127.0.0.1:{}/none", registry.port);
    let growth = |image: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.current_dir(root()).env("XDG_STATE_HOME", state.path()).env_remove("CI").args(["--format", "json", "smoke"]);
        command.args(["--profile", "offline", "--variant", "aws", "--image", image, "--destination", &destination]);
        let report = report(&command.output().expect("xtask runs"));
        let find = |outcome| checks(&report, outcome).into_iter().find(|(name, _)| name == "growth").map(|(_, message)| message);
        (find("passed"), find("failed"), find("skipped"), checks(&report, "failed").len())
    };
    assert_eq!(growth(&image), (None, None, Some("nothing is published yet".to_owned()), 0));
    let mut push = Command::new(env!("CARGO_BIN_EXE_xtask"));
    push.current_dir(root()).env("XDG_STATE_HOME", state.path()).env_remove("CI");
    push.args(["push", "--variant", "aws", "--profile", "offline", "--allow-dirty", "--destination", &destination]);
    let pushed = push.output().expect("xtask runs");
    assert!(pushed.status.success(), "{}", String::from_utf8_lossy(&pushed.stderr));
    let (passed, ..) = growth(&image);
    assert!(passed.as_ref().is_some_and(|message| message.starts_with("0 B more than the ")), "{passed:?}");

    let grown = Broken::new("grown", "aws", "RUN head -c 40000000 /dev/urandom > /opt/grown");
    let (_, failed, _, others) = growth(&grown.tag);
    let failed = failed.expect("it fails");
    assert!(failed.starts_with("40.0 MB more than the ") && failed.ends_with("`smoke.max-growth` is 10 %"), "{failed}");
    assert_eq!(others, 1);
}
