//! What GitHub's answers mean.

use std::time::Duration;

use reqwest::Response;
use reqwest::header::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::artifact::http::asked_pause;
use crate::proposal::GithubError;
use crate::retry::{self, limit};

/// No answer that is read here is longer.
const LONGEST: usize = 16 << 20;

/// An answer, whole.
pub(super) struct Told {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

/// Reads an answer.
pub(super) async fn read(mut answer: Response) -> Result<Told, reqwest::Error> {
    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        // What is cut off is no JSON, and is told as that.
        body.extend_from_slice(&chunk);
        if body.len() > LONGEST {
            break;
        }
    }
    Ok(Told { status, headers, body })
}

#[derive(Deserialize)]
struct Words {
    message: String,
    #[serde(default)]
    errors: Vec<serde_json::Value>,
}

impl Told {
    /// Good, or an error; with it, where another attempt may help: whether a pause was asked for.
    pub(super) fn judged(
        self,
        what: &str,
        repository: &str,
        variable: &'static str,
    ) -> Result<Self, (GithubError, Option<Option<Duration>>)> {
        let (what, message, status) = (what.to_owned(), self.message(), self.status);
        let now = OffsetDateTime::now_utc();
        if let Some(limit) = limit::limit(status, &self.headers, &message, now) {
            let pause = limit.pause(now).unwrap_or(limit::A_MINUTE);
            return Err((GithubError::RateLimited { until: limit.until_text() }, Some(Some(pause))));
        }
        match status {
            200..=299 => Ok(self),
            300..=399 => Err((GithubError::Moved { repository: repository.to_owned() }, None)),
            401 => Err((GithubError::Token { variable }, None)),
            403 | 404 => {
                let accepted = ["x-accepted-github-permissions", "x-accepted-oauth-scopes"].into_iter();
                let accepted = accepted.filter_map(|name| self.header(name)).find(|text| !text.is_empty()).map(str::to_owned);
                Err((GithubError::Forbidden { what, status, message, accepted }, None))
            }
            409 | 422 => Err((GithubError::Invalid { what, status, message }, None)),
            _ if retry::is_passing(status) => {
                let why = format!("{status}{message}");
                Err((GithubError::Unreachable { what, why }, Some(asked_pause(&self.headers))))
            }
            _ => Err((GithubError::Odd { what, why: format!("{status}{message}") }, None)),
        }
    }

    /// The JSON value in it.
    pub(super) fn value<T: DeserializeOwned>(&self, what: &str) -> Result<T, GithubError> {
        serde_json::from_slice(&self.body).map_err(|error| {
            let page = self.body.trim_ascii_start().starts_with(b"<");
            let why = if page { "a web page came (a proxy's log-in?)".to_owned() } else { error.to_string() };
            GithubError::Odd { what: what.to_owned(), why }
        })
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok().map(str::trim)
    }

    /// `: ` and what GitHub says, on one line.
    fn message(&self) -> String {
        let Ok(words) = serde_json::from_slice::<Words>(&self.body) else { return String::new() };
        let more = words.errors.iter().filter_map(|error| {
            let text = error.as_str().or_else(|| error["message"].as_str()).map(str::to_owned);
            text.or_else(|| Some(format!("`{}`: {}", error["field"].as_str()?, error["code"].as_str()?)))
        });
        let text = std::iter::once(words.message.clone()).chain(more).collect::<Vec<_>>().join("; ");
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(400).collect();
        format!(": {text}")
    }
}
