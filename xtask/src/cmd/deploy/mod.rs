//! `cargo xtask deploy ecs`: services of Amazon ECS start their tasks anew, and we wait until they are steady.

mod failures;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use self::failures::{after, failed, late, together};
use super::Session;
use super::destinations::{sources, targets};
use super::prepare::read_family;
use super::session::variable;
use crate::cli::DeployEcs;
use crate::deploy::{Container, Ecs, EcsError, Identity, Progress, Service, Verdict, containers, judge, news, replaced};
use crate::event::{Event, Events, Outcome};
use crate::failure::{Exit, Failure};
use crate::family::Family;
use crate::oci::{Reference, Repository};
use crate::registry;

/// ECS changes slowly, and limits how often it is asked.
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// So long what ECS answers may be from before the deployment: it is consistent after a while only.
const STALE: Duration = Duration::from_secs(30);

pub(super) async fn ecs(session: &Session, args: &DeployEcs) -> Result<(), Failure> {
    let family = read_family(session)?;
    let events = session.console.events();
    let (ecs, plans) = session.interruptible(prepared(args, &family, &events)).await?;
    for warning in plans.iter().flat_map(|plan| warnings(plan, args)) {
        events.emit(Event::Warning { text: warning });
    }
    if args.dry_run {
        session.console.result(&as_json(&ecs, args, &plans, &[]), &as_text(&ecs, args, &plans));
        return Ok(());
    }
    // Not interrupted: what has begun is to be told. The waiting below hears of it.
    let deployments = begin(&ecs, args, plans).await?;
    let plans: Vec<&Plan> = deployments.iter().map(|deployment| &deployment.plan).collect();
    if args.no_wait {
        let text = deployments.iter().map(|it| format!("{}: {} has begun\n", it.plan.service.service_name, it.id));
        session.console.result(&as_json(&ecs, args, plans, &deployments), &text.collect::<String>());
        return Ok(());
    }
    let waiting = wait(&ecs, args, &deployments, &events);
    let ended = match session.interrupt()?.or(waiting).await {
        Some(ended) => ended?,
        None => {
            let names = quoted(deployments.iter().map(|it| it.plan.service.service_name.as_str()));
            let failure = Failure::new(Exit::Interrupted, format!("interrupted; the deployment of {names} goes on without us"));
            let profile = args.profile.as_ref().map(|profile| format!(" --profile {profile}")).unwrap_or_default();
            return Err(failure.hint(format!(
                "aws ecs wait services-stable --region {}{profile} --cluster {} --services {}",
                ecs.region(),
                args.cluster,
                args.services.join(" ")
            )));
        }
    };
    let text = ended.iter().map(|(name, progress)| format!("{name}: steady, {progress}\n")).collect::<String>();
    session.console.result(&as_json(&ecs, args, plans, &deployments), &text);
    Ok(())
}

/// What is to be done with a service.
struct Plan {
    service: Service,
    /// Of its task definition.
    containers: Vec<Container>,
    /// What registers the next revision, where `--image` asks for one.
    revision: Option<Value>,
}

/// A deployment that has begun.
struct Begun {
    plan: Plan,
    /// `ecs-svc/…`
    id: String,
    /// The task definition that it is of.
    definition: String,
    /// Events that are older than it.
    seen: HashSet<String>,
}

impl Begun {
    /// What ECS answers where it does not know of this deployment yet: the service as it was before.
    fn is_unknown(&self, service: &Service) -> bool {
        let listed = |id: &str| service.deployments.iter().any(|deployment| deployment.id == id);
        let primary = |service: &Service| service.primary().map(|primary| primary.id.clone());
        !listed(&self.id) && primary(service).is_some() && primary(service) == primary(&self.plan.service)
    }
}

