//! `cargo xtask test`: the whole test suite, with what it needs. `cargo xtask lint`: what needs nothing but the compiler.

use std::fmt::Write as _;
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use tokio::process::Command;

use super::programs::{Program, counts, in_order, programs, ran};
use super::session::variable;
use super::{Session, setup};
use crate::cli::{Lint, Test};
use crate::failure::{Exit, Failure};
use crate::host::requirement;

/// How many test programs run at the same time: most of them wait for something most of the time. (Each runs as many tests at
/// once as there are processors, but for one that waits even more.)
const AT_ONCE: usize = 2;

/// How long a test program may take. One that hangs is ended, and what it has said until then is shown.
const LIMIT: Duration = Duration::from_mins(40);

/// How such folders are named, with the process that made them: `gantry-tests-4711-x7Kq2R`.
const IN_MEMORY: &str = "gantry-tests-";

/// Bytes that test programs may write into memory; twice as many have to be free.
const MEMORY: u64 = 6 << 30;

/// What is looked at before anything runs.
const LINTS: [&[&str]; 2] =
    [&["fmt", "--all", "--check"], &["clippy", "--quiet", "--workspace", "--all-targets", "--", "-D", "warnings"]];

/// The same, mended where that can be done.
const MENDS: [&[&str]; 2] =
    [&["fmt", "--all"], &["clippy", "--quiet", "--workspace", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"]];

pub(super) async fn run(session: &Session, args: &Test) -> Result<(), Failure> {
    setup::ensure(session, "offline", args.yes, true).await?;
    // What is quick comes first, and its first failure ends it; of the test programs all are run.
    if args.filter.is_none() && !args.no_lint {
        for step in LINTS {
            cargo(session, step).await?;
        }
    }
    let built = build(session).await?;
    let memory = memory(session);
    let temporary = memory.as_ref().map(tempfile::TempDir::path);
    let started = Instant::now();
    let running = in_order(built).into_iter().map(|program| execute(session, program, temporary, args.filter.as_deref()));
    let running = stream::iter(running);
    let failed = session.interruptible(async {
        let mut running = running.buffer_unordered(AT_ONCE);
        let (mut failed, mut count) = (Vec::new(), 0);
        while let Some(ended) = running.next().await {
            let (name, ran) = ended?;
            failed.extend(name);
            count += ran;
        }
        Ok((failed, count))
    });
    let (failed, count) = failed.await?;
    session.console.say(&format!("all test programs have ended after {:.0} s", started.elapsed().as_secs_f64()));
    if !failed.is_empty() {
        return Err(Failure::new(Exit::Unexpected, format!("tests failed: {}", failed.join(", ")))
            .hint("the output of each stands above; cargo xtask test NAME    runs the tests whose name contains that"));
    }
    match &args.filter {
        None => cargo(session, &["test", "--quiet", "--workspace", "--doc"]).await?,
        Some(filter) if count == 0 => {
            return Err(Failure::new(Exit::Usage, format!("`{filter}`: no test has a name that contains this")));
        }
        Some(_) => {}
    }
    Ok(())
}

/// `cargo xtask lint`: all of it, so that one run tells everything.
pub(super) async fn lint(session: &Session, args: &Lint) -> Result<(), Failure> {
    let (mut failed, steps) = (Vec::new(), if args.fix { MENDS } else { LINTS });
    for step in steps {
        if let Err(failure) = cargo(session, step).await {
            failed.push(failure);
        }
    }
    let mut failed = failed.into_iter();
    let Some(mut first) = failed.next() else { return Ok(()) };
    for other in failed {
        first.message += &format!("; {}", other.message);
    }
    Err(if args.fix { first } else { first.hint("cargo xtask lint --fix    mends what can be mended") })
}

/// A folder in memory for what tests write, where there is one with room: on a disk, registries wait for each of their files to
/// be written through, and so for all that the engine writes. None where the user has said where temporary files go.
fn memory(session: &Session) -> Option<tempfile::TempDir> {
    let (shared, free) = (Path::new("/dev/shm"), requirement::free_bytes);
    if variable("TMPDIR").is_some() || free(shared)? < MEMORY || available()? < 2 * MEMORY {
        return None;
    }
    forget_the_killed(shared);
    let made = tempfile::Builder::new().prefix(&format!("{IN_MEMORY}{}-", std::process::id())).tempdir_in(shared).ok()?;
    session.console.say(&format!("temporary files lie in memory: {}", made.path().display()));
    Some(made)
}

/// Removes what runs have left that were killed: they hold memory.
fn forget_the_killed(shared: &Path) {
    for entry in std::fs::read_dir(shared).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let process = name.strip_prefix(IN_MEMORY).and_then(|rest| rest.split('-').next()?.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// Bytes of memory that programs can have. (proc(5), meminfo.)
fn available() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?.trim().strip_suffix(" kB")?;
    kib.parse::<u64>().ok().map(|kib| kib << 10)
}

/// The cargo that runs us.
fn program(session: &Session, path: Option<&Path>) -> Command {
    let cargo = variable("CARGO").unwrap_or_else(|| "cargo".to_owned());
    let mut command = Command::new(path.unwrap_or(Path::new(&cargo)));
    command.current_dir(&session.root).kill_on_drop(true);
    // Variables of the cargo that runs us are not those of the one that we run.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST")) {
            command.env_remove(name);
        }
    }
    command.env("CARGO", cargo);
    command
}

async fn cargo(session: &Session, words: &[&str]) -> Result<(), Failure> {
    session.console.say(&format!("cargo {}", words.join(" ")));
    let mut command = program(session, None);
    command.args(words);
    let status = session.interruptible(async { command.status().await.map_err(missing) }).await?;
    if status.success() { Ok(()) } else { Err(ended(words, status)) }
}

/// Builds all test programs.
async fn build(session: &Session) -> Result<Vec<Program>, Failure> {
    let words = ["test", "--workspace", "--no-run", "--message-format", "json-render-diagnostics"];
    session.console.say(&format!("cargo {}", words.join(" ")));
    let mut command = program(session, None);
    command.args(words).stdout(Stdio::piped());
    let output = session
        .interruptible(async {
            let child = command.spawn().map_err(missing)?;
            child.wait_with_output().await.map_err(missing)
        })
        .await?;
    match output.status.success() {
        true => Ok(programs(&String::from_utf8_lossy(&output.stdout), &session.root)),
        false => Err(ended(&words, output.status)),
    }
}

/// Runs a test program to its end and prints what it has printed, in one piece. Its name, where something failed, and how
/// many tests ran.
async fn execute(
    session: &Session,
    built: Program,
    temporary: Option<&Path>,
    filter: Option<&str>,
) -> Result<(Option<String>, u64), Failure> {
    let mut command = program(session, Some(&built.path));
    command.envs(temporary.filter(|_| built.writes_much()).map(|folder| ("TMPDIR", folder)));
    if variable("RUST_TEST_THREADS").is_none() {
        command.envs(built.threads().map(|threads| ("RUST_TEST_THREADS", threads)));
    }
    // Where cargo runs it, too.
    command.current_dir(&built.folder).env("CARGO_MANIFEST_DIR", &built.folder).args(filter);
    session.console.say(&format!("running {}", built.name));
    let started = Instant::now();
    let (success, mut text) = told(command).await.map_err(|error| {
        Failure::new(Exit::Unexpected, format!("cannot run the test program `{}`", built.path.display())).source(error)
    })?;
    if started.elapsed() >= LIMIT {
        let _ = write!(text, "\nended by force: it had not ended by itself for {} minutes", LIMIT.as_secs() / 60);
    }
    let (name, seconds, counts) = (&built.name, started.elapsed().as_secs_f64(), counts(&text));
    session.console.say(&format!("\n--- {name}\n{}\n--- {name}: {counts}, {seconds:.1} s\n", text.trim_end()));
    Ok(((!success).then(|| built.name.clone()), ran(&counts)))
}

/// Runs a program to its end, or to [`LIMIT`]: whether it succeeded, and what it said until then.
async fn told(mut command: Command) -> std::io::Result<(bool, String)> {
    let mut said = tempfile::tempfile()?;
    command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said.try_clone()?);
    let mut child = command.spawn()?;
    let success = match tokio::time::timeout(LIMIT, child.wait()).await {
        Ok(status) => status?.success(),
        Err(_) => {
            child.kill().await?;
            false
        }
    };
    let mut bytes = Vec::new();
    said.rewind()?;
    said.read_to_end(&mut bytes)?;
    Ok((success, String::from_utf8_lossy(&bytes).into_owned()))
}

fn missing(error: std::io::Error) -> Failure {
    Failure::new(Exit::Missing, "cannot run cargo").source(error)
}

fn ended(words: &[&str], status: std::process::ExitStatus) -> Failure {
    let code = status.code().map_or_else(|| "a signal".to_owned(), |code| code.to_string());
    Failure::new(Exit::Unexpected, format!("`cargo {}` ended with {code}", words.first().copied().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_run_left_in_memory_is_forgotten_and_nothing_else() {
        let shared = tempfile::tempdir().expect("a folder");
        let mut gone = std::process::Command::new("true").spawn().expect("a process");
        gone.wait().expect("it ends");
        let (living, others) = (std::process::id(), ["gantry-tests-", "gantry-tests-x-1", "somebody-1-2"]);
        let names = [format!("gantry-tests-{}-a", gone.id()), format!("gantry-tests-{living}-b")];
        for name in names.iter().map(String::as_str).chain(others) {
            std::fs::create_dir_all(shared.path().join(name).join("data")).expect("a folder");
        }
        forget_the_killed(shared.path());
        assert!(!shared.path().join(&names[0]).exists());
        assert!(shared.path().join(&names[1]).exists());
        assert!(others.iter().all(|name| shared.path().join(name).exists()));
    }
}
