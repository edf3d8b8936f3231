//! The worker that gets the Coder agent from its server, checks it, and puts it where it is started from. It tries
//! until it succeeds: a server that is down comes back, and one that serves nonsense is mended by somebody.

mod checks;
mod place;

use crate::account::Account;
use crate::failure::{Failure, SETTINGS, SYSTEM};
use crate::http::{self, Answer, Request};
use crate::process::{End, Program};
use crate::settings::{Secret, Settings, Sources};
use crate::worker::{Runtime, Stopped, Trouble};
use crate::{files, places};
use checks::Offered;
use place::Place;
use std::ffi::OsString;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The secret that the agent shows its server.
pub(crate) const TOKEN: &str = "CODER_AGENT_TOKEN";
/// Before the next try: soon at first, for servers that start together with this container.
const PAUSES: [Duration; 4] = [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10), Duration::from_secs(30)];
/// The same problem is told again after this many tries.
const TOLD_AGAIN: u32 = 20;
/// How long a download may take: an agent is about 100 MB.
const PATIENCE: Duration = Duration::from_secs(15 * 60);
/// The largest agent.
const LARGEST: u64 = 1024 * 1024 * 1024;
/// How long the agent may take to say its version, and `sha1sum` to read it.
const SHORT: Duration = Duration::from_secs(60);
/// How long `sha1sum` may take where the workspace's user may have put anything: what it cannot read is replaced.
const FOREIGN: Duration = Duration::from_secs(15);
const SHA1SUM: &str = "/usr/bin/sha1sum";

/// Where the agent is started from: a link in the runtime folder to wherever programs can be kept.
pub(crate) fn program() -> PathBuf {
    places::runtime().join("coder-agent")
}

/// The file from which the agent reads its token. Its commands in terminals (`external-auth`) read it, too.
pub(crate) fn token_file() -> PathBuf {
    places::runtime().join("coder-agent-token")
}

/// Runs until the agent can be started, or a stop.
///
/// # Errors
/// The settings do not ask for an agent.
pub(crate) fn run(runtime: &mut Runtime, settings: &Settings, sources: &Sources) -> Result<u8, Failure> {
    let coder = settings.coder.as_ref().ok_or_else(|| Failure::new(SETTINGS, format!("{TOKEN} is not set")))?;
    let account = Account::workspace(settings.home.as_deref())?;
    let url = format!("{}/bin/{}", coder.url, checks::file_name());
    let (mut before, mut same) = (String::new(), 0);
    for tried in 0.. {
        let mut attempt = Attempt { runtime, settings, sources, account: &account, url: &url };
        let problem = match attempt.make() {
            Ok(()) => return Ok(0),
            Err(Problem::Stopped) => return Ok(1),
            Err(Problem::Here(problem)) => problem,
        };
        let pause = PAUSES.get(tried).or(PAUSES.last()).copied().unwrap_or(SHORT);
        same = if problem == before { same + 1 } else { 0 };
        runtime.report.doing(format!("waits for the agent: {problem}"));
        if same % TOLD_AGAIN == 0 {
            runtime.report.warning(format!("{problem}; tried again every {} s", pause.as_secs()));
        }
        before = problem;
        if let Err(Stopped) = runtime.sleep(pause) {
            break;
        }
    }
    // Without an agent there is nothing to go on with; whoever asked for the stop does not look at the code.
    Ok(1)
}

/// Why there is no agent yet.
#[derive(Debug, PartialEq, Eq)]
enum Problem {
    /// The worker was asked to stop.
    Stopped,
    /// What is wrong, and what to do about it.
    Here(String),
}

impl From<String> for Problem {
    fn from(problem: String) -> Self {
        Self::Here(problem)
    }
}

impl From<Failure> for Problem {
    fn from(failure: Failure) -> Self {
        Self::Here(failure.problems.join(", "))
    }
}

