//! Which credential is used for a registry, in the order of the docker CLI: `DOCKER_AUTH_CONFIG`, then of
//! `$DOCKER_CONFIG/config.json` the helper of the host, else the general helper, else what the file itself holds (a
//! helper replaces what the file says); for ghcr.io then `GITHUB_TOKEN` and `GH_TOKEN`. The order is pure.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::helper;
use crate::secret::Secret;

/// What a registry is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// Name and password, at the registry or at its token server.
    Basic {
        /// The name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// A token for the registry itself.
    Bearer(Secret),
    /// An OAuth 2 refresh token (docker: identity token) for the registry's token server.
    Refresh(Secret),
}

/// A credential cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// docker's configuration is no valid JSON. (What is wrong is told by place only: the text holds secrets.)
    #[error("{origin} is not valid (line {line}, column {column})")]
    Invalid {
        /// The file or the variable.
        origin: String,
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// The `auth` of an entry is not `base64(name:password)`.
    #[error("{origin} has an entry for `{host}` that is not `base64(name:password)`")]
    Entry {
        /// The file or the variable.
        origin: String,
        /// The entry's key.
        host: String,
    },
    /// An identity token (OAuth 2 refresh token): not spoken.
    #[error("{origin} holds an identity token for `{host}`, which Gantry cannot use: log in with a name and a password or token")]
    IdentityToken {
        /// Where it stands.
        origin: String,
        /// The registry.
        host: String,
    },
    /// The file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The helper could not be asked.
    #[error("the credential helper `{program}` failed for `{host}`: {why}")]
    Helper {
        /// `docker-credential-pass`
        program: String,
        /// The registry.
        host: String,
        /// Its complaint.
        why: String,
    },
}

/// Where credentials may stand, read once; [`Sources::choose`] decides without any IO.
#[derive(Clone, Default)]
pub struct Sources {
    docker_auth_config: Option<Config>,
    file: Option<(PathBuf, Config)>,
    github_token: Option<(&'static str, Secret)>,
    /// Where helpers are looked for.
    path: Option<String>,
}

/// What [`Sources::choose`] decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The credential, and where it stands.
    Found(Credential, String),
    /// This helper is to be asked under this key.
    Helper {
        /// `ecr-login`, without `docker-credential-`.
        name: String,
        /// What the helper knows the registry by.
        key: String,
    },
    /// Nothing: anonymous.
    Nothing,
}

#[derive(Clone, Default, Deserialize)]
struct Config {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default, rename = "credHelpers")]
    cred_helpers: BTreeMap<String, String>,
    #[serde(default, rename = "credsStore")]
    creds_store: Option<String>,
}

