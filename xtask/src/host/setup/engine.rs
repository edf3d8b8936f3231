//! An engine of our own, where nothing else starts one: started in a session of its own, and stopped by nobody but us.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::process::Command;

use crate::event::{Event, Events};
use crate::failure::Exit;
use crate::host::places::Places;
use crate::host::program::{Asked, Call};
use crate::host::{Authority, HostError, Mend, os};

/// The engine's default socket.
const SOCKET: &str = "/var/run/docker.sock";
/// Where dockerd writes its process id.
const PID_FILE: &str = "/var/run/docker.pid";
/// How long a living engine may take until it answers: it first reads what it has, and with 20 000 entries of build cache on
/// a disk that has just been attached that is more than a minute.
const START: Duration = Duration::from_secs(300);
/// How long it may take to stop (it stops its containers first).
const STOP: Duration = Duration::from_secs(60);
/// How often it is looked at meanwhile.
const LOOK: Duration = Duration::from_millis(100);
/// How often is told that it is still waited for.
const TELL: Duration = Duration::from_secs(10);

/// An engine that we started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Started {
    /// Its process.
    pub(super) pid: u32,
    /// What it says.
    pub(super) log: PathBuf,
}

/// What became of the engine that we started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// There is none, or it has ended already.
    NotRunning,
    /// It has ended now.
    Ended {
        /// Its process.
        pid: u32,
    },
}

/// A process that no other can be taken for: process ids and start times come again after a reboot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Process {
    pid: u32,
    /// In clock ticks after the boot (proc(5), stat, field 22).
    start_time: u64,
    boot: String,
}

impl Process {
    /// The living process `pid`, if it is a `dockerd`.
    fn dockerd(pid: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name stands in parentheses and may contain anything.
        let (head, fields) = stat.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let mut fields = fields.split_whitespace();
        let state = fields.next()?;
        let start_time = fields.nth(18)?.parse().ok()?;
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?.trim().to_owned();
        (name == "dockerd" && !matches!(state, "Z" | "X")).then_some(Self { pid, start_time, boot })
    }

    fn lives(&self) -> bool {
        Self::dockerd(self.pid).as_ref() == Some(self)
    }
}

fn record(places: &Places) -> PathBuf {
    places.state_path().join("dockerd.json")
}

/// Starts `dockerd` and waits until it answers; none where one answers already.
///
/// # Errors
/// It is not installed, or ends, or does not answer in time.
pub(super) async fn start(
    authority: Authority,
    places: &Places,
    step: &str,
    events: &Events,
) -> Result<Option<Started>, HostError> {
    if answers(Path::new(SOCKET)).await {
        return Ok(None);
    }
    let dockerd = os::installed("dockerd").ok_or_else(|| HostError::Missing {
        what: "no program `dockerd`".into(),
        needed_for: "building and running images".into(),
        mend: Mend::apt(&["docker.io", "iptables"]),
    })?;
    let log = places.logs()?.join("dockerd.log");
    let output = std::fs::File::create(&log).map_err(HostError::io("create", &log))?;
    let errors = output.try_clone().map_err(HostError::io("open", &log))?;
    events.emit(Event::StepProgress { step: step.to_owned(), current: "starting dockerd".into(), done: 0, total: 0 });
    // setsid(1): no terminal's end and no Ctrl-C in it reaches the engine.
    let mut command = Command::new("setsid");
    if authority == Authority::Sudo {
        command.args(["sudo", "-n", "--"]);
    }
    command.arg(dockerd).args(socket_group(authority));
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    let mut child = Asked::new(command.spawn().map_err(HostError::io("start", Path::new("setsid")))?);
    let call = Call { program: "dockerd", needed_for: "building and running images", exit: Exit::Missing };
    let tell = |waited: Duration| {
        let current = format!("waiting for dockerd, which reads what it has ({} s)", waited.as_secs());
        events.emit(Event::StepProgress { step: step.to_owned(), current, done: 0, total: 0 });
    };
    let ended = || child.ended().map(|status| status.map(|status| status.to_string()));
    match until_it_answers(Path::new(SOCKET), [START, TELL], ended, tell).await {
        Ok(None) => {}
        Ok(Some(status)) => return Err(call.failed(&status, last_lines(&log), Some(log))),
        Err(error) => return Err(HostError::io("start", Path::new("dockerd"))(error)),
    }
    let pid = std::fs::read_to_string(PID_FILE).ok().and_then(|pid| pid.trim().parse().ok());
    let process = pid.and_then(Process::dockerd).ok_or_else(|| HostError::Malformed {
        path: PID_FILE.into(),
        why: "an engine answers, and this names no process of it".into(),
    })?;
    let path = record(places);
    let json = serde_json::to_vec(&process).map_err(std::io::Error::from);
    json.and_then(|json| std::fs::write(&path, json)).map_err(HostError::io("write", &path))?;
    child.let_go();
    Ok(Some(Started { pid: process.pid, log }))
}

