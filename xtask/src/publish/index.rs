//! Families of several platforms: every machine publishes its own platform under tags that end in the architecture; whoever
//! finds the last one missing there makes the index of all, and only that gets the tags that people know.
//! The same members make the same bytes, so it does not matter who it is.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::ledger::Ledger;
use super::plan::{Delivery, TagKind};
use super::refusal::Refusal;
use super::release::{TagPreview, tag_previews};
use super::survey::{Survey, look_at};
use super::tagging::{self, Journal, PublishedTag, Subject, Target};
use super::{Failed, PublishError, Registries};
use crate::event::{Event, Events};
use crate::family::Name;
use crate::oci::{Digest, Platform, media_type};
use crate::plan::INPUT;
use crate::store::Manifest;

/// A variant of several platforms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexRelease {
    /// Its name.
    pub variant: Name,
    /// Every platform of it.
    pub platforms: Vec<Platform>,
    /// Where it goes, with the tags of the index.
    pub destinations: Vec<Delivery>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PublishedIndex {
    /// The variant.
    pub variant: Name,
    /// The index; none as long as a platform is missing.
    pub digest: Option<Digest>,
    /// Platforms that are not published yet.
    pub missing: Vec<Platform>,
    /// Its tags, in every destination.
    pub tags: Vec<PublishedTag>,
}

/// The immutable tag of one platform: `aws-2026.11.20-3f2c1ab-arm64`.
pub fn member_tag(tag: &str, platform: Platform) -> String {
    format!("{tag}-{}", platform.arch())
}

/// What an index is made of: what a member's manifest says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    platform: Platform,
    digest: Digest,
    size: u64,
    annotations: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Index<'a> {
    schema_version: u32,
    media_type: &'a str,
    manifests: Vec<Entry<'a>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: BTreeMap<&'a str, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    media_type: &'a str,
    digest: Digest,
    size: u64,
    platform: EntryPlatform<'a>,
}

#[derive(Serialize)]
struct EntryPlatform<'a> {
    architecture: &'a str,
    os: &'a str,
}

#[derive(Deserialize)]
struct Annotated {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// The index of `members`. Annotations are those that all agree about, and the digest of all inputs.
fn index(members: &[Member]) -> Result<Manifest, serde_json::Error> {
    let mut annotations: BTreeMap<&str, String> = BTreeMap::new();
    if let Some((first, others)) = members.split_first() {
        let agreed =
            first.annotations.iter().filter(|(key, value)| others.iter().all(|other| other.annotations.get(*key) == Some(value)));
        annotations.extend(agreed.map(|(key, value)| (key.as_str(), value.clone())));
    }
    let inputs: Option<Vec<&str>> = members.iter().map(|member| member.annotations.get(INPUT).map(String::as_str)).collect();
    annotations.remove(INPUT);
    if let Some(inputs) = inputs {
        annotations.insert(INPUT, Digest::of(inputs.join("\n")).to_string());
    }
    let manifests = members.iter().map(|member| Entry {
        media_type: media_type::MANIFEST,
        digest: member.digest,
        size: member.size,
        platform: EntryPlatform { architecture: member.platform.arch(), os: member.platform.os() },
    });
    let index = Index { schema_version: 2, media_type: media_type::INDEX, manifests: manifests.collect(), annotations };
    let bytes = Bytes::from(serde_json::to_vec(&index)?);
    Ok(Manifest { digest: Digest::of(&bytes), bytes, media_type: media_type::INDEX })
}

/// What is to be tagged.
struct Ready<'a> {
    release: &'a IndexRelease,
    manifest: Manifest,
}

