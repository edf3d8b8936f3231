//! Builds by BuildKit's own protocol: a solve and its status on one connection, the session on another.

mod progress;
mod session;

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bollard_buildkit_proto::moby::buildkit::v1::control_client::ControlClient;
use bollard_buildkit_proto::moby::buildkit::v1::{CacheOptions, SolveRequest, StatusRequest};
use hyper::upgrade::Upgraded;
use tonic::Status;
use tonic::transport::Endpoint as ChannelEndpoint;

use super::client::Engine;
use super::error::{chain, is_no_space};
use super::{BuildEvent, BuildRequest, EngineError, wire};
use progress::{Progress, exit_code};

/// A status message may carry many lines of a log.
const MESSAGE_LIMIT: usize = 64 << 20;
/// How long the last lines of a log may take after the build has ended.
const LAST_LINES: Duration = Duration::from_secs(3);

impl Engine {
    /// Builds an image and tags it. Parents are taken from the engine where it has them; nothing is pulled that is there.
    /// Dropping the future cancels the build on the engine.
    ///
    /// # Errors
    /// [`EngineError::BuildFailed`] with the step and its last lines, [`EngineError::MissingImage`] for a parent that is
    /// not to be had, [`EngineError::NoSpace`], [`EngineError::NoBuildKit`], [`EngineError::Unreachable`] when the
    /// connection breaks.
    pub async fn build(&self, request: BuildRequest, on_event: &mut (dyn FnMut(BuildEvent) + Send)) -> Result<(), EngineError> {
        let session = unique();
        let context_path = format!("/{}", unique());
        let solve = solve_request(&request, &session, &format!("http://buildkit-session{context_path}"));

        let mut headers = vec![("x-docker-expose-session-uuid", session.as_str()), ("x-docker-expose-session-name", "gantry")];
        headers.extend(session::METHODS.iter().map(|method| ("x-docker-expose-session-grpc-method", *method)));
        let connection = wire::hijack(self.dialer(), self.endpoint(), &self.path("/session"), &headers).await?;
        let context = session::Context { path: context_path, archive: request.context };
        let mut serving = pin!(session::serve(connection, context, request.secrets));
        let mut solving = pin!(self.solve(solve, on_event));

        tokio::select! {
            biased;
            result = &mut solving => result,
            ended = &mut serving => {
                // The engine closes the session when it gives up; the solve then says why. Only silence is the session's own fault.
                match tokio::time::timeout(LAST_LINES, &mut solving).await {
                    Ok(result) => result,
                    Err(_) => Err(EngineError::Unreachable {
                        endpoint: self.endpoint().to_owned(),
                        why: ended.map_or_else(|error| chain(&error), |()| "the engine closed the build's session".to_owned()),
                    }),
                }
            }
        }
    }

