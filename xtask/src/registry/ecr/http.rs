//! The AWS SDK's requests over our own HTTP client: one TLS provider, the proxies and root certificates of everything
//! else, and no second stack of hyper and rustls to compile.

use std::net::IpAddr;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_runtime_api::http::StatusCode;
use aws_smithy_types::body::SdkBody;
use reqwest::{Url, redirect};

use crate::registry::innermost;

/// A request of which the SDK does not say how long it may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// The client, twice: what is on this machine or on its link (the metadata services of EC2 and ECS) is asked directly,
/// since a proxy of the environment does not know it.
#[derive(Debug, Clone)]
pub(crate) struct SdkHttp {
    outside: reqwest::Client,
    near: reqwest::Client,
}

#[derive(Debug)]
struct Connector {
    http: SdkHttp,
    patience: Duration,
}

impl SdkHttp {
    /// # Errors
    /// TLS has no provider or no roots.
    pub(crate) fn new() -> Result<Self, String> {
        let builder = || {
            let agent = concat!("gantry/", env!("CARGO_PKG_VERSION"));
            // AWS redirects nobody; a signed request is not sent on.
            reqwest::Client::builder().user_agent(agent).redirect(redirect::Policy::none()).connect_timeout(PATIENCE / 3)
        };
        let built = |builder: reqwest::ClientBuilder| builder.build().map_err(|error| innermost(&error));
        Ok(Self { outside: built(builder())?, near: built(builder().no_proxy())? })
    }

    /// One request to AWS that is not the SDK's own: signed already, answered within `patience`.
    pub(crate) async fn send(&self, request: &HttpRequest, patience: Duration) -> Result<HttpResponse, ConnectorError> {
        answered(self, patience, request).await
    }
}

impl HttpClient for SdkHttp {
    fn http_connector(&self, settings: &HttpConnectorSettings, _: &RuntimeComponents) -> SharedHttpConnector {
        let patience = match (settings.connect_timeout(), settings.read_timeout()) {
            // One second each, where the SDK looks whether this machine is in AWS at all.
            (Some(connect), Some(read)) => connect + read,
            (_, Some(read)) => read + PATIENCE / 3,
            _ => PATIENCE,
        };
        SharedHttpConnector::new(Connector { http: self.clone(), patience })
    }
}

impl HttpConnector for Connector {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let (http, patience) = (self.http.clone(), self.patience);
        HttpConnectorFuture::new(async move { answered(&http, patience, &request).await })
    }
}

async fn answered(http: &SdkHttp, patience: Duration, request: &HttpRequest) -> Result<HttpResponse, ConnectorError> {
    let user = |why: String| ConnectorError::user(why.into());
    let url = Url::parse(request.uri()).map_err(|_| user("the address of an AWS endpoint is not valid".to_owned()))?;
    let near = is_near(&url);
    if url.scheme() != "https" && !near {
        return Err(user(format!("`{}` is asked for a credential over plain http, which is refused", host(&url))));
    }
    let method = request.method().parse().map_err(|_| user("no method of HTTP".to_owned()))?;
    let body = request.body().bytes().ok_or_else(|| user("a streamed request".to_owned()))?;
    let mut asked = if near { &http.near } else { &http.outside }.request(method, url).timeout(patience).body(body.to_vec());
    for (name, value) in request.headers() {
        asked = asked.header(name, value);
    }
    // The URL is left out: it may be of somebody's sign-on portal, with a code in it.
    let failed = |error: reqwest::Error| {
        let error = error.without_url();
        let why = innermost(&error);
        if error.is_timeout() { ConnectorError::timeout(why.into()) } else { ConnectorError::io(why.into()) }
    };
    let response = asked.send().await.map_err(failed)?;
    let status = StatusCode::try_from(response.status().as_u16()).map_err(|error| ConnectorError::other(error.into(), None))?;
    let headers = response.headers().clone();
    let body = response.bytes().await.map_err(failed)?;
    let mut answer = HttpResponse::new(status, SdkBody::from(body));
    for (name, value) in &headers {
        if let Ok(value) = value.to_str() {
            answer.headers_mut().append(name.as_str().to_owned(), value.to_owned());
        }
    }
    Ok(answer)
}

fn host(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_matches(['[', ']'])
}

/// Whether this is this machine, or a service that AWS gives a machine or container on its own link.
fn is_near(url: &Url) -> bool {
    match host(url).parse::<IpAddr>() {
        Ok(IpAddr::V4(address)) => address.is_loopback() || address.is_link_local(),
        // fd00:ec2::254 and fd00:ec2::23
        Ok(IpAddr::V6(address)) => address.is_loopback() || address.segments()[..2] == [0xfd00, 0x0ec2],
        Err(_) => host(url) == "localhost",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_asked_over_plain_http() {
        for (url, near) in [
            ("http://127.0.0.1:5000/", true),
            ("http://localhost:5000/", true),
            ("http://[::1]:5000/", true),
            ("http://169.254.169.254/latest", true),
            ("http://169.254.170.2/v2/credentials", true),
            ("http://[fd00:ec2::254]/latest", true),
            ("http://[fd00:ec3::254]/latest", false),
            ("http://10.0.0.1/", false),
            ("http://localhost.example/", false),
            ("https://api.ecr.us-west-2.amazonaws.com/", false),
        ] {
            assert_eq!(is_near(&Url::parse(url).expect("a URL")), near, "{url}");
        }
    }
}
