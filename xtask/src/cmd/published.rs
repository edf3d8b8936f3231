//! What is published, as far as a report says it: where tags point, as the registries say and as the ledger remembers.
//! Each destination is asked within a bound: a network that is down is told, not waited for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{StreamExt as _, stream};

use super::destinations::Target;
use crate::family::{Family, Image, Name};
use crate::oci::Digest;
use crate::plan;
use crate::publish::verify::newest_immutable;
use crate::publish::{State, View};
use crate::registry::{Access, Configured, Patience, Registry, RegistryError, Sources};
use crate::report::{Asked, Destination, PublishedTag};
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
    let Some(published) = image.published.as_ref().filter(|published| target.takes(published)) else { return Vec::new() };
    let repository = &target.repository;
    let of = |tag: String, moving| {
        let known = ledger.tags.get(&repository.tag(&tag).to_string());
        let set = known.filter(|known| matches!(known.line.state, State::Pushed | State::AlreadyThere));
        PublishedTag {
            variant: image.name.to_string(),
            moving,
            digest: None,
            remembered: set.map(|known| (known.line.digest, known.at.clone())),
            tag,
        }
    };
    let mut names = plan::published_tags(family, image, &family.build_date, "").moving;
    names.truncate(1 + published.aliases.len());
    let moving = names.into_iter().map(|tag| of(tag, true));
    let fixed = newest_immutable(ledger, &image.name, &[repository].into_iter().collect());
    moving.chain(fixed.into_iter().map(|tag| of(tag, false))).collect()
}

/// Asks every destination where its tags point.
pub(super) async fn ask(destinations: &mut [Destination], targets: &[Target], sources: &Sources) {
    let answers = join_all(destinations.iter().map(|destination| async {
        let target = targets.iter().find(|target| target.name == destination.name)?;
        let asking = tokio::time::timeout(PATIENCE, digests(target, &destination.tags, sources)).await;
        Some(asking.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs()))))
    }))
    .await;
    for (destination, answer) in destinations.iter_mut().zip(answers) {
        match answer {
            Some(Ok(found)) => {
                destination.asked = Asked::Answered;
                destination.tags.iter_mut().zip(found).for_each(|(tag, digest)| tag.digest = digest);
            }
            Some(Err(why)) => destination.asked = Asked::Failed { why },
            None => {}
        }
    }
}

async fn digests(target: &Target, tags: &[PublishedTag], sources: &Sources) -> Result<Vec<Option<Digest>>, String> {
    let registry = connect(target, sources).map_err(|error| told(&error))?;
    let asks = tags.iter().map(|tag| registry.digest(&tag.tag));
    let found: Vec<_> = stream::iter(asks).buffered(AT_ONCE).collect().await;
    found.into_iter().collect::<Result<_, RegistryError>>().map_err(|error| told(&error))
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
