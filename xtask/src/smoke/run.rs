//! The containers of a run: started, asked, entered, stopped. What is seen goes to `judge`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::checks::Choice;
use super::enter::{self, Person, Way};
use super::inside;
use super::judge::{self, PublishedSize, Reached, Seen};
use super::promise::Promise;
use super::report::{Check, Outcome, Tried, Verdict, worst};
use super::room::{Room, random};
use super::script::{ORPHANS, TUNNEL, WAITS, leaks};
use super::start::{self, End, Given, Robot, Start, UNAVAILABLE, WEB_PORT, Web};
use crate::contents::Layer;
use crate::engine::{CommandOutput, ContainerRequest, Engine, Health};
use crate::event::{Event, Events, Outcome as EventOutcome};
use crate::failure::{Exit, Failure};
use crate::oci::{Digest, ImageConfig};

/// How often a container is looked at.
const LOOK: Duration = Duration::from_millis(250);
/// How often the image's own health check is run, instead of as often as it says: people wait here.
const HEALTH: Duration = Duration::from_secs(1);
/// What `docker stop` gives a container.
const GRACE: Duration = Duration::from_secs(10);
/// The end of a container's log, for messages.
const TAIL: usize = 40;
/// More than any container of ours prints: a log as a whole.
const WHOLE: usize = 10_000;
/// How many questions are asked at once of one image, and how many of its containers run at once.
pub(super) const AT_ONCE: usize = 4;

/// An image to try.
#[derive(Debug, Clone)]
pub struct Subject {
    /// What it has to show.
    pub promise: Promise,
    /// What people call it: `ansible-epic:aws`.
    pub image: String,
    /// What is started: its stage tag or id.
    pub reference: String,
    /// Its identity.
    pub config_digest: Digest,
    /// Its configuration.
    pub config: ImageConfig,
    /// Its layers, lowest first.
    pub layers: Vec<Arc<Layer>>,
    /// All of them, compressed, or why that is not known.
    pub compressed: Result<u64, String>,
    /// What is published of it, or why that is not known.
    pub published: Result<Option<PublishedSize>, String>,
}

/// How images are tried.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many images at the same time.
    pub jobs: usize,
    /// How long a container may take until it is healthy.
    pub patience: Duration,
    /// Which checks.
    pub choice: Choice,
}

/// Tries all of them; the results are in their order. What is started is left to [`Room::clear`].
///
/// # Errors
/// There is no key to log in with, or no network to be alone in.
pub async fn try_all(room: &Room, subjects: Vec<Subject>, options: Options, events: &Events) -> Result<Vec<Tried>, Failure> {
    let person = Person::new(random(16)?).await.map_err(|error| {
        Failure::new(Exit::Missing, "`ssh-keygen` makes no key, and without one nobody can log in").source(error)
    })?;
    room.open().await?;
    let (person, places) = (Arc::new(person), Arc::new(Semaphore::new(options.jobs.max(1))));
    let mut tasks = JoinSet::new();
    let mut names = BTreeMap::new();
    for (at, subject) in subjects.iter().cloned().enumerate() {
        let (room, person, places, events) = (room.clone(), person.clone(), places.clone(), events.clone());
        let options = options.clone();
        let task = tasks.spawn(async move {
            let _place = places.acquire().await;
            let step = subject.promise.variant.to_string();
            events.emit(Event::StepStarted { step: step.clone(), title: format!("trying {}", subject.image) });
            let started = Instant::now();
            let checks = try_one(&room, &subject, &person, &options, &events).await;
            let failed = checks.iter().filter(|check| check.outcome == Outcome::Failed).count();
            let (outcome, detail) = match failed {
                0 => (EventOutcome::Done, String::new()),
                1 => (EventOutcome::Failed, "1 check failed".to_owned()),
                more => (EventOutcome::Failed, format!("{more} checks failed")),
            };
            events.emit(Event::StepFinished { step, outcome, seconds: started.elapsed(), detail });
            (at, checks, started.elapsed())
        });
        names.insert(task.id(), at);
    }
    let mut tried = BTreeMap::new();
    while let Some(ended) = tasks.join_next().await {
        let (at, checks, took) = match ended {
            Ok(ended) => ended,
            // A check that panics is a failure of that image, and of nothing else.
            Err(error) => {
                let check = Verdict::failed(format!("the check itself broke: {error}")).of("smoke", Duration::ZERO);
                (names.get(&error.id()).copied().unwrap_or_default(), vec![check], Duration::ZERO)
            }
        };
        tried.insert(at, (checks, took));
    }
    let tried = subjects.into_iter().enumerate().map(|(at, subject)| {
        let (checks, took) = tried.remove(&at).unwrap_or_default();
        Tried {
            variant: subject.promise.variant,
            image: subject.image,
            config_digest: subject.config_digest,
            outcome: worst(&checks),
            remembered: None,
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
            checks,
        }
    });
    Ok(tried.collect())
}

