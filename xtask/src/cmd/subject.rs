//! An image by what a person writes: a name or an id in the engine, a reference in any registry, a tag of a destination.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;

use super::destinations::{self, Target};
use super::release::OnceEngine;
use super::session::Session;
use crate::engine::EngineError;
use crate::event::{Event, Events};
use crate::failure::{Exit, Failure};
use crate::family::{Family, Published, closest};
use crate::oci::{Digest, ImageConfig, Reference, Repository, is_tag};
use crate::publish::Descriptor;
use crate::registry::{Member, Registry, RegistryError, Sources};
use crate::store::Want;

/// A host that cannot exist: what has it in its name is in the engine, if anywhere.
const NOWHERE: &str = "gantry.invalid";
/// A larger configuration is none.
const LARGEST_CONFIG: u64 = 16 << 20;

/// An image that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subject {
    /// `ansible-epic:aws`, `ghcr.io/team/image:aws`, an id where it has no name.
    pub(crate) name: String,
    /// The digest of its manifest, where it is in a registry.
    pub(crate) manifest: Option<Digest>,
    /// The digests of its layers, uncompressed, lowest first.
    pub(crate) diff_ids: Vec<Digest>,
    /// Of its configuration.
    pub(crate) labels: BTreeMap<String, String>,
    /// Where it is.
    pub(crate) place: Place,
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the engine.
    Engine(Want),
    /// In a registry.
    Registry(Stored),
}

/// An image as a registry has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) repository: Repository,
    /// Plain http even though it is not loopback.
    pub(crate) insecure: bool,
    pub(crate) config: Bytes,
    pub(crate) config_digest: Digest,
    /// Lowest first.
    pub(crate) layers: Vec<Descriptor>,
}

/// Where images are looked for.
pub(crate) struct Finder {
    pub(super) engine: OnceEngine,
    pub(super) sources: Sources,
    pub(super) events: Events,
    targets: Vec<Target>,
}

/// What a text may mean.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    /// Something in a registry, and if it is not there, something of this name in the engine.
    Reference(Reference),
    /// A tag or digest in the destination of this name.
    Destination(String, String),
    /// A name or id in the engine, or else a tag or digest in any destination.
    Bare,
}

fn asked(text: &str, destinations: &BTreeSet<&str>) -> Asked {
    let in_destination = |(name, rest): (&str, &str)| {
        let known = destinations.contains(name) && (is_tag(rest) || rest.parse::<Digest>().is_ok());
        known.then(|| Asked::Destination(name.to_owned(), rest.to_owned()))
    };
    let of_destination = text.split_once('@').or_else(|| text.split_once(':')).and_then(in_destination);
    of_destination.or_else(|| text.parse().ok().map(Asked::Reference)).unwrap_or(Asked::Bare)
}

impl Finder {
    /// With the destinations of the family's file, if there is one, or those of the command line.
    pub(crate) fn new(session: &Session, family: Option<&Family>, destinations: &[String]) -> Result<Self, Failure> {
        let (targets, sources) = match family {
            Some(family) => (destinations::targets(family, destinations)?, destinations::sources(family)?),
            None => (Vec::new(), Sources::from_environment()?),
        };
        Ok(Self { engine: OnceEngine::default(), sources, events: session.console.events(), targets })
    }

    /// The image that a text names.
    pub(crate) async fn find(&self, text: &str) -> Result<Subject, Failure> {
        let names = self.targets.iter().map(|target| target.name.as_str()).collect();
        let mut looked = Vec::new();
        let found = match asked(text, &names) {
            Asked::Reference(reference) => self.by_reference(text, &reference, &mut looked).await?,
            Asked::Destination(name, wanted) => {
                let targets: Vec<&Target> = self.targets.iter().filter(|target| target.name == name).collect();
                self.in_destinations(text, &wanted, &targets, &mut looked).await?
            }
            Asked::Bare => match self.in_engine(text, &mut looked).await? {
                Some(found) => Some(found),
                None if is_tag(text) || text.parse::<Digest>().is_ok() => {
                    let targets: Vec<&Target> = self.targets.iter().collect();
                    self.in_destinations(text, text, &targets, &mut looked).await?
                }
                None => None,
            },
        };
        match found {
            Some(found) => Ok(found),
            None => Err(self.nowhere(text, &looked).await),
        }
    }

