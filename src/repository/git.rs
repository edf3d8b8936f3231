//! Git: how it is started, and what it may touch.

use super::askpass;
use crate::account::{Account, DEFAULT_PATH};
use crate::process::{End, Handed, Program};
use crate::settings::{Environment, Repository, Secret, Settings, Sources};
use crate::worker::{Runtime, Trouble};
use std::ffi::OsString;
use std::io::Write as _;
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

const GIT: &str = "/usr/bin/git";
/// The longest that a clone may take. One that stands still ends much sooner.
const LONGEST: Duration = Duration::from_secs(3600);
/// What counts as standing still: less than so many bytes a second, for so many seconds.
const SLOWEST: (&str, &str) = ("1000", "60");
/// Prefixes of variables that speak to git or to its messages.
const THEIRS: [&str; 3] = ["GIT_", "LC_", "LANG"];
/// Those of them that say whom to trust.
const TRUST: [&str; 2] = ["GIT_SSL_CAINFO", "GIT_SSL_CAPATH"];

/// Why a try failed.
#[derive(Debug)]
pub(super) enum Failed {
    /// The worker was asked to stop.
    Stopped,
    /// Git failed and said why.
    Said(String),
    /// Something else; in words.
    Other(String),
}

/// How git is started for one try.
pub(super) struct Git<'a> {
    wanted: &'a Repository,
    environment: Environment,
    account: &'a Account,
    token: Option<Secret>,
}

impl<'a> Git<'a> {
    /// Reads the token anew: who keeps it in a file may have changed it.
    pub(super) fn new(
        wanted: &'a Repository,
        settings: &Settings,
        sources: &Sources,
        account: &'a Account,
    ) -> Result<Self, Failed> {
        let token = if wanted.authenticate { sources.secret("GITHUB_TOKEN").map_err(Failed::Other)? } else { None };
        let program = match &token {
            // Not a path in /proc, which would be git's own when git executes it.
            Some(_) => Some(std::env::current_exe().map_err(|error| Failed::Other(format!("where the entrypoint is: {error}")))?),
            None => None,
        };
        let environment = environment(wanted, settings, account, program);
        Ok(Self { wanted, environment, account, token })
    }

    pub(super) fn token(&self) -> Option<&Secret> {
        self.token.as_ref()
    }

    /// Clones into `folder`, which is not there, without any file of the repository yet.
    pub(super) fn fetch(&self, runtime: &mut Runtime, folder: &Path) -> Result<(), Failed> {
        let mut arguments: Vec<OsString> = vec!["clone".into(), "--quiet".into(), "--no-checkout".into()];
        if let Some(depth) = self.wanted.depth {
            arguments.push(format!("--depth={depth}").into());
        }
        if let Some(branch) = &self.wanted.branch {
            arguments.push(format!("--branch={branch}").into());
        }
        arguments.extend(["--".into(), self.wanted.url.clone().into(), folder.into()]);
        self.run(runtime, arguments)
    }

    /// Puts the files of the repository in `git_folder` into `work_tree`. On its own, since filters that fetch
    /// (LFS) need the token again.
    pub(super) fn check_out(&self, runtime: &mut Runtime, git_folder: &Path, work_tree: &Path) -> Result<(), Failed> {
        let option = |name: &str, path: &Path| {
            let mut option = OsString::from(name);
            option.push(path);
            option
        };
        let arguments = vec![
            option("--git-dir=", git_folder),
            option("--work-tree=", work_tree),
            "checkout".into(),
            "--force".into(),
            "--quiet".into(),
        ];
        match self.run(runtime, arguments) {
            // A repository without a commit is a clone all the same.
            Err(Failed::Said(said)) if said.contains("yet to be born") => Ok(()),
            ended => ended,
        }
    }

    fn run(&self, runtime: &mut Runtime, arguments: Vec<OsString>) -> Result<(), Failed> {
        let program = Program {
            path: GIT.into(),
            arguments,
            environment: self.environment.clone(),
            user: Some(self.account.clone()),
            folder: self.account.home.clone(),
            no_new_privileges: true,
            dies_with_parent: true,
            ..Program::default()
        };
        let handed = match &self.token {
            None => None,
            Some(token) => Some(hand(token).map_err(|error| Failed::Other(format!("to hand the token over: {error}")))?),
        };
        let handed: Vec<_> =
            handed.iter().map(|socket| Handed { variable: askpass::SOCKET, descriptor: socket.as_fd() }).collect();
        match runtime.run_with(&program, &[], &handed, LONGEST, true) {
            Ok(finished) if finished.end == End::Code(0) => Ok(()),
            Ok(finished) => {
                let said = String::from_utf8_lossy(&finished.errors).trim().to_owned();
                Err(Failed::Said(if said.is_empty() { format!("`{GIT}` ended with {}", finished.end) } else { said }))
            }
            Err(Trouble::Stopped) => Err(Failed::Stopped),
            Err(Trouble::TimedOut) => Err(Failed::Other(format!("it took longer than {} minutes", LONGEST.as_secs() / 60))),
            Err(Trouble::NotStarted(error)) => Err(Failed::Other(format!("`{GIT}`: {error}"))),
        }
    }
}

/// A socket from which the token can be read once.
fn hand(token: &Secret) -> std::io::Result<UnixStream> {
    let (theirs, mut ours) = UnixStream::pair()?;
    // Far less than a socket holds.
    ours.write_all(token.expose().as_bytes())?;
    ours.shutdown(Shutdown::Both)?;
    Ok(theirs)
}

/// The variables of git: nobody is asked, no hook runs, no helper sees or keeps the token.
fn environment(wanted: &Repository, settings: &Settings, account: &Account, askpass: Option<PathBuf>) -> Environment {
    let theirs = |name: &OsString| {
        let name = name.to_string_lossy();
        THEIRS.iter().any(|prefix| name.starts_with(prefix)) && !TRUST.contains(&&*name)
    };
    let mut environment: Environment = settings.fetch.iter().filter(|(name, _)| !theirs(name)).cloned().collect();
    if !environment.iter().any(|(name, _)| name == "PATH") {
        environment.push(("PATH".into(), DEFAULT_PATH.into()));
    }
    let mut set = |name: &str, value: OsString| environment.push((name.into(), value));
    set("HOME", account.home.clone().into());
    set("USER", account.name.clone().into());
    set("LOGNAME", account.name.clone().into());
    // Its messages are read here.
    set("LC_ALL", "C".into());
    set("GIT_TERMINAL_PROMPT", "0".into());
    set("GIT_HTTP_LOW_SPEED_LIMIT", SLOWEST.0.into());
    set("GIT_HTTP_LOW_SPEED_TIME", SLOWEST.1.into());
    let plain = wanted.url.starts_with("http://");
    set("GIT_ALLOW_PROTOCOL", if plain { "http:https" } else { "https" }.into());
    let mut settings = vec![
        ("core.hooksPath", "/dev/null"),
        // A file system may show other owners than the one who writes.
        ("safe.directory", "*"),
    ];
    if let Some(program) = askpass {
        set("GIT_ASKPASS", program.into());
        set(askpass::FOR, askpass::server(&wanted.url).into());
        settings.push(("credential.helper", ""));
    }
    set("GIT_CONFIG_COUNT", settings.len().to_string().into());
    for (index, (key, value)) in settings.into_iter().enumerate() {
        set(&format!("GIT_CONFIG_KEY_{index}"), key.into());
        set(&format!("GIT_CONFIG_VALUE_{index}"), value.into());
    }
    environment
}
