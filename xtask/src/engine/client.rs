//! An engine that answered: what it is, and its images.

use std::sync::Arc;
use std::time::Duration;

use bollard::query_parameters::{ListImagesOptions, RemoveImageOptions, TagImageOptions};
use bollard::{BollardRequest, ClientVersion, Docker};
use serde::Deserialize;

use super::dial::Dialer;
use super::error::{NEEDED_API, chain};
use super::{Endpoint, EngineError, EngineInfo, InspectedImage, LocalImage, wire};

/// The newest API that bollard's types are made for.
const NEWEST_API: (usize, usize) = (1, 53);
/// How long an engine may take to say its version.
const PATIENCE: Duration = Duration::from_secs(60);
/// bollard's limit for the begin of an answer, in seconds. An export gives nothing for seconds per gigabyte and a load
/// answers when it is done: whoever waits may cancel, nothing else ends the wait.
const NO_LIMIT: u64 = 24 * 60 * 60;

/// A Docker Engine that answered and is new enough. Cheap to clone.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    endpoint: String,
    dialer: Dialer,
    docker: Docker,
    info: EngineInfo,
}

/// `GET /version`, which every API version answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionAnswer {
    version: String,
    api_version: String,
    os: String,
    arch: String,
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("endpoint", &self.0.endpoint).field("info", &self.0.info).finish_non_exhaustive()
    }
}

impl Engine {
    /// Asks the engine for its version and settles on an API version that both sides know.
    ///
    /// # Errors
    /// [`EngineError::Unreachable`], [`EngineError::PermissionDenied`], [`EngineError::TooOld`].
    pub async fn connect(endpoint: &Endpoint) -> Result<Self, EngineError> {
        let name = endpoint.to_string();
        let dialer = Dialer::new(endpoint).map_err(|error| EngineError::unreachable(&name, &error))?;
        let answer: VersionAnswer =
            tokio::time::timeout(PATIENCE, wire::get_json(&dialer, &name, "/version")).await.unwrap_or_else(|_| {
                let why = format!("it did not tell its version in {} s", PATIENCE.as_secs());
                Err(EngineError::Unreachable { endpoint: name.clone(), why })
            })?;
        let Some((major, minor)) = settle(&answer.api_version) else {
            return Err(EngineError::TooOld { endpoint: name, version: answer.version, api: answer.api_version });
        };
        let docker = docker(&dialer, ClientVersion { major_version: major, minor_version: minor })
            .map_err(|error| EngineError::from_bollard(&name, "connect to the engine", error))?;
        let system =
            docker.info().await.map_err(|error| EngineError::from_bollard(&name, "ask the engine about itself", error))?;
        // Both stores are called `overlayfs` in places; only containerd's names the kind of its driver.
        let containerd_store =
            system.driver_status.iter().flatten().flatten().any(|word| word.contains("containerd.snapshotter"));
        let beside = matches!(endpoint, Endpoint::Unix(_)) && !containerd_store && system.driver.as_deref() == Some("overlay2");
        let info = EngineInfo {
            version: answer.version,
            api_version: format!("{major}.{minor}"),
            os: answer.os,
            arch: answer.arch,
            containerd_store,
            overlay2: system.docker_root_dir.filter(|_| beside).map(Into::into),
        };
        Ok(Self(Arc::new(Inner { endpoint: name, dialer, docker, info })))
    }

    /// What the engine says of itself.
    pub fn info(&self) -> &EngineInfo {
        &self.0.info
    }

    /// Where the engine is, for messages.
    pub fn endpoint(&self) -> &str {
        &self.0.endpoint
    }

