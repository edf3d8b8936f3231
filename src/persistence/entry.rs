//! One path of the home: what is to be done with it, and how.

use super::tree::{at, contains, copy, empty, look, remove};
use super::{Kind, Trouble};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long another container that moves something onto the same volume is waited for.
const OTHERS_TAKE: Duration = Duration::from_secs(10);
/// The most copies of the same name that are put beside each other.
const MOST_BESIDE: u32 = 1000;

/// Where something is, and where it is to be.
pub(super) struct Places<'a> {
    pub(super) home: PathBuf,
    pub(super) volume: PathBuf,
    pub(super) kind: Kind,
    /// Everything that is mounted.
    pub(super) mounts: &'a [PathBuf],
}

/// What has been done.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Whether it is kept now.
    pub(super) linked: bool,
    /// Whether content was moved to where it belongs.
    pub(super) moved: bool,
    /// Where content was put that had no place there.
    pub(super) beside: Vec<PathBuf>,
    /// Why it was left alone: it is kept somewhere else.
    pub(super) elsewhere: Option<String>,
}

/// What is found in the home.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Nothing,
    /// A link to where it is to be.
    Linked,
    /// A link to something that is not there.
    Dangling,
    /// A link to something else.
    Elsewhere(PathBuf),
    Mounted,
    Content,
}

/// What follows from it.
#[derive(Debug, PartialEq, Eq)]
enum Plan {
    /// It has to be there on the volume, no more.
    Nothing,
    Leave(String),
    Link,
    Move,
}

fn plan(found: Found) -> Plan {
    match found {
        Found::Linked => Plan::Nothing,
        Found::Nothing | Found::Dangling => Plan::Link,
        Found::Elsewhere(target) => Plan::Leave(format!("it is a link to `{}`", target.display())),
        Found::Mounted => Plan::Leave("something is mounted there".to_owned()),
        Found::Content => Plan::Move,
    }
}

/// Makes `places.home` a link to `places.volume`.
pub(super) fn keep(places: &Places<'_>, volume: &Path, stop: &dyn Fn() -> bool) -> Result<Done, Trouble> {
    if stop() {
        return Err(Trouble::Stopped);
    }
    let mut done = Done::default();
    for path in [&places.home, &places.volume] {
        let parent = path.parent().unwrap_or(path);
        DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(at(parent))?;
    }
    let (moved, link) = (beside(&places.home, "gantry-moved"), beside(&places.home, "gantry-link"));
    // Of a run that was killed.
    remove(&link)?;
    if look(&moved)?.is_some() {
        settle(&moved, places, volume, stop, &mut done)?;
    }
    match plan(find(places)?) {
        Plan::Nothing => {}
        Plan::Leave(why) => {
            done.elsewhere = Some(why);
            return Ok(done);
        }
        Plan::Link => put_link(places, &link)?,
        Plan::Move => {
            // First a whole copy on the volume; only then does the original leave its place, and only when the
            // copy still holds all of it (somebody may write meanwhile) does it go.
            store(&places.home, places, volume, stop, &mut done)?;
            if look(&places.home)?.is_some() {
                fs::rename(&places.home, &moved).map_err(at(&places.home))?;
            }
            put_link(places, &link)?;
            settle(&moved, places, volume, stop, &mut done)?;
        }
    }
    // A folder is there when programs come; a link to nothing would refuse them.
    if places.kind == Kind::Folder && look(&places.volume)?.is_none() {
        DirBuilder::new().mode(0o700).create(&places.volume).or_else(there_already).map_err(at(&places.volume))?;
    }
    done.linked = true;
    Ok(done)
}

fn there_already(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::AlreadyExists { Ok(()) } else { Err(error) }
}

fn find(places: &Places<'_>) -> Result<Found, Trouble> {
    let Some(found) = look(&places.home)? else { return Ok(Found::Nothing) };
    if found.is_symlink() {
        let target = fs::read_link(&places.home).map_err(at(&places.home))?;
        let there = fs::exists(&places.home).unwrap_or(true);
        return Ok(match target == places.volume {
            true => Found::Linked,
            false if there => Found::Elsewhere(target),
            false => Found::Dangling,
        });
    }
    Ok(if places.mounts.iter().any(|mount| mount.starts_with(&places.home)) { Found::Mounted } else { Found::Content })
}

/// `path` with a suffix.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(suffix);
    path.with_file_name(name)
}

