//! Builds of VS Code, by commit, from Microsoft's update service. All pins of the family are of one commit: they move together
//! or not at all.

use serde::Deserialize;
use time::OffsetDateTime;

use super::answer::{self, digest, json};
use super::newest::{Subject, number};
use super::{Access, UpstreamError, Wanted};
use crate::bump::{self, Candidate, Held, Offer, Trouble, Version};
use crate::event::Event;
use crate::failure::Exit;
use crate::family::{BuildDate, LockedArtifact, Number, Template, Upstream};

const HOST: &str = "https://update.code.visualstudio.com";

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Build {
    url: String,
    /// The commit.
    version: String,
    sha256hash: Option<String>,
    /// What people call it: `1.134.0`.
    product_version: Option<String>,
    /// Milliseconds since 1970.
    timestamp: Option<i64>,
}

pub(super) async fn resolve(access: Access<'_>, wanted: &Wanted<'_>, build: &Template) -> Result<LockedArtifact, UpstreamError> {
    let commit = wanted.version;
    let build = build.fill(|name| (name == "arch").then(|| wanted.arch()));
    let url = format!("{HOST}/api/versions/commit:{commit}/{build}/stable");
    let missing = format!("the update service knows no build `{build}` of commit `{commit}`");
    let found: Build = match json(access, &wanted.what(), &url, &missing).await {
        Err(unknown @ UpstreamError::NotFound { .. }) => return computed(access, wanted, &build, unknown).await,
        found => found?,
    };
    let odd = |why: String| UpstreamError::Odd { what: wanted.what(), url: url.clone(), why };
    if found.version != *commit {
        return Err(odd(format!("it answers for commit `{}`", found.version)));
    }
    if !found.url.starts_with("https://") && !found.url.starts_with("http://") {
        return Err(odd(format!("`{}` is not an address to download from", found.url)));
    }
    match found.sha256hash.as_deref().filter(|hash| !hash.is_empty()) {
        None => Err(UpstreamError::NoDigest { what: wanted.what(), file: build, url }),
        Some(hash) => {
            let sha256 = digest(hash).ok_or_else(|| odd(format!("`{hash}` is not a SHA-256 digest")))?;
            Ok(LockedArtifact { version: commit.to_owned(), url: found.url, sha256, released: None, newest_on: None })
        }
    }
}

/// A build that the service does not tell of, though it may hand it out: its digest is that of what comes when it is asked for by
/// its commit, once. `unknown`: what is said where it is not there either.
async fn computed(
    access: Access<'_>,
    wanted: &Wanted<'_>,
    build: &str,
    unknown: UpstreamError,
) -> Result<LockedArtifact, UpstreamError> {
    let version = wanted.version.to_owned();
    let url = format!("{HOST}/commit:{version}/{build}/stable");
    let text =
        format!("the update service tells nothing of `{build}` of commit `{version}`: trying to download it, for its digest");
    access.events.emit(Event::Note { text });
    match answer::computed(access, &wanted.what(), &url).await {
        Ok(sha256) => {
            let text = format!("no digest is published for `{url}`: what is locked, {sha256}, is computed from what came");
            access.events.emit(Event::Warning { text });
            Ok(LockedArtifact { version, url, sha256, released: None, newest_on: None })
        }
        Err(UpstreamError::NotFound { .. }) => Err(unknown),
        Err(error) => Err(error),
    }
}

/// What a commit of VS Code is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Known {
    commit: String,
    product: Number,
    released: Option<BuildDate>,
}

impl Known {
    fn version(&self) -> Version {
        Version { id: self.commit.clone(), shown: Some(format!("VS Code {}", self.product)) }
    }
}

/// The family's builds of VS Code, and what they become.
pub(super) struct Group<'a> {
    access: Access<'a>,
    subjects: &'a [Subject<'a>],
}

/// What became of a group: a candidate for each of its pins, in their order, and the version that they have afterwards.
pub(super) struct Moved {
    pub(super) candidates: Result<Vec<Candidate>, Trouble>,
    /// None where not even the present one can be told.
    pub(super) product: Option<Number>,
}