    async fn by_reference(
        &self,
        text: &str,
        reference: &Reference,
        looked: &mut Vec<String>,
    ) -> Result<Option<Subject>, Failure> {
        let Reference { repository, tag, digest } = reference;
        let wanted = digest.map(|digest| digest.to_string()).or_else(|| tag.clone());
        if let Some(wanted) = wanted.filter(|_| repository.registry() != NOWHERE) {
            let insecure = self.targets.iter().any(|target| target.insecure && target.repository == *repository);
            match self.in_registry(repository, insecure, &wanted).await {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) => looked.push(format!(
                    "the registry `{}` has no image `{wanted}` in `{}`",
                    repository.registry(),
                    repository.path()
                )),
                Err(LookError::Registry(error)) => looked.push(error.to_string()),
                Err(LookError::Odd(why)) => {
                    return Err(Failure::new(Exit::Usage, format!("`{text}` is no image to look into: {why}")));
                }
            }
        } else if tag.is_none() && digest.is_none() {
            looked.push("no registry: it has neither tag nor digest".to_owned());
        }
        let before = looked.len();
        let found = self.in_engine(text, looked).await?;
        if let Some(why) = looked.first().filter(|_| found.is_some() && before > 0) {
            self.events.emit(Event::Note { text: format!("`{text}` is taken from the engine: {why}") });
        }
        Ok(found)
    }

    async fn in_engine(&self, text: &str, looked: &mut Vec<String>) -> Result<Option<Subject>, Failure> {
        let engine = match self.engine.get().await {
            Ok(engine) => engine,
            Err(failure) if failure.exit == Exit::Missing => {
                looked.push(failure.message);
                return Ok(None);
            }
            Err(failure) => return Err(failure),
        };
        let found = match engine.inspect(text).await {
            Ok(found) => found,
            // What is no name at all is refused instead of not found.
            Err(EngineError::Refused { status: 400, .. }) => None,
            Err(error) => {
                looked.push(error.to_string());
                return Ok(None);
            }
        };
        let Some(found) = found else {
            looked.push(format!("the engine `{}` has no image of this name or id", engine.endpoint()));
            return Ok(None);
        };
        let id = found.image.id.parse::<Digest>();
        let id = id.map_err(|error| Failure::new(Exit::Unexpected, "the engine's image id").source(error))?;
        // By the name that was asked for, where it is one: others may be moved by a build.
        let with_tag = if text.contains(':') { text.to_owned() } else { format!("{text}:latest") };
        let tags = &found.image.tags;
        let name = tags.iter().find(|tag| **tag == with_tag).or(tags.first()).cloned().unwrap_or_else(|| id.to_string());
        let (diff_ids, labels) = (found.diff_ids, found.image.labels);
        Ok(Some(Subject { name: name.clone(), manifest: None, diff_ids, labels, place: Place::Engine(Want { name, id }) }))
    }

    async fn in_destinations(
        &self,
        text: &str,
        wanted: &str,
        targets: &[&Target],
        looked: &mut Vec<String>,
    ) -> Result<Option<Subject>, Failure> {
        let mut found: Vec<(&str, Subject)> = Vec::new();
        for target in targets {
            match self.in_registry(&target.repository, target.insecure, wanted).await {
                Ok(Some(subject)) => found.push((&target.name, subject)),
                Ok(None) => {
                    looked.push(format!("the destination `{}` ({}) has no image `{wanted}`", target.name, target.repository))
                }
                Err(LookError::Registry(error)) => {
                    looked.push(format!("the destination `{}` cannot be asked: {error}", target.name))
                }
                Err(LookError::Odd(why)) => {
                    looked.push(format!("the destination `{}` has something else there: {why}", target.name))
                }
            }
        }
        let digests: BTreeSet<_> = found.iter().map(|(_, subject)| subject.manifest).collect();
        if digests.len() > 1 {
            let each = |(name, subject): &(&str, Subject)| {
                format!("{name}:{wanted} is {}", subject.manifest.map(|digest| digest.to_string()).unwrap_or_default())
            };
            let message = format!("`{text}` is not the same image in every destination");
            let detail = found.iter().map(each).collect::<Vec<_>>().join("\n");
            let hint = format!("name one of them: `{}:{wanted}`", found.first().map_or("ghcr", |(name, _)| name));
            return Err(Failure::new(Exit::Usage, message).detail(detail).hint(hint));
        }
        Ok(found.into_iter().next().map(|(_, subject)| subject))
    }

    /// What a tag is in one destination, by its name; none where nothing has that tag. Otherwise why that is not known.
    pub(crate) async fn published(&self, destination: &str, tag: &str) -> Result<Option<Subject>, String> {
        let Some(target) = self.targets.iter().find(|target| target.name == destination) else { return Ok(None) };
        let cannot = |why: String| format!("the destination `{destination}` cannot be asked: {why}");
        match self.in_registry(&target.repository, target.insecure, tag).await {
            Ok(found) => Ok(found),
            Err(LookError::Registry(error)) => Err(cannot(error.to_string())),
            Err(LookError::Odd(why)) => Err(cannot(why)),
        }
    }

    /// The names of the destinations that a variant goes to.
    pub(crate) fn destinations_of(&self, published: &Published) -> Vec<String> {
        self.targets.iter().filter(|target| target.takes(published)).map(|target| target.name.clone()).collect()
    }

    async fn in_registry(&self, repository: &Repository, insecure: bool, wanted: &str) -> Result<Option<Subject>, LookError> {
        let registry = Registry::looking(repository, insecure, &self.sources).await?;
        let Some(mut found) = registry.manifest(wanted).await? else { return Ok(None) };
        let mut head = Head::read(&found.bytes)?;
        if head.config.is_none() {
            let member = head.member(std::env::consts::ARCH)?;
            let inside = registry.manifest(&member.to_string()).await?;
            found = inside.ok_or_else(|| LookError::Odd(format!("the index names {member}, which is not there")))?;
            head = Head::read(&found.bytes)?;
        }
        let Some(config) = head.config else { return Err(LookError::Odd("its manifest names no configuration".to_owned())) };
        let bytes = read_config(&registry, &config).await?;
        let read = ImageConfig::read(&bytes).map_err(|_| LookError::Odd("its configuration is none of an image".to_owned()))?;
        if read.diff_ids.len() != head.layers.len() {
            return Err(LookError::Odd(format!(
                "it has {} layers and its configuration {}",
                head.layers.len(),
                read.diff_ids.len()
            )));
        }
        let name = match wanted.parse::<Digest>() {
            Ok(digest) => repository.digest(digest).to_string(),
            Err(_) => repository.tag(wanted).to_string(),
        };
        let stored =
            Stored { repository: repository.clone(), insecure, config: bytes, config_digest: config.digest, layers: head.layers };
        let (diff_ids, labels) = (read.diff_ids, read.labels);
        Ok(Some(Subject { name, manifest: Some(found.digest), diff_ids, labels, place: Place::Registry(stored) }))
    }

    /// Every place that was looked at, and what may have been meant.
    async fn nowhere(&self, text: &str, looked: &[String]) -> Failure {
        let failure = Failure::new(Exit::Missing, format!("there is no image `{text}`")).detail(looked.join("\n"));
        let images = match self.engine.get().await {
            Ok(engine) => engine.images().await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        let tags: Vec<&str> = images.iter().flat_map(|image| &image.tags).map(String::as_str).collect();
        let tags = tags.into_iter().filter(|tag| !tag.starts_with(NOWHERE));
        let (mut alike, all): (Vec<&str>, Vec<&str>) = tags.partition(|tag| tag.contains(text));
        alike.sort_unstable();
        match closest(text, all).filter(|_| alike.is_empty()).or(alike.first().copied()) {
            Some(name) => failure.hint(format!("did you mean `{name}`?")),
            None => failure
                .hint("name a local image (`ansible-epic:aws`), `HOST/REPOSITORY:TAG`, or a tag or digest of a destination"),
        }
    }
}

