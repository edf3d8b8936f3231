//! What became of what was asked for: a value that is printed, and decides what the command ends with.

use serde::Serialize;

use super::edit::Comment;
use super::{Answer, Candidate, Held, Moved, Trouble, Version};
use crate::failure::Exit;
use crate::family::BuildDate;

/// What became of what was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// 1
    pub schema: u8,
    /// The files that were written, or would be; those of variants.toml and variants.lock come last.
    pub files: Vec<String>,
    /// Whether they were.
    pub written: bool,
    /// What moves; security updates first.
    pub moved: Vec<Move>,
    /// What is as new as it may be.
    pub unmoved: Vec<Unmoved>,
    /// What cannot be moved.
    pub failed: Vec<Failed>,
    /// Comments of variants.toml that may no longer be true.
    pub doubtful_comments: Vec<Comment>,
}

/// Something that moves.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Move {
    /// Its name on the command line.
    pub name: String,
    /// The version before.
    pub from: Version,
    /// The version after; the same where only what it resolves to was missing, or what lies inside moves.
    pub to: Version,
    /// When that was released, where the upstream says it: `YYYY-MM-DD`.
    pub released: Option<BuildDate>,
    /// How long ago that is.
    pub age_days: Option<i64>,
    /// A page to read.
    pub notes: Option<String>,
    /// What is newer still, and not taken.
    pub held: Option<Held>,
    /// What moves inside; security updates first.
    pub details: Vec<Moved>,
}

/// Something that stays.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unmoved {
    /// Its name on the command line.
    pub name: String,
    /// Its version.
    pub version: Version,
    /// What is newer, and not taken.
    pub held: Option<Held>,
}

/// Something that cannot be moved.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failed {
    /// Its name on the command line.
    pub name: String,
    /// The exit code that this alone leads to.
    pub exit: u8,
    /// Why not.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl Move {
    /// Whether there is a security update in it.
    pub fn is_security(&self) -> bool {
        self.details.iter().any(|moved| moved.security)
    }

    fn new(name: &str, candidate: &Candidate, today: &BuildDate) -> Self {
        let mut details = candidate.details.clone();
        details.sort_by(|one, other| (!one.security, &one.file, &one.name).cmp(&(!other.security, &other.file, &other.name)));
        Self {
            name: name.to_owned(),
            from: candidate.from.clone(),
            to: candidate.to.clone(),
            age_days: candidate.released.as_ref().map(|released| released.days_until(today).max(0)),
            released: candidate.released.clone(),
            notes: candidate.notes.clone(),
            held: candidate.held.clone(),
            details,
        }
    }
}

impl Report {
    /// Of the answers, on the day `today`. Nothing is written yet.
    pub fn new(answers: &[Answer], today: &BuildDate) -> Self {
        let mut report = Self {
            schema: 1,
            files: Vec::new(),
            written: false,
            moved: Vec::new(),
            unmoved: Vec::new(),
            failed: Vec::new(),
            doubtful_comments: Vec::new(),
        };
        for Answer { name, found } in answers {
            match found {
                Ok(candidate) if candidate.change.is_empty() => report.unmoved.push(Unmoved {
                    name: name.clone(),
                    version: candidate.to.clone(),
                    held: candidate.held.clone(),
                }),
                Ok(candidate) => report.moved.push(Move::new(name, candidate, today)),
                Err(Trouble { exit, message, hint }) => {
                    let (message, hint) = (message.clone(), hint.clone());
                    report.failed.push(Failed { name: name.clone(), exit: *exit as u8, message, hint });
                }
            }
        }
        report.moved.sort_by_key(|moved| !moved.is_security());
        report
    }

    /// What the command ends with, beside what it says: with `check` it found something to do, else something failed. What
    /// cannot be asked counts before what is not allowed.
    pub fn exit(answers: &[Answer], check: bool) -> Option<Exit> {
        let finds = |answer: &Answer| answer.found.as_ref().is_ok_and(|candidate| !candidate.change.is_empty());
        if check && answers.iter().any(finds) {
            return Some(Exit::CheckFound);
        }
        let exits: Vec<Exit> = answers.iter().filter_map(|answer| Some(answer.found.as_ref().err()?.exit)).collect();
        exits.iter().find(|exit| **exit == Exit::Missing).or(exits.first()).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bump::{Change, Place};

    fn answer(name: &str, found: Result<(&str, &str), Exit>) -> Answer {
        let found = found.map_err(|exit| Trouble::new(exit, "no")).map(|(from, to)| {
            let values = [(Place::BuildDate, to.to_owned())].into_iter().filter(|_| from != to).collect();
            let unmoved = Candidate::unmoved(Version::plain(from));
            Candidate { to: Version::plain(to), change: Change { values, ..Change::default() }, ..unmoved }
        });
        Answer { name: name.to_owned(), found }
    }

    #[test]
    fn what_the_command_ends_with() {
        let (moves, stays) = (|| answer("a", Ok(("1", "2"))), || answer("b", Ok(("1", "1"))));
        let fails = |exit| answer("c", Err(exit));
        for (answers, plain, check) in [
            (vec![stays()], None, None),
            (vec![moves(), stays()], None, Some(Exit::CheckFound)),
            (vec![moves(), fails(Exit::Missing)], Some(Exit::Missing), Some(Exit::CheckFound)),
            (vec![stays(), fails(Exit::Refused)], Some(Exit::Refused), Some(Exit::Refused)),
            (vec![fails(Exit::Refused), fails(Exit::Missing)], Some(Exit::Missing), Some(Exit::Missing)),
        ] {
            assert_eq!((Report::exit(&answers, false), Report::exit(&answers, true)), (plain, check), "{answers:?}");
        }
    }

    #[test]
    fn security_updates_come_first_and_age_is_in_days() {
        let mut secure = answer("z", Ok(("1", "2")));
        if let Ok(candidate) = &mut secure.found {
            let moved = |name: &str, security| Moved { file: None, name: name.to_owned(), from: None, to: None, security };
            candidate.details = vec![moved("b", false), moved("c", true), moved("a", false)];
            candidate.released = Some("2026-11-01".parse().unwrap());
        }
        let today = "2026-11-20".parse().unwrap();
        let report = Report::new(&[answer("a", Ok(("1", "2"))), secure, answer("b", Ok(("1", "1")))], &today);
        let names: Vec<_> = report.moved.iter().map(|moved| (moved.name.as_str(), moved.age_days)).collect();
        assert_eq!(names, [("z", Some(19)), ("a", None)]);
        let details: Vec<_> = report.moved[0].details.iter().map(|moved| moved.name.as_str()).collect();
        assert_eq!(details, ["c", "a", "b"]);
        assert_eq!(report.unmoved[0].name, "b");
    }
}
