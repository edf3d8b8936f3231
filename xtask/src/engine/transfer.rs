//! Images in and out: archives and registries.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex};

use bollard::auth::DockerCredentials;
use bollard::query_parameters::{CreateImageOptions, ImportImageOptions};
use futures_util::stream::{self, StreamExt, TryStreamExt};
use tokio::io::AsyncRead;
use tokio_util::io::{ReaderStream, StreamReader};

use super::EngineError;
use super::client::{Engine, is_absent};
use crate::oci::Reference;

/// Bytes of an archive in one piece.
const CHUNK: usize = 256 * 1024;

impl Engine {
    /// Loads the images of an archive as `docker save` writes it.
    ///
    /// # Errors
    /// [`EngineError::Refused`] for an archive that the engine does not understand, [`EngineError::NoSpace`],
    /// [`EngineError::Protocol`] where `archive` itself cannot be read.
    pub async fn load(&self, archive: impl AsyncRead + Send + 'static) -> Result<(), EngineError> {
        const WHAT: &str = "load an image archive";
        // The engine only sees that the body ends too early; what ended it is kept here.
        let unreadable = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&unreadable);
        let body = ReaderStream::with_capacity(archive, CHUNK).inspect_err(move |error| {
            if let Ok(mut slot) = keep.lock() {
                *slot = Some(error.to_string());
            }
        });
        let options = ImportImageOptions { quiet: true, ..ImportImageOptions::default() };
        let mut answer = Box::pin(self.docker().import_image(options, bollard::body_try_stream(body), None));
        let mut result = Ok(());
        while let Some(message) = answer.next().await {
            if let Err(error) = message {
                result = Err(self.error(WHAT, error));
                break;
            }
        }
        match unreadable.lock().ok().and_then(|mut slot| slot.take()) {
            Some(why) => Err(EngineError::Protocol { what: "read the image archive to load".to_owned(), why }),
            None => result,
        }
    }

    /// Pulls an image from its registry. `on_progress` gets the bytes so far and, as far as known, in all.
    ///
    /// # Errors
    /// [`EngineError::MissingImage`] where the registry does not have it or does not show it; [`EngineError::Refused`]
    /// where the registry cannot be reached by the engine; [`EngineError::NoSpace`].
    pub async fn pull(
        &self,
        reference: &Reference,
        credentials: Option<(&str, &str)>,
        on_progress: &mut (dyn FnMut(u64, Option<u64>) + Send),
    ) -> Result<(), EngineError> {
        let version = match (&reference.digest, &reference.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            // Without one, the engine would pull every tag of the repository.
            (None, None) => "latest".to_owned(),
        };
        let options = CreateImageOptions {
            from_image: Some(reference.repository.to_string()),
            tag: Some(version),
            ..CreateImageOptions::default()
        };
        let credentials = credentials.map(|(username, password)| DockerCredentials {
            username: Some(username.to_owned()),
            password: Some(password.to_owned()),
            serveraddress: Some(reference.repository.registry().to_owned()),
            ..DockerCredentials::default()
        });
        let mut messages = Box::pin(self.docker().create_image(Some(options), None, credentials));
        let mut layers = HashMap::new();
        while let Some(message) = messages.next().await {
            let message = message.map_err(|error| self.pull_error(reference, error))?;
            let (Some(id), Some(detail)) = (message.id, message.progress_detail) else { continue };
            // Extracting counts the same bytes again.
            if message.status.as_deref() != Some("Downloading") {
                continue;
            }
            let bytes = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
            layers.insert(id, (bytes(detail.current).unwrap_or_default(), bytes(detail.total)));
            let so_far = layers.values().map(|(current, _)| current).sum();
            on_progress(so_far, layers.values().map(|(_, total)| *total).sum());
        }
        Ok(())
    }

    fn pull_error(&self, reference: &Reference, error: bollard::errors::Error) -> EngineError {
        let text = error.to_string();
        let says = |phrases: &[&str]| phrases.iter().any(|phrase| text.contains(phrase));
        // Registries that hide what they have say "does not exist or may require authorization" for both.
        let login = says(&["no basic auth credentials", "unauthorized", "401 Unauthorized", "authentication required"]);
        let unknown = says(&["manifest unknown", "not found", "does not exist", "name unknown", "no such manifest"]);
        if !login && (unknown || is_absent(&error)) {
            return self.missing(&reference.to_string(), &error);
        }
        self.error(&format!("pull `{reference}`"), error)
    }

    /// The archive that `docker save` would write of these images; shared layers are in it once. Dropping it ends the export.
    ///
    /// # Errors
    /// [`EngineError::MissingImage`] where the engine lacks one of them. Later errors come from reading.
    pub async fn export(&self, names: &[String]) -> Result<impl AsyncRead + Send + Unpin + use<>, EngineError> {
        let borrowed: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut bytes = self.docker().export_images(&borrowed).boxed();
        // The first bytes tell whether there is an archive at all.
        let first = match bytes.next().await {
            Some(Err(error)) if is_absent(&error) => return Err(self.missing(&names.join("`, `"), &error)),
            Some(Err(error)) => return Err(self.error(&format!("export `{}`", names.join("`, `")), error)),
            first => first,
        };
        let bytes = stream::iter(first).chain(bytes).map_err(io::Error::other);
        Ok(StreamReader::new(bytes))
    }
}
