//! Containers: enough of them to start what was built and look at it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, ContainerInspectResponse, ContainerStateStatusEnum, HealthConfig, HealthStatusEnum, HostConfig,
    PortBinding,
};
use bollard::query_parameters::{
    CreateContainerOptions, ListContainersOptions, LogsOptions, RemoveContainerOptions, StartContainerOptions,
    StopContainerOptions,
};
use futures_util::stream::TryStreamExt;

use super::EngineError;
use super::client::{Engine, is_absent};

/// A container to start.
#[derive(Clone, Default)]
pub struct ContainerRequest {
    /// Its name.
    pub name: String,
    /// The image, by tag or id.
    pub image: String,
    /// Environment variables; their values are not printed.
    pub env: BTreeMap<String, String>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// TCP ports of the container → ports of the host's loopback; 0 lets the engine choose.
    pub ports: BTreeMap<u16, u16>,
    /// What to run instead of the image's own command; none keeps that.
    pub command: Vec<String>,
    /// What to run it with instead of the image's own entrypoint.
    pub entrypoint: Option<Vec<String>>,
    /// Whom it runs as, instead of the image's own user.
    pub user: Option<String>,
    /// The network it is in, instead of the engine's default one.
    pub network: Option<String>,
    /// How often the image's own health check runs, instead of as often as the image says.
    pub health_interval: Option<Duration>,
    /// What it may not do.
    pub confinement: Confinement,
}

/// What a container may not do, beyond what engines forbid all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Its root is read-only.
    pub read_only: bool,
    /// It has no capabilities, and nothing in it gains rights.
    pub powerless: bool,
    /// Folders in memory, with their options: `/tmp` → `noexec`.
    pub tmpfs: BTreeMap<String, String>,
}

impl fmt::Debug for ContainerRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContainerRequest")
            .field("name", &self.name)
            .field("image", &self.image)
            .field("env", &self.env.keys().collect::<Vec<_>>())
            .field("labels", &self.labels)
            .field("ports", &self.ports)
            .field("command", &self.command)
            .field("entrypoint", &self.entrypoint)
            .field("user", &self.user)
            .field("network", &self.network)
            .field("confinement", &self.confinement)
            .finish_non_exhaustive()
    }
}

/// What an image's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Health {
    /// There is no health check.
    #[default]
    None,
    /// No verdict yet.
    Starting,
    /// It passed.
    Healthy,
    /// It failed as often as the image allows.
    Unhealthy,
}

/// A container as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContainerState {
    /// The engine's id.
    pub id: String,
    /// Its name, without the slash.
    pub name: String,
    /// The image it was started from, as it was named.
    pub image: String,
    /// Whether it runs.
    pub running: bool,
    /// The exit code, once it has ended.
    pub exit_code: Option<i64>,
    /// Its health.
    pub health: Health,
    /// What the health check said last.
    pub health_said: String,
    /// TCP ports of the container → ports of the host, as published right now.
    pub ports: BTreeMap<u16, u16>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

