//! Extensions, from the Open VSX registry: the digest lies in a file of its own.

use serde::Deserialize;

use super::answer::{digest, json, text};
use super::{Access, UpstreamError, Wanted};
use crate::family::LockedArtifact;

#[derive(Deserialize)]
struct Extension {
    version: String,
    files: Files,
}

#[derive(Deserialize)]
struct Files {
    download: Option<String>,
    sha256: Option<String>,
}

pub(super) async fn resolve(access: Access<'_>, wanted: &Wanted<'_>, extension: &str) -> Result<LockedArtifact, UpstreamError> {
    let version = &wanted.pin.version;
    let url = format!("https://open-vsx.org/api/{}/{version}", extension.replacen('.', "/", 1));
    let missing = format!("Open VSX has no version `{version}` of `{extension}`");
    let found: Extension = json(access, wanted, &url, &missing).await?;
    let odd = |why: String| UpstreamError::Odd { what: wanted.what(), url: url.clone(), why };
    if found.version != *version {
        return Err(odd(format!("it answers for version `{}`", found.version)));
    }
    let Some(download) = found.files.download else {
        return Err(odd("it has no `files.download`".to_owned()));
    };
    let Some(digest_url) = found.files.sha256 else {
        return Err(UpstreamError::NoDigest { what: wanted.what(), file: extension.to_owned(), url });
    };
    let missing = format!("the digest of `{extension}` is not there");
    let published = text(access, wanted, &digest_url, &missing).await?;
    let sha256 = digest(&published).ok_or_else(|| UpstreamError::Odd {
        what: wanted.what(),
        url: digest_url,
        why: "it is not a SHA-256 digest".to_owned(),
    })?;
    Ok(LockedArtifact { version: version.clone(), url: download, sha256, released: None, newest_on: None })
}
