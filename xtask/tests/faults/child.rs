//! A publisher in a process of its own: one that can be killed, that has its own limits, that races with another one.

use std::process::{Child, Command, Stdio};

use crate::sweep::silence;
use crate::world::Job;

const JOB: &str = "GANTRY_FAULTS_JOB";
/// What it says when it is done: nothing else that is printed begins so.
const SAYS: &str = "publisher: ";

/// The process itself: this test program again, with a job.
#[test]
fn publisher() {
    let Ok(job) = std::env::var(JOB) else { return };
    let job: Job = serde_json::from_str(&job).expect("a job");
    let ended = job.publish(&silence());
    let (code, text) = match ended.outcome {
        Ok(_) => (0, String::new()),
        Err(error) => (error.exit() as i32, with_causes(&error)),
    };
    println!("\n{SAYS}{}", serde_json::json!({"code": code, "exported": ended.exported, "text": text}));
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// How a publisher that was not killed ended.
#[derive(Debug, serde::Deserialize)]
pub(crate) struct Said {
    /// As the real program's exit code.
    pub(crate) code: i32,
    pub(crate) exported: bool,
    pub(crate) text: String,
}

/// Starts it, behind other programs (`unshare`, `prlimit`) if need be.
pub(crate) fn start(job: &Job, behind: &[&str]) -> Child {
    let program = std::env::current_exe().expect("this program").display().to_string();
    let words: Vec<&str> = behind.iter().copied().chain([&program[..], "child::publisher", "--exact", "--nocapture"]).collect();
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).env(JOB, serde_json::to_string(job).expect("JSON"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts")
}

/// Waits for it; none where it was killed.
pub(crate) fn said(child: Child) -> Option<Said> {
    let output = child.wait_with_output().expect("its output");
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|line| line.strip_prefix(SAYS));
    if let Some(line) = line {
        return Some(serde_json::from_str(line).expect("JSON"));
    }
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), None, "it ended without a word: {text}{complaints}");
    None
}
