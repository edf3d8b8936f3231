//! `cargo xtask quickstart`: from a bare machine to a running workspace on loopback.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::json;

use super::prepare::{Locking, Prepared};
use super::{Session, build, engine, setup};
use crate::cli::{Inputs, Parent, Quickstart, Selection};
use crate::engine::{ContainerRequest, ContainerState, Engine, Health};
use crate::event::{Event, Outcome};
use crate::failure::{Exit, Failure};
use crate::plan;

/// How long a workspace may take until its services answer.
const PATIENCE: Duration = Duration::from_secs(120);
/// The port that the web server listens on in the container.
const WEB_PORT: u16 = 8080;

pub(super) async fn run(session: &Session, args: &Quickstart) -> Result<(), Failure> {
    let family = super::prepare::read_family(session)?;
    let name = args.name.clone();
    if args.down {
        let engine = engine::connect().await?;
        engine.stop_and_remove(&name, 30).await?;
        session.console.say(&format!("`{name}` is gone; its image stays: `cargo xtask clean --images` removes that, too"));
        return Ok(());
    }
    setup::ensure(session, &args.profile, args.yes, false).await?;
    let inputs = Inputs {
        selection: Selection { variants: vec![args.variant.clone()], all: false, profile: args.profile.clone() },
        build_date: None,
        args: Vec::new(),
        parent: Parent::Built,
        entrypoint: None,
        locked: false,
        ca_bundle: None,
        no_ca_bundle: false,
    };
    let prepared = session.interruptible(Prepared::gather(session, &inputs, Locking::Write)).await?;
    let plan = prepared.plan()?;
    let engine = engine::connect().await?;
    let options = build::Options { jobs: 2, no_cache: false, wait: true };
    build::build(session, &prepared, &plan, engine.clone(), &options).await?;

    let image = plan.variants.first().and_then(|variant| variant.local_tags.first()).cloned().unwrap_or_default();
    session.interruptible(async { Ok(engine.stop_and_remove(&name, 30).await?) }).await?;
    let token = random_token()?;
    let request = ContainerRequest {
        name: name.clone(),
        image,
        env: BTreeMap::from([("VSCODE_WEB".to_owned(), "1".to_owned()), ("VSCODE_WEB_TOKEN".to_owned(), token.clone())]),
        labels: BTreeMap::from([(plan::CONTAINER.to_owned(), family.name.to_string())]),
        ports: BTreeMap::from([(WEB_PORT, args.port)]),
        ..ContainerRequest::default()
    };
    engine.run(request).await?;
    let state = session.interruptible(healthy(session, &engine, &name)).await?;
    let port = state.ports.get(&WEB_PORT).copied().unwrap_or(args.port);
    let url = format!("http://127.0.0.1:{port}/");
    let value = json!({ "schema": 1, "container": name, "url": url, "token": token });
    session.console.result(
        &value,
        &format!(
            "`{}` runs as the container `{name}`.\n\n  open      {url}\n  password  {token}\n  a shell   docker exec -it -u ansible {name} bash -l\n  log       docker logs {name}\n  take away cargo xtask quickstart --down\n",
            args.variant
        ),
    );
    Ok(())
}

/// Waits until the container's health check passes; a container that ends or turns unhealthy is shown with its log.
async fn healthy(session: &Session, engine: &Engine, name: &str) -> Result<ContainerState, Failure> {
    let events = session.console.events();
    let (start, step) = (Instant::now(), "workspace".to_owned());
    events.emit(Event::StepStarted { step: step.clone(), title: "waiting until its services answer".to_owned() });
    let verdict = loop {
        let state = engine.container(name).await?.unwrap_or_default();
        match state.health {
            Health::Healthy => break Ok(state),
            Health::Unhealthy => break Err("did not turn healthy".to_owned()),
            _ if !state.running => break Err(format!("ended with exit code {}", state.exit_code.unwrap_or_default())),
            _ if start.elapsed() > PATIENCE => break Err(format!("was not healthy after {} s", PATIENCE.as_secs())),
            _ => tokio::time::sleep(Duration::from_millis(300)).await,
        }
    };
    let outcome = if verdict.is_ok() { Outcome::Done } else { Outcome::Failed };
    events.emit(Event::StepFinished { step, outcome, seconds: start.elapsed(), detail: String::new() });
    match verdict {
        Ok(state) => Ok(state),
        Err(what) => {
            let log = engine.logs(name, 40).await.unwrap_or_default();
            Err(Failure::new(Exit::Smoke, format!("the container `{name}` {what}"))
                .detail(log)
                .hint(format!("it is left as it is: docker logs {name}, docker inspect {name}")))
        }
    }
}

/// 128 random bits as hexadecimal digits, from the system's source by way of the TLS provider, which every platform has.
fn random_token() -> Result<String, Failure> {
    let mut bytes = [0; 16];
    let source = rustls::crypto::ring::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| Failure::new(Exit::Unexpected, "the system gives no random bytes"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