enum LookError {
    Registry(RegistryError),
    /// What is there is no image that can be looked into.
    Odd(String),
}

impl From<RegistryError> for LookError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

async fn read_config(registry: &Registry, config: &Descriptor) -> Result<Bytes, LookError> {
    let gone = || LookError::Odd(format!("its configuration {} is not there", config.digest));
    let reader = registry.read_blob(config.digest).await?.ok_or_else(gone)?;
    let mut bytes = Vec::new();
    let read = reader.take(LARGEST_CONFIG).read_to_end(&mut bytes).await;
    read.map_err(|error| LookError::Odd(format!("its configuration cannot be read: {error}")))?;
    match Digest::of(&bytes) == config.digest {
        true => Ok(bytes.into()),
        false => Err(LookError::Odd(format!("its configuration is not {}", config.digest))),
    }
}

/// What of a manifest or an index is read. (OCI image specification)
#[derive(Deserialize)]
struct Head {
    #[serde(default)]
    config: Option<Descriptor>,
    #[serde(default)]
    layers: Vec<Descriptor>,
    #[serde(default)]
    manifests: Vec<Member>,
}

impl Head {
    fn read(manifest: &[u8]) -> Result<Self, LookError> {
        serde_json::from_slice(manifest).map_err(|_| LookError::Odd("its manifest cannot be read".to_owned()))
    }

    /// The member of an index for machines like this one.
    fn member(&self, machine: &str) -> Result<Digest, LookError> {
        let architecture = match machine {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let members = self.manifests.iter().filter_map(|member| Some((member.digest, member.platform.as_ref()?)));
        // Attestations are of the platform `unknown`.
        let mut members = members.filter(|(_, platform)| platform.os != "unknown");
        let fitting = members.clone().find(|(_, platform)| platform.os == "linux" && platform.architecture == architecture);
        fitting.map(|(digest, _)| digest).ok_or_else(|| {
            let known: Vec<String> =
                members.by_ref().map(|(_, platform)| format!("{}/{}", platform.os, platform.architecture)).collect();
            LookError::Odd(format!("it is an index without linux/{architecture} (it has {})", known.join(", ")))
        })
    }
}

#[cfg(test)]
#[path = "subject_tests.rs"]
mod tests;
