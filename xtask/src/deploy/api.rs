//! The few operations of Amazon ECS that a deployment needs, over the JSON 1.1 protocol: signed by the crate that the AWS SDK
//! signs with, with the SDK's credentials, over our own HTTP client. The crate `aws-sdk-ecs` would be 38 CPU
//! seconds of a debug build; this is no crate more, all that it needs is in the tree for ECR.

use std::time::{Duration, SystemTime};

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials as _;
use aws_credential_types::provider::error::CredentialsError;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::error::EcsError;
use super::model::{Cluster, Service};
use crate::registry::ecr::SdkHttp;
use crate::registry::innermost;
use crate::retry::{self, Policy};

const POLICY: Policy =
    Policy { attempts: 6, base: Duration::from_millis(500), cap: Duration::from_secs(10), total: Duration::from_secs(90) };
const ANSWER: Duration = Duration::from_secs(20);
/// A credential that ends sooner is asked for anew.
const MARGIN: Duration = Duration::from_secs(5 * 60);
/// Services in one DescribeServices.
const AT_ONCE: usize = 10;
const TARGET: &str = "AmazonEC2ContainerServiceV20141113";

/// Who asks, and where: what the command line says of it.
#[derive(Debug, Clone, Default)]
pub struct Identity {
    /// Instead of the chain's.
    pub region: Option<String>,
    /// Instead of `AWS_PROFILE`.
    pub profile: Option<String>,
    /// `AWS_ENDPOINT_URL_ECS`
    pub endpoint: Option<String>,
}

/// ECS in one region.
pub struct Ecs {
    http: SdkHttp,
    config: SdkConfig,
    region: String,
    endpoint: String,
    credentials: Mutex<Option<Credentials>>,
}

#[derive(Deserialize)]
struct Clusters {
    #[serde(default)]
    clusters: Vec<Cluster>,
}

#[derive(Deserialize)]
struct Services {
    #[serde(default)]
    services: Vec<Service>,
}

#[derive(Deserialize)]
struct Updated {
    service: Service,
}

