//! From files and the world to what a plan is resolved from. Everything that can be wrong is found here, before anything
//! is done.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(super) use super::manifest::{check_manifest, lock_path, read_family, read_lock, read_manifest};
use super::session::{Session, variable};
use super::{destinations, edge};
use crate::artifact::{self, Cache};
use crate::build::Entrypoint;
use crate::cli::{Inputs, Parent};
use crate::context::{self, Context};
use crate::event::{Event, Events};
use crate::failure::{Exit, Failure};
use crate::family::{self, Base, BuildDate, Family, Lock, Name, Profile, Selection};
use crate::host;
use crate::host::entrypoint::Toolchain;
use crate::host::lockfile::{FamilyLock, LockKind, WhenHeld};
use crate::oci::Platform;
use crate::plan::{self, BundleFact, ContextFact, Facts, ParentFact, Plan, Request, Revision};
use crate::registry;
use crate::secret::Secret;
use crate::upstream::{self, Access};

/// What is done about pins that variants.lock does not resolve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Locking {
    /// They are resolved and written down (unless `--locked`).
    Write,
    /// They are resolved for this run only: nothing is written by a dry run.
    InMemory,
}

/// All that a plan is resolved from, and what carrying it out takes.
pub(super) struct Prepared {
    pub(super) family: Family,
    pub(super) lock: Lock,
    pub(super) profile: Name,
    pub(super) variants: Vec<Name>,
    pub(super) facts: Facts,
    pub(super) contexts: BTreeMap<String, Context>,
    /// Where a pin's bytes are looked for.
    pub(super) sources: BTreeMap<String, Vec<String>>,
    pub(super) ca_bundle: Option<Arc<[u8]>>,
    pub(super) entrypoint: Entrypoint,
    pub(super) credentials: registry::Sources,
}

/// Writes what was resolved into variants.lock, beside what another build has written there meanwhile; the lock as it is
/// now.
async fn write_lock(session: &Session, family: &Family, resolved: Lock, events: &Events) -> Result<Lock, Failure> {
    let waiting = |holder: &str| events.emit(Event::Note { text: format!("waiting to write variants.lock: {holder}") });
    let places = session.places()?;
    let _held = FamilyLock::acquire(&places, LockKind::Pins, &family.name, WhenHeld::Wait, waiting).await?;
    let mut lock = read_lock(session, family)?;
    lock.complete_from(resolved, family);
    let path = lock_path(session);
    edge::write_beside(&path, lock.write(family).as_bytes())?;
    events.emit(Event::Note { text: format!("wrote {}: commit it", path.display()) });
    Ok(lock)
}

