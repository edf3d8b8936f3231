//! From the family, the lock and the facts to the plan.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::error::PlanError;
use super::facts::Facts;
use super::input::{self, Inputs};
use super::label;
use super::model::{Built, Plan, Step, StepId, VariantPlan, Work};
use super::stage::stage_reference;
use super::tags::local_tags;
use super::warnings;
use crate::family::{Base, Family, Lock, Name, Profile};
use crate::oci::Digest;

/// What a plan is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The checked family.
    pub family: &'a Family,
    /// What its pins resolved to.
    pub lock: &'a Lock,
    /// The profile's name.
    pub profile: &'a Name,
    /// The variants to build.
    pub variants: &'a [Name],
    /// The world.
    pub facts: &'a Facts,
}

/// Arguments that Gantry sets itself.
fn is_reserved(arg: &str) -> bool {
    matches!(arg, "PARENT" | "BASE" | "BUILD_DATE") || arg.starts_with("ARTIFACT")
}

/// Resolves the plan of the requested variants.
///
/// # Errors
/// Every reason why there is none.
pub fn resolve(request: &Request<'_>) -> Result<Plan, Vec<PlanError>> {
    let Some(profile) = request.family.profiles.get(request.profile) else {
        let known = request.family.profiles.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        return Err(vec![PlanError::UnknownProfile { found: request.profile.clone(), known }]);
    };
    let mut resolver = Resolver {
        request,
        profile,
        steps: Vec::new(),
        index: HashMap::new(),
        images: BTreeMap::new(),
        errors: Vec::new(),
        used_args: BTreeSet::new(),
    };
    let variants: Vec<VariantPlan> = request.variants.iter().filter_map(|name| resolver.variant(name)).collect();
    resolver.check_args();
    if !resolver.errors.is_empty() {
        return Err(resolver.errors);
    }
    Ok(Plan {
        schema: 1,
        family: request.family.name.clone(),
        profile: request.profile.clone(),
        platform: request.facts.platform,
        build_date: request.facts.build_date.clone(),
        warnings: warnings::of(request, &variants),
        steps: resolver.steps,
        variants,
    })
}

/// What is known of an image before it is finished.
#[derive(Clone)]
struct Unfinished {
    step: StepId,
    /// Pins that are in it, and pins that were left out.
    pins: BTreeSet<Name>,
    omitted: BTreeSet<Name>,
    /// Arguments that one of its Dockerfiles declares.
    declared: BTreeSet<String>,
}

struct Resolver<'a> {
    request: &'a Request<'a>,
    profile: &'a Profile,
    steps: Vec<Step>,
    index: HashMap<StepId, usize>,
    images: BTreeMap<Name, Unfinished>,
    errors: Vec<PlanError>,
    used_args: BTreeSet<String>,
}

/// A Dockerfile to build, before its arguments are chosen.
struct Dockerfile<'a> {
    image: String,
    folder: &'a str,
    target: Option<&'a String>,
    parent: StepId,
    own_args: BTreeMap<String, String>,
    artifacts: BTreeMap<String, StepId>,
    labels: BTreeMap<String, String>,
    entrypoint: bool,
}

