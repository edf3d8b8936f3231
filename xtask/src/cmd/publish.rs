//! `cargo xtask publish`: builds, tries and pushes, and pushes only what passed. Everything that can be known to stand in the
//! way is known before the build begins; one variant that fails means that nothing of the family is published.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::json;

use super::deliver::{Delivering, How, interrupted};
use super::prepare::{Locking, Prepared};
use super::release::{Destinations, Here, OnceEngine, built, release};
use super::summary::{self, Pushed};
use super::tried::{Fetched, Untried};
use super::{Session, age, build, edge, notes, preflight, smoke};
use crate::build::Inventory;
use crate::cli::Publish;
use crate::event::Event;
use crate::failure::{Exit, Failure};
use crate::family::Name;
use crate::oci::Digest;
use crate::output;
use crate::plan::{self, Plan, Schedule};
use crate::publish::{Choice, IndexRelease, PublishError, PublishedIndex, Release, ReleasePlan};
use crate::smoke::Report;

/// What passed longer ago is tried again: there may be updates for it by now.
const RECENT: Duration = Duration::from_secs(24 * 60 * 60);

pub(super) async fn run(session: &Session, args: &Publish) -> Result<(), Failure> {
    let done = publish(session, args).await;
    if let Err(failure) = &done
        && !args.dry_run
    {
        summary::add_to_workflow(&summary::failed("publish", &failure.message), &session.console.events());
    }
    done
}

/// The result: what was built, what was tried, what was published.
#[derive(Serialize)]
struct Done {
    #[serde(flatten)]
    pushed: Pushed,
    times: Times,
    /// What came of the checks; none where nothing had to be tried.
    smoke: Option<Report>,
}

/// How long each part took, in seconds; none of what was not necessary.
#[derive(Default, Serialize)]
struct Times {
    build: Option<f64>,
    smoke: Option<f64>,
    push: f64,
}

impl std::fmt::Display for Times {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let parts = [("build", self.build), ("smoke", self.smoke), ("push", Some(self.push))];
        let parts = parts.iter().filter_map(|(what, seconds)| Some(format!("{what} {:.1} s", (*seconds)?)));
        writeln!(f, "of these: {}", parts.collect::<Vec<_>>().join(", "))
    }
}

async fn publish(session: &Session, args: &Publish) -> Result<(), Failure> {
    let started = Instant::now();
    let destinations = Destinations::parse(&args.to.destinations)?;
    if !args.dry_run {
        make_folders(args)?;
    }
    let locking = if args.dry_run { Locking::InMemory } else { Locking::Write };
    let prepared = Prepared::gather(session, &args.inputs, locking).await?;
    let plan = prepared.plan()?;
    age::check(session, &prepared, &plan, args.to.allow_old_pins)?;
    let engine = OnceEngine::default();
    let inventory = Inventory::new(engine.get().await?.images().await?);
    let schedule = plan::schedule(&plan, |step| inventory.find(step).is_some(), args.no_cache);
    let ask = Asking { session, args, prepared: &prepared, plan: &plan, engine: &engine, destinations: &destinations };
    let (wanted, indexes) = ask.wanted().await?;
    preflight::policies(&plan, &wanted)?;
    // Who wants everything built anew wants that published, and not what is there of the same input.
    let force = args.to.force || args.no_cache;
    let how = How { dry_run: args.dry_run, force, back: args.to.force, sbom: !args.to.no_sbom };
    let mut delivering = Delivering::open(session, &prepared, &plan, &engine, how).await?;
    let references = wanted.references();
    let failed = |error: PublishError, delivering: &Delivering<'_>| Failure::from(delivering.failed(error, &references));
    let interrupt = session.interrupt()?;
    let looking = async {
        delivering.connect(&wanted).await?;
        preflight::all(session, &prepared, &wanted, delivering.registries(), &schedule).await?;
        delivering.decide(wanted, true).await.map_err(|error| failed(error, &delivering))
    };
    let first = interrupt.or(looking).await.ok_or_else(interrupted)??;
    ask.explain(&first);
    let published = ask.untried(&delivering, &first);
    if args.dry_run {
        return preview(session, &plan, &schedule, &first, &published);
    }
    let mut times = Times::default();
    let (release, smoke) = match anew(&first).is_empty() && published.is_empty() {
        true => (first, None),
        false => {
            if !anew(&first).is_empty() {
                let building = Instant::now();
                let options = build::Options { jobs: args.jobs.into(), no_cache: args.no_cache, wait: true };
                build::build(session, &prepared, &plan, engine.get().await?.clone(), &options).await?;
                times.build = Some(building.elapsed().as_secs_f64());
            }
            let trying = Instant::now();
            let (release, report) = ask.tried(&mut delivering).await.map_err(|error| match error {
                Trouble::Publish(error) => failed(error, &delivering),
                Trouble::Other(failure) => failure,
            })?;
            times.smoke = Some(trying.elapsed().as_secs_f64());
            (release, Some(report))
        }
    };
    delivering.tried(&release).accepted()?.tell(&session.console.events());
    let pushing = Instant::now();
    let pushed = interrupt.or(delivering.carry_out(&release, &indexes)).await;
    // Whatever came of it: another attempt takes what is published as it is.
    let indexes = pushed.iter().flatten().flat_map(|pushed| &pushed.indexes);
    let written = ask.write_subjects(&delivering, &release, indexes);
    let pushed = pushed.ok_or_else(interrupted)?.map_err(|error| failed(error, &delivering))?;
    written?;
    times.push = pushing.elapsed().as_secs_f64();
    let pushed = Pushed { seconds: started.elapsed().as_secs_f64(), ..pushed };
    ask.write_notes(&delivering, &pushed).await?;
    delivering.finish(&pushed).await;
    let text = format!("{}{times}", summary::text(&pushed));
    session.console.result(&Done { pushed, times, smoke }, &text);
    Ok(())
}

