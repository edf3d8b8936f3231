//! Amazon ECR beyond the registry protocol: tokens by the AWS credential chain, and the repositories themselves, which no
//! push creates.

mod error;
mod http;
mod repository;
mod settings;

use std::time::Duration;

use aws_config::{BehaviorVersion, Region};
use aws_sdk_ecr::Client;
use aws_smithy_types::timeout::TimeoutConfig;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;

use super::{Credential, Identified};
use crate::oci::EcrRegistry;
use crate::secret::Secret;

pub use error::EcrError;
pub(crate) use http::SdkHttp;
pub use settings::{Change, Fixed, Found, MOST_EXCEPTIONS, Mutability, Wanted, changes};

/// An operation with all its attempts, and one of them. On a machine outside of AWS and without credentials the SDK gives
/// up after some seconds.
const PATIENCE: Duration = Duration::from_secs(40);
const ATTEMPT: Duration = Duration::from_secs(15);

/// An end that is nearer than this when a token is handed out is not believed: clocks differ, and moto says 2015. Such a
/// token is used until it is refused.
const SHORTEST_LIFE: time::Duration = time::Duration::minutes(5);

/// The API of one registry in ECR.
#[derive(Debug, Clone)]
pub struct EcrApi {
    client: Client,
    registry: EcrRegistry,
}

impl EcrApi {
    /// A client with AWS's own credential chain: the environment, profiles (single sign-on included), web identities
    /// (GitHub's), and the roles of ECS tasks and EC2 machines. The region is the registry's, whatever the environment
    /// says. Nothing is asked yet.
    ///
    /// # Errors
    /// There is no HTTP client.
    pub async fn connect(registry: &EcrRegistry) -> Result<Self, EcrError> {
        let http = http::SdkHttp::new();
        let failed = |why| EcrError::Unreachable { registry: registry.to_string(), what: "answer", why };
        let timeouts = TimeoutConfig::builder().operation_timeout(PATIENCE).operation_attempt_timeout(ATTEMPT).build();
        let loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(http.map_err(failed)?)
            .region(Region::new(registry.region.clone()))
            .timeout_config(timeouts);
        let loader = if registry.fips { loader.use_fips(true) } else { loader };
        Ok(Self { client: Client::new(&loader.load().await), registry: registry.clone() })
    }

    /// Whose registry this is.
    pub fn registry(&self) -> &EcrRegistry {
        &self.registry
    }

    /// A name and password for the registry, good for twelve hours. `origin` says which identity asked.
    ///
    /// # Errors
    /// There is no credential of AWS, or AWS does not hand out a token for it.
    pub async fn token(&self, origin: &str) -> Result<Identified, EcrError> {
        const WHAT: &str = "hand out a token (`ecr:GetAuthorizationToken`)";
        let asked = self.client.get_authorization_token().send().await;
        let answer = asked.map_err(|error| EcrError::of(&self.registry, WHAT, &error))?;
        let odd = || EcrError::Service {
            registry: self.registry.to_string(),
            what: WHAT,
            code: "the answer has none".to_owned(),
            message: String::new(),
        };
        let data = answer.authorization_data().first().ok_or_else(odd)?;
        let token = data.authorization_token().and_then(|token| STANDARD.decode(token).ok());
        let token = token.and_then(|token| String::from_utf8(token).ok()).ok_or_else(odd)?;
        let (username, password) = token.split_once(':').ok_or_else(odd)?;
        let credential = Credential::Basic { username: username.to_owned(), password: Secret::new(password) };
        let ends = data.expires_at().and_then(|at| OffsetDateTime::from_unix_timestamp(at.secs()).ok());
        let ends = ends.filter(|ends| believed(*ends, OffsetDateTime::now_utc()));
        // It is good at this account's registry: no token server is ever to see it.
        Ok(Identified { credential, origin: origin.to_owned(), ends, confined: true })
    }
}

fn believed(ends: OffsetDateTime, now: OffsetDateTime) -> bool {
    ends - now >= SHORTEST_LIFE
}

