//! The newest versions of all pins that are downloads: each upstream is asked for itself, all at once, but for extensions, which
//! have to fit the VS Code that is chosen.

use std::time::Instant;

use futures_util::future::{BoxFuture, FutureExt as _, join_all};

use super::newest::{AWAY, Subject};
use super::vscode::Group;
use super::{Access, github, open_vsx};
use crate::bump::{Answer, Candidate, Trouble, Wish};
use crate::event::{Event, Events, Outcome};
use crate::failure::Exit;
use crate::family::{BuildDate, Family, Lock, Number, Upstream};

/// What is known when upstreams are asked.
#[derive(Debug, Clone, Copy)]
pub struct Pinned<'a> {
    /// The family.
    pub family: &'a Family,
    /// What is locked.
    pub lock: &'a Lock,
    /// The day it is.
    pub today: &'a BuildDate,
}

/// What may become of the pins that `wishes` names and a vendor has. Others are left out.
pub async fn newest(access: Access<'_>, pinned: Pinned<'_>, wishes: &[Wish], events: &Events) -> Vec<Answer> {
    let Pinned { family, lock, today } = pinned;
    let subject = |wish: &'_ Wish| {
        let (name, pin) = family.pins.iter().find(|(name, _)| name.as_str() == wish.name)?;
        Some((name, pin, wish.to.clone()))
    };
    let wished: Vec<_> = wishes.iter().filter_map(subject).collect();
    let subjects: Vec<Subject<'_>> =
        wished.iter().map(|(name, pin, to)| Subject { name, pin, family, lock, to: to.as_deref(), today }).collect();
    let released = subjects.iter().filter_map(|subject| match &subject.pin.upstream {
        Upstream::GithubRelease { repository, asset } => {
            let answer = told(events, subject.name.as_str(), github::newest(access, subject, repository, asset));
            Some(answer.map(|answer| vec![answer]).boxed())
        }
        _ => None,
    });
    let editors: BoxFuture<'_, Vec<Answer>> = editors(access, pinned, &subjects, events).boxed();
    join_all(released.chain([editors])).await.into_iter().flatten().collect()
}

/// The builds of VS Code, and then the extensions.
async fn editors(access: Access<'_>, pinned: Pinned<'_>, subjects: &[Subject<'_>], events: &Events) -> Vec<Answer> {
    let Pinned { family, lock, today } = pinned;
    let extensions: Vec<_> = subjects.iter().filter(|subject| matches!(subject.pin.upstream, Upstream::OpenVsx { .. })).collect();
    let wished: Vec<_> = subjects.iter().filter(|subject| matches!(subject.pin.upstream, Upstream::Vscode { .. })).collect();
    if extensions.is_empty() && wished.is_empty() {
        return Vec::new();
    }
    // They are of one commit: whoever names one moves all.
    let to = wished.iter().find_map(|subject| subject.to);
    let builds = family.pins.iter().filter(|(_, pin)| matches!(pin.upstream, Upstream::Vscode { .. }));
    let builds: Vec<_> = builds.map(|(name, pin)| Subject { name, pin, family, lock, to, today }).collect();
    let started = Instant::now();
    for subject in &wished {
        begun(events, subject.name.as_str());
    }
    let moved = Group::new(access, &builds).newest(!wished.is_empty()).await;
    let names = builds.iter().map(|subject| subject.name.to_string());
    let mut answers: Vec<Answer> = match (wished.is_empty(), moved.candidates) {
        (true, _) => Vec::new(),
        (false, Ok(candidates)) => names.zip(candidates).map(|(name, candidate)| Answer { name, found: Ok(candidate) }).collect(),
        (false, Err(trouble)) => names.map(|name| Answer { name, found: Err(trouble.clone()) }).collect(),
    };
    answers.iter().for_each(|answer| ended(events, answer, started));
    let running = running(family, moved.product, !builds.is_empty());
    answers.extend(
        join_all(extensions.into_iter().map(async |subject| {
            let asked = async {
                let Upstream::OpenVsx { extension } = &subject.pin.upstream else {
                    return Err(Trouble::new(Exit::Unexpected, "not an extension"));
                };
                open_vsx::newest(access, subject, extension, running.as_ref().map_err(Clone::clone)?).await
            };
            told(events, subject.name.as_str(), asked).await
        }))
        .await,
    );
    answers
}

/// What extensions have to run in: VS Code as it is chosen now, and code-server as it is pinned (it only gets newer, and an
/// extension that runs in an older VS Code runs in a newer one).
fn running(family: &Family, product: Option<Number>, has_vscode: bool) -> Result<Vec<(String, Number)>, Trouble> {
    let mut editors = Vec::new();
    match product {
        Some(product) => editors.push(("VS Code".to_owned(), product)),
        None if has_vscode => {
            let message = "the extension has to fit VS Code, and the update service did not tell which version is pinned";
            return Err(Trouble::new(Exit::Missing, message).hint(AWAY));
        }
        None => {}
    }
    let code_server = family.pins.iter().filter_map(|(name, pin)| match &pin.upstream {
        Upstream::Npm { package } if package == "code-server" => Some((format!("`{name}`"), vscode_of(&pin.version)?)),
        _ => None,
    });
    editors.extend(code_server);
    Ok(editors)
}

/// The VS Code in a code-server. From 4.89 on (which has 1.89) their second numbers are the same; what the last number of that VS
/// Code is, code-server's does not say.
fn vscode_of(code_server: &str) -> Option<Number> {
    let number: Number = code_server.parse().ok()?;
    let parts: Vec<u64> = number.parts().collect();
    match parts[..] {
        [4, minor, ..] if minor >= 89 => format!("1.{minor}.0").parse().ok(),
        _ => None,
    }
}

/// Asks for one name, and tells that it is asked for: for every source.
pub async fn told(events: &Events, name: &str, asked: impl Future<Output = Result<Candidate, Trouble>>) -> Answer {
    let started = Instant::now();
    begun(events, name);
    let answer = Answer { name: name.to_owned(), found: asked.await };
    ended(events, &answer, started);
    answer
}

fn begun(events: &Events, name: &str) {
    events.emit(Event::StepStarted { step: name.to_owned(), title: "looking for a newer version".to_owned() });
}

fn ended(events: &Events, answer: &Answer, started: Instant) {
    let (outcome, detail) = match &answer.found {
        Ok(candidate) if candidate.change.is_empty() => (Outcome::UpToDate, String::new()),
        Ok(candidate) => (Outcome::Done, candidate.to.name()),
        // Why is told at the end, with all the others.
        Err(_) => (Outcome::Failed, String::new()),
    };
    events.emit(Event::StepFinished { step: answer.name.clone(), outcome, seconds: started.elapsed(), detail });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_vscode_is_in_a_code_server() {
        for (version, vscode) in [
            ("4.139.1", Some("1.139.0")),
            ("4.89.0", Some("1.89.0")),
            ("4.23.1", None),
            ("3.12.0", None),
            ("5.1", None),
            ("x", None),
        ] {
            assert_eq!(vscode_of(version).map(|number| number.to_string()).as_deref(), vscode, "{version}");
        }
    }
}
