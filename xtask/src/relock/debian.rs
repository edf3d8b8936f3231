//! Debian's packages: `BUILD_DATE` moves only where some of them have newer versions.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;

use crate::bump::{Candidate, Change, Moved, Place, Trouble, Version};
use crate::failure::{Exit, Failure};
use crate::family::{BuildDate, Family, Image, Name, Profile};
use crate::plan;
use crate::smoke::{self, Room, Update};

/// The label that says of which day its packages are.
const CREATED: &str = "org.opencontainers.image.created";

/// What is asked, and where.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The family.
    pub family: &'a Family,
    /// Today, in UTC.
    pub today: &'a BuildDate,
}

/// Today, where packages that are in the built images have newer versions; else the date stays. It never goes back. None: there
/// is no image to ask in, and so none with old packages.
///
/// # Errors
/// What is built has an earlier date; the engine or the package repositories do not answer; `to` is no date that may
/// be taken.
///
/// `room` is asked for once containers are needed: it is not open yet, and whoever made it clears it, whatever comes of this.
pub async fn debian<'r, R>(ground: Ground<'_>, to: Option<&str>, room: impl FnOnce() -> R) -> Result<Option<Candidate>, Trouble>
where
    R: Future<Output = Result<&'r Room, Trouble>>,
{
    let Ground { family, today } = ground;
    let present = &family.build_date;
    if let Some(to) = to {
        return named(to, present, today).map(Some);
    }
    if today <= present {
        return Ok(Some(Candidate::unmoved(version(present))));
    }
    let room = room().await?;
    let images = built(family, room).await?;
    if images.is_empty() {
        return Ok(None);
    }
    room.open().await.map_err(trouble)?;
    let asked = join_all(images.iter().map(|(variant, image)| smoke::updates(room, variant, image))).await;
    let mut updates = BTreeSet::new();
    for ((_, image), asked) in images.iter().zip(asked) {
        updates.extend(asked.map_err(trouble)?.map_err(|why| {
            let message = format!("the package repositories cannot be asked in a container of `{image}`: {}", why.trim());
            Trouble::new(Exit::Missing, message)
                .hint("do containers of this engine reach them? cargo xtask bump build-date --to YYYY-MM-DD    asks nobody")
        })?);
    }
    Ok(Some(moved(present, today, updates)))
}

fn version(date: &BuildDate) -> Version {
    Version::plain(date.to_string())
}

/// `--to`: that day, and nobody is asked.
fn named(to: &str, present: &BuildDate, today: &BuildDate) -> Result<Candidate, Trouble> {
    let date: BuildDate = to.parse().map_err(|error| Trouble::new(Exit::Usage, format!("--to: {error}")))?;
    if date > *today {
        return Err(Trouble::new(Exit::Usage, format!("{date} has not come yet: today is {today}")));
    }
    if date < *present {
        return Err(Trouble::new(Exit::Refused, format!("{date} is before {present}: `bump` does not go back"))
            .hint("to go back, edit `build-date` in variants.toml by hand; packages are the newest all the same"));
    }
    Ok(taken(present, &date, Vec::new()))
}

fn taken(present: &BuildDate, date: &BuildDate, details: Vec<Moved>) -> Candidate {
    let mut change = Change::default();
    if date != present {
        change.values.insert(Place::BuildDate, date.to_string());
    }
    Candidate { details, change, ..Candidate { to: version(date), ..Candidate::unmoved(version(present)) } }
}

/// What is to be done about the updates there are.
fn moved(present: &BuildDate, today: &BuildDate, updates: BTreeSet<Update>) -> Candidate {
    if updates.is_empty() {
        return Candidate::unmoved(version(present));
    }
    let details = updates.into_iter().map(|update| Moved {
        file: None,
        name: update.name,
        from: update.before,
        to: Some(update.after),
        security: !update.other,
    });
    taken(present, today, details.collect())
}

