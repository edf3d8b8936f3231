//! HTTP/1.1 over a dialed stream: one connection per request, and connections that are taken over ("hijacked") for gRPC.

use std::io;

use bytes::Bytes;
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Body, Incoming};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use super::EngineError;
use super::dial::Dialer;

/// The engine's answer to something small may not be larger than this.
const ANSWER_LIMIT: usize = 1 << 20;

/// Sends a request over a connection of its own. The connection ends with the response's body, or at once when the
/// returned future is dropped.
///
/// # Errors
/// An [`io::Error`] from dialing or the connection; its kind survives.
pub(super) async fn send<B>(dialer: &Dialer, mut request: Request<B>) -> io::Result<Response<Incoming>>
where
    B: Body<Data = Bytes> + Send + 'static + Unpin,
    B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let path = request.uri().path_and_query().cloned().unwrap_or_else(|| http::uri::PathAndQuery::from_static("/"));
    *request.uri_mut() = path.into();
    // An engine refuses requests without a host; which one does not matter.
    request.headers_mut().insert(header::HOST, header::HeaderValue::from_static("engine"));
    let stream = dialer.dial().await?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = tokio::spawn(connection.with_upgrades());
    match sender.send_request(request).await {
        Ok(response) => Ok(response),
        // A connection that ended before it took the request knows why, for example a TLS alert; its sender does not.
        Err(error) if error.is_canceled() => {
            drop(sender);
            match connection.await {
                Ok(Err(cause)) => Err(broken(cause)),
                _ => Err(broken(error)),
            }
        }
        Err(error) => Err(broken(error)),
    }
}

/// An [`io::Error`] with the kind of the one below it, and everything that is said on the way.
fn broken(error: hyper::Error) -> io::Error {
    let kind = std::error::Error::source(&error)
        .and_then(|source| source.downcast_ref::<io::Error>())
        .map_or(io::ErrorKind::ConnectionAborted, io::Error::kind);
    io::Error::new(kind, super::error::chain(&error))
}

/// Asks for a JSON document without naming an API version: that is what the question is for.
///
/// # Errors
/// No connection, or an answer that is not the document.
pub(super) async fn get_json<T: serde::de::DeserializeOwned>(
    dialer: &Dialer,
    endpoint: &str,
    path: &'static str,
) -> Result<T, EngineError> {
    let request = Request::get(path).body(Empty::<Bytes>::new()).map_err(|error| protocol(path, error))?;
    let response = send(dialer, request).await.map_err(|error| EngineError::unreachable(endpoint, &error))?;
    let status = response.status();
    let body = body(response).await?;
    if !status.is_success() {
        let why = format!("`GET {path}` was answered with {status}: {}", String::from_utf8_lossy(&body).trim());
        return Err(EngineError::Unreachable { endpoint: endpoint.to_owned(), why });
    }
    serde_json::from_slice(&body).map_err(|error| protocol(path, error))
}

fn protocol(path: &str, error: impl std::fmt::Display) -> EngineError {
    EngineError::Protocol { what: format!("ask the engine for `{path}`"), why: error.to_string() }
}

async fn body(response: Response<Incoming>) -> Result<Bytes, EngineError> {
    let read = Limited::new(response.into_body(), ANSWER_LIMIT).collect().await;
    read.map(http_body_util::Collected::to_bytes)
        .map_err(|error| EngineError::Protocol { what: "read the engine's answer".to_owned(), why: error.to_string() })
}

/// Takes over a connection: `POST path` with `Upgrade: h2c`, answered with 101.
///
/// # Errors
/// [`EngineError::NoBuildKit`] where the engine does not know the path: only BuildKit's two are hijacked.
pub(super) async fn hijack(
    dialer: &Dialer,
    endpoint: &str,
    path: &str,
    headers: &[(&'static str, &str)],
) -> Result<Upgraded, EngineError> {
    let mut request = Request::post(path)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "h2c")
        .header(header::CONTENT_LENGTH, 0);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| protocol(path, error))?;
    let response = send(dialer, request).await.map_err(|error| EngineError::unreachable(endpoint, &error))?;
    let status = response.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        let message = String::from_utf8_lossy(&body(response).await?).trim().to_owned();
        let why = format!("`POST {path}` was answered with {status}: {message}");
        return Err(EngineError::NoBuildKit { endpoint: endpoint.to_owned(), why });
    }
    hyper::upgrade::on(response).await.map_err(|error| EngineError::unreachable(endpoint, &broken(error)))
}
