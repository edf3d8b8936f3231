//! What is published, as far as a report says it: where tags point, as the registries say and as the ledger remembers.
//! Each destination is asked within a bound: a network that is down is told, not waited for.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};
use serde::Deserialize;

use super::destinations::Target;
use crate::family::{Family, Image, Name};
use crate::oci::Digest;
use crate::plan;
use crate::publish::verify::newest_immutable;
use crate::publish::{State, View};
use crate::registry::{Access, Configured, Patience, Registry, RegistryError, Sources};
use crate::report::{Asked, Destination, PublishedTag, Says};
use crate::retry::{Policy, SystemClock};

/// For one destination, everything included.
const PATIENCE: Duration = Duration::from_secs(20);
/// For one answer.
const ANSWER: Duration = Duration::from_secs(8);
/// Questions at the same time.
const AT_ONCE: usize = 8;
/// One more attempt, soon: somebody waits for the page.
const POLICY: Policy =
    Policy { attempts: 2, base: Duration::from_millis(300), cap: Duration::from_secs(1), total: Duration::from_secs(8) };

/// What an image says its version is. (OCI image specification, "Annotations")
const VERSION: &str = "org.opencontainers.image.version";

/// The destinations with the tags of these variants, as the ledger remembers them.
pub(super) fn remembered(family: &Family, variants: &[Name], targets: &[Target], ledger: &View) -> Vec<Destination> {
    let one = |target: &Target| Destination {
        name: target.name.clone(),
        repository: target.repository.to_string(),
        asked: Asked::NotAsked,
        tags: variants
            .iter()
            .filter_map(|name| family.images.get(name))
            .flat_map(|image| tags(family, image, target, ledger))
            .collect(),
    };
    targets.iter().map(one).collect()
}

/// The tags of a variant that move, and the immutable ones of its newest release.
fn tags(family: &Family, image: &Image, target: &Target, ledger: &View) -> Vec<PublishedTag> {
    if !image.published.as_ref().is_some_and(|published| target.takes(published)) {
        return Vec::new();
    }
    let repository = &target.repository;
    let of = |tag: String, moving| {
        let known = ledger.tags.get(&repository.tag(&tag).to_string());
        let set = known.filter(|known| matches!(known.line.state, State::Pushed | State::AlreadyThere));
        PublishedTag {
            variant: image.name.to_string(),
            moving,
            digest: None,
            says: None,
            remembered: set.map(|known| (known.line.digest, known.at.clone())),
            tag,
        }
    };
    let moving = plan::published_tags(family, image, &family.build_date, "").moving.into_iter().map(|tag| of(tag, true));
    let fixed = newest_immutable(ledger, &image.name, &[repository].into_iter().collect());
    moving.chain(fixed.into_iter().map(|tag| of(tag, false))).collect()
}

/// Asks every destination where its tags point, and what the images there say of themselves.
pub(super) async fn ask(destinations: &mut [Destination], targets: &[Target], sources: &Sources) {
    let answers = join_all(destinations.iter().map(|destination| async {
        let target = targets.iter().find(|target| target.name == destination.name)?;
        let asking = tokio::time::timeout(PATIENCE, answers(target, &destination.tags, sources)).await;
        Some(asking.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs()))))
    }))
    .await;
    for (destination, answer) in destinations.iter_mut().zip(answers) {
        match answer {
            Some(Ok((found, said))) => {
                destination.asked = Asked::Answered;
                for (tag, digest) in destination.tags.iter_mut().zip(found) {
                    tag.digest = digest;
                    tag.says = digest.and_then(|digest| said.get(&digest).cloned());
                }
            }
            Some(Err(why)) => destination.asked = Asked::Failed { why },
            None => {}
        }
    }
}

type Answers = (Vec<Option<Digest>>, BTreeMap<Digest, Says>);

async fn answers(target: &Target, tags: &[PublishedTag], sources: &Sources) -> Result<Answers, String> {
    let registry = connect(target, sources).map_err(|error| told(&error))?;
    let asks = tags.iter().map(|tag| registry.digest(&tag.tag));
    let found: Vec<_> = stream::iter(asks).buffered(AT_ONCE).collect().await;
    let found: Vec<Option<Digest>> = found.into_iter().collect::<Result<_, RegistryError>>().map_err(|error| told(&error))?;
    let digests: BTreeSet<Digest> = found.iter().flatten().copied().collect();
    let asks = digests.into_iter().map(|digest| {
        let registry = &registry;
        async move { Some((digest, says(&registry.manifest(&digest.to_string()).await.ok()??.bytes)?)) }
    });
    let said: Vec<_> = stream::iter(asks).buffered(AT_ONCE).collect().await;
    Ok((found, said.into_iter().flatten().collect()))
}

#[derive(Deserialize)]
struct Manifest {
    annotations: BTreeMap<String, String>,
    layers: Vec<Layer>,
}

#[derive(Deserialize)]
struct Layer {
    size: u64,
}

/// What a manifest says of its image; none: an index, or an image of somebody else's.
fn says(manifest: &[u8]) -> Option<Says> {
    let Manifest { mut annotations, layers } = serde_json::from_slice(manifest).ok()?;
    // What a registry says may be any number.
    let packed = layers.iter().map(|layer| layer.size).fold(0, u64::saturating_add);
    Some(Says { version: annotations.remove(VERSION)?, revision: annotations.remove(plan::REVISION), packed })
}

fn connect(target: &Target, sources: &Sources) -> Result<Registry, RegistryError> {
    let identity = Arc::new(Configured::new(sources.clone(), target.repository.registry()));
    let clock = Arc::new(SystemClock::default());
    let client = Registry::identified(&target.repository, target.insecure, Access::Pull, identity, POLICY, clock)?;
    Ok(client.patient(Patience { answer: ANSWER, blob: ANSWER }))
}

/// An error with its causes.
fn told(error: &RegistryError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_manifests_say_of_their_images() {
        let image = r#"{"annotations":{"org.opencontainers.image.version":"2026.11.20","org.opencontainers.image.revision":"3f2c1ab"},
            "layers":[{"size":5},{"size":6}]}"#;
        let says_of = |version: &str, revision: Option<&str>| {
            Some(Says { version: version.to_owned(), revision: revision.map(str::to_owned), packed: 11 })
        };
        for (manifest, said) in [
            (image.to_owned(), says_of("2026.11.20", Some("3f2c1ab"))),
            (image.replace("image.revision", "image.other"), says_of("2026.11.20", None)),
            (image.replace("image.version", "image.other"), None),
            (
                image.replace(":5}", ":18446744073709551615}"),
                Some(Says { packed: u64::MAX, ..says_of("2026.11.20", Some("3f2c1ab")).expect("said") }),
            ),
            (r#"{"manifests":[]}"#.to_owned(), None),
            ("torn".to_owned(), None),
        ] {
            assert_eq!(says(manifest.as_bytes()), said, "{manifest}");
        }
    }
}
