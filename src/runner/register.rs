//! How a runner comes onto GitHub's list.

use super::github::{self, Way, now};
use super::record::Record;
use super::{Keeper, Trouble, api, child::Child, name};
use crate::http::retry::random;
use crate::http::{self, Request};
use crate::process::End;
use crate::settings::{Scope, Secret};
use crate::worker::Runtime;
use nix::sys::signal::Signal;
use std::time::{Duration, Instant};

/// How long `config.sh` may take: it starts .NET twice and asks GitHub a few times.
const CONFIGURING: Duration = Duration::from_secs(180);
/// How long the ECS agent, which is on the same machine, may take to answer.
const ECS: Duration = Duration::from_secs(2);

/// A registration to work with.
pub(super) struct Registered {
    pub(super) record: Record,
    /// Configuration for one job; otherwise the listener finds its own in its folder.
    pub(super) jit: Option<Secret>,
}

impl Keeper<'_> {
    /// Registers, whatever it takes.
    pub(super) fn register(&mut self, runtime: &mut Runtime) -> Result<Registered, Trouble> {
        if self.runner.ephemeral {
            self.folder.clean_work().map_err(|why| Trouble::Later { why, after: None })?;
        }
        if let Some(record) = self.kept() {
            runtime.report.info(format!("goes on as `{}`, which is registered already", record.name));
            return Ok(Registered { record, jit: None });
        }
        self.refuse_public(runtime)?;
        let name = self.name(runtime)?;
        self.folder.clear()?;
        let list = api::runners(&self.runner.target);
        let record = Record { list, name, id: None, group: None, life: super::serve::life(), since: now() };
        // From here on it may be on the list, whatever happens to this process.
        self.put(&record)?;
        let registered = if self.runner.ephemeral && self.github.asks() {
            self.just_in_time(runtime, record)?
        } else {
            Registered { record: self.configure(runtime, record)?, jit: None }
        };
        let (record, target) = (&registered.record, &self.runner.target.url);
        runtime.report.info(format!("registered as `{}` (id {}) at {target}", record.name, record.id.unwrap_or_default()));
        self.avoid = false;
        Ok(registered)
    }

    /// The registration of an earlier run, where there is no way to get another one but an old token.
    fn kept(&self) -> Option<Record> {
        let (id, name) = if self.github.asks() { return None } else { self.folder.configured()? };
        self.records.all().iter().find(|record| record.id == Some(id) && record.name == name).cloned()
    }

    pub(super) fn put(&mut self, record: &Record) -> Result<(), Trouble> {
        let written = self.records.put(record);
        written.map_err(|error| Trouble::Later { why: format!("to write down what is registered: {error}"), after: None })
    }

    /// Whoever may propose a change to a public repository may let its runners execute anything.
    fn refuse_public(&mut self, runtime: &mut Runtime) -> Result<(), Trouble> {
        if !matches!(self.runner.target.scope, Scope::Repository { .. }) || self.runner.allow_public {
            return Ok(());
        }
        let doing = "to look at the repository";
        let asked = self.github.ask(runtime, "GET", &api::owner(&self.runner.target), None, Way::USUAL);
        let answer = asked.map_err(|trouble| match trouble {
            // Without credentials GitHub answers few questions an hour.
            Trouble::Later { why, after } if !self.github.asks() => {
                let unknown = "whether the repository is public is not known (GITHUB_RUNNER_ALLOW_PUBLIC=1 does not ask)";
                Trouble::Later { why: format!("{why}: {unknown}"), after }
            }
            other => other,
        })?;
        if !self.github.asks() && answer.status != 200 {
            // With a registration token alone nobody shows who asks: only a public repository is shown.
            return Ok(());
        }
        self.github.expect(doing, &answer, 200)?;
        if api::public(&answer.body).ok_or_else(|| github::strange(doing))? {
            return Err(Trouble::Refused {
                why: format!(
                    "{} is public: whoever proposes a change there could run anything in this container",
                    self.runner.target.url
                ),
                hint: "GITHUB_RUNNER_ALLOW_PUBLIC=1 registers all the same".to_owned(),
            });
        }
        Ok(())
    }

    /// A name that is free, after offline namesakes were removed.
    fn name(&mut self, runtime: &mut Runtime) -> Result<String, Trouble> {
        let task = self.task(runtime)?;
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let wanted = name::wanted(self.runner.name.as_deref(), task.as_deref(), &host);
        if !self.github.asks() {
            return Ok(name::choose(&wanted, &[], self.avoid, random()).name);
        }
        let list = api::runners(&self.runner.target);
        let there = self.github.list(runtime, &list, Way::USUAL)?;
        let choice = name::choose(&wanted, &there, self.avoid, random());
        if choice.online {
            runtime.report.info(format!("a runner called `{wanted}` is online: this one is called `{}`", choice.name));
        }
        for namesake in choice.remove {
            let doing = "to remove an offline namesake";
            let answer = self.github.ask(runtime, "DELETE", &format!("{list}/{}", namesake.id), None, Way::USUAL)?;
            if answer.status == 422 {
                // It has come back to life, and works.
                return Ok(name::choose(&wanted, &[], true, random()).name);
            }
            if answer.status != 404 {
                self.github.expect(doing, &answer, 204)?;
                runtime.report.info(format!("removed the offline runner `{}` (id {})", namesake.name, namesake.id));
            }
        }
        Ok(choice.name)
    }

    /// The id of the ECS task, if this is one and its agent answers.
    fn task(&self, runtime: &mut Runtime) -> Result<Option<String>, Trouble> {
        if self.runner.name.is_some() {
            return Ok(None);
        }
        let endpoint = self.settings.session.iter().find(|(name, _)| name == "ECS_CONTAINER_METADATA_URI_V4");
        let Some(endpoint) = endpoint.and_then(|(_, value)| value.to_str()) else { return Ok(None) };
        let request = Request::new("GET", format!("{}/task", endpoint.trim_end_matches('/'))).within(ECS);
        // It is on the machine itself: never by way of a proxy.
        match http::send(runtime, &Vec::new(), &request) {
            Ok(answer) if answer.status == 200 => Ok(api::task(&answer.body)),
            Err(http::Error::Stopped) => Err(Trouble::Stopped),
            Ok(_) | Err(_) => {
                runtime.report.warning("the ECS agent does not tell the task's id: the hostname is the name");
                Ok(None)
            }
        }
    }

    /// A configuration for one job.
    fn just_in_time(&mut self, runtime: &mut Runtime, mut record: Record) -> Result<Registered, Trouble> {
        let doing = "to get a just-in-time configuration";
        let group = self.github.group(runtime, self.runner.group.as_deref())?;
        let labels = labels(&self.runner.labels);
        let body = api::jit_request(&record.name, group, &labels, &self.folder.work.to_string_lossy());
        let url = format!("{}/generate-jitconfig", record.list);
        // A stop does not interrupt it: its answer tells what is to be removed.
        let way = Way { heed_stop: false, patience: super::patience(self.settings.grace) / 3 };
        let answer = self.github.ask(runtime, "POST", &url, Some(body), way)?;
        if answer.status == 409 {
            self.records.remove(&record);
            return Err(Trouble::Taken);
        }
        self.github.expect(doing, &answer, 201)?;
        let (id, config) = api::jit(&answer.body).ok_or_else(|| github::strange(doing))?;
        record.id = Some(id);
        self.put(&record)?;
        Ok(Registered { record, jit: Some(config) })
    }

    /// The usual way: a registration token, and `config.sh`.
    fn configure(&mut self, runtime: &mut Runtime, mut record: Record) -> Result<Record, Trouble> {
        let token = self.registration_token(runtime, &record.list)?;
        let mut arguments: Vec<_> =
            ["--unattended", "--disableupdate", "--url", &self.runner.target.url].map(Into::into).to_vec();
        arguments.extend(["--name".into(), record.name.clone().into()]);
        arguments.extend(["--work".into(), self.folder.work.clone().into()]);
        if !self.runner.labels.is_empty() {
            arguments.extend(["--labels".into(), self.runner.labels.join(",").into()]);
        }
        if let Some(group) = &self.runner.group {
            arguments.extend(["--runnergroup".into(), group.into()]);
        }
        if self.runner.ephemeral {
            arguments.push("--ephemeral".into());
        }
        let program = self.folder.program("config.sh", arguments, Some(("ACTIONS_RUNNER_INPUT_TOKEN", &token)));
        let (end, said) = self.execute(runtime, &program, &token, Some(&mut record), None)?;
        let configured = self.folder.configured().filter(|(_, name)| name.eq_ignore_ascii_case(&record.name));
        if let (End::Code(0), Some((id, _))) = (end, configured) {
            record.id = Some(id);
            record.group = None;
            self.put(&record)?;
            return Ok(record);
        }
        if said.to_ascii_lowercase().contains("exists") {
            self.records.remove(&record);
            return Err(Trouble::Taken);
        }
        let old =
            if self.github.asks() { "" } else { " (a registration token is good for an hour; GITHUB_RUNNER_PAT for longer)" };
        Err(Trouble::Later { why: format!("`config.sh` failed with {end}: `{said}`{old}"), after: None })
    }

    fn registration_token(&mut self, runtime: &mut Runtime, list: &str) -> Result<Secret, Trouble> {
        if !self.github.asks() {
            return self.github.secret("GITHUB_RUNNER_TOKEN");
        }
        let doing = "to get a registration token";
        let answer = self.github.ask(runtime, "POST", &format!("{list}/registration-token"), None, Way::USUAL)?;
        self.github.expect(doing, &answer, 201)?;
        api::token(&answer.body).ok_or_else(|| github::strange(doing))
    }

    /// Runs `config.sh` to its end; what it says goes where the listener's lines go. A stop gives it a third of the
    /// time that is left: the end that it comes to by itself is one that leaves no doubt. Returns its end and the
    /// last that it said. `until`: on the way out, when it has to be over.
    pub(super) fn execute(
        &mut self,
        runtime: &mut Runtime,
        program: &crate::process::Program,
        token: &Secret,
        record: Option<&mut Record>,
        until: Option<Instant>,
    ) -> Result<(End, String), Trouble> {
        let failed = |error| Trouble::Later { why: format!("cannot start `{}`: {error}", program.path.display()), after: None };
        let mut child = Child::start(program).map_err(failed)?;
        if let Some(record) = record {
            record.group = Some(child.group());
            // A record without the group is a good one as well.
            let _ = self.records.put(record);
        }
        let limit = Instant::now() + CONFIGURING;
        let mut said = String::new();
        loop {
            let stopped = runtime.stopped();
            let end = child.ended();
            let lines = child.lines().replace(token.expose(), "***");
            if !lines.is_empty() {
                self.output.write(&lines);
                said = lines.lines().map(str::trim).rfind(|line| !line.is_empty()).map_or(said, str::to_owned);
            }
            if let Some(end) = end {
                // Whoever it has started goes with it.
                child.signal(Signal::SIGKILL);
                return Ok((end, said.chars().filter(|c| !c.is_control()).take(300).collect()));
            }
            let limit = until.or(stopped.map(|at| at + super::patience(self.settings.grace) / 3)).unwrap_or(limit);
            if Instant::now() >= limit {
                child.kill(runtime);
                let late = Trouble::Later { why: format!("`{}` does not end", program.path.display()), after: None };
                return Err(if stopped.is_some() { Trouble::Stopped } else { late });
            }
            runtime.wait(&child.interests(), Some(limit));
        }
    }
}

/// The labels of a just-in-time configuration, to which GitHub adds none.
fn labels(asked: &[String]) -> Vec<String> {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "ARM64",
        "arm" => "ARM",
        _ => "X64",
    };
    let mut labels = asked.to_vec();
    for own in ["self-hosted", "Linux", architecture] {
        if !labels.iter().any(|label| label.eq_ignore_ascii_case(own)) {
            labels.push(own.to_owned());
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::labels;

    #[test]
    fn labels_that_github_would_have_added() {
        let architecture = if cfg!(target_arch = "aarch64") { "ARM64" } else { "X64" };
        assert_eq!(labels(&["self-hosted".into(), "linux".into(), "aws".into()]), ["self-hosted", "linux", "aws", architecture]);
        assert_eq!(labels(&[]), ["self-hosted", "Linux", architecture]);
    }
}
