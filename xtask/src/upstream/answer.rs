//! Asking an upstream: at its mirror first, again where that may help, with answers that are what they should be.

use reqwest::header::{ACCEPT, ACCEPT_ENCODING};
use reqwest::{RequestBuilder, Response, Url};
use serde::de::DeserializeOwned;
use sha2::Digest as _;
use time::OffsetDateTime;

use super::{Access, UpstreamError};
use crate::artifact::http::{asked_pause, causes};
use crate::artifact::mirrored;
use crate::oci::Digest;
use crate::retry;
use crate::retry::limit::{Limit, limit};

/// No answer that is read here is longer.
const LONGEST: usize = 8 << 20;
/// What is asked for where the answer is read.
const WORDS: &str = "application/json, text/plain;q=0.9";

/// The host that gets the GitHub token.
const GITHUB_API: &str = "api.github.com";

/// The text that is at `url`, or at its mirror. `what` is the pin, for messages.
///
/// # Errors
/// That of the last place that gave an answer; that none can be reached, where none did. `missing` says what it means when the
/// upstream has nothing there.
pub(super) async fn text(access: Access<'_>, what: &str, url: &str, missing: &str) -> Result<String, UpstreamError> {
    asked(access, what, url, missing, WORDS, body).await
}

/// The digest of the archive that is at `url`, or at its mirror, from its bytes: nothing is kept.
///
/// # Errors
/// As [`text`]; what came is no archive.
pub(super) async fn computed(access: Access<'_>, what: &str, url: &str) -> Result<Digest, UpstreamError> {
    asked(access, what, url, "it is not there", "*/*", hashed).await
}

/// What `read` makes of a good answer; without an answer that could be read, why it is odd.
async fn asked<T>(
    access: Access<'_>,
    what: &str,
    url: &str,
    missing: &str,
    accept: &str,
    read: impl AsyncFn(Response) -> Result<Result<T, String>, reqwest::Error>,
) -> Result<T, UpstreamError> {
    let mut told = UpstreamError::Nowhere { what: what.to_owned(), url: url.to_owned() };
    for place in mirrored(access.mirrors, url, access.vendors) {
        match (Question { access, what, url: &place, missing, accept }.ask(&read).await, &told) {
            (Ok(found), _) => return Ok(found),
            // What a mirror answered says more than that the vendor cannot be reached.
            (Err(UpstreamError::Unreachable { .. }), told) if !matches!(told, UpstreamError::Nowhere { .. }) => {}
            (Err(error), _) => told = error,
        }
    }
    Err(told)
}

/// As [`text`], a JSON value.
pub(super) async fn json<T: DeserializeOwned>(
    access: Access<'_>,
    what: &str,
    url: &str,
    missing: &str,
) -> Result<T, UpstreamError> {
    let text = text(access, what, url, missing).await?;
    let odd = |why| UpstreamError::Odd { what: what.to_owned(), url: url.to_owned(), why };
    if text.trim_start().starts_with('<') {
        return Err(odd("a web page came, not JSON (a proxy's log-in?)".to_owned()));
    }
    serde_json::from_str(&text).map_err(|error| odd(error.to_string()))
}

/// A digest as upstreams write it: 64 digits, sometimes in capitals, with `sha256:` before or a file name after.
pub(super) fn digest(text: &str) -> Option<Digest> {
    let word = text.split_whitespace().next()?;
    Digest::from_hex(&word.strip_prefix("sha256:").unwrap_or(word).to_ascii_lowercase()).ok()
}

struct Question<'a> {
    access: Access<'a>,
    what: &'a str,
    url: &'a str,
    missing: &'a str,
    accept: &'a str,
}

