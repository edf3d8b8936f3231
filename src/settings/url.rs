//! Addresses as far as the settings need them: who is talked to, and whether anybody can listen.

use std::net::IpAddr;

/// An `http` or `https` address in its parts. What stands behind `?` or `#` is not kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Url {
    pub(super) secure: bool,
    /// In lower case; an IPv6 address in brackets.
    pub(super) host: String,
    /// None: the one of the scheme.
    pub(super) port: Option<u16>,
    /// Empty, or with a leading `/`; never with a trailing one.
    pub(super) path: String,
    /// Whether a name or a password stood before the host. They are not kept.
    pub(super) credentials: bool,
    /// Whether something stood behind a `?` or `#`.
    pub(super) query: bool,
}

impl Url {
    /// Reads `text`. The error continues a sentence that begins with the variable's name, and repeats nothing but
    /// a scheme: what is no address may be a token in the wrong place.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with(['"', '\'']) {
            return Err("begins with a quotation mark: files for `--env-file` have none".to_owned());
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err("is no address: it has to begin with `https://`".to_owned());
        };
        let secure = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            "ssh" | "git" | "ftp" | "ftps" | "file" => {
                return Err(format!("begins with `{}://`; only `https://` will do", scheme.to_ascii_lowercase()));
            }
            _ => return Err("is no address: it has to begin with `https://`".to_owned()),
        };
        if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err("holds a blank or a control character".to_owned());
        }
        let authority_end = rest.find(['/', '?', '#', '\\']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(authority_end);
        let (credentials, host) = match authority.rsplit_once('@') {
            Some((_, host)) => (true, host),
            None => (false, authority),
        };
        let (host, port) = split_port(host)?;
        if !is_host(host) {
            return Err("names no host behind `://`".to_owned());
        }
        let port = port.filter(|port| *port != if secure { 443 } else { 80 });
        let path_end = rest.find(['?', '#']).unwrap_or(rest.len());
        let (path, behind) = rest.split_at(path_end);
        if path.contains('\\') {
            return Err("holds a `\\`".to_owned());
        }
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { secure, host: host.to_ascii_lowercase(), port, path, credentials, query: !behind.is_empty() })
    }

    /// `https://host:port`
    pub(super) fn origin(&self) -> String {
        self.origin_of(&self.host)
    }

    /// The same with another host.
    pub(super) fn origin_of(&self, host: &str) -> String {
        let scheme = if self.secure { "https" } else { "http" };
        match self.port {
            Some(port) => format!("{scheme}://{host}:{port}"),
            None => format!("{scheme}://{host}"),
        }
    }

    /// Whether what is sent there stays within this machine.
    pub(super) fn is_loopback(&self) -> bool {
        let bare = self.host.trim_start_matches('[').trim_end_matches(']');
        let address = bare.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        address || self.host == "localhost" || self.host.ends_with(".localhost")
    }

    /// Whether nobody in between can read what is sent there.
    pub(super) fn is_private(&self) -> bool {
        self.secure || self.is_loopback()
    }

    /// The parts of the path, empty ones left out.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|segment| !segment.is_empty()).collect()
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    // The colons of an IPv6 address are within brackets.
    let from = text.find(']').unwrap_or(0);
    let Some(colon) = text.get(from..).and_then(|tail| tail.find(':')).map(|at| from + at) else { return Ok((text, None)) };
    let (host, port) = text.split_at(colon);
    match port.strip_prefix(':').unwrap_or_default() {
        "" => Ok((host, None)),
        digits if digits.bytes().all(|digit| digit.is_ascii_digit()) => match digits.parse() {
            Ok(port) if port > 0 => Ok((host, Some(port))),
            _ => Err("has a port that is none: 1 to 65535 can be".to_owned()),
        },
        _ => Err("has a port that is no number".to_owned()),
    }
}

fn is_host(host: &str) -> bool {
    if let Some(address) = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        return address.parse::<std::net::Ipv6Addr>().is_ok();
    }
    let parts_are_good = host.split('.').all(|part| !part.is_empty() && !part.starts_with('-'));
    parts_are_good && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::Url;

    #[test]
    fn parts() {
        let table = [
            ("https://GitHub.com/A/b/", "https://github.com/A/b", false),
            ("https://github.com:443", "https://github.com", false),
            ("HTTP://localhost:8080//x", "http://localhost:8080//x", true),
            ("http://127.3.2.1/?q#f", "http://127.3.2.1", true),
            ("https://[::1]:8443/api", "https://[::1]:8443/api", true),
            ("https://me:canary@host/x", "https://host/x", false),
            ("https://a@b@host:1/x@y", "https://host:1/x@y", false),
            ("https://localhost.example.com", "https://localhost.example.com", false),
        ];
        for (text, expected, loopback) in table {
            let url = Url::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
            assert_eq!((url.to_string().as_str(), url.is_loopback()), (expected, loopback), "{text}");
            assert_eq!(url.credentials, text.contains("@host"), "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_not_repeated() {
        let table = [
            ("ghp_canary", "is no address"),
            ("canary://x", "is no address"),
            ("ftp://canary/x", "begins with `ftp://`"),
            ("ssh://git@canary/x", "begins with `ssh://`"),
            ("\"https://canary\"", "quotation mark"),
            ("https://", "names no host"),
            ("https:///canary", "names no host"),
            ("https://canary@/", "names no host"),
            ("https://-canary", "names no host"),
            ("https://a..canary", "names no host"),
            ("https://[canary]", "names no host"),
            ("https://h\\@canary", "`\\`"),
            ("https://host:canary", "no number"),
            ("https://host:+1", "no number"),
            ("https://host:0", "1 to 65535"),
            ("https://host:70000", "1 to 65535"),
            ("https://host/a canary", "a blank"),
            ("https://host/a\ncanary", "a blank"),
        ];
        for (text, expected) in table {
            let error = Url::parse(text).expect_err(text);
            assert!(error.contains(expected) && !error.contains("canary"), "{text}: {error}");
        }
    }
}
