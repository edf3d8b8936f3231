//! GitHub releases: `assets[].digest` of the API, or the digests that the notes of older releases list.

use serde::Deserialize;

use super::answer::{self, digest};
use super::newest::{Subject, number, page};
use super::{Access, UpstreamError, Wanted};
use crate::bump::{self, Candidate, Offer, Trouble, Version};
use crate::family::{BuildDate, LockedArtifact, Number, Template};

/// Releases of one page: an answer with all assets of a hundred would be some megabytes.
const PAGE: usize = 30;
/// No more pages are asked for: without a token GitHub answers sixty requests an hour.
const PAGES: usize = 10;

#[derive(Deserialize)]
struct Release {
    assets: Vec<Asset>,
    body: Option<String>,
    tag_name: String,
    #[serde(default)]
    draft: bool,
    #[serde(default)]
    prerelease: bool,
    published_at: Option<String>,
    html_url: Option<String>,
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
    let (release, url) = tagged(access, &wanted.what(), repository, wanted.version).await?;
    artifact(&release, wanted, asset, &url)
}

/// The release of a version, and where it was asked for.
async fn tagged(access: Access<'_>, what: &str, repository: &str, version: &str) -> Result<(Release, String), UpstreamError> {
    let url = format!("https://api.github.com/repos/{repository}/releases/tags/v{version}");
    let missing = format!("`{repository}` has no release `v{version}`");
    let release: Release = answer::json(access, what, &url, &missing).await?;
    match release.tag_name.strip_prefix('v') == Some(version) {
        true => Ok((release, url)),
        false => {
            let why = format!("it answers for release `{}`", release.tag_name.escape_debug());
            Err(UpstreamError::Odd { what: what.to_owned(), url, why })
        }
    }
}

/// The file of a release for a platform. Its digest is stated by the API or by the notes; where both do, they agree.
fn artifact(release: &Release, wanted: &Wanted<'_>, asset: &Template, url: &str) -> Result<LockedArtifact, UpstreamError> {
    let (version, url) = (wanted.version, url.to_owned());
    let file = asset.fill(|name| match name {
        "version" => Some(version),
        "arch" => Some(wanted.arch()),
        _ => None,
    });
    let Some(asset) = release.assets.iter().find(|asset| asset.name == file) else {
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
    let (version, url) = (version.to_owned(), asset.browser_download_url.clone());
    Ok(LockedArtifact { version, url, sha256, released, newest_on: None })
}

/// What stands between `<!-- BEGIN SHA linux-x64 -->` and `<!-- END SHA linux-x64 -->`.
fn noted<'a>(notes: &'a str, build: &str) -> Option<&'a str> {
    let (_, after) = notes.split_once(&format!("<!-- BEGIN SHA {build} -->"))?;
    let (text, _) = after.split_once(&format!("<!-- END SHA {build} -->"))?;
    Some(text.trim()).filter(|text| !text.is_empty())
}

/// The newest release that the pin may move to, with its files for all platforms.
pub(super) async fn newest(
    access: Access<'_>,
    subject: &Subject<'_>,
    repository: &str,
    asset: &Template,
) -> Result<Candidate, Trouble> {
    let present = subject.present()?;
    let holds = subject.holds();
    let (chosen, held) = match subject.to {
        Some(to) => {
            let number = number(to)?;
            bump::named(&number, &Version::plain(to), &present, &holds)?;
            (Some(tagged(access, &subject.what(), repository, to).await?), None)
        }
        None => {
            let offers = released(access, subject, repository, &present).await?;
            let shown = |offer: &Offer<_>| Version::plain(offer.number.to_string());
            let choice = bump::newest(offers, &present, &holds, shown)?;
            (choice.taken.map(|offer| offer.what), choice.held)
        }
    };
    let (release, url) = match chosen {
        Some(chosen) => chosen,
        None if subject.is_locked() => return Ok(subject.unmoved(held)),
        None => tagged(access, &subject.what(), repository, &subject.pin.version).await?,
    };
    let version = release.tag_name.strip_prefix('v').unwrap_or(&subject.pin.version).to_owned();
    let mut artifacts = Vec::new();
    for platform in subject.platforms() {
        artifacts.push((platform, artifact(&release, &subject.wanted(&version, platform), asset, &url)?));
    }
    let released = release.published_at.as_deref().and_then(BuildDate::of_rfc3339);
    let notes = release.html_url.as_deref().and_then(page);
    Ok(Candidate { held, notes, ..subject.candidate(&version, released, artifacts)? })
}

type Listed = (Release, String);

/// Releases with a number, drafts and prereleases aside, as far back as the pinned one.
async fn released(
    access: Access<'_>,
    subject: &Subject<'_>,
    repository: &str,
    present: &Number,
) -> Result<Vec<Offer<Listed>>, UpstreamError> {
    let mut offers = Vec::new();
    for number in 1..=PAGES {
        let url = format!("https://api.github.com/repos/{repository}/releases?per_page={PAGE}&page={number}");
        let missing = format!("there is no repository `{repository}`, or it is private");
        let releases: Vec<Release> = answer::json(access, &subject.what(), &url, &missing).await?;
        let is_last = releases.len() < PAGE;
        let stable = releases.into_iter().filter(|release| !release.draft && !release.prerelease);
        offers.extend(stable.filter_map(|release| {
            let number: Number = release.tag_name.strip_prefix('v')?.parse().ok()?;
            Some(Offer { number, what: (release, url.clone()) }).filter(|offer| !offer.number.is_prerelease())
        }));
        // They come by their dates: what was released before what is pinned is older.
        if is_last || offers.iter().any(|offer| offer.number == *present) {
            break;
        }
    }
    if offers.is_empty() {
        let url = format!("https://api.github.com/repos/{repository}/releases");
        let missing = format!("`{repository}` has no release with a tag as in `v1.2.3`");
        return Err(UpstreamError::NotFound { what: subject.what(), missing, url, status: 200 });
    }
    Ok(offers)
}
