//! What the workspace's user may do, and what others may see of the workspace: before anything runs.

use crate::account::Account;
use crate::failure::Failure;
use crate::log::Log;
use crate::places;
use crate::settings::Settings;
use crate::supervisor::Service;
use nix::unistd::Uid;
use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

/// Sees to `WORKSPACE_SUDO`, and keeps jobs out of the home.
pub(super) fn settle(settings: &Settings, account: &Account, log: &Log) {
    // An ordinary user can change nothing about it, and need not be told so unless it was asked for.
    let done =
        if settings.sudo && !Uid::effective().is_root() { Ok(()) } else { sudoers(Path::new(places::SUDOERS), settings.sudo) };
    if let Err(error) = done {
        let (name, file) = (&account.name, places::SUDOERS);
        log.warning(&match settings.sudo {
            true => format!("`{file}` cannot be put back: {error}: `{name}` has no sudo"),
            false => format!(
                "WORKSPACE_SUDO is off, but `{file}` cannot be taken away: {error}: services have no sudo, `docker exec --user {name}` has"
            ),
        });
    }
    let others = settings.runner.as_ref().is_some_and(|runner| runner.user != account.name);
    if let Some(problem) = (others && Uid::effective().is_root()).then(|| close(account)).and_then(Result::err) {
        let (name, home) = (&account.name, account.home.display());
        log.warning(&format!(
            "jobs of the runner may be able to read `{home}`: it cannot be closed to others than `{name}`: {problem}"
        ));
    }
}

/// Lets the file that gives the user sudo take effect, or not: sudo reads no file whose name holds a dot.
fn sudoers(file: &Path, on: bool) -> io::Result<()> {
    let off = file.with_extension("off");
    let (from, to) = if on { (&*off, file) } else { (file, &*off) };
    match fs::symlink_metadata(from) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // The image's, in place of one that was taken away.
        Ok(_) if on && file.exists() => Ok(()),
        Ok(_) => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

/// Closes the home to everybody but its user.
fn close(account: &Account) -> Result<(), String> {
    let closed = account.act(|| {
        let refused = |error| Failure::system("", error);
        let found = fs::metadata(&account.home).map_err(refused)?;
        let mode = found.mode() & 0o7700;
        if found.mode() & 0o7777 == mode {
            return Ok(());
        }
        fs::set_permissions(&account.home, Permissions::from_mode(mode)).map_err(refused)
    });
    closed.map_err(|failure| failure.problems.concat().trim_start_matches(": ").to_owned())
}

/// Without sudo no service, nor anything that it starts, ever gains rights: not by another setuid program either.
pub(super) fn restrict(services: &mut [Service], sudo: bool) {
    for service in services {
        let steps = service.steps.iter_mut().map(|step| &mut step.program);
        for program in steps.chain([&mut service.program]) {
            program.no_new_privileges |= !sudo;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sudoers;
    use std::fs;

    #[test]
    fn the_file_for_sudo_goes_and_comes_back() {
        let folder = std::env::temp_dir().join(format!("entrypoint-sudoers-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("ansible");
        let there = || (file.exists(), folder.join("ansible.off").exists());
        fs::write(&file, "").unwrap();
        for (on, expected) in [(true, (true, false)), (false, (false, true)), (false, (false, true)), (true, (true, false))] {
            sudoers(&file, on).unwrap();
            assert_eq!(there(), expected);
        }
        fs::remove_file(&file).unwrap();
        sudoers(&file, false).unwrap();
        assert_eq!(there(), (false, false));
        fs::remove_dir_all(&folder).unwrap();
    }
}
