//! What a plan consists of, and what a change of its inputs rebuilds. Pure: families are read from texts.

use std::collections::{BTreeMap, BTreeSet};

use xtask::family::{self, Family, Lock, Name, SourceText};
use xtask::oci::Digest;
use xtask::plan::{self, Action, ContextFact, Facts, Plan, PlanError, Request, Step, Work};

const FAMILY: &str = r#"
schema = 1
[family]
name = "epic"
title = "Epic"
source = "https://example.org/epic"
platforms = ["linux/amd64"]
build-date = "2026-11-20"
[tags]
moving = "{variant}"
immutable = "{variant}-{date}-{revision}"
[pins.runner]
version = "2.337.0"
build-arg = "RUNNER_VERSION"
upstream = { github-release = "actions/runner", asset = "runner-{arch}-{version}.tar.gz" }
place = { path = "/opt/runner", unpack = "tar.gz", owner = "1001:1001" }
[pins.server]
version = "1111111111111111111111111111111111111111"
upstream = { vscode = "server-linux-{arch}-web" }
place = { path = "/opt/server", unpack = "tar.gz", strip = 1 }
[profiles.default]
base = { image = "docker.io/library/debian:trixie-slim" }
[profiles.offline]
base = { bootstrap = "trixie", packages = ["ca-certificates"] }
args = { IDE = "code-server" }
vendors = false
local-suffix = "-offline"
without = ["server"]
[images.base]
context = "images/base"
[variants.aws]
description = "for AWS"
parent = "base"
context = "images/aws"
components = ["runner"]
aliases = ["aws-coder"]
destinations = ["ghcr"]
[variants.aws-web]
inherits = "aws"
description = "for AWS, with VS Code"
parent = "aws"
context = "images/web"
pins = ["server"]
[variants.azure]
inherits = "aws"
description = "for Azure"
parent = "base"
context = "images/azure"
[destinations.ghcr]
repository = "ghcr.io/example/epic"
"#;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn family() -> Family {
    let source = SourceText { name: "variants.toml".into(), text: FAMILY.into() };
    family::read(&source, &|_| true).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn lock(family: &Family) -> Lock {
    let mut lock = Lock::default();
    let platform = family.platforms[0];
    for (pin, version) in [("runner", "2.337.0"), ("server", "1111111111111111111111111111111111111111")] {
        let artifact = family::LockedArtifact {
            version: version.into(),
            url: format!("https://example.org/{pin}"),
            sha256: Digest::of(pin),
            released: None,
            newest_on: None,
        };
        lock.artifacts.insert((name(pin), platform), artifact);
    }
    lock.bases.insert("docker.io/library/debian:trixie-slim".into(), Digest::of("debian"));
    lock
}

fn context(content: &str, args: &[&str]) -> ContextFact {
    ContextFact { digest: Digest::of(content), declared_args: args.iter().map(|arg| (*arg).to_owned()).collect() }
}

fn facts(family: &Family) -> Facts {
    let contexts = [
        ("images/base", context("base", &["PARENT", "BUILD_DATE"])),
        ("images/aws", context("aws", &["PARENT", "BASE", "BUILD_DATE"])),
        ("images/azure", context("azure", &["PARENT", "BASE", "BUILD_DATE"])),
        ("images/web", context("web", &["PARENT", "BASE", "BUILD_DATE", "IDE", "ARTIFACT_SERVER"])),
        ("images/component", context("component", &["PARENT", "ARTIFACT"])),
        ("images/finish", context("finish", &["PARENT", "RUNNER_VERSION"])),
    ];
    Facts {
        platform: family.platforms[0],
        build_date: family.build_date.clone(),
        args: BTreeMap::new(),
        revision: None,
        contexts: contexts.into_iter().map(|(folder, fact)| (folder.to_owned(), fact)).collect(),
        entrypoint: Digest::of("entrypoint"),
        unavailable: BTreeMap::new(),
        ca_bundle: None,
        parents: BTreeMap::new(),
    }
}

const ALL: [&str; 3] = ["aws", "aws-web", "azure"];

struct Case {
    family: Family,
    lock: Lock,
    facts: Facts,
    profile: &'static str,
}

fn case() -> Case {
    let family = family();
    Case { lock: lock(&family), facts: facts(&family), family, profile: "default" }
}

impl Case {
    fn resolve(&self, variants: &[&str]) -> Result<Plan, Vec<PlanError>> {
        let variants: Vec<Name> = variants.iter().map(|variant| name(variant)).collect();
        let profile = name(self.profile);
        plan::resolve(&Request {
            family: &self.family,
            lock: &self.lock,
            profile: &profile,
            variants: &variants,
            facts: &self.facts,
        })
    }

    fn plan(&self) -> Plan {
        self.resolve(&ALL).unwrap()
    }
}

fn ids(plan: &Plan) -> Vec<&str> {
    plan.steps.iter().map(|step| step.id.as_str()).collect()
}

