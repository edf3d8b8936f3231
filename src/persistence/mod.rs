//! What outlives the container: parts of the home that lie on a volume, with links to them where programs look.
//!
//! `PERSIST_DIR` is the folder on the volume. What is in the home already is moved there and never lost; the same
//! again changes nothing; killed at any point, the next run ends right. Everything is done with the rights of the
//! workspace's user, so that a link which the user planted leads nowhere else.

mod entry;
mod host_keys;
mod tree;
mod volume;

pub(crate) use host_keys::HostKeys;
pub(crate) use volume::{adopt_home, claim};

use crate::account::Account;
use crate::failure::{Failure, SYSTEM};
use crate::log::Log;
use crate::settings::{Settings, Sources};
use crate::signals;
use entry::{Done, Places};
use std::path::{Component, Path, PathBuf};

/// What something in the home is, where it has to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Made on the volume, for its user alone.
    Folder,
    /// Made by the program that writes it first, through the link: an empty file may be none that it can read.
    File,
}

/// What is kept of the home.
const KEPT: [(&str, Kind); 7] = [
    (".ssh", Kind::Folder),
    (".vscode-server", Kind::Folder),
    (".vscode", Kind::Folder),
    (".claude", Kind::Folder),
    (".claude.json", Kind::File),
    (".bash_history", Kind::File),
    // Where code-server has its data.
    (".local/share/code-server", Kind::Folder),
];

/// Why something is not kept.
#[derive(Debug)]
enum Trouble {
    /// Somebody asked for a stop meanwhile.
    Stopped,
    Failed(String),
}

/// Links what is kept of the home into `volume`, and moves what is there already. Returns whether all of it is in
/// place; what is not is said, and the workspace goes on without.
pub(crate) fn keep(volume: &Path, account: &Account, log: &Log) -> bool {
    let say = |level: &str, message: &str| log.service(level, "persistence", message);
    let volume = normal(volume);
    if let Some(problem) = unsuitable(&volume, &account.home) {
        say("error", &format!("PERSIST_DIR is `{}`, {problem}: NOTHING OF THE HOME IS KEPT", volume.display()));
        return false;
    }
    if let Err(problem) = volume::claim(&volume, account, 0o700) {
        say("error", &format!("PERSIST_DIR: {problem}: NOTHING OF THE HOME IS KEPT"));
        return false;
    }
    let mounts = tree::mounts();
    if !on_volume(&volume, &mounts) {
        let volume = volume.display();
        say(
            "warning",
            &format!("PERSIST_DIR: no volume is mounted at or above `{volume}`: what is kept there goes with the container"),
        );
    }
    let mut kept = 0;
    for (name, kind) in KEPT {
        let places = Places { home: account.home.join(name), volume: volume.join(name), kind, mounts: &mounts };
        let tilde = format!("~/{name}");
        let found = account.act(|| Ok(entry::keep(&places, &volume, &signals::stop_is_pending)));
        match found.unwrap_or_else(|failure| Err(Trouble::Failed(failure.problems.concat()))) {
            Ok(done) => {
                kept += u32::from(done.linked);
                tell(&done, &tilde, &places, &say);
            }
            Err(Trouble::Stopped) => {
                say("warning", &format!("asked to stop before `{tilde}` was moved: it is moved at the next start"));
                return false;
            }
            Err(Trouble::Failed(problem)) => say("error", &format!("`{tilde}` IS NOT KEPT: {problem}")),
        }
    }
    say("info", &format!("{kept} of {} paths of the home are kept in `{}`", KEPT.len(), volume.display()));
    usize::try_from(kept).is_ok_and(|kept| kept == KEPT.len())
}

/// Says what was done, as far as it is out of the ordinary.
fn tell(done: &Done, tilde: &str, places: &Places<'_>, say: &dyn Fn(&str, &str)) {
    if let Some(elsewhere) = &done.elsewhere {
        say("warning", &format!("`{tilde}` is left as it is: {elsewhere}"));
    }
    if done.moved {
        say("info", &format!("what was in `{tilde}` has been moved to `{}`", places.volume.display()));
    }
    for beside in &done.beside {
        let (volume, beside) = (places.volume.display(), beside.display());
        say(
            "warning",
            &format!("`{tilde}` and `{volume}` both had content: the volume's is used, the container's is in `{beside}`"),
        );
    }
}

