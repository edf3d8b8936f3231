//! How a runner gets off GitHub's list: at a stop, and wherever an earlier life has left something.

use super::github::{Way, now};
use super::record::Record;
use super::serve::{alive, life};
use super::{Keeper, Trouble, api, child::Child, patience};
use crate::process::End;
use crate::worker::Runtime;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{Pid, getpgrp};
use std::time::{Duration, Instant};

/// How long one request may take on the way out: at most, and even if it is late already.
const LAST_REQUEST: Duration = Duration::from_secs(3);
const SHORTEST_REQUEST: Duration = Duration::from_millis(500);
/// How often a removal is tried again on the way out.
const AGAIN: Duration = Duration::from_millis(500);
/// How long a request of somebody who was killed may still be on its way.
const STILL_COMES: Duration = Duration::from_secs(1);
/// How long the listener may take to end when there is nothing for it to do any more.
const IDLE_ENDS: Duration = Duration::from_secs(3);
/// The most of the patience that is left to PID 1's view of it.
const MOST_SPARED: Duration = Duration::from_secs(2);
/// The most of the grace that is kept for what comes after a job was cancelled.
const MOST_RESERVED: Duration = Duration::from_secs(15);
/// How long a registration token is good for, in seconds, less a little.
const TOKEN_LIVES: u64 = 59 * 60;

/// What became of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Removal {
    /// It is not on the list (any more), or not ours (any more).
    Gone,
    /// It is not on the list, but may still come: whoever was registering it had not heard of it yet.
    Unseen,
    /// GitHub does not remove it while it runs a job.
    Busy,
}