    /// All images that have a tag, with their labels, in one question.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn images(&self) -> Result<Vec<LocalImage>, EngineError> {
        let listed = self.docker().list_images(None::<ListImagesOptions>).await;
        let listed = listed.map_err(|error| self.error("list the images", error))?;
        let images = listed.into_iter().map(|image| LocalImage {
            id: image.id,
            tags: image.repo_tags.into_iter().filter(|tag| tag != "<none>:<none>").collect(),
            labels: image.labels.into_iter().collect(),
            size: u64::try_from(image.size).unwrap_or_default(),
        });
        Ok(images.filter(|image| !image.tags.is_empty()).collect())
    }

    /// One image by tag or id; `None` where the engine does not have it.
    ///
    /// # Errors
    /// The engine does not answer, or not with an image.
    pub async fn inspect(&self, reference: &str) -> Result<Option<InspectedImage>, EngineError> {
        let what = format!("inspect `{reference}`");
        let image = match self.docker().inspect_image(reference).await {
            Ok(image) => image,
            Err(error) => return if is_absent(&error) { Ok(None) } else { Err(self.error(&what, error)) },
        };
        let layers = image.root_fs.and_then(|root_fs| root_fs.layers).unwrap_or_default();
        let diff_ids = layers.iter().map(|layer| layer.parse()).collect::<Result<_, _>>();
        let config = image.config.unwrap_or_default();
        Ok(Some(InspectedImage {
            image: LocalImage {
                id: image.id.unwrap_or_default(),
                tags: image.repo_tags.unwrap_or_default(),
                labels: config.labels.unwrap_or_default().into_iter().collect(),
                size: image.size.and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
            },
            diff_ids: diff_ids.map_err(|error| EngineError::Protocol { what, why: chain(&error) })?,
            env: config.env.unwrap_or_default(),
            created: image.created.map(|created| created.to_string()).unwrap_or_default(),
        }))
    }

    /// Gives the image `source` the tag `target` (`name:tag`), which moves if it exists.
    ///
    /// # Errors
    /// [`EngineError::MissingImage`] where there is no `source`.
    pub async fn tag(&self, source: &str, target: &str) -> Result<(), EngineError> {
        let (repository, tag) = match target.rsplit_once(':') {
            Some((repository, tag)) if !tag.contains('/') => (repository, tag),
            _ => (target, "latest"),
        };
        let options = TagImageOptions { repo: Some(repository.to_owned()), tag: Some(tag.to_owned()) };
        match self.docker().tag_image(source, Some(options)).await {
            Err(error) if is_absent(&error) => Err(self.missing(source, &error)),
            result => result.map_err(|error| self.error(&format!("tag `{source}` as `{target}`"), error)),
        }
    }

    /// Removes a tag, and the image with its last one. A tag that is not there is fine.
    ///
    /// # Errors
    /// [`EngineError::Refused`] with status 409 where a container needs the image's last tag.
    pub async fn untag(&self, reference: &str) -> Result<(), EngineError> {
        match self.docker().remove_image(reference, None::<RemoveImageOptions>, None).await {
            Err(error) if is_absent(&error) => Ok(()),
            result => result.map(drop).map_err(|error| self.error(&format!("remove the tag `{reference}`"), error)),
        }
    }

    pub(super) fn docker(&self) -> &Docker {
        &self.0.docker
    }

    pub(super) fn dialer(&self) -> &Dialer {
        &self.0.dialer
    }

    /// `path` in the API version that was settled on.
    pub(super) fn path(&self, path: &str) -> String {
        format!("/v{}{path}", self.0.info.api_version)
    }

    pub(super) fn error(&self, what: &str, error: bollard::errors::Error) -> EngineError {
        EngineError::from_bollard(&self.0.endpoint, what, error)
    }

    pub(super) fn missing(&self, reference: &str, error: &bollard::errors::Error) -> EngineError {
        let why = match error {
            bollard::errors::Error::DockerResponseServerError { message, .. } => message.clone(),
            bollard::errors::Error::DockerStreamError { error } => error.clone(),
            other => chain(other),
        };
        EngineError::MissingImage { reference: reference.to_owned(), why }
    }
}

/// bollard over our own dialer.
fn docker(dialer: &Dialer, version: ClientVersion) -> Result<Docker, bollard::errors::Error> {
    let dialer = dialer.clone();
    let transport = move |request: BollardRequest| {
        let dialer = dialer.clone();
        async move { Ok(wire::send(&dialer, request).await?) }
    };
    Docker::connect_with_custom_transport(transport, Some("http://engine"), NO_LIMIT, &version)
}

pub(super) fn is_absent(error: &bollard::errors::Error) -> bool {
    matches!(error, bollard::errors::Error::DockerResponseServerError { status_code: 404, .. })
}

/// The API version to speak with an engine whose newest is `api`; none where that is too old.
fn settle(api: &str) -> Option<(usize, usize)> {
    let api = parse_api(api)?;
    (Some(api) >= parse_api(NEEDED_API)).then(|| api.min(NEWEST_API))
}

/// `1.41` as numbers, which compare as versions do.
fn parse_api(text: &str) -> Option<(usize, usize)> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::settle;

    #[test]
    fn both_sides_know_the_version_that_is_settled_on() {
        for (engine, settled) in [
            ("1.40", None),
            ("1.9", None),
            ("1.41", Some((1, 41))),
            ("1.51", Some((1, 51))),
            ("1.53", Some((1, 53))),
            ("1.60", Some((1, 53))),
            ("2.0", Some((1, 53))),
            ("", None),
            ("new", None),
        ] {
            assert_eq!(settle(engine), settled, "{engine}");
        }
    }
}
