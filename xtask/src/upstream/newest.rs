//! The newest version of a pin: what the vendors' upstreams have in common.

use super::{UpstreamError, Wanted};
use crate::bump::{Candidate, Change, Held, Place, Trouble, Version};
use crate::failure::Exit;
use crate::family::{BuildDate, Family, Lock, LockedArtifact, Name, Number, Pin, VersionRange};
use crate::oci::Platform;

/// A pin that is to be moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Subject<'a> {
    /// Its name.
    pub(super) name: &'a Name,
    /// What variants.toml says of it.
    pub(super) pin: &'a Pin,
    /// The family it belongs to.
    pub(super) family: &'a Family,
    /// What is locked.
    pub(super) lock: &'a Lock,
    /// `--to`: this version and no other.
    pub(super) to: Option<&'a str>,
    /// The day it is.
    pub(super) today: &'a BuildDate,
}

impl<'a> Subject<'a> {
    /// Every platform that a digest is needed for: those of the family, and those that the lock has one for.
    pub(super) fn platforms(&self) -> Vec<Platform> {
        let locked = |platform: Platform| self.lock.artifacts.contains_key(&(self.name.clone(), platform));
        Platform::ALL.into_iter().filter(|platform| self.family.platforms.contains(platform) || locked(*platform)).collect()
    }

    /// Whether every digest is there.
    pub(super) fn is_locked(&self) -> bool {
        self.platforms().into_iter().all(|platform| self.lock.artifact(self.family, self.name, platform).is_some())
    }

    /// The pin for a message.
    pub(super) fn what(&self) -> String {
        format!("`{}`", self.name)
    }

    /// The version that is pinned, as a number.
    pub(super) fn present(&self) -> Result<Number, Trouble> {
        self.pin.version.parse().map_err(|error| {
            let message = format!("it cannot be told what is newer than `{}` {}: {error}", self.name, self.pin.version);
            Trouble::new(Exit::Refused, message).hint("edit `version` in variants.toml by hand: the next build resolves it")
        })
    }

    /// What holds it back.
    pub(super) fn holds(&self) -> Vec<(&'a str, &'a VersionRange)> {
        self.pin.hold.iter().map(|hold| (self.name.as_str(), hold)).collect()
    }

    /// The pin at a version on a platform.
    pub(super) fn wanted<'w>(&self, version: &'w str, platform: Platform) -> Wanted<'w>
    where
        'a: 'w,
    {
        Wanted { name: self.name, pin: self.pin, version, platform }
    }

    /// Nothing newer than what is pinned, and every digest there. That it is the newest still is noted down where it matters,
    /// unless something newer is held back.
    pub(super) fn unmoved(&self, held: Option<Held>) -> Candidate {
        let mut candidate = Candidate { held, ..Candidate::unmoved(Version::plain(&self.pin.version)) };
        for platform in self.platforms().into_iter().filter(|_| candidate.held.is_none()) {
            let locked = self.lock.artifact(self.family, self.name, platform);
            if let Some(seen) = locked.and_then(|locked| locked.seen_newest(self.pin.max_age_days, self.today)) {
                candidate.change.artifacts.insert((self.name.clone(), platform), seen);
            }
        }
        candidate
    }

    /// The move to a version with these files.
    ///
    /// # Errors
    /// It is the version that is pinned, and one of its files is not what it was when it was locked.
    pub(super) fn candidate(
        &self,
        version: &str,
        released: Option<BuildDate>,
        artifacts: Vec<(Platform, LockedArtifact)>,
    ) -> Result<Candidate, Trouble> {
        let mut change = Change::default();
        if version != self.pin.version {
            change.values.insert(Place::Version(self.name.clone()), version.to_owned());
        }
        for (platform, mut artifact) in artifacts {
            artifact.released = artifact.released.or_else(|| released.clone());
            let locked = self.lock.artifacts.get(&(self.name.clone(), platform));
            match locked.filter(|locked| locked.version == artifact.version) {
                None => {
                    change.artifacts.insert((self.name.clone(), platform), artifact);
                }
                Some(locked) if locked.sha256 != artifact.sha256 => {
                    let message = format!(
                        "`{}` {version} for {platform} was {} when it was locked, and is {} at its upstream now",
                        self.name, locked.sha256, artifact.sha256
                    );
                    return Err(Trouble::new(Exit::Refused, message)
                        .hint("find out why the upstream replaced the file, then remove its entry from variants.lock"));
                }
                Some(_) => {}
            }
        }
        let from = Version::plain(&self.pin.version);
        Ok(Candidate { to: Version::plain(version), released, change, ..Candidate::unmoved(from) })
    }
}

/// What to do where an upstream does not answer.
pub(super) const AWAY: &str = "name a mirror in `[mirrors]` of variants.toml, or try again later";

impl From<UpstreamError> for Trouble {
    fn from(error: UpstreamError) -> Self {
        let hint = match &error {
            UpstreamError::Unreachable { .. } | UpstreamError::Nowhere { .. } => AWAY,
            UpstreamError::NotFound { .. } => {
                "nothing was moved to it; wait until the upstream has it, or name another: `--to VERSION`"
            }
            error => error.hint(),
        };
        Self::new(Exit::Missing, error.why()).hint(hint)
    }
}

/// The number that `--to` names.
pub(super) fn number(to: &str) -> Result<Number, Trouble> {
    to.parse().map_err(|error| Trouble::new(Exit::Usage, format!("`--to {}`: {error}", to.escape_debug())))
}

/// An address that may stand in a page for people: https, and nothing that means something to Markdown or a terminal.
pub(super) fn page(url: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:/?#@%&=+,;".contains(&byte);
    (url.starts_with("https://") && url.bytes().all(plain)).then(|| url.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_may_stand_in_a_page() {
        let url = "https://github.com/actions/runner/releases/tag/v2.338.0";
        assert_eq!(page(url).as_deref(), Some(url));
        for text in ["http://a.org", "javascript:alert(1)", "https://a.org/) [x](y", "https://a.org/\u{1b}[1m", "https://a.org/|"]
        {
            assert_eq!(page(text), None, "{text}");
        }
    }
}