/// A link appears at once, in place of nothing or of another link.
fn put_link(places: &Places<'_>, link: &Path) -> Result<(), Trouble> {
    symlink(&places.volume, link).map_err(at(link))?;
    fs::rename(link, &places.home).map_err(at(&places.home))
}

/// Removes `moved`, once all of it is on the volume.
fn settle(moved: &Path, places: &Places<'_>, volume: &Path, stop: &dyn Fn() -> bool, done: &mut Done) -> Result<(), Trouble> {
    store(moved, places, volume, stop, done)?;
    remove(moved)
}

/// Sees to it that everything in `source` is on the volume: in its place where that is free, else beside it. The
/// source may be gone then, or not.
fn store(source: &Path, places: &Places<'_>, volume: &Path, stop: &dyn Fn() -> bool, done: &mut Done) -> Result<(), Trouble> {
    let Some(found) = look(source)? else { return Ok(()) };
    if empty(source, &found)? {
        return Ok(());
    }
    let _lock = lock(volume, stop)?;
    let target = match look(&places.volume)? {
        None => places.volume.clone(),
        Some(there) if empty(&places.volume, &there)? => {
            // Not with anything that somebody else puts into it just now.
            let removed = if there.is_dir() { fs::remove_dir(&places.volume) } else { fs::remove_file(&places.volume) };
            removed.map_err(at(&places.volume))?;
            places.volume.clone()
        }
        Some(_) if contains(&places.volume, source)? => return Ok(()),
        Some(_) => match free(&places.volume, source)? {
            Some(free) => free,
            None => return Ok(()),
        },
    };
    transfer(source, &target, volume, stop)?;
    if target == places.volume {
        done.moved = true
    } else {
        done.beside.push(target)
    }
    Ok(())
}

/// The first free name beside `path` that tells what it is; none when something there holds all of `source`.
fn free(path: &Path, source: &Path) -> Result<Option<PathBuf>, Trouble> {
    for number in 1..=MOST_BESIDE {
        let free = beside(path, &format!("from-container-{number}"));
        if look(&free)?.is_none() {
            return Ok(Some(free));
        }
        if contains(&free, source)? {
            return Ok(None);
        }
    }
    Err(Trouble::Failed(format!("`{}` has {MOST_BESIDE} others beside it: clean up there", path.display())))
}

/// Moves `source` to `target`, which is not there; on another file system it is copied and stays.
fn transfer(source: &Path, target: &Path, volume: &Path, stop: &dyn Fn() -> bool) -> Result<(), Trouble> {
    match fs::rename(source, target) {
        Ok(()) => return Ok(()),
        // A folder that its own user may not write to cannot change its parent either.
        Err(error) if matches!(error.kind(), io::ErrorKind::CrossesDevices | io::ErrorKind::PermissionDenied) => {}
        Err(error) => return Err(at(source)(error)),
    }
    let partial = beside(target, "gantry-partial");
    remove(&partial)?;
    let copied = copy(source, &partial, stop).and_then(|()| {
        // Everything on the disk before it is taken for whole.
        let folder = File::open(volume).map_err(at(volume))?;
        nix::unistd::syncfs(&folder).map_err(|error| at(volume)(error.into()))?;
        fs::rename(&partial, target).map_err(at(target))?;
        nix::unistd::syncfs(&folder).map_err(|error| at(volume)(error.into()))
    });
    copied.inspect_err(|_| {
        // The first error tells more.
        let _ = remove(&partial);
    })
}

/// Keeps other containers from moving onto the same volume; where the file system has no locks, nothing does.
fn lock(volume: &Path, stop: &dyn Fn() -> bool) -> Result<Option<Flock<File>>, Trouble> {
    let path = volume.join(".gantry-lock");
    let until = Instant::now() + OTHERS_TAKE;
    loop {
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(at(&path))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(locked) => return Ok(Some(locked)),
            Err((_, Errno::EWOULDBLOCK)) if stop() => return Err(Trouble::Stopped),
            Err((_, Errno::EWOULDBLOCK)) if Instant::now() < until => std::thread::sleep(Duration::from_millis(50)),
            Err((_, Errno::EWOULDBLOCK)) => {
                let problem =
                    format!("another container moves something into `{}`; the next start tries again", volume.display());
                return Err(Trouble::Failed(problem));
            }
            Err(_) => return Ok(None),
        }
    }
}

#[cfg(test)]
#[path = "entry_tests.rs"]
mod tests;
