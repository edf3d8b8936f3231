//! What is asked of package managers' own clients: npm packages, Python's locks, Debian's packages.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use tokio::sync::OnceCell;

use super::super::session::variable;
use super::super::{Session, engine};
use crate::bump::{Answer, BUILD_DATE, Candidate, PYTHON, Trouble, Version, Wish};
use crate::event::{Event, Events};
use crate::failure::{Exit, Failure};
use crate::family::{BuildDate, Family, Upstream};
use crate::host;
use crate::relock::{self, Ground, Site};
use crate::smoke::Room;
use crate::upstream;

/// The clients, and what they leave behind until [`Clients::leave`].
#[derive(Default)]
pub(super) struct Clients {
    room: OnceCell<Room>,
}

/// Whom they are asked for.
pub(super) struct Asking<'a> {
    pub(super) session: &'a Session,
    pub(super) family: &'a Family,
    pub(super) today: &'a BuildDate,
    pub(super) events: &'a Events,
    /// Whether things were named, rather than everything asked for.
    pub(super) named: bool,
}

impl Clients {
    /// The answers to those of `wishes` that clients know of.
    pub(super) async fn answers(&self, asking: Asking<'_>, wishes: &[Wish]) -> Vec<Answer> {
        let env = certificates();
        let site = Site { family: asking.family, root: &asking.session.root, env: &env };
        let asked = wishes.iter().map(|wish| async {
            let to = wish.to.as_deref();
            let npm = asking
                .family
                .pins
                .iter()
                .find(|(name, pin)| name.as_str() == wish.name && matches!(pin.upstream, Upstream::Npm { .. }));
            let events = asking.events;
            match (wish.name.as_str(), npm) {
                (_, Some((name, _))) => Some(upstream::told(events, &wish.name, relock::npm(site, name, to)).await),
                (PYTHON, None) => Some(upstream::told(events, PYTHON, relock::python(site, to)).await),
                (BUILD_DATE, None) => Some(upstream::told(events, BUILD_DATE, self.debian(&asking, to)).await),
                _ => None,
            }
        });
        join_all(asked).await.into_iter().flatten().collect()
    }

    async fn debian(&self, asking: &Asking<'_>, to: Option<&str>) -> Result<Candidate, Trouble> {
        let Asking { family, today, .. } = *asking;
        let ground = Ground { family, today };
        let room = || async {
            let engine = engine::connect().await?;
            Ok::<_, Failure>(Room::new(engine, family.name.clone(), false)?)
        };
        let room = || async { self.room.get_or_try_init(room).await.map_err(Trouble::from) };
        if let Some(candidate) = relock::debian(ground, to, room).await? {
            return Ok(candidate);
        }
        let nobody = "no image of this family is built here: nobody can tell which of its packages are newer by now";
        let hint = "cargo xtask build --all, or: cargo xtask bump build-date --to YYYY-MM-DD";
        match asking.named {
            true => Err(Trouble::new(Exit::Missing, nobody).hint(hint)),
            // Who asks for everything on a machine that has built nothing has not asked for this.
            false => {
                asking.events.emit(Event::Warning { text: format!("`{BUILD_DATE}` stays: {nobody} ({hint})") });
                Ok(Candidate::unmoved(Version::plain(family.build_date.to_string())))
            }
        }
    }

    /// Takes away what was started.
    pub(super) async fn leave(&self) -> Result<(), Failure> {
        match self.room.get() {
            Some(room) => Ok(room.clear().await?),
            None => Ok(()),
        }
    }
}

/// Where this machine trusts more than everybody does, clients that bring certificates of their own are told.
fn certificates() -> BTreeMap<String, String> {
    // What is wrong with a bundle is said by builds; here it is the same as none.
    let Ok(Some(bundle)) = host::ca::extra_bundle(None, &variable) else { return BTreeMap::new() };
    let path = bundle.path.display().to_string();
    let unset = ["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"].into_iter().filter(|name| variable(name).is_none());
    unset.map(|name| (name.to_owned(), path.clone())).collect()
}
