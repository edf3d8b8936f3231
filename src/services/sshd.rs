//! OpenSSH: keys only, no root, the workspace's user alone.

use super::authorize::authorize;
use super::sshd_files::Config;
use super::{Surroundings, main_policy, unprivileged};
use crate::account::Account;
use crate::failure::{Failure, UNAVAILABLE};
use crate::persistence::HostKeys;
use crate::process::Program;
use crate::settings::Settings;
use crate::supervisor::{Probe, Service, Shown, Step};
use crate::worker::{Report, Worker};
use crate::{account, files, places};
use nix::sys::signal::Signal;
use nix::unistd::Uid;
use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The kinds of host key that are generated: quickly made, and known to every client of the last ten years.
const GENERATED: [&str; 2] = ["ed25519", "ecdsa"];
/// The kinds that are offered when they are there.
const OFFERED: [&str; 3] = ["ed25519", "ecdsa", "rsa"];

/// Why sshd cannot be started here at all.
pub(super) fn missing() -> Option<String> {
    if !Account::workspace(None).is_ok_and(|account| account.named()) {
        return Some(unprivileged::nameless());
    }
    let absent = [places::SSHD, places::SSH_KEYGEN].into_iter().find(|path| !Path::new(path).exists())?;
    Some(format!("AUTHORIZED_KEYS is set, but this image has no `{absent}`"))
}

pub(super) fn prepare(on: &Surroundings<'_>) -> Result<Service, Failure> {
    let ssh = &on.settings.ssh;
    unprivileged::port("SSH_PORT", ssh.port, 2222)?;
    unlocked(&on.account.name)?;
    if Uid::effective().is_root() {
        files::folder(Path::new(places::SSHD_RUN), 0o755)
            .map_err(|error| Failure::system(format!("the folder `{}`", places::SSHD_RUN), error))?;
    }
    let keys = authorize(on)?;
    let (folder, volume) = host_key_folder(on)?;
    let missing = missing_host_keys(&folder)?;
    let host_keys = OFFERED.map(|kind| host_key(&folder, kind)).into_iter();
    let host_keys = host_keys.filter(|path| path.exists() || missing.iter().any(|(_, missing)| missing == path)).collect();
    // Where the user has no name but by these, sessions are no better off than sshd itself.
    let session = [on.settings.session.clone(), on.account.names()].concat();
    let config = Config { port: ssh.port, host_keys, user: &on.account.name, keys: &keys, session: &session };
    let path = on.runtime.join("sshd_config");
    let (text, skipped) = config.render();
    for (name, why) in skipped {
        on.log.service("warning", "sshd", &format!("{name} {why} and is not handed to sessions"));
    }
    files::write(&path, text.as_bytes(), 0o600, None)
        .map_err(|error| Failure::system(format!("to write `{}`", path.display()), error))?;

    let program = |path: &str, arguments: Vec<OsString>| Program {
        path: path.into(),
        arguments,
        environment: [vec![("PATH".into(), account::DEFAULT_PATH.into())], on.account.names()].concat(),
        folder: "/".into(),
        ..Program::default()
    };
    let generate = missing.into_iter().map(|(kind, path)| {
        let arguments = ["-q", "-t", kind, "-N", "", "-C", "", "-f"].map(OsString::from);
        let arguments = arguments.into_iter().chain([path.clone().into_os_string()]);
        Step { program: program(places::SSH_KEYGEN, arguments.collect()), makes: Some(path) }
    });
    let check = Step { program: program(places::SSHD, vec!["-t".into(), "-f".into(), path.clone().into()]), makes: None };
    // Keys that were made just now are kept, should there be a volume to keep them on.
    let keep = volume.then(|| Step { program: Worker::HostKeys.program(on.sources, &[]), makes: None });
    let steps: Vec<_> = generate.chain(keep).chain([check]).collect();
    Ok(Service {
        name: "sshd",
        policy: main_policy(steps.len(), Duration::from_secs(5)),
        steps,
        program: program(places::SSHD, vec!["-D".into(), "-e".into(), "-f".into(), path.into()]),
        stop: Signal::SIGTERM,
        probe: Probe::Port(ssh.port),
        shown: Shown::Log,
        watch: None,
    })
}

/// Without PAM, sshd refuses an account that is locked with `!`.
fn unlocked(user: &str) -> Result<(), Failure> {
    if locked(&fs::read("/etc/shadow").unwrap_or_default(), user) {
        let problem = format!("the account `{user}` is locked (`!` in /etc/shadow): sshd would refuse every login");
        return Err(Failure::new(UNAVAILABLE, problem).hint(format!("in the image: `usermod --password '*' {user}`")));
    }
    Ok(())
}

/// Whether the account is locked, by the bytes of `/etc/shadow`.
fn locked(shadow: &[u8], user: &str) -> bool {
    let shadow = String::from_utf8_lossy(shadow);
    shadow.lines().filter_map(|line| line.split_once(':')).any(|(name, rest)| name == user && rest.starts_with('!'))
}

