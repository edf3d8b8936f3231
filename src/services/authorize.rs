//! Who gets in by ssh: the keys of `AUTHORIZED_KEYS`, in the user's own file where sshd accepts that one.

use super::Surroundings;
use super::sshd_files::AuthorizedKeys;
use crate::account::Account;
use crate::failure::Failure;
use crate::files;
use nix::unistd::Uid;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The user's own file, from the home on.
const OWN: &str = ".ssh/authorized_keys";
/// More than the keys of any company.
const LARGEST: u64 = 16 * 1024 * 1024;

/// What sshd is told about keys.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Keys {
    /// `AuthorizedKeysFile`
    pub(super) files: String,
    /// `StrictModes`
    pub(super) strict: bool,
}

/// Writes the keys into `~/.ssh/authorized_keys`, with the user's own rights; also elsewhere where sshd would refuse
/// that file: on a volume whose folders others may write to, as Kubernetes makes them.
pub(super) fn authorize(on: &Surroundings<'_>) -> Result<Keys, Failure> {
    let path = on.account.home.join(OWN);
    on.account.act(|| write(on, &path))?;
    let usual = Keys { files: OWN.to_owned(), strict: true };
    let Some(problem) = refusal(&path, &on.account) else { return Ok(usual) };
    let beside = on.runtime.join("authorized_keys");
    let text = AuthorizedKeys(b"").with(&on.settings.ssh.keys);
    files::write(&beside, &text, 0o644, None)
        .map_err(|error| Failure::system(format!("to write `{}`", beside.display()), error))?;
    let beside = beside.display().to_string();
    let warning = format!("{problem}, so sshd refuses the keys in `~/{OWN}`; those of AUTHORIZED_KEYS it takes from `{beside}`");
    on.log.service("warning", "sshd", &warning);
    Ok(match Uid::effective().is_root() {
        true => Keys { files: format!("{OWN} {beside}"), strict: true },
        // The folder above is /tmp, which sshd refuses as well; the file's own folder is its user's alone.
        false => Keys { files: beside, strict: false },
    })
}

fn write(on: &Surroundings<'_>, path: &Path) -> Result<(), Failure> {
    let refused = |error: io::Error| Failure::system(format!("to write `{}`", path.display()), error);
    let folder = path.parent().unwrap_or(path);
    // A folder that is a link (to a volume, say) is the user's own choice, made with the user's own rights.
    if !folder.is_dir() {
        fs::create_dir(folder).map_err(refused)?;
    }
    fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(refused)?;
    let before = match files::read(path, LARGEST) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(refused(error)),
    };
    let text = AuthorizedKeys(&before).with(&on.settings.ssh.keys);
    files::write(path, &text, 0o600, None).map_err(refused)
}

/// Why sshd with `StrictModes` would refuse the keys in `path`: by its own rule, which is that nobody but the user
/// and root may write to the file or to any folder above it, up to the home or the root.
fn refusal(path: &Path, account: &Account) -> Option<String> {
    let own = account.uid.as_raw();
    let home = fs::canonicalize(&account.home).unwrap_or_else(|_| account.home.clone());
    let path: PathBuf = fs::canonicalize(path).ok()?;
    for part in path.ancestors() {
        let found = fs::metadata(part).ok()?;
        let part_name = part.display();
        if found.uid() != 0 && found.uid() != own {
            return Some(format!("`{part_name}` belongs to uid {}", found.uid()));
        }
        if found.mode() & 0o022 != 0 {
            return Some(format!("`{part_name}` is writable by others than its owner"));
        }
        if part == home {
            return None;
        }
    }
    None
}