fn step<'a>(plan: &'a Plan, id: &str) -> &'a Step {
    plan.steps.iter().find(|step| step.id.as_str() == id).unwrap_or_else(|| panic!("no step `{id}` in {:?}", ids(plan)))
}

fn built<'a>(plan: &'a Plan, id: &str) -> &'a plan::Built {
    match &step(plan, id).work {
        Work::Build(built) => built,
        other => panic!("`{id}` is {other:?}"),
    }
}

/// The steps of `plan` that an engine which has carried out `before` still has to run.
fn rebuilt(before: &Plan, plan: &Plan) -> BTreeSet<String> {
    let there: BTreeSet<&Option<String>> = before.steps.iter().map(|step| &step.stage).collect();
    let schedule = plan::schedule(plan, |step| step.stage.is_some() && there.contains(&step.stage), false);
    schedule.running().map(ToString::to_string).collect()
}

fn set(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

#[test]
fn every_step_stands_after_what_it_needs_and_shared_steps_stand_once() {
    let plan = case().plan();
    let ids = ids(&plan);
    assert_eq!(
        ids,
        [
            "artifact runner",
            "external",
            "base",
            "aws",
            "aws + runner",
            "entrypoint",
            "aws finished",
            "artifact server",
            "aws-web",
            "aws-web + runner",
            "aws-web finished",
            "azure",
            "azure + runner",
            "azure finished",
        ]
    );
    for (at, step) in plan.steps.iter().enumerate() {
        for need in &step.needs {
            assert!(ids[..at].contains(&need.as_str()), "`{}` needs `{need}`", step.id);
        }
    }
}

#[test]
fn children_build_on_the_unfinished_parent() {
    let plan = case().plan();
    assert_eq!(built(&plan, "aws-web").parent.as_str(), "aws");
    assert_eq!(built(&plan, "aws-web").args["PARENT"], step(&plan, "aws").stage.clone().unwrap());
    assert_eq!(built(&plan, "aws-web").args["BASE"], step(&plan, "external").stage.clone().unwrap());
}

#[test]
fn a_dockerfile_gets_the_arguments_that_it_declares() {
    let plan = case().plan();
    let keys = |id: &str| built(&plan, id).args.keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys("aws-web"), ["ARTIFACT_SERVER", "BASE", "BUILD_DATE", "PARENT"]);
    assert_eq!(keys("aws finished"), ["PARENT", "RUNNER_VERSION"]);
    assert_eq!(keys("aws + runner"), ["ARTIFACT", "PARENT"]);
}

#[test]
fn one_variant_needs_nothing_of_the_others() {
    let plan = case().resolve(&["azure"]).unwrap();
    assert_eq!(ids(&plan), ["artifact runner", "external", "base", "azure", "azure + runner", "entrypoint", "azure finished"]);
}