impl Prepared {
    /// Reads the files and looks at the world.
    pub(super) async fn gather(session: &Session, inputs: &Inputs, locking: Locking) -> Result<Self, Failure> {
        let family = read_family(session)?;
        let mut lock = read_lock(session, &family)?;
        let profile_name = profile_name(&family, &inputs.selection.profile)?;
        let profile = &family.profiles[&profile_name];
        let variants = Selection::new(inputs.selection.all, &inputs.selection.variants)
            .resolve(&family)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()).hint(error.hint()))?;
        let platform = platform(&family)?;
        // A form's empty field is handed on as it is.
        let build_date = match inputs.build_date.as_ref().filter(|text| !text.is_empty()) {
            Some(text) => text.parse::<BuildDate>().map_err(|error| edge::usage("--build-date", &error))?,
            None => family.build_date.clone(),
        };
        let credentials = destinations::sources(&family)?;
        let events = session.console.events();
        let cache = open_cache(session)?;

        let used = Used::of(&family, profile, &variants);
        let locked = inputs.locked || session.ci;
        let resolving =
            Resolving { session, family: &family, profile, platform, locked, credentials: &credentials, events: &events };
        if resolving.complete(&mut lock, &used).await? && locking == Locking::Write {
            lock = write_lock(session, &family, lock, &events).await?;
        }
        let (sources, unavailable) = sources(&family, &lock, profile, platform, &used, &cache);
        let (contexts, context_facts) = read_contexts(&session.root, &used)?;
        let (ca_bundle, bundle_fact) = ca_bundle(session, &family, inputs)?;
        let (entrypoint, entrypoint_digest) = match &inputs.entrypoint {
            Some(file) => (Entrypoint::Given(file.clone()), host::entrypoint::given(file, platform)?),
            None => {
                let toolchain = Toolchain::find(&session.root, platform).await?;
                let digest = host::entrypoint::sources_digest(&session.root, &toolchain)?;
                let target = variable("CARGO_TARGET_DIR").map_or_else(|| session.root.join("target"), PathBuf::from);
                (Entrypoint::Compiled { toolchain, target }, digest)
            }
        };
        let facts = Facts {
            platform,
            build_date,
            args: arguments(&inputs.args)?,
            revision: host::git::facts(&session.root).await?.map(|git| Revision { commit: git.revision, dirty: git.dirty }),
            contexts: context_facts,
            entrypoint: entrypoint_digest,
            unavailable,
            ca_bundle: bundle_fact,
            parents: match inputs.parent {
                Parent::Built => BTreeMap::new(),
                Parent::Published => published_parents(&family, &variants, &credentials).await?,
            },
        };
        Ok(Self { profile: profile_name, family, lock, variants, facts, contexts, sources, ca_bundle, entrypoint, credentials })
    }

    /// The plan.
    pub(super) fn plan(&self) -> Result<Plan, Failure> {
        let request = Request {
            family: &self.family,
            lock: &self.lock,
            profile: &self.profile,
            variants: &self.variants,
            facts: &self.facts,
        };
        plan::resolve(&request).map_err(|errors| {
            let message = errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n       ");
            Failure::new(Exit::Usage, message)
        })
    }

    pub(super) fn cache(&self, session: &Session) -> Result<Cache, Failure> {
        open_cache(session)
    }
}

fn open_cache(session: &Session) -> Result<Cache, Failure> {
    Ok(Cache::open(&session.places()?.cache()?)?)
}

pub(super) fn profile_name(family: &Family, text: &str) -> Result<Name, Failure> {
    let known = || family.profiles.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    text.parse::<Name>().ok().filter(|name| family.profiles.contains_key(name)).ok_or_else(|| {
        let failure = Failure::new(Exit::Usage, format!("there is no profile `{text}`; variants.toml has {}", known()));
        match family::closest(text, family.profiles.keys().map(Name::as_str)) {
            Some(name) => failure.hint(format!("did you mean `{name}`?")),
            None => failure,
        }
    })
}

/// The family's platform that this machine runs.
pub(super) fn platform(family: &Family) -> Result<Platform, Failure> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    family.platforms.iter().copied().find(|platform| platform.arch() == arch).ok_or_else(|| {
        let known = family.platforms.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        Failure::new(Exit::Usage, format!("variants.toml builds for {known}, and this machine is {arch}"))
    })
}

fn arguments(args: &[String]) -> Result<BTreeMap<String, String>, Failure> {
    let pair = |text: &String| {
        let wrong = || Failure::new(Exit::Usage, format!("`--arg {text}` is not `NAME=VALUE`"));
        text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(wrong)
    };
    args.iter().map(pair).collect()
}

/// The downloads that the images of a profile have in them, as far as the lock and this machine can tell.
pub(super) fn downloads(session: &Session, family: &Family, lock: &Lock, profile: &Profile) -> Result<BTreeSet<Name>, Failure> {
    let all: Vec<Name> = family.variants().map(|(image, _)| image.name.clone()).collect();
    let used = Used::of(family, profile, &all);
    let (_, unavailable) = sources(family, lock, profile, platform(family)?, &used, &open_cache(session)?);
    Ok(used.artifacts(family).map(|(name, _)| name.clone()).filter(|name| !unavailable.contains_key(name)).collect())
}

/// What of the family the selected variants use.
struct Used {
    pins: BTreeSet<Name>,
    folders: BTreeSet<String>,
    base: bool,
}

