//! One request to GitHub: who is asked, with what, how often.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, Url, redirect};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::answer::{Told, read};
use crate::artifact::http::causes;
use crate::proposal::GithubError;
use crate::retry::{self, Policy};
use crate::secret::Secret;

/// A pull request is worth some patience; a limit that lasts longer than this is told.
const POLICY: Policy =
    Policy { attempts: 4, base: Duration::from_millis(500), cap: Duration::from_secs(10), total: Duration::from_secs(90) };
const ANSWER: Duration = Duration::from_secs(30);

/// A repository, asked with a token.
pub struct Github {
    client: Client,
    /// `https://api.github.com/repos/OWNER/NAME/`
    root: Url,
    repository: String,
    token: HeaderValue,
    variable: &'static str,
}

/// What is asked of the repository.
pub(super) struct Path {
    segments: Vec<String>,
    query: Vec<(&'static str, String)>,
}

impl Path {
    pub(super) fn of(text: &str) -> Self {
        Self { segments: text.split('/').filter(|part| !part.is_empty()).map(str::to_owned).collect(), query: Vec::new() }
    }

    /// More of it, from outside: each part is escaped.
    pub(super) fn parts(mut self, text: &str) -> Self {
        self.segments.extend(text.split('/').map(str::to_owned));
        self
    }

    pub(super) fn query(mut self, name: &'static str, value: &str) -> Self {
        self.query.push((name, value.to_owned()));
        self
    }
}

impl Github {
    /// The API at `api` (`https://api.github.com`), which alone gets the token. Nothing is asked yet.
    ///
    /// # Errors
    /// The address cannot be used, or TLS has no roots.
    pub fn new(api: &str, repository: &str, token: &Secret, variable: &'static str) -> Result<Self, GithubError> {
        let odd = |why: &str| GithubError::Address { url: api.to_owned(), why: why.to_owned() };
        let mut root = Url::parse(api).map_err(|_| odd("it is not an address"))?;
        let near = is_loopback(&root);
        if root.scheme() != "https" && !(near && root.scheme() == "http") {
            return Err(odd("the token would be sent without encryption"));
        }
        if let Ok(mut segments) = root.path_segments_mut() {
            segments.pop_if_empty().push("repos").extend(repository.split('/'));
        }
        root.set_query(None);
        let builder = Client::builder().user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION"))).timeout(ANSWER);
        // Nobody is sent the token but who was named.
        let builder = builder.redirect(redirect::Policy::none()).connect_timeout(ANSWER / 3);
        let builder = if near { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|error| odd(&causes(&error)))?;
        let mut header =
            HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| GithubError::Token { variable })?;
        header.set_sensitive(true);
        Ok(Self { client, root, repository: repository.to_owned(), token: header, variable })
    }

    /// `sapphire-health/ansible-epic`
    pub fn repository(&self) -> &str {
        &self.repository
    }

    pub(super) fn owner(&self) -> &str {
        self.repository.split('/').next().unwrap_or_default()
    }

    pub(super) fn unseen(&self, what: &str) -> GithubError {
        let what = format!("{what} (`{}`)", self.repository);
        GithubError::Forbidden { what, status: 404, message: ": not found".to_owned(), accepted: None }
    }

    /// What is there; none: nothing.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &Path, what: &str) -> Result<Option<T>, GithubError> {
        match self.answered(&Method::GET, path, None, what).await {
            Err(GithubError::Forbidden { status: 404, .. }) => Ok(None),
            answer => answer?.value(what).map(Some),
        }
    }

    /// What has to be there.
    pub(super) async fn had<T: DeserializeOwned>(&self, path: &Path, what: &str) -> Result<T, GithubError> {
        self.answered(&Method::GET, path, None, what).await?.value(what)
    }

    /// What comes of a change.
    pub(super) async fn made<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &Path,
        body: &Value,
        what: &str,
    ) -> Result<T, GithubError> {
        self.answered(&method, path, Some(body), what).await?.value(what)
    }

    async fn answered(&self, method: &Method, path: &Path, body: Option<&Value>, what: &str) -> Result<Told, GithubError> {
        let mut url = self.root.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.extend(&path.segments);
        }
        if !path.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&path.query);
        }
        let (mut failed, mut spent) = (0, Duration::ZERO);
        loop {
            let mut request = self.client.request(method.clone(), url.clone());
            request = request.header(ACCEPT, "application/vnd.github+json").header("x-github-api-version", "2022-11-28");
            request = request.header(AUTHORIZATION, self.token.clone());
            if let Some(body) = body {
                request = request.json(body);
            }
            let told = match request.send().await {
                Ok(answer) => read(answer).await,
                Err(error) => Err(error),
            };
            failed += 1;
            let (error, asked) = match told {
                Ok(told) => match told.judged(what, &self.repository, self.variable) {
                    Ok(told) => return Ok(told),
                    Err((error, Some(asked))) => (error, asked),
                    Err((error, None)) => return Err(error),
                },
                Err(error) => (GithubError::Unreachable { what: what.to_owned(), why: causes(&error.without_url()) }, None),
            };
            match POLICY.pause(failed, spent, asked, retry::chance()) {
                Some(pause) => {
                    tokio::time::sleep(pause).await;
                    spent += pause;
                }
                None => return Err(error),
            }
        }
    }
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_gets_the_token() {
        rustls::crypto::ring::default_provider().install_default().ok();
        for (api, root) in [
            ("https://api.github.com", Some("https://api.github.com/repos/team/image")),
            ("https://ghes.example/api/v3/", Some("https://ghes.example/api/v3/repos/team/image")),
            ("http://127.0.0.1:8000", Some("http://127.0.0.1:8000/repos/team/image")),
            ("http://api.github.com", None),
            ("http://127.0.0.1.example", None),
            ("ftp://api.github.com", None),
            ("api.github.com", None),
        ] {
            let github = Github::new(api, "team/image", &Secret::new("t"), "GITHUB_TOKEN");
            assert_eq!(github.ok().map(|github| github.root.to_string()).as_deref(), root, "{api}");
        }
    }
}
