//! Which credential is used for a registry, in the order of the docker CLI: `DOCKER_AUTH_CONFIG`, then of
//! `$DOCKER_CONFIG/config.json` the helper of the host, else the general helper, else what the file itself holds (a
//! helper replaces what the file says); for ghcr.io then `GITHUB_TOKEN`, `GH_TOKEN` and what `gh` is logged in with; for
//! Amazon ECR then AWS's own credential chain. The order is pure.
//!
//! Where docker ignores a source that it cannot read, with or without a word, Gantry stops: going on would publish as
//! somebody else than was meant.

use std::collections::BTreeMap;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::ecr::{self, EcrApi, EcrError};
use super::{Identified, gh, helper};
use crate::oci::EcrRegistry;
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
    /// The file cannot be read.
    #[error("`{}` cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The entry of `DOCKER_AUTH_CONFIG` has no `auth`, which is all that docker reads there.
    #[error("`DOCKER_AUTH_CONFIG` has an entry for `{host}` without `auth`, and docker reads nothing else there")]
    NoAuth {
        /// The entry's key.
        host: String,
    },
    /// No token of AWS.
    #[error(transparent)]
    Ecr(#[from] EcrError),
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
    /// Whether `gh` may be asked.
    gh: bool,
    /// Which identity of AWS comes first, for people.
    aws: String,
    /// Registries that stand in for Amazon ECR, by host.
    stand_ins: BTreeMap<String, EcrRegistry>,
    /// Where programs are looked for.
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
    /// `gh` is to be asked.
    Gh,
    /// AWS is to be asked for a token of this registry.
    Ecr(EcrRegistry),
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
        let aws = ecr::origin(&variable);
        Ok(Self { docker_auth_config, file, github_token, gh: true, aws, stand_ins: BTreeMap::new(), path })
    }

    /// The same, knowing that the registry at `host` stands in for one of Amazon ECR: it gets a token of AWS.
    #[must_use]
    pub fn standing_in(mut self, host: impl Into<String>, registry: EcrRegistry) -> Self {
        self.stand_ins.insert(host.into(), registry);
        self
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
            && let Some(choice) = config.entry_of_variable(host)?
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

    /// What is left when docker's configuration, helpers included, has nothing. A GitHub token is for ghcr.io only, one of
    /// AWS for ECR only.
    fn last_resort(&self, host: &str) -> Choice {
        match &self.github_token {
            Some((name, token)) if host == "ghcr.io" => Choice::Found(of_github(token.clone()), format!("`{name}`")),
            None if host == "ghcr.io" && self.gh => Choice::Gh,
            _ => EcrRegistry::at(host).or_else(|| self.stand_ins.get(host).cloned()).map_or(Choice::Nothing, Choice::Ecr),
        }
    }

    /// The credential for `host` and what is known of it; whoever has it is asked: a helper, `gh`, AWS. None: anonymous.
    ///
    /// # Errors
    /// A source that is to be used is not usable.
    pub async fn identified(&self, host: &str) -> Result<Option<Identified>, CredentialError> {
        let choice = match self.choose(host)? {
            Choice::Helper { name, key } => match helper::get(&name, &key, self.path.as_deref()).await? {
                Some(credential) => Choice::Found(credential, format!("`docker-credential-{name}`")),
                None => self.last_resort(host),
            },
            choice => choice,
        };
        Ok(match choice {
            Choice::Found(credential, origin) => Some(Identified::new(credential, origin)),
            Choice::Gh => gh::token(self.path.as_deref()).await.map(|token| Identified::new(of_github(token), "`gh auth token`")),
            Choice::Ecr(registry) => Some(EcrApi::connect(&registry).await?.token(&self.aws).await?),
            Choice::Helper { .. } | Choice::Nothing => None,
        })
    }

    /// The same without what only matters to whoever uses it for long.
    ///
    /// # Errors
    /// As there.
    pub async fn credential(&self, host: &str) -> Result<Option<(Credential, String)>, CredentialError> {
        Ok(self.identified(host).await?.map(|found| (found.credential, found.origin)))
    }
}

/// GHCR looks at the token; the name only must not be empty.
fn of_github(token: Secret) -> Credential {
    Credential::Basic { username: "x-access-token".to_owned(), password: token }
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
        // An empty name for this host says: no helper, whatever the general one is.
        let name = self.cred_helpers.get(key).or(self.creds_store.as_ref()).filter(|name| !name.is_empty())?;
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
            return found(Credential::Refresh(Secret::new(entry.identitytoken.clone())));
        }
        if !entry.auth.is_empty() {
            let decoded = entry.decoded();
            return found(decoded.ok_or_else(|| CredentialError::Entry { origin: origin.to_owned(), host: written.clone() })?);
        }
        if !entry.username.is_empty() {
            let password = Secret::new(entry.password.clone());
            return found(Credential::Basic { username: entry.username.clone(), password });
        }
        // `docker login` with a helper leaves an empty entry behind.
        Ok(None)
    }

    /// `DOCKER_AUTH_CONFIG`: exactly this key, and of its entry only `auth`. What it does not have is looked for further on.
    fn entry_of_variable(&self, host: &str) -> Result<Option<Choice>, CredentialError> {
        const ORIGIN: &str = "`DOCKER_AUTH_CONFIG`";
        let Some((key, entry)) = self.auths.get_key_value(server_key(host)) else { return Ok(None) };
        if entry.auth.is_empty() {
            return Err(CredentialError::NoAuth { host: key.clone() });
        }
        let decoded = entry.decoded();
        let decoded = decoded.ok_or_else(|| CredentialError::Entry { origin: ORIGIN.to_owned(), host: key.clone() })?;
        Ok(Some(Choice::Found(decoded, ORIGIN.to_owned())))
    }
}

impl Entry {
    /// What `auth` holds: `base64(name:password)`.
    fn decoded(&self) -> Option<Credential> {
        let auth = self.auth.trim();
        let decoded = STANDARD.decode(auth).or_else(|_| STANDARD_NO_PAD.decode(auth)).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (username, password) = text.trim_end_matches('\0').split_once(':')?;
        let password = Secret::new(password);
        (!username.is_empty()).then(|| Credential::Basic { username: username.to_owned(), password })
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
