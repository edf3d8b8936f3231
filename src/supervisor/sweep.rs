//! The end of everything that is left: process groups are not enough, as sessions of sshd have their own.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;

fn signal(kill: bool) -> Signal {
    if kill { Signal::SIGKILL } else { Signal::SIGTERM }
}

/// Signals every process there is. Only for PID 1, to whom all of them belong.
pub(super) fn everything(by_kill: bool) {
    // Nobody left: just what is wanted.
    let _ = kill(Pid::from_raw(-1), signal(by_kill));
}

/// Signals every child, adopted ones included.
pub(super) fn children(by_kill: bool) {
    let own = std::process::id();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else { continue };
        let status = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if parent(&status) == Some(own) {
            // It has just ended: the reaper knows.
            let _ = kill(Pid::from_raw(pid), signal(by_kill));
        }
    }
}

/// The parent in a line of `/proc/PID/stat`, where the name may hold anything, parentheses included.
fn parent(stat: &str) -> Option<u32> {
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parent;
    use proptest::prelude::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        assert_eq!(parent("12 (bash) S 7 12 12 0"), Some(7));
        assert_eq!(parent("12 (a) R 99 (b) S 7 12 12 0"), Some(7));
        assert_eq!(parent(""), None);
    }

    proptest! {
        #[test]
        fn no_name_hides_the_parent(pid: u32, name: String, parent_is: u32, stat: String) {
            prop_assert_eq!(parent(&format!("{pid} ({name}) S {parent_is} 1 2 3 4 5\n")), Some(parent_is));
            let _ = parent(&stat);
        }
    }
}
