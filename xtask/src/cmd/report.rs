//! `cargo xtask report`: a page to look at. It builds and publishes nothing; what cannot be looked at is said.

use std::collections::BTreeMap;
use std::path::PathBuf;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::contents::Library;
use super::prepare::{Locking, Prepared};
use super::subject::{Finder, Place};
use super::{Session, destinations, edge, published};
use crate::build::{Inventory, Runs};
use crate::byte_size::size;
use crate::cli::{self, Format};
use crate::contents::Contents;
use crate::diff;
use crate::engine::InspectedImage;
use crate::failure::{Exit, Failure};
use crate::family::Name;
use crate::host::places::Places;
use crate::oci::Digest;
use crate::plan::{self, Plan};
use crate::publish::{Ledger, PublishError};
use crate::report::assemble::{self, Stages};
use crate::report::{self, Build, Change, ChangeFound, Destination, Image, Report, Smoke};
use crate::smoke;
use crate::store::Want;

pub(super) async fn run(session: &Session, args: &cli::Report) -> Result<(), Failure> {
    let report = session.interruptible(gather(session, args)).await?;
    let page = args.output.clone().or_else(|| (session.console.format() != Format::Json).then(|| default_page(session)));
    if let Some(page) = &page {
        if let Some(folder) = page.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let failed = |error| Failure::new(Exit::Missing, format!("cannot make `{}`", folder.display())).source(error);
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        edge::write_beside(page, report::page(&report).as_bytes())?;
    }
    let path = page.map(|page| page.display().to_string()).unwrap_or_default();
    session.console.result(&report, &path);
    Ok(())
}

fn default_page(session: &Session) -> PathBuf {
    session.root.join("target").join("gantry-report.html")
}

async fn gather(session: &Session, args: &cli::Report) -> Result<Report, Failure> {
    let mut inputs = args.inputs.clone();
    inputs.selection.all |= inputs.selection.variants.is_empty();
    let prepared = Prepared::gather(session, &inputs, Locking::InMemory).await?;
    let plan = prepared.plan()?;
    let targets = destinations::targets(&prepared.family, &args.destinations)?;
    let places = session.places()?;
    let ledger = Ledger::newest(&places.state_folder("releases")?).map_err(PublishError::Ledger)?;
    let finder = Finder::new(session, Some(&prepared.family), &args.destinations)?;
    let library = Library::open(session, prepared.family.compression)?;
    let mut destinations = published::remembered(&prepared.family, &prepared.variants, &targets, &ledger);
    let asking = async {
        if !args.no_registries {
            published::ask(&mut destinations, &targets, &prepared.credentials).await;
        }
    };
    let (here, ()) = tokio::join!(Here::look(&places, &plan, &finder, &library), asking);
    let here = here?;
    let comparing = Comparing { finder: &finder, library: &library, deep: args.deep };
    let differences = comparing.all(&destinations, &here).await;

    let contents: Vec<(String, &Contents)> = here.images.iter().map(|(name, found)| (name.clone(), &found.contents)).collect();
    let layers = assemble::layers(&contents, &plan, here.stages.as_ref());
    let images = plan.variants.iter().map(|variant| {
        let found = here.images.get(variant.name.as_str());
        let description = prepared.family.images.get(&variant.name).and_then(|image| image.published.as_ref());
        Image {
            variant: variant.name.to_string(),
            description: description.map(|published| published.description.clone()).unwrap_or_default(),
            tags: variant.local_tags.clone(),
            omitted: variant.omitted.iter().map(ToString::to_string).collect(),
            built: found.map(|found| assemble::built(&found.contents, &layers, found.outdated, found.smoke.clone())),
        }
    });
    let revision = prepared.facts.revision.as_ref();
    let now = OffsetDateTime::now_utc();
    Ok(Report {
        schema: 1,
        family: plan.family.to_string(),
        title: prepared.family.title.clone(),
        source: prepared.family.source.clone(),
        profile: plan.profile.to_string(),
        platform: plan.platform.to_string(),
        build_date: plan.build_date.to_string(),
        revision: revision.map(|revision| revision.commit.clone()),
        dirty: revision.is_some_and(|revision| revision.dirty),
        made: now.replace_nanosecond(0).unwrap_or(now).format(&Rfc3339).unwrap_or_default(),
        notes: plan.warnings.iter().chain(&here.notes).cloned().collect(),
        steps: assemble::steps(&plan, here.stages.as_ref(), &layers),
        images: images.collect(),
        build: last_build(Runs::read(&Runs::file(&places.state_folder("builds")?, plan.family.as_str(), plan.profile.as_str()))),
        differences,
        destinations,
        layers,
    })
}

fn last_build(runs: Runs) -> Option<Build> {
    let run = runs.worked()?.clone();
    let since = runs.newest.filter(|newest| newest.began != run.began);
    Some(Build { run, since })
}

/// What the engine has.
struct Here {
    /// None: it could not be asked.
    stages: Option<Stages>,
    images: BTreeMap<String, Found>,
    notes: Vec<String>,
}

