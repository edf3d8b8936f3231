//! What a release is made of: from a plan, and what the engine has of it, to what goes where under which tags.

use std::collections::BTreeMap;

use super::prepare::Prepared;
use super::{engine, lineage};
use crate::build::Inventory;
use crate::engine::{Engine, HeldImage, HeldLayer, InspectedImage};
use crate::failure::{Exit, Failure};
use crate::family::Image;
use crate::oci::{Digest, Repository};
use crate::plan::{self, Plan, Step};
use crate::publish::{
    self, Built, Circumstances, Delivery, IndexRelease, Origin, PublishError, ReleasePlan, Tag, TagKind, Tree, VariantRelease,
};
use crate::store::{Direct, DirectImage, DirectLayer, Want};

/// The engine, asked for once something needs it.
#[derive(Default)]
pub(super) struct OnceEngine(tokio::sync::OnceCell<Engine>);

impl OnceEngine {
    pub(super) async fn get(&self) -> Result<&Engine, Failure> {
        self.0.get_or_try_init(engine::connect).await
    }

    /// If somebody has asked for it.
    pub(super) fn known(&self) -> Option<&Engine> {
        self.0.get()
    }
}

/// Layers that this user may read in the engine's own files are not exported.
pub(super) fn held(engine: &Engine) -> Direct {
    let engine = engine.clone();
    let layer = |layer: HeldLayer| DirectLayer { diff_id: layer.diff_id, open: Box::new(move || Ok(Box::new(layer.open()?))) };
    let image = move |HeldImage { config, layers }| DirectImage { config, layers: layers.into_iter().map(layer).collect() };
    Direct::new(move |ids| Some(engine.held(ids)?.into_iter().map(image).collect()))
}

/// What the engine has of the plan.
#[derive(Default)]
pub(super) struct Here {
    pub(super) images: BTreeMap<String, InspectedImage>,
    /// Why it could not be asked.
    pub(super) unreachable: Option<Failure>,
}

/// The finished variants in the engine, as far as they are there: what is published already needs no engine.
pub(super) async fn built(plan: &Plan, engine: &OnceEngine) -> Result<Here, Failure> {
    let engine = match engine.get().await {
        Ok(engine) => engine,
        Err(failure) if failure.exit == Exit::Missing => return Ok(Here { unreachable: Some(failure), ..Here::default() }),
        Err(failure) => return Err(failure),
    };
    let inventory = Inventory::new(engine.images().await?);
    let mut built = BTreeMap::new();
    for variant in &plan.variants {
        let step = plan.step(&variant.finished).filter(|step| inventory.find(step).is_some());
        if let Some(stage) = step.and_then(|step| step.stage.as_ref())
            && let Some(image) = engine.inspect(stage).await?
        {
            built.insert(variant.name.to_string(), image);
        }
    }
    Ok(Here { images: built, unreachable: None })
}

/// `--destination NAME=REPOSITORY`, by name.
pub(super) struct Destinations(BTreeMap<String, Repository>);

impl Destinations {
    pub(super) fn parse(flags: &[String]) -> Result<Self, Failure> {
        let mut named = BTreeMap::new();
        for flag in flags {
            let (name, repository) = super::destinations::replacement(flag)?;
            if named.insert(name, repository).is_some() {
                return Err(Failure::new(Exit::Usage, format!("`--destination {flag}`: this name is given twice")));
            }
        }
        Ok(Self(named))
    }

    /// The deliveries of a variant: those of the command line replace the file's.
    fn of(&self, prepared: &Prepared, image: &Image, tags: &[Tag]) -> Vec<Delivery> {
        let delivery = |destination: String, repository: Repository, insecure, origin| Delivery {
            destination,
            repository,
            insecure,
            origin,
            tags: tags.to_vec(),
        };
        if !self.0.is_empty() {
            let given = self.0.iter().map(|(name, repository)| (name.clone(), repository.clone()));
            return given.map(|(name, repository)| delivery(name, repository, false, Origin::CommandLine)).collect();
        }
        let names = image.published.iter().flat_map(|published| &published.destinations);
        let known = names.filter_map(|name| Some((name, prepared.family.destinations.get(name)?)));
        known.map(|(name, to)| delivery(name.to_string(), to.repository.clone(), to.insecure, Origin::File)).collect()
    }
}