/// Which part of AWS's credential chain comes first here, in words: what the environment says, in the SDK's order.
pub(super) fn origin(variable: impl Fn(&str) -> Option<String>) -> String {
    let set = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
    if set("AWS_ACCESS_KEY_ID").is_some() && set("AWS_SECRET_ACCESS_KEY").is_some() {
        return "AWS (`AWS_ACCESS_KEY_ID`)".to_owned();
    }
    if let Some(profile) = set("AWS_PROFILE") {
        return format!("AWS (profile `{}`)", profile.escape_debug());
    }
    if set("AWS_WEB_IDENTITY_TOKEN_FILE").is_some() {
        return "AWS (`AWS_WEB_IDENTITY_TOKEN_FILE`)".to_owned();
    }
    if set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").or_else(|| set("AWS_CONTAINER_CREDENTIALS_FULL_URI")).is_some() {
        return "AWS (the container's role)".to_owned();
    }
    "AWS (the default profile, or this machine's role)".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_end_of_a_token_is_believed() {
        let now = OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000);
        for (ends, told) in [(12 * 60, true), (5, true), (4, false), (0, false), (-60 * 24 * 365 * 11, false)] {
            assert_eq!(believed(now + time::Duration::minutes(ends), now), told, "{ends} min");
        }
    }

    /// An API on loopback that answers everything with this.
    async fn answering(status: &'static str, body: String) -> EcrApi {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = vec![0; 16 << 10];
                let _ = tokio::io::AsyncReadExt::read(&mut stream, &mut request).await;
                let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len());
                let _ = tokio::io::AsyncWriteExt::write_all(&mut stream, answer.as_bytes()).await;
            }
        });
        rustls::crypto::ring::default_provider().install_default().ok();
        let config = aws_sdk_ecr::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .http_client(http::SdkHttp::new().expect("a client"))
            .region(Region::new("us-west-2"))
            .endpoint_url(endpoint)
            .credentials_provider(aws_credential_types::Credentials::new("AKIA", "canary", None, None, "test"));
        let registry = EcrRegistry::new("271851283454", "us-west-2").expect("a registry");
        EcrApi { client: Client::from_conf(config.build()), registry }
    }

    #[tokio::test]
    async fn a_token_says_when_it_ends_and_is_for_its_registry_alone() {
        let now = OffsetDateTime::now_utc().replace_nanosecond(0).expect("a time");
        // `AWS:token`
        let body = |at: i64| {
            let data = format!(r#"{{"authorizationToken":"QVdTOnRva2Vu","expiresAt":{at}}}"#);
            format!(r#"{{"authorizationData":[{data}]}}"#)
        };
        let end = now + time::Duration::hours(12);
        for (at, ends) in [(end.unix_timestamp(), Some(end)), (1_420_070_400, None)] {
            let told = answering("200 OK", body(at)).await.token("a test").await.expect("a token");
            let credential = Credential::Basic { username: "AWS".to_owned(), password: Secret::new("token") };
            assert_eq!(told, Identified { credential, origin: "a test".to_owned(), ends, confined: true });
        }
    }

    #[tokio::test]
    async fn what_aws_says_instead_of_a_token() {
        let denied = r#"{"__type":"AccessDeniedException","message":"User: arn:aws:iam::1:user/x is not authorized"}"#;
        let unknown = r#"{"__type":"UnrecognizedClientException","message":"The security token is invalid"}"#;
        for (status, body, told, hint) in [
            (
                "400 Bad Request",
                denied,
                "AccessDeniedException: User: arn:aws:iam::1:user/x",
                "has to allow it to hand out a token",
            ),
            ("400 Bad Request", unknown, "UnrecognizedClientException: The security", "whether AWS knows this identity"),
            ("200 OK", r#"{"authorizationData":[]}"#, "the answer has none", ""),
            ("200 OK", r#"{"authorizationData":[{"authorizationToken":"canary"}]}"#, "the answer has none", ""),
            ("200 OK", "<html>canary</html>", "the answer is not one of AWS", ""),
        ] {
            let error = answering(status, body.to_owned()).await.token("a test").await.expect_err("no token");
            let (text, found) = (error.to_string(), error.hint().unwrap_or_default());
            assert!(text.contains(told) && found.contains(hint) && !text.contains("canary"), "{text}; {found}");
        }
    }

    #[test]
    fn which_identity_of_aws_comes_first() {
        let keys = [("AWS_ACCESS_KEY_ID", "AKIA"), ("AWS_SECRET_ACCESS_KEY", "canary"), ("AWS_PROFILE", "desk")];
        for (set, told) in [
            (&keys[..], "AWS (`AWS_ACCESS_KEY_ID`)"),
            (&keys[1..], "AWS (profile `desk`)"),
            (&[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")], "AWS (`AWS_WEB_IDENTITY_TOKEN_FILE`)"),
            (&[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2")], "AWS (the container's role)"),
            (&[("AWS_PROFILE", " ")], "AWS (the default profile, or this machine's role)"),
        ] {
            let found = origin(|name| set.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned()));
            assert_eq!(found, told);
        }
    }
}
