//! What jobs leave behind: processes that have gone away from the listener's group. They end before the next
//! registration and before a removal by token, as they could read the token, and before the next job, which they could
//! look into.

use crate::account::Account;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, getppid};
use std::collections::BTreeSet;
use std::fs;
use std::thread::sleep;
use std::time::Duration;

/// How often is looked whether somebody is left: whoever starts others while ending is ended again.
const MOST_ROUNDS: u32 = 50;
const ROUND: Duration = Duration::from_millis(10);

/// Ends every process of the jobs' user, and returns how many there were. Only where all of that user's are jobs: the
/// user is not also the workspace's, and no other container's or the host's processes are among those in `/proc`.
pub(super) fn end(jobs: &Account, workspace: Uid) -> usize {
    let own = Uid::effective().is_root() && getppid() == Pid::from_raw(1);
    if !own || jobs.uid == workspace || jobs.uid.is_root() {
        return 0;
    }
    let mut ended = BTreeSet::new();
    for _ in 0..MOST_ROUNDS {
        let found: Vec<_> = of(jobs.uid.as_raw()).collect();
        if found.is_empty() {
            break;
        }
        for pid in found {
            // Gone already: just what is wanted.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            ended.insert(pid);
        }
        sleep(ROUND);
    }
    ended.len()
}

/// The processes that run with the rights of `user`.
pub(super) fn of(user: u32) -> impl Iterator<Item = i32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(move |pid: &i32| {
        let status = fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
        runs_as(&String::from_utf8_lossy(&status), user)
    })
}

/// Whether the process with this `/proc/PID/status` lives, and its real or effective user is `user`.
fn runs_as(status: &str, user: u32) -> bool {
    // The name, which is the process's own choice, comes first and cannot hold a line break.
    let field = |name: &str| status.lines().skip(1).find_map(|line| line.strip_prefix(name));
    let ended = field("State:").is_none_or(|state| state.trim_start().starts_with(['Z', 'X']));
    let users = field("Uid:").unwrap_or_default().split_ascii_whitespace().take(2);
    !ended && users.filter_map(|found| found.parse().ok()).any(|found: u32| found == user)
}

#[cfg(test)]
mod tests {
    use super::runs_as;
    use proptest::prelude::*;

    #[test]
    fn a_process_of_the_user_is_known() {
        let status = |state: &str, users: &str| format!("Name:\tUid:\\t7\nUmask:\t0022\nState:\t{state}\nUid:\t{users}\n");
        let table = [
            (status("S (sleeping)", "1001\t1001\t1001\t1001"), true),
            (status("R (running)", "0\t1001\t0\t0"), true),
            (status("R (running)", "1001\t0\t0\t0"), true),
            (status("R (running)", "0\t0\t1001\t0"), false),
            (status("Z (zombie)", "1001\t1001\t1001\t1001"), false),
            (String::new(), false),
        ];
        for (status, expected) in table {
            assert_eq!(runs_as(&status, 1001), expected, "{status}");
        }
    }

    proptest! {
        #[test]
        fn no_name_makes_a_process_somebody_elses(name in "[^\n]{0,15}", user: u32, other: u32, nonsense: String) {
            let status = format!("Name:\t{name}\nState:\tS\nUid:\t{user}\t{user}\t{user}\t{user}\n");
            prop_assert!(runs_as(&status, user));
            prop_assert_eq!(runs_as(&status, other), user == other);
            let _ = runs_as(&nonsense, user);
        }
    }
}