impl<'a> Group<'a> {
    pub(super) fn new(access: Access<'a>, subjects: &'a [Subject<'a>]) -> Self {
        Self { access, subjects }
    }

    /// Looks for the newest that all of them may move to. `moves`: whether they are to move at all, or only told what they are.
    pub(super) async fn newest(&self, moves: bool) -> Moved {
        let Some(first) = self.subjects.first() else { return Moved { candidates: Ok(Vec::new()), product: None } };
        let (known, unknown) = self.present().await;
        // The newest of them is what nothing goes back from; the oldest is what an extension has to run in.
        let newest = known.iter().max_by(|one, other| one.product.cmp(&other.product));
        let oldest = known.iter().map(|known| &known.product).min().cloned();
        let present = match (unknown, newest) {
            (None, Some(newest)) => Ok(newest),
            (Some(error), _) => Err(error),
            (None, None) => return Moved { candidates: Ok(Vec::new()), product: None },
        };
        if !moves {
            return Moved { candidates: Ok(Vec::new()), product: oldest };
        }
        match self.candidates(first, present, &known).await {
            Ok((to, candidates)) => Moved { candidates: Ok(candidates), product: Some(to.product) },
            Err(trouble) => Moved { candidates: Err(trouble), product: oldest },
        }
    }

    /// What the pinned commits are, each once; and why one of them cannot be told.
    async fn present(&self) -> (Vec<Known>, Option<UpstreamError>) {
        let mut known = Vec::<Known>::new();
        for subject in self.subjects {
            if known.iter().any(|known| known.commit == subject.pin.version) {
                continue;
            }
            match self.of_commit(subject, &subject.pin.version).await {
                Ok(found) => known.push(found),
                Err(error) => return (known, Some(error)),
            }
        }
        (known, None)
    }

    /// What is taken, and a candidate for each pin, every file of which is there.
    async fn candidates(
        &self,
        first: &Subject<'_>,
        present: Result<&Known, UpstreamError>,
        known: &[Known],
    ) -> Result<(Known, Vec<Candidate>), Trouble> {
        let (to, held) = self.chosen(first, present.as_ref().map(|known| *known)).await?;
        let mut candidates = Vec::new();
        for subject in self.subjects {
            let Upstream::Vscode { build } = &subject.pin.upstream else { continue };
            let mut artifacts = Vec::new();
            for platform in subject.platforms() {
                let locked = subject.lock.artifacts.get(&(subject.name.clone(), platform));
                if locked.is_none_or(|locked| locked.version != to.commit) {
                    artifacts.push((platform, resolve(self.access, &subject.wanted(&to.commit, platform), build).await?));
                }
            }
            let before = known.iter().chain([&to]).find(|known| known.commit == subject.pin.version);
            let mut candidate = match subject.pin.version == to.commit && subject.is_locked() {
                true => subject.unmoved(held.clone()),
                false => subject.candidate(&to.commit, to.released.clone(), artifacts)?,
            };
            (candidate.from.shown, candidate.to.shown) = (before.and_then(|known| known.version().shown), to.version().shown);
            (candidate.held, candidate.notes) = (held.clone(), Some(notes(&to.product)));
            candidates.push(candidate);
        }
        Ok((to, candidates))
    }

    /// The newest that all of them may move to; what they have, where nothing newer may be taken.
    async fn chosen(
        &self,
        first: &Subject<'_>,
        present: Result<&Known, &UpstreamError>,
    ) -> Result<(Known, Option<Held>), Trouble> {
        let holds: Vec<_> = self.subjects.iter().flat_map(Subject::holds).collect();
        if let Some(to) = first.to {
            let known = match to.len() {
                40 => self.of_commit(first, to).await?,
                _ => self.of_version(first, &number(to)?).await?,
            };
            let present = self.present_beside(present, &known)?;
            bump::named(&known.product, &known.version(), &present.product, &holds)?;
            return Ok((known, None));
        }
        let newest = self.latest(first).await?;
        let present = self.present_beside(present, &newest)?;
        let shown = |offer: &Offer<Option<Known>>| match &offer.what {
            Some(known) => known.version(),
            None => Version { id: offer.number.to_string(), shown: Some(format!("VS Code {}", offer.number)) },
        };
        let mut offers = vec![Offer { number: newest.product.clone(), what: Some(newest.clone()) }];
        if !holds.iter().all(|(_, range)| range.contains(&newest.product)) {
            offers.extend(self.releases(first).await?.into_iter().map(|number| Offer { number, what: None }));
        }
        let choice = bump::newest(offers, &present.product, &holds, shown)?;
        match choice.taken {
            None => Ok((present.clone(), choice.held)),
            Some(Offer { what: Some(known), .. }) => Ok((known, choice.held)),
            Some(Offer { number, what: None }) => Ok((self.of_version(first, &number).await?, choice.held)),
        }
    }

    /// What is pinned, to compare `other` with. Versions are told by the service alone: where it does not know what is pinned, nobody
    /// can tell which of the two is newer.
    fn present_beside<'k>(&self, present: Result<&'k Known, &UpstreamError>, other: &'k Known) -> Result<&'k Known, Trouble> {
        match present {
            Ok(present) => Ok(present),
            // What it does not know by its commit it may know otherwise.
            Err(_) if self.subjects.iter().all(|subject| subject.pin.version == other.commit) => Ok(other),
            Err(UpstreamError::NotFound { missing, .. }) => {
                let message = format!("{missing}, so that nobody can tell whether VS Code {} is newer", other.product);
                let names: Vec<String> = self.subjects.iter().map(Subject::what).collect();
                let hint = format!(
                    "if it is, write its commit, `{}`, into `version` of {} in variants.toml by hand: the next build resolves it",
                    other.commit,
                    names.join(" and ")
                );
                Err(Trouble::new(Exit::Refused, message).hint(hint))
            }
            Err(error) => Err(error.clone().into()),
        }
    }

    async fn latest(&self, subject: &Subject<'_>) -> Result<Known, UpstreamError> {
        let build = build_of(subject);
        let missing = format!("the update service knows no build `{build}`");
        self.asked(subject, &format!("{HOST}/api/update/{build}/stable/latest"), &missing).await
    }

    async fn of_commit(&self, subject: &Subject<'_>, commit: &str) -> Result<Known, UpstreamError> {
        let build = build_of(subject);
        let missing = format!("the update service knows no build `{build}` of commit `{commit}`");
        self.asked(subject, &format!("{HOST}/api/versions/commit:{commit}/{build}/stable"), &missing).await
    }

    async fn of_version(&self, subject: &Subject<'_>, version: &Number) -> Result<Known, UpstreamError> {
        let build = build_of(subject);
        let missing = format!("the update service knows no build `{build}` of VS Code {version}");
        self.asked(subject, &format!("{HOST}/api/versions/{version}/{build}/stable"), &missing).await
    }

    /// All releases, to choose one that is not the newest.
    async fn releases(&self, subject: &Subject<'_>) -> Result<Vec<Number>, UpstreamError> {
        let url = format!("{HOST}/api/releases/stable");
        let versions: Vec<String> = json(self.access, &subject.what(), &url, "there is no list of releases").await?;
        Ok(versions.iter().filter_map(|version| version.parse().ok()).collect())
    }

    async fn asked(&self, subject: &Subject<'_>, url: &str, missing: &str) -> Result<Known, UpstreamError> {
        let found: Build = json(self.access, &subject.what(), url, missing).await?;
        let odd = |why: String| UpstreamError::Odd { what: subject.what(), url: url.to_owned(), why };
        let is_commit = found.version.len() == 40 && found.version.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !is_commit {
            return Err(odd(format!("`{}` is not a commit", found.version.escape_debug())));
        }
        let product = found.product_version.as_deref().unwrap_or_default();
        let product = product.parse().map_err(|error| odd(format!("`productVersion`: {error}")))?;
        let released = found.timestamp.and_then(|time| OffsetDateTime::from_unix_timestamp(time / 1000).ok());
        let released = released.map(|time| BuildDate::on(time.date()));
        Ok(Known { commit: found.version, product, released })
    }
}

/// The update service's name of the pin's build on the family's first platform.
fn build_of(subject: &Subject<'_>) -> String {
    let platform = subject.platforms().into_iter().next();
    let Upstream::Vscode { build } = &subject.pin.upstream else { return String::new() };
    let wanted = platform.map(|platform| subject.wanted(&subject.pin.version, platform));
    build.fill(|name| wanted.as_ref().filter(|_| name == "arch").map(Wanted::arch))
}

/// The release notes: one page for all versions of a month.
fn notes(product: &Number) -> String {
    let mut parts = product.parts();
    let [major, minor] = [parts.next(), parts.next()].map(Option::unwrap_or_default);
    format!("https://code.visualstudio.com/updates/v{major}_{minor}")
}