async fn try_one(room: &Room, subject: &Subject, person: &Person, options: &Options, events: &Events) -> Vec<Check> {
    let Options { patience, ref choice, .. } = *options;
    let mut starts = start::starts(&subject.promise, Given { key: &person.public, password: &person.password });
    starts.retain(|start| choice.takes_start(start));
    let mut checks = still(subject);
    checks.retain(|check| choice.takes(&check.name));
    let run = &subject.config.run;
    if run.entrypoint.is_empty() && run.cmd.is_empty() && !starts.is_empty() {
        starts.clear();
        checks.push(Verdict::skipped("not started: it has no entrypoint").of("starts", Duration::ZERO));
    }
    let told = |text: &str| {
        let step = subject.promise.variant.to_string();
        events.emit(Event::StepProgress { step, current: text.to_owned(), done: 0, total: 0 });
    };
    told(&format!("{} starts", starts.len()));
    let places = Semaphore::new(AT_ONCE);
    let started = starts.iter().map(|start| Trying { room, subject, person, patience, start, places: &places }.run());
    let (asked, started) = tokio::join!(inside::ask(room, subject, choice), join_all(started));
    [checks, asked, started.concat()].concat()
}

/// What can be told of an image that does not run.
fn still(subject: &Subject) -> Vec<Check> {
    let Subject { promise, config, .. } = subject;
    let mut verdicts: Vec<(&str, Verdict)> = judge::configuration(config, &promise.env);
    verdicts.push(("labels", judge::labels(&config.labels, &promise.labels)));
    verdicts.push(("secrets in the configuration", judge::secrets(config)));
    let findings = subject.layers.iter().flat_map(|layer| &layer.findings);
    verdicts.push(("layers", judge::layers(findings, subject.layers.len())));
    let compressed = subject.compressed.as_ref().copied().map_err(String::as_str);
    verdicts.push(("size", judge::size(compressed, promise.max_size)));
    let published = subject.published.as_ref().map(Option::as_ref).map_err(String::as_str);
    verdicts.push(("growth", judge::growth(compressed, published, promise.max_growth)));
    verdicts.into_iter().map(|(name, verdict)| verdict.of(name, Duration::ZERO)).collect()
}

/// One start of an image.
struct Trying<'a> {
    room: &'a Room,
    subject: &'a Subject,
    person: &'a Person,
    patience: Duration,
    start: &'a Start,
    places: &'a Semaphore,
}