impl Keeper<'_> {
    /// Removes whatever is recorded: what a killed worker, a crashed listener or a failed start has left.
    pub(super) fn tidy(&mut self, runtime: &mut Runtime) -> Result<(), Trouble> {
        for record in self.records.all().to_vec() {
            self.end_group(&record);
            if !self.github.asks() {
                self.forget_old(runtime, &record);
                continue;
            }
            match self.remove(runtime, &record, Way::USUAL)? {
                Removal::Gone | Removal::Unseen => self.records.remove(&record),
                Removal::Busy => runtime.report.warning(format!(
                    "the runner `{}` (id {}) of before counts as busy: GitHub removes it later, or this container when it stops",
                    record.name,
                    record.id.unwrap_or_default()
                )),
            }
        }
        Ok(())
    }

    /// Ends what an earlier worker of this container has left running.
    fn end_group(&self, record: &Record) {
        let Some(group) = record.group.filter(|_| record.life != 0 && record.life == life()).map(Pid::from_raw) else { return };
        if group != getpgrp() && self.listener.is_none() && alive(group.as_raw(), self.account.uid.as_raw()) {
            // It has just ended: just what is wanted.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }

    /// With a registration token alone: what is not configured here cannot be removed from here.
    fn forget_old(&mut self, runtime: &mut Runtime, record: &Record) {
        let here = self.folder.configured();
        if here.is_some_and(|(id, name)| record.id.is_none_or(|recorded| recorded == id) && name == record.name) {
            return;
        }
        if record.id.is_some() {
            runtime.report.warning(left_behind(record, "a registration token alone cannot remove it"));
        }
        self.records.remove(record);
    }

    /// Removes one registration if it is still ours.
    fn remove(&mut self, runtime: &mut Runtime, record: &Record, way: Way) -> Result<Removal, Trouble> {
        let doing = "to remove the runner";
        // Whoever was interrupted while registering may have got onto the list under this name, which nobody else
        // can have registered then; somebody who is online by now is not the one who was interrupted.
        let Some(id) = record.id else {
            let list = self.github.list(runtime, &record.list, way)?;
            let ours = list.into_iter().find(|listed| listed.name.eq_ignore_ascii_case(&record.name) && !listed.online);
            return ours.map_or(Ok(Removal::Unseen), |listed| self.delete(runtime, record, listed.id, way));
        };
        let answer = self.github.ask(runtime, "GET", &format!("{}/{id}", record.list), None, way)?;
        if answer.status == 404 {
            // Not there, or not to be seen with these rights: the list tells.
            let answer = self.github.ask(runtime, "GET", &format!("{}?per_page=1", record.list), None, way)?;
            return self.github.expect(doing, &answer, 200).map(|()| Removal::Gone);
        }
        self.github.expect(doing, &answer, 200)?;
        match api::runner(&answer.body) {
            Some(listed) if listed.name.eq_ignore_ascii_case(&record.name) => self.delete(runtime, record, id, way),
            // The id is somebody else's.
            Some(_) => Ok(Removal::Gone),
            None => Err(super::github::strange(doing)),
        }
    }

    fn delete(&mut self, runtime: &mut Runtime, record: &Record, id: u64, way: Way) -> Result<Removal, Trouble> {
        let answer = self.github.ask(runtime, "DELETE", &format!("{}/{id}", record.list), None, way)?;
        match answer.status {
            204 => {
                runtime.report.info(format!("removed `{}` (id {id}) from GitHub", record.name));
                Ok(Removal::Gone)
            }
            404 => Ok(Removal::Gone),
            409 | 422 => Ok(Removal::Busy),
            _ => self.github.expect("to remove the runner", &answer, 204).map(|()| Removal::Gone),
        }
    }

    /// The way out: off the list as soon as GitHub lets it go, the listener ended, all within the patience that PID 1
    /// has with this worker. What cannot be removed is said.
    pub(super) fn leave(mut self, runtime: &mut Runtime) {
        runtime.report.doing("leaves");
        let began = runtime.stopped().unwrap_or_else(Instant::now);
        let patience = patience(self.settings.grace);
        let deadline = began + patience - (patience / 10).min(MOST_SPARED);
        let cancel_at = deadline - patience.mul_f64(0.4).min(MOST_RESERVED);
        if self.github.asks() {
            self.leave_by_request(runtime, cancel_at, deadline);
        } else {
            self.leave_by_token(runtime, cancel_at, deadline);
        }
    }

    /// Asks GitHub until it lets go.
    fn leave_by_request(&mut self, runtime: &mut Runtime, cancel_at: Instant, deadline: Instant) {
        let group = self.listener.as_ref().map(Child::group);
        let (mut asked, mut busy_told, mut refusals) = (false, false, 0);
        let mut why = "there was no time".to_owned();
        let mut stale = Vec::new();
        let mut unseen_since = None;
        while !self.records.all().is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left < Duration::from_millis(100) || refusals > 1 {
                break;
            }
            // Whoever is slow now must not keep the job from being cancelled in time.
            let next = if asked { left } else { cancel_at.saturating_duration_since(Instant::now()).min(left) };
            let patience = next.clamp(SHORTEST_REQUEST, LAST_REQUEST).min(left);
            let way = Way { heed_stop: false, patience };
            let mut busy = false;
            for record in self.records.all().to_vec() {
                match self.remove(runtime, &record, way) {
                    Ok(Removal::Gone) => self.records.remove(&record),
                    Ok(Removal::Unseen) => {
                        if unseen_since.get_or_insert_with(Instant::now).elapsed() >= STILL_COMES {
                            self.records.remove(&record);
                        }
                    }
                    Ok(Removal::Busy) if group.is_some() && record.group == group => {
                        busy = true;
                        why = "it still runs a job".to_owned();
                    }
                    // What an earlier life has left: nothing in here works on its job, so nothing is to be waited for.
                    Ok(Removal::Busy) => {
                        self.records.remove(&record);
                        stale.push(record);
                    }
                    Err(Trouble::Refused { why: refused, .. }) => {
                        refusals += 1;
                        why = refused;
                    }
                    Err(Trouble::Later { why: later, .. }) => why = later,
                    Err(Trouble::Stopped | Trouble::Taken) => {}
                }
            }
            self.pump(runtime);
            if busy && !busy_told && !asked {
                busy_told = true;
                let seconds = cancel_at.saturating_duration_since(Instant::now()).as_secs();
                runtime.report.warning(format!("a job is running: it has {seconds} s to end"));
                runtime.report.doing("waits for the end of a job");
            }
            // While GitHub cannot be asked, what the listener said last tells whether it works.
            let waits = (busy || self.working) && Instant::now() < cancel_at;
            if !asked && !waits && !self.records.all().is_empty() {
                asked = true;
                self.end_listener(runtime);
            }
            if !self.records.all().is_empty() {
                self.idle(runtime, (Instant::now() + AGAIN).min(deadline));
            }
        }
        if !asked {
            self.end_listener(runtime);
        }
        // Off the list and without a job, it has nothing to lose; it may be asking for what is not there any more.
        let gone = self.records.all().is_empty() && !self.working;
        self.outlive(runtime, if gone { deadline.min(Instant::now() + IDLE_ENDS) } else { deadline });
        for record in self.records.all().to_vec() {
            runtime.report.error(left_behind(&record, &why));
        }
        for record in stale {
            runtime.report.error(left_behind(&record, "GitHub still counts it as busy with a job of before"));
            // The next start tries again.
            let _ = self.records.put(&record);
        }
    }

    /// With a registration token alone: the listener ends first, and `config.sh remove` tries the token again.
    fn leave_by_token(&mut self, runtime: &mut Runtime, cancel_at: Instant, deadline: Instant) {
        self.pump(runtime);
        if self.working {
            runtime.report.doing("waits for the end of a job");
            while self.working && self.listener.is_some() && Instant::now() < cancel_at {
                self.idle(runtime, (Instant::now() + AGAIN).min(cancel_at));
            }
        }
        self.end_listener(runtime);
        self.outlive(runtime, cancel_at.max(Instant::now() + (deadline - cancel_at) / 2));
        for record in self.records.all().to_vec() {
            let why = match self.remove_by_token(runtime, &record, deadline) {
                Ok(()) => {
                    runtime.report.info(format!("removed `{}` from GitHub", record.name));
                    self.records.remove(&record);
                    continue;
                }
                Err(why) => why,
            };
            runtime.report.warning(left_behind(&record, &why));
        }
    }

    fn remove_by_token(&mut self, runtime: &mut Runtime, record: &Record, deadline: Instant) -> Result<(), String> {
        if now().saturating_sub(record.since) > TOKEN_LIVES {
            return Err("its registration token has expired; with GITHUB_RUNNER_PAT it would have been removed".to_owned());
        }
        if self.folder.configured().is_none_or(|(_, name)| name != record.name) {
            return Err("it is not configured here any more".to_owned());
        }
        let Ok(token) = self.github.secret("GITHUB_RUNNER_TOKEN") else { return Err("there is no token any more".to_owned()) };
        self.end_leftovers(runtime);
        let program = self.folder.program("config.sh", vec!["remove".into()], Some(("ACTIONS_RUNNER_INPUT_TOKEN", &token)));
        match self.execute(runtime, &program, &token, None, Some(deadline)) {
            Ok((End::Code(0), _)) => Ok(()),
            Ok((end, said)) => Err(format!("`config.sh remove` failed with {end}: `{said}`")),
            Err(_) => Err("there was no time for `config.sh remove`".to_owned()),
        }
    }

    /// Asks the listener to end: it cancels its job.
    fn end_listener(&mut self, runtime: &Runtime) {
        if let Some(listener) = &self.listener {
            if self.working {
                runtime.report.warning("the running job is cancelled");
            }
            listener.ask();
        }
    }

    /// Waits for the listener's end until `until`, and then ends what is left of it.
    fn outlive(&mut self, runtime: &mut Runtime, until: Instant) {
        while self.listener.is_some() && Instant::now() < until {
            self.idle(runtime, until);
        }
        if let Some(listener) = &self.listener {
            runtime.report.warning("the listener does not end and is killed");
            listener.signal(Signal::SIGKILL);
        }
    }

    /// Waits until `until`, or until the listener says something or ends.
    fn idle(&mut self, runtime: &mut Runtime, until: Instant) {
        loop {
            runtime.stopped();
            let ended = self.listener.as_mut().is_some_and(|listener| listener.ended().is_some());
            self.pump(runtime);
            if ended {
                if let Some(listener) = self.listener.take() {
                    listener.signal(Signal::SIGKILL);
                }
                self.working = false;
                return;
            }
            if Instant::now() >= until {
                return;
            }
            let interests = self.listener.as_ref().map(Child::interests).unwrap_or_default();
            runtime.wait(&interests, Some(until));
        }
    }
}

/// What stays on the list, and until when.
fn left_behind(record: &Record, why: &str) -> String {
    let which = record.id.map_or_else(|| "which may have been registered".to_owned(), |id| format!("id {id}"));
    format!(
        "left behind on GitHub: the runner `{}` ({which}): {why}; remove it in the settings under Actions, Runners, or \
         GitHub does so after 14 days",
        record.name
    )
}