impl Used {
    fn of(family: &Family, profile: &Profile, variants: &[Name]) -> Self {
        let mut used = Self { pins: BTreeSet::new(), folders: BTreeSet::new(), base: false };
        used.folders.extend([plan::COMPONENT_CONTEXT.to_owned(), plan::FINISH_CONTEXT.to_owned()]);
        let mut seen = BTreeSet::new();
        let mut pending: Vec<&Name> = variants.iter().collect();
        while let Some(name) = pending.pop() {
            let Some(image) = family.images.get(name).filter(|_| seen.insert(name.clone())) else { continue };
            used.pins.extend(image.pins.iter().cloned());
            used.folders.extend(image.context.clone());
            used.base |= image.parent.is_none();
            if let Some(published) = image.published.as_ref().filter(|_| variants.contains(&image.name)) {
                used.pins.extend(published.components.iter().cloned());
            }
            pending.extend(&image.parent);
        }
        used.pins.retain(|pin| !profile.without.contains(pin));
        used
    }

    fn artifacts<'a>(&'a self, family: &'a Family) -> impl Iterator<Item = (&'a Name, &'a family::Pin)> {
        let pins = self.pins.iter().filter_map(|name| Some((name, family.pins.get(name)?)));
        pins.filter(|(_, pin)| pin.upstream.is_artifact())
    }
}

/// Fills the lock with what it lacks.
struct Resolving<'a> {
    session: &'a Session,
    family: &'a Family,
    profile: &'a Profile,
    platform: Platform,
    locked: bool,
    credentials: &'a registry::Sources,
    events: &'a Events,
}

impl Resolving<'_> {
    /// Resolves what is lacking; whether the lock changed.
    async fn complete(&self, lock: &mut Lock, used: &Used) -> Result<bool, Failure> {
        let lacks = |name: &Name| lock.artifact(self.family, name, self.platform).is_none();
        let lacking: Vec<_> = used.artifacts(self.family).filter(|(name, _)| self.profile.vendors && lacks(name)).collect();
        let base = match &self.profile.base {
            Base::Image(reference) if used.base && reference.digest.is_none() => Some(reference),
            _ => None,
        };
        let base = base.filter(|reference| !lock.bases.contains_key(&reference.to_string()));
        if lacking.is_empty() && base.is_none() {
            return Ok(false);
        }
        if self.locked {
            let pins = lacking.iter().map(|(name, _)| format!("pin `{name}`"));
            let names: Vec<String> = pins.chain(base.map(|base| format!("base image `{base}`"))).collect();
            let file = lock_path(self.session);
            return Err(Failure::new(
                Exit::Usage,
                format!("`{}` lacks {}, and `--locked` forbids to resolve it", file.display(), names.join(", ")),
            )
            .hint("run the same command without `--locked` (and without CI=true) on your machine, and commit variants.lock"));
        }
        let client = artifact::client()?;
        let token = github_token();
        let access = Access {
            client: &client,
            mirrors: &self.family.mirrors,
            vendors: self.profile.vendors,
            github_token: token.as_ref(),
            patience: artifact::Patience::default(),
            events: self.events,
        };
        // All are tried, so that one run tells everything that cannot be resolved.
        let mut failures = Vec::new();
        for (name, pin) in lacking {
            self.events.emit(Event::Note { text: format!("resolving `{name}` {} for {}", pin.version, self.platform) });
            match upstream::resolve(access, name, pin, self.platform).await {
                Ok(artifact) => {
                    lock.artifacts.insert((name.clone(), self.platform), artifact);
                }
                Err(error) => failures.push(error),
            }
        }
        if let Some(reference) = base {
            match registry::digest_of(reference, false, self.credentials).await {
                Ok(Some(digest)) => {
                    lock.bases.insert(reference.to_string(), digest);
                }
                Ok(None) => return Err(Failure::new(Exit::Missing, format!("the registry has no `{reference}`"))),
                Err(error) => return Err(edge::base_unknown(error)),
            }
        }
        match edge::unresolved(failures) {
            Some(failure) => Err(failure),
            None => Ok(true),
        }
    }
}

/// What raises GitHub's limit of requests.
pub(super) fn github_token() -> Option<Secret> {
    variable("GITHUB_TOKEN").or_else(|| variable("GH_TOKEN")).map(|token| Secret::new(token.trim()))
}

