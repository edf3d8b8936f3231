//! `cargo xtask clean`: removes what Gantry left, and nothing else.

use serde_json::json;

use super::prepare::read_family;
use super::{Session, edge, engine};
use crate::build::Inventory;
use crate::cli::Clean;
use crate::engine::{EngineError, LocalImage};
use crate::event::Event;
use crate::failure::Failure;
use crate::host;
use crate::host::lockfile::{FamilyLock, LockKind, WhenHeld};
use crate::plan;

/// What is removed; decided before anything is.
#[derive(Debug, Default, serde::Serialize)]
struct Removal {
    containers: Vec<String>,
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
    // A build that runs needs its stage tags; what is removed is decided when it is done.
    let waiting = |holder: &str| events.emit(Event::Note { text: format!("waiting for a build of this family: {holder}") });
    let _lock = match args.dry_run {
        true => None,
        false => Some(FamilyLock::acquire(&places, LockKind::Build, &family.name, WhenHeld::Wait, waiting).await?),
    };
    // Without an engine there is nothing of it to clean.
    let engine = engine::connect().await.ok();
    let mut removal = Removal { engine: args.engine || args.all, ..Removal::default() };
    if let Some(engine) = &engine {
        // Not the label of the images: a container that a person started bears that as well.
        let ours = format!("{}={}", plan::CONTAINER, family.name);
        let containers = engine.containers_with_label(&ours).await?;
        removal.containers = containers.into_iter().map(|container| container.name).collect();
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
    if args.cache || args.all {
        removal.folders.push(places.cache_path().display().to_string());
    }
    if args.dry_run {
        session.console.result(&removal, &removal.text());
        return Ok(());
    }
    if let Some(engine) = &engine {
        for container in &removal.containers {
            engine.stop_and_remove(container, 10).await?;
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
    for folder in &removal.folders {
        remove_folder(folder)?;
    }
    if removal.engine {
        let stopped = host::setup::stop_engine(&places).await?;
        removal.engine = stopped != host::setup::Stopped::NotRunning;
    }
    session.console.result(&json!({ "schema": 1, "removed": removal }), &removal.text());
    Ok(())
}

fn remove_folder(folder: &str) -> Result<(), Failure> {
    match std::fs::remove_dir_all(folder) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(edge::unreadable(std::path::Path::new(folder), error)),
    }
}

impl Removal {
    fn text(&self) -> String {
        let mut text = String::new();
        for (what, names) in [("container", &self.containers), ("tag", &self.tags), ("folder", &self.folders)] {
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