/// A variant in the engine.
struct Found {
    contents: Contents,
    outdated: bool,
    smoke: Option<Smoke>,
}

impl Here {
    async fn look(places: &Places, plan: &Plan, finder: &Finder, library: &Library) -> Result<Self, Failure> {
        let engine = match finder.engine.get().await {
            Ok(engine) => engine,
            Err(failure) if failure.exit == Exit::Missing => {
                let note = format!("The engine could not be asked: {}", failure.message);
                return Ok(Self { stages: None, images: BTreeMap::new(), notes: vec![note] });
            }
            Err(failure) => return Err(failure),
        };
        let inventory = Inventory::new(engine.images().await?);
        let mut stages = Stages::new();
        for step in plan.steps.iter().filter(|step| inventory.find(step).is_some()) {
            if let Some(found) = engine.inspect(step.stage.as_deref().unwrap_or_default()).await? {
                stages.insert(step.id.clone(), found.diff_ids);
            }
        }
        let (mut found, mut wants) = (Vec::new(), Vec::new());
        for variant in &plan.variants {
            let step = plan.step(&variant.finished).filter(|step| inventory.find(step).is_some());
            let (name, outdated) = match step.and_then(|step| step.stage.as_deref()) {
                Some(stage) => (stage, false),
                None => (variant.local_tags.first().map(String::as_str).unwrap_or_default(), true),
            };
            let Some(image) = engine.inspect(name).await?.filter(|image| is_of(plan, &variant.name, image)) else { continue };
            let id = image.image.id.parse::<Digest>();
            let id = id.map_err(|error| Failure::new(Exit::Unexpected, "the engine's image id").source(error))?;
            found.push((variant.name.to_string(), outdated));
            wants.push(Want { name: name.to_owned(), id });
        }
        // All at once: they share layers.
        let contents = library.of_engine(finder, &wants).await?;
        let images = found.into_iter().zip(contents);
        let images = images.map(|((name, outdated), contents)| {
            // A record that cannot be read says nothing.
            let record = smoke::Record::read(places, contents.config_digest).unwrap_or_default();
            let smoke =
                record.map(|record| Smoke { passed: record.passed(), checks: record.results.len() as u64, at: record.at });
            (name, Found { contents, outdated, smoke })
        });
        let images = images.collect();
        Ok(Self { stages: Some(stages), images, notes: Vec::new() })
    }
}

/// Whether a local tag is this family's variant, and not somebody's image of that name.
fn is_of(plan: &Plan, variant: &Name, image: &InspectedImage) -> bool {
    let label = |key: &str| image.image.labels.get(key).map(String::as_str);
    label(plan::FAMILY) == Some(plan.family.as_str()) && label(plan::VARIANT) == Some(variant.as_str())
}

/// What is published of the variants that are here, and how they differ from it.
struct Comparing<'a> {
    finder: &'a Finder,
    library: &'a Library,
    /// Whether what was never looked into is downloaded.
    deep: bool,
}

impl Comparing<'_> {
    async fn all(&self, destinations: &[Destination], here: &Here) -> Vec<Change> {
        let mut changes = Vec::new();
        for (variant, found) in &here.images {
            let published = destinations.iter().find_map(|destination| {
                let mut tags = destination.tags.iter().filter(|tag| tag.moving && tag.variant == *variant);
                tags.find_map(|tag| Some((destination, tag, tag.digest?)))
            });
            if let Some((destination, tag, digest)) = published {
                changes.push(Change {
                    variant: variant.clone(),
                    from: format!("{}:{}", destination.repository, tag.tag),
                    digest: Some(digest),
                    found: self.one(&format!("{}@{digest}", destination.repository), found).await,
                });
            }
        }
        changes
    }

    /// That it cannot be read is a part of the report.
    async fn one(&self, published: &str, found: &Found) -> ChangeFound {
        match self.compared(published, found).await {
            Ok(found) => found,
            Err(failure) => ChangeFound::NotCompared { why: failure.message },
        }
    }

    async fn compared(&self, published: &str, here: &Found) -> Result<ChangeFound, Failure> {
        let subject = self.finder.find(published).await?;
        if let Place::Registry(stored) = &subject.place
            && stored.config_digest == here.contents.config_digest
        {
            return Ok(ChangeFound::Same);
        }
        let (layers, bytes) = self.library.unread(&subject);
        if layers > 0 && !self.deep {
            let layers = if layers == 1 { "1 layer".to_owned() } else { format!("{layers} layers") };
            let why = format!("{layers} of it ({}) would have to be downloaded: `--deep` does that", size(bytes));
            return Ok(ChangeFound::NotCompared { why });
        }
        let mut contents = self.library.contents(self.finder, &[&subject]).await?;
        let Some(published) = contents.pop() else { return Ok(ChangeFound::NotCompared { why: "it was not read".to_owned() }) };
        Ok(ChangeFound::Different { difference: Box::new(diff::compare(&published, &here.contents).without_list()) })
    }
}
