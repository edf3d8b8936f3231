//! curl's configuration, its answers and its exit codes: what is said to it and what it says.

use super::{Error, Request};
use crate::settings::Secret;
use std::path::Path;

/// How long a connection may take, in seconds.
const CONNECT: u64 = 10;

/// An answer: whatever its status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Names in lower case.
    headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// An answer as tests need one.
    #[cfg(test)]
    pub(crate) fn of(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Self { status, headers, body: body.into() }
    }

    /// The header `name`, which is given in lower case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// Reads what curl writes with `include`: heads, the last of them that of the answer, and the body.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        loop {
            let (head, body) = split_head(rest)?;
            let head = String::from_utf8_lossy(head);
            let mut lines = head.lines();
            let first = lines.next()?;
            let status: u16 = first.strip_prefix("HTTP/")?.split_ascii_whitespace().nth(1)?.parse().ok()?;
            // `100 Continue` and its like come before the answer.
            if (100..200).contains(&status) {
                rest = body;
                continue;
            }
            let headers = lines.filter_map(|line| {
                let (name, value) = line.split_once(':')?;
                Some((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
            });
            return Some(Self { status, headers: headers.collect(), body: body.to_vec() });
        }
    }
}

/// Parts a head, without the empty line, from what follows.
fn split_head(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    Some((bytes.get(..at)?, bytes.get(at + 4..)?))
}

/// The configuration for `request`; the body goes to standard output behind the head, or `to` a file.
///
/// # Errors
/// A value that cannot be written down, named but not shown.
pub(super) fn config(request: &Request, most: u64, to: Option<&Path>) -> Result<Secret, String> {
    let scheme = match request.url.split_once("://") {
        Some((scheme @ ("https" | "http"), _)) => scheme,
        _ => return Err("the address begins neither with `https://` nor with `http://`".to_owned()),
    };
    // `globoff`: brackets and braces in an address are just that.
    let mut text = "silent\nshow-error\ngloboff\nsuppress-connect-headers\nno-sessionid\n".to_owned();
    let seconds = request.patience.as_secs_f64().max(0.1);
    let mut option = |name: &str, value: &str| -> Result<(), String> {
        let quoted = quote(value).ok_or_else(|| format!("the {name} holds a control character"))?;
        text.push_str(&format!("{name} = {quoted}\n"));
        Ok(())
    };
    option("proto", &format!("={scheme}"))?;
    option("max-time", &format!("{seconds:.3}"))?;
    option("connect-timeout", &format!("{:.3}", seconds.min(CONNECT as f64)))?;
    option("max-filesize", &most.to_string())?;
    option("user-agent", concat!("gantry/", env!("CARGO_PKG_VERSION")))?;
    option("request", request.method)?;
    option("url", &request.url)?;
    for (name, value) in &request.headers {
        option("header", &format!("{name}: {}", value.expose()))?;
    }
    if let Some(body) = &request.body {
        // `raw`: an `@` at its beginning names no file.
        option("data-raw", body.expose())?;
    }
    match to {
        Some(path) => {
            option("output", path.to_str().ok_or("the file's name is not UTF-8")?)?;
            option("dump-header", "-")?;
        }
        None => text.push_str("include\n"),
    }
    Ok(Secret::new(text))
}

/// A value as curl's configuration takes it; none where a control character would end the line or the string.
fn quote(value: &str) -> Option<String> {
    if value.chars().any(char::is_control) {
        return None;
    }
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(c);
    }
    quoted.push('"');
    Some(quoted)
}

/// What an exit code of curl means.
pub(super) fn explain(code: u8, errors: &[u8]) -> Error {
    let text = String::from_utf8_lossy(errors);
    // Its own sentence only, never a line that repeats the configuration.
    let said = text.lines().find_map(|line| line.strip_prefix("curl: ")).unwrap_or_default();
    let said = said.split_once(") ").map_or(said, |(_, rest)| rest);
    let said = if said.is_empty() { format!("curl ended with code {code}") } else { said.to_owned() };
    match code {
        28 => Error::TimedOut,
        60 => Error::Tls(format!("{said} (EXTRA_CA_FILE names certificates to trust beside the image's)")),
        63 => Error::TooLarge,
        35 | 51 | 53 | 54 | 58 | 59 | 64 | 66 | 77 | 80 | 82 | 83 | 90 | 91 => Error::Tls(said),
        1..=4 | 23 | 26 | 27 | 41 | 43 | 48 => Error::NotAsked(said),
        _ => Error::Unreachable(said),
    }
}

#[cfg(test)]
mod tests {
    use super::{Answer, config, explain, quote};
    use crate::http::{Error, Request};
    use crate::settings::Secret;
    use proptest::prelude::*;
    use std::path::Path;

