//! Upstreams: which version of a pin is the newest, and what a version is to the byte, from the digest that the upstream itself
//! publishes.

mod answer;
mod error;
mod github;
mod newest;
mod open_vsx;
mod vendors;
mod vscode;

use std::collections::BTreeMap;

pub use error::UpstreamError;
pub use vendors::{Pinned, newest, told};

use crate::event::Events;
use crate::family::{LockedArtifact, Name, Pin, Upstream};
use crate::oci::Platform;
use crate::secret::Secret;

/// How upstreams are reached.
#[derive(Clone, Copy)]
pub struct Access<'a> {
    /// See [`crate::artifact::client`].
    pub client: &'a reqwest::Client,
    /// `[mirrors]` of the family: URL prefix → URL prefix.
    pub mirrors: &'a BTreeMap<String, String>,
    /// Whether vendors' own hosts may be asked, rather than mirrors only.
    pub vendors: bool,
    /// For api.github.com and no other host: without one it answers 60 requests an hour.
    pub github_token: Option<&'a Secret>,
    /// How often and how long is tried.
    pub patience: crate::artifact::Patience,
    /// Where it is said what takes long, or is not as it should be.
    pub events: &'a Events,
}

/// A pin on a platform, while it is resolved.
struct Wanted<'a> {
    name: &'a Name,
    pin: &'a Pin,
    /// The pinned one, or one that it may move to.
    version: &'a str,
    platform: Platform,
}

impl Wanted<'_> {
    /// What the upstream calls the architecture.
    fn arch(&self) -> &str {
        self.pin.arch.get(self.platform.arch()).map_or(self.platform.arch(), String::as_str)
    }

    /// The pin for a message: `` `github-runner` 2.337.0 ``.
    fn what(&self) -> String {
        format!("`{}` {}", self.name, self.version)
    }
}

/// What the pin's version is on `platform`: the vendor's own URL (never a mirror's) and the digest that the upstream
/// publishes for it. Builds of VS Code of which the update service says nothing are downloaded by their commit, and their
/// digest is computed.
///
/// # Errors
/// See [`UpstreamError`]. Where no digest is published for what there is, there is an error, never a guess.
pub async fn resolve(access: Access<'_>, name: &Name, pin: &Pin, platform: Platform) -> Result<LockedArtifact, UpstreamError> {
    let wanted = Wanted { name, pin, version: &pin.version, platform };
    match &pin.upstream {
        Upstream::GithubRelease { repository, asset } => github::resolve(access, &wanted, repository, asset).await,
        Upstream::Vscode { build } => vscode::resolve(access, &wanted, build).await,
        Upstream::OpenVsx { extension } => open_vsx::resolve(access, &wanted, extension).await,
        Upstream::Npm { .. } | Upstream::Pypi { .. } => Err(UpstreamError::NotAnArtifact { what: wanted.what() }),
    }
}
