//! `cargo xtask ecr init`: makes the family's repositories in Amazon ECR, or aligns them. And what `push` asks of them
//! before it begins.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use futures_util::future::{join_all, try_join_all};
use serde_json::{Value, json};

use super::destinations::{self, Target};
use super::{Session, prepare};
use crate::cli::EcrInit;
use crate::event::{Event, Events};
use crate::failure::{Exit, Failure};
use crate::family::{Ecr, Family};
use crate::oci::{EcrRegistry, Repository};
use crate::publish::{Delivery, ReleasePlan, TagKind};
use crate::registry::ecr::{self, Change, EcrApi, EcrError, Found, MOST_EXCEPTIONS, Wanted};

/// A repository and what there is to do about it.
struct Work {
    target: Target,
    api: EcrApi,
    exists: bool,
    changes: Vec<Change>,
    notes: Vec<String>,
}

pub(super) async fn init(session: &Session, args: &EcrInit) -> Result<(), Failure> {
    let family = prepare::read_family(session)?;
    let targets = destinations::targets(&family, &args.destinations)?;
    if let Some(other) = targets.iter().find(|target| target.ecr.is_none() && !args.destinations.is_empty()) {
        let message = format!("`{}` ({}) is not in Amazon ECR", other.name, other.repository);
        return Err(Failure::new(Exit::Usage, message).hint("a push to other registries creates what is missing"));
    }
    let in_ecr: Vec<(Target, Ecr)> =
        targets.into_iter().filter_map(|target| target.ecr.clone().map(|ecr| (target, ecr))).collect();
    if in_ecr.is_empty() {
        return Err(Failure::new(Exit::Usage, "no destination of variants.toml is in Amazon ECR"));
    }
    session.interruptible(work(session, args, &family, in_ecr)).await
}

async fn work(session: &Session, args: &EcrInit, family: &Family, in_ecr: Vec<(Target, Ecr)>) -> Result<(), Failure> {
    let all = try_join_all(in_ecr.into_iter().map(|(target, ecr)| look(family, target, ecr))).await?;
    let todo = all.iter().any(|work| !work.changes.is_empty());
    let text: String = all.iter().map(text).collect();
    if args.dry_run || !todo {
        session.console.result(&as_json(&all, false), &text);
        return Ok(());
    }
    if !args.yes && !session.ci {
        session.console.say(text.trim_end());
        let declined = |message: &str| Failure::new(Exit::Missing, message).hint("--yes to agree beforehand, --dry-run to look");
        if !session.console.can_ask() {
            return Err(declined("something has to be changed in AWS, and there is nobody to ask"));
        }
        if !session.console.confirm("Do this?") {
            return Err(declined("nothing was changed"));
        }
    }
    let mut done: Vec<(&Repository, Vec<&str>)> = Vec::new();
    for work in &all {
        for change in &work.changes {
            let applied = work.api.apply(work.target.repository.path(), change).await;
            applied.map_err(|error| half_way(error.into(), &done))?;
            match done.last_mut().filter(|(repository, _)| **repository == work.target.repository) {
                Some((_, words)) => words.push(past(change)),
                None => done.push((&work.target.repository, vec![past(change)])),
            }
        }
    }
    session.console.result(&as_json(&all, true), &text);
    Ok(())
}

/// The same failure with what was done before it, and stays.
fn half_way(mut failure: Failure, done: &[(&Repository, Vec<&str>)]) -> Failure {
    if !done.is_empty() {
        let done: Vec<_> = done.iter().map(|(repository, words)| format!("`{repository}` is {}", words.join(", "))).collect();
        failure.message += &format!(" ({}; the same command does the rest)", done.join("; "));
    }
    failure
}

/// What a repository is once the change is made.
fn past(change: &Change) -> &'static str {
    match change {
        Change::Create { .. } => "created",
        Change::ScanOnPush => "scanned on push",
        Change::Mutability { .. } => "told which tags may move",
        Change::Lifecycle { .. } => "given its lifecycle policy",
    }
}

/// What the repository is like, and what that leaves to do.
async fn look(family: &Family, target: Target, ecr: Ecr) -> Result<Work, Failure> {
    let moving = target.moving(family);
    let mut notes = Vec::new();
    if moving.len() > MOST_EXCEPTIONS {
        notes.push(format!(
            "{} tags move, and ECR takes {MOST_EXCEPTIONS} exceptions: its tags stay mutable, and only Gantry keeps the others",
            moving.len()
        ));
    }
    let wanted = Wanted::new(&ecr, moving);
    let api = EcrApi::connect(&ecr.registry).await?;
    let found: Option<Found> = api.find(target.repository.path()).await?;
    let changes = ecr::changes(&wanted, found.as_ref()).map_err(|fixed| {
        Failure::new(Exit::Refused, format!("`{}`: {fixed}; nothing was changed", target.repository))
            .hint("name another repository, or in variants.toml the encryption that it has")
    })?;
    Ok(Work { target, api, exists: found.is_some(), changes, notes })
}