    #[test]
    fn values_are_quoted_and_control_characters_refused() {
        let table = [
            ("plain", Some(r#""plain""#)),
            (r#"{"a":"b\n"}"#, Some(r#""{\"a\":\"b\\n\"}""#)),
            ("ä ]", Some(r#""ä ]""#)),
            ("a\nurl = x", None),
            ("a\r", None),
            ("a\0", None),
            ("a\u{85}", None),
        ];
        for (value, expected) in table {
            assert_eq!(quote(value).as_deref(), expected, "{value:?}");
        }
    }

    #[test]
    fn the_configuration_of_a_request() {
        let request = Request::new("POST", "https://api.example/x").bearer(&Secret::new("t\"k")).json("{}");
        let text = config(&request, 10, None).unwrap().expose().to_owned();
        let expected = "request = \"POST\"\nurl = \"https://api.example/x\"\nheader = \"Authorization: Bearer t\\\"k\"\n\
                        header = \"Content-Type: application/json\"\ndata-raw = \"{}\"\ninclude\n";
        assert!(text.ends_with(expected), "{text}");
        assert!(text.contains("proto = \"=https\"\nmax-time = \"30.000\"\n"), "{text}");
        let text = config(&Request::new("GET", "http://127.0.0.1/"), 10, Some(Path::new("/x"))).unwrap();
        assert!(text.expose().contains("proto = \"=http\"\n"), "{text:?}");
        assert!(text.expose().ends_with("output = \"/x\"\ndump-header = \"-\"\n"), "{text:?}");
        for url in ["file:///etc/passwd", "ftp://x", "-o", "https://x\nurl = file:///etc/passwd"] {
            assert!(config(&Request::new("GET", url), 10, None).is_err(), "{url}");
        }
        let error = config(&Request::new("GET", "https://x").bearer(&Secret::new("tok\nen")), 10, None).unwrap_err();
        assert_eq!(error, "the header holds a control character");
    }

    #[test]
    fn answers_are_parted_into_status_headers_and_body() {
        let answer = Answer::parse(b"HTTP/2 200 \r\nETag: \"x\"\r\nDate: now\r\n\r\nbody\r\n\r\n").unwrap();
        assert_eq!((answer.status, answer.header("etag"), answer.body.as_slice()), (200, Some("\"x\""), &b"body\r\n\r\n"[..]));
        let answer = Answer::parse(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nA: b\r\n\r\n").unwrap();
        assert_eq!((answer.status, answer.header("a"), answer.body.is_empty()), (404, Some("b"), true));
        for nonsense in ["", "HTTP/1.1 200 OK\r\n", "HTTP/1.1\r\n\r\n", "HTTP/1.1 2x0\r\n\r\n", "<html>\r\n\r\n", "\r\n\r\n"] {
            assert_eq!(Answer::parse(nonsense.as_bytes()), None, "{nonsense:?}");
        }
    }

    #[test]
    fn exit_codes_of_curl() {
        assert_eq!(explain(28, b""), Error::TimedOut);
        assert_eq!(explain(63, b""), Error::TooLarge);
        let refused = explain(7, b"Warning: x\ncurl: (7) Failed to connect to a port 1\n");
        assert_eq!(refused, Error::Unreachable("Failed to connect to a port 1".into()));
        let untrusted = explain(60, b"curl: (60) SSL certificate problem: x").to_string();
        assert!(untrusted.starts_with("SSL certificate problem: x (EXTRA_CA_FILE "), "{untrusted}");
        assert_eq!(explain(3, b""), Error::NotAsked("curl ended with code 3".into()));
    }

    proptest! {
        #[test]
        fn no_answer_makes_it_panic(text in "(HTTP/[0-9.]{1,3}|[0-9]{3}| |\r\n|\r\n\r\n|[a-zA-Z-]{1,8}: [ -~]{0,8}|\\PC){0,12}", bytes: Vec<u8>) {
            let _ = (Answer::parse(text.as_bytes()), Answer::parse(&bytes), explain(bytes.len() as u8, &bytes));
        }

        #[test]
        fn an_answer_is_read_as_it_was_written(
            before in prop::collection::vec(100_u16..200, 0..3),
            status in 200_u16..1000,
            headers in prop::collection::vec(("[A-Za-z-]{1,12}", "[!-~]([ -~]{0,20}[!-~])?"), 0..5),
            body: Vec<u8>,
        ) {
            let mut bytes: Vec<u8> = before.iter().flat_map(|status| format!("HTTP/1.1 {status} X\r\n\r\n").into_bytes()).collect();
            bytes.extend(format!("HTTP/2 {status} \r\n").bytes());
            headers.iter().for_each(|(name, value)| bytes.extend(format!("{name}:  {value}\r\n").bytes()));
            bytes.extend(b"\r\n");
            bytes.extend(&body);
            let answer = Answer::parse(&bytes).expect("an answer");
            let headers: Vec<_> = headers.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect();
            prop_assert_eq!((answer.status, answer.headers, answer.body), (status, headers, body));
        }

        #[test]
        fn a_value_stays_one_value(value: String, name in "[a-z]{1,8}") {
            match quote(&value) {
                None => prop_assert!(value.chars().any(char::is_control)),
                Some(quoted) => {
                    prop_assert_eq!(quoted.lines().count(), 1);
                    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).expect("quotes");
                    // As curl reads it: a backslash gives its meaning to the next character, a quote ends the value.
                    let (mut read, mut rest) = (String::new(), inner.chars());
                    while let Some(c) = rest.next() {
                        prop_assert_ne!(c, '"');
                        read.push(if c == '\\' { rest.next().expect("something behind it") } else { c });
                    }
                    prop_assert_eq!(read, value.clone());
                }
            }
            // Whatever is asked for, there is one address, and no option that was not meant.
            let request = Request::new("GET", format!("https://x/{value}")).header("X-Y", format!("{name}{value}"));
            if let Ok(config) = config(&request, 1, None) {
                prop_assert_eq!(config.expose().lines().filter(|line| line.starts_with("url = ")).count(), 1);
                prop_assert_eq!(config.expose().lines().count(), 14);
            }
        }
    }
}
