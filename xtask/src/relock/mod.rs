//! What package managers lock, asked of their own clients, which know the user's mirrors, proxies and passwords: npm's packages
//! by `npm`, Python's by `uv`, Debian's by `apt-get` in a container of what was built. Locks are made anew in a temporary folder
//! and compared with what is there; nothing of the family is written here.

mod client;
mod debian;
mod moved;
mod npm;
mod python;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use crate::family::{Family, Name};

pub use client::Client;
pub use debian::{Ground, debian};
pub use npm::npm;
pub use python::python;

/// The clients that are asked: who does not bump needs none.
pub const CLIENTS: [Client; 2] = [npm::NPM, python::UV];

/// What is asked, and where.
#[derive(Debug, Clone, Copy)]
pub struct Site<'a> {
    /// The family.
    pub family: &'a Family,
    /// The folder of variants.toml.
    pub root: &'a Path,
    /// Variables that clients get beside those of this process.
    pub env: &'a BTreeMap<String, String>,
}

impl Site<'_> {
    /// The folders of the images that `wanted` chooses, each once.
    fn contexts(&self, wanted: impl Fn(&crate::family::Image) -> bool) -> BTreeSet<&str> {
        self.family.images.values().filter(|image| wanted(image)).filter_map(|image| image.context.as_deref()).collect()
    }

    /// The folders of the images whose Dockerfile uses a pin.
    fn contexts_of(&self, pin: &Name) -> BTreeSet<&str> {
        self.contexts(|image| image.pins.contains(pin))
    }

    /// The files of a context that `wanted` chooses by their names, by path relative to the family's root. What is installed,
    /// hidden, or of the image itself is not looked through.
    fn files(&self, context: &str, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
        let mut found = Vec::new();
        let mut folders = vec![context.trim_end_matches('/').to_owned()];
        while let Some(folder) = folders.pop() {
            // A folder that cannot be read has nothing in it that could be locked.
            let Ok(entries) = std::fs::read_dir(self.root.join(&folder)) else { continue };
            for entry in entries.flatten() {
                let Ok(name) = entry.file_name().into_string() else { continue };
                let path = format!("{folder}/{name}");
                match entry.file_type() {
                    Ok(kind) if kind.is_dir() && !name.starts_with('.') && name != "node_modules" && name != "rootfs" => {
                        folders.push(path);
                    }
                    Ok(kind) if kind.is_file() && wanted(&name) => found.push(path),
                    _ => {}
                }
            }
        }
        found.sort();
        found
    }
}

/// The folder of a path with `/` between.
fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}
