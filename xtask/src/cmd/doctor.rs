//! `cargo xtask doctor`: what is there and what is missing, each with the command that mends it. Destinations are told of,
//! too; but who only builds needs none, so that only with `--publish` one that cannot be pushed to is something missing.

use std::path::Path;

use serde_json::json;

use super::reach::Reached;
use super::{Session, age, destinations, engine, prepare, reach};
use crate::cli::Doctor;
use crate::failure::{Exit, Failure};
use crate::family::Base;
use crate::host::requirement::{self, NoEngine, Requirement, Survey};
use crate::host::{Mend, installed};
use crate::relock::{CLIENTS, Client};

/// Where a local engine keeps its images, unless it was told otherwise.
pub(super) const ENGINE_ROOT: &str = "/var/lib/docker";

pub(super) async fn run(session: &Session, args: &Doctor) -> Result<(), Failure> {
    let family = prepare::read_family(session)?;
    let profile = &family.profiles[&prepare::profile_name(&family, &args.profile)?];
    let engine = engine::connect()
        .await
        .map(|engine| engine.info().clone())
        .map_err(|failure| NoEngine { why: failure.message, mend: failure.hint.map_or(Mend::None, Mend::Text) });
    let survey = Survey {
        engine: &engine,
        engine_root: Some(Path::new(ENGINE_ROOT)).filter(|root| engine.is_ok() && root.is_dir()),
        places: &session.places()?,
        root: &session.root,
        platform: prepare::platform(&family)?,
        bootstrap: match &profile.base {
            Base::Bootstrap { suite, .. } => Some(suite),
            Base::Image(_) => None,
        },
    };
    let targets = destinations::targets(&family, &args.destinations)?;
    let sources = destinations::sources(&family)?;
    let looking = async { Ok(tokio::join!(requirement::survey(&survey), reach::all(&targets, &sources))) };
    let (rows, reached) = session.interruptible(looking).await?;
    let lock = prepare::read_lock(session, &family)?;
    let pins = prepare::downloads(session, &family, &lock, profile)?;
    let aged = age::survey(&pins, &family, &lock, survey.platform);
    let clients: Vec<Requirement> = CLIENTS.iter().map(client).collect();
    let value = json!({
        "schema": 1,
        "requirements": rows.iter().map(as_json).collect::<Vec<_>>(),
        "for-bump": clients.iter().map(as_json).collect::<Vec<_>>(),
        "ages": aged.iter().map(age::as_json).collect::<Vec<_>>(),
        "destinations": reached.iter().map(Reached::json).collect::<Vec<_>>(),
    });
    let text = rows.iter().map(|row| as_text(row, "missing")).chain(clients.iter().map(|row| as_text(row, "absent")));
    let text = text.chain(aged.iter().map(age::as_text)).chain(reached.iter().map(Reached::text));
    session.console.result(&value, &text.collect::<String>());
    let unreached = reached.iter().filter(|reached| args.publish && !reached.takes_pushes()).count();
    match rows.iter().filter(|row| !row.is_met()).count() + unreached {
        0 => age::failure(&aged).map_or(Ok(()), Err),
        1 => Err(Failure::new(Exit::Missing, "something that is needed is missing")),
        missing => Err(Failure::new(Exit::Missing, format!("{missing} things that are needed are missing"))),
    }
}

/// What `bump` asks others by: told, and missing to nobody who only builds.
fn client(client: &Client) -> Requirement {
    let found = installed(client.program).map(|path| path.display().to_string());
    Requirement {
        name: client.program.to_owned(),
        found: found.ok_or_else(|| format!("no program `{}`", client.program)),
        needed_for: format!("`bump`: {}", client.needed_for),
        mend: Mend::Text(client.mend.to_owned()),
    }
}

/// A line for what is there; for what is not, `absence` and what mends it.
fn as_text(row: &Requirement, absence: &str) -> String {
    match &row.found {
        Ok(found) => format!("ok       {:20} {found}\n", row.name),
        Err(why) => {
            let mend = row.mend.text().map(|mend| format!("{:9}{:20} mend: {mend}\n", "", "")).unwrap_or_default();
            format!("{absence:8} {:20} {why} (for {})\n{mend}", row.name, row.needed_for)
        }
    }
}

fn as_json(row: &Requirement) -> serde_json::Value {
    json!({
        "name": row.name,
        "met": row.is_met(),
        "found": row.found.as_ref().ok(),
        "why": row.found.as_ref().err(),
        "needed-for": row.needed_for,
        "mend": row.mend.text(),
    })
}