/// Makes and tags the index of every variant whose platforms are all published in all of its destinations.
///
/// # Errors
/// As a release's: whether nothing or some of the tags were set. Tags that end in an architecture are not counted.
pub async fn complete(
    releases: &[IndexRelease],
    registries: &Registries,
    ledger: &mut Ledger,
    events: &Events,
) -> Result<Vec<PublishedIndex>, PublishError> {
    let (mut ready, mut published, mut refusals, mut failures) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for release in releases {
        let found = join_all(release.platforms.iter().map(|platform| member(release, *platform, registries))).await;
        let (mut members, mut missing) = (Vec::new(), Vec::new());
        for (platform, found) in release.platforms.iter().zip(found) {
            match found {
                Ok(Some(member)) => members.push(member),
                Ok(None) => missing.push(*platform),
                Err(Trouble::Refused(refusal)) => refusals.push(refusal),
                Err(Trouble::Failed(failed)) => failures.push(failed),
            }
        }
        if !missing.is_empty() {
            let names = missing.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let text = format!("`{}` gets its tags when {names} is published, too: push on such a machine", release.variant);
            events.emit(Event::Note { text });
            let (variant, digest, tags) = (release.variant.clone(), None, Vec::new());
            published.push(PublishedIndex { variant, digest, missing, tags });
        } else if members.len() == release.platforms.len() {
            members.sort_by_key(|member| member.platform);
            let manifest = index(&members).map_err(|error| crate::store::StoreError::Format { why: error.to_string() })?;
            ready.push(Ready { release, manifest });
        }
    }
    match (refusals.is_empty(), failures.is_empty()) {
        (false, _) => return Err(PublishError::Refused { refusals }),
        (_, false) => return Err(PublishError::Untagged { failures }),
        _ => {}
    }
    let survey = survey(&ready, registries, ledger).await?;
    published.extend(tag(&ready, &survey, registries, ledger, events).await?);
    Ok(published)
}

/// Where the tags point now, unless an immutable one points to something else.
async fn survey(ready: &[Ready<'_>], registries: &Registries, ledger: &Ledger) -> Result<Survey, PublishError> {
    let deliveries: Vec<&Delivery> = ready.iter().flat_map(|ready| &ready.release.destinations).collect();
    let survey = look_at(&deliveries, registries).await?;
    tagging::refuse_taken(&targets(ready, registries)?, &survey, ledger)?;
    Ok(survey)
}

/// Writes the indexes and sets their tags.
async fn tag(
    ready: &[Ready<'_>],
    survey: &Survey,
    registries: &Registries,
    ledger: &mut Ledger,
    events: &Events,
) -> Result<Vec<PublishedIndex>, PublishError> {
    let targets = targets(ready, registries)?;
    put(&targets).await?;
    let mut journal = Journal::open(ledger, &targets, events)?;
    for kind in [TagKind::Immutable, TagKind::Moving] {
        tagging::set(&targets, kind, survey, &mut journal).await?;
    }
    tagging::check(&targets, &journal).await?;
    let mut tags = journal.into_tags();
    let published = ready.iter().map(|Ready { release, manifest }| {
        let wanted = release.destinations.iter().flat_map(|to| to.tags.iter().map(move |tag| to.repository.tag(&tag.name)));
        let tags = wanted.filter_map(|reference| tags.remove(&reference.to_string())).collect();
        PublishedIndex { variant: release.variant.clone(), digest: Some(manifest.digest), missing: Vec::new(), tags }
    });
    Ok(published.collect())
}

/// An index in a dry run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct IndexPreview {
    /// The variant.
    pub variant: Name,
    /// What it has images for.
    pub platforms: Vec<Platform>,
    /// Its digest.
    pub digest: Digest,
    /// Its tags, in every destination.
    pub tags: Vec<TagPreview>,
}

/// The tags of an index that is published already, and where they point now. What a dry run shows, and what is carried out once its
/// images are in every destination.
#[derive(Debug)]
pub struct GivenIndex {
    release: IndexRelease,
    manifest: Manifest,
    survey: Survey,
}

impl GivenIndex {
    /// Looks at the destinations.
    ///
    /// # Errors
    /// An immutable tag points elsewhere, or a destination cannot be asked.
    pub async fn decide(
        release: IndexRelease,
        manifest: Manifest,
        registries: &Registries,
        ledger: &Ledger,
    ) -> Result<Self, PublishError> {
        let ready = Ready { release: &release, manifest };
        let survey = survey(std::slice::from_ref(&ready), registries, ledger).await?;
        let manifest = ready.manifest;
        Ok(Self { release, manifest, survey })
    }

    /// As it is shown.
    pub fn preview(&self) -> IndexPreview {
        let IndexRelease { variant, platforms, destinations } = &self.release;
        let digest = self.manifest.digest;
        let tags = tag_previews(destinations, &self.survey, Some(digest)).collect();
        IndexPreview { variant: variant.clone(), platforms: platforms.clone(), digest, tags }
    }

    /// Writes the index everywhere and sets its tags.
    ///
    /// # Errors
    /// As a release's: whether nothing or some of the tags were set.
    pub async fn carry_out(
        &self,
        registries: &Registries,
        ledger: &mut Ledger,
        events: &Events,
    ) -> Result<Vec<PublishedIndex>, PublishError> {
        let ready = [Ready { release: &self.release, manifest: self.manifest.clone() }];
        tag(&ready, &self.survey, registries, ledger, events).await
    }
}

enum Trouble {
    Refused(Refusal),
    Failed(Failed),
}

/// A platform's image, as all destinations have it; none where one lacks it.
async fn member(release: &IndexRelease, platform: Platform, registries: &Registries) -> Result<Option<Member>, Trouble> {
    let mut known: Option<(String, Digest)> = None;
    let mut member = None;
    for delivery in &release.destinations {
        let Some(tag) = delivery.tags.iter().find(|tag| tag.kind == TagKind::Immutable) else { return Ok(None) };
        let Some(registry) = registries.get(&delivery.repository) else { return Ok(None) };
        let name = member_tag(&tag.name, platform);
        let reference = delivery.repository.tag(&name).to_string();
        let failed = |error| Trouble::Failed(Failed { destination: delivery.destination.clone(), error });
        let Some(found) = registry.manifest(&name).await.map_err(failed)? else { return Ok(None) };
        match &known {
            Some((other, wanted)) if *wanted != found.digest => {
                let (other, wanted, found) = (other.clone(), *wanted, found.digest);
                return Err(Trouble::Refused(Refusal::Split { tag: reference, found, other, wanted, remembered: None }));
            }
            Some(_) => {}
            None => {
                let annotated = serde_json::from_slice::<Annotated>(&found.bytes);
                let annotations = annotated.map(|annotated| annotated.annotations).unwrap_or_default();
                let size = found.bytes.len() as u64;
                member = Some(Member { platform, digest: found.digest, size, annotations });
                known = Some((reference, found.digest));
            }
        }
    }
    Ok(member)
}

fn targets<'a>(ready: &'a [Ready<'a>], registries: &'a Registries) -> Result<Vec<Target<'a>>, PublishError> {
    let mut targets = Vec::new();
    for Ready { release, manifest } in ready {
        for delivery in &release.destinations {
            let Some(registry) = registries.get(&delivery.repository) else {
                return Err(super::execute::no_client(&delivery.destination));
            };
            let subject = Subject { variant: &release.variant, platform: None, manifest, image: None };
            targets.push(Target { subject, delivery, registry });
        }
    }
    Ok(targets)
}

