//! The session: BuildKit asks back for the context and for secrets, over a connection of its own.
//!
//! Served inside the build's own future and not in a task: when the build is dropped, so is the session, and an engine
//! that has lost the session gives up the build.

use std::collections::BTreeMap;
use std::sync::Arc;

use bollard_buildkit_proto::health::health_check_response::ServingStatus;
use bollard_buildkit_proto::health::health_server::{Health, HealthServer};
use bollard_buildkit_proto::health::{HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::secrets_server::{Secrets, SecretsServer};
use bollard_buildkit_proto::moby::buildkit::secrets::v1::{GetSecretRequest, GetSecretResponse};
use bollard_buildkit_proto::moby::upload::v1::BytesMessage;
use bollard_buildkit_proto::moby::upload::v1::upload_server::{Upload, UploadServer};
use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use hyper::server::conn::http2;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioExecutor;
use hyper_util::service::TowerToHyperService;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

use super::super::SecretBytes;

/// Bytes of the context in one message; BuildKit takes 16 MiB at most.
const CHUNK: usize = 256 * 1024;

/// What the engine may call, for `X-Docker-Expose-Session-Grpc-Method`.
pub(super) const METHODS: [&str; 3] =
    ["/grpc.health.v1.Health/Check", "/moby.buildkit.secrets.v1.Secrets/GetSecret", "/moby.upload.v1.Upload/Pull"];

/// Answers the engine's questions until the connection ends.
pub(super) async fn serve(connection: Upgraded, context: Context, secrets: BTreeMap<String, SecretBytes>) -> hyper::Result<()> {
    let routes = Routes::new(HealthServer::new(Alive))
        .add_service(UploadServer::new(context))
        .add_service(SecretsServer::new(Vault(Arc::new(secrets))));
    http2::Builder::new(TokioExecutor::new()).serve_connection(connection, TowerToHyperService::new(routes)).await
}

/// The context's archive under the path that the solve names.
pub(super) struct Context {
    pub(super) path: String,
    pub(super) archive: Bytes,
}

#[tonic::async_trait]
impl Upload for Context {
    type PullStream = BoxStream<'static, Result<BytesMessage, Status>>;

    async fn pull(&self, request: Request<Streaming<BytesMessage>>) -> Result<Response<Self::PullStream>, Status> {
        let asked = request.metadata().get("urlpath").and_then(|path| path.to_str().ok());
        if asked != Some(self.path.as_str()) {
            return Err(Status::not_found("there is nothing but the context to be had here"));
        }
        let mut rest = self.archive.clone();
        let chunks = std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| Ok(BytesMessage { data: rest.split_to(rest.len().min(CHUNK)).to_vec() }))
        });
        Ok(Response::new(stream::iter(chunks).boxed()))
    }
}

struct Vault(Arc<BTreeMap<String, SecretBytes>>);

#[tonic::async_trait]
impl Secrets for Vault {
    async fn get_secret(&self, request: Request<GetSecretRequest>) -> Result<Response<GetSecretResponse>, Status> {
        let id = &request.get_ref().id;
        match self.0.get(id) {
            Some(secret) => Ok(Response::new(GetSecretResponse { data: secret.0.to_vec() })),
            None => Err(Status::not_found(format!("secret {id} not found"))),
        }
    }
}

/// The engine asks every few seconds whether the session lives.
struct Alive;

#[tonic::async_trait]
impl Health for Alive {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        Ok(Response::new(HealthCheckResponse { status: ServingStatus::Serving.into() }))
    }

    async fn list(&self, _: Request<HealthListRequest>) -> Result<Response<HealthListResponse>, Status> {
        Err(Status::unimplemented("a session has one service"))
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("a session is checked, not watched"))
    }
}
