//! Which engine: `DOCKER_HOST`, else the docker context, else this machine's. The same rules as docker's own client.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Endpoint, EngineError};
use crate::oci::Digest;

/// Where an engine listens when nobody says otherwise.
pub const DEFAULT_SOCKET: &str = if cfg!(windows) { "npipe:////./pipe/docker_engine" } else { "unix:///var/run/docker.sock" };

/// What `config.json` has for us.
#[derive(Deserialize, Default)]
struct DockerConfig {
    #[serde(rename = "currentContext", default)]
    current_context: String,
}

/// `contexts/meta/<sha256 of the name>/meta.json`
#[derive(Deserialize)]
struct ContextMeta {
    #[serde(rename = "Endpoints", default)]
    endpoints: ContextEndpoints,
}

#[derive(Deserialize, Default)]
struct ContextEndpoints {
    docker: Option<ContextEndpoint>,
}

#[derive(Deserialize)]
struct ContextEndpoint {
    #[serde(rename = "Host", default)]
    host: String,
    #[serde(rename = "SkipTLSVerify", default)]
    skip_tls_verify: bool,
}

/// TLS settings that apply if the address turns out to be TCP.
struct TlsSettings {
    certificates: PathBuf,
    verify: bool,
}

impl Endpoint {
    /// Reads `DOCKER_HOST` (with `DOCKER_TLS_VERIFY`, `DOCKER_TLS` and `DOCKER_CERT_PATH`), else `DOCKER_CONTEXT`, else
    /// `currentContext` of `config.json` in `docker_config` (the folder, usually `~/.docker`); without any of them it is
    /// the engine of this machine. Empty variables count as unset.
    ///
    /// # Errors
    /// [`EngineError::InvalidEndpoint`]: an address of no known form, or a context that does not exist or cannot be read.
    pub fn resolve(env: &dyn Fn(&str) -> Option<String>, docker_config: &Path) -> Result<Self, EngineError> {
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let verify = env("DOCKER_TLS_VERIFY").is_some();
        let tls = (verify || env("DOCKER_TLS").is_some()).then(|| TlsSettings {
            certificates: env("DOCKER_CERT_PATH").map_or_else(|| docker_config.to_owned(), PathBuf::from),
            verify,
        });
        if let Some(host) = env("DOCKER_HOST") {
            return parse(&host, tls).map_err(|why| invalid("`DOCKER_HOST`", why));
        }
        let (name, origin) = match env("DOCKER_CONTEXT") {
            Some(name) => (name, "`DOCKER_CONTEXT`"),
            None => (current_context(docker_config)?, "`currentContext` in docker's `config.json`"),
        };
        if name.is_empty() || name == "default" {
            return parse(DEFAULT_SOCKET, None).map_err(|why| invalid("the default", why));
        }
        context(&name, origin, docker_config)
    }
}

fn invalid(origin: impl Into<String>, why: impl Into<String>) -> EngineError {
    EngineError::InvalidEndpoint { origin: origin.into(), why: why.into() }
}

fn current_context(docker_config: &Path) -> Result<String, EngineError> {
    let path = docker_config.join("config.json");
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => return Ok(String::new()),
        Err(error) => return Err(invalid(format!("`{}`", path.display()), error.to_string())),
    };
    let config: DockerConfig =
        serde_json::from_slice(&bytes).map_err(|error| invalid(format!("`{}`", path.display()), error.to_string()))?;
    Ok(config.current_context)
}

fn context(name: &str, origin: &str, docker_config: &Path) -> Result<Endpoint, EngineError> {
    let key = Digest::of(name).hex();
    let path = docker_config.join("contexts").join("meta").join(&key).join("meta.json");
    let what = format!("the docker context `{name}`");
    let bytes = fs::read(&path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => invalid(origin, format!("there is no docker context `{name}`")),
        _ => invalid(&what, format!("`{}`: {error}", path.display())),
    })?;
    let meta: ContextMeta =
        serde_json::from_slice(&bytes).map_err(|error| invalid(&what, format!("`{}`: {error}", path.display())))?;
    let Some(endpoint) = meta.endpoints.docker.filter(|endpoint| !endpoint.host.is_empty()) else {
        return Err(invalid(&what, "it has no `docker` endpoint"));
    };
    let certificates = docker_config.join("contexts").join("tls").join(&key).join("docker");
    let tls = (endpoint.skip_tls_verify || certificates.is_dir())
        .then_some(TlsSettings { certificates, verify: !endpoint.skip_tls_verify });
    parse(&endpoint.host, tls).map_err(|why| invalid(&what, why))
}

