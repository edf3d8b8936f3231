//! The worker that registers the GitHub runner, runs its listener, and removes it from GitHub on every way out.
//!
//! A *registration* is what GitHub's list shows; a *record* of it is on this side ([`record`]) from before it exists
//! until after it is gone. One life: remove what an earlier one left, register, run the listener until it ends.

mod api;
mod backoff;
mod child;
mod folder;
mod github;
mod jwt;
mod leave;
mod leftovers;
mod listener;
mod name;
mod output;
mod record;
mod register;
mod serve;

use crate::account::Account;
use crate::failure::{Failure, UNAVAILABLE, USAGE};
use crate::places;
use crate::settings::{self, Settings, Sources};
use crate::worker::{Runtime, Stopped};
use backoff::Row;
use child::Child;
use folder::Folder;
use github::GitHub;
use nix::unistd::Uid;
use output::Output;
use record::Records;
use std::time::Duration;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Trouble {
    /// The worker was asked to stop.
    Stopped,
    /// It may work later, at the earliest after the time that the server asked for.
    Later { why: String, after: Option<Duration> },
    /// Somebody has to mend something first.
    Refused { why: String, hint: String },
    /// The name is taken, as the last moment has shown.
    Taken,
}

impl From<Stopped> for Trouble {
    fn from(_: Stopped) -> Self {
        Self::Stopped
    }
}

/// Everything that belongs to the runner of this container.
struct Keeper<'a> {
    settings: &'a Settings,
    runner: &'a settings::Runner,
    github: GitHub<'a>,
    records: Records,
    folder: Folder,
    output: Output,
    /// Whom jobs run as.
    account: Account,
    /// Whose workspace it is.
    workspace: Uid,
    /// The running listener.
    listener: Option<Child>,
    /// Whether it runs a job.
    working: bool,
    /// What it says its version is.
    version: String,
    /// Whether the name is known to be taken.
    avoid: bool,
    row: Row,
}

/// How long the worker may take to stop, out of the container's grace: the access services and the sweep of what is
/// left come after it.
pub(crate) fn patience(grace: Duration) -> Duration {
    crate::supervisor::side_share(grace)
}

/// Whom jobs run as.
///
/// # Errors
/// The image has no such user, or it is one that the runner refuses.
pub(crate) fn account(settings: &Settings, runner: &settings::Runner) -> Result<Account, Failure> {
    if !Uid::effective().is_root() {
        return Account::workspace(settings.home.as_deref());
    }
    let found = Account::called(&runner.user)?;
    let account = found
        .ok_or_else(|| Failure::new(UNAVAILABLE, format!("GITHUB_RUNNER_USER: this image has no user `{}`", runner.user)))?;
    if account.uid.is_root() {
        let failure = Failure::new(UNAVAILABLE, "GITHUB_RUNNER_USER is root: jobs do not run as root");
        return Err(failure.hint("`runner` is there for it"));
    }
    Ok(account)
}

/// Runs the worker until it is asked to stop.
///
/// # Errors
/// It cannot begin: no settings for it or wrong ones, no user.
pub(crate) fn run(runtime: &mut Runtime, settings: &Settings, sources: &Sources) -> Result<u8, Failure> {
    let Some(runner) = &settings.runner else {
        let unset = || Failure::new(USAGE, "GITHUB_RUNNER_URL and something to register with are not set");
        return Err(settings.why_disabled("runner").unwrap_or_else(unset));
    };
    let account = account(settings, runner)?;
    let workspace = Account::workspace(settings.home.as_deref())?;
    if account.uid == workspace.uid {
        runtime.report.warning(format!(
            "jobs run as `{}`, the workspace's own user: a job can do and read everything that the person can",
            account.name
        ));
    }
    let workspace_uid = workspace.uid;
    let mut output = Output::new(workspace, runner.debug);
    if let Err(why) = output.open() {
        runtime.report.warning(format!("its output is only in `entrypoint logs runner`: {why}"));
    }
    let mut row = Row::default();
    let folder = loop {
        let trouble = match Folder::prepare(&account, &settings.job, runner.work_folder.as_deref()) {
            Ok((folder, note)) => {
                note.into_iter().for_each(|note| runtime.report.info(note));
                break folder;
            }
            Err(trouble) => trouble,
        };
        if runtime.sleep(tell(runtime, &mut row, &trouble)).is_err() {
            return Ok(0);
        }
    };
    let keeper = Keeper {
        settings,
        runner,
        github: GitHub::new(runner, sources, &settings.fetch),
        records: Records::open(places::runtime().join("runner.json"), &api::runners(&runner.target)),
        folder,
        output,
        account,
        workspace: workspace_uid,
        listener: None,
        working: false,
        version: String::new(),
        avoid: false,
        row: Row::default(),
    };
    keeper.keep(runtime);
    Ok(0)
}

impl Keeper<'_> {
    /// One life after the other, until a stop.
    fn keep(mut self, runtime: &mut Runtime) {
        loop {
            let trouble = match self.life(runtime) {
                Ok(()) => continue,
                Err(trouble) => trouble,
            };
            if trouble == Trouble::Stopped || self.over(runtime, &trouble).is_err() {
                return self.leave(runtime);
            }
        }
    }

    /// From a clean list to the end of the listener; returns when the next one can begin at once.
    fn life(&mut self, runtime: &mut Runtime) -> Result<(), Trouble> {
        runtime.report.doing("registers");
        self.tidy(runtime)?;
        self.end_leftovers(runtime);
        let registered = self.register(runtime)?;
        self.serve(runtime, registered)
    }

    /// Ends what jobs have left behind, before a token is in the environment of a program that has their user.
    fn end_leftovers(&self, runtime: &Runtime) {
        let ended = leftovers::end(&self.account, self.workspace);
        if ended > 0 {
            runtime.report.info(format!("ended what jobs have left behind (processes: {ended})"));
        }
    }

    /// A life that ended badly leaves nothing behind, and the next one begins after a pause.
    fn over(&mut self, runtime: &mut Runtime, trouble: &Trouble) -> Result<(), Stopped> {
        let pause = tell(runtime, &mut self.row, trouble);
        if *trouble == Trouble::Taken {
            self.avoid = true;
        }
        if let Some(listener) = self.listener.take() {
            listener.kill(runtime);
        }
        // What does not work now is the first thing that the next life does.
        if self.tidy(runtime) == Err(Trouble::Stopped) {
            return Err(Stopped);
        }
        runtime.sleep(pause)
    }
}

/// Tells of `trouble`, and how long to wait after it.
fn tell(runtime: &Runtime, row: &mut Row, trouble: &Trouble) -> Duration {
    let (why, pause) = match trouble {
        Trouble::Stopped => return Duration::ZERO,
        Trouble::Later { why, after } => {
            let pause = row.failed(*after);
            runtime.report.warning(format!("{why}; tries again in {} s", pause.as_secs_f32().ceil()));
            (why.clone(), pause)
        }
        Trouble::Taken => {
            let why = "another runner has taken the name".to_owned();
            runtime.report.warning(format!("{why}: tries again with another one"));
            (why, row.failed(None))
        }
        Trouble::Refused { why, hint } => {
            runtime.report.error(format!("{why}; {hint}"));
            (why.clone(), backoff::REFUSED)
        }
    };
    runtime.report.doing(format!("waits to try again: {why}"));
    pause
}