/// One attempt at getting the agent.
struct Attempt<'a> {
    runtime: &'a mut Runtime,
    settings: &'a Settings,
    sources: &'a Sources,
    account: &'a Account,
    url: &'a str,
}

impl Attempt<'_> {
    fn make(&mut self) -> Result<(), Problem> {
        // Read anew each time: whoever mounts it as a file may change it.
        let token = self.sources.secret(TOKEN)?.ok_or_else(|| format!("{TOKEN} is not set"))?;
        let place = place::choose(self.account)?;
        let agent = place.folder.join("coder-agent");
        let known = self.known(&agent, &place)?;
        self.runtime.report.doing("downloads the agent");
        // In the user's own folder, this process follows no name: it downloads elsewhere.
        let own = if place.foreign { places::runtime() } else { place.folder.clone() };
        let new = own.join("coder-agent.new");
        let answer = self.download(&new, known.as_deref())?;
        if answer.status == 304 && known.is_some() {
            self.runtime.report.info("the agent is the server's present one already");
            return self.offer(&agent, &token);
        }
        let accepted = self.accept(&answer, &new).and_then(|()| self.install(&new, &agent, &place));
        // Taken, or no agent: in neither case anything is to be left.
        let _ = fs::remove_file(&new);
        let version = accepted?;
        self.runtime.report.info(format!("downloaded and checked: {version}"));
        self.offer(&agent, &token)
    }

    /// The SHA-1 of the agent that is there already, if one is.
    fn known(&mut self, agent: &Path, place: &Place) -> Result<Option<String>, Problem> {
        if !fs::symlink_metadata(agent).is_ok_and(|found| found.is_file()) {
            return Ok(None);
        }
        if !place.foreign {
            return self.sha1(agent, None).map(Some);
        }
        match self.sha1(agent, Some(self.account.clone())) {
            Ok(sha1) => Ok(Some(sha1)),
            Err(Problem::Stopped) => Err(Problem::Stopped),
            Err(Problem::Here(_)) => Ok(None),
        }
    }

    /// Downloads the agent unless its server still has the one whose SHA-1 is `known`.
    fn download(&mut self, to: &Path, known: Option<&str>) -> Result<Answer, Problem> {
        let request = Request::new("GET", self.url).header("Accept-Encoding", "identity").within(PATIENCE);
        let request = match known {
            Some(sha1) => request.header("If-None-Match", format!("\"{sha1}\"")),
            None => request,
        };
        let url = self.url;
        match http::download(self.runtime, &self.settings.fetch, &request, to, LARGEST) {
            Ok(answer) if answer.status == 200 || answer.status == 304 => Ok(answer),
            Ok(answer) => Err(checks::refused(url, answer.status, answer.header("location")).into()),
            Err(http::Error::Stopped) => Err(Problem::Stopped),
            Err(error) => Err(format!("`{url}` cannot be downloaded: {error}").into()),
        }
    }

    /// Checks that what was downloaded to `path` is a whole program for this machine.
    fn accept(&mut self, answer: &Answer, path: &Path) -> Result<(), Problem> {
        let unreadable = |error: std::io::Error| format!("`{}`: {error}", path.display());
        let mut head = Vec::new();
        let file = fs::File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        file.take(checks::HEAD).read_to_end(&mut head).map_err(unreadable)?;
        let offered = Offered {
            url: self.url,
            kind: answer.header("content-type"),
            length: answer.header("x-original-content-length").or(answer.header("content-length")),
            head: &head,
            size,
        };
        offered.check()?;
        if let Some(expected) = answer.header("etag").and_then(checks::sha1_of_etag) {
            let found = self.sha1(path, None)?;
            if found != expected {
                return Err(format!("`{}` arrived damaged: its SHA-1 is {found}, its server says {expected}", self.url).into());
            }
        }
        Ok(())
    }

    /// Puts `new` in its place as `agent`, when it is an agent, and returns its version.
    fn install(&mut self, new: &Path, agent: &Path, place: &Place) -> Result<String, Problem> {
        let refused = |error: std::io::Error| format!("to write `{}`: {error}", agent.display());
        if !place.foreign {
            files::executable(new).map_err(refused)?;
            let version = self.version(new)?;
            fs::rename(new, agent).map_err(refused)?;
            return Ok(version);
        }
        let mut from = fs::File::open(new).map_err(refused)?;
        let beside = agent.with_extension("new");
        let mut copy = || {
            // With the user's rights; left over from a start that was killed.
            let _ = fs::remove_file(&beside);
            let mut to = fs::File::create_new(&beside)?;
            std::io::copy(&mut from, &mut to)?;
            files::executable(&beside)
        };
        let system = |error| Failure::new(SYSTEM, refused(error));
        self.account.act(|| copy().map_err(system)).map_err(Problem::from)?;
        let version = self.version(&beside)?;
        self.account.act(|| fs::rename(&beside, agent).map_err(system)).map_err(Problem::from)?;
        Ok(version)
    }

    /// The SHA-1 of a file, in lower case; read with the rights of `user` where it is theirs.
    fn sha1(&mut self, path: &Path, user: Option<Account>) -> Result<String, Problem> {
        let patience = if user.is_some() { FOREIGN } else { SHORT };
        let program = Program {
            path: SHA1SUM.into(),
            arguments: vec!["--zero".into(), "--".into(), path.into()],
            user,
            folder: "/".into(),
            ..Program::default()
        };
        let output = self.output(program, patience)?;
        output.split_whitespace().next().map(str::to_owned).ok_or_else(|| format!("`{SHA1SUM}` says nothing").into())
    }

    /// What the agent calls itself.
    fn version(&mut self, path: &Path) -> Result<String, Problem> {
        let program = Program {
            path: path.into(),
            arguments: vec!["--version".into()],
            environment: self.account.environment(&Vec::new()),
            user: Some(self.account.clone()),
            folder: "/".into(),
            ..Program::default()
        };
        let output = self.output(program, SHORT)?;
        let first = output.lines().next().unwrap_or_default();
        match first.contains("Coder") {
            true => Ok(first.chars().take(80).collect()),
            false => Err(format!("`{}` is a program, but no Coder agent: `--version` does not say so", self.url).into()),
        }
    }

    /// The output of a program that ends with 0.
    fn output(&mut self, program: Program, patience: Duration) -> Result<String, Problem> {
        let path = program.path.display().to_string();
        let program = Program { no_new_privileges: true, dies_with_parent: true, ..program };
        match self.runtime.run(&program, b"", patience, true) {
            Ok(finished) if finished.end == End::Code(0) => Ok(String::from_utf8_lossy(&finished.output).into_owned()),
            Ok(finished) => Err(format!("`{path}` does not work here: {}", finished.end).into()),
            Err(Trouble::Stopped) => Err(Problem::Stopped),
            Err(Trouble::TimedOut) => Err(format!("`{path}` does not end").into()),
            Err(Trouble::NotStarted(error)) => Err(format!("`{path}` cannot be started: {error}").into()),
        }
    }

    /// Makes the agent and its token known to whoever starts it.
    fn offer(&mut self, agent: &Path, token: &Secret) -> Result<(), Problem> {
        let refused = |path: &Path, error: std::io::Error| format!("to write `{}`: {error}", path.display());
        let (link, file) = (program(), token_file());
        files::link(agent, &link).map_err(|error| refused(&link, error))?;
        let owner = Some((self.account.uid, self.account.gid));
        files::write(&file, token.expose().as_bytes(), 0o600, owner).map_err(|error| refused(&file, error))?;
        if let Err(problem) = place::usual(agent) {
            // The agent runs all the same.
            self.runtime.report.warning(problem);
        }
        Ok(())
    }
}

/// The agent's own arguments.
pub(crate) fn arguments() -> Vec<OsString> {
    vec!["agent".into()]
}
