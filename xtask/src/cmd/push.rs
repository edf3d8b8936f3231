//! `cargo xtask push`: publishes what this plan built, the same bytes to every destination.

use super::deliver::{Delivering, How, interrupted};
use super::prepare::{Locking, Prepared};
use super::release::{Destinations, OnceEngine, built, release};
use super::{Session, age, ecr, summary};
use crate::cli::Push;
use crate::failure::Failure;
use crate::plan::Plan;
use crate::publish::PublishError;

pub(super) async fn run(session: &Session, args: &Push) -> Result<(), Failure> {
    let destinations = Destinations::parse(&args.to.destinations)?;
    let prepared = Prepared::gather(session, &args.inputs, Locking::InMemory).await?;
    let plan = prepared.plan()?;
    age::check(session, &prepared, &plan, args.to.allow_old_pins)?;
    let engine = OnceEngine::default();
    let built = built(&plan, &engine).await?;
    let (wanted, indexes) = release(&prepared, &plan, &built.images, &destinations, args.to.allow_dirty)?;
    let how = How { dry_run: args.dry_run, force: args.to.force, back: args.to.force, sbom: !args.to.no_sbom };
    let mut delivering = Delivering::open(session, &prepared, &plan, &engine, how).await?;
    let interrupt = session.interrupt()?;
    session.interruptible(ecr::preflight(&wanted, &prepared.family, &session.console.events())).await?;
    let references = wanted.references();
    let looking = async {
        delivering.connect(&wanted).await?;
        delivering.decide(wanted, false).await
    };
    let looked = interrupt.or(looking).await.ok_or_else(interrupted)?;
    let failed =
        |error, delivering: &Delivering<'_>, unreachable| failure(delivering.failed(error, &references), &plan, unreachable);
    let release = looked.map_err(|error| failed(error, &delivering, built.unreachable))?;
    if args.dry_run {
        let preview = release.preview();
        session.console.result(&preview, &preview.to_string());
        return Ok(());
    }
    delivering.tried(&release).accepted()?.tell(&session.console.events());
    let pushed = interrupt.or(delivering.carry_out(&release, &indexes)).await.ok_or_else(interrupted)?;
    let pushed = pushed.map_err(|error| failed(error, &delivering, None))?;
    delivering.finish(&pushed).await;
    session.console.result(&pushed, &summary::text(&pushed));
    Ok(())
}

/// What is missing is built by a command that can be named in full, where there is an engine to build it.
fn failure(error: PublishError, plan: &Plan, unreachable: Option<Failure>) -> Failure {
    match (&error, unreachable) {
        (PublishError::Missing { .. }, Some(unreachable)) => unreachable,
        (PublishError::Missing { variants }, None) => {
            let flags: Vec<String> = variants.iter().map(|name| format!("--variant {name}")).collect();
            let hint = format!("cargo xtask build {} --profile {}", flags.join(" "), plan.profile);
            Failure::from(error).hint(hint)
        }
        _ => error.into(),
    }
}