/// Folders for the files that are written at the end: too late to find out that there is no place for them.
fn make_folders(args: &Publish) -> Result<(), Failure> {
    for folder in [&args.subjects, &args.notes].into_iter().flatten().filter_map(|file| file.parent()) {
        std::fs::create_dir_all(folder)
            .map_err(|error| Failure::new(Exit::Missing, format!("cannot make `{}`", folder.display())).source(error))?;
    }
    Ok(())
}

/// Variants that are published anew, instead of as a destination has them.
fn anew(release: &Release) -> Vec<Name> {
    let built = release.items.iter().filter(|item| item.choice == Choice::Built);
    built.map(|item| item.release.variant.clone()).collect()
}

/// What goes wrong between the build and the push.
enum Trouble {
    Publish(PublishError),
    Other(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

impl From<PublishError> for Trouble {
    fn from(error: PublishError) -> Self {
        Self::Publish(error)
    }
}

/// What a release is asked for with.
struct Asking<'a> {
    session: &'a Session,
    args: &'a Publish,
    prepared: &'a Prepared,
    plan: &'a Plan,
    engine: &'a OnceEngine,
    destinations: &'a Destinations,
}

impl Asking<'_> {
    /// What is to be published, with what the engine has of it now.
    async fn wanted(&self) -> Result<(ReleasePlan, Vec<IndexRelease>), Failure> {
        let Here { images, .. } = built(self.plan, self.engine).await?;
        release(self.prepared, self.plan, &images, self.destinations, self.args.to.allow_dirty)
    }

    /// Says what `--no-cache` does not do.
    fn explain(&self, release: &Release) {
        for item in release.items.iter().filter(|_| self.args.no_cache) {
            if let Choice::Adopted { tag, .. } = &item.choice {
                let text = format!(
                    "`{}` is published as `{tag}` and stays as it is, `--no-cache` or not: a new commit or another \
                     `--build-date` gives it a tag of its own",
                    item.release.variant
                );
                self.session.console.events().emit(Event::Warning { text });
            }
        }
    }