/// Where host keys are, and whether they are kept on a volume: `/etc/ssh`, or a folder that lives as long as the
/// container, where the root is read-only or the keys are copies of those on the volume.
fn host_key_folder(on: &Surroundings<'_>) -> Result<(PathBuf, bool), Failure> {
    let usual = PathBuf::from(places::HOST_KEYS);
    let own = on.runtime.join(places::OWN_HOST_KEYS);
    let make = || {
        let made = files::folder(&own, 0o700);
        made.map_err(|error| Failure::system(format!("the folder `{}`", own.display()), error))
    };
    if let Some(volume) = &on.settings.persist {
        match HostKeys::open(volume, &on.account) {
            Ok(keys) => {
                make()?;
                if keys.is_users() {
                    let name = &on.account.name;
                    on.log.service(
                        "warning",
                        "sshd",
                        &format!("the volume gives root no rights of its own: `{name}` can read the host keys"),
                    );
                }
                // Those of an image or a start without a volume, unless it has its own.
                let names = OFFERED.map(|kind| format!("ssh_host_{kind}_key"));
                for name in &names {
                    if let Ok(key) = fs::read(usual.join(name)) {
                        let path = own.join(name);
                        files::write(&path, &key, 0o600, None)
                            .map_err(|error| Failure::system(format!("to write `{}`", path.display()), error))?;
                    }
                }
                for problem in keys.restore(names.iter().map(String::as_str), &own) {
                    on.log.service("error", "sshd", &format!("PERSIST_DIR: {problem}: a new one is made"));
                }
                return Ok((own, true));
            }
            Err(problem) => on.log.service("error", "sshd", &format!("PERSIST_DIR: the host keys are not kept: {problem}")),
        }
    }
    let present = GENERATED.iter().all(|kind| host_key(&usual, kind).exists());
    if present || files::writable(&usual).is_ok() {
        return Ok((usual, false));
    }
    on.log.service(
        "warning",
        "sshd",
        "`/etc/ssh` cannot be written to: the host keys are new at every start of the container (PERSIST_DIR keeps them)",
    );
    make()?;
    Ok((own, false))
}

/// The worker `host-keys`: copies the keys that were made at this start to the volume.
pub(crate) fn keep_host_keys(settings: &Settings, report: &Report) -> Result<u8, Failure> {
    let account = Account::workspace(settings.home.as_deref())?;
    if let Some(volume) = &settings.persist {
        let names = OFFERED.map(|kind| format!("ssh_host_{kind}_key"));
        let own = places::runtime().join(places::OWN_HOST_KEYS);
        let saved = HostKeys::open(volume, &account).and_then(|keys| keys.save(names.iter().map(String::as_str), &own));
        if let Err(problem) = saved {
            report.error(format!("PERSIST_DIR: the host keys are not kept: {problem}"));
        }
    }
    // sshd starts with keys that nobody keeps too.
    Ok(0)
}

fn host_key(folder: &Path, kind: &str) -> PathBuf {
    folder.join(format!("ssh_host_{kind}_key"))
}

/// The host keys that have to be generated. Those that are there are made private.
fn missing_host_keys(folder: &Path) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
    let mut missing = Vec::new();
    for kind in OFFERED {
        let path = host_key(folder, kind);
        let refused = |error| Failure::system(format!("the host key `{}`", path.display()), error);
        match fs::metadata(&path) {
            // A key that was being written when the container was killed; ssh-keygen would ask before it overwrites.
            Ok(found) if found.len() == 0 => fs::remove_file(&path).map_err(refused)?,
            Ok(found) if found.mode() & 0o077 == 0 => continue,
            Ok(_) => {
                fs::set_permissions(&path, Permissions::from_mode(0o600)).map_err(refused)?;
                continue;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(refused(error)),
        }
        if GENERATED.contains(&kind) {
            missing.push((kind, path));
        }
    }
    Ok(missing)
}

#[cfg(test)]
mod tests {
    use super::locked;
    use proptest::prelude::*;

    #[test]
    fn an_account_that_is_locked_is_known() {
        let shadow = b"root:*:1::::::\n\xff:!:1\nansible:!*:1::::::\nansible2:*:1:\n";
        assert_eq!(["ansible", "ansible2", "root", "nobody"].map(|user| locked(shadow, user)), [true, false, false, false]);
    }

    proptest! {
        #[test]
        fn any_file_is_read(bytes: Vec<u8>, password in "[!*$a-z]{0,4}") {
            let _ = locked(&bytes, "ansible");
            let before = bytes.into_iter().filter(|byte| *byte != b'!').chain(*b"\n");
            let shadow: Vec<u8> = before.chain(format!("ansible:{password}:1::::::").bytes()).collect();
            prop_assert_eq!(locked(&shadow, "ansible"), password.starts_with('!'));
        }
    }
}