/// What is published of a plan: every variant, its tags at every destination, and the image, where the engine has it.
///
/// # Errors
/// A policy forbids it.
pub(super) fn release(
    prepared: &Prepared,
    plan: &Plan,
    built: &BTreeMap<String, InspectedImage>,
    destinations: &Destinations,
    allow_dirty: bool,
) -> Result<(ReleasePlan, Vec<IndexRelease>), Failure> {
    let tree = match &prepared.facts.revision {
        None => Tree::NoGit,
        Some(revision) if revision.dirty => Tree::Dirty,
        Some(_) => Tree::Clean,
    };
    let (mut releases, mut indexes) = (Vec::new(), Vec::new());
    let platforms = &prepared.family.platforms;
    for variant in &plan.variants {
        let finished = plan.step(&variant.finished);
        let (Some(image), Some(step)) = (prepared.family.images.get(&variant.name), finished) else { continue };
        let revision = match &prepared.facts.revision {
            Some(revision) if tree == Tree::Clean => revision.commit.chars().take(7).collect(),
            _ => format!("dirty-{}", step.input.short(8)),
        };
        let names = plan::published_tags(&prepared.family, image, &plan.build_date, &revision);
        let uses_revision = prepared.family.tags.immutable.uses("revision");
        let tag = |kind, uses_revision| move |name: &String| Tag { name: name.clone(), kind, uses_revision };
        let immutable = names.immutable.iter().map(tag(TagKind::Immutable, uses_revision));
        let tags: Vec<Tag> = immutable.chain(names.moving.iter().map(tag(TagKind::Moving, false))).collect();
        let mut to = destinations.of(prepared, image, &tags);
        if platforms.len() > 1 {
            let (variant, platforms) = (variant.name.clone(), platforms.clone());
            indexes.push(IndexRelease { variant, platforms, destinations: to.clone() });
            for tags in to.iter_mut().map(|to| &mut to.tags) {
                tags.retain(|tag| tag.kind == TagKind::Immutable);
                tags.iter_mut().for_each(|tag| tag.name = publish::member_tag(&tag.name, plan.platform));
            }
        }
        let here = built.get(variant.name.as_str());
        let here = here.map(|found| in_engine(found, step, variant.local_tags.first())).transpose()?;
        releases.push(VariantRelease {
            variant: variant.name.clone(),
            platform: plan.platform,
            input: step.input,
            built: here,
            config_digest: None,
            ancestors: lineage::ancestors(&prepared.family, image),
            destinations: to,
        });
    }
    let plan = ReleasePlan::new(releases, Circumstances { tree, allow_dirty });
    Ok((plan.map_err(|refusals| PublishError::Refused { refusals })?, indexes))
}

/// What is exported goes by its stage tag, which nobody but a build moves. The local tag may be anybody's by now.
fn in_engine(found: &InspectedImage, step: &Step, tag: Option<&String>) -> Result<Built, Failure> {
    let id = found.image.id.parse::<Digest>();
    let id = id.map_err(|error| Failure::new(Exit::Unexpected, "the engine's image id").source(error))?;
    Ok(Built {
        image: tag.cloned().unwrap_or_default(),
        want: Want { name: step.stage.clone().unwrap_or_default(), id },
        manifest: None,
        diff_ids: found.diff_ids.clone(),
        labels: found.image.labels.clone(),
    })
}

/// What a release is called: `ansible-epic-2026.11.20-3f2c1ab`. All that is published of one commit and date is one release.
pub(super) fn release_name(prepared: &Prepared, plan: &Plan) -> String {
    let revision = match &prepared.facts.revision {
        Some(revision) if !revision.dirty => revision.commit.chars().take(7).collect(),
        Some(_) => "dirty".to_owned(),
        None => "unversioned".to_owned(),
    };
    format!("{}-{}-{revision}", plan.family, plan.build_date.to_string().replace('-', "."))
}