/// The images to ask in: every variant that is built and that no other of them is built on.
async fn built(family: &Family, room: &Room) -> Result<Vec<(Name, String)>, Trouble> {
    let default = family.profiles.iter().filter(|(name, _)| name.as_str() == "default");
    let others = family.profiles.iter().filter(|(name, _)| name.as_str() != "default");
    for (name, profile) in default.chain(others) {
        let mut found: BTreeMap<&Name, (&Image, String)> = BTreeMap::new();
        for (image, _) in family.variants() {
            if let Some(tag) = of_the_date(family, room, name, profile, image).await? {
                found.insert(&image.name, (image, tag));
            }
        }
        let below: BTreeSet<&Name> = found.values().flat_map(|(image, _)| ancestors(family, image)).collect();
        found.retain(|name, _| !below.contains(name));
        if !found.is_empty() {
            return Ok(found.into_iter().map(|(name, (_, tag))| (name.clone(), tag)).collect());
        }
    }
    Ok(Vec::new())
}

/// The local tag of a variant that is built; what was built for an earlier date knows nothing of this one's packages.
async fn of_the_date(
    family: &Family,
    room: &Room,
    profile_name: &Name,
    profile: &Profile,
    image: &Image,
) -> Result<Option<String>, Trouble> {
    let Some(tag) = plan::local_tags(family, image, profile, &family.build_date).into_iter().next() else { return Ok(None) };
    let Some(found) = room.engine().inspect(&tag).await.map_err(trouble)? else { return Ok(None) };
    let created = found.image.labels.get(CREATED).and_then(|created| BuildDate::of_rfc3339(created));
    match created.filter(|created| *created < family.build_date) {
        None => Ok(Some(tag)),
        Some(created) => Err(Trouble::new(
            Exit::Missing,
            format!("`{tag}` has the packages of {created}, and variants.toml says {}", family.build_date),
        )
        .hint(format!("build it first: cargo xtask build --variant {} --profile {profile_name}", image.name))),
    }
}

fn ancestors<'a>(family: &'a Family, image: &'a Image) -> Vec<&'a Name> {
    let mut names: Vec<&Name> = Vec::new();
    let mut next = image.parent.as_ref();
    while let Some(name) = next {
        names.push(name);
        next = family.images.get(name).and_then(|image| image.parent.as_ref());
    }
    names
}

fn trouble(error: crate::engine::EngineError) -> Trouble {
    Trouble::from(Failure::from(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn day(text: &str) -> BuildDate {
        text.parse().unwrap()
    }

    fn update(name: &str, security: bool) -> Update {
        Update { other: !security, name: name.to_owned(), before: Some("1".to_owned()), after: "2".to_owned() }
    }

    #[test]
    fn it_moves_only_for_newer_packages_and_those_for_security_come_first() {
        let (present, today) = (day("2026-11-20"), day("2026-11-27"));
        assert_eq!(moved(&present, &today, BTreeSet::new()), Candidate::unmoved(version(&present)));
        let found = moved(&present, &today, [update("a", false), update("z", true)].into());
        assert_eq!(found.to, version(&today));
        let told: Vec<_> = found.details.iter().map(|moved| (moved.name.as_str(), moved.security)).collect();
        assert_eq!(told, [("z", true), ("a", false)]);
        assert_eq!(found.change.values, BTreeMap::from([(Place::BuildDate, "2026-11-27".to_owned())]));
    }

    #[test]
    fn a_day_that_is_named() {
        for (to, expected) in [
            ("2026-11-25", Ok("2026-11-25")),
            ("2026-11-27", Ok("2026-11-27")),
            ("2026-11-20", Ok("2026-11-20")),
            ("2026-11-28", Err((Exit::Usage, "2026-11-28 has not come yet: today is 2026-11-27"))),
            ("2026-11-19", Err((Exit::Refused, "2026-11-19 is before 2026-11-20: `bump` does not go back"))),
            ("tomorrow", Err((Exit::Usage, "--to: `tomorrow` is not a date: expected `YYYY-MM-DD`, 1980 or later"))),
        ] {
            let found = named(to, &day("2026-11-20"), &day("2026-11-27"));
            match (found, expected) {
                (Ok(found), Ok(expected)) => {
                    assert_eq!(found.to.id, expected);
                    assert_eq!(found.change.is_empty(), expected == "2026-11-20");
                }
                (Err(trouble), Err(expected)) => assert_eq!((trouble.exit, trouble.message.as_str()), expected),
                (found, expected) => panic!("{to}: {found:?}, expected {expected:?}"),
            }
        }
    }
}