fn parse(host: &str, tls: Option<TlsSettings>) -> Result<Endpoint, String> {
    let Some((scheme, rest)) = host.split_once("://") else {
        return Err(format!("`{host}` is not an address: expected `unix://`, `tcp://`, `ssh://` or `npipe://`"));
    };
    match scheme {
        "unix" if rest.starts_with('/') => Ok(Endpoint::Unix(PathBuf::from(rest))),
        "unix" => Err(format!("`{host}` needs an absolute path, as in `unix:///var/run/docker.sock`")),
        "npipe" if !rest.is_empty() => Ok(Endpoint::Npipe(rest.replace('/', "\\"))),
        "tcp" | "http" | "https" => {
            let tls = match (scheme, tls) {
                ("https", None) => Some(TlsSettings { certificates: PathBuf::new(), verify: true }),
                (_, tls) => tls,
            };
            let address = address(rest, if tls.is_some() { 2376 } else { 2375 })
                .ok_or_else(|| format!("`{host}` is not an address: expected `tcp://host:port` with nothing behind it"))?;
            Ok(match tls {
                Some(TlsSettings { certificates, verify }) => Endpoint::Tls { address, certificates, verify },
                None => Endpoint::Tcp(address),
            })
        }
        // A host that begins with `-` would be an option of ssh.
        "ssh" => match rest.rsplit('@').next() {
            Some(machine) if !machine.is_empty() && !machine.starts_with(['/', ':', '-']) && !rest.starts_with('-') => {
                Ok(Endpoint::Ssh(host.to_owned()))
            }
            _ => Err(format!("`{host}` names no machine: expected `ssh://[user@]host[:port]`")),
        },
        _ => Err(format!("`{scheme}://` is not known: expected `unix://`, `tcp://`, `ssh://` or `npipe://`")),
    }
}

