//! What the runner is called, so that it is in nobody's way.

use super::api::Listed;

/// The longest name that GitHub takes.
const LONGEST: usize = 64;

/// What to do about the names that are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Choice {
    pub(super) name: String,
    /// Namesakes that are offline: they are removed first.
    pub(super) remove: Vec<Listed>,
    /// A namesake that is online, and keeps its name.
    pub(super) online: bool,
}

/// The name that was asked for, else the ECS task's id, else the host's name: fit for GitHub.
pub(super) fn wanted(asked: Option<&str>, task: Option<&str>, host: &str) -> String {
    let name = asked.or(task).unwrap_or(host);
    let fit = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' };
    let name: String = name.trim().chars().map(fit).take(LONGEST).collect();
    if name.is_empty() { "runner".to_owned() } else { name }
}

/// The name to register with, given who is there: an online namesake works for somebody else (the old container
/// of a rolling update), so this one gets a suffix, made of `random`; offline ones are in the way.
pub(super) fn choose(wanted: &str, there: &[Listed], avoid: bool, random: u32) -> Choice {
    // GitHub does not tell names apart by case.
    let namesakes = || there.iter().filter(|listed| listed.name.eq_ignore_ascii_case(wanted));
    if avoid || namesakes().any(|listed| listed.online) {
        let suffix = format!("-{:06x}", random & 0xff_ffff);
        let short: String = wanted.chars().take(LONGEST - suffix.len()).collect();
        return Choice { name: short + &suffix, remove: Vec::new(), online: !avoid };
    }
    Choice { name: wanted.to_owned(), remove: namesakes().cloned().collect(), online: false }
}

#[cfg(test)]
mod tests {
    use super::{Choice, choose, wanted};
    use crate::runner::api::Listed;

    #[test]
    fn the_name_that_is_wanted() {
        let long = "x".repeat(70);
        let table = [
            (Some("mine"), Some("task"), "host", "mine"),
            (None, Some("task"), "host", "task"),
            (None, None, "host.example", "host.example"),
            (None, None, long.as_str(), &long[..64]),
            (None, None, "\n", "runner"),
            (Some("my runner/ä"), None, "", "my-runner--"),
        ];
        for (asked, task, host, expected) in table {
            assert_eq!(wanted(asked, task, host), expected);
        }
    }

    #[test]
    fn an_online_namesake_keeps_its_name_and_an_offline_one_goes() {
        let listed = |id, name: &str, online| Listed { id, name: name.into(), online };
        let other = listed(1, "other", true);
        let choice = |name: &str, remove: Vec<Listed>, online| Choice { name: name.into(), remove, online };
        let table = [
            (vec![], false, choice("me", vec![], false)),
            (vec![other.clone()], false, choice("me", vec![], false)),
            (vec![other.clone(), listed(2, "me", false)], false, choice("me", vec![listed(2, "me", false)], false)),
            (vec![listed(2, "ME", false)], false, choice("me", vec![listed(2, "ME", false)], false)),
            (vec![listed(2, "me", true)], false, choice("me-00abcd", vec![], true)),
            (vec![listed(2, "Me", false), listed(3, "me", true)], false, choice("me-00abcd", vec![], true)),
            (vec![], true, choice("me-00abcd", vec![], false)),
        ];
        for (there, avoid, expected) in table {
            assert_eq!(choose("me", &there, avoid, 0xff00_abcd), expected, "{there:?} {avoid}");
        }
        let long = "x".repeat(64);
        let name = choose(&long, &[listed(1, &long, true)], false, 1).name;
        assert_eq!((name.len(), &name[56..]), (64, "x-000001"));
    }
}
