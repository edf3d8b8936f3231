//! `cargo xtask clean`: removes what Gantry left, and nothing else.

use serde_json::json;

use super::prepare::read_family;
use super::{Session, engine};
use crate::build::Inventory;
use crate::cli::Clean;
use crate::engine::{EngineError, LocalImage};
use crate::event::Event;
use crate::failure::Failure;
use crate::folder;
use crate::host::lockfile::{FamilyLock, LockKind, WhenHeld};
use crate::host::setup::python;
use crate::host::{self, HostError};
use crate::plan;

/// What is removed; decided before anything is.
#[derive(Debug, Default, serde::Serialize)]
struct Removal {
    containers: Vec<String>,
    networks: Vec<String>,
    tags: Vec<String>,
    /// Images that lose their last tag. What was pulled is still held by its digest then.
    #[serde(skip)]
    images: Vec<String>,
    folders: Vec<String>,
    engine: bool,
}

pub(super) async fn run(session: &Session, args: &Clean) -> Result<(), Failure> {
    let family = read_family(session)?;
    let places = session.places()?;
    let events = session.console.events();
    let clears_cache = args.cache || args.all;
    // A build that runs needs its stage tags, and a publisher its layers; what is removed is decided when they are done.
    let mut locks = Vec::new();
    for (kind, who, is_needed) in
        [(LockKind::Build, "a build of this family", true), (LockKind::Publish, "a publisher of this family", clears_cache)]
    {
        let waiting = |holder: &str| events.emit(Event::Note { text: format!("waiting for {who}: {holder}") });
        if is_needed && !args.dry_run {
            locks.push(FamilyLock::acquire(&places, kind, &family.name, WhenHeld::Wait, waiting).await?);
        }
    }
    // Without an engine there is nothing of it to clean.
    let engine = engine::connect_if_any().await?;
    let mut removal = Removal { engine: args.engine || args.all, ..Removal::default() };
    if let Some(engine) = &engine {
        // Not the label of the images: a container that a person started bears that as well.
        let ours = format!("{}={}", plan::CONTAINER, family.name);
        let containers = engine.containers_with_label(&ours).await?;
        removal.containers = containers.into_iter().map(|container| container.name).collect();
        removal.networks = engine.networks_with_label(&ours).await?;
        let inventory = Inventory::new(engine.images().await?);
        let (local, external) = (format!("{}:", family.name), format!("external.{}", family.name));
        let mine = |image: &LocalImage| image.labels.get(plan::FAMILY).is_some_and(|of| *of == family.name.as_str());
        let wanted = |tag: &str, image: &LocalImage| {
            let stage = plan::stage_name(tag).is_some_and(|name| mine(image) || name == external);
            stage || ((args.images || args.all) && tag.starts_with(&local) && mine(image))
        };
        removal.tags = inventory.tags().filter(|(tag, image)| wanted(tag, image)).map(|(tag, _)| tag.to_owned()).collect();
        removal.tags.sort();
        let gone = |image: &LocalImage| image.tags.iter().all(|tag| removal.tags.binary_search(tag).is_ok());
        removal.images = inventory.images().iter().filter(|image| gone(image)).map(|image| image.id.clone()).collect();
    }
    if clears_cache {
        let contents = folder::cache_contents(places.cache_path()).map_err(HostError::from)?;
        removal.folders = contents.iter().map(|folder| folder.display().to_string()).collect();
    }
    // What `setup --tests` installed beside the system.
    let tools = python::all(&places);
    let has_tools = args.all && tools.is_dir();
    if has_tools {
        removal.folders.push(tools.display().to_string());
    }
    if args.dry_run {
        session.console.result(&removal, &removal.text());
        return Ok(());
    }
    if let Some(engine) = &engine {
        for container in &removal.containers {
            engine.stop_and_remove(container, 10).await?;
        }
        for network in &removal.networks {
            engine.remove_network(network).await?;
        }
        let mut kept = Vec::new();
        for tag in &removal.tags {
            match engine.untag(tag).await {
                // Somebody's container needs it.
                Err(EngineError::Refused { status: 409, .. }) => kept.push(tag.clone()),
                result => result?,
            }
        }
        for image in &removal.images {
            match engine.untag(image).await {
                Ok(()) | Err(EngineError::Refused { status: 409, .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        for tag in &kept {
            events.emit(Event::Warning { text: format!("`{tag}` is kept: a container uses it") });
        }
        removal.tags.retain(|tag| !kept.contains(tag));
    }
    if clears_cache {
        folder::remove_cache(places.cache_path()).map_err(HostError::from)?;
    }
    if has_tools {
        python::remove(&places)?;
    }
    if removal.engine {
        let stopped = host::setup::stop_engine(&places).await?;
        removal.engine = stopped != host::setup::Stopped::NotRunning;
    }
    session.console.result(&json!({ "schema": 1, "removed": removal }), &removal.text());
    Ok(())
}

impl Removal {
    fn text(&self) -> String {
        let mut text = String::new();
        for (what, names) in
            [("container", &self.containers), ("network", &self.networks), ("tag", &self.tags), ("folder", &self.folders)]
        {
            for name in names {
                text += &format!("remove {what} {name}\n");
            }
        }
        if self.engine {
            text += "stop the engine that `cargo xtask setup` started, if it runs\n";
        }
        if text.is_empty() { "nothing to remove\n".to_owned() } else { text }
    }
}
