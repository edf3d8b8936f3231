//! `cargo xtask verify`: whether what is published is the same everywhere, whole, and what it should be. Needs no engine.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::describe::Describing;
use super::destinations::{self, Target};
use super::prepare::read_family;
use super::{Session, lineage};
use crate::cli::Verify;
use crate::failure::{Exit, Failure};
use crate::family::{Family, Image, Name, Selection};
use crate::host;
use crate::oci::is_tag;
use crate::plan;
use crate::publish::verify::{Asked, Kind, Looking, compare, look, newest_immutable};
use crate::publish::{Describe, Ledger, PublishError, Tag, TagKind, View, connect_to};
use crate::registry::Access;
use crate::store::Blobs;

pub(super) async fn run(session: &Session, args: &Verify) -> Result<(), Failure> {
    let family = read_family(session)?;
    let variants = Selection::new(args.all || args.variants.is_empty(), &args.variants)
        .resolve(&family)
        .map_err(|error| Failure::new(Exit::Usage, error.to_string()).hint(error.hint()))?;
    let targets = destinations::targets(&family, &args.destinations)?;
    let sources = destinations::sources(&family)?;
    let ledger = Ledger::newest(&session.places()?.state_folder("releases")?).map_err(PublishError::Ledger)?;
    // The tags of a commit are known only where nothing else is in the tree.
    let revision = host::git::facts(&session.root).await?.filter(|git| !git.dirty);
    let revision = revision.map(|git| git.revision.chars().take(7).collect::<String>());
    let asking = Asking { family: &family, targets: &targets, ledger: &ledger, revision: revision.as_deref() };
    let asked = match args.tags.is_empty() {
        true => asking.variants(&variants),
        false => asking.tags(&variants, &args.tags)?,
    };
    asking.somewhere(&asked, args)?;
    let work = async {
        let places = asked.iter().flat_map(|asked| &asked.deliveries);
        let places = places.map(|to| (to.destination.as_str(), &to.repository, to.insecure));
        let registries = connect_to(places, Access::Pull, &sources).await?;
        let looking = Looking { deep: args.deep, sboms: !args.no_sbom };
        let describing = match looking.deep && looking.sboms {
            true => {
                let blobs = Blobs::open(&session.places()?.cache_folder("layers")?).map_err(PublishError::Store)?;
                Some(Describing::new(session, &family, &Arc::new(blobs))?)
            }
            false => None,
        };
        let describe = describing.as_ref().map(|describing| describing as &dyn Describe);
        Ok(look(&asked, &registries, looking, describe).await)
    };
    let evidence = session.interruptible(work).await?;
    let report = compare(&family.name, &asked, &evidence, &ledger, args.deep);
    session.console.result(&report, &report.to_string());
    let unreachable = report.differences.iter().filter(|difference| difference.kind == Kind::Unreachable).count();
    match report.differences.len() {
        0 => Ok(()),
        found if found == unreachable => {
            let message = "not all destinations could be asked; what could be asked is equal";
            Err(Failure::new(Exit::Missing, message).hint("`cargo xtask doctor` says what is wrong with each destination"))
        }
        found => {
            let hint = "`cargo xtask push` sets and attaches what is missing; `cargo xtask promote REFERENCE` points the tags to one image, and \
                        copies what a destination has lost";
            let differences = if found == 1 { "difference" } else { "differences" };
            Err(Failure::new(Exit::CheckFound, format!("verify found {found} {differences}")).hint(hint))
        }
    }
}

/// Which tags are looked at.
struct Asking<'a> {
    family: &'a Family,
    targets: &'a [Target],
    ledger: &'a View,
    /// Of the commit, seven digits; none where the tree is not clean.
    revision: Option<&'a str>,
}

