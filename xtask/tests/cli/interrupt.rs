//! Ctrl-C: the first ends what runs in the engine, the second ends us at once.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::family::TinyFamily;
use crate::support::xtask::ended;

/// How long anything here may take before the test fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a terminal sends at Ctrl-C.
fn interrupt(child: &Child) {
    kill_process(Pid::from_child(child), Signal::INT).expect("it runs");
}

/// Asks again and again until `ready`.
#[track_caller]
fn until(what: &str, ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < PATIENCE, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process with these words runs on this machine, in whatever container.
fn runs(words: &[&str]) -> bool {
    let wanted: Vec<u8> = words.iter().flat_map(|word| [word.as_bytes(), b"\0"].concat()).collect();
    let processes = fs::read_dir("/proc").expect("processes").flatten();
    let mut lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.any(|line| line == wanted)
}

/// A number that nobody else sleeps for.
fn unusual(family: &TinyFamily) -> String {
    let mut parts = family.name.rsplit('-');
    let (number, process) = (parts.next().expect("a number"), parts.next().expect("a process"));
    format!("1{process}0{number}")
}

#[test]
fn the_first_interrupt_cancels_the_build_in_the_engine() {
    let family = TinyFamily::new();
    let seconds = unusual(&family);
    family.azure_also(&format!("RUN exec sleep {seconds}"));
    let build = family.planning(&["build", "--format", "json", "--variant", "azure"]).spawn().expect("started");
    let sleeping = || runs(&["sleep", &seconds]);
    until("the engine sleeps", sleeping);
    interrupt(&build);
    let ended = ended(build).ends(130);
    assert_eq!(ended.steps()["azure"], "cancelled", "{}", ended.stderr);
    assert_eq!(ended.steps()["azure finished"], "cancelled");
    assert_eq!(ended.events().last().expect("a failure")["exit"], 130);
    // For `report`, too.
    let recorded = family.places().join(format!("state/gantry/builds/{}.default.json", family.name));
    let recorded: serde_json::Value = serde_json::from_slice(&fs::read(recorded).expect("the record")).expect("JSON");
    assert_eq!(recorded["newest"]["outcome"], "cancelled");
    let steps = recorded["newest"]["steps"].as_array().expect("steps");
    assert!(steps.iter().any(|step| step["step"] == "azure" && step["outcome"] == "cancelled" && step["begin"].is_number()));
    until("nothing sleeps in the engine", || !sleeping());

    // The lock is free, and what was done is kept.
    family.replace("images/azure/Dockerfile", &format!("RUN exec sleep {seconds}"), "");
    let again = family.build(&["--variant", "azure", "--no-wait"]).ends(0);
    assert_eq!(again.steps_that_are("up-to-date"), ["base"]);
}

#[test]
fn an_interrupt_while_waiting_for_another_build_ends_the_wait() {
    let family = TinyFamily::new();
    let seconds = unusual(&family);
    family.azure_also(&format!("RUN exec sleep {seconds}"));
    let first = family.planning(&["build", "--variant", "azure"]).spawn().expect("started");
    until("the engine sleeps", || runs(&["sleep", &seconds]));
    let mut second = family.planning(&["build", "--variant", "azure"]).spawn().expect("started");
    let mut stderr = BufReader::new(second.stderr.take().expect("piped"));
    let mut line = String::new();
    while !line.contains("waiting for another build") {
        line.clear();
        assert!(stderr.read_line(&mut line).expect("text") > 0, "it ended");
    }
    interrupt(&second);
    assert_eq!(ended(second).code, Some(130));
    assert!(runs(&["sleep", &seconds]), "the first one goes on");
    interrupt(&first);
    ended(first).ends(130);
}

#[test]
fn an_interrupt_while_publishing_ends_it_and_nothing_is_tagged() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    // A registry that takes connections and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = silent.local_addr().expect("an address");
    let (near, far) = (format!("near={}", family.registry.repository()), format!("far={address}/x"));
    let push = ["push", "--variant", "azure", "--destination", &near, "--destination", &far];
    let push = family.planning(&push).spawn().expect("started");
    let _connection = silent.accept().expect("it is asked");
    interrupt(&push);
    ended(push).ends(130).says(&["interrupted"]);
    assert_eq!(family.registry.tags(), Vec::<String>::new());
}

/// The engine's socket: that of `DOCKER_HOST`, or the default.
fn engine_socket() -> String {
    let host = std::env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty());
    let host = host.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
    host.strip_prefix("unix://").unwrap_or_else(|| panic!("this test needs an engine behind a socket, not `{host}`")).to_owned()
}

/// A way to the engine that can be stopped up: what comes then goes nowhere, and nobody is told.
struct Valve {
    closed: Arc<AtomicBool>,
}

impl Valve {
    fn on(socket: &Path) -> Self {
        let listener = UnixListener::bind(socket).expect("a socket");
        let closed = Arc::new(AtomicBool::new(false));
        let flag = closed.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming() {
                let client = connection.expect("a connection");
                let engine = UnixStream::connect(engine_socket()).expect("the engine");
                let (client_end, engine_end) = (client.try_clone().expect("cloned"), engine.try_clone().expect("cloned"));
                let (one, other) = (flag.clone(), flag.clone());
                std::thread::spawn(move || forward(client, engine, &one));
                std::thread::spawn(move || forward(engine_end, client_end, &other));
            }
        });
        Self { closed }
    }
}

fn forward(mut from: UnixStream, mut to: UnixStream, closed: &AtomicBool) {
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        if !closed.load(Ordering::SeqCst) && to.write_all(&buffer[..length]).is_err() {
            break;
        }
    }
    if !closed.load(Ordering::SeqCst) {
        let _ = to.shutdown(std::net::Shutdown::Write);
    }
}

#[test]
fn the_second_interrupt_ends_at_once_whatever_the_engine_does() {
    let family = TinyFamily::new();
    family.build(&["--variant", "aws"]).ends(0);
    let seconds = unusual(&family);
    family.azure_also(&format!("RUN exec sleep {seconds}"));
    let socket = family.places().join("home/docker.sock");
    let valve = Valve::on(&socket);
    let mut build = family.planning(&["build", "--format", "json", "--variant", "aws", "--variant", "azure"]);
    build.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    let mut build = build.spawn().expect("started");
    until("the engine sleeps", || runs(&["sleep", &seconds]));
    // From here on the engine answers nothing: `aws`, which is up to date, cannot be tagged.
    valve.closed.store(true, Ordering::SeqCst);
    interrupt(&build);
    let mut stderr = BufReader::new(build.stderr.take().expect("piped"));
    let mut line = String::new();
    while !(line.contains("\"azure\"") && line.contains("cancelled")) {
        line.clear();
        assert!(stderr.read_line(&mut line).expect("text") > 0, "it ended by itself");
    }
    interrupt(&build);
    ended(build).ends(130);
    // The engine was not told. The family's containers and builds are its own again when it hears that nobody listens.
    drop(valve);
    for process in fs::read_dir("/proc").expect("processes").flatten() {
        let line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        if line == format!("sleep\0{seconds}\0").as_bytes()
            && let Some(pid) = process.file_name().to_str().and_then(|pid| Pid::from_raw(pid.parse().ok()?))
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
}