/// Checks everything that can be checked, all at once.
async fn prepared(args: &DeployEcs, family: &Family, events: &Events) -> Result<(Ecs, Vec<Plan>), Failure> {
    let targets = targets(family, &[])?;
    let repositories: Vec<Repository> = targets.iter().map(|target| target.repository.clone()).collect();
    let image = args.image.as_ref().map(|image| image.parse::<Reference>()).transpose();
    let image = image.map_err(|error| Failure::new(Exit::Usage, format!("--image: {error}")))?;
    let mut known = BTreeSet::new();
    let names: Vec<String> = args.services.iter().filter(|name| known.insert(name.as_str())).cloned().collect();
    let identity = Identity { region: region(args), profile: args.profile.clone(), endpoint: variable("AWS_ENDPOINT_URL_ECS") };
    let ecs = Ecs::connect(identity).await?;
    let mut problems = Vec::new();
    let mut hints = Vec::new();
    let look = async |image: &Reference| {
        let insecure = targets.iter().any(|target| target.insecure && target.repository == image.repository);
        registry::digest_of(image, insecure, &sources(family)?).await
    };
    let looked = async {
        let image = image.as_ref()?;
        Some((image, look(image).await))
    };
    let (cluster, services, looked) = tokio::join!(ecs.cluster(&args.cluster), ecs.services(&args.cluster, &names), looked);
    match cluster {
        Ok(Some(cluster)) if cluster.status == "ACTIVE" => {}
        Ok(Some(cluster)) => problems.push(format!("the cluster `{}` is {}", args.cluster, cluster.status.to_lowercase())),
        Ok(None) => {
            problems.push(format!("no cluster `{}` in {}", args.cluster, ecs.region()));
            hints.push("aws ecs list-clusters    (is it the right region and profile?)".to_owned());
        }
        Err(error) => problem(&error, &mut problems, &mut hints),
    }
    let (services, missing) = match services {
        Ok(found) => found,
        // Without its cluster a service is nowhere; that is told already.
        Err(error) if error.code() == Some("ClusterNotFoundException") && !problems.is_empty() => (Vec::new(), Vec::new()),
        Err(error) => {
            problem(&error, &mut problems, &mut hints);
            (Vec::new(), Vec::new())
        }
    };
    match looked {
        Some((image, Ok(None))) => {
            problems.push(format!("no image `{image}`: its registry has none of this name"));
            hints.push("cargo xtask verify    (tells what is published where)".to_owned());
        }
        // The tasks may well be able to pull what this machine may not ask for.
        Some((image, Err(error))) => {
            events.emit(Event::Warning { text: format!("whether `{image}` is there cannot be told from here: {error}") });
        }
        Some((_, Ok(Some(_)))) | None => {}
    }
    for name in &missing {
        problems.push(format!("no service `{name}` in the cluster `{}`", args.cluster));
    }
    if !missing.is_empty() {
        hints.push(format!("aws ecs list-services --cluster {}", args.cluster));
    }
    let mut plans = Vec::new();
    for service in services {
        let name = &service.service_name;
        if service.status != "ACTIVE" {
            problems.push(format!("the service `{name}` is {}", service.status.to_lowercase()));
            continue;
        }
        if service.controller() != "ECS" {
            problems.push(format!("the service `{name}` is deployed by `{}`, not by ECS itself", service.controller()));
            continue;
        }
        match ecs.task_definition(&service.task_definition).await {
            Ok(answer) => {
                let containers = answer.get("taskDefinition").map(|it| containers(it, &repositories)).unwrap_or_default();
                let revision = args.image.as_ref().map(|image| replaced(&answer, &repositories, image));
                if let Some(None) = revision {
                    problems.push(format!(
                        "no container of `{}` has an image of this family: `--image` replaces none",
                        short(&service.task_definition)
                    ));
                }
                plans.push(Plan { service, containers, revision: revision.flatten() });
            }
            Err(error) => problem(&error, &mut problems, &mut hints),
        }
    }
    if problems.is_empty() {
        return Ok((ecs, plans));
    }
    // Two questions may meet one and the same obstacle.
    problems.dedup();
    hints.dedup();
    let failure = Failure::new(Exit::Missing, problems.join("\n       "));
    Err(if hints.is_empty() { failure } else { failure.hint(hints.join("\n")) })
}