#[test]
fn tags_and_labels_of_a_variant() {
    let plan = case().plan();
    assert_eq!(plan.variants[0].local_tags, ["epic:aws", "epic:aws-coder"]);
    let labels = &built(&plan, "aws-web finished").labels;
    for (key, value) in [
        ("org.opencontainers.image.title", "Epic aws-web"),
        ("org.opencontainers.image.created", "2026-11-20T00:00:00Z"),
        ("org.opencontainers.image.base.name", "docker.io/library/debian:trixie-slim"),
        ("gantry.variant", "aws-web"),
        ("gantry.pin.runner", "2.337.0"),
        ("gantry.pin.server", "1111111111111111111111111111111111111111"),
        ("gantry.omitted", ""),
        ("devcontainer.metadata", r#"[{"overrideCommand":false,"remoteUser":"ansible"}]"#),
    ] {
        assert_eq!(labels[key], value, "{key}");
    }
    assert_eq!(labels["gantry.input-digest"], step(&plan, "aws-web finished").input.to_string());
}

#[test]
fn nothing_changed_runs_nothing() {
    let case = case();
    assert_eq!(rebuilt(&case.plan(), &case.plan()), set(&[]));
}

#[test]
fn what_a_change_rebuilds() {
    let before = case().plan();
    let finished = ["entrypoint", "aws finished", "aws-web finished", "azure finished"];
    let with = |more: &[&str]| set(&[&finished[..], more].concat());
    let images = ["base", "aws", "aws-web", "azure", "aws + runner", "aws-web + runner", "azure + runner"];

    let mut entrypoint = case();
    entrypoint.facts.entrypoint = Digest::of("another entrypoint");
    assert_eq!(rebuilt(&before, &entrypoint.plan()), with(&[]), "entrypoint");

    let mut runner = case();
    runner.lock.artifacts.get_mut(&(name("runner"), runner.family.platforms[0])).unwrap().sha256 = Digest::of("new");
    let changed = with(&["artifact runner", "aws + runner", "aws-web + runner", "azure + runner"]);
    assert_eq!(rebuilt(&before, &runner.plan()), changed, "runner");

    let mut date = case();
    date.facts.build_date = "2026-12-01".parse().unwrap();
    assert_eq!(rebuilt(&before, &date.plan()), with(&images), "BUILD_DATE");

    let mut azure = case();
    azure.facts.contexts.insert("images/azure".into(), context("changed", &["PARENT"]));
    assert_eq!(
        rebuilt(&before, &azure.plan()),
        set(&["azure", "azure + runner", "entrypoint", "azure finished"]),
        "a Dockerfile"
    );

    let mut mirror = case();
    mirror.lock.artifacts.get_mut(&(name("runner"), mirror.family.platforms[0])).unwrap().url = "https://mirror".into();
    assert_eq!(rebuilt(&before, &mirror.plan()), set(&[]), "the same bytes from elsewhere");

    let mut commit = case();
    commit.facts.revision = Some(plan::Revision { commit: "1".repeat(40), dirty: true });
    assert_eq!(rebuilt(&before, &commit.plan()), set(&[]), "a commit that touches none of this");
}

#[test]
fn no_cache_builds_every_dockerfile_and_downloads_nothing_again() {
    let plan = case().plan();
    let schedule = plan::schedule(&plan, |_| true, true);
    let running: Vec<&str> = schedule.running().map(plan::StepId::as_str).collect();
    assert!(running.contains(&"base") && running.contains(&"azure finished"));
    assert!(!running.iter().any(|id| id.starts_with("artifact") || *id == "external"), "{running:?}");
}

#[test]
fn what_lies_below_a_finished_image_is_not_needed() {
    let plan = case().plan();
    let schedule = plan::schedule(&plan, |step| step.id.as_str().ends_with("finished"), false);
    assert_eq!(schedule.running().count(), 0);
    assert_eq!(schedule.action(&step(&plan, "base").id), Action::NotNeeded);
    assert_eq!(schedule.action(&step(&plan, "aws finished").id), Action::UpToDate);
}

#[test]
fn offline_leaves_out_what_no_mirror_has_and_says_so() {
    let mut offline = Case { profile: "offline", ..case() };
    offline.facts.unavailable.insert(name("runner"), "no mirror has it".into());
    let plan = offline.plan();
    assert_eq!(plan.variants[0].omitted, [name("runner")]);
    assert_eq!(plan.variants[0].local_tags, ["epic:aws-offline", "epic:aws-coder-offline"]);
    assert_eq!(built(&plan, "aws finished").labels["gantry.omitted"], "runner");
    assert!(!built(&plan, "aws finished").labels.contains_key("gantry.pin.runner"));
    assert_eq!(built(&plan, "aws-web").args["IDE"], "code-server");
    assert_eq!(plan.warnings, ["`runner` is left out of aws, aws-web, azure: no mirror has it"]);
    assert!(matches!(step(&plan, "bootstrap").work, Work::Bootstrap { .. }));
}

#[test]
fn a_bundle_is_a_secret_and_is_recorded() {
    let mut case = case();
    case.facts.ca_bundle = Some(plan::BundleFact { named: false, file: "/etc/ca.crt".into() });
    let plan = case.plan();
    assert_eq!(built(&plan, "base").secrets, set(&["ca"]));
    assert_eq!(built(&plan, "aws finished").labels["gantry.ca-bundle"], "host");
    assert_eq!(plan.warnings.len(), 1);
}

#[test]
fn published_parents_are_pulled_by_digest() {
    let mut case = case();
    let reference: xtask::oci::Reference = format!("ghcr.io/example/epic@{}", Digest::of("aws")).parse().unwrap();
    case.facts.parents.insert(name("aws"), plan::ParentFact { reference: reference.clone() });
    let plan = case.resolve(&["aws-web"]).unwrap();
    assert_eq!(built(&plan, "aws-web").parent.as_str(), "published aws");
    assert_eq!(step(&plan, "published aws").work, Work::Pull { reference });
    assert!(!ids(&plan).contains(&"base"));
}

#[test]
fn all_reasons_for_no_plan_are_given_at_once() {
    let mut case = case();
    case.lock = Lock::default();
    case.facts.contexts.remove("images/azure");
    case.facts.args.insert("PARENT".into(), "x".into());
    let errors = case.resolve(&ALL).unwrap_err();
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert!(
        texts.iter().any(|text| text.contains("base image `docker.io/library/debian:trixie-slim` has no digest")),
        "{texts:?}"
    );
    assert!(texts.iter().any(|text| text.contains("pin `runner` has no digest for linux/amd64")), "{texts:?}");
    assert!(texts.iter().any(|text| text.contains("`--arg PARENT`")), "{texts:?}");
}

#[test]
fn an_argument_that_nobody_declares_is_an_error() {
    let mut case = case();
    case.facts.args.insert("TYPO".into(), "x".into());
    let errors = case.resolve(&ALL).unwrap_err();
    assert_eq!(errors.len(), 1);
    assert!(errors[0].to_string().contains("no Dockerfile of the selected variants declares it"));
}
