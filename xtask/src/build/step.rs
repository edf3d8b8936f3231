//! One step of a plan, carried out.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

use bytes::Bytes;
use tokio::sync::Mutex;

use super::vertices::Vertices;
use super::{Entrypoint, Site};
use crate::artifact::image::{self, ImageError, ImageSpec, LayerSource};
use crate::artifact::{self, ArtifactError};
use crate::context::ContextError;
use crate::engine::{BuildEvent, BuildRequest, EngineError};
use crate::event::{Event, Events};
use crate::family::{Name, Place};
use crate::host::{self, HostError};
use crate::oci::{Digest, Platform, Reference};
use crate::plan::{self, Built, LAYER_EPOCH, Plan, Step, StepId, Work};
use crate::registry::CredentialError;

/// Where the entrypoint lies in the context of the finishing layer.
const ENTRYPOINT: &str = "rootfs/usr/local/bin/entrypoint";
/// `created` of images that Gantry writes itself; see [`LAYER_EPOCH`].
const CREATED: &str = "1980-01-01T00:00:00Z";

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// The engine could not do it.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A download could not be had.
    #[error(transparent)]
    Artifact(#[from] ArtifactError),
    /// A download could not be made an image.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A build context could not be read or written.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// A credential that is to be used is not usable.
    #[error(transparent)]
    Credential(#[from] CredentialError),
    /// This machine could not do it: compile the entrypoint, make a root file system.
    #[error(transparent)]
    Host(#[from] HostError),
    /// A built image does not stand on its parent.
    #[error("`{image}` does not stand on its parent `{parent}`: the engine took another image for `{tag}`")]
    Parentage {
        /// The child.
        image: String,
        /// The parent's step.
        parent: StepId,
        /// The parent's stage tag.
        tag: String,
    },
    /// The parent is gone from the engine.
    #[error("`{tag}`, which `{image}` is built on, is not in the engine any more")]
    NoParent {
        /// The child.
        image: String,
        /// The parent's stage tag.
        tag: String,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What the steps of one build share.
pub(super) struct Shared {
    pub(super) site: Site,
    platform: Platform,
    epoch: u64,
    labels: BTreeMap<String, String>,
    stages: HashMap<StepId, String>,
    entrypoint: Mutex<Option<Bytes>>,
    diff_ids: Mutex<HashMap<String, Vec<Digest>>>,
}

impl Shared {
    pub(super) fn new(site: Site, plan: &Plan) -> Self {
        let labels = [
            (plan::FAMILY, plan.family.to_string()),
            (plan::PROFILE, plan.profile.to_string()),
            (plan::PLATFORM, plan.platform.to_string()),
        ];
        let stages = plan.steps.iter().filter_map(|step| Some((step.id.clone(), step.stage.clone()?))).collect();
        Self {
            site,
            platform: plan.platform,
            epoch: plan.build_date.epoch_seconds(),
            labels: labels.into_iter().map(|(key, value)| (key.to_owned(), value)).collect(),
            stages,
            entrypoint: Mutex::new(None),
            diff_ids: Mutex::new(HashMap::new()),
        }
    }

    fn stage(&self, id: &StepId) -> &str {
        self.stages.get(id).map(String::as_str).unwrap_or_default()
    }

    /// The layers of an image, asked for once.
    async fn diff_ids(&self, tag: &str) -> Result<Option<Vec<Digest>>, EngineError> {
        if let Some(known) = self.diff_ids.lock().await.get(tag) {
            return Ok(Some(known.clone()));
        }
        let Some(image) = self.site.engine.inspect(tag).await? else { return Ok(None) };
        self.diff_ids.lock().await.insert(tag.to_owned(), image.diff_ids.clone());
        Ok(Some(image.diff_ids))
    }
}

/// Carries one step out; says in a few words what it did.
pub(super) async fn perform(shared: &Shared, step: &Step, events: &Events) -> Result<String, StepError> {
    let id = step.id.to_string();
    let stage = step.stage.clone().unwrap_or_default();
    let started = |title: &str| events.emit(Event::StepStarted { step: id.clone(), title: title.to_owned() });
    match &step.work {
        Work::Pull { reference } => {
            started(&format!("pulling {reference}"));
            pull(shared, reference, &stage, events).await
        }
        Work::Bootstrap { suite, packages } => {
            started(&format!("making a Debian {suite} of packages"));
            bootstrap(shared, step, suite, packages, events).await
        }
        Work::Artifact { pin, version, sha256, place, .. } => {
            started(&format!("fetching {version}"));
            artifact(shared, step, pin, sha256, place, events).await
        }
        Work::Entrypoint => {
            started("compiling");
            entrypoint(shared, &id, events).await
        }
        Work::Build(build) => {
            started(&build.context);
            dockerfile(shared, &id, build, &stage, events).await
        }
    }
}

async fn pull(shared: &Shared, reference: &Reference, stage: &str, events: &Events) -> Result<String, StepError> {
    let credential = shared.site.credentials.credential(reference.repository.registry()).await?;
    let credential = credential.as_ref().map(|(credential, _)| credential);
    super::pull::pull(&shared.site.engine, credential, reference, stage, events).await?;
    Ok(String::new())
}

async fn bootstrap(shared: &Shared, step: &Step, suite: &str, packages: &[String], events: &Events) -> Result<String, StepError> {
    let folder = shared.site.cache.folder("bootstrap")?;
    let tar = host::bootstrap::root_filesystem(suite, packages, shared.platform, &folder, LAYER_EPOCH, step.id.as_str(), events)
        .await?;
    load(shared, step, LayerSource::Root { file: tar }).await
}

async fn artifact(
    shared: &Shared,
    step: &Step,
    pin: &Name,
    sha256: &Digest,
    place: &Place,
    events: &Events,
) -> Result<String, StepError> {
    let urls = shared.site.sources.get(pin.as_str()).cloned().unwrap_or_default();
    let request = artifact::Fetch { name: pin.to_string(), urls, sha256: *sha256 };
    // Made only here: a machine that has everything needs no root certificates.
    let file = artifact::fetch(&shared.site.cache, &artifact::client()?, request, events).await?;
    load(shared, step, LayerSource::Artifact { file, place: place.clone() }).await
}

/// Makes an image of one layer and loads it under the step's stage tag.
async fn load(shared: &Shared, step: &Step, source: LayerSource) -> Result<String, StepError> {
    let mut labels = shared.labels.clone();
    labels.insert(plan::IMAGE.to_owned(), step.id.to_string());
    labels.insert(plan::INPUT.to_owned(), step.input.to_string());
    let spec = ImageSpec {
        tag: step.stage.clone().unwrap_or_default(),
        platform: shared.platform,
        created: CREATED.to_owned(),
        epoch: LAYER_EPOCH,
        labels,
        env: Vec::new(),
        cmd: Vec::new(),
    };
    let archive = image::archive(source, spec, &shared.site.cache.folder("spool")?).await?;
    let detail = format!("layer {}", archive.diff_id.short(12));
    shared.site.engine.load(archive.into_reader()).await?;
    Ok(detail)
}

async fn entrypoint(shared: &Shared, id: &str, events: &Events) -> Result<String, StepError> {
    let path = match &shared.site.entrypoint {
        Entrypoint::Given(file) => file.clone(),
        Entrypoint::Compiled { toolchain, target } => {
            host::entrypoint::build(&shared.site.root, toolchain, target, id, events).await?
        }
    };
    let bytes = tokio::fs::read(&path).await.map_err(|source| StepError::Io { path, source })?;
    let detail = format!("{} kB", bytes.len() / 1000);
    *shared.entrypoint.lock().await = Some(Bytes::from(bytes));
    Ok(detail)
}

async fn dockerfile(shared: &Shared, id: &str, build: &Built, stage: &str, events: &Events) -> Result<String, StepError> {
    let parent_tag = shared.stage(&build.parent);
    let gone = || StepError::NoParent { image: build.image.clone(), tag: parent_tag.to_owned() };
    let below = shared.diff_ids(parent_tag).await?.ok_or_else(gone)?;

    let mut context = shared.site.contexts.get(&build.context).cloned().unwrap_or_default();
    if build.entrypoint {
        let bytes = shared.entrypoint.lock().await.clone().unwrap_or_default();
        // Executable for everybody and readable for root alone: of a program that its user may not read, the kernel
        // hides the environment from that user from the exec on.
        context.add(ENTRYPOINT, 0o711, bytes)?;
    }
    let tar = context.tar(LAYER_EPOCH).map_err(|source| StepError::Io { path: PathBuf::from(&build.context), source })?;
    let mut args = build.args.clone();
    // BuildKit 0.11 (engine 23) and later then writes this time, and not the clock's, into the image's config; older ones
    // pass over it. Not part of the plan: it follows from BUILD_DATE.
    args.insert("SOURCE_DATE_EPOCH".to_owned(), shared.epoch.to_string());
    let request = BuildRequest {
        tags: vec![stage.to_owned()],
        context: tar,
        dockerfile: "Dockerfile".to_owned(),
        target: build.target.clone(),
        args,
        labels: build.labels.clone(),
        secrets: shared.site.ca_bundle.iter().map(|bundle| ("ca".to_owned(), bundle.clone())).collect(),
        no_cache: shared.site.no_cache,
    };
    let mut vertices = Vertices::of(id.to_owned());
    let built = shared.site.engine.build(request, &mut |event: BuildEvent| vertices.take(event, events)).await;
    built.map_err(|error| match error {
        EngineError::MissingImage { reference, .. } if reference.starts_with(plan::STAGE_PREFIX) => {
            StepError::NoParent { image: build.image.clone(), tag: reference }
        }
        other => other.into(),
    })?;

    let above = shared.diff_ids(stage).await?.unwrap_or_default();
    if !above.starts_with(&below) {
        let (image, parent, tag) = (build.image.clone(), build.parent.clone(), parent_tag.to_owned());
        shared.site.engine.untag(stage).await?;
        return Err(StepError::Parentage { image, parent, tag });
    }
    Ok(vertices.summary())
}