#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl Sources {
    /// Reads the environment (through `variable`, where empty is unset) and docker's configuration file.
    ///
    /// # Errors
    /// A source is there and cannot be read: going on would use another identity than the one that was meant.
    pub fn gather(variable: impl Fn(&str) -> Option<String>) -> Result<Self, CredentialError> {
        let set = |name: &'static str| variable(name).filter(|value| !value.trim().is_empty()).map(|value| (name, value));
        let docker_auth_config =
            set("DOCKER_AUTH_CONFIG").map(|(_, text)| Config::parse(&text, "`DOCKER_AUTH_CONFIG`")).transpose()?;
        let folder = set("DOCKER_CONFIG").map(|(_, folder)| PathBuf::from(folder));
        let home = set("HOME").or_else(|| set("USERPROFILE")).map(|(_, home)| PathBuf::from(home).join(".docker"));
        let file = match folder.or(home).map(|folder| folder.join("config.json")) {
            Some(path) => match std::fs::read_to_string(&path) {
                Ok(text) => {
                    let config = Config::parse(&text, &format!("`{}`", path.display()))?;
                    Some((path, config))
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(source) => return Err(CredentialError::Read { path, source }),
            },
            None => None,
        };
        let github_token = set("GITHUB_TOKEN").or_else(|| set("GH_TOKEN")).map(|(name, token)| (name, Secret::new(token.trim())));
        let path = set("PATH").map(|(_, path)| path);
        Ok(Self { docker_auth_config, file, github_token, path })
    }

    /// [`Sources::gather`] from this process's environment.
    ///
    /// # Errors
    /// As there.
    pub fn from_environment() -> Result<Self, CredentialError> {
        Self::gather(|name| std::env::var(name).ok())
    }

    /// Decides for the registry `host` (`ghcr.io`, `127.0.0.1:5000`).
    ///
    /// # Errors
    /// The entry that is to be used is not usable.
    pub fn choose(&self, host: &str) -> Result<Choice, CredentialError> {
        if let Some(config) = &self.docker_auth_config
            && let Some(choice) = config.entry(host, "`DOCKER_AUTH_CONFIG`")?
        {
            return Ok(choice);
        }
        if let Some((path, config)) = &self.file {
            if let Some(helper) = config.helper(host) {
                return Ok(helper);
            }
            if let Some(choice) = config.entry(host, &format!("`{}`", path.display()))? {
                return Ok(choice);
            }
        }
        Ok(self.last_resort(host))
    }

    /// What is left when docker's configuration, helpers included, has nothing. A GitHub token is for ghcr.io only.
    fn last_resort(&self, host: &str) -> Choice {
        match &self.github_token {
            Some((name, token)) if host == "ghcr.io" => {
                // GHCR looks at the token; the name only must not be empty.
                let credential = Credential::Basic { username: "x-access-token".to_owned(), password: token.clone() };
                Choice::Found(credential, format!("`{name}`"))
            }
            _ => Choice::Nothing,
        }
    }

    /// The credential for `host` and where it came from; a helper is asked where one is configured. None: anonymous.
    ///
    /// # Errors
    /// A source that is to be used is not usable.
    pub async fn credential(&self, host: &str) -> Result<Option<(Credential, String)>, CredentialError> {
        let choice = match self.choose(host)? {
            Choice::Helper { name, key } => match helper::get(&name, &key, self.path.as_deref()).await? {
                Some(credential) => Choice::Found(credential, format!("`docker-credential-{name}`")),
                None => self.last_resort(host),
            },
            choice => choice,
        };
        Ok(match choice {
            Choice::Found(credential, origin) => Some((credential, origin)),
            _ => None,
        })
    }
}

impl Config {
    fn parse(text: &str, origin: &str) -> Result<Self, CredentialError> {
        serde_json::from_str(text).map_err(|error| CredentialError::Invalid {
            origin: origin.to_owned(),
            line: error.line(),
            column: error.column(),
        })
    }

    fn helper(&self, host: &str) -> Option<Choice> {
        let key = server_key(host);
        let own = self.cred_helpers.get(key).or_else(|| self.cred_helpers.get(host)).filter(|name| !name.is_empty());
        let name = own.or(self.creds_store.as_ref()).filter(|name| !name.is_empty())?;
        Some(Choice::Helper { name: name.clone(), key: key.to_owned() })
    }

    fn entry(&self, host: &str, origin: &str) -> Result<Option<Choice>, CredentialError> {
        let key = server_key(host);
        let found = self.auths.get_key_value(key).or_else(|| {
            // Older clients wrote URLs: `https://ghcr.io/v1/`.
            self.auths.iter().find(|(written, _)| hostname(written) == hostname(key))
        });
        let Some((written, entry)) = found else { return Ok(None) };
        let found = |credential| Ok(Some(Choice::Found(credential, origin.to_owned())));
        if !entry.registrytoken.is_empty() {
            return found(Credential::Bearer(Secret::new(entry.registrytoken.clone())));
        }
        if !entry.identitytoken.is_empty() {
            return Err(CredentialError::IdentityToken { origin: origin.to_owned(), host: host.to_owned() });
        }
        if !entry.auth.is_empty() {
            let decoded = STANDARD.decode(entry.auth.trim()).or_else(|_| STANDARD_NO_PAD.decode(entry.auth.trim()));
            let text = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = text.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':'));
            let Some((username, password)) = pair.filter(|(username, _)| !username.is_empty()) else {
                return Err(CredentialError::Entry { origin: origin.to_owned(), host: written.clone() });
            };
            return found(Credential::Basic { username: username.to_owned(), password: Secret::new(password) });
        }
        if !entry.username.is_empty() {
            let password = Secret::new(entry.password.clone());
            return found(Credential::Basic { username: entry.username.clone(), password });
        }
        // `docker login` with a helper leaves an empty entry behind.
        Ok(None)
    }
}

/// What docker calls the registry in its configuration: the host, but for Docker Hub.
fn server_key(host: &str) -> &str {
    match host {
        "docker.io" | "index.docker.io" | "registry-1.docker.io" => "https://index.docker.io/v1/",
        host => host,
    }
}

fn hostname(key: &str) -> &str {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    key.split('/').next().unwrap_or(key)
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