    async fn solve(&self, request: SolveRequest, on_event: &mut (dyn FnMut(BuildEvent) + Send)) -> Result<(), EngineError> {
        let channel = ChannelEndpoint::from_static("http://engine")
            .connect_with_connector(Hijack { engine: self.clone() })
            .await
            .map_err(|error| transport(self.endpoint(), &error))?;
        let mut control = ControlClient::new(channel).max_decoding_message_size(MESSAGE_LIMIT);
        let mut progress = Progress::default();
        let mut status_client = control.clone();
        let status_request = StatusRequest { r#ref: request.r#ref.clone() };

        let result = {
            // Asked before the solve: BuildKit waits a while for a build that does not exist yet, and not for one that is over.
            let mut status = pin!(async {
                let mut stream = status_client.status(status_request).await?.into_inner();
                while let Some(message) = stream.message().await? {
                    progress.take(message).into_iter().for_each(&mut *on_event);
                }
                Ok::<(), Status>(())
            });
            let mut solve = pin!(control.solve(request));
            tokio::select! {
                biased;
                // The log is not worth more than the build: without it, the build goes on.
                _ = &mut status => solve.await,
                result = &mut solve => {
                    let _ = tokio::time::timeout(LAST_LINES, status).await;
                    result
                }
            }
        };
        progress.finish().into_iter().for_each(&mut *on_event);
        result.map(drop).map_err(|status| failure(self.endpoint(), &status, &progress))
    }
}

/// `dockerfile.v0` is built into every engine: no frontend is pulled. (BuildKit, `frontend/dockerfile/builder`: the keys.)
fn solve_request(request: &BuildRequest, session: &str, context: &str) -> SolveRequest {
    let mut attributes = HashMap::from([
        ("context".to_owned(), context.to_owned()),
        ("filename".to_owned(), request.dockerfile.clone()),
        // Stage tags live in the engine alone; asking a registry for them first costs time and might find something else.
        ("image-resolve-mode".to_owned(), "local".to_owned()),
    ]);
    attributes.extend(request.target.iter().map(|target| ("target".to_owned(), target.clone())));
    attributes.extend(request.args.iter().map(|(name, value)| (format!("build-arg:{name}"), value.clone())));
    attributes.extend(request.labels.iter().map(|(name, value)| (format!("label:{name}"), value.clone())));
    if request.no_cache {
        attributes.insert("no-cache".to_owned(), String::new());
    }
    // Without a tag the result stays in the build cache: an exporter would leave an image without a name behind.
    let (exporter, exporter_attributes) = match request.tags.as_slice() {
        [] => (String::new(), HashMap::new()),
        tags => ("moby".to_owned(), HashMap::from([("name".to_owned(), tags.join(","))])),
    };
    SolveRequest {
        r#ref: unique(),
        session: session.to_owned(),
        frontend: "dockerfile.v0".to_owned(),
        frontend_attrs: attributes,
        exporter_deprecated: exporter,
        exporter_attrs_deprecated: exporter_attributes,
        cache: Some(CacheOptions::default()),
        ..SolveRequest::default()
    }
}

/// 32 hexadecimal digits that no other build has: builds of one engine must not share sessions or contexts.
fn unique() -> String {
    // The standard library seeds this from the operating system; a new state is different from all before it.
    let random = || RandomState::new().hash_one(std::process::id());
    format!("{:016x}{:016x}", random(), random())
}

fn transport(endpoint: &str, error: &(dyn std::error::Error + 'static)) -> EngineError {
    EngineError::unreachable(endpoint, error)
}

/// Why a solve failed: the status tells of the build as a whole, the progress of its steps.
fn failure(endpoint: &str, status: &Status, progress: &Progress) -> EngineError {
    // A status with a source was made on this side, from a connection that broke.
    if let Some(source) = std::error::Error::source(status) {
        return transport(endpoint, source);
    }
    let message = status.message().to_owned();
    let failed = progress.failed();
    let printed = failed.as_ref().and_then(|step| {
        let line = step.tail.iter().rev().find(|line| is_no_space(line))?;
        Some(format!("`{}` printed `{}`", step.name, line.trim()))
    });
    if let Some(detail) = is_no_space(&message).then(|| message.clone()).or(printed) {
        return EngineError::NoSpace { endpoint: endpoint.to_owned(), detail };
    }
    if status.code() == tonic::Code::Cancelled || message.ends_with("context canceled") {
        return EngineError::Cancelled;
    }
    let Some(step) = failed else {
        return EngineError::BuildFailed { step: "the Dockerfile".to_owned(), exit_code: None, log_tail: vec![message] };
    };
    if let Some(reference) = named_image(&step.name) {
        return EngineError::MissingImage { reference: reference.to_owned(), why: step.error };
    }
    let exit_code = exit_code(&step.error).or_else(|| exit_code(&message));
    let mut log_tail = step.tail;
    if exit_code.is_none() || log_tail.is_empty() {
        log_tail.push(step.error);
    }
    EngineError::BuildFailed { step: step.name, exit_code, log_tail }
}

/// The image that a step looks at or fetches: `[internal] load metadata for a/b:c`, `[tools 1/3] FROM a/b:c`, `FROM a/b:c`.
fn named_image(step: &str) -> Option<&str> {
    if let Some(reference) = step.strip_prefix("[internal] load metadata for ") {
        return Some(reference);
    }
    let instruction = if step.starts_with('[') { step.split_once("] ")?.1 } else { step };
    instruction.strip_prefix("FROM ").filter(|reference| !reference.contains(' '))
}

/// Makes tonic's channel from a hijacked `POST /grpc`.
#[derive(Clone)]
struct Hijack {
    engine: Engine,
}

impl tower_service::Service<http::Uri> for Hijack {
    type Response = Upgraded;
    type Error = EngineError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: http::Uri) -> Self::Future {
        let engine = self.engine.clone();
        Box::pin(async move { wire::hijack(engine.dialer(), engine.endpoint(), &engine.path("/grpc"), &[]).await })
    }
}

#[cfg(test)]
mod tests {
    use super::named_image;

    #[test]
    fn steps_that_are_about_an_image() {
        for (step, image) in [
            ("[internal] load metadata for gantry.invalid/stage/base:0123", Some("gantry.invalid/stage/base:0123")),
            ("[1/3] FROM docker.io/library/debian:trixie@sha256:00", Some("docker.io/library/debian:trixie@sha256:00")),
            ("[tools 1/3] FROM a/b:c", Some("a/b:c")),
            ("FROM a/b:c", Some("a/b:c")),
            ("[2/3] RUN echo FROM a/b:c", None),
            ("[internal] load build context", None),
        ] {
            assert_eq!(named_image(step), image, "{step}");
        }
    }
}