fn problem(error: &EcsError, problems: &mut Vec<String>, hints: &mut Vec<String>) {
    problems.push(error.to_string());
    hints.extend(error.hint());
}

/// What the command line says: the flag, or the cluster's ARN (`arn:aws:ecs:us-west-2:123456789012:cluster/workspaces`).
fn region(args: &DeployEcs) -> Option<String> {
    let of_arn = || args.cluster.strip_prefix("arn:")?.split(':').nth(2).map(str::to_owned);
    args.region.clone().or_else(of_arn)
}

/// What a person should know before a service is deployed anew.
fn warnings(plan: &Plan, args: &DeployEcs) -> Vec<String> {
    let Plan { service, containers, .. } = plan;
    let (name, definition) = (&service.service_name, short(&service.task_definition));
    let mut told = Vec::new();
    if !containers.iter().any(|container| container.ours.is_some()) {
        let images = quoted(containers.iter().map(|container| container.image.as_str()));
        told.push(format!("`{name}`: its task definition `{definition}` has no image of this family, but {images}"));
    }
    for container in containers.iter().filter(|container| container.is_pinned() && args.image.is_none()) {
        told.push(format!(
            "`{name}`: `{definition}` names `{}` by its digest: a new deployment pulls the same bytes. For another image, a new task \
             definition is needed: `cargo xtask pin` its source and apply it, or give `--image`",
            container.name
        ));
    }
    if service.desired_count == 0 {
        told.push(format!("`{name}` is to run no task (its desired count is 0): nothing will start"));
    }
    told
}

/// Registers what has to be registered, then deploys.
async fn begin(ecs: &Ecs, args: &DeployEcs, plans: Vec<Plan>) -> Result<Vec<Begun>, Failure> {
    // Services may share a task definition, which gets one revision.
    let mut registered: BTreeMap<String, String> = BTreeMap::new();
    for plan in &plans {
        if let Some(revision) = plan.revision.as_ref().filter(|_| !registered.contains_key(&plan.service.task_definition)) {
            let definition = ecs.register(revision).await.map_err(|error| after(error.into(), &registered, &[]))?;
            registered.insert(plan.service.task_definition.clone(), definition);
        }
    }
    let mut begun: Vec<Begun> = Vec::new();
    for plan in plans {
        let name = plan.service.service_name.clone();
        let definition = registered.get(&plan.service.task_definition).map(String::as_str);
        let updated = ecs.deploy(&args.cluster, &name, definition).await;
        let updated = updated.map_err(|error| after(error.into(), &registered, &begun))?;
        let id = updated.primary().map(|primary| primary.id.clone());
        let unknown = || Failure::new(Exit::Unexpected, format!("ECS tells no deployment of `{name}`"));
        let id = id.ok_or_else(|| after(unknown(), &registered, &begun))?;
        let seen = plan.service.events.iter().map(|event| event.id.clone()).collect();
        begun.push(Begun { plan, id, definition: updated.task_definition, seen });
    }
    Ok(begun)
}