/// `path` without `.`, doubled and trailing `/`, so that a link to it is known again.
fn normal(path: &Path) -> PathBuf {
    path.components().filter(|component| *component != Component::CurDir).collect()
}

/// Whether `path` lies in one of `mounts` that is not the container's own root.
fn on_volume(path: &Path, mounts: &[PathBuf]) -> bool {
    let root = Path::new("/");
    path.ancestors().take_while(|above| *above != root).any(|above| mounts.iter().any(|mount| mount == above))
}

/// Why `volume` cannot hold what is kept of `home`.
fn unsuitable(volume: &Path, home: &Path) -> Option<String> {
    if !volume.is_absolute() {
        return Some("which is no absolute path".to_owned());
    }
    if volume.components().any(|component| component == Component::ParentDir) {
        return Some("which goes up by `..`".to_owned());
    }
    if home.starts_with(volume) {
        return Some(format!("which holds the home `{}` itself", home.display()));
    }
    let inside = KEPT.into_iter().find(|(name, _)| volume.starts_with(home.join(name)));
    inside.map(|(name, _)| format!("which lies in `~/{name}`, one of the paths that are to be kept"))
}

/// `entrypoint persist`: the same by hand, for the user who calls it (root: for the workspace's user). `folder`
/// instead of `PERSIST_DIR`.
///
/// # Errors
/// There is no folder, or something is not kept.
pub(crate) fn by_hand(folder: Option<PathBuf>, log: &Log) -> Result<u8, Failure> {
    let settings = Settings::again(&Sources::plain());
    let folder = folder.map(|folder| std::path::absolute(&folder).unwrap_or(folder));
    let Some(volume) = folder.or(settings.persist) else {
        return Err(Failure::new(crate::failure::USAGE, "PERSIST_DIR is not set").hint("`entrypoint persist FOLDER` names one"));
    };
    let account = Account::workspace(settings.home.as_deref())?;
    if keep(&volume, &account, log) { Ok(0) } else { Err(Failure::new(SYSTEM, "not everything is kept: see above")) }
}

#[cfg(test)]
mod tests {
    use super::{normal, on_volume, unsuitable};
    use std::path::{Path, PathBuf};

    #[test]
    fn a_folder_is_on_a_volume_or_in_the_container() {
        let mounts = ["/", "/proc", "/persist", "/etc/hosts"].map(PathBuf::from);
        for (path, expected) in [
            ("/persist", true),
            ("/persist/home/x", true),
            ("/persistent", false),
            ("/data", false),
            ("/etc/x", false),
            ("/", false),
        ] {
            assert_eq!(on_volume(Path::new(path), &mounts), expected, "{path}");
        }
    }

    #[test]
    fn volumes_that_cannot_be() {
        let table = [
            ("/persist", None),
            ("/home/ansible/source/alice", None),
            ("/home/ansible/.vscode-server-of-mine", None),
            ("persist", Some("no absolute path")),
            ("/persist/../etc", Some("`..`")),
            ("/home/ansible", Some("holds the home")),
            ("/home", Some("holds the home")),
            ("/", Some("holds the home")),
            ("/home/ansible/.ssh", Some("lies in `~/.ssh`")),
            ("/home/ansible/.vscode/volume", Some("lies in `~/.vscode`")),
        ];
        for (volume, expected) in table {
            let found = unsuitable(Path::new(volume), Path::new("/home/ansible"));
            match expected {
                None => assert_eq!(found, None, "{volume}"),
                Some(part) => assert!(found.as_deref().is_some_and(|found| found.contains(part)), "{volume}: {found:?}"),
            }
        }
        assert_eq!(normal(Path::new("//persist/./a//")), Path::new("/persist/a"));
    }
}