impl Asking<'_> {
    /// The moving tags, and the immutable ones of the newest release.
    fn variants(&self, variants: &[Name]) -> Vec<Asked> {
        let mut asked: Vec<Asked> = variants.iter().filter_map(|name| self.variant(name, false)).collect();
        // Who sits on whom is asked of parents, too, that nobody asked about.
        let parents: BTreeSet<Name> = asked.iter().filter_map(|asked| asked.parent.clone()).collect();
        let parents = parents.iter().filter(|parent| !variants.contains(parent));
        asked.extend(parents.filter_map(|parent| self.variant(parent, true)).collect::<Vec<_>>());
        asked
    }

    fn variant(&self, name: &Name, aside: bool) -> Option<Asked> {
        let image = self.family.images.get(name)?;
        let names = plan::published_tags(self.family, image, &self.family.build_date, self.revision.unwrap_or_default());
        let repositories = self.targets.iter().map(|target| &target.repository).collect();
        let of_ledger = newest_immutable(self.ledger, name, &repositories);
        let (immutable, tentative) = match (of_ledger.is_empty(), self.revision) {
            _ if aside => (BTreeSet::new(), BTreeSet::new()),
            (false, _) => (of_ledger, BTreeSet::new()),
            // Whether this commit is published, nobody has written down here.
            (true, Some(_)) => (names.immutable.iter().cloned().collect(), names.immutable.into_iter().collect()),
            (true, None) => (BTreeSet::new(), BTreeSet::new()),
        };
        let moving = names.moving.into_iter().map(|name| Tag { name, kind: TagKind::Moving, uses_revision: false });
        let fixed = immutable.into_iter().map(|name| Tag { name, kind: TagKind::Immutable, uses_revision: false });
        self.asked(image, moving.chain(fixed).collect(), tentative, aside)
    }

    fn asked(&self, image: &Image, tags: Vec<Tag>, tentative: BTreeSet<String>, aside: bool) -> Option<Asked> {
        let published = image.published.as_ref()?;
        let targets = self.targets.iter().filter(|target| target.takes(published));
        Some(Asked {
            variant: image.name.clone(),
            parent: lineage::ancestors(self.family, image).into_iter().next(),
            pins: lineage::pins(self.family, image),
            platforms: self.family.platforms.clone(),
            deliveries: targets.map(|target| target.delivery(tags.clone())).collect(),
            tentative,
            aside,
        })
    }

    /// Whether there is something to look at: nothing that is asked for may be left out without a word, but for what a pattern
    /// meets beside others.
    fn somewhere(&self, asked: &[Asked], args: &Verify) -> Result<(), Failure> {
        let asked = || asked.iter().filter(|asked| !asked.aside);
        let is_named = |asked: &Asked| !args.tags.is_empty() || args.variants.iter().any(|name| name == asked.variant.as_str());
        let nothing = asked().all(|asked| asked.deliveries.is_empty());
        let lost = asked().filter(|asked| asked.deliveries.is_empty() && (nothing || is_named(asked)));
        let lost = lost.filter_map(|asked| Some((&asked.variant, self.family.images.get(&asked.variant)?.published.as_ref()?)));
        let lost: Vec<_> = lost.collect();
        if lost.is_empty() { Ok(()) } else { Err(destinations::nowhere(&lost, self.targets)) }
    }

    /// The tags that are named, each of the variant that it begins with.
    fn tags(&self, variants: &[Name], tags: &[String]) -> Result<Vec<Asked>, Failure> {
        let mut asked = Vec::new();
        for name in variants {
            let Some(image) = self.family.images.get(name) else { continue };
            let its = tags.iter().filter(|tag| self.owner(variants, tag) == Some(name));
            let its: Vec<Tag> = its.map(|tag| lineage::tag(self.family, image, self.ledger, tag)).collect();
            if !its.is_empty() {
                asked.extend(self.asked(image, its, BTreeSet::new(), false));
            }
        }
        for tag in tags {
            let wrong = |why: &str| Err(Failure::new(Exit::Usage, format!("`--tag {tag}`: {why}")));
            if !is_tag(tag) {
                return wrong("not a tag");
            }
            if self.owner(variants, tag).is_none() {
                return wrong("it begins with the name of no variant: name its variant with `--variant`");
            }
        }
        Ok(asked)
    }

    /// The variant with the longest name, or alias, that a tag begins with; the only one that is asked about, else.
    fn owner<'v>(&self, variants: &'v [Name], tag: &str) -> Option<&'v Name> {
        if let [only] = variants {
            return Some(only);
        }
        let names = variants.iter().flat_map(|variant| {
            let published = self.family.images.get(variant).and_then(|image| image.published.as_ref());
            let aliases = published.into_iter().flat_map(|published| &published.aliases);
            std::iter::once(variant).chain(aliases).map(move |name| (name, variant))
        });
        let begins = names
            .filter(|(name, _)| tag.strip_prefix(name.as_str()).is_some_and(|rest| !rest.starts_with(char::is_alphanumeric)));
        begins.max_by_key(|(name, _)| name.as_str().len()).map(|(_, variant)| variant)
    }
}
