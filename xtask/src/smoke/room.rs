//! A room of one run's own: a network, names and labels. Everything in it can be found again, and taken away.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::task::TaskTracker;

use crate::engine::{ContainerRequest, Engine, EngineError};
use crate::family::Name;
use crate::plan;

/// The run, on every container and network of it.
pub const RUN: &str = "gantry.smoke";
/// How often a room is looked through for what comes after it was emptied: something that was asked for just before an
/// interruption.
const LOOKS: u32 = 20;
const PAUSE: Duration = Duration::from_millis(250);
/// How long an engine may take for what it was asked to make just before an interruption.
const UNDER_WAY: Duration = Duration::from_secs(30);

/// A network, and names that nobody else has.
#[derive(Debug, Clone)]
pub struct Room {
    engine: Engine,
    family: Name,
    run: String,
    keep: bool,
    /// What is being made. It is made to its end, whatever becomes of who asked: only then it can be taken away.
    making: TaskTracker,
}

impl Room {
    /// A room for one run; nothing is there before it is [opened](Self::open). With `keep`, what was started in it stays.
    ///
    /// # Errors
    /// The system has no random bytes.
    pub fn new(engine: Engine, family: Name, keep: bool) -> Result<Self, EngineError> {
        Ok(Self { engine, family, run: random(4)?, keep, making: TaskTracker::new() })
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The run's name, part of all others: `gantry-smoke-3f2c1ab0`.
    pub fn name(&self) -> String {
        format!("gantry-smoke-{}", self.run)
    }

    fn labels(&self) -> BTreeMap<String, String> {
        [(plan::CONTAINER, self.family.as_str()), (RUN, self.run.as_str())]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into()
    }

    /// Makes the network.
    ///
    /// # Errors
    /// The engine does not make it.
    pub async fn open(&self) -> Result<(), EngineError> {
        let (engine, name, labels) = (self.engine.clone(), self.name(), self.labels());
        self.make(async move { engine.create_network(&name, &labels).await }).await
    }

    /// Starts a container of this room.
    ///
    /// # Errors
    /// As [`Engine::run`].
    pub(super) async fn run(&self, request: ContainerRequest) -> Result<String, EngineError> {
        let engine = self.engine.clone();
        self.make(async move { engine.run(request).await }).await
    }

    async fn make<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, EngineError>> + Send + 'static,
    ) -> Result<T, EngineError> {
        let broke = |error: tokio::task::JoinError| EngineError::Protocol {
            what: "make something for a smoke test".to_owned(),
            why: error.to_string(),
        };
        self.making.spawn(work).await.map_err(broke)?
    }

    /// A container of `image` in this room, to be completed; `what` is part of its name.
    pub(super) fn container(&self, image: &str, variant: &Name, what: &str) -> ContainerRequest {
        let word = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let what = what.chars().map(word).collect::<String>().replace("---", "-").replace("--", "-");
        ContainerRequest {
            name: format!("{}-{variant}-{what}", self.name()),
            image: image.to_owned(),
            labels: self.labels(),
            network: Some(self.name()),
            ..ContainerRequest::default()
        }
    }

    /// Takes away a container that is done. What cannot be taken away now goes with the room.
    pub(super) async fn done(&self, container: &str) {
        if !self.keep {
            self.engine.remove(container).await.ok();
        }
    }

    /// Takes away everything in it, and the network; also what an interrupted request makes while we look.
    ///
    /// # Errors
    /// The engine does not answer, or keeps something.
    pub async fn clear(&self) -> Result<(), EngineError> {
        if self.keep {
            return Ok(());
        }
        self.making.close();
        // What takes longer than that is found below, or by `clean`.
        tokio::time::timeout(UNDER_WAY, self.making.wait()).await.ok();
        let label = format!("{RUN}={}", self.run);
        let mut empty = 0;
        let mut kept = Ok(());
        for _ in 0..LOOKS {
            let containers = self.engine.containers_with_label(&label).await?;
            let networks = self.engine.networks_with_label(&label).await?;
            // Twice, since what was asked for may take a moment to be there.
            empty = if containers.is_empty() && networks.is_empty() { empty + 1 } else { 0 };
            if empty == 2 {
                return Ok(());
            }
            futures_util::future::join_all(containers.iter().map(|container| self.engine.remove(&container.name))).await;
            kept = Ok(());
            for network in networks {
                // The engine may not have let go of the last container yet.
                kept = self.engine.remove_network(&network).await;
            }
            tokio::time::sleep(PAUSE).await;
        }
        kept
    }
}

/// Random bytes as hexadecimal digits, from the system's source by way of the TLS provider, which every platform has.
pub(super) fn random(bytes: usize) -> Result<String, EngineError> {
    let mut random = vec![0; bytes];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut random).map_err(|_| EngineError::Protocol {
        what: "make a name that nobody has".to_owned(),
        why: "the system gives no random bytes".to_owned(),
    })?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}
