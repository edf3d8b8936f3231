//! What is published of each variant: what the engine has, or what a registry holds already. Pure.

use std::collections::BTreeSet;

use serde::Serialize;

use super::Refusal;
use super::ledger::View;
use super::plan::{Delivery, ReleasePlan, Tag, TagKind, VariantRelease, forbidden};
use super::refusal::Wanted;
use super::survey::Survey;
use crate::family::Name;
use crate::oci::Digest;

/// What is published, and why this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "because")]
pub enum Choice {
    /// The engine's image: nothing that a destination holds was built from the same.
    Built,
    /// This release's immutable tag is there already, of the same input: what it points to goes everywhere else.
    Adopted {
        /// The tag.
        tag: String,
        /// What it points to.
        digest: Digest,
    },
    /// What is published was built from the same: it keeps its digest.
    Unchanged {
        /// A tag that points to it.
        tag: String,
        /// What it points to.
        digest: Digest,
    },
    /// Not built here, but the ledger knows what was under way, and a destination holds it.
    Resumed {
        /// What was under way.
        digest: Digest,
    },
    /// Asked for, whatever it was built from.
    Given {
        /// As it was asked for: a tag or digest.
        reference: String,
        /// What that is.
        digest: Digest,
    },
}

impl Choice {
    /// The manifest, where a registry holds it.
    pub fn digest(&self) -> Option<Digest> {
        match self {
            Self::Built => None,
            Self::Adopted { digest, .. }
            | Self::Unchanged { digest, .. }
            | Self::Resumed { digest }
            | Self::Given { digest, .. } => Some(*digest),
        }
    }
}

/// Why nothing can be decided.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Undecided {
    /// What is forbidden.
    pub(super) refusals: Vec<Refusal>,
    /// Variants that are neither built nor published.
    pub(super) missing: Vec<Name>,
}

/// What is decided by.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rules {
    /// What is published counts only where an immutable tag of this release points to it.
    pub(super) force: bool,
    /// What is neither built nor published is going to be built.
    pub(super) building: bool,
}

/// Decides for every variant of the plan, in its order.
///
/// # Errors
/// Everything that forbids the release.
pub(super) fn decide(plan: &ReleasePlan, survey: &Survey, ledger: &View, rules: Rules) -> Result<Vec<Choice>, Undecided> {
    let mut undecided = Undecided::default();
    let mut choices: Vec<Option<Choice>> = Vec::new();
    for release in plan.variants() {
        choices.push(match taken(release, survey, ledger) {
            Err(refusals) => {
                undecided.refusals.extend(refusals);
                None
            }
            Ok(Some(adopted)) => Some(adopted),
            Ok(None) => untaken(release, survey, ledger, rules).or_else(|| {
                undecided.missing.push(release.variant.clone());
                None
            }),
        });
    }
    if undecided != Undecided::default() {
        return Err(undecided);
    }
    let mut choices: Vec<Choice> = choices.into_iter().flatten().collect();
    keep_families_together(plan, survey, &mut choices);
    for (release, choice) in plan.variants().iter().zip(&choices) {
        let image = choice.digest().and_then(|digest| survey.image(digest, release.input));
        for delivery in &release.destinations {
            let labels = image.map(|image| &image.labels);
            undecided.refusals.extend(labels.into_iter().flat_map(|labels| forbidden(&release.variant, labels, delivery)));
        }
        if let (Some(tested), Some(image)) = (release.config_digest, image)
            && tested != image.config_digest
        {
            let (image, found) = (image.manifest.digest.to_string(), image.config_digest);
            undecided.refusals.push(Refusal::OtherImage { image, found, tested });
        }
    }
    if undecided.refusals.is_empty() { Ok(choices) } else { Err(undecided) }
}

fn tags(release: &VariantRelease, kind: TagKind) -> impl Iterator<Item = (&Delivery, &Tag)> {
    let tags = release.destinations.iter().flat_map(|to| to.tags.iter().map(move |tag| (to, tag)));
    tags.filter(move |(_, tag)| tag.kind == kind)
}