impl Engine {
    /// Creates a container and starts it; returns its id. A container that cannot be started is removed again.
    ///
    /// # Errors
    /// [`EngineError::MissingImage`]; [`EngineError::Refused`] with status 409 where the name is taken, with 500 where a
    /// port is.
    pub async fn run(&self, request: ContainerRequest) -> Result<String, EngineError> {
        let ContainerRequest { name, image, env, labels, ports, command, entrypoint, user, network, .. } = request;
        let Confinement { read_only, powerless, tmpfs } = request.confinement;
        // Without a test it is the image's.
        let interval = request.health_interval.and_then(|interval| i64::try_from(interval.as_nanos()).ok());
        // Newer engines have an interval of its own for the begin; older ones do not read it.
        let every =
            |interval| HealthConfig { interval: Some(interval), start_interval: Some(interval), ..HealthConfig::default() };
        let healthcheck = interval.map(every);
        let what = format!("start the container `{name}`");
        let bindings = ports.iter().map(|(port, host)| {
            let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(host.to_string()) };
            (format!("{port}/tcp"), Some(vec![binding]))
        });
        let body = ContainerCreateBody {
            image: Some(image.clone()),
            env: Some(env.into_iter().map(|(key, value)| format!("{key}={value}")).collect()),
            labels: Some(labels.into_iter().collect()),
            cmd: (!command.is_empty()).then_some(command),
            exposed_ports: Some(ports.keys().map(|port| format!("{port}/tcp")).collect()),
            entrypoint,
            user,
            healthcheck,
            host_config: Some(HostConfig {
                port_bindings: Some(bindings.collect()),
                network_mode: network,
                readonly_rootfs: Some(read_only),
                cap_drop: powerless.then(|| vec!["ALL".to_owned()]),
                security_opt: powerless.then(|| vec!["no-new-privileges".to_owned()]),
                tmpfs: (!tmpfs.is_empty()).then(|| tmpfs.into_iter().collect()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        };
        let options = CreateContainerOptions { name: Some(name), ..CreateContainerOptions::default() };
        let id = match self.docker().create_container(Some(options), body).await {
            Ok(created) => created.id,
            Err(error) if is_absent(&error) => return Err(self.missing(&image, &error)),
            Err(error) => return Err(self.error(&what, error)),
        };
        if let Err(error) = self.docker().start_container(&id, None::<StartContainerOptions>).await {
            self.stop_and_remove(&id, 0).await?;
            return Err(self.error(&what, error));
        }
        Ok(id)
    }

    /// A container by name or id; `None` where there is none.
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn container(&self, name: &str) -> Result<Option<ContainerState>, EngineError> {
        match self.docker().inspect_container(name, None).await {
            Ok(found) => Ok(Some(state(found))),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(self.error(&format!("inspect the container `{name}`"), error)),
        }
    }

    /// The last `tail` lines that a container printed, both streams as they came.
    ///
    /// # Errors
    /// [`EngineError::Refused`] where there is no such container.
    pub async fn logs(&self, name: &str, tail: usize) -> Result<String, EngineError> {
        let options = LogsOptions { stdout: true, stderr: true, tail: tail.to_string(), ..LogsOptions::default() };
        let lines = self.docker().logs(name, Some(options)).try_fold(Vec::new(), |mut text, line| async move {
            text.extend_from_slice(&line.into_bytes());
            Ok(text)
        });
        let text = lines.await.map_err(|error| self.error(&format!("read the log of `{name}`"), error))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Stops a container, with `grace_seconds` between asking and killing, and removes it with its anonymous volumes.
    /// One that is not there is fine.
    ///
    /// # Errors
    /// The engine does not answer or cannot remove it.
    pub async fn stop_and_remove(&self, name: &str, grace_seconds: u32) -> Result<(), EngineError> {
        let grace = i32::try_from(grace_seconds).unwrap_or(i32::MAX);
        let stop = StopContainerOptions { t: Some(grace), ..StopContainerOptions::default() };
        match self.docker().stop_container(name, Some(stop)).await {
            // 304: it has already stopped.
            Ok(()) | Err(bollard::errors::Error::DockerResponseServerError { status_code: 304, .. }) => {}
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(self.error(&format!("stop the container `{name}`"), error)),
        }
        let remove = RemoveContainerOptions { v: true, force: true, ..RemoveContainerOptions::default() };
        match self.docker().remove_container(name, Some(remove)).await {
            Err(error) if !is_absent(&error) => Err(self.error(&format!("remove the container `{name}`"), error)),
            _ => Ok(()),
        }
    }

    /// All containers, running or not, that have the label (`key` or `key=value`).
    ///
    /// # Errors
    /// The engine does not answer.
    pub async fn containers_with_label(&self, label: &str) -> Result<Vec<ContainerState>, EngineError> {
        let filters = HashMap::from([("label".to_owned(), vec![label.to_owned()])]);
        let options = ListContainersOptions { all: true, filters: Some(filters), ..ListContainersOptions::default() };
        let listed = self.docker().list_containers(Some(options)).await;
        let listed = listed.map_err(|error| self.error("list the containers", error))?;
        let mut states = Vec::new();
        for id in listed.into_iter().filter_map(|container| container.id) {
            // One that went away in between is no longer of interest.
            states.extend(self.container(&id).await?);
        }
        Ok(states)
    }
}

fn state(found: ContainerInspectResponse) -> ContainerState {
    let config = found.config.unwrap_or_default();
    let state = found.state.unwrap_or_default();
    let ports = found.network_settings.and_then(|network| network.ports).unwrap_or_default();
    let published = ports.into_iter().filter_map(|(port, bindings)| {
        let port = port.strip_suffix("/tcp")?.parse().ok()?;
        let host = bindings?.into_iter().find_map(|binding| binding.host_port?.parse().ok())?;
        Some((port, host))
    });
    let ended = matches!(state.status, Some(ContainerStateStatusEnum::EXITED | ContainerStateStatusEnum::DEAD));
    let last = state.health.as_ref().and_then(|health| health.log.as_ref()?.last()?.output.clone());
    ContainerState {
        id: found.id.unwrap_or_default(),
        name: found.name.unwrap_or_default().trim_start_matches('/').to_owned(),
        image: config.image.unwrap_or_default(),
        running: state.running.unwrap_or_default(),
        exit_code: state.exit_code.filter(|_| ended),
        health: match state.health.and_then(|health| health.status) {
            Some(HealthStatusEnum::STARTING) => Health::Starting,
            Some(HealthStatusEnum::HEALTHY) => Health::Healthy,
            Some(HealthStatusEnum::UNHEALTHY) => Health::Unhealthy,
            _ => Health::None,
        },
        health_said: last.unwrap_or_default().trim().to_owned(),
        ports: published.collect(),
        labels: config.labels.unwrap_or_default().into_iter().collect(),
    }
}
