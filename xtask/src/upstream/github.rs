//! GitHub releases: `assets[].digest` of the API, or the digests that the notes of older releases list.

use serde::Deserialize;

use super::answer::{digest, json};
use super::{Access, UpstreamError, Wanted};
use crate::family::{BuildDate, LockedArtifact, Template};

#[derive(Deserialize)]
struct Release {
    assets: Vec<Asset>,
    published_at: Option<String>,
    body: Option<String>,
}

#[derive(Deserialize)]
struct Asset {
    name: String,
    browser_download_url: String,
    digest: Option<String>,
}

pub(super) async fn resolve(
    access: Access<'_>,
    wanted: &Wanted<'_>,
    repository: &str,
    asset: &Template,
) -> Result<LockedArtifact, UpstreamError> {
    let version = &wanted.pin.version;
    let url = format!("https://api.github.com/repos/{repository}/releases/tags/v{version}");
    let missing = format!("`{repository}` has no release `v{version}`");
    let release: Release = json(access, wanted, &url, &missing).await?;

    let file = asset.fill(|name| match name {
        "version" => Some(version.as_str()),
        "arch" => Some(wanted.arch()),
        _ => None,
    });
    let Some(asset) = release.assets.into_iter().find(|asset| asset.name == file) else {
        let missing = format!("release `v{version}` has no file `{file}`");
        return Err(UpstreamError::NotFound { what: wanted.what(), missing, url, status: 200 });
    };
    let odd = |why: String| UpstreamError::Odd { what: wanted.what(), url: url.clone(), why };
    if !asset.browser_download_url.starts_with("https://") && !asset.browser_download_url.starts_with("http://") {
        return Err(odd(format!("`{}` is not an address to download from", asset.browser_download_url)));
    }
    let noted = release.body.as_deref().and_then(|notes| noted(notes, &format!("linux-{}", wanted.arch())));
    let stated = asset.digest.as_deref().or(noted);
    let Some(stated) = stated else {
        return Err(UpstreamError::NoDigest { what: wanted.what(), file, url });
    };
    let sha256 = digest(stated).ok_or_else(|| odd(format!("`{stated}` is not a SHA-256 digest")))?;
    if let Some(noted) = noted.filter(|noted| digest(noted) != Some(sha256)) {
        return Err(odd(format!("it states {sha256} for `{file}`, and its notes `{noted}`")));
    }
    let released = release.published_at.as_deref().and_then(BuildDate::of_rfc3339);
    Ok(LockedArtifact { version: version.clone(), url: asset.browser_download_url, sha256, released, newest_on: None })
}

/// What stands between `<!-- BEGIN SHA linux-x64 -->` and `<!-- END SHA linux-x64 -->`.
fn noted<'a>(notes: &'a str, build: &str) -> Option<&'a str> {
    let (_, after) = notes.split_once(&format!("<!-- BEGIN SHA {build} -->"))?;
    let (text, _) = after.split_once(&format!("<!-- END SHA {build} -->"))?;
    Some(text.trim()).filter(|text| !text.is_empty())
}
