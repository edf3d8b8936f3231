//! Who is asked for newer versions: every source at once.

use futures_util::future::{BoxFuture, FutureExt as _, join_all};

use super::super::prepare::github_token;
use super::super::{Session, destinations, edge};
use super::clients::{Asking, Clients};
use crate::artifact;
use crate::bump::{self, Answer, BASE, Candidate, Place, Trouble, Version, Wish};
use crate::event::Events;
use crate::failure::{Exit, Failure};
use crate::family::{Base, BuildDate, Family, Lock, Name};
use crate::oci::{Digest, Reference};
use crate::registry;
use crate::upstream::{self, Access, Pinned};

/// What all sources are told.
pub(super) struct Asked<'a> {
    pub(super) session: &'a Session,
    pub(super) clients: &'a Clients,
    /// Whether things were named, rather than everything asked for.
    pub(super) named: bool,
    pub(super) family: &'a Family,
    pub(super) lock: &'a Lock,
    /// The day it is.
    pub(super) today: &'a BuildDate,
    pub(super) events: Events,
}

impl Asked<'_> {
    /// The answers to `wishes`, in their order; what no source knows of is left out.
    pub(super) async fn all(&self, wishes: &[Wish]) -> Result<Vec<Answer>, Failure> {
        let client = artifact::client()?;
        let token = github_token();
        let access = Access {
            client: &client,
            mirrors: &self.family.mirrors,
            vendors: self.family.profiles.values().any(|profile| profile.vendors),
            github_token: token.as_ref(),
            patience: artifact::Patience::default(),
            events: &self.events,
        };
        let Self { session, family, today, ref events, .. } = *self;
        let sources: [BoxFuture<'_, Vec<Answer>>; 3] = [
            upstream::newest(access, self.pinned(), wishes, &self.events).boxed(),
            self.bases(wishes).boxed(),
            self.clients.answers(Asking { session, family, today, events, named: self.named }, wishes).boxed(),
        ];
        let mut answers: Vec<Answer> = join_all(sources).await.into_iter().flatten().collect();
        answers.sort_by_key(|answer| wishes.iter().position(|wish| wish.name == answer.name));
        Ok(answers)
    }

    fn pinned(&self) -> Pinned<'_> {
        Pinned { family: self.family, lock: self.lock, today: self.today }
    }

    /// The base images: one answer for all of them, since one name stands for them.
    async fn bases(&self, wishes: &[Wish]) -> Vec<Answer> {
        let Some(wish) = wishes.iter().find(|wish| wish.name == BASE) else { return Vec::new() };
        let name = || BASE.to_owned();
        if let Some(to) = &wish.to {
            let message = format!("`--to {to}`: `{BASE}` is what its tag points to, and has no version");
            let hint = "name another tag or a digest in `base` of the profile";
            return vec![Answer { name: name(), found: Err(Trouble::new(Exit::Usage, message).hint(hint)) }];
        }
        let found = upstream::told(&self.events, BASE, async {
            let sources = destinations::sources(self.family).map_err(Failure::from)?;
            let bases = self.family.profiles.iter().filter_map(|(profile, settings)| match &settings.base {
                Base::Image(reference) => Some((profile, reference)),
                Base::Bootstrap { .. } => None,
            });
            let mut candidates = Vec::new();
            for (profile, reference) in bases {
                candidates.push(self.base(profile, reference, &sources).await?);
            }
            bump::merged(candidates).ok_or_else(|| Trouble::new(Exit::Usage, "no profile has a base image"))
        });
        vec![found.await]
    }

    /// What the tag of a base image points to now.
    async fn base(&self, profile: &Name, reference: &Reference, sources: &registry::Sources) -> Result<Candidate, Trouble> {
        let Some(tag) = &reference.tag else {
            let message = format!("`{reference}` is named by its digest alone: there is no tag to ask for a newer one");
            return Err(Trouble::new(Exit::Refused, message).hint("name it with its tag as well: `REPOSITORY:TAG@sha256:…`"));
        };
        let tagged = reference.repository.tag(tag.clone());
        let digest = registry::digest_of(&tagged, false, sources).await.map_err(edge::base_unknown)?;
        let digest = digest.ok_or_else(|| {
            Trouble::new(Exit::Missing, format!("the registry has no `{tagged}`")).hint("check `base` of the profile")
        })?;
        let written = reference.to_string();
        let before = reference.digest.or_else(|| self.lock.bases.get(&written).copied());
        let version = |digest: Option<Digest>| Version {
            id: digest.map(|digest| digest.to_string()).unwrap_or_default(),
            shown: Some(match digest {
                Some(digest) => format!("{tag}@sha256:{}", digest.short(12)),
                None => tag.clone(),
            }),
        };
        if before != Some(digest) {
            self.fits(&tagged, digest, sources).await?;
        }
        let mut candidate = Candidate { to: version(Some(digest)), ..Candidate::unmoved(version(before)) };
        if before != Some(digest) {
            match reference.digest {
                Some(_) => {
                    let moved = Reference { digest: Some(digest), ..reference.clone() };
                    candidate.change.values.insert(Place::Base(profile.clone()), moved.to_string());
                }
                None => {
                    candidate.change.bases.insert(written, digest);
                }
            }
        }
        Ok(candidate)
    }

    /// Refuses a base that is not there for every platform of the family.
    async fn fits(&self, tagged: &Reference, digest: Digest, sources: &registry::Sources) -> Result<(), Trouble> {
        let platforms = registry::platforms_of(&tagged.repository, digest, sources).await.map_err(edge::base_unknown)?;
        let platforms = platforms.ok_or_else(|| {
            let message = format!("`{tagged}` points to {digest}, and the registry has nothing there");
            Trouble::new(Exit::Missing, message).hint("try again later")
        })?;
        let quoted = |names: Vec<String>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let wanted = self.family.platforms.iter().map(ToString::to_string);
        let missing: Vec<String> = wanted.filter(|platform| !platforms.contains(platform)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        let (missing, there) = (quoted(missing), quoted(platforms.into_iter().collect()));
        let message = format!("`{tagged}` is {digest} now, which is for {there} and not for {missing}");
        let hint = "nothing was moved to it; wait until the registry has it, or name another tag in `base` of the profile";
        Err(Trouble::new(Exit::Missing, message).hint(hint))
    }
}
