//! A release that is decided: which image each variant is, what is missing where, where every tag points now and where it
//! will. This value is shown by a dry run, and carried out otherwise.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::{self, Write as _};

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Serialize;

use super::attach::{AttachmentPlan, AttachmentPreview, Describe, Looking, Scope, Untrue, plan as plan_attachments};
use super::decide::{Choice, Rules, Undecided, decide};
use super::image::{Image, annotations};
use super::index::IndexPreview;
use super::ledger::View;
use super::plan::{Delivery, ReleasePlan, TagKind, VariantRelease};
use super::survey::{Survey, survey};
use super::{Failed, PublishError, Registries};
use crate::oci::{Digest, Platform, Repository};
use crate::store::{Blobs, Compression};

/// Questions to one destination at the same time.
const AT_ONCE: usize = 8;

/// A release that is decided.
#[derive(Debug)]
pub struct Release {
    /// Every variant.
    pub items: Vec<Item>,
    /// What the destinations held when it was decided.
    pub survey: Survey,
    /// Per repository: the known blobs of its images that it lacks.
    pub missing: BTreeMap<Repository, HashSet<Digest>>,
    /// Per repository: the known blobs of its images that it has.
    pub there: BTreeMap<Repository, HashSet<Digest>>,
    /// SBOMs that are there and do not tell what is in their images.
    pub untrue: Vec<Untrue>,
}

/// One variant of it.
#[derive(Debug)]
pub struct Item {
    /// What was asked for.
    pub release: VariantRelease,
    /// What is published.
    pub choice: Choice,
    /// The image; none where its layers have to be compressed first.
    pub image: Option<Image>,
    /// What is to be attached to it; none where its manifest is not known yet.
    pub attachments: Option<Vec<AttachmentPlan>>,
}

/// What a release is decided from, beside its plan.
pub struct Circumstances<'a> {
    /// A client for every repository.
    pub registries: &'a Registries,
    /// What the ledger says of this release.
    pub ledger: &'a View,
    /// Layers that are compressed already.
    pub blobs: &'a Blobs,
    /// How layers are compressed.
    pub compression: Compression,
    /// Publish what the engine has, even where the same is published.
    pub force: bool,
    /// What is neither built nor published is going to be built.
    pub building: bool,
    /// Who makes SBOMs; none: images get none.
    pub describe: Option<&'a dyn Describe>,
}

impl Release {
    /// Looks at the destinations and decides.
    ///
    /// # Errors
    /// A destination cannot be asked, a policy forbids it, or a variant is neither built nor published. Nothing was sent.
    pub async fn decide(mut plan: ReleasePlan, at: &Circumstances<'_>) -> Result<Self, PublishError> {
        let mut known = Vec::new();
        for release in plan.variants_mut() {
            let image = match &mut release.built {
                Some(built) => match at.blobs.known(&built.want.name, built.want.id, &at.compression) {
                    Some(exported) => {
                        let image = Image::exported(&exported, &annotations(&built.labels))?;
                        built.manifest = Some(image.manifest.digest);
                        Some(image)
                    }
                    None => None,
                },
                None => None,
            };
            known.push(image);
        }
        let survey = survey(&plan, at.registries, at.ledger).await?;
        let rules = Rules { force: at.force, building: at.building };
        let choices = decide(&plan, &survey, at.ledger, rules).map_err(|Undecided { refusals, missing }| {
            if refusals.is_empty() { PublishError::Missing { variants: missing } } else { PublishError::Refused { refusals } }
        })?;
        let items = plan.into_variants().into_iter().zip(choices).zip(known).map(|((release, choice), known)| {
            let image = match choice.digest() {
                Some(digest) => survey.image(digest, release.input).cloned(),
                None => known,
            };
            Item { release, choice, image, attachments: None }
        });
        let mut release = Self::of(items.collect(), survey);
        release.look_for_blobs(at.registries).await?;
        let scope = if at.describe.is_some() { Scope::Sboms } else { Scope::Nothing };
        let looking = Looking { scope, describe: at.describe, own: &at.ledger.attached() };
        release.look_for_attachments(looking, &BTreeSet::new(), at.registries).await?;
        Ok(release)
    }

    /// Of which nothing is known yet at the destinations.
    pub(super) fn of(items: Vec<Item>, survey: Survey) -> Self {
        Self { items, survey, missing: BTreeMap::new(), there: BTreeMap::new(), untrue: Vec::new() }
    }