/// `host:port`, with the default port where there is none.
fn address(text: &str, default_port: u16) -> Option<String> {
    let text = text.strip_suffix('/').unwrap_or(text);
    let authority: http::uri::Authority = text.parse().ok()?;
    if authority.host().is_empty() || text.contains('@') {
        return None;
    }
    match (authority.port_u16(), authority.as_str().len() == authority.host().len()) {
        (Some(port), _) => Some(format!("{}:{port}", authority.host())),
        (None, true) => Some(format!("{}:{default_port}", authority.host())),
        (None, false) => None,
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(address) | Self::Tls { address, .. } => write!(f, "tcp://{address}"),
            Self::Ssh(address) => f.write_str(address),
            Self::Npipe(path) => write!(f, "npipe://{}", path.replace('\\', "/")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(variables: &[(&str, &str)], config: &Path) -> Result<Endpoint, String> {
        let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned());
        Endpoint::resolve(&env, config).map_err(|error| error.to_string())
    }

    fn tls(address: &str, certificates: &str, verify: bool) -> Endpoint {
        Endpoint::Tls { address: address.into(), certificates: certificates.into(), verify }
    }

    #[test]
    fn docker_host() {
        let none = Path::new("/nonexistent");
        let host = |text: &str| resolve(&[("DOCKER_HOST", text)], none);
        assert_eq!(host("unix:///run/x.sock"), Ok(Endpoint::Unix("/run/x.sock".into())));
        assert_eq!(host("tcp://engine:1234"), Ok(Endpoint::Tcp("engine:1234".into())));
        assert_eq!(host("tcp://engine"), Ok(Endpoint::Tcp("engine:2375".into())));
        assert_eq!(host("tcp://[::1]:99"), Ok(Endpoint::Tcp("[::1]:99".into())));
        assert_eq!(host("tcp://[::1]"), Ok(Endpoint::Tcp("[::1]:2375".into())));
        assert_eq!(host("ssh://me@build:2222"), Ok(Endpoint::Ssh("ssh://me@build:2222".into())));
        assert_eq!(host("npipe:////./pipe/docker_engine"), Ok(Endpoint::Npipe(r"\\.\pipe\docker_engine".into())));
        for text in [
            "engine:2375",
            "unix://run/x.sock",
            "tcp://",
            "tcp://a:b",
            "tcp://a/b",
            "tcp://u@a:1",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://me@-oProxyCommand=x",
            "fd://",
            "ftp://a",
            "/var/run/docker.sock",
        ] {
            let why = host(text).expect_err(text);
            assert!(why.starts_with("`DOCKER_HOST` does not name a Docker Engine: `"), "{text}: {why}");
        }
    }

    #[test]
    fn tls_is_asked_for_by_variables() {
        let config = Path::new("/home/me/.docker");
        let host = ("DOCKER_HOST", "tcp://engine");
        assert_eq!(resolve(&[host, ("DOCKER_TLS_VERIFY", "1")], config), Ok(tls("engine:2376", "/home/me/.docker", true)));
        assert_eq!(
            resolve(&[host, ("DOCKER_TLS_VERIFY", "1"), ("DOCKER_CERT_PATH", "/certs")], config),
            Ok(tls("engine:2376", "/certs", true))
        );
        assert_eq!(
            resolve(&[host, ("DOCKER_TLS", "1"), ("DOCKER_CERT_PATH", "/certs")], config),
            Ok(tls("engine:2376", "/certs", false))
        );
        assert_eq!(resolve(&[host, ("DOCKER_TLS_VERIFY", "")], config), Ok(Endpoint::Tcp("engine:2375".into())));
    }

    #[test]
    fn contexts_are_read_as_docker_writes_them() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path();
        assert_eq!(resolve(&[], config).map(|endpoint| endpoint.to_string()), Ok(DEFAULT_SOCKET.to_owned()));

        let write = |name: &str, host: &str, skip: bool, with_tls: bool| {
            let key = Digest::of(name).hex();
            let meta = config.join("contexts/meta").join(&key);
            fs::create_dir_all(&meta).unwrap();
            let text = format!(
                r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}","SkipTLSVerify":{skip}}}}}}}"#
            );
            fs::write(meta.join("meta.json"), text).unwrap();
            let tls = config.join("contexts/tls").join(&key).join("docker");
            if with_tls {
                fs::create_dir_all(&tls).unwrap();
            }
            tls
        };
        write("rootless", "unix:///run/user/1000/docker.sock", false, false);
        write("plain", "tcp://build:2375", false, false);
        let certificates = write("secure", "tcp://build:2376", false, true);
        write("skip", "tcp://build:2376", true, false);
        write("empty", "", false, false);
        fs::write(config.join("config.json"), r#"{"auths":{},"currentContext":"rootless"}"#).unwrap();

        let rootless = Ok(Endpoint::Unix("/run/user/1000/docker.sock".into()));
        assert_eq!(resolve(&[], config), rootless);
        assert_eq!(resolve(&[("DOCKER_CONTEXT", "default")], config).map(|e| e.to_string()), Ok(DEFAULT_SOCKET.to_owned()));
        assert_eq!(
            resolve(&[("DOCKER_HOST", "tcp://a:1"), ("DOCKER_CONTEXT", "plain")], config),
            Ok(Endpoint::Tcp("a:1".into()))
        );
        assert_eq!(resolve(&[("DOCKER_CONTEXT", "plain")], config), Ok(Endpoint::Tcp("build:2375".into())));
        let secure = Endpoint::Tls { address: "build:2376".into(), certificates, verify: true };
        assert_eq!(resolve(&[("DOCKER_CONTEXT", "secure")], config), Ok(secure));
        assert!(matches!(resolve(&[("DOCKER_CONTEXT", "skip")], config), Ok(Endpoint::Tls { verify: false, .. })));
        assert_eq!(
            resolve(&[("DOCKER_CONTEXT", "empty")], config),
            Err("the docker context `empty` does not name a Docker Engine: it has no `docker` endpoint".to_owned())
        );
        assert_eq!(
            resolve(&[("DOCKER_CONTEXT", "gone")], config),
            Err("`DOCKER_CONTEXT` does not name a Docker Engine: there is no docker context `gone`".to_owned())
        );
    }
}