fn reference((to, tag): (&Delivery, &Tag)) -> String {
    to.repository.tag(&tag.name).to_string()
}

/// What the immutable tags of the release leave no choice about.
fn taken(release: &VariantRelease, survey: &Survey, ledger: &View) -> Result<Option<Choice>, Vec<Refusal>> {
    let there = tags(release, TagKind::Immutable).filter_map(|at| Some((reference(at), survey.tag(at.0, &at.1.name)?)));
    let there: Vec<(String, Digest)> = there.collect();
    let usable = |digest: &Digest| survey.image(*digest, release.input).is_some();
    // Where several differ, what this release is built from is right.
    let Some((tag, digest)) = there.iter().find(|(_, digest)| usable(digest)).or(there.first()) else { return Ok(None) };
    let remembered = |tag: &String| ledger.tags.get(tag).cloned();
    let (wanted, mut refusals) = (wanted(release), Vec::new());
    for (other, found) in &there {
        let (tag_there, found, remembered) = (other.clone(), *found, remembered(other));
        if !usable(&found) {
            refusals.push(Refusal::Taken { tag: tag_there, found, wanted, remembered });
        } else if found != *digest {
            refusals.push(Refusal::Split { tag: tag_there, found, other: tag.clone(), wanted: *digest, remembered });
        }
    }
    match refusals.is_empty() {
        true => Ok(Some(Choice::Adopted { tag: tag.clone(), digest: *digest })),
        false => Err(refusals),
    }
}

/// What the release would publish, as far as it can be told before it is compressed.
fn wanted(release: &VariantRelease) -> Wanted {
    match &release.built {
        Some(built) => built.manifest.map_or(Wanted::Image(built.want.id), Wanted::Manifest),
        None => Wanted::Input(release.input),
    }
}

fn untaken(release: &VariantRelease, survey: &Survey, ledger: &View, rules: Rules) -> Option<Choice> {
    let mut moving = tags(release, TagKind::Moving).filter_map(|at| {
        let digest = survey.tag(at.0, &at.1.name).filter(|digest| survey.image(*digest, release.input).is_some())?;
        Some(Choice::Unchanged { tag: reference(at), digest })
    });
    let unchanged = moving.next().filter(|_| !rules.force);
    let known = unchanged.or_else(|| release.built.as_ref().map(|_| Choice::Built)).or_else(|| {
        let line = ledger.images.get(&(release.variant.clone(), release.platform))?;
        survey.image(line.digest, release.input).map(|_| Choice::Resumed { digest: line.digest })
    });
    known.or_else(|| rules.building.then_some(Choice::Built))
}

/// A child that is published anew sits on its parent as the engine has it. Where the published parent has other layers
/// (built on another machine, with other times in them), the parent is published anew as well, and so are the others that
/// sit on it: else nobody could tell what sits on what. Immutable tags keep what they have.
fn keep_families_together(plan: &ReleasePlan, survey: &Survey, choices: &mut [Choice]) {
    let differs = |release: &VariantRelease, choice: &Choice| {
        let Choice::Unchanged { digest, .. } = choice else { return false };
        let published = survey.image(*digest, release.input).map(|image| &image.diff_ids);
        release.built.as_ref().is_some_and(|built| Some(&built.diff_ids) != published)
    };
    loop {
        let releases = || plan.variants().iter().zip(choices.iter());
        let anew: BTreeSet<&Name> = releases().filter(|(_, is)| **is == Choice::Built).map(|(of, _)| &of.variant).collect();
        let of_anew = releases().filter(|(of, _)| anew.contains(&of.variant));
        let parents: BTreeSet<&Name> = of_anew.flat_map(|(of, _)| &of.ancestors).collect();
        let torn = |of: &VariantRelease| parents.contains(&of.variant) || of.ancestors.iter().any(|name| anew.contains(name));
        let Some(place) = releases().position(|(of, is)| differs(of, is) && torn(of)) else { return };
        if let Some(choice) = choices.get_mut(place) {
            *choice = Choice::Built;
        }
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
