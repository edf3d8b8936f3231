//! Who we are at a registry: a credential that can be asked for again, near its end or when the registry refuses it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use time::OffsetDateTime;
use tokio::sync::Mutex;

use super::{Credential, CredentialError};

/// A credential is renewed when less than this is left of it, or than a tenth of its life where that is less.
const MARGIN: Duration = Duration::from_secs(30 * 60);
/// An end that is nearer than this when the credential is issued is not believed: clocks differ, and moto's ECR says 2015.
/// Such a credential is used until it is refused.
const SHORTEST_LIFE: Duration = Duration::from_secs(60);

/// A credential as it was handed out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// What the registry is told.
    pub credential: Credential,
    /// When it ends, as the issuer says; none where it does not say.
    pub ends: Option<OffsetDateTime>,
}

/// Whoever hands credentials out: a file, a helper, AWS.
pub trait Issuer: Send + Sync {
    /// A credential, asked for anew.
    fn issue(&self) -> BoxFuture<'_, Result<Option<Issued>, CredentialError>>;
}

/// Who we are at one registry. Clones share what is known.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    /// Where it comes from, for people; none: anonymous.
    origin: Option<String>,
    issuer: Box<dyn Issuer>,
    known: Mutex<Option<Known>>,
}

struct Known {
    issued: Issued,
    /// From then on another one is asked for.
    renew: Option<OffsetDateTime>,
}

/// The same credential every time.
struct Fixed(Option<Issued>);

impl Issuer for Fixed {
    fn issue(&self) -> BoxFuture<'_, Result<Option<Issued>, CredentialError>> {
        let issued = self.0.clone();
        Box::pin(async move { Ok(issued) })
    }
}

impl Identity {
    /// Nobody.
    pub fn anonymous() -> Self {
        Self::of(None, Fixed(None))
    }

    /// A credential that stays as it is; `origin` says where it stands.
    pub fn fixed(credential: Credential, origin: impl Into<String>) -> Self {
        Self::of(Some(origin.into()), Fixed(Some(Issued { credential, ends: None })))
    }

    /// What `issuer` hands out, as often as need be.
    pub fn issued_by(issuer: impl Issuer + 'static, origin: impl Into<String>) -> Self {
        Self::of(Some(origin.into()), issuer)
    }

    fn of(origin: Option<String>, issuer: impl Issuer + 'static) -> Self {
        Self(Arc::new(Inner { origin, issuer: Box::new(issuer), known: Mutex::new(None) }))
    }

    /// Where it comes from: `` `GITHUB_TOKEN` ``; none where there is no credential at all.
    pub fn origin(&self) -> Option<&str> {
        self.0.origin.as_deref()
    }

    /// The credential to use at `now`: the known one, or a new one where that is near its end. None: anonymous.
    ///
    /// # Errors
    /// None can be had. (Where only the renewal fails, the known one is used as long as it lives.)
    pub async fn current(&self, now: OffsetDateTime) -> Result<Option<Credential>, CredentialError> {
        let mut known = self.0.known.lock().await;
        if let Some(Known { issued, renew }) = &*known
            && renew.is_none_or(|renew| now < renew)
        {
            return Ok(Some(issued.credential.clone()));
        }
        match self.0.issuer.issue().await {
            Ok(issued) => {
                let credential = issued.as_ref().map(|issued| issued.credential.clone());
                *known = issued.map(|issued| Known { renew: renewal(issued.ends, now), issued });
                Ok(credential)
            }
            Err(error) => match &*known {
                Some(Known { issued, .. }) if issued.ends.is_none_or(|ends| now < ends) => Ok(Some(issued.credential.clone())),
                _ => Err(error),
            },
        }
    }

    /// The registry refused this credential: [`Identity::current`] asks for another one. Another task's newer one stays.
    pub async fn refused(&self, credential: &Credential) {
        let mut known = self.0.known.lock().await;
        if known.as_ref().is_some_and(|known| known.issued.credential == *credential) {
            *known = None;
        }
    }

    /// When the known credential ends; none where nobody says so, or none was asked for yet.
    pub async fn ends(&self) -> Option<OffsetDateTime> {
        let known = self.0.known.lock().await;
        known.as_ref().filter(|known| known.renew.is_some()).and_then(|known| known.issued.ends)
    }
}