    /// Looks for every known blob at every destination.
    pub(super) async fn look_for_blobs(&mut self, registries: &Registries) -> Result<(), PublishError> {
        let mut wanted: BTreeMap<&Repository, (String, BTreeMap<Digest, u64>)> = BTreeMap::new();
        for (item, delivery) in self.deliveries() {
            let entry = wanted.entry(&delivery.repository).or_insert_with(|| (delivery.destination.clone(), BTreeMap::new()));
            if self.holds(delivery, item) {
                continue;
            }
            entry.1.extend(item.image.iter().flat_map(Image::blobs).map(|blob| (blob.digest, blob.size)));
        }
        let asks = wanted.into_iter().filter_map(|(repository, (destination, digests))| {
            let registry = registries.get(repository)?;
            Some(async move {
                let one = async |(digest, size)| {
                    Ok::<_, crate::registry::RegistryError>((digest, registry.holds_blob(digest, size).await?))
                };
                let found = stream::iter(digests).map(one).buffer_unordered(AT_ONCE).try_collect::<Vec<_>>().await;
                (repository.clone(), destination, found)
            })
        });
        let (mut missing, mut there, mut failures) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for (repository, destination, found) in futures_util::future::join_all(asks).await {
            match found {
                Ok(found) => {
                    let with = |wanted| found.iter().filter(move |(_, is)| *is == wanted).map(|(digest, _)| *digest).collect();
                    missing.insert(repository.clone(), with(false));
                    there.insert(repository, with(true));
                }
                Err(error) => failures.push(Failed { destination, error }),
            }
        }
        (self.missing, self.there) = (missing, there);
        if failures.is_empty() { Ok(()) } else { Err(PublishError::Untagged { failures }) }
    }

    /// Looks at what is attached to every known image; repositories beside the destinations are asked `also`.
    pub(super) async fn look_for_attachments(
        &mut self,
        looking: Looking<'_>,
        also: &BTreeSet<Repository>,
        registries: &Registries,
    ) -> Result<(), PublishError> {
        for item in &mut self.items {
            if let Some(image) = &item.image {
                let (planned, untrue) = plan_attachments(item, image, looking, also, registries).await?;
                item.attachments = Some(planned);
                self.untrue.extend(untrue);
            } else if looking.scope == Scope::Nothing {
                item.attachments = Some(Vec::new());
            }
        }
        Ok(())
    }

    /// Every variant at every destination.
    pub(super) fn deliveries(&self) -> impl Iterator<Item = (&Item, &Delivery)> {
        self.items.iter().flat_map(|item| item.release.destinations.iter().map(move |delivery| (item, delivery)))
    }

    /// Whether a tag of this repository points to the image: then its registry has all of it, or would not have taken it.
    pub(super) fn holds(&self, delivery: &Delivery, item: &Item) -> bool {
        let digest = item.image.as_ref().map(|image| image.manifest.digest);
        let found = digest.and_then(|digest| self.survey.found.get(&digest));
        found.is_some_and(|found| found.holders.contains(&delivery.repository))
    }

    /// As it is shown.
    pub fn preview(&self) -> Preview {
        let mut transfers: BTreeMap<&Repository, Transfer> = BTreeMap::new();
        let (mut seen, mut layers) = (HashSet::new(), HashSet::new());
        for (item, delivery) in self.deliveries() {
            let repository = &delivery.repository;
            let transfer = transfers.entry(repository).or_insert_with(|| Transfer {
                destination: delivery.destination.clone(),
                repository: repository.clone(),
                ..Transfer::empty(repository)
            });
            for blob in item.image.iter().flat_map(Image::blobs).filter(|blob| seen.insert((repository, blob.digest))) {
                if self.missing.get(repository).is_some_and(|missing| missing.contains(&blob.digest)) {
                    transfer.send += 1;
                    transfer.bytes += blob.size;
                } else {
                    transfer.there += 1;
                }
            }
            let unknown = item.release.built.iter().filter(|_| item.image.is_none()).flat_map(|built| &built.diff_ids);
            transfer.to_compress += unknown.filter(|layer| layers.insert((repository, **layer))).count() as u64;
        }
        let variants = self.items.iter().map(|item| self.variant(item)).collect();
        let attachments = self.items.iter().flat_map(|item| {
            // Of what is not compressed yet nothing can be attached anywhere.
            let unknown = AttachmentPlan::unknown();
            let planned = item.attachments.clone().unwrap_or_else(|| vec![unknown]);
            planned.into_iter().map(|planned| planned.preview(item)).collect::<Vec<_>>()
        });
        Preview {
            schema: 1,
            variants,
            indexes: Vec::new(),
            transfers: transfers.into_values().collect(),
            attachments: attachments.collect(),
            untrue: self.untrue.clone(),
        }
    }

    fn variant(&self, item: &Item) -> VariantPreview {
        let release = &item.release;
        let to = item.image.as_ref().map(|image| image.manifest.digest);
        let tags = tag_previews(&release.destinations, &self.survey, to);
        VariantPreview {
            variant: release.variant.to_string(),
            platform: release.platform,
            choice: item.choice.clone(),
            image: release.built.as_ref().map(|built| built.image.clone()),
            input: release.input,
            digest: to,
            tags: tags.collect(),
        }
    }
}

