//! Extensions, from the Open VSX registry: the digest lies in a file of its own. They have to fit the editors that run them.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::answer::{digest, json, text};
use super::newest::{Subject, number, page};
use super::{Access, UpstreamError, Wanted};
use crate::bump::{self, Candidate, Offer, Trouble, Version};
use crate::failure::Exit;
use crate::family::{BuildDate, LockedArtifact, Number, VersionRange};

/// References of one page, the most that the registry gives.
const PAGE: usize = 100;
/// No more pages are asked for.
const PAGES: usize = 20;
/// So many of the newest versions are looked at one by one, until one is no prerelease.
const LOOKS: usize = 30;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Extension {
    version: String,
    files: Files,
    #[serde(default)]
    pre_release: bool,
    timestamp: Option<String>,
    target_platform: Option<String>,
    #[serde(default)]
    engines: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Files {
    download: Option<String>,
    sha256: Option<String>,
}

/// One page of all versions. (Open VSX's own API description, `VersionReferences`)
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct References {
    total_size: usize,
    version_references: Vec<Reference>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    version: String,
    target_platform: Option<String>,
    #[serde(default)]
    engines: BTreeMap<String, String>,
}

/// What an extension has to run in: an editor's name, its version.
pub(super) type Editors = [(String, Number)];

pub(super) async fn resolve(access: Access<'_>, wanted: &Wanted<'_>, extension: &str) -> Result<LockedArtifact, UpstreamError> {
    let (found, url) = version(access, &wanted.what(), extension, wanted.version).await?;
    artifact(access, &wanted.what(), extension, found, &url).await
}

/// A version, and where it was asked for.
async fn version(access: Access<'_>, what: &str, extension: &str, version: &str) -> Result<(Extension, String), UpstreamError> {
    let url = format!("{}/{version}", address(extension));
    let missing = format!("Open VSX has no version `{version}` of `{extension}`");
    let found: Extension = json(access, what, &url, &missing).await?;
    if found.version != *version {
        let why = format!("it answers for version `{}`", found.version);
        return Err(UpstreamError::Odd { what: what.to_owned(), url, why });
    }
    Ok((found, url))
}

async fn artifact(
    access: Access<'_>,
    what: &str,
    extension: &str,
    found: Extension,
    url: &str,
) -> Result<LockedArtifact, UpstreamError> {
    let odd = |url: &str, why: String| UpstreamError::Odd { what: what.to_owned(), url: url.to_owned(), why };
    if let Some(platform) = found.target_platform.filter(|platform| platform != UNIVERSAL) {
        return Err(odd(url, format!("it is for `{platform}` alone")));
    }
    let Some(download) = found.files.download else {
        return Err(odd(url, "it has no `files.download`".to_owned()));
    };
    let Some(digest_url) = found.files.sha256 else {
        return Err(UpstreamError::NoDigest { what: what.to_owned(), file: extension.to_owned(), url: url.to_owned() });
    };
    let missing = format!("the digest of `{extension}` is not there");
    let published = text(access, what, &digest_url, &missing).await?;
    let sha256 = digest(&published).ok_or_else(|| odd(&digest_url, "it is not a SHA-256 digest".to_owned()))?;
    Ok(LockedArtifact { version: found.version, url: download, sha256, released: None, newest_on: None })
}

const UNIVERSAL: &str = "universal";

fn address(extension: &str) -> String {
    format!("https://open-vsx.org/api/{}", extension.replacen('.', "/", 1))
}

/// The newest version that runs in all `editors`.
pub(super) async fn newest(
    access: Access<'_>,
    subject: &Subject<'_>,
    extension: &str,
    editors: &Editors,
) -> Result<Candidate, Trouble> {
    let present = subject.present()?;
    let holds = subject.holds();
    let (taken, held) = match subject.to {
        Some(to) => {
            bump::named(&number(to)?, &Version::plain(to), &present, &holds)?;
            let (found, url) = version(access, &subject.what(), extension, to).await?;
            if let Some(why) = unfit(&found.engines, editors) {
                return Err(Trouble::new(Exit::Refused, format!("`{}` {to} {why}", subject.name))
                    .hint("move VS Code first, or name an older version"));
            }
            (Some((found, url)), None)
        }
        None => {
            let mut offers = published(access, subject, extension, editors).await?;
            let mut looks = 0;
            loop {
                let shown = |offer: &Offer<()>| Version::plain(offer.number.to_string());
                let choice = bump::newest(offers.clone(), &present, &holds, shown)?;
                let Some(taken) = choice.taken else { break (None, choice.held) };
                let (found, url) = version(access, &subject.what(), extension, &taken.number.to_string()).await?;
                if !found.pre_release {
                    break (Some((found, url)), choice.held);
                }
                looks += 1;
                if looks == LOOKS {
                    let message = format!("the {LOOKS} newest versions of `{extension}` are all prereleases");
                    return Err(Trouble::new(Exit::Missing, message).hint("name a version: `--to VERSION`"));
                }
                offers.retain(|offer| offer.number != taken.number);
            }
        }
    };
    let (found, url) = match taken {
        Some(taken) => taken,
        None if subject.is_locked() => return Ok(subject.unmoved(held)),
        None => version(access, &subject.what(), extension, &subject.pin.version).await?,
    };
    let (to, released) = (found.version.clone(), found.timestamp.as_deref().and_then(BuildDate::of_rfc3339));
    let artifact = artifact(access, &subject.what(), extension, found, &url).await?;
    let artifacts = subject.platforms().into_iter().map(|platform| (platform, artifact.clone())).collect();
    let notes = page(&format!("https://open-vsx.org/extension/{}/{to}/changes", extension.replacen('.', "/", 1)));
    Ok(Candidate { held, notes, ..subject.candidate(&to, released, artifacts)? })
}

/// All versions for every platform that run in all `editors`, and what is pinned.
async fn published(
    access: Access<'_>,
    subject: &Subject<'_>,
    extension: &str,
    editors: &Editors,
) -> Result<Vec<Offer<()>>, UpstreamError> {
    let mut offers = Vec::new();
    let mut seen = 0;
    for _ in 0..PAGES {
        let url = format!("{}/version-references?size={PAGE}&offset={seen}", address(extension));
        let missing = format!("Open VSX has no extension `{extension}`");
        let page: References = json(access, &subject.what(), &url, &missing).await?;
        seen += page.version_references.len();
        let is_last = page.version_references.is_empty() || seen >= page.total_size;
        let fits = page.version_references.into_iter().filter(|reference| {
            let universal = reference.target_platform.as_deref().is_none_or(|platform| platform == UNIVERSAL);
            universal && (reference.version == subject.pin.version || unfit(&reference.engines, editors).is_none())
        });
        offers.extend(fits.filter_map(|reference| Some(Offer { number: reference.version.parse().ok()?, what: () })));
        if is_last {
            break;
        }
    }
    if seen == 0 {
        let (url, missing) = (address(extension), format!("`{extension}` has no versions"));
        return Err(UpstreamError::NotFound { what: subject.what(), missing, url, status: 200 });
    }
    Ok(offers)
}

/// Why an extension does not run in one of `editors`; none: it does. An extension that names no engine is not refused.
fn unfit(engines: &BTreeMap<String, String>, editors: &Editors) -> Option<String> {
    let wants = engines.get("vscode")?;
    let Ok(range) = wants.parse::<VersionRange>() else {
        return Some(format!("needs VS Code `{}`, which is not a range of versions", wants.escape_debug()));
    };
    let (editor, has) = editors.iter().find(|(_, has)| !range.contains(has))?;
    Some(format!("needs VS Code {wants}, and {editor} is {has}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_in_which_editor() {
        let editors = |versions: &[(&str, &str)]| -> Vec<(String, Number)> {
            versions.iter().map(|(name, version)| ((*name).to_owned(), version.parse().unwrap())).collect()
        };
        let two = editors(&[("`vscode-server`", "1.134.0"), ("`code-server`", "1.139.0")]);
        for (wants, why) in [
            (Some("^1.96.0"), None),
            (Some("*"), None),
            (None, None),
            (Some("^1.135.0"), Some("needs VS Code ^1.135.0, and `vscode-server` is 1.134.0")),
            (Some("^1.140.0"), Some("needs VS Code ^1.140.0, and `vscode-server` is 1.134.0")),
            (Some("next"), Some("needs VS Code `next`, which is not a range of versions")),
        ] {
            let engines = wants.map(|wants| ("vscode".to_owned(), wants.to_owned())).into_iter().collect();
            assert_eq!(unfit(&engines, &two).as_deref(), why, "{wants:?}");
        }
    }
}
