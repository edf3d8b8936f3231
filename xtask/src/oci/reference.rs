//! References: `registry/repository[:tag][@digest]`.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use super::Digest;

/// A repository in a registry: `ghcr.io/sapphire-health/ansible-epic`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Repository {
    registry: String,
    path: String,
}

/// A reference to a manifest. Written in full: no registry is ever implied.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    /// Registry and repository.
    pub repository: Repository,
    /// The tag.
    pub tag: Option<String>,
    /// The digest.
    pub digest: Option<Digest>,
}

/// The text is not a reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {what}: {why}")]
pub struct InvalidReference {
    /// What was found.
    pub text: String,
    /// What it should have been.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: String,
}

/// Whether `text` may stand as a tag (OCI distribution specification: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`).
pub fn is_tag(text: &str) -> bool {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let mut bytes = text.bytes();
    text.len() <= 128 && bytes.next().is_some_and(word) && bytes.all(|b| word(b) || matches!(b, b'.' | b'-'))
}

impl Repository {
    /// Host and port: `ghcr.io`, `127.0.0.1:5000`.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The path in the registry: `sapphire-health/ansible-epic`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether the registry is this machine: plain http is spoken there.
    pub fn is_loopback(&self) -> bool {
        let host = match self.registry.strip_prefix('[') {
            Some(rest) => rest.split(']').next().unwrap_or_default(),
            None => self.registry.rsplit_once(':').map_or(self.registry.as_str(), |(host, _)| host),
        };
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }

    /// The reference to `tag` in this repository.
    pub fn tag(&self, tag: impl Into<String>) -> Reference {
        Reference { repository: self.clone(), tag: Some(tag.into()), digest: None }
    }

    /// The reference to `digest` in this repository.
    pub fn digest(&self, digest: Digest) -> Reference {
        Reference { repository: self.clone(), tag: None, digest: Some(digest) }
    }
}

/// A component of a repository's path: `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`.
fn is_path_component(text: &str) -> bool {
    let alphanumeric = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends = bytes.first().is_some_and(alphanumeric) && bytes.last().is_some_and(alphanumeric);
    ends && bytes.split(alphanumeric).filter(|gap| !gap.is_empty()).all(|gap| match gap {
        b"." | b"_" | b"__" => true,
        dashes => dashes.iter().all(|b| *b == b'-'),
    })
}

fn is_registry(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (text, None),
    };
    let port = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
    let bracketed = host.starts_with('[') && host.ends_with(']') && host[1..host.len() - 1].parse::<std::net::Ipv6Addr>().is_ok();
    let name = !host.is_empty()
        && host.split('.').all(|label| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                && !label.starts_with('-')
                && !label.ends_with('-')
        });
    let told_from_path = host.contains('.') || text.contains(':') || host == "localhost";
    port && (bracketed || name) && told_from_path
}

impl FromStr for Repository {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |why: &str| InvalidReference { text: text.to_owned(), what: "repository", why: why.to_owned() };
        let (registry, path) = text.split_once('/').ok_or_else(|| invalid("expected `registry/path`"))?;
        if !is_registry(registry) {
            return Err(invalid("the registry needs a dot or a port, as in `ghcr.io/team/image`"));
        }
        if !path.split('/').all(is_path_component) {
            return Err(invalid("a path has lower-case letters, digits and single separators `.`, `_`, `-`, `/`"));
        }
        Ok(Self { registry: registry.to_owned(), path: path.to_owned() })
    }
}

impl FromStr for Reference {
    type Err = InvalidReference;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let invalid = |why: String| InvalidReference { text: text.to_owned(), what: "reference", why };
        let (name, digest) = match text.split_once('@') {
            Some((name, digest)) => (name, Some(digest.parse::<Digest>().map_err(|error| invalid(error.to_string()))?)),
            None => (text, None),
        };
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag.to_owned())),
            _ => (name, None),
        };
        if let Some(tag) = tag.as_ref().filter(|tag| !is_tag(tag)) {
            return Err(invalid(format!(
                "`{tag}` is not a tag: letters, digits, `_`, `.`, `-`, at most 128, not starting with `.` or `-`"
            )));
        }
        let repository = name.parse().map_err(|error: InvalidReference| invalid(error.why))?;
        Ok(Self { repository, tag, digest })
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

impl Serialize for Repository {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_that_are_valid_print_as_they_were_written() {
        let digest = Digest::of("");
        for text in [
            "ghcr.io/sapphire-health/ansible-epic",
            "ghcr.io/sapphire-health/ansible-epic:aws",
            "127.0.0.1:5000/a/b__c/d-e.f:T_1.2-3",
            "[::1]:5000/a",
            "localhost/a:1",
            &format!("docker.io/library/debian:trixie-slim@{digest}"),
            &format!("gantry.invalid/stage/base@{digest}"),
        ] {
            assert_eq!(text.parse::<Reference>().map(|reference| reference.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn references_that_are_not() {
        for text in [
            "",
            "aws",
            "ansible/epic",
            "ghcr.io/",
            "ghcr.io/A",
            "ghcr.io/a--",
            "ghcr.io/a..b",
            "ghcr.io/a:",
            "ghcr.io/a:-b",
            "ghcr.io/a@sha256:12",
            "ghcr.io:99999/a",
            "-a.b/c",
            "https://ghcr.io/a",
            "ghcr.io//a",
        ] {
            assert!(text.parse::<Reference>().is_err(), "{text}");
        }
    }

    #[test]
    fn loopback_is_told_by_the_address() {
        for (text, loopback) in [
            ("127.0.0.1:5000/a", true),
            ("localhost:5000/a", true),
            ("[::1]:5000/a", true),
            ("127.8.9.1:1/a", true),
            ("ghcr.io/a", false),
            ("10.0.0.1:5000/a", false),
            ("localhost.example.com/a", false),
        ] {
            assert_eq!(text.parse::<Repository>().map(|repository| repository.is_loopback()), Ok(loopback), "{text}");
        }
    }
}
