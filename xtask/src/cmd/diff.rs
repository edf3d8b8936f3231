//! `cargo xtask diff`: what differs between two images, wherever they are.

use serde_json::json;

use super::contents::Library;
use super::prepare::read_family;
use super::subject::Finder;
use super::{Session, edge};
use crate::cli::{Diff, Format};
use crate::diff::{Difference, compare};
use crate::failure::{Exit, Failure};
use crate::output;

pub(super) async fn run(session: &Session, args: &Diff) -> Result<(), Failure> {
    let difference = session.interruptible(difference(session, args)).await?;
    let text = match session.console.format() {
        Format::Json => serde_json::to_string_pretty(&difference).unwrap_or_default() + "\n",
        Format::Markdown => output::diff::markdown(&difference, 2),
        _ => output::diff::text(&difference),
    };
    match &args.output {
        Some(file) => {
            edge::write_beside(file, text.as_bytes())?;
            let result = json!({ "schema": 1, "file": file, "differ": !difference.is_empty() });
            session.console.result(&result, &format!("wrote {}", file.display()));
        }
        None => session.console.data(&text),
    }
    if args.check && !difference.is_empty() {
        let message = format!("`{}` and `{}` differ", args.before, args.after);
        return Err(Failure::new(Exit::CheckFound, message));
    }
    Ok(())
}

async fn difference(session: &Session, args: &Diff) -> Result<Difference, Failure> {
    // Images can be compared where there is no family: then there are no destinations either.
    let family = session.manifest.exists().then(|| read_family(session)).transpose()?;
    let finder = Finder::new(session, family.as_ref(), &args.destinations)?;
    let before = finder.find(&args.before).await?;
    let after = finder.find(&args.after).await?;
    let compression = family.as_ref().map(|family| family.compression).unwrap_or_default();
    let library = Library::open(session, compression)?;
    let mut contents = library.contents(&finder, &[&before, &after]).await?.into_iter();
    let (Some(one), Some(other)) = (contents.next(), contents.next()) else {
        return Err(Failure::new(Exit::Unexpected, "an image was not read"));
    };
    let mut difference = compare(&one, &other).named(before.name, after.name);
    (difference.before.manifest, difference.after.manifest) = (before.manifest, after.manifest);
    Ok(if args.files { difference } else { difference.without_list() })
}
