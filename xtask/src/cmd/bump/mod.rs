//! `cargo xtask bump`: moves pins to their newest releases. Everybody is asked at once; what was found is written, and what could
//! not be told or is not allowed is said.

mod ask;
mod clients;
mod write;

use clients::Clients;

use super::prepare::{read_lock, read_manifest};
use super::{Session, edge};
use crate::bump::{self, Answer, Candidate, Edited, Report, Trouble};
use crate::cli::{Bump, Format};
use crate::event::Event;
use crate::failure::{Exit, Failure};
use crate::output;

pub(super) async fn run(session: &Session, args: &Bump) -> Result<(), Failure> {
    let (report, answers) = asked(session, args).await?;
    match session.console.format() {
        Format::Markdown => session.console.data(&output::bump::markdown(&report)),
        _ => session.console.result(&report, &output::bump::text(&report)),
    }
    match Report::exit(&answers, args.check) {
        None => Ok(()),
        Some(Exit::CheckFound) => Err(Failure::new(Exit::CheckFound, output::bump::found(&report))),
        Some(exit) => Err(failure(exit, session.console.format(), &report)),
    }
}

/// Moves everything, for a command that goes on afterwards: nothing may fail.
pub(super) async fn all(session: &Session) -> Result<(), Failure> {
    let args = Bump { names: Vec::new(), to: None, check: false, dry_run: false, allow_dirty: false };
    let (report, answers) = asked(session, &args).await?;
    session.console.say(output::bump::text(&report).trim_end());
    match Report::exit(&answers, false) {
        None => Ok(()),
        Some(exit) => Err(failure(exit, session.console.format(), &report)),
    }
}

/// What came of it; what was started for it is gone, also when it was interrupted.
async fn asked(session: &Session, args: &Bump) -> Result<(Report, Vec<Answer>), Failure> {
    let clients = Clients::default();
    let moved = session.interruptible(moved(session, args, &clients)).await;
    // What was written is told, whatever is left behind.
    if let Err(left) = clients.leave().await {
        let text = format!("what was started to ask is not taken away: {} (cargo xtask clean)", left.message);
        session.console.events().emit(Event::Warning { text });
    }
    moved
}

/// Asks, decides and, unless only that was asked for, writes.
async fn moved(session: &Session, args: &Bump, clients: &Clients) -> Result<(Report, Vec<Answer>), Failure> {
    let (source, family) = read_manifest(session)?;
    let lock = read_lock(session, &family)?;
    // A form's empty field is handed on as it is: no name.
    let names: Vec<String> = args.names.iter().filter(|name| !name.is_empty()).cloned().collect();
    let wishes = bump::wishes(&family, &names, args.to.as_deref())?;
    let writes = !args.check && !args.dry_run;
    if writes && !args.allow_dirty {
        // Known before anybody is asked: these are written whatever moves.
        write::refuse_changed(session, &write::always(session)).await?;
    }
    let today = edge::today();
    let asked = ask::Asked {
        session,
        clients,
        named: !names.is_empty(),
        family: &family,
        lock: &lock,
        today: &today,
        events: session.console.events(),
    };
    let mut answers = asked.all(&wishes).await?;
    // Whoever names something gets an answer; in a run for everything a pin that nobody knows is worth a word.
    for wish in &wishes {
        if answers.iter().any(|answer| answer.name == wish.name) {
            continue;
        }
        let message = format!("nobody is asked for newer versions of `{}`: move it by hand", wish.name);
        if !names.is_empty() {
            answers.push(Answer { name: wish.name.clone(), found: Err(Trouble::new(Exit::Missing, message)) });
        } else if family.pins.keys().any(|pin| pin.as_str() == wish.name) {
            asked.events.emit(Event::Warning { text: message });
        }
    }
    let candidates: Vec<&Candidate> = answers.iter().filter_map(|answer| answer.found.as_ref().ok()).collect();
    let mut report = Report::new(&answers, &today);
    if candidates.iter().all(|candidate| candidate.change.is_empty()) {
        return Ok((report, answers));
    }
    let edited =
        bump::edit(&source, candidates.iter().copied()).map_err(|error| Failure::new(Exit::Unexpected, error.to_string()))?;
    let Edited { text, doubtful } = edited;
    report.doubtful_comments = doubtful;
    let writing = write::Writing::new(session, &source, text, &candidates)?;
    report.files = writing.files();
    if writes {
        if !args.allow_dirty {
            write::refuse_changed(session, &report.files).await?;
        }
        writing.write(&family).await?;
        report.written = true;
    }
    Ok((report, answers))
}

/// Everything that was not moved, in one failure. People have read why in the report; where that is for a program or a page, it
/// is said here.
fn failure(exit: Exit, format: Format, report: &Report) -> Failure {
    let message = match format {
        Format::Json | Format::Markdown => output::bump::reasons(report),
        _ => output::bump::failed(report),
    };
    let failure = Failure::new(exit, message);
    match output::bump::hints(report) {
        Some(hints) => failure.hint(hints),
        None => failure,
    }
}

impl From<Trouble> for Failure {
    fn from(trouble: Trouble) -> Self {
        let failure = Self::new(trouble.exit, trouble.message);
        match trouble.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}
