//! The worker `repository`: clones the repository of `ANSIBLE_REPO_URL`, unless it is there.
//!
//! Git runs as the workspace's user. What it makes lies beside its place until it is whole, so that a clone that
//! was killed is not taken for one. Whatever fails is said; nothing in here ends the container.

mod askpass;
mod explain;
mod git;
mod place;
mod script;

pub(crate) use askpass::Prompt;

use crate::account::Account;
use crate::failure::Failure;
use crate::persistence;
use crate::settings::{Repository, Settings, Sources};
use crate::worker::Runtime;
use explain::Verdict;
use git::{Failed, Git};
use place::{Names, Place, State};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Pauses before another try, when the network or the server is to blame.
const PAUSES: [Duration; 5] =
    [Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(15), Duration::from_secs(45), Duration::from_secs(60)];
/// What remains of a clone that failed or was given up on.
const GIVEN_UP: u8 = 1;

/// Everything that the steps need.
struct Clone<'a> {
    wanted: &'a Repository,
    settings: &'a Settings,
    sources: &'a Sources,
    account: &'a Account,
    place: Place,
}

/// Runs the worker and returns its exit code: 0 when the repository is there.
///
/// # Errors
/// The settings are wrong by now, or the system has no such user.
pub(crate) fn run(runtime: &mut Runtime, settings: &Settings, sources: &Sources) -> Result<u8, Failure> {
    let Some(wanted) = &settings.repository else {
        return settings.why_disabled("repository").map_or(Ok(0), Err);
    };
    let account = Account::workspace(settings.home.as_deref())?;
    let folder: PathBuf = account.home.join(&wanted.folder).components().collect();
    let clone = Clone { wanted, settings, sources, account: &account, place: Place::new(folder) };
    Ok(match clone.run(runtime) {
        Ok(()) => 0,
        // It was asked to stop.
        Err(None) => 0,
        Err(Some(problem)) => {
            runtime.report.error(problem);
            GIVEN_UP
        }
    })
}

/// Ended early: without a reason because of a stop, else with what is to be said.
type Early = Option<String>;

