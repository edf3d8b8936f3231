//! What is there to be tried: the images of a plan in the engine, what they promise, their layers, what is published of them.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;

use super::super::Session;
use super::super::contents::Library;
use super::super::prepare::Prepared;
use super::super::subject::{Finder, Place};
use super::Options;
use crate::build::Inventory;
use crate::engine::Engine;
use crate::failure::{Exit, Failure};
use crate::family::Family;
use crate::oci::Digest;
use crate::plan::{self, Plan, VariantPlan};
use crate::smoke::judge::PublishedSize;
use crate::smoke::{Choice, Promise, Subject};
use crate::store::Want;

/// How long a destination may take to tell what is published.
const LOOK_UP: Duration = Duration::from_secs(8);

/// An image that may be tried, before its layers are looked at.
pub(super) struct Candidate {
    pub(super) variant: VariantPlan,
    /// What people call it.
    pub(super) image: String,
    pub(super) want: Want,
    /// Its identity, where the engine knows images by that.
    pub(super) digest: Option<Digest>,
    /// What it has to show.
    pub(super) promise: Promise,
    pub(super) stands_in: bool,
}

/// What is there to be tried: the images that the plan built, or the one that stands in for one of them.
pub(super) async fn candidates(
    prepared: &Prepared,
    plan: &Plan,
    engine: &Engine,
    options: &Options,
) -> Result<Vec<Candidate>, Failure> {
    let candidate = async |variant: &VariantPlan, reference: &str, stands_in: bool| {
        candidate(prepared, plan, engine, variant, reference, stands_in).await
    };
    if let Some(image) = &options.image {
        let [variant] = plan.variants.as_slice() else {
            return Err(Failure::new(Exit::Usage, "`--image` stands in for one variant, and more are selected")
                .hint(format!("cargo xtask smoke --variant NAME --image {image}")));
        };
        let found = candidate(variant, image, true).await?;
        let none = || Failure::new(Exit::Missing, format!("the engine `{}` has no image `{image}`", engine.endpoint()));
        return known(vec![found.ok_or_else(none)?], &options.choice);
    }
    let inventory = Inventory::new(engine.images().await?);
    let (mut candidates, mut missing) = (Vec::new(), Vec::new());
    for variant in &plan.variants {
        let step = plan.step(&variant.finished).filter(|step| inventory.find(step).is_some());
        let published = options.published.get(&variant.name);
        let tag = published.map(|published| &published.tag).or_else(|| step?.stage.as_ref());
        let found = match tag {
            Some(tag) => candidate(variant, tag, false).await?,
            None => None,
        };
        let named = |found: Candidate| match published {
            Some(published) => Candidate { image: published.name.clone(), ..found },
            None => found,
        };
        let found = found.map(named);
        match found {
            Some(found) => candidates.push(found),
            None => missing.push(variant.name.to_string()),
        }
    }
    if missing.is_empty() {
        return known(candidates, &options.choice);
    }
    let flags: Vec<String> = missing.iter().map(|name| format!("--variant {name}")).collect();
    Err(Failure::new(Exit::Missing, format!("not built as variants.toml and the Dockerfiles are now: {}", missing.join(", ")))
        .hint(format!("cargo xtask build {} --profile {}", flags.join(" "), plan.profile)))
}

/// The candidates, unless somebody has chosen checks that none of them has.
fn known(candidates: Vec<Candidate>, choice: &Choice) -> Result<Vec<Candidate>, Failure> {
    let unmatched = choice.unmatched(candidates.iter().map(|candidate| &candidate.promise));
    let unmatched: Vec<String> = unmatched.into_iter().map(|pattern| format!("`{pattern}`")).collect();
    match unmatched.is_empty() {
        true => Ok(candidates),
        false => Err(Failure::new(Exit::Usage, format!("no check is called {}", unmatched.join(", nor ")))
            .hint("cargo xtask smoke --dry-run    lists the checks")),
    }
}

async fn candidate(
    prepared: &Prepared,
    plan: &Plan,
    engine: &Engine,
    variant: &VariantPlan,
    reference: &str,
    stands_in: bool,
) -> Result<Option<Candidate>, Failure> {
    let (Some(found), Some(config)) = (engine.inspect(reference).await?, engine.configuration(reference).await?) else {
        return Ok(None);
    };
    let promise = promised(&prepared.family, plan, variant, stands_in.then_some(&config.labels))?;
    let id = found.image.id.parse::<Digest>();
    let id = id.map_err(|error| Failure::new(Exit::Unexpected, "the engine's image id").source(error))?;
    let name = variant.local_tags.first().filter(|_| !stands_in).cloned();
    // An export names images as the engine lists them.
    let tag = found.image.tags.iter().find(|tag| *tag == reference).or(found.image.tags.first()).cloned();
    Ok(Some(Candidate {
        variant: variant.clone(),
        image: name.unwrap_or_else(|| reference.to_owned()),
        want: Want { name: tag.unwrap_or_else(|| reference.to_owned()), id },
        // Where containerd keeps the images, they are known by their manifests.
        digest: (!engine.info().containerd_store).then_some(id),
        promise,
        stands_in,
    }))
}

