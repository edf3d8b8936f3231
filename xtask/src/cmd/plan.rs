//! `cargo xtask plan`: what a build would consist of.

use super::Session;
use super::prepare::{Locking, Prepared};
use crate::cli::{Drawing, Format, Plan};
use crate::failure::Failure;
use crate::output;

pub(super) async fn run(session: &Session, args: &Plan) -> Result<(), Failure> {
    let prepared = Prepared::gather(session, &args.inputs, Locking::InMemory).await?;
    let plan = prepared.plan()?;
    let drawing = if session.console.format() == Format::Json { Drawing::Json } else { args.drawing };
    let text = match drawing {
        Drawing::Tree => output::tree(&plan),
        Drawing::Json => serde_json::to_string_pretty(&plan).unwrap_or_default(),
        Drawing::Dot => output::dot(&plan),
        Drawing::Mermaid => output::mermaid(&plan),
    };
    session.console.data(&text);
    Ok(())
}
