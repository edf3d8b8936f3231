//! OpenSSH: keys only, no root, the workspace's user alone.

use super::sshd_files::{AuthorizedKeys, Config};
use super::{Surroundings, main_policy};
use crate::failure::{Failure, SYSTEM, UNAVAILABLE};
use crate::process::Program;
use crate::supervisor::{Probe, Service, Shown, Step};
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
    if !Uid::effective().is_root() {
        return Some(format!(
            "AUTHORIZED_KEYS is set, but the container runs as uid {}, and this version starts sshd as root only",
            Uid::effective()
        ));
    }
    let absent = [places::SSHD, places::SSH_KEYGEN].into_iter().find(|path| !Path::new(path).exists())?;
    Some(format!("AUTHORIZED_KEYS is set, but this image has no `{absent}`"))
}

pub(super) fn prepare(on: &Surroundings<'_>) -> Result<Service, Failure> {
    let ssh = &on.settings.ssh;
    unlocked(&on.account.name)?;
    files::folder(Path::new(places::SSHD_RUN), 0o755)
        .map_err(|error| Failure::system(format!("the folder `{}`", places::SSHD_RUN), error))?;
    on.account.act(|| authorize(on))?;
    let folder = host_key_folder(on)?;
    let missing = missing_host_keys(&folder)?;
    let host_keys = OFFERED.map(|kind| host_key(&folder, kind)).into_iter();
    let host_keys = host_keys.filter(|path| path.exists() || missing.iter().any(|(_, missing)| missing == path)).collect();
    let config = Config { port: ssh.port, host_keys, user: &on.account.name, session: &on.settings.session };
    let path = on.runtime.join("sshd_config");
    let (text, skipped) = config.render();
    for name in skipped {
        on.log.service("warning", "sshd", &format!("{name} holds a control character and is not handed to sessions"));
    }
    files::write(&path, text.as_bytes(), 0o600, None)
        .map_err(|error| Failure::system(format!("to write `{}`", path.display()), error))?;

    let program = |path: &str, arguments: Vec<OsString>| Program {
        path: path.into(),
        arguments,
        environment: vec![("PATH".into(), account::DEFAULT_PATH.into())],
        folder: "/".into(),
        ..Program::default()
    };
    let generate = missing.into_iter().map(|(kind, path)| {
        let arguments = ["-q", "-t", kind, "-N", "", "-C", "", "-f"].map(OsString::from);
        let arguments = arguments.into_iter().chain([path.clone().into_os_string()]);
        Step { program: program(places::SSH_KEYGEN, arguments.collect()), makes: Some(path) }
    });
    let check = Step { program: program(places::SSHD, vec!["-t".into(), "-f".into(), path.clone().into()]), makes: None };
    let steps: Vec<_> = generate.chain([check]).collect();
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
    let shadow = fs::read_to_string("/etc/shadow").unwrap_or_default();
    let mut accounts = shadow.lines().filter_map(|line| line.split_once(':'));
    if accounts.any(|(name, rest)| name == user && rest.starts_with('!')) {
        let problem = format!("the account `{user}` is locked (`!` in /etc/shadow): sshd would refuse every login");
        return Err(Failure::new(UNAVAILABLE, problem).hint(format!("in the image: `usermod --password '*' {user}`")));
    }
    Ok(())
}

/// Writes the keys into `~/.ssh/authorized_keys`, with the user's own rights.
fn authorize(on: &Surroundings<'_>) -> Result<(), Failure> {
    let home = &on.account.home;
    let folder = home.join(".ssh");
    let path = folder.join("authorized_keys");
    let refused = |error: std::io::Error| Failure::system(format!("to write `{}`", path.display()), error);
    match fs::metadata(home) {
        Ok(found) if found.mode() & 0o022 != 0 => {
            let problem = format!("`{}` is writable by others than its owner: sshd would refuse every key", home.display());
            return Err(Failure::new(SYSTEM, problem).hint(format!("`chmod go-w {}`", home.display())));
        }
        Ok(_) => {}
        Err(error) => return Err(refused(error)),
    }
    // A folder that is a link (to a volume, say) is the user's own choice, made with the user's own rights.
    if !folder.is_dir() {
        fs::create_dir(&folder).map_err(refused)?;
    }
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).map_err(refused)?;
    let before = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(refused(error)),
    };
    let text = AuthorizedKeys(&before).with(&on.settings.ssh.keys);
    files::write(&path, text.as_bytes(), 0o600, None).map_err(refused)
}

/// Where host keys are: `/etc/ssh`, or where the root is read-only a folder that lives as long as the container.
fn host_key_folder(on: &Surroundings<'_>) -> Result<PathBuf, Failure> {
    let usual = PathBuf::from(places::HOST_KEYS);
    let present = GENERATED.iter().all(|kind| host_key(&usual, kind).exists());
    if present || files::writable(&usual).is_ok() {
        return Ok(usual);
    }
    on.log.service("warning", "sshd", "`/etc/ssh` cannot be written to: the host keys are new at every start of the container");
    let folder = on.runtime.join("host_keys");
    files::folder(&folder, 0o700).map_err(|error| Failure::system(format!("the folder `{}`", folder.display()), error))?;
    Ok(folder)
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