impl<'a> Resolver<'a> {
    fn facts(&self) -> &'a Facts {
        self.request.facts
    }

    fn input(&self, id: &StepId) -> Option<Digest> {
        self.index.get(id).and_then(|at| self.steps.get(*at)).map(|step| step.input)
    }

    fn stage(&self, id: &StepId) -> Option<&str> {
        self.index.get(id).and_then(|at| self.steps.get(*at)).and_then(|step| step.stage.as_deref())
    }

    /// Adds a step, once.
    fn add(&mut self, id: StepId, stage: Option<&str>, needs: Vec<StepId>, work: Work, inputs: &Inputs<'_>) -> StepId {
        if !self.index.contains_key(&id) {
            let input = input::digest(&work, inputs);
            let mut work = work;
            if let Work::Build(build) = &mut work {
                build.labels.insert(label::INPUT.to_owned(), input.to_string());
            }
            self.index.insert(id.clone(), self.steps.len());
            let stage = stage.map(|name| stage_reference(name, &input));
            self.steps.push(Step { id: id.clone(), stage, input, needs, work });
        }
        id
    }

    fn inputs(&self) -> Inputs<'a> {
        let profile = self.request.profile.as_str();
        Inputs { platform: self.facts().platform, profile, context: None, entrypoint: None, parents: Vec::new() }
    }

    /// What images without a parent are built on.
    fn base(&mut self) -> Option<StepId> {
        let inputs = self.inputs();
        // What is pulled bears no label of ours: the tag says whose it is.
        let external = format!("external.{}", self.request.family.name);
        let (id, stage, work) = match &self.profile.base {
            Base::Bootstrap { suite, packages } => {
                ("bootstrap", "bootstrap", Work::Bootstrap { suite: suite.clone(), packages: packages.clone() })
            }
            Base::Image(reference) => {
                let digest = reference.digest.or_else(|| self.request.lock.bases.get(&reference.to_string()).copied());
                let Some(digest) = digest else {
                    let error = PlanError::UnlockedBase { base: reference.to_string() };
                    if !self.errors.contains(&error) {
                        self.errors.push(error);
                    }
                    return None;
                };
                let mut reference = reference.clone();
                reference.digest = Some(digest);
                ("external", external.as_str(), Work::Pull { reference })
            }
        };
        Some(self.add(StepId(id.to_owned()), Some(stage), Vec::new(), work, &inputs))
    }

    /// The image of one layer that holds a pin's artifact; none where this profile cannot have it.
    fn artifact(&mut self, pin_name: &Name) -> Option<StepId> {
        if self.profile.without.contains(pin_name) || self.facts().unavailable.contains_key(pin_name) {
            return None;
        }
        let pin = self.request.family.pins.get(pin_name)?;
        let place = pin.place.clone()?;
        let platform = self.facts().platform;
        let Some(locked) = self.request.lock.artifact(self.request.family, pin_name, platform) else {
            let error = PlanError::Unlocked { pin: pin_name.clone(), platform };
            if !self.errors.contains(&error) {
                self.errors.push(error);
            }
            return None;
        };
        let work = Work::Artifact {
            pin: pin_name.clone(),
            version: pin.version.clone(),
            url: locked.url.clone(),
            sha256: locked.sha256,
            place,
        };
        let inputs = self.inputs();
        let stage = format!("artifact.{pin_name}");
        Some(self.add(StepId(format!("artifact {pin_name}")), Some(&stage), Vec::new(), work, &inputs))
    }

    /// An image of the family, not finished.
    fn image(&mut self, name: &Name) -> Option<Unfinished> {
        if let Some(known) = self.images.get(name) {
            return Some(known.clone());
        }
        let image = self.request.family.images.get(name)?;
        let below = match &image.parent {
            Some(parent) => Some(self.parent(parent)?),
            None => None,
        };
        let Some(folder) = &image.context else { return below };
        let mut pins = below.as_ref().map(|below| below.pins.clone()).unwrap_or_default();
        let mut omitted = below.as_ref().map(|below| below.omitted.clone()).unwrap_or_default();
        let mut artifacts = BTreeMap::new();
        for pin in &image.pins {
            let is_artifact = self.request.family.pins.get(pin).is_some_and(|pin| pin.upstream.is_artifact());
            if !is_artifact {
                pins.insert(pin.clone());
            } else if let Some(step) = self.artifact(pin) {
                pins.insert(pin.clone());
                artifacts.insert(format!("ARTIFACT_{}", pin.screaming()), step);
            } else if self.facts().unavailable.contains_key(pin) && !self.profile.without.contains(pin) {
                omitted.insert(pin.clone());
            }
        }
        let parent = match &below {
            Some(below) => below.step.clone(),
            None => self.base()?,
        };
        let step = self.dockerfile(Dockerfile {
            image: name.to_string(),
            folder,
            target: image.target.as_ref(),
            parent,
            own_args: image.args.clone(),
            artifacts,
            labels: BTreeMap::new(),
            entrypoint: false,
        })?;
        let mut declared = below.map(|below| below.declared).unwrap_or_default();
        declared.extend(self.facts().contexts.get(folder).into_iter().flat_map(|fact| fact.declared_args.iter().cloned()));
        for arg in image.args.keys().filter(|arg| !declared.contains(*arg)) {
            self.errors.push(PlanError::UndeclaredArg { image: name.clone(), arg: arg.clone() });
        }
        let unfinished = Unfinished { step, pins, omitted, declared };
        self.images.insert(name.clone(), unfinished.clone());
        Some(unfinished)
    }

    /// What a child is built on: the unfinished image, or the published one.
    fn parent(&mut self, name: &Name) -> Option<Unfinished> {
        let Some(published) = self.facts().parents.get(name) else { return self.image(name) };
        let inputs = self.inputs();
        let stage = format!("published.{name}");
        let work = Work::Pull { reference: published.reference.clone() };
        let step = self.add(StepId(format!("published {name}")), Some(&stage), Vec::new(), work, &inputs);
        Some(Unfinished { step, pins: BTreeSet::new(), omitted: BTreeSet::new(), declared: BTreeSet::new() })
    }

    /// A variant: its image, its components, the finishing layer.
    fn variant(&mut self, name: &Name) -> Option<VariantPlan> {
        let request = self.request;
        let family = request.family;
        let image = family.images.get(name)?;
        let published = image.published.as_ref()?;
        // Before the image, so that a pin that is not locked is reported even where the image cannot be resolved.
        let components: Vec<_> = published.components.iter().map(|name| (name, self.artifact(name))).collect();
        let Unfinished { mut step, mut pins, mut omitted, .. } = self.image(name)?;
        // Components of an image that two variants share (one has no context of its own) are one chain.
        let mut chain = self.image_name(&step);
        for (component, artifact) in components {
            let Some(artifact) = artifact else {
                omitted.insert(component.clone());
                continue;
            };
            pins.insert(component.clone());
            chain = format!("{chain}.{component}");
            step = self.dockerfile(Dockerfile {
                image: chain.clone(),
                folder: label::COMPONENT_CONTEXT,
                target: None,
                parent: step,
                own_args: BTreeMap::new(),
                artifacts: BTreeMap::from([("ARTIFACT".to_owned(), artifact)]),
                labels: BTreeMap::new(),
                entrypoint: false,
            })?;
        }
        let finished = self.dockerfile(Dockerfile {
            image: format!("{name}.finished"),
            folder: label::FINISH_CONTEXT,
            target: None,
            parent: step,
            own_args: BTreeMap::new(),
            artifacts: BTreeMap::new(),
            labels: label::of_variant(request, self.profile, image, published, &pins, &omitted),
            entrypoint: true,
        })?;
        Some(VariantPlan {
            name: name.clone(),
            finished,
            local_tags: local_tags(family, image, self.profile, &self.facts().build_date),
            destinations: published.destinations.clone(),
            omitted: omitted.into_iter().collect(),
        })
    }

    fn image_name(&self, step: &StepId) -> String {
        match self.index.get(step).and_then(|at| self.steps.get(*at)).map(|step| &step.work) {
            Some(Work::Build(build)) => build.image.clone(),
            _ => step.as_str().replace(' ', "."),
        }
    }

    /// A Dockerfile with the arguments that it declares.
    fn dockerfile(&mut self, file: Dockerfile<'_>) -> Option<StepId> {
        let request = self.request;
        let Some(context) = request.facts.contexts.get(file.folder) else {
            let error = PlanError::NoContext { image: file.image.clone(), folder: file.folder.to_owned() };
            if !self.errors.contains(&error) {
                self.errors.push(error);
            }
            return None;
        };
        let declared = |arg: &str| context.declared_args.contains(arg);
        let mut args = BTreeMap::new();
        for pin in request.family.pins.values() {
            args.extend(pin.build_arg.iter().map(|arg| (arg.clone(), pin.version.clone())));
        }
        args.extend(file.own_args);
        args.extend(self.profile.args.clone());
        args.extend(request.facts.args.clone());
        self.used_args.extend(request.facts.args.keys().filter(|arg| declared(arg)).cloned());
        args.insert("BUILD_DATE".to_owned(), request.facts.build_date.to_string());
        args.insert("PARENT".to_owned(), self.stage(&file.parent)?.to_owned());
        // Builder stages stand on what is below the whole family, so that a new BUILD_DATE repeats none of them.
        let base = if declared("BASE") { Some(self.base()?) } else { None };
        if let Some(base) = &base {
            args.insert("BASE".to_owned(), self.stage(base)?.to_owned());
        }
        for (arg, step) in &file.artifacts {
            args.insert(arg.clone(), self.stage(step)?.to_owned());
        }
        args.retain(|arg, _| declared(arg));

        let mut needs = vec![file.parent.clone()];
        needs.extend(base.filter(|base| *base != file.parent));
        needs.extend(file.artifacts.into_iter().filter(|(arg, _)| declared(arg)).map(|(_, step)| step));
        let parents = needs.iter().filter_map(|step| self.input(step)).collect();
        if file.entrypoint {
            needs.push(self.entrypoint());
        }

        let mut labels = file.labels;
        let mut set = |key: &str, value: &str| labels.insert(key.to_owned(), value.to_owned());
        set(label::FAMILY, request.family.name.as_str());
        set(label::IMAGE, &file.image);
        set(label::PROFILE, request.profile.as_str());
        set(label::PLATFORM, &request.facts.platform.to_string());
        if let Some(bundle) = &request.facts.ca_bundle {
            set(label::CA_BUNDLE, if bundle.named { "named" } else { "host" });
        }
        let inputs = Inputs {
            context: Some(context.digest),
            entrypoint: file.entrypoint.then_some(request.facts.entrypoint),
            parents,
            ..self.inputs()
        };
        let work = Work::Build(Built {
            image: file.image.clone(),
            context: file.folder.to_owned(),
            target: file.target.cloned(),
            parent: file.parent,
            args,
            labels,
            secrets: request.facts.ca_bundle.iter().map(|_| "ca".to_owned()).collect(),
            entrypoint: file.entrypoint,
        });
        let id = StepId(file.image.replacen(".finished", " finished", 1).replace('.', " + "));
        Some(self.add(id, Some(&file.image), needs, work, &inputs))
    }

    fn entrypoint(&mut self) -> StepId {
        let inputs = Inputs { entrypoint: Some(self.facts().entrypoint), ..self.inputs() };
        self.add(StepId("entrypoint".to_owned()), None, Vec::new(), Work::Entrypoint, &inputs)
    }

    fn check_args(&mut self) {
        for arg in self.request.facts.args.keys() {
            let why = if is_reserved(arg) {
                "Gantry sets this one itself"
            } else if !self.used_args.contains(arg) && self.errors.is_empty() {
                "no Dockerfile of the selected variants declares it"
            } else {
                continue;
            };
            self.errors.push(PlanError::BadArg { arg: arg.clone(), why: why.to_owned() });
        }
    }
}
