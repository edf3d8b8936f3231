//! `cargo xtask plan`: what a build would consist of.

use super::prepare::{Locking, Prepared};
use super::{Session, changed};
use crate::cli::{Format, Plan};
use crate::failure::Failure;
use crate::output;

pub(super) async fn run(session: &Session, args: &Plan) -> Result<(), Failure> {
    let mut prepared = Prepared::gather(session, &args.inputs, Locking::InMemory).await?;
    if let Some(commit) = &args.changed_since {
        changed::narrow(session, &mut prepared, &args.inputs, commit).await?;
    }
    let plan = prepared.plan()?;
    let text = match session.console.format() {
        Format::Human | Format::Markdown => output::tree(&plan),
        Format::Json => serde_json::to_string_pretty(&plan).unwrap_or_default(),
        Format::Dot => output::dot(&plan),
        Format::Mermaid => output::mermaid(&plan),
    };
    session.console.data(&text);
    Ok(())
}
