//! HTTP clients, and where they may go: loopback never through a proxy, https never on to http.

use std::net::IpAddr;
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, Url, redirect};

use super::answer::Trouble;
use super::innermost;

/// A host that takes no connection for so long is not there.
const CONNECTING: Duration = Duration::from_secs(20);

/// A client for loopback and one for everything else, made when needed: each reads the system's certificates.
#[derive(Default)]
pub(super) struct Web {
    near: OnceLock<Client>,
    far: OnceLock<Client>,
}

impl Web {
    /// The client for `url`. Redirects are not followed: who asks decides about them.
    pub(super) fn client(&self, url: &Url) -> Result<&Client, String> {
        let near = is_loopback(url);
        let place = if near { &self.near } else { &self.far };
        if let Some(client) = place.get() {
            return Ok(client);
        }
        let builder = Client::builder().user_agent(concat!("gantry/", env!("CARGO_PKG_VERSION")));
        let builder = builder.connect_timeout(CONNECTING).redirect(redirect::Policy::none());
        // A proxy of the environment does not know this machine's loopback.
        let builder = if near { builder.no_proxy() } else { builder };
        let client = builder.build().map_err(|error| innermost(&error))?;
        Ok(place.get_or_init(|| client))
    }
}

/// Scheme, host and port: who gets a credential.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    let origin = |url: &Url| (url.scheme().to_owned(), url.host_str().map(str::to_owned), url.port_or_known_default());
    origin(one) == origin(other)
}

/// Whether a host named by the registry may be asked next.
pub(super) fn may_go(from: &Url, to: &Url) -> Result<(), Trouble> {
    match (from.scheme(), to.scheme()) {
        (_, "https") | ("http", "http") => Ok(()),
        (_, "http") => Err(Trouble::Protocol { why: "it leads from https to http, which is not followed".to_owned() }),
        (_, other) => Err(Trouble::Protocol { why: format!("it leads to `{other}:`, which is not spoken") }),
    }
}

/// Whether a token server may be given the credential for the registry at `registry`.
pub(super) fn may_hold_token_server(registry: &Url, realm: &Url) -> Result<(), Trouble> {
    match realm.scheme() {
        "https" => Ok(()),
        // What is plain on purpose: a registry on loopback, or one that the file calls insecure, and its own server.
        "http" if registry.scheme() == "http" && (is_loopback(realm) || realm.host_str() == registry.host_str()) => Ok(()),
        _ => Err(Trouble::Protocol { why: "its token server would get the credential without encryption".to_owned() }),
    }
}

/// Whether this is this machine.
pub(super) fn is_loopback(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    address.map_or_else(|_| host == "localhost" || host.ends_with(".localhost"), |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        text.parse().expect("a URL")
    }

    #[test]
    fn loopback() {
        for (text, near) in [
            ("http://127.0.0.1:5000/v2/", true),
            ("http://127.8.8.8/", true),
            ("https://[::1]:5000/", true),
            ("http://localhost/", true),
            ("http://a.localhost/", true),
            ("http://localhost.example/", false),
            ("http://10.0.0.1/", false),
            ("https://ghcr.io/", false),
        ] {
            assert_eq!(is_loopback(&url(text)), near, "{text}");
        }
    }

    #[test]
    fn https_never_falls_to_http() {
        for (from, to, allowed) in [
            ("https://a/", "https://b/", true),
            ("https://a/", "http://a/", false),
            ("http://127.0.0.1/", "http://127.0.0.1:1/", true),
            ("http://127.0.0.1/", "https://b/", true),
            ("http://127.0.0.1/", "file:///etc/passwd", false),
        ] {
            assert_eq!(may_go(&url(from), &url(to)).is_ok(), allowed, "{from} {to}");
        }
    }

    #[test]
    fn a_credential_goes_to_a_token_server_encrypted_or_stays_at_home() {
        for (registry, realm, allowed) in [
            ("https://ghcr.io/v2/", "https://ghcr.io/token", true),
            ("https://registry-1.docker.io/v2/", "https://auth.docker.io/token", true),
            ("https://ghcr.io/v2/", "http://ghcr.io/token", false),
            ("https://ghcr.io/v2/", "http://127.0.0.1/token", false),
            ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/token", true),
            ("http://registry.lan/v2/", "http://registry.lan:81/token", true),
            ("http://registry.lan/v2/", "http://other.lan/token", false),
            ("http://registry.lan/v2/", "ftp://registry.lan/", false),
        ] {
            assert_eq!(may_hold_token_server(&url(registry), &url(realm)).is_ok(), allowed, "{registry} {realm}");
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (one, other, same) in [
            ("https://a/x", "https://a:443/y?z", true),
            ("https://a/", "http://a/", false),
            ("https://a/", "https://a.b/", false),
            ("https://a/", "https://a:444/", false),
        ] {
            assert_eq!(same_origin(&url(one), &url(other)), same, "{one} {other}");
        }
    }
}
