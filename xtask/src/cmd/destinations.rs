//! Destinations as the commands see them that look at them: those of variants.toml, or those of `--destination`.

use std::collections::BTreeSet;

use crate::failure::{Exit, Failure};
use crate::family::{Ecr, Family, Name, Published};
use crate::oci::{EcrRegistry, Repository};
use crate::publish::{Delivery, Origin, Tag};
use crate::registry::{CredentialError, Sources};

/// A repository that is published to.
pub(super) struct Target {
    /// `ecr`
    pub(super) name: String,
    pub(super) repository: Repository,
    /// Plain http even though it is not loopback.
    pub(super) insecure: bool,
    /// What it is to be like, where it is in Amazon ECR.
    pub(super) ecr: Option<Ecr>,
    /// Named by the command line alone: everything may be published there.
    own: bool,
}

impl Target {
    /// Whether a variant goes there.
    pub(super) fn takes(&self, published: &Published) -> bool {
        self.own || published.destinations.iter().any(|name| name.as_str() == self.name)
    }

    /// These tags, there.
    pub(super) fn delivery(&self, tags: Vec<Tag>) -> Delivery {
        Delivery {
            destination: self.name.clone(),
            repository: self.repository.clone(),
            insecure: self.insecure,
            origin: if self.own { Origin::CommandLine } else { Origin::File },
            tags,
        }
    }

    /// How the command line names it.
    pub(super) fn flag(&self) -> String {
        if self.own { format!("{}={}", self.name, self.repository) } else { self.name.clone() }
    }

    /// The tags that move there with every release, as patterns: what is not known before is `*`.
    pub(super) fn moving(&self, family: &Family) -> BTreeSet<String> {
        let goes_there = |destinations: &BTreeSet<Name>| self.own || destinations.iter().any(|name| name.as_str() == self.name);
        let variants = family.variants().filter(|(_, published)| goes_there(&published.destinations));
        let names = variants.flat_map(|(image, published)| std::iter::once(&image.name).chain(&published.aliases));
        let fill = |name: &Name| {
            family.tags.moving.fill(|key| match key {
                "variant" => Some(name.as_str()),
                _ => Some("*"),
            })
        };
        names.map(fill).collect()
    }
}

/// All of the file, or those that `flags` name: `NAME`, or `NAME=HOST[:PORT]/REPOSITORY` to replace one.
///
/// # Errors
/// A flag names nothing.
pub(super) fn targets(family: &Family, flags: &[String]) -> Result<Vec<Target>, Failure> {
    let of_file = |name: &Name| {
        let to = family.destinations.get(name)?;
        let (repository, ecr) = (to.repository.clone(), to.ecr.clone());
        Some(Target { name: name.to_string(), repository, insecure: to.insecure, ecr, own: false })
    };
    if flags.is_empty() {
        return Ok(family.destinations.keys().filter_map(of_file).collect());
    }
    let target = |flag: &String| {
        let wrong = |why: String| Failure::new(Exit::Usage, format!("`--destination {flag}`: {why}"));
        if !flag.contains('=') {
            let known = flag.parse::<Name>().ok().and_then(|name| of_file(&name));
            let names = || family.destinations.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
            return known.ok_or_else(|| wrong(format!("no destination of this name; variants.toml has {}", names())));
        }
        let (name, repository) = replacement(flag)?;
        let ecr = EcrRegistry::at(repository.registry()).map(Ecr::new);
        Ok(Target { name, repository, insecure: false, ecr, own: true })
    };
    flags.iter().map(target).collect()
}

/// These variants go to none of these destinations, so that there is nothing to do: what is said then.
pub(super) fn nowhere(variants: &[(&Name, &Published)], targets: &[Target]) -> Failure {
    const NAMED: &str = "`--destination NAME=HOST[:PORT]/REPOSITORY` names one that takes every variant";
    if targets.is_empty() {
        return Failure::new(Exit::Usage, "variants.toml has no destination").hint(NAMED);
    }
    let listed = |names: &mut dyn Iterator<Item = &str>| names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let names = listed(&mut variants.iter().map(|(name, _)| name.as_str()));
    let go = if variants.len() == 1 { "does not go" } else { "do not go" };
    let message = format!("{names} {go} to {}", listed(&mut targets.iter().map(|target| target.name.as_str())));
    let of_file = variants.iter().filter(|(_, published)| !published.destinations.is_empty());
    let of_file = of_file.map(|(name, published)| {
        format!("`{name}` goes to {}", listed(&mut published.destinations.iter().map(|destination| destination.as_str())))
    });
    let hints: Vec<String> = of_file.chain([NAMED.to_owned()]).collect();
    Failure::new(Exit::Usage, message).hint(hints.join("\n"))
}

/// `NAME=HOST[:PORT]/REPOSITORY`.
///
/// # Errors
/// It is something else.
pub(super) fn replacement(flag: &str) -> Result<(String, Repository), Failure> {
    let wrong = |why: &str| Failure::new(Exit::Usage, format!("`--destination {flag}`: {why}"));
    let (name, repository) = flag.split_once('=').ok_or_else(|| wrong("expected `NAME=HOST[:PORT]/REPOSITORY`"))?;
    let repository = repository.parse::<Repository>().map_err(|error| wrong(&error.to_string()))?;
    Ok((name.to_owned(), repository))
}

/// Where credentials for the family's registries stand: those that stand in for Amazon ECR are known.
///
/// # Errors
/// A source is there and cannot be read.
pub(super) fn sources(family: &Family) -> Result<Sources, CredentialError> {
    let stand_ins = family.destinations.values().filter(|to| to.repository.is_loopback());
    let stand_ins = stand_ins.filter_map(|to| Some((to.repository.registry(), to.ecr.as_ref()?.registry.clone())));
    Ok(stand_ins.fold(Sources::from_environment()?, |sources, (host, registry)| sources.standing_in(host, registry)))
}