impl Ecs {
    /// A client with AWS's own credential chain; credentials are asked for now.
    ///
    /// # Errors
    /// There is no region, no credential or no HTTP client.
    pub async fn connect(identity: Identity) -> Result<Self, EcsError> {
        let endpoint = |url: &str, why: String| EcsError::Endpoint { url: url.to_owned(), why };
        let http = SdkHttp::new().map_err(|why| endpoint("https://ecs", why))?;
        let mut loader = aws_config::defaults(BehaviorVersion::latest()).http_client(http.clone());
        if let Some(region) = identity.region {
            loader = loader.region(Region::new(region));
        }
        if let Some(profile) = identity.profile {
            loader = loader.profile_name(profile);
        }
        let config = loader.load().await;
        let region = config.region().ok_or(EcsError::NoRegion)?.to_string();
        // It becomes a part of a host's name.
        if !region.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
            return Err(endpoint(&region, "it is no region".to_owned()));
        }
        let given = identity.endpoint.as_deref().or(config.endpoint_url());
        let url = given.map_or_else(|| host(&region, config.use_fips().unwrap_or(false)), str::to_owned);
        let url = format!("{}/", url.trim_end_matches('/'));
        let ecs = Self { http, config, region, endpoint: url, credentials: Mutex::new(None) };
        ecs.credentials().await?;
        Ok(ecs)
    }

    /// `us-west-2`
    pub fn region(&self) -> &str {
        &self.region
    }

    /// A cluster; none: there is none of this name.
    ///
    /// # Errors
    /// ECS does not tell.
    pub async fn cluster(&self, name: &str) -> Result<Option<Cluster>, EcsError> {
        let answer: Clusters = self.ask("DescribeClusters", &json!({ "clusters": [name] })).await?;
        Ok(answer.clusters.into_iter().next())
    }

    /// Services of a cluster, in the order of `names`, each once however often it is named, and the names that there are none of.
    ///
    /// # Errors
    /// ECS does not tell.
    pub async fn services(&self, cluster: &str, names: &[String]) -> Result<(Vec<Service>, Vec<String>), EcsError> {
        let (mut found, mut missing) = (Vec::<Service>::new(), Vec::new());
        for names in names.chunks(AT_ONCE) {
            let asked = json!({ "cluster": cluster, "services": names });
            let answer: Services = self.ask("DescribeServices", &asked).await?;
            // A name, or the end of an ARN.
            for name in names.iter().map(|name| name.rsplit('/').next().unwrap_or(name)) {
                match answer.services.iter().find(|service| service.service_name == name) {
                    // By its name and by its ARN it is one.
                    Some(service) if found.iter().any(|known| known.service_arn == service.service_arn) => {}
                    Some(service) => found.push(service.clone()),
                    None => missing.push(name.to_owned()),
                }
            }
        }
        Ok((found, missing))
    }

    /// A task definition with its tags, as ECS answers it.
    ///
    /// # Errors
    /// ECS does not tell.
    pub async fn task_definition(&self, name: &str) -> Result<Value, EcsError> {
        self.ask("DescribeTaskDefinition", &json!({ "taskDefinition": name, "include": ["TAGS"] })).await
    }

    /// Registers a revision of a task definition: its ARN.
    ///
    /// # Errors
    /// ECS refuses.
    pub async fn register(&self, definition: &Value) -> Result<String, EcsError> {
        let answer: Value = self.ask("RegisterTaskDefinition", definition).await?;
        let arn = answer["taskDefinition"]["taskDefinitionArn"].as_str();
        arn.map(str::to_owned).ok_or_else(|| self.odd("RegisterTaskDefinition", "the answer has no ARN"))
    }

    /// Starts a service's tasks anew, of this task definition or of the one that it has.
    ///
    /// # Errors
    /// ECS refuses.
    pub async fn deploy(&self, cluster: &str, service: &str, definition: Option<&str>) -> Result<Service, EcsError> {
        let mut asked = json!({ "cluster": cluster, "service": service, "forceNewDeployment": true });
        if let (Some(definition), Some(asked)) = (definition, asked.as_object_mut()) {
            asked.insert("taskDefinition".to_owned(), definition.into());
        }
        Ok(self.ask::<Updated>("UpdateService", &asked).await?.service)
    }

    async fn ask<T: DeserializeOwned>(&self, action: &'static str, body: &Value) -> Result<T, EcsError> {
        let body = body.to_string();
        let (mut failed, mut spent) = (0, Duration::ZERO);
        loop {
            failed += 1;
            let (error, passing) = match self.answered(action, &body).await {
                Ok((200, answer)) => {
                    return serde_json::from_slice(&answer).map_err(|error| self.odd(action, &error.to_string()));
                }
                Ok((status, answer)) => self.refused(action, status, &answer),
                Err(error @ EcsError::Unreachable { .. }) => (error, true),
                Err(error) => return Err(error),
            };
            let pause = POLICY.pause(failed, spent, None, retry::chance()).filter(|_| passing);
            let Some(pause) = pause else { return Err(error) };
            tokio::time::sleep(pause).await;
            spent += pause;
        }
    }

    /// One request, signed: the answer's status and body.
    async fn answered(&self, action: &'static str, body: &str) -> Result<(u16, Vec<u8>), EcsError> {
        let unreachable = |why: String| EcsError::Unreachable { region: self.region.clone(), action, why };
        let odd = |why: String| EcsError::Endpoint { url: self.endpoint.clone(), why };
        let target = format!("{TARGET}.{action}");
        let headers = [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", target.as_str())];
        let identity = self.credentials().await?.into();
        let params = v4::SigningParams::builder().identity(&identity).region(&self.region).name("ecs");
        let params = params.time(SystemTime::now()).settings(SigningSettings::default()).build();
        let params = params.map_err(|error| odd(error.to_string()))?.into();
        let signable = SignableRequest::new("POST", &self.endpoint, headers.into_iter(), SignableBody::Bytes(body.as_bytes()));
        let signable = signable.map_err(|error| odd(innermost(&error)))?;
        let (signature, _) = sign(signable, &params).map_err(|error| odd(innermost(&error)))?.into_parts();

        let mut request = HttpRequest::new(SdkBody::from(body));
        request.set_method("POST").map_err(|error| odd(innermost(&error)))?;
        request.set_uri(self.endpoint.as_str()).map_err(|error| odd(innermost(&error)))?;
        for (name, value) in headers {
            request.headers_mut().insert(name, value.to_owned());
        }
        for (name, value) in signature.headers() {
            request.headers_mut().insert(name.to_owned(), value.to_owned());
        }
        let answer = self.http.send(&request, ANSWER).await.map_err(|error| match error.is_user() {
            true => odd(innermost(&error)),
            false => unreachable(innermost(&error)),
        })?;
        Ok((answer.status().as_u16(), answer.body().bytes().unwrap_or_default().to_vec()))
    }

    /// What an answer that is none means, and whether that passes. (AWS JSON 1.1: `__type`, `message`)
    fn refused(&self, action: &'static str, status: u16, answer: &[u8]) -> (EcsError, bool) {
        let told: Value = serde_json::from_slice(answer).unwrap_or_default();
        let code = told["__type"].as_str().unwrap_or_default();
        let code = code.rsplit('#').next().unwrap_or(code).split(':').next().unwrap_or(code);
        let message = told["message"].as_str().or_else(|| told["Message"].as_str()).unwrap_or_default();
        let message: String = message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
        let passing = retry::is_passing(status) || code.contains("Throttling") || code == "ServerException";
        let code = if code.is_empty() { format!("status {status}") } else { code.to_owned() };
        let message = if message.is_empty() { message } else { format!(": {message}") };
        (EcsError::Service { region: self.region.clone(), action, code, message }, passing)
    }

    fn odd(&self, action: &'static str, why: &str) -> EcsError {
        let (region, code) = (self.region.clone(), "its answer cannot be read".to_owned());
        EcsError::Service { region, action, code, message: format!(": {why}") }
    }

    /// Those of the chain, as long as they live.
    async fn credentials(&self) -> Result<Credentials, EcsError> {
        let mut known = self.credentials.lock().await;
        let lives = |found: &&Credentials| found.expiry().is_none_or(|end| end > SystemTime::now() + MARGIN);
        if let Some(found) = known.as_ref().filter(lives) {
            return Ok(found.clone());
        }
        let provider = self.config.credentials_provider().ok_or(EcsError::NoCredential)?;
        let found = provider.provide_credentials().await.map_err(|error| match error {
            CredentialsError::CredentialsNotLoaded(_) => EcsError::NoCredential,
            CredentialsError::ProviderTimedOut(_) => EcsError::Credential { why: "its source does not answer in time" },
            CredentialsError::InvalidConfiguration(_) => EcsError::Credential { why: "the configuration of AWS is not valid" },
            _ => EcsError::Credential { why: "no source has one, or the one that should fails" },
        })?;
        *known = Some(found.clone());
        Ok(found)
    }
}

/// ECS's endpoint in a region. (AWS General Reference: "Amazon ECS endpoints"; the partitions' suffixes)
fn host(region: &str, fips: bool) -> String {
    let suffix = match region {
        _ if region.starts_with("cn-") => "amazonaws.com.cn",
        _ if region.starts_with("eusc-") => "amazonaws.eu",
        _ if region.starts_with("us-iso-") => "c2s.ic.gov",
        _ if region.starts_with("us-isob-") => "sc2s.sgov.gov",
        _ if region.starts_with("eu-isoe-") => "cloud.adc-e.uk",
        _ if region.starts_with("us-isof-") => "csp.hci.ic.gov",
        _ => "amazonaws.com",
    };
    format!("https://ecs{}.{region}.{suffix}", if fips { "-fips" } else { "" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints() {
        for (region, fips, url) in [
            ("us-west-2", false, "https://ecs.us-west-2.amazonaws.com"),
            ("us-west-2", true, "https://ecs-fips.us-west-2.amazonaws.com"),
            ("us-gov-west-1", false, "https://ecs.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", false, "https://ecs.cn-north-1.amazonaws.com.cn"),
        ] {
            assert_eq!(host(region, fips), url);
        }
    }
}