impl Clone<'_> {
    fn run(&self, runtime: &mut Runtime) -> Result<(), Early> {
        let folder = self.place.folder.display();
        // Both scripts belong to a start and not to a clone: what they set up may be gone though the clone is not.
        if let Some(script) = &self.wanted.before {
            let ended = self.script(runtime, "ANSIBLE_REPO_PRE_CLONE", script, &self.account.home)?;
            // It may be there to say whether this is a place to clone into.
            ended.map_err(|problem| Some(format!("nothing is cloned: {problem}")))?;
        }
        let state = self.account.act(|| self.place.look()).map_err(|failure| Some(failure.problems.concat()))?;
        if let State::Free(names) = state {
            self.make_room()?;
            self.until_there(runtime, names)?;
            self.remark(runtime);
        } else {
            runtime.report.info(format!("`{folder}` is there already: nothing is cloned"));
            if self.place.in_place() {
                // It would lie among the files of the clone. What cannot be removed is in nobody's way.
                let _ = self.account.act(|| self.place.clean());
            }
            // Nobody has to wait for what follows.
            runtime.report.ready();
        }
        if let Some(script) = &self.wanted.after {
            let ended = self.script(runtime, "ANSIBLE_REPO_POST_CLONE", script, &self.place.folder)?;
            ended.map_err(Some)?;
        }
        runtime.report.doing(format!("is in {folder}"));
        Ok(())
    }

    /// The folder above it, as the user; and no partial clones of starts that were killed.
    fn make_room(&self) -> Result<(), Early> {
        let folder = &self.place.folder;
        let above = if self.place.in_place() { folder.as_path() } else { folder.parent().unwrap_or(folder) };
        persistence::claim(above, self.account, 0o755).map_err(|problem| Some(format!("ANSIBLE_REPO_DIR: {problem}")))?;
        self.account.act(|| self.place.clean()).map_err(|failure| Some(failure.problems.concat()))
    }

    /// Tries until the repository is there, or cannot be had. What is `known` to be in its place may be overwritten.
    fn until_there(&self, runtime: &mut Runtime, mut known: Names) -> Result<(), Early> {
        let (url, folder) = (&self.wanted.url, self.place.folder.display());
        runtime.report.info(format!("clones `{url}` into `{folder}`"));
        runtime.report.doing(format!("clones {url}"));
        let mut pauses = PAUSES.into_iter();
        loop {
            let failed = match self.once(runtime, &mut known) {
                Ok(()) => {
                    runtime.report.info(format!("`{url}` is in `{folder}`"));
                    return Ok(());
                }
                Err(Failed::Stopped) => return Err(None),
                Err(Failed::Said(said)) => explain::explain(&said, self.wanted),
                Err(Failed::Other(problem)) => Verdict::Hopeless(problem),
            };
            let problem = match failed {
                Verdict::Hopeless(problem) => return Err(Some(format!("`{url}` is not cloned: {problem}"))),
                Verdict::Again(problem) => problem,
            };
            let Some(pause) = pauses.next() else {
                let hint = "`entrypoint restart repository` tries again";
                return Err(Some(format!("`{url}` is not cloned, after {} tries: {problem} ({hint})", PAUSES.len() + 1)));
            };
            runtime.report.warning(format!("`{url}` cannot be cloned now: {problem}; tries again in {} s", pause.as_secs()));
            runtime.report.doing(format!("waits to clone {url} again"));
            // Those that wait for it need not wait any longer.
            runtime.report.ready();
            runtime.sleep(pause).map_err(|_| None)?;
        }
    }

    /// One try, which leaves nothing half done where people look. Of a check-out in place that fails the files stay,
    /// `known` to the next try and marked for the next start.
    fn once(&self, runtime: &mut Runtime, known: &mut Names) -> Result<(), Failed> {
        let act = |work: &dyn Fn() -> Result<(), Failure>| {
            self.account.act(work).map_err(|failure| Failed::Other(failure.problems.concat()))
        };
        let git = Git::new(self.wanted, self.settings, self.sources, self.account)?;
        act(&|| self.place.clean())?;
        let mut begun = false;
        let cloned = git.fetch(runtime, &self.place.partial).and_then(|()| {
            let token = git.token();
            act(&|| place::is_clean(&self.place.partial, token))?;
            // Another container may share the volume, and a clone takes a while.
            act(&|| self.place.still_free(known))?;
            act(&|| self.place.begin())?;
            begun = true;
            let out = git.check_out(runtime, &self.place.git_folder(), &self.place.work_tree());
            if out.is_err() {
                // Where they cannot be listed, the next try is refused.
                known.extend(self.account.act(|| self.place.names()).unwrap_or_default());
            }
            out?;
            act(&|| self.place.finish())
        });
        if cloned.is_err() {
            // What happened tells more than what remains.
            let _ = self.account.act(|| self.place.clean().and_then(|()| if begun { self.place.begin() } else { Ok(()) }));
        }
        cloned
    }

    /// What is different from what people expect of a clone.
    fn remark(&self, runtime: &Runtime) {
        let flags = nix::sys::statvfs::statvfs(&self.place.folder).map(|found| found.flags());
        if flags.is_ok_and(|flags| flags.contains(nix::sys::statvfs::FsFlags::ST_NOEXEC)) {
            let folder = self.place.folder.display();
            runtime.report.warning(format!("`{folder}` is mounted noexec: programs in the repository cannot be executed"));
        }
    }

    /// Runs a script of the user's in `folder`; the inner error says how it failed.
    fn script(&self, runtime: &mut Runtime, variable: &str, text: &str, folder: &Path) -> Result<Result<(), String>, Early> {
        let environment = self.account.environment(&self.settings.session);
        runtime.report.doing(format!("runs {variable}"));
        let ended = script::run(runtime, text, |program| {
            program.environment = environment;
            program.folder = folder.to_owned();
            program.user = Some(self.account.clone());
            program.no_new_privileges = !self.settings.sudo;
        });
        match ended {
            Ok(()) => Ok(Ok(())),
            Err(None) => Err(None),
            Err(Some(problem)) => Ok(Err(format!("{variable}: {problem}"))),
        }
    }
}