fn text(work: &Work) -> String {
    let registry = work.api.registry();
    let mut text = format!("{}: {} ({registry})\n", work.target.name, work.target.repository);
    if work.changes.is_empty() {
        text += "  as it should be\n";
    }
    for change in &work.changes {
        let _ = match change {
            Change::Create { encryption, kms_key } => {
                let key = kms_key.as_ref().map(|key| format!(" with {key}")).unwrap_or_default();
                writeln!(text, "  create     encrypted by {encryption}{key}, which cannot be changed later")
            }
            Change::ScanOnPush => writeln!(text, "  scan       what is pushed"),
            Change::Mutability { from: Some(from), to } => writeln!(text, "  tags       {from} → {to}"),
            Change::Mutability { from: None, to } => writeln!(text, "  tags       {to}"),
            Change::Lifecycle { from, to } => {
                let days = &to["rules"][0]["selection"]["countNumber"];
                let instead = from.as_ref().map(|from| format!(", instead of {from}")).unwrap_or_default();
                writeln!(text, "  lifecycle  what has no tag and nothing that refers to it goes after {days} days{instead}")
            }
        };
    }
    for note in &work.notes {
        let _ = writeln!(text, "  note: {note}");
    }
    text
}

fn as_json(all: &[Work], applied: bool) -> Value {
    let repository = |work: &Work| {
        let registry = work.api.registry();
        json!({
            "destination": work.target.name,
            "repository": work.target.repository,
            "account": registry.account,
            "region": registry.region,
            "exists": work.exists,
            "changes": work.changes,
            "notes": work.notes,
        })
    };
    json!({ "schema": 1, "applied": applied, "repositories": all.iter().map(repository).collect::<Vec<_>>() })
}

/// Asks ECR for every repository of a release, before anything is exported or sent: one that is missing is told with the
/// command that makes it, moving tags that cannot move are warned of. Who may push need not be allowed to look: then the
/// registry itself is left to say.
pub(super) async fn preflight(release: &ReleasePlan, family: &Family, events: &Events) -> Result<(), Failure> {
    let mut asked: BTreeMap<&Repository, (&Delivery, EcrRegistry)> = BTreeMap::new();
    for delivery in release.variants().iter().flat_map(|variant| &variant.destinations) {
        if let Some(registry) = registry_of(delivery, family) {
            asked.entry(&delivery.repository).or_insert((delivery, registry));
        }
    }
    let look = async |registry: &EcrRegistry, repository: &Repository| {
        EcrApi::connect(registry).await?.mutability(repository.path()).await
    };
    let answers = join_all(asked.iter().map(|(repository, (_, registry))| look(registry, repository))).await;
    let mut missing = Vec::new();
    for ((repository, (delivery, _)), answer) in asked.iter().zip(answers) {
        let name = &delivery.destination;
        let of_file = family.destinations.iter().any(|(known, to)| known.as_str() == name && to.repository == **repository);
        let flag = if of_file { name.clone() } else { format!("{name}={repository}") };
        match answer {
            Ok(None) => missing.push((repository.to_string(), format!("cargo xtask ecr init --destination {flag}"))),
            Ok(Some(mutability)) => {
                let deliveries = release.variants().iter().flat_map(|variant| &variant.destinations);
                let tags = deliveries.filter(|delivery| delivery.repository == **repository).flat_map(|delivery| &delivery.tags);
                let fixed = tags.filter(|tag| tag.kind == TagKind::Moving && !mutability.may_move(&tag.name));
                let fixed: Vec<String> = fixed.map(|tag| format!("`{}`", tag.name)).collect();
                if !fixed.is_empty() {
                    let tags = fixed.join(", ");
                    let text = format!(
                        "`{repository}` lets {tags} be set only once, and they move with every release: cargo xtask ecr init \
                         --destination {flag}"
                    );
                    events.emit(Event::Warning { text });
                }
            }
            Err(error) => events.emit(Event::Note { text: format!("`{name}` is not looked at beforehand: {error}") }),
        }
    }
    let Some((first, _)) = missing.first() else { return Ok(()) };
    let message = match missing.len() {
        1 => format!("`{first}` does not exist, and Amazon ECR does not create it by a push"),
        _ => {
            let names: Vec<String> = missing.iter().map(|(repository, _)| format!("`{repository}`")).collect();
            format!("{} do not exist, and Amazon ECR does not create them by a push", names.join(", "))
        }
    };
    let commands: Vec<String> = missing.into_iter().map(|(_, command)| command).collect();
    Err(Failure::new(Exit::Missing, message).hint(commands.join("\n")))
}

/// Whose repository in ECR this is: told by its host, or by the file where a registry on this machine stands in for ECR.
fn registry_of(delivery: &Delivery, family: &Family) -> Option<EcrRegistry> {
    let of_file = || family.destinations.values().find(|to| to.repository == delivery.repository)?.ecr.clone();
    EcrRegistry::at(delivery.repository.registry()).or_else(|| Some(of_file()?.registry))
}

impl From<EcrError> for Failure {
    fn from(error: EcrError) -> Self {
        let failure = Self::new(Exit::Missing, error.to_string());
        match error.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