/// Waits until all are steady: their names, and what runs.
async fn wait(ecs: &Ecs, args: &DeployEcs, begun: &[Begun], events: &Events) -> Result<Vec<(String, Progress)>, Failure> {
    let start = Instant::now();
    let deadline = Duration::from_secs(args.timeout.into());
    let mut pause = FIRST_PAUSE;
    let mut open: Vec<(&Begun, HashSet<String>)> = begun.iter().map(|it| (it, it.seen.clone())).collect();
    let mut ended = Vec::new();
    for it in begun {
        let title = format!("{} of {}", it.id, short(&it.definition));
        events.emit(Event::StepStarted { step: it.plan.service.service_name.clone(), title });
    }
    loop {
        let names: Vec<String> = open.iter().map(|(it, _)| it.plan.service.service_name.clone()).collect();
        let (services, missing) = ecs.services(&args.cluster, &names).await.map_err(|error| {
            let mut failure = Failure::from(error);
            failure.message += &format!(" (the deployment of {} goes on)", quoted(names.iter().map(String::as_str)));
            failure
        })?;
        let (mut going, mut failures) = (Vec::new(), Vec::new());
        for (it, mut seen) in open {
            let name = &it.plan.service.service_name;
            let finished = |outcome, detail: String| {
                let (step, seconds) = (name.clone(), start.elapsed());
                events.emit(Event::StepFinished { step, outcome, seconds, detail });
            };
            let Some(service) = services.iter().find(|service| service.service_name == *name) else {
                finished(Outcome::Failed, "it is gone".to_owned());
                failures.push(Failure::new(Exit::Deploy, format!("the service `{name}` is gone")).detail(missing.join("\n")));
                continue;
            };
            if it.is_unknown(service) && start.elapsed() < STALE {
                let begins = Progress { desired: service.desired_count, old: service.running_count, ..Progress::default() };
                going.push((it, seen, begins));
                continue;
            }
            for event in news(service, &mut seen) {
                events.emit(Event::Note { text: event.message.clone() });
            }
            match judge(service, &it.id) {
                Verdict::Going(progress) => {
                    let (step, current) = (name.clone(), progress.to_string());
                    events.emit(Event::StepProgress { step, current, done: progress.running, total: progress.desired });
                    going.push((it, seen, progress));
                }
                Verdict::Steady(progress) => {
                    finished(Outcome::Done, progress.to_string());
                    ended.push((name.clone(), progress));
                }
                verdict => {
                    let failure = failed(it, service, verdict);
                    finished(Outcome::Failed, failure.message.clone());
                    failures.push(failure);
                }
            }
        }
        if let Some(failure) = together(failures, &going) {
            return Err(failure);
        }
        if going.is_empty() {
            return Ok(ended);
        }
        if start.elapsed() >= deadline {
            return Err(late(args, &going, &services));
        }
        open = going.into_iter().map(|(it, seen, _)| (it, seen)).collect();
        tokio::time::sleep(pause.min(deadline.saturating_sub(start.elapsed()))).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// `arn:aws:ecs:us-west-2:123456789012:task-definition/ansible:7` → `ansible:7`
fn short(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

fn quoted<'n>(names: impl Iterator<Item = &'n str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn as_text(ecs: &Ecs, args: &DeployEcs, plans: &[Plan]) -> String {
    let mut text = format!("would deploy anew in the cluster `{}` in {}:\n", args.cluster, ecs.region());
    for Plan { service, containers, revision } in plans {
        let running = format!("{} of {} running", service.running_count, service.desired_count);
        text += &format!("  {}: {} ({running})\n", service.service_name, short(&service.task_definition));
        for container in containers {
            let becomes = revision.as_ref().filter(|_| container.ours.is_some()).and(args.image.as_ref());
            let becomes = becomes.map(|image| format!(" → {image}, in a new revision")).unwrap_or_default();
            text += &format!("    {}: {}{becomes}\n", container.name, container.image);
        }
    }
    text
}

fn as_json<'p>(ecs: &Ecs, args: &DeployEcs, plans: impl IntoIterator<Item = &'p Plan>, begun: &[Begun]) -> Value {
    let service = |plan: &Plan| {
        let name = &plan.service.service_name;
        let deployment = begun.iter().find(|it| it.plan.service.service_name == *name);
        let containers = plan.containers.iter().map(|container| {
            json!({ "name": container.name, "image": container.image, "family": container.ours.is_some(), "pinned": container.is_pinned() })
        });
        json!({
            "service": name,
            "task-definition": deployment.map_or(plan.service.task_definition.as_str(), |it| it.definition.as_str()),
            "containers": containers.collect::<Vec<_>>(),
            "desired": plan.service.desired_count,
            "deployment": deployment.map(|it| it.id.as_str()),
            "warnings": warnings(plan, args),
        })
    };
    let services: Vec<Value> = plans.into_iter().map(service).collect();
    let steady = !args.dry_run && !args.no_wait;
    json!({ "schema": 1, "cluster": args.cluster, "region": ecs.region(), "dry-run": args.dry_run, "steady": steady, "services": services })
}