/// Where the bytes of each artifact are looked for, and which cannot be had.
fn sources(
    family: &Family,
    lock: &Lock,
    profile: &Profile,
    platform: Platform,
    used: &Used,
    cache: &Cache,
) -> (BTreeMap<String, Vec<String>>, BTreeMap<Name, String>) {
    let (mut sources, mut unavailable) = (BTreeMap::new(), BTreeMap::new());
    for (name, _) in used.artifacts(family) {
        let Some(locked) = lock.artifact(family, name, platform) else {
            unavailable.insert(name.clone(), "variants.lock has no digest for it, and this profile asks no vendor".to_owned());
            continue;
        };
        let urls = artifact::mirrored(&family.mirrors, &locked.url, profile.vendors);
        if urls.is_empty() && !cache.has(locked.sha256) {
            unavailable.insert(name.clone(), "neither the cache nor a mirror has it, and this profile asks no vendor".to_owned());
        }
        sources.insert(name.to_string(), urls);
    }
    // With vendors, a pin that is not locked is an error of the plan, not something to leave out.
    if profile.vendors {
        unavailable.clear();
    }
    (sources, unavailable)
}

type Contexts = (BTreeMap<String, Context>, BTreeMap<String, ContextFact>);

fn read_contexts(root: &Path, used: &Used) -> Result<Contexts, Failure> {
    let (mut contexts, mut facts) = (BTreeMap::new(), BTreeMap::new());
    for folder in &used.folders {
        let context = context::read(&root.join(folder))?;
        let declared_args = plan::declared_args(&String::from_utf8_lossy(context.dockerfile()));
        facts.insert(folder.clone(), ContextFact { digest: context.digest(), declared_args });
        contexts.insert(folder.clone(), context);
    }
    Ok((contexts, facts))
}

type Bundle = (Option<Arc<[u8]>>, Option<BundleFact>);

/// The CA bundle that builds are given: `--ca-bundle`, that of variants.toml, the host's when it has a CA of its own.
fn ca_bundle(session: &Session, family: &Family, inputs: &Inputs) -> Result<Bundle, Failure> {
    if inputs.no_ca_bundle {
        return Ok((None, None));
    }
    let of_the_file = family.ca_bundle.as_ref().map(|file| session.root.join(file));
    let chosen = inputs.ca_bundle.as_ref().or(of_the_file.as_ref());
    let Some(bundle) = host::ca::extra_bundle(chosen.map(PathBuf::as_path), &variable)? else { return Ok((None, None)) };
    let named = of_the_file.is_some_and(|file| std::fs::read(file).is_ok_and(|bytes| bytes == bundle.bytes));
    let fact = BundleFact { named, file: bundle.path.display().to_string() };
    Ok((Some(bundle.bytes.into()), Some(fact)))
}

/// `--parent published`: the digest of each parent's moving tag in its first destination.
async fn published_parents(
    family: &Family,
    variants: &[Name],
    credentials: &registry::Sources,
) -> Result<BTreeMap<Name, ParentFact>, Failure> {
    let parents: BTreeSet<&Name> = variants.iter().filter_map(|name| family.images.get(name)?.parent.as_ref()).collect();
    let mut facts = BTreeMap::new();
    for parent in parents {
        let published = family.images.get(parent).and_then(|image| image.published.as_ref());
        let destination = published.and_then(|published| family.destinations.get(published.destinations.first()?));
        let Some(destination) = destination else { continue };
        let tag = family.tags.moving.fill(|key| (key == "variant").then_some(parent.as_str()));
        let reference = destination.repository.tag(tag);
        let digest = registry::digest_of(&reference, destination.insecure, credentials).await?;
        let digest = digest.ok_or_else(|| {
            Failure::new(Exit::Missing, format!("`--parent published`: the parent `{reference}` is not published"))
                .hint(format!("cargo xtask push --variant {parent}"))
        })?;
        facts.insert(parent.clone(), ParentFact { reference: destination.repository.digest(digest) });
    }
    Ok(facts)
}