/// What a variant has to show. Nothing that is to be tried is passed over: where nothing says what would try it, that is told.
fn promised(
    family: &Family,
    plan: &Plan,
    variant: &VariantPlan,
    labels: Option<&BTreeMap<String, String>>,
) -> Result<Promise, Failure> {
    Promise::of(family, plan, variant, labels).ok_or_else(|| {
        let name = &variant.name;
        Failure::new(
            Exit::Unexpected,
            format!("the plan does not say how `{name}` is built, so that there is nothing to try it by"),
        )
        .hint(format!("cargo xtask plan --variant {name} --format json    shows the plan; this should not happen: tell us"))
    })
}

/// Reads the layers of what is to be tried, and looks up what is published of it.
pub(super) async fn subjects(
    session: &Session,
    prepared: &Prepared,
    candidates: &[Candidate],
    options: &Options,
) -> Result<Vec<Subject>, Failure> {
    if candidates.is_empty() {
        return Ok(Vec::new());
    }
    let finder = Finder::new(session, Some(&prepared.family), &options.destinations)?;
    let library = Library::open(session, prepared.family.compression)?;
    let wants: Vec<Want> = candidates.iter().map(|candidate| candidate.want.clone()).collect();
    let looking = candidates.iter().map(async |candidate| match options.choice.takes("growth") {
        true => published(prepared, &finder, candidate).await,
        false => Ok(None),
    });
    let (contents, published) = tokio::join!(library.of_engine(&finder, &wants), join_all(looking));
    let mut subjects = Vec::new();
    for ((candidate, contents), published) in candidates.iter().zip(contents?).zip(published) {
        let size = contents.layers.iter().map(|(_, size)| *size).sum::<Option<u64>>();
        subjects.push(Subject {
            promise: candidate.promise.clone(),
            image: candidate.image.clone(),
            // By its identity: a tag may move meanwhile.
            reference: candidate.want.id.to_string(),
            config_digest: contents.config_digest,
            config: contents.config,
            layers: contents.layers.into_iter().map(|(layer, _)| layer).collect(),
            compressed: size.ok_or_else(|| "its layers are not in the store of layers any more".to_owned()),
            published,
        });
    }
    Ok(subjects)
}

/// What the moving tag of a variant is in the first of its destinations that has one.
async fn published(prepared: &Prepared, finder: &Finder, candidate: &Candidate) -> Result<Option<PublishedSize>, String> {
    let image = prepared.family.images.get(&candidate.variant.name);
    let Some(image) = image else { return Ok(None) };
    let Some(published) = &image.published else { return Ok(None) };
    let moving = plan::published_tags(&prepared.family, image, &prepared.family.build_date, "").moving;
    let Some(tag) = moving.first() else { return Ok(None) };
    let mut reasons = Vec::new();
    for destination in finder.destinations_of(published) {
        let looked = tokio::time::timeout(LOOK_UP, finder.published(&destination, tag)).await;
        let late = |_| Err(format!("the destination `{destination}` does not answer within {} s", LOOK_UP.as_secs()));
        match looked.unwrap_or_else(late) {
            Ok(Some(subject)) => {
                let Place::Registry(stored) = &subject.place else { continue };
                let bytes = stored.layers.iter().map(|layer| layer.size).sum();
                return Ok(Some(PublishedSize { reference: subject.name, bytes }));
            }
            Ok(None) => {}
            Err(why) => reasons.push(why),
        }
    }
    if reasons.is_empty() { Ok(None) } else { Err(reasons.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::family::{SourceText, read};
    use crate::plan::{Built, Step, StepId, Work};

    #[test]
    fn what_no_plan_builds_is_not_passed_over() {
        let text = include_str!("../../../../variants.toml").to_owned();
        let family = read(&SourceText { name: String::new(), text }, &|_| true).expect("a family");
        let name = || "aws".parse().expect("a name");
        let finished = StepId::named("aws finished");
        let variant = VariantPlan {
            name: name(),
            finished: finished.clone(),
            local_tags: Vec::new(),
            destinations: [].into(),
            omitted: Vec::new(),
        };
        let built = Built {
            image: "aws.finished".to_owned(),
            context: String::new(),
            target: None,
            parent: finished.clone(),
            args: [].into(),
            labels: [("a".to_owned(), "b".to_owned())].into(),
            secrets: [].into(),
            entrypoint: true,
        };
        let step = |work| Step { id: finished.clone(), stage: None, input: Digest::of("input"), needs: Vec::new(), work };
        let plan = |steps| Plan {
            schema: 1,
            family: family.name.clone(),
            profile: name(),
            platform: "linux/amd64".parse().expect("a platform"),
            build_date: family.build_date.clone(),
            steps,
            variants: vec![variant.clone()],
            warnings: Vec::new(),
        };
        let promise = promised(&family, &plan(vec![step(Work::Build(built))]), &variant, None).expect("a promise");
        assert_eq!(promise.labels.get("a").map(String::as_str), Some("b"));
        for steps in [Vec::new(), vec![step(Work::Entrypoint)]] {
            let failure = promised(&family, &plan(steps), &variant, None).expect_err("no promise");
            assert_eq!(failure.exit, Exit::Unexpected);
            assert!(failure.message.contains("how `aws` is built, so that there is nothing to try it by"), "{}", failure.message);
            assert!(failure.hint.is_some());
        }
    }
}
