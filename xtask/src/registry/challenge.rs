//! How a registry says who may enter (`WWW-Authenticate`, RFC 9110 11.6.1) and what a token server answers (the CNCF
//! Distribution's token specification). Pure.

use std::time::Duration;

use http::{HeaderMap, header};
use serde::Deserialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::secret::Secret;

/// What the registry asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Challenge {
    /// A name and a password with every request.
    Basic,
    /// A token of the server at `realm`.
    Bearer {
        /// A URL.
        realm: String,
        /// What the token is for.
        service: Option<String>,
        /// What it has to allow, where the registry says so.
        scope: Option<String>,
    },
}

/// A token and how long it can be used from when it was asked for; none: not known to end.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) secret: Secret,
    pub(super) life: Duration,
}

/// A token of unknown life lives as long as the token specification says.
const DEFAULT_LIFE: u64 = 60;

impl Challenge {
    /// The best of all challenges: a token where one is to be had.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let values = headers.get_all(header::WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok());
        let mut basic = None;
        for (scheme, parameters) in values.flat_map(parse) {
            let parameter = |wanted: &str| {
                let found = parameters.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
                found.map(|(_, value)| value.clone()).filter(|value| !value.is_empty())
            };
            if scheme.eq_ignore_ascii_case("bearer")
                && let Some(realm) = parameter("realm")
            {
                return Some(Self::Bearer { realm, service: parameter("service"), scope: parameter("scope") });
            }
            if scheme.eq_ignore_ascii_case("basic") {
                basic = Some(Self::Basic);
            }
        }
        basic
    }
}

type Parameters = Vec<(String, String)>;

/// `Bearer realm="https://a",service="b", Basic realm="c"` as schemes with their parameters.
fn parse(value: &str) -> Vec<(String, Parameters)> {
    let mut found: Vec<(String, Parameters)> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches(|c: char| c == ',' || c.is_ascii_whitespace());
        let end = rest.find(|c: char| c == '=' || c == ',' || c.is_ascii_whitespace()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() {
            return found;
        }
        let Some(value) = after.trim_start().strip_prefix('=') else {
            found.push((word.to_owned(), Parameters::new()));
            rest = after;
            continue;
        };
        let (value, after) = parameter_value(value.trim_start());
        if let Some((_, parameters)) = found.last_mut() {
            parameters.push((word.to_owned(), value));
        }
        rest = after;
    }
}

/// A token or a quoted string, and what follows.
fn parameter_value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(|c: char| c == ',' || c.is_ascii_whitespace()).unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return (value.to_owned(), if value.is_empty() { "" } else { rest });
    };
    let (mut value, mut chars) = (String::new(), quoted.chars());
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => value.extend(chars.next()),
            c => value.push(c),
        }
    }
    (value, chars.as_str())
}

impl Token {
    /// What a token server's answer says; none where it is no such answer.
    pub(super) fn parse(body: &[u8], now: OffsetDateTime) -> Option<Self> {
        #[derive(Deserialize)]
        struct Answer {
            #[serde(default)]
            token: Option<String>,
            #[serde(default)]
            access_token: Option<String>,
            #[serde(default)]
            expires_in: Option<serde_json::Number>,
            #[serde(default)]
            issued_at: Option<String>,
        }
        let answer: Answer = serde_json::from_slice(body).ok()?;
        let text = [answer.token, answer.access_token].into_iter().flatten().find(|text| !text.is_empty())?;
        let seconds = answer.expires_in.and_then(|seconds| seconds.as_f64()).filter(|seconds| *seconds >= 1.0);
        let life = Duration::from_secs(seconds.map_or(DEFAULT_LIFE, |seconds| seconds as u64));
        let issued = answer.issued_at.and_then(|at| OffsetDateTime::parse(&at, &Rfc3339).ok());
        // A token server may hand out a token again. An age that cannot be is a clock that is wrong: ours or theirs.
        let age = issued.and_then(|at| Duration::try_from(now - at).ok()).filter(|age| *age < life).unwrap_or_default();
        let life = life - age;
        // It is given up a little before its end, because the registry looks at it a little later than we do.
        Some(Self { secret: Secret::new(text), life: life.saturating_sub((life / 4).min(Duration::from_secs(10))) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&'static str]) -> Option<Challenge> {
        let values = values.iter().map(|value| (header::WWW_AUTHENTICATE, header::HeaderValue::from_static(value)));
        let mut headers = HeaderMap::new();
        for (name, value) in values {
            headers.append(name, value);
        }
        Challenge::of(&headers)
    }

    fn bearer(realm: &str, service: Option<&str>, scope: Option<&str>) -> Option<Challenge> {
        let text = |text: &str| text.to_owned();
        Some(Challenge::Bearer { realm: text(realm), service: service.map(text), scope: scope.map(text) })
    }

    #[test]
    fn challenges() {
        for (values, wanted) in [
            (&["Basic realm=\"x\""][..], Some(Challenge::Basic)),
            (&["basic"], Some(Challenge::Basic)),
            (
                &[r#"Bearer realm="https://a/token",service="b",scope="repository:x:pull,push""#],
                bearer("https://a/token", Some("b"), Some("repository:x:pull,push")),
            ),
            (&[r#"bearer Realm = "https://a" , Service=b"#], bearer("https://a", Some("b"), None)),
            (&[r#"Bearer realm="a\"b",error="invalid_token""#], bearer("a\"b", None, None)),
            (&[r#"Basic realm="x", Bearer realm="https://a""#], bearer("https://a", None, None)),
            (&["Basic realm=\"x\"", "Bearer realm=\"https://a\""], bearer("https://a", None, None)),
            (&["Bearer service=\"b\""], None),
            (&["Bearer realm=\"\""], None),
            (&["Negotiate"], None),
            (&["="], None),
            (&[""], None),
            (&["Bearer realm="], None),
            (&["Bearer realm=\"unfinished"], bearer("unfinished", None, None)),
            (&[], None),
        ] {
            assert_eq!(of(values), wanted, "{values:?}");
        }
    }

    #[test]
    fn tokens() {
        let now = OffsetDateTime::UNIX_EPOCH + Duration::from_secs(1000);
        for (body, wanted) in [
            (r#"{"token":"a"}"#, Some(("a", 50))),
            (r#"{"access_token":"a","expires_in":300}"#, Some(("a", 290))),
            (r#"{"token":"a","access_token":"b","expires_in":300}"#, Some(("a", 290))),
            (r#"{"token":"","access_token":"b","expires_in":4}"#, Some(("b", 3))),
            (r#"{"token":"a","expires_in":0}"#, Some(("a", 50))),
            (r#"{"token":"a","expires_in":-5}"#, Some(("a", 50))),
            (r#"{"token":"a","expires_in":300.0,"issued_at":"1970-01-01T00:15:00Z"}"#, Some(("a", 190))),
            (r#"{"token":"a","expires_in":300,"issued_at":"1970-01-01T00:00:00Z"}"#, Some(("a", 290))),
            (r#"{"token":"a","expires_in":300,"issued_at":"1970-01-01T01:00:00Z"}"#, Some(("a", 290))),
            (r#"{"token":"a","expires_in":300,"issued_at":"yesterday"}"#, Some(("a", 290))),
            (r#"{"expires_in":300}"#, None),
            (r#"{"token":"a","#, None),
            ("<html>", None),
        ] {
            let wanted = wanted.map(|(text, life)| Token { secret: Secret::new(text), life: Duration::from_secs(life) });
            assert_eq!(Token::parse(body.as_bytes(), now), wanted, "{body}");
        }
    }
}