impl Trying<'_> {
    async fn run(self) -> Vec<Check> {
        let _place = self.places.acquire().await;
        let request = ContainerRequest {
            env: self.start.env.clone(),
            ports: [self.start.ssh, self.start.web.map(|_| WEB_PORT)].into_iter().flatten().map(|port| (port, 0)).collect(),
            user: self.start.user.clone(),
            health_interval: Some(HEALTH),
            confinement: self.start.confinement.clone(),
            ..self.room.container(&self.subject.reference, &self.subject.promise.variant, self.start.name)
        };
        let name = request.name.clone();
        let begun = Instant::now();
        let mut checks = Vec::new();
        let seen = match self.room.run(request).await {
            Ok(_) => self.watch(&name).await,
            Err(error) => Seen {
                reached: Reached::NotStarted(error.to_string()),
                health: String::new(),
                log: String::new(),
                after: begun.elapsed(),
            },
        };
        let mut told = |what: &str, verdict: Verdict, took| checks.push(verdict.of(format!("{}: {what}", self.start.name), took));
        let runs = seen.runs();
        match &self.start.end {
            End::Refuses { says } => told("says so", judge::refuses(&seen, says, UNAVAILABLE), begun.elapsed()),
            End::Waits { says } => told("says so", judge::waits(&seen, says.line(&seen.log), &says.told()), begun.elapsed()),
            End::Serves => {
                told("starts", judge::started(&seen), Duration::ZERO);
                told("health", judge::health(&seen), begun.elapsed());
            }
        }
        let ends = matches!(self.start.end, End::Refuses { .. });
        if runs && !ends {
            for (what, verdict, took) in self.enter(&name).await {
                told(what, verdict, took);
            }
            let started = Instant::now();
            told("stops", self.stop(&name).await, started.elapsed());
        }
        // A container that has said all it had to say leaves room for the next.
        self.room.done(&name).await;
        checks
    }

    fn engine(&self) -> &Engine {
        self.room.engine()
    }

    async fn log(&self, name: &str) -> String {
        self.engine().logs(name, TAIL).await.unwrap_or_default()
    }

    /// Waits until a container is what it should be, or cannot become it any more.
    async fn watch(&self, name: &str) -> Seen {
        let begun = Instant::now();
        let mut health = String::new();
        let reached = loop {
            let state = self.engine().container(name).await.ok().flatten().unwrap_or_default();
            health.clone_from(&state.health_said);
            if let Some(code) = state.exit_code {
                break Reached::Ended(code);
            }
            match (&self.start.end, state.health) {
                (End::Serves, Health::Healthy) => break Reached::Healthy,
                (End::Serves, Health::Unhealthy) => break Reached::Unhealthy,
                (End::Serves, Health::None) => {
                    let script = "exec /usr/local/bin/entrypoint healthcheck".to_owned();
                    if enter::inside(self.engine(), name, script).await.success() {
                        break Reached::Serves;
                    }
                }
                (End::Waits { says }, _) if says.line(&self.log(name).await).is_some() => break Reached::Said,
                _ => {}
            }
            if begun.elapsed() >= self.patience {
                break Reached::Undecided;
            }
            tokio::time::sleep(LOOK).await;
        };
        Seen { reached, health, log: self.log(name).await, after: begun.elapsed() }
    }

    /// Everything that is tried while it runs.
    async fn enter(&self, name: &str) -> Vec<(&'static str, Verdict, Duration)> {
        let mut told = Vec::new();
        let published = self.engine().container(name).await.ok().flatten().unwrap_or_default().ports;
        let way = async |port: u16| enter::way(self.engine(), name, port, published.get(&port).copied()).await;
        if let Some(port) = self.start.ssh {
            let (started, way) = (Instant::now(), way(port).await);
            let output = self.person.login(self.engine(), name, way, false).await;
            let login = judge::login(&output, way.told());
            let gets_in = login.outcome == Outcome::Passed;
            told.push(("login", login, started.elapsed()));
            let started = Instant::now();
            let refused = match gets_in {
                true => judge::password_refused(&self.person.login(self.engine(), name, way, true).await),
                false => Verdict::skipped("not tried: nobody gets in with a key"),
            };
            told.push(("password refused", refused, started.elapsed()));
        }
        match self.start.web {
            Some(Web::Password) => {
                let (started, way) = (Instant::now(), way(WEB_PORT).await);
                told.push(("page", self.page(name, way).await, started.elapsed()));
            }
            Some(Web::Loopback) => {
                let started = Instant::now();
                told.push(("page on loopback", self.loopback(name).await, started.elapsed()));
            }
            None => {}
        }
        let ask = async |script: String| enter::inside(self.engine(), name, script).await;
        match self.start.runner {
            Some(Robot::Absent) => {
                let (started, log) = (Instant::now(), self.log(name).await);
                told.push(("runner, left out", judge::lacks_runner(&log), started.elapsed()));
            }
            Some(Robot::Waits) => {
                let started = Instant::now();
                let output = ask(WAITS.to_owned()).await;
                told.push(("runner waits", judge::runner_waits(&output, &self.log(name).await), started.elapsed()));
                let started = Instant::now();
                let output = ask(leaks(&self.person.password)).await;
                let verdict = match self.engine().logs(name, WHOLE).await {
                    Ok(log) => judge::leaks("the token", &output, log.contains(&self.person.password)),
                    Err(error) => Verdict::failed(format!("the log cannot be read: {error}")),
                };
                told.push(("token kept secret", verdict, started.elapsed()));
            }
            None => {}
        }
        if self.start.web == Some(Web::Password) {
            let started = Instant::now();
            let output = ask(leaks(&self.person.password)).await;
            told.push(("password in no process", judge::leaks("the password", &output, false), started.elapsed()));
        }
        if self.start.tunnels() {
            let started = Instant::now();
            told.push(("user", judge::tunnel_user(&ask(TUNNEL.to_owned()).await), started.elapsed()));
        }
        if self.start.end == End::Serves {
            let started = Instant::now();
            told.push(("zombies", judge::zombies(&ask(ORPHANS.to_owned()).await), started.elapsed()));
        }
        told
    }

    async fn page(&self, name: &str, way: Way) -> Verdict {
        let without = self.person.page_without(self.engine(), name, way).await;
        let with = match &without {
            Ok(_) => self.person.page_with(self.engine(), name, way).await,
            Err(why) => Err(why.clone()),
        };
        judge::page(&without, &with, way.told())
    }

    async fn loopback(&self, name: &str) -> Verdict {
        let ask = |host: &str| {
            format!(
                "curl --silent --show-error --max-time 8 --output /dev/null --write-out '%{{http_code}}' http://{host}:{WEB_PORT}/"
            )
        };
        // It may still be on its way: Coder's agent is what the container waits for, not this. Bounded by time and not by a number
        // of tries, which on a busy machine take longer than the whole may.
        let script = format!(
            "end=$(($(date +%s) + 25)); while [ $(date +%s) -lt $end ]; do code=$({}) && break; sleep 0.5; done 2> /dev/null; {}",
            ask("127.0.0.1"),
            ask("127.0.0.1")
        );
        let inside: CommandOutput = enter::inside(self.engine(), name, script).await;
        let outside = enter::inside(self.engine(), name, ask("$(hostname -i | cut -d' ' -f1)")).await;
        judge::loopback(&inside, &outside)
    }

    /// Stops it as `docker stop` does.
    async fn stop(&self, name: &str) -> Verdict {
        let state = self.engine().container(name).await.ok().flatten().unwrap_or_default();
        if let Some(code) = state.exit_code {
            return Verdict::failed(format!("it had ended by itself with {code} before it was stopped"))
                .detail(self.log(name).await);
        }
        let begun = Instant::now();
        if let Err(error) = self.engine().stop(name, GRACE).await {
            return Verdict::failed(format!("it cannot be stopped: {error}"));
        }
        let after = begun.elapsed();
        let code = self.engine().ended(name, GRACE).await.ok().flatten();
        judge::stopped(code, after, GRACE, &self.log(name).await)
    }
}
