//! Requests as events, for `-v` and `-vv`. Nothing that opens a door is told: no query (it may be signed), no session of
//! an upload, no path at another host, and of the headers only those that are known to hold no secret.

use std::sync::OnceLock;
use std::time::Instant;

use http::{HeaderMap, Method};
use reqwest::Url;

use super::web::same_origin;
use crate::event::{Event, Events};

/// Headers that are told with `-vv`.
const TOLD: [&str; 12] = [
    "accept",
    "content-length",
    "content-range",
    "content-type",
    "date",
    "docker-content-digest",
    "docker-distribution-api-version",
    "range",
    "retry-after",
    "server",
    "x-amzn-requestid",
    "x-github-request-id",
];

struct Trace {
    events: Events,
    headers: bool,
}

/// There is one, as for any log of a process.
static TRACE: OnceLock<Trace> = OnceLock::new();

/// Tells every request to a registry or its token server from now on; with `headers` also those that are no secret.
pub fn trace(events: Events, headers: bool) {
    // Who comes first stays: there is one command in a process.
    let _ = TRACE.set(Trace { events, headers });
}

/// A request that is under way.
pub(super) struct Sent<'a> {
    pub(super) method: &'a Method,
    pub(super) url: &'a Url,
    /// The registry: what lies elsewhere is told by its host alone.
    pub(super) home: &'a Url,
    pub(super) headers: &'a HeaderMap,
    /// From 1.
    pub(super) attempt: u32,
    pub(super) started: Instant,
}

impl Sent<'_> {
    /// Tells how it ended: by a status and headers, or not at all.
    pub(super) fn ended(&self, answer: Option<(http::StatusCode, &HeaderMap)>) {
        let Some(trace) = TRACE.get() else { return };
        let mut headers = Vec::new();
        if trace.headers {
            headers.extend(told(self.headers).map(|header| format!("> {header}")));
            headers.extend(answer.iter().flat_map(|(_, headers)| told(headers)).map(|header| format!("< {header}")));
        }
        trace.events.emit(Event::Request {
            method: self.method.to_string(),
            host: self.url.host_str().unwrap_or_default().to_owned(),
            path: path(self.url, self.home),
            status: answer.map(|(status, _)| status.as_u16()),
            attempt: self.attempt,
            milliseconds: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            headers,
        });
    }
}

fn told(headers: &HeaderMap) -> impl Iterator<Item = String> + '_ {
    let known = TOLD.iter().filter_map(|name| Some((name, headers.get(*name)?.to_str().ok()?)));
    known.map(|(name, value)| format!("{name}: {}", value.chars().filter(|c| !c.is_control()).collect::<String>()))
}

/// What may be shown of a path.
fn path(url: &Url, home: &Url) -> String {
    if !same_origin(url, home) {
        return "/…".to_owned();
    }
    let path = url.path();
    for uploads in ["/blobs/uploads/", "/blobs/upload/"] {
        if let Some((before, session)) = path.split_once(uploads)
            && !session.is_empty()
        {
            return format!("{before}{uploads}…");
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_a_door_is_not_told() {
        let home: Url = "https://ghcr.io/v2/".parse().expect("a URL");
        for (url, told) in [
            ("https://ghcr.io/v2/team/image/manifests/aws", "/v2/team/image/manifests/aws"),
            ("https://ghcr.io/v2/team/image/blobs/uploads/", "/v2/team/image/blobs/uploads/"),
            ("https://ghcr.io/v2/team/image/blobs/uploads/canary?_state=canary", "/v2/team/image/blobs/uploads/…"),
            ("https://ghcr.io/v2/team/image/blobs/upload/canary", "/v2/team/image/blobs/upload/…"),
            ("https://storage.example/canary?X-Amz-Signature=canary", "/…"),
            ("https://ghcr.io/token?scope=canary", "/token"),
        ] {
            assert_eq!(path(&url.parse().expect("a URL"), &home), told, "{url}");
        }
        let mut headers = HeaderMap::new();
        for name in ["authorization", "cookie", "set-cookie", "location", "www-authenticate", "x-api-key", "content-type"] {
            headers.insert(name, http::HeaderValue::from_static("canary"));
        }
        assert_eq!(super::told(&headers).collect::<Vec<_>>(), ["content-type: canary"]);
    }
}
