//! Builds of VS Code, by commit, from Microsoft's update service.

use serde::Deserialize;

use super::answer::{digest, json};
use super::{Access, UpstreamError, Wanted};
use crate::family::{LockedArtifact, Template};

#[derive(Deserialize)]
struct Build {
    url: String,
    /// The commit.
    version: String,
    sha256hash: Option<String>,
}

pub(super) async fn resolve(access: Access<'_>, wanted: &Wanted<'_>, build: &Template) -> Result<LockedArtifact, UpstreamError> {
    let commit = &wanted.pin.version;
    let build = build.fill(|name| (name == "arch").then(|| wanted.arch()));
    let url = format!("https://update.code.visualstudio.com/api/versions/commit:{commit}/{build}/stable");
    let missing = format!("the update service knows no build `{build}` of commit `{commit}`");
    let found: Build = json(access, wanted, &url, &missing).await?;
    let odd = |why: String| UpstreamError::Odd { what: wanted.what(), url: url.clone(), why };
    if found.version != *commit {
        return Err(odd(format!("it answers for commit `{}`", found.version)));
    }
    if !found.url.starts_with("https://") && !found.url.starts_with("http://") {
        return Err(odd(format!("`{}` is not an address to download from", found.url)));
    }
    match found.sha256hash.as_deref().filter(|hash| !hash.is_empty()) {
        None => Err(UpstreamError::NoDigest { what: wanted.what(), file: build, url }),
        Some(hash) => {
            let sha256 = digest(hash).ok_or_else(|| odd(format!("`{hash}` is not a SHA-256 digest")))?;
            Ok(LockedArtifact { version: commit.clone(), url: found.url, sha256, released: None, newest_on: None })
        }
    }
}