impl Question<'_> {
    async fn ask<T>(
        &self,
        read: &impl AsyncFn(Response) -> Result<Result<T, String>, reqwest::Error>,
    ) -> Result<T, UpstreamError> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let (error, asked) = match self.request().send().await {
                Err(error) => (self.unreachable(attempts, error), None),
                Ok(answer) if answer.status().as_u16() == 200 => match read(answer).await {
                    Ok(Ok(found)) => return Ok(found),
                    Ok(Err(why)) => return Err(self.odd(why)),
                    Err(error) => (self.unreachable(attempts, error), None),
                },
                Ok(answer) => {
                    let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
                    // By which a limit on too much at once is told, sometimes by nothing else.
                    let words = match status {
                        403 | 429 => body(answer).await.ok().and_then(Result::ok).unwrap_or_default(),
                        _ => String::new(),
                    };
                    let now = OffsetDateTime::now_utc();
                    match limit(status, &headers, &words, now) {
                        Some(limit) => (self.limited(&limit), limit.pause(now).filter(|pause| !pause.is_zero())),
                        None if !retry::is_passing(status) => return Err(self.refused(status)),
                        None => (self.refused(status), asked_pause(&headers)),
                    }
                }
            };
            match self.access.patience.wait(attempts, asked).filter(|_| attempts < self.access.patience.attempts) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(error),
            }
        }
    }

    fn request(&self) -> RequestBuilder {
        let request = self.access.client.get(self.url).header(ACCEPT, self.accept).header(ACCEPT_ENCODING, "identity");
        match self.access.github_token.filter(|_| gets_token(self.url)) {
            Some(token) => request.bearer_auth(token.expose()),
            None => request,
        }
    }

    fn limited(&self, limit: &Limit) -> UpstreamError {
        let url = Url::parse(self.url).ok();
        UpstreamError::RateLimited {
            what: self.what.to_owned(),
            host: url.as_ref().and_then(Url::host_str).unwrap_or(self.url).to_owned(),
            reset: limit.until_text(),
            token_helps: limit.is_used_up && gets_token(self.url) && self.access.github_token.is_none(),
        }
    }

    fn sends_token(&self) -> bool {
        self.access.github_token.is_some() && gets_token(self.url)
    }

    fn refused(&self, status: u16) -> UpstreamError {
        let (what, url) = (self.what.to_owned(), self.url.to_owned());
        match status {
            401 | 403 if self.sends_token() => UpstreamError::BadToken { what, url },
            204 | 404 | 410 => UpstreamError::NotFound { what, missing: self.missing.to_owned(), url, status },
            _ => UpstreamError::Refused { what, url, status },
        }
    }

    fn odd(&self, why: String) -> UpstreamError {
        UpstreamError::Odd { what: self.what.to_owned(), url: self.url.to_owned(), why }
    }

    fn unreachable(&self, attempts: u32, error: reqwest::Error) -> UpstreamError {
        // The address is told once.
        let why = causes(&error.without_url());
        UpstreamError::Unreachable { what: self.what.to_owned(), url: self.url.to_owned(), attempts, why }
    }
}

/// Whether `url` is where the GitHub token may go.
fn gets_token(url: &str) -> bool {
    Url::parse(url).is_ok_and(|url| url.scheme() == "https" && url.host_str() == Some(GITHUB_API) && url.port().is_none())
}

/// The body as text.
async fn body(mut answer: Response) -> Result<Result<String, String>, reqwest::Error> {
    let why = || format!("longer than {LONGEST} bytes, or not text");
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        bytes.extend_from_slice(&chunk);
        if bytes.len() > LONGEST {
            return Ok(Err(why()));
        }
    }
    Ok(String::from_utf8(bytes).map_err(|_| why()))
}

/// The digest of the body, if it is an archive: pages of proxies have digests as well.
async fn hashed(mut answer: Response) -> Result<Result<Digest, String>, reqwest::Error> {
    let (mut hasher, mut start) = (sha2::Sha256::new(), Vec::<u8>::new());
    while let Some(chunk) = answer.chunk().await? {
        start.extend(chunk.iter().take(2usize.saturating_sub(start.len())));
        hasher.update(&chunk);
    }
    // gzip (RFC 1952), and zip.
    let is_archive = start == [0x1f, 0x8b] || start == *b"PK";
    Ok(is_archive.then(|| Digest::from_hasher(hasher)).ok_or_else(|| "what came is no archive (a proxy's log-in?)".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_goes_to_github_alone() {
        for (url, gets) in [
            ("https://api.github.com/repos/a/b", true),
            ("http://api.github.com/repos/a/b", false),
            ("https://api.github.com.evil.org/", false),
            ("https://api.github.com:8443/", false),
            ("https://api.github.com@evil.org/", false),
            ("https://github.com/a/b", false),
            ("http://127.0.0.1:8000/api.github.com/", false),
            ("not a url", false),
        ] {
            assert_eq!(gets_token(url), gets, "{url}");
        }
    }

    #[test]
    fn digests_as_they_are_published() {
        let hex = Digest::of("x").hex();
        for text in [&hex, &format!("sha256:{hex}"), &format!("{hex}  a.vsix\n"), &hex.to_uppercase(), &format!(" {hex} ")] {
            assert_eq!(digest(text), Some(Digest::of("x")), "{text:?}");
        }
        for text in ["", "sha256:", "sha512:00", &hex[1..], &format!("{hex}0")] {
            assert_eq!(digest(text), None, "{text:?}");
        }
    }
}