    /// Writes the file of what is to be attested; without such images there is none.
    fn write_subjects<'i>(
        &self,
        delivering: &Delivering<'_>,
        release: &Release,
        indexes: impl Iterator<Item = &'i PublishedIndex>,
    ) -> Result<(), Failure> {
        let Some(file) = &self.args.subjects else { return Ok(()) };
        // What cannot be read names nothing.
        let earlier = std::fs::read_to_string(file).unwrap_or_default();
        let mut candidates = notes::candidates(release, delivering.ledger());
        candidates.extend(indexes.filter_map(notes::of_index));
        let subjects = notes::subjects(&candidates, &earlier);
        for variant in &subjects.others {
            let text = format!("`{variant}` was not built by this run, so it is not among what is to be attested");
            self.session.console.events().emit(Event::Note { text });
        }
        if !subjects.text.is_empty() {
            return edge::write_beside(file, subjects.text.as_bytes());
        }
        match std::fs::remove_file(file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Failure::new(Exit::Missing, format!("cannot remove `{}`", file.display())).source(error))
            }
            _ => Ok(()),
        }
    }

    /// Writes the release notes; those of an earlier attempt, which has published all of it, say more.
    async fn write_notes(&self, delivering: &Delivering<'_>, pushed: &Pushed) -> Result<(), Failure> {
        let Some(file) = &self.args.notes else { return Ok(()) };
        if std::fs::read_to_string(file).is_ok_and(|earlier| notes::are_of(&earlier, pushed)) {
            return Ok(());
        }
        let changes = self.session.interruptible(async { Ok(delivering.changes(pushed).await) }).await?;
        edge::write_beside(file, notes::release(&self.plan.family, pushed, &changes).as_bytes())
    }

    /// What is published already and has to be tried here.
    fn untried(&self, delivering: &Delivering<'_>, release: &Release) -> Vec<Untried> {
        if self.args.untried { Vec::new() } else { delivering.tried(release).not_passed }
    }

    /// Tries what is built and not published, and what is published and was never tried; decides about what passed.
    async fn tried(&self, delivering: &mut Delivering<'_>) -> Result<(Release, Report), Trouble> {
        let (wanted, _) = self.wanted().await?;
        let decided = self.session.interruptible(async { Ok(delivering.decide(wanted.clone(), false).await) }).await??;
        let of = |variant: &Name| self.plan.variants.iter().find(|planned| planned.name == *variant).cloned();
        let published = self.untried(delivering, &decided);
        let names = anew(&decided).into_iter().chain(published.iter().map(|one| one.variant.clone()));
        let plan = Plan { variants: names.filter_map(|name| of(&name)).collect(), ..self.plan.clone() };
        let (events, credentials) = (self.session.console.events(), &self.prepared.credentials);
        let mut fetched = Fetched::default();
        let getting = fetched.get(&published, self.engine, credentials, &events);
        let got = self.session.interruptible(getting).await;
        let trying = async {
            got?;
            let (within, destinations, published) = (Some(RECENT), self.args.to.destinations.clone(), fetched.images.clone());
            let options = smoke::Options { within, destinations, published, ..smoke::Options::default() };
            smoke::smoke(self.session, self.prepared, &plan, self.engine.get().await?, &options).await
        };
        let report = trying.await;
        fetched.forget(self.engine).await;
        let report = report?;
        smoke::verdict(&report)
            .map_err(|failure| failure.hint("nothing was published: one variant that fails holds back all"))?;
        let passed: BTreeMap<Name, Digest> =
            report.images.iter().map(|image| (image.variant.clone(), image.config_digest)).collect();
        let wanted = wanted.tested(&passed);
        delivering.refresh()?;
        // It has taken a while: others may have published meanwhile.
        let again = self.session.interruptible(async { Ok(delivering.decide(wanted, false).await) }).await??;
        let published = self.untried(delivering, &again);
        let needed = anew(&again).into_iter().chain(published.into_iter().map(|one| one.variant));
        match needed.into_iter().find(|variant| !passed.contains_key(variant)) {
            None => Ok((again, report)),
            Some(variant) => {
                let message = format!(
                    "what is published of `{variant}` has changed meanwhile, and what would be published now was not tried"
                );
                Err(Failure::new(Exit::Refused, message).hint("run the same command again").into())
            }
        }
    }
}

/// What would be built, tried and pushed, as far as that can be told.
fn preview(session: &Session, plan: &Plan, schedule: &Schedule, first: &Release, published: &[Untried]) -> Result<(), Failure> {
    let (anew, preview) = (anew(first), first.preview());
    let names: Vec<&Name> = anew.iter().chain(published.iter().map(|one| &one.variant)).collect();
    let value = json!({
        "schema": 1,
        "plan": plan,
        "actions": if anew.is_empty() { json!({}) } else { json!(schedule.actions) },
        "smoke": names,
        "untried": published,
        "release": preview,
    });
    let mut text = match anew.is_empty() {
        true => "nothing to build: all of it is published\n".to_owned(),
        false => output::dry_run(plan, schedule),
    };
    if !names.is_empty() {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        text += &format!("\nthen tried (`cargo xtask smoke --dry-run` shows how): {}\n", names.join(", "));
    }
    for one in published {
        let before = if one.failed { "failed on this machine" } else { "was never tried on this machine" };
        let how = if one.here.is_some() { "which is here" } else { "which is pulled for that" };
        text += &format!("  `{}` is published and {before}: {}, {how}\n", one.variant, one.name());
    }
    session.console.result(&value, &format!("{text}\n{preview}"));
    Ok(())
}
