//! What a registry answered, and what went wrong with one attempt.

use std::error::Error;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use oci_distribution::errors::OciEnvelope;

use super::innermost;
use crate::oci::Digest;

/// An answer that is not worth another attempt: a success, or a failure that stays.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Why one attempt failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// No answer, or one that breaks off.
    Connection { why: String, passing: bool },
    /// A status that may pass.
    Status { status: StatusCode, message: String, pause: Option<Duration> },
    /// A success that is none: a page, other bytes than were asked for. May pass.
    Garbled { why: String },
    /// The token or password was refused and has been given up: the next attempt has another one.
    Stale { why: String },
    /// Refused: never tried again.
    Denied { why: String },
    /// Not what the specification says: never tried again.
    Protocol { why: String },
    /// A credential cannot be had: never tried again.
    Credential(super::CredentialError),
}

impl Answer {
    /// `: CODE message`, as the registry words it; nothing where it sent a page.
    pub(super) fn message(&self) -> String {
        message(&self.body)
    }

    /// Whether the registry gave this as a reason.
    pub(super) fn has_code(&self, code: &str) -> bool {
        self.message().split_whitespace().nth(1) == Some(code)
    }

    /// A header's text.
    pub(super) fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `Docker-Content-Digest`, where it is there and can be read.
    pub(super) fn digest(&self) -> Option<Digest> {
        self.header("docker-content-digest")?.parse().ok()
    }
}

/// The registry's own words, one line of at most 300 characters.
pub(super) fn message(body: &[u8]) -> String {
    let Ok(envelope) = serde_json::from_slice::<OciEnvelope>(body) else { return String::new() };
    let Some(error) = envelope.errors.into_iter().next() else { return String::new() };
    let code = serde_json::to_value(&error.code).ok().and_then(|code| code.as_str().map(str::to_owned)).unwrap_or_default();
    let words: String = error.message.chars().map(|c| if c.is_control() { ' ' } else { c }).take(300).collect();
    format!(": {code} {words}").trim_end().to_owned()
}

/// Reads an answer to its end.
pub(super) async fn collect(mut response: reqwest::Response, largest: usize) -> Result<Answer, Trouble> {
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(connection)? {
        body.extend_from_slice(&chunk);
        if body.len() > largest {
            return Err(Trouble::Protocol { why: format!("the answer has more than {largest} bytes") });
        }
    }
    Ok(Answer { status, headers, body: body.freeze() })
}

/// Whether an answer is a page for people: what stands between us and the registry answers so, never a registry.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.trim_start().get(..9).is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"))
}

pub(super) fn connection(error: reqwest::Error) -> Trouble {
    // The URL is left out on purpose: one that a registry redirected to is signed, and so a secret.
    let error = error.without_url();
    let passing = !(error.is_builder() || error.is_redirect() || is_certificate(&error));
    Trouble::Connection { why: innermost(&error), passing }
}

/// Whether the registry's certificate is not trusted: that does not pass.
fn is_certificate(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let tls = error.downcast_ref().or_else(|| inner.and_then(|inner| inner.downcast_ref()));
        if let Some(rustls::Error::InvalidCertificate(_)) = tls {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registrys_words_are_one_line_and_a_page_has_none() {
        for (body, words) in [
            (r#"{"errors":[{"code":"NAME_UNKNOWN","message":"no such\nrepository"}]}"#, ": NAME_UNKNOWN no such repository"),
            (
                r#"{"errors":[{"code":"ImageTagAlreadyExistsException","message":"it is"}]}"#,
                ": ImageTagAlreadyExistsException it is",
            ),
            (r#"{"errors":[{"code":"DENIED"}]}"#, ": DENIED"),
            (r#"{"errors":[]}"#, ""),
            ("<html>502</html>", ""),
            ("", ""),
        ] {
            assert_eq!(message(body.as_bytes()), words, "{body}");
        }
    }

    #[test]
    fn a_page_is_known_by_its_type() {
        for (kind, page) in [
            ("text/html", true),
            ("Text/HTML; charset=utf-8", true),
            ("application/json", false),
            ("text/plain", false),
            ("", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, header::HeaderValue::from_static(kind))]);
            assert_eq!(is_page(&headers), page, "{kind}");
        }
    }
}