/// Where tags point, and where they will.
pub(super) fn tag_previews(destinations: &[Delivery], survey: &Survey, to: Option<Digest>) -> impl Iterator<Item = TagPreview> {
    destinations.iter().flat_map(move |delivery| {
        delivery.tags.iter().map(move |tag| {
            let from = survey.tag(delivery, &tag.name);
            let action = match from {
                None => "set",
                Some(_) if from == to => "keep",
                Some(_) => "move",
            };
            TagPreview { reference: delivery.repository.tag(&tag.name).to_string(), kind: tag.kind, from, to, action }
        })
    })
}

/// What a dry run shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Preview {
    /// 1: the version of this shape.
    pub schema: u32,
    /// Every variant.
    pub variants: Vec<VariantPreview>,
    /// Indexes of these images that are published already, and promoted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub indexes: Vec<IndexPreview>,
    /// What goes to each destination.
    pub transfers: Vec<Transfer>,
    /// What is attached to each image before its tags are set.
    pub attachments: Vec<AttachmentPreview>,
    /// SBOMs that are there and are not believed.
    pub untrue: Vec<Untrue>,
}

/// A variant in a dry run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct VariantPreview {
    /// Its name.
    pub variant: String,
    /// What it runs on.
    pub platform: Platform,
    /// Which image is published, and why.
    #[serde(flatten)]
    pub choice: Choice,
    /// Its name in the engine, if it is there.
    pub image: Option<String>,
    /// What it is built from.
    pub input: Digest,
    /// Its manifest; none before its layers are compressed.
    pub digest: Option<Digest>,
    /// Its tags, in every destination.
    pub tags: Vec<TagPreview>,
}

impl Preview {
    fn tags(&self) -> impl Iterator<Item = &TagPreview> {
        let of_indexes = self.indexes.iter().flat_map(|index| &index.tags);
        self.variants.iter().flat_map(|variant| &variant.tags).chain(of_indexes)
    }
}

/// A tag in a dry run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagPreview {
    /// In full.
    pub reference: String,
    /// Whether it may move.
    pub kind: TagKind,
    /// Where it points now.
    pub from: Option<Digest>,
    /// Where it will point; none before the layers are compressed.
    pub to: Option<Digest>,
    /// `set`, `move` or `keep`.
    pub action: &'static str,
}

/// What goes to a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Transfer {
    /// Its name.
    pub destination: String,
    /// Its repository.
    pub repository: Repository,
    /// Blobs to send.
    pub send: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blobs that are there.
    pub there: u64,
    /// Layers that are exported and compressed first: what of them is there is seen then.
    pub to_compress: u64,
}

impl Transfer {
    fn empty(repository: &Repository) -> Self {
        Self { destination: String::new(), repository: repository.clone(), send: 0, bytes: 0, there: 0, to_compress: 0 }
    }
}

/// As a person reads it: the order of things, in full.
impl fmt::Display for Preview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for variant in &self.variants {
            let digest = variant.digest.map_or_else(|| "digest known once compressed".to_owned(), |digest| digest.to_string());
            let why = match &variant.choice {
                Choice::Built => match &variant.image {
                    Some(image) => format!("as built here (`{image}`)"),
                    None => "as it will be built".to_owned(),
                },
                Choice::Adopted { tag, .. } => format!("as published at {tag}"),
                Choice::Unchanged { tag, .. } => format!("unchanged since {tag}"),
                Choice::Resumed { .. } => "as it was under way".to_owned(),
                Choice::Given { reference, .. } => format!("as published at {reference}"),
            };
            writeln!(f, "{} ({})  {digest}, {why}", variant.variant, variant.platform)?;
        }
        for index in &self.indexes {
            writeln!(f, "{} (all platforms)  {}", index.variant, index.digest)?;
        }
        writeln!(f)?;
        for transfer in &self.transfers {
            let mut text = format!("{} blobs to send ({} bytes), {} are there", transfer.send, transfer.bytes, transfer.there);
            if transfer.to_compress > 0 {
                write!(text, ", {} layers to export and compress first", transfer.to_compress)?;
            }
            writeln!(f, "{}: {}\n  {text}", transfer.destination, transfer.repository)?;
        }
        if !self.attachments.is_empty() {
            writeln!(f, "attached before any tag is set")?;
        }
        for attachment in &self.attachments {
            writeln!(f, "  {attachment}")?;
        }
        for untrue in &self.untrue {
            writeln!(f, "  {untrue}")?;
        }
        for (kind, words) in [(TagKind::Immutable, "immutable tags"), (TagKind::Moving, "then moving tags")] {
            writeln!(f, "{words}")?;
            for tag in self.tags().filter(|tag| tag.kind == kind) {
                let to = tag.to.map_or_else(|| "digest known once compressed".to_owned(), |to| to.short(12));
                let way = match tag.from {
                    None => format!("new, {to}"),
                    Some(_) if tag.action == "keep" => format!("there already, {to}"),
                    Some(from) => format!("{} → {to}", from.short(12)),
                };
                writeln!(f, "  {}  {way}", tag.reference)?;
            }
        }
        Ok(())
    }
}