/// Waits for the engine's answer, no longer than it lives, and tells every so often that it still waits. Why there is none,
/// if there is none.
async fn until_it_answers(
    socket: &Path,
    [patience, every]: [Duration; 2],
    mut ended: impl FnMut() -> std::io::Result<Option<String>>,
    tell: impl Fn(Duration),
) -> std::io::Result<Option<String>> {
    let started = tokio::time::Instant::now();
    let mut told = Duration::ZERO;
    while !answers(socket).await {
        let waited = started.elapsed();
        if let Some(status) = ended()? {
            return Ok(Some(status));
        }
        if waited > patience {
            return Ok(Some(format!("no answer within {patience:?}")));
        }
        if waited >= told + every {
            told = waited;
            tell(waited);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(None)
}

/// Lets our own group talk to an engine that sudo starts.
#[cfg(unix)]
fn socket_group(authority: Authority) -> Vec<String> {
    match authority {
        Authority::Sudo => vec!["--group".to_owned(), rustix::process::getegid().as_raw().to_string()],
        Authority::Root | Authority::None => Vec::new(),
    }
}

#[cfg(not(unix))]
fn socket_group(_: Authority) -> Vec<String> {
    Vec::new()
}

/// Has systemd start the engine, now and at every boot. It answers when systemctl returns (`Type=notify`).
///
/// # Errors
/// systemctl fails: the engine does not come up.
pub(super) async fn by_systemd(authority: Authority, step: &str, events: &Events) -> Result<(), HostError> {
    let current = "systemctl enable --now docker";
    events.emit(Event::StepProgress { step: step.to_owned(), current: current.into(), done: 0, total: 0 });
    let mut command = authority.command("systemctl");
    command.args(["enable", "--now", "docker"]);
    let call = Call { program: current, needed_for: "building and running images", exit: Exit::Missing };
    let line = |_, line: &str| events.emit(Event::StepLog { step: step.to_owned(), line: line.to_owned() });
    call.run(command, line).await.map_err(|error| match error {
        HostError::Program { program, status, output, log, exit, .. } => {
            HostError::Program { program, status, output, log, exit, hint: Some("journalctl -u docker".into()) }
        }
        other => other,
    })
}

/// Stops the engine that we started, if it is still the same process, and waits for its end. Any other engine is left
/// alone.
///
/// # Errors
/// It may not be stopped, or does not end.
pub async fn stop_engine(places: &Places) -> Result<Stopped, HostError> {
    let path = record(places);
    let Ok(json) = std::fs::read(&path) else { return Ok(Stopped::NotRunning) };
    let process: Option<Process> = serde_json::from_slice(&json).ok();
    let Some(process) = process.filter(Process::lives) else {
        std::fs::remove_file(&path).map_err(HostError::io("remove", &path))?;
        return Ok(Stopped::NotRunning);
    };
    ask_to_end(process.pid).await?;
    let deadline = tokio::time::Instant::now() + STOP;
    while process.lives() {
        if tokio::time::Instant::now() > deadline {
            let call = Call { program: "dockerd", needed_for: "building and running images", exit: Exit::Missing };
            let status = format!("process {} does not end within {} seconds", process.pid, STOP.as_secs());
            return Err(call.failed(&status, Vec::new(), None));
        }
        tokio::time::sleep(LOOK).await;
    }
    std::fs::remove_file(&path).map_err(HostError::io("remove", &path))?;
    Ok(Stopped::Ended { pid: process.pid })
}

/// Sends SIGTERM: ourselves, unless only sudo may.
#[cfg(unix)]
async fn ask_to_end(pid: u32) -> Result<(), HostError> {
    use rustix::process::{Pid, Signal, kill_process};
    let call = Call { program: "kill", needed_for: "stopping the engine", exit: Exit::Missing };
    let authority = Authority::find().await;
    if authority == Authority::Sudo {
        let mut kill = authority.command("kill");
        kill.args(["-TERM", &pid.to_string()]);
        return call.run(kill, |_, _| ()).await;
    }
    let Some(target) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    match kill_process(target, Signal::TERM) {
        // It has just ended by itself.
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(call.failed(&format!("process {pid}: {error}"), Vec::new(), None)),
    }
}

#[cfg(not(unix))]
async fn ask_to_end(_: u32) -> Result<(), HostError> {
    // Gantry starts no engine there.
    Ok(())
}

fn last_lines(log: &Path) -> Vec<String> {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].iter().map(|line| (*line).to_owned()).collect()
}

/// Whether an engine answers `GET /_ping`. (Docker Engine API: needs neither a version nor authentication.)
#[cfg(unix)]
async fn answers(socket: &Path) -> bool {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let ping = async {
        let mut stream = tokio::net::UnixStream::connect(socket).await?;
        stream.write_all(b"GET /_ping HTTP/1.0\r\nHost: docker\r\n\r\n").await?;
        let mut answer = Vec::new();
        stream.take(4096).read_to_end(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), ping).await;
    matches!(answer, Ok(Ok(answer)) if answer.starts_with(b"HTTP/1.") && answer[8..].starts_with(b" 200"))
}

#[cfg(not(unix))]
async fn answers(_: &Path) -> bool {
    false
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;

    /// Places of its own, and a process that calls itself `dockerd`.
    fn stage() -> (tempfile::TempDir, Places, std::process::Child) {
        let home = tempfile::tempdir().expect("a folder");
        let text = home.path().display().to_string();
        let places = Places::from_env(&|name| (name == "HOME").then(|| text.clone())).expect("a home");
        places.state().expect("a folder");
        let program = home.path().join("dockerd");
        std::fs::copy("/bin/sleep", &program).expect("copied");
        let child = std::process::Command::new(program).arg("600").spawn().expect("started");
        (home, places, child)
    }

    fn write(places: &Places, process: &Process) {
        std::fs::write(record(places), serde_json::to_vec(process).expect("JSON")).expect("written");
    }

    #[tokio::test]
    async fn our_engine_is_stopped() {
        let (_home, places, mut child) = stage();
        assert_eq!(stop_engine(&places).await.expect("no error"), Stopped::NotRunning, "no record");
        let process = Process::dockerd(child.id()).expect("it lives");
        write(&places, &process);
        assert_eq!(stop_engine(&places).await.expect("stopped"), Stopped::Ended { pid: child.id() });
        assert!(!child.wait().expect("waited").success());
        assert!(!record(&places).exists());
    }

    #[tokio::test]
    async fn another_process_is_left_alone() {
        let (_home, places, mut child) = stage();
        let process = Process::dockerd(child.id()).expect("it lives");
        for other in [
            Process { start_time: process.start_time - 1, ..process.clone() },
            Process { boot: "another".into(), ..process.clone() },
            Process { pid: std::process::id(), ..process.clone() },
        ] {
            write(&places, &other);
            assert_eq!(stop_engine(&places).await.expect("no error"), Stopped::NotRunning, "{other:?}");
            assert!(process.lives() && !record(&places).exists(), "{other:?}");
        }
        child.kill().and_then(|()| child.wait()).expect("ended");
        assert!(!process.lives());
    }

    #[tokio::test]
    async fn it_is_waited_for_as_long_as_it_lives_and_no_longer_than_it_may_take() {
        let home = tempfile::tempdir().expect("a folder");
        let (nobody, told) = (home.path().join("socket"), std::cell::Cell::new(0));
        let tell = |_| told.set(told.get() + 1);
        let often = [350, 100].map(Duration::from_millis);
        let why = until_it_answers(&nobody, often, || Ok(None), tell).await.expect("no error");
        assert_eq!(why.as_deref(), Some("no answer within 350ms"));
        assert!((1..=3).contains(&told.take()));
        let mut looks = 0;
        let ended = || {
            looks += 1;
            Ok((looks == 3).then(|| "exit status: 1".to_owned()))
        };
        let why = until_it_answers(&nobody, [START, TELL], ended, tell).await.expect("no error");
        assert_eq!((why.as_deref(), looks, told.take()), (Some("exit status: 1"), 3, 0));
    }

    #[tokio::test]
    async fn who_answers() {
        let home = tempfile::tempdir().expect("a folder");
        let socket = home.path().join("socket");
        assert!(!answers(&socket).await, "nobody");
        for (answer, is_engine) in [("HTTP/1.0 200 OK\r\n\r\nOK", true), ("HTTP/1.1 500 No\r\n\r\n", false), ("", false)] {
            let _ = std::fs::remove_file(&socket);
            let listener = tokio::net::UnixListener::bind(&socket).expect("bound");
            let engine = async {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let (mut stream, _) = listener.accept().await.expect("a connection");
                stream.read_exact(&mut [0; 37]).await.expect("a request");
                stream.write_all(answer.as_bytes()).await.expect("answered");
            };
            assert_eq!(tokio::join!(answers(&socket), engine).0, is_engine, "{answer}");
        }
    }
}
