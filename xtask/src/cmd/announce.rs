//! `cargo xtask announce`: a release on GitHub for a tag, with notes. One that is there is left as it is.

use serde_json::json;

use super::Session;
use super::propose::{body, github};
use crate::cli::Announce;
use crate::failure::{Exit, Failure};

pub(super) async fn run(session: &Session, args: &Announce) -> Result<(), Failure> {
    session.interruptible(announce(session, args)).await
}

async fn announce(session: &Session, args: &Announce) -> Result<(), Failure> {
    let notes = body(&args.notes).map_err(|why| Failure::new(Exit::Usage, why))?;
    let github = github(args.repository.as_deref())?;
    let there = github.release(&args.tag).await?;
    let act = match (&there, args.dry_run) {
        (Some(_), _) => "left",
        (None, true) => "would be made",
        (None, false) => "made",
    };
    let release = match there {
        Some(there) => Some(there),
        None if args.dry_run => None,
        None => Some(github.make_release(&args.tag, &notes).await?),
    };
    let url = release.map(|release| release.url);
    let value = json!({ "schema": 1, "repository": github.repository(), "tag": args.tag, "act": act, "url": url });
    let tag = &args.tag;
    let text = match (&url, act) {
        (Some(url), "left") => format!("the release of `{tag}` is there already, and left as it is: {url}\n"),
        (Some(url), _) => format!("made the release of `{tag}`: {url}\n"),
        (None, _) => format!("would make the release of `{tag}` in {}:\n\n{notes}\n", github.repository()),
    };
    session.console.result(&value, &text);
    Ok(())
}