/// Writes the indexes by their digests, everywhere, and reads them back.
async fn put(targets: &[Target<'_>]) -> Result<(), PublishError> {
    let puts = targets.iter().map(|target| async move {
        let manifest = target.subject.manifest;
        let put = target.registry.put_manifest(&manifest.bytes, manifest.media_type).await;
        put.err().map(|error| Failed { destination: target.delivery.destination.clone(), error })
    });
    let failures: Vec<_> = join_all(puts).await.into_iter().flatten().collect();
    if failures.is_empty() { Ok(()) } else { Err(PublishError::Untagged { failures }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(platform: Platform, annotations: &[(&str, &str)]) -> Member {
        let annotations = annotations.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Member { platform, digest: Digest::of(platform.arch()), size: 7, annotations }
    }

    #[test]
    fn an_index_says_what_its_members_agree_about() {
        let members = [
            member(Platform::LinuxAmd64, &[("a", "1"), ("b", "2"), (INPUT, "x")]),
            member(Platform::LinuxArm64, &[("a", "1"), ("b", "3"), (INPUT, "y")]),
        ];
        let manifest = index(&members).expect("an index");
        let entry = |arch: &str| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{}","size":7,"platform":{{"architecture":"{arch}","os":"linux"}}}}"#,
                Digest::of(arch)
            )
        };
        let expected = format!(
            r#"{{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{},{}],"annotations":{{"a":"1","{INPUT}":"{}"}}}}"#,
            entry("amd64"),
            entry("arm64"),
            Digest::of("x\ny")
        );
        assert_eq!(manifest.bytes, expected);
        assert_eq!(manifest.digest, Digest::of(expected));
    }

    #[test]
    fn a_platform_has_a_tag_of_its_own() {
        assert_eq!(member_tag("aws-2026.11.20-3f2c1ab", Platform::LinuxArm64), "aws-2026.11.20-3f2c1ab-arm64");
    }
}
