//! `cargo xtask clean`: removes what Gantry left, and nothing else.

use serde_json::json;

use super::prepare::read_family;
use super::{Session, edge, engine};
use crate::build::Inventory;
use crate::cli::Clean;
use crate::failure::Failure;
use crate::host;
use crate::plan;

/// What is removed; decided before anything is.
#[derive(Debug, Default, serde::Serialize)]
struct Removal {
    containers: Vec<String>,
    tags: Vec<String>,
    folders: Vec<String>,
    engine: bool,
}

pub(super) async fn run(session: &Session, args: &Clean) -> Result<(), Failure> {
    let family = read_family(session)?;
    let places = session.places()?;
    // Without an engine there is nothing of it to clean.
    let engine = engine::connect().await.ok();
    let mut removal = Removal { engine: args.engine || args.all, ..Removal::default() };
    if let Some(engine) = &engine {
        let ours = format!("{}={}", plan::FAMILY, family.name);
        let containers = engine.containers_with_label(&ours).await?;
        removal.containers = containers.into_iter().map(|container| container.name).collect();
        let inventory = Inventory::new(engine.images().await?);
        let local = format!("{}:", family.name);
        let mine =
            |image: &crate::engine::LocalImage| image.labels.get(plan::FAMILY).is_some_and(|of| *of == family.name.as_str());
        let wanted = |tag: &str, image: &crate::engine::LocalImage| {
            let stage = plan::stage_name(tag).is_some_and(|name| mine(image) || name == "external");
            stage || ((args.images || args.all) && tag.starts_with(&local) && mine(image))
        };
        removal.tags = inventory.tags().filter(|(tag, image)| wanted(tag, image)).map(|(tag, _)| tag.to_owned()).collect();
        removal.tags.sort();
    }
    if args.cache || args.all {
        removal.folders.push(places.cache_path().display().to_string());
    }
    let text = removal.text();
    if args.dry_run {
        session.console.result(&removal, &text);
        return Ok(());
    }
    if let Some(engine) = &engine {
        for container in &removal.containers {
            engine.stop_and_remove(container, 10).await?;
        }
        for tag in &removal.tags {
            engine.untag(tag).await?;
        }
    }
    for folder in &removal.folders {
        remove_folder(folder)?;
    }
    if removal.engine {
        let stopped = host::setup::stop_engine(&places).await?;
        removal.engine = stopped != host::setup::Stopped::NotRunning;
    }
    session.console.result(&json!({ "schema": 1, "removed": removal }), &text);
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
