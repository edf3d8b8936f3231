//! A name for a uid that has none: Kubernetes and OpenShift start containers as any uid they like, and then sshd,
//! ssh, git and many more refuse to work for somebody whom `/etc/passwd` does not know.
//!
//! `libnss_wrapper` reads it from files of one's own instead. Programs that gain rights (sudo) ignore it, as the
//! loader does with every preloaded library, so nobody becomes somebody else by it; that is why neither
//! `/etc/passwd` is made writable nor another source is entered in `/etc/nsswitch.conf`.

use super::Account;
use crate::failure::Failure;
use crate::{files, places};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// The library, where Debian keeps it on the machines that there are images for.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/libnss_wrapper.so",
    "/usr/lib/aarch64-linux-gnu/libnss_wrapper.so",
    "/usr/lib/arm-linux-gnueabihf/libnss_wrapper.so",
];

fn passwd() -> PathBuf {
    places::runtime().join("passwd")
}

fn group() -> PathBuf {
    places::runtime().join("group")
}

/// The variables by which programs find the files; none where the image has no library for it.
pub(super) fn variables() -> Vec<(&'static str, OsString)> {
    let Some(library) = LIBRARIES.into_iter().find(|path| Path::new(path).exists()) else { return Vec::new() };
    vec![
        ("LD_PRELOAD", library.into()),
        ("NSS_WRAPPER_PASSWD", passwd().into_os_string()),
        ("NSS_WRAPPER_GROUP", group().into_os_string()),
    ]
}

/// Writes the files.
pub(super) fn write(account: &Account) -> Result<(), Failure> {
    let (uid, gid) = (account.uid.as_raw(), account.gid.as_raw());
    let (home, shell) = (account.home.display(), account.shell.display());
    let own = format!("{}:x:{uid}:{gid}::{home}:{shell}", account.name);
    let users = with(&fs::read_to_string("/etc/passwd").unwrap_or_default(), &own, None);
    let own = format!("{}:x:{gid}:", account.name);
    let groups = with(&fs::read_to_string("/etc/group").unwrap_or_default(), &own, Some(gid));
    for (path, text) in [(passwd(), users), (group(), groups)] {
        files::write(&path, text.as_bytes(), 0o644, None)
            .map_err(|error| Failure::system(format!("to write `{}`", path.display()), error))?;
    }
    Ok(())
}

/// `table` with the line `own` in place of the one of the same name, unless it knows the number `id` already.
fn with(table: &str, own: &str, id: Option<u32>) -> String {
    let field = |line: &str, n: usize| line.split(':').nth(n).map(str::to_owned);
    if id.is_some_and(|id| table.lines().any(|line| field(line, 2) == Some(id.to_string()))) {
        return table.to_owned();
    }
    let name = field(own, 0);
    let others = table.lines().filter(|line| field(line, 0) != name);
    std::iter::once(own).chain(others).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::with;

    #[test]
    fn a_stranger_takes_the_place_of_the_workspace_s_user() {
        let before = "root:x:0:0::/root:/bin/bash\nansible:x:1000:1000::/home/ansible:/bin/bash\n";
        let own = "ansible:x:12345:0::/home/ansible:/bin/bash";
        assert_eq!(with(before, own, None), format!("{own}\nroot:x:0:0::/root:/bin/bash\n"));
        let groups = "root:x:0:\nansible:x:1000:\n";
        assert_eq!(with(groups, "ansible:x:0:", Some(0)), groups, "known already");
        assert_eq!(with(groups, "ansible:x:7:", Some(7)), "ansible:x:7:\nroot:x:0:\n");
        assert_eq!(with("", "ansible:x:7:", Some(7)), "ansible:x:7:\n");
    }
}