/// When a credential that is issued at `now` is renewed; none where its end is not known, or not believed.
fn renewal(ends: Option<OffsetDateTime>, now: OffsetDateTime) -> Option<OffsetDateTime> {
    let life = Duration::try_from(ends? - now).ok().filter(|life| *life >= SHORTEST_LIFE)?;
    Some(now + (life - MARGIN.min(life / 10)))
}

impl From<Option<(Credential, String)>> for Identity {
    fn from(found: Option<(Credential, String)>) -> Self {
        found.map_or_else(Self::anonymous, |(credential, origin)| Self::fixed(credential, origin))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.origin().unwrap_or("anonymous"))
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.origin() {
            Some(origin) => write!(f, "the credential of {origin} was used"),
            None => f.write_str("no credential was found for it"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::secret::Secret;

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn at(seconds: i64) -> OffsetDateTime {
        NOW + time::Duration::seconds(seconds)
    }

    fn password(number: u32) -> Credential {
        Credential::Basic { username: "AWS".to_owned(), password: Secret::new(number.to_string()) }
    }

    /// Hands out 1, 2, 3, …; each ends after `life` seconds, and from `last` on there are no more.
    struct Counting {
        asked: AtomicU32,
        life: Option<i64>,
        last: u32,
    }

    impl Issuer for Counting {
        fn issue(&self) -> BoxFuture<'_, Result<Option<Issued>, CredentialError>> {
            let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
            let (life, last) = (self.life, self.last);
            Box::pin(async move {
                if number > last {
                    let (program, host) = ("docker-credential-x".to_owned(), "r.example".to_owned());
                    return Err(CredentialError::Helper { program, host, why: "none".to_owned() });
                }
                Ok(Some(Issued { credential: password(number), ends: life.map(at) }))
            })
        }
    }

    fn counting(life: Option<i64>, last: u32) -> Identity {
        Identity::issued_by(Counting { asked: AtomicU32::new(0), life, last }, "a test")
    }

    #[test]
    fn when_a_credential_is_renewed() {
        const HOUR: i64 = 3600;
        for (what, ends, renew) in [
            ("nobody says when it ends", None, None),
            ("twelve hours: half an hour before", Some(12 * HOUR), Some(12 * HOUR - 1800)),
            ("five minutes: a tenth before", Some(300), Some(270)),
            ("one minute", Some(60), Some(54)),
            ("less is not believed", Some(59), None),
            ("it ended before it was issued", Some(-HOUR), None),
        ] {
            assert_eq!(renewal(ends.map(at), NOW), renew.map(at), "{what}");
        }
    }

    #[tokio::test]
    async fn one_credential_is_used_until_near_its_end() {
        let identity = counting(Some(1000), 2);
        for (now, told) in [(0, 1), (899, 1), (900, 2), (901, 2)] {
            assert_eq!(identity.current(at(now)).await.expect("one"), Some(password(told)), "{now}");
        }
    }

    #[tokio::test]
    async fn a_renewal_that_fails_leaves_what_still_lives() {
        let identity = counting(Some(1000), 1);
        for now in [0, 999] {
            assert_eq!(identity.current(at(now)).await.expect("one"), Some(password(1)), "{now}");
        }
        identity.current(at(1000)).await.expect_err("it has ended");
    }

    #[tokio::test]
    async fn what_is_refused_is_asked_for_again_once_for_all_tasks() {
        let identity = counting(None, 2);
        let first = identity.current(NOW).await.expect("one").expect("a credential");
        identity.refused(&first).await;
        assert_eq!(identity.current(NOW).await.expect("another"), Some(password(2)));
        identity.refused(&first).await;
        assert_eq!(identity.current(NOW).await.expect("the same"), Some(password(2)), "a late refusal of the old one");
    }

    #[tokio::test]
    async fn who_has_no_credential_stays_so() {
        let identity = Identity::anonymous();
        assert_eq!(identity.current(NOW).await.expect("nothing to ask"), None);
        assert_eq!(identity.to_string(), "no credential was found for it");
        let fixed = Identity::fixed(password(7), "`GH_TOKEN`");
        fixed.refused(&password(7)).await;
        assert_eq!(fixed.current(NOW).await.expect("it is fixed"), Some(password(7)));
        assert_eq!(fixed.to_string(), "the credential of `GH_TOKEN` was used");
    }
}
