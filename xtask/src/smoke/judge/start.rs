//! Containers that were started: what came of it, who gets in, how it ends.

use std::collections::BTreeSet;
use std::time::Duration;

use super::first_line;
use crate::engine::CommandOutput;
use crate::smoke::report::Verdict;

/// What became of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// The engine could not start it.
    NotStarted(String),
    /// It ended by itself with this code.
    Ended(i64),
    /// Its health check passes.
    Healthy,
    /// Its health check has failed as often as the image allows.
    Unhealthy,
    /// It runs; the health check has not decided in the time that there was.
    Undecided,
    /// It runs, the image has no health check, and the entrypoint says that it serves.
    Serves,
    /// It runs and has said what it was to say.
    Said,
}

/// A container, as it was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What became of it.
    pub reached: Reached,
    /// What its health check said last.
    pub health: String,
    /// The end of its log.
    pub log: String,
    /// How long it was looked at.
    pub after: Duration,
}

impl Seen {
    /// Whether it runs, as far as is known.
    pub fn runs(&self) -> bool {
        !matches!(self.reached, Reached::NotStarted(_) | Reached::Ended(_))
    }
}

fn seconds(after: Duration) -> String {
    format!("{:.1} s", after.as_secs_f64())
}

fn ended(code: i64, seen: &Seen) -> Verdict {
    let reason = seen.log.lines().find(|line| line.contains("error")).unwrap_or_default();
    let reason = if reason.is_empty() { String::new() } else { format!(": {}", first_line(reason)) };
    Verdict::failed(format!("the container ended with exit code {code}{reason}")).detail(&seen.log)
}

fn not_started(why: &str) -> Verdict {
    Verdict::failed(format!("the container cannot be started: {}", first_line(why)))
}

/// A container that is to serve: did it come up?
pub fn started(seen: &Seen) -> Verdict {
    match &seen.reached {
        Reached::NotStarted(why) => not_started(why),
        Reached::Ended(code) => ended(*code, seen),
        _ => Verdict::passed("runs"),
    }
}

/// A container that came up: is it well?
pub fn health(seen: &Seen) -> Verdict {
    let says = if seen.health.is_empty() { "says nothing".to_owned() } else { format!("says `{}`", first_line(&seen.health)) };
    match &seen.reached {
        Reached::Healthy => Verdict::passed(format!("healthy after {}", seconds(seen.after))),
        Reached::Serves => Verdict::skipped("the image has no health check; the entrypoint says that it serves"),
        Reached::Unhealthy => Verdict::failed(format!("unhealthy: the health check {says}")).detail(&seen.log),
        Reached::Undecided | Reached::Said => {
            Verdict::failed(format!("not healthy after {}: the health check {says}", seconds(seen.after)))
                .hint("docker logs tells more: run it again with --keep")
                .detail(&seen.log)
        }
        Reached::NotStarted(_) | Reached::Ended(_) => Verdict::skipped("it did not start"),
    }
}

/// A container that cannot do what it was asked: does it say all of `says`, and end with `code`?
pub fn refuses(seen: &Seen, says: &[&str], code: i64) -> Verdict {
    let missing: Vec<String> = says.iter().filter(|text| !seen.log.contains(**text)).map(|text| format!("`{text}`")).collect();
    match &seen.reached {
        Reached::NotStarted(why) => not_started(why),
        Reached::Ended(found) if *found == code && missing.is_empty() => {
            let line = seen.log.lines().find(|line| says.first().is_some_and(|text| line.contains(text))).unwrap_or_default();
            Verdict::passed(format!("ends with {code} and says why: {}", first_line(line)))
        }
        Reached::Ended(found) if *found == code => {
            Verdict::failed(format!("ends with {code}, but does not say {}", missing.join(", "))).detail(&seen.log)
        }
        Reached::Ended(found) => {
            Verdict::failed(format!("ends with {found}, expected is {code} and what is missing")).detail(&seen.log)
        }
        _ => Verdict::failed(format!("still runs after {}, expected is its end with {code}", seconds(seen.after)))
            .detail(&seen.log),
    }
}

/// A container that waits for somebody it cannot reach: does it go on, and say so in a `line`? `expected` is what that tells.
pub fn waits(seen: &Seen, line: Option<&str>, expected: &str) -> Verdict {
    match (&seen.reached, line) {
        (Reached::NotStarted(why), _) => not_started(why),
        (Reached::Ended(code), _) => ended(*code, seen),
        (_, Some(line)) => Verdict::passed(format!("stays up and says: {}", first_line(line))),
        (_, None) => Verdict::failed(format!("does not say {expected} within {}", seconds(seen.after))).detail(&seen.log),
    }
}

/// VS Code's own program, by the user ids of its processes, one a line.
pub fn tunnel_user(output: &CommandOutput) -> Verdict {
    let found: BTreeSet<&str> = output.stdout.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let found: Vec<&str> = found.into_iter().collect();
    match found.as_slice() {
        _ if !output.success() => Verdict::failed(format!("could not be looked for: {}", first_line(&output.text()))),
        [] => Verdict::skipped("VS Code's program comes and goes too quickly to be seen: nobody can be reached to log in with"),
        ["1000"] => Verdict::passed("VS Code's program runs as `ansible`"),
        users => Verdict::failed(format!("VS Code's program runs as the user {}, expected is 1000", users.join(", "))),
    }
}

/// A login with the key: it prints who it is.
pub fn login(output: &CommandOutput, from: &str) -> Verdict {
    match output.stdout.trim() {
        "ansible /home/ansible" if output.success() => Verdict::passed(format!("`ansible` gets in with its key{from}")),
        text if output.success() => {
            Verdict::failed(format!("the login is `{}`, expected is `ansible` in its home", first_line(text)))
        }
        _ => Verdict::failed(format!("ssh ends with {}: {}", output.exit_code, last_line(&output.text()))).detail(output.text()),
    }
}

/// A login with a password: nobody is asked for one.
pub fn password_refused(output: &CommandOutput) -> Verdict {
    let text = output.text();
    if output.success() {
        Verdict::failed("somebody without a key gets in")
    } else if text.contains("Permission denied (publickey)") {
        Verdict::passed("keys only")
    } else {
        let message = format!("expected is `Permission denied (publickey)`, ssh says `{}`", last_line(&text));
        Verdict::failed(message).hint("sshd is to take keys only: PasswordAuthentication no, KbdInteractiveAuthentication no")
    }
}

/// ssh's own words come last, after warnings.
fn last_line(text: &str) -> String {
    first_line(text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default())
}

/// A container that was asked for a runner and has none: it says so, and goes on.
pub fn lacks_runner(log: &str) -> Verdict {
    match log.lines().find(|line| line.contains("no GitHub runner")) {
        Some(line) => Verdict::passed(format!("says so and goes on: {}", first_line(line))),
        None => Verdict::failed("asked for a runner, it does not say that it has none").detail(log),
    }
}

/// A runner whose GitHub cannot be reached: its line of the entrypoint's own list, and the container's log.
pub fn runner_waits(output: &CommandOutput, log: &str) -> Verdict {
    let said = log.lines().find(|line| line.contains("runner: ") && line.contains("; tries again in "));
    match said {
        _ if !output.success() => {
            let state = first_line(&output.text());
            Verdict::failed(format!("asked for a runner, `entrypoint status` says `{state}`, expected is that it waits"))
                .detail(log)
        }
        Some(line) => Verdict::passed(format!("says so and tries again: {}", first_line(line))),
        None => Verdict::failed("the log does not say that GitHub was not reached, and is tried again").detail(log),
    }
}

/// Programs that have a secret (`the password`) where others can read it, one a line; and whether the log has it.
pub fn leaks(what: &str, output: &CommandOutput, is_logged: bool) -> Verdict {
    let found: Vec<&str> = output.stdout.lines().filter(|line| !line.trim().is_empty()).collect();
    if !found.is_empty() {
        Verdict::failed(format!("{what} is in the environment or command line of `{}`", found.join("`, `")))
    } else if is_logged {
        Verdict::failed(format!("{what} is in the log"))
    } else if !output.success() {
        Verdict::failed(format!("could not be looked for: {}", first_line(&output.text())))
    } else {
        Verdict::passed("in no environment, in no command line")
    }
}

/// Processes that nobody has waited for, one a line.
pub fn zombies(output: &CommandOutput) -> Verdict {
    let found: Vec<&str> = output.stdout.lines().filter(|line| !line.trim().is_empty()).collect();
    if !output.success() {
        Verdict::failed(format!("could not be looked for: {}", first_line(&output.text())))
    } else if found.is_empty() {
        Verdict::passed("none: what is orphaned is waited for")
    } else {
        let names = found.iter().take(3).map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Verdict::failed(format!(
            "{} nobody waited for: {names}",
            if found.len() == 1 { "1 process".to_owned() } else { format!("{} processes", found.len()) }
        ))
        .hint("PID 1 has to wait for every orphan: is the entrypoint PID 1?")
    }
}

/// A stop as `docker stop` does it: how it ended, and after how long.
pub fn stopped(code: Option<i64>, after: Duration, grace: Duration, log: &str) -> Verdict {
    let grace = grace.as_secs();
    match code {
        Some(0) => Verdict::passed(format!("ends with 0 after {}", seconds(after))),
        Some(137) => Verdict::failed(format!("does not end within {grace} s of SIGTERM, and was killed"))
            .hint("PID 1 has to end on SIGTERM: a shell that starts something else does not hand it on")
            .detail(log),
        Some(code) => Verdict::failed(format!("ends with {code} after {}, expected is 0", seconds(after))).detail(log),
        None => Verdict::failed("does not end at all").detail(log),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::Outcome::{self, Failed, Passed, Skipped};

    fn seen(reached: Reached, log: &str) -> Seen {
        Seen { reached, health: "sshd: not ready".to_owned(), log: log.to_owned(), after: Duration::from_millis(2100) }
    }

    fn output(exit_code: i64, stdout: &str, stderr: &str) -> CommandOutput {
        CommandOutput { exit_code, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
    }

    fn same(verdict: &Verdict, outcome: Outcome, message: &str) {
        assert_eq!((verdict.outcome, verdict.message.as_str()), (outcome, message));
    }

    #[test]
    fn starts_and_health() {
        let no = Reached::NotStarted("no command specified".to_owned());
        same(&started(&seen(no.clone(), "")), Failed, "the container cannot be started: no command specified");
        let log = "gantry: started\ngantry: error: bad key\n";
        same(&started(&seen(Reached::Ended(78), log)), Failed, "the container ended with exit code 78: gantry: error: bad key");
        for reached in [Reached::Healthy, Reached::Unhealthy, Reached::Undecided, Reached::Serves] {
            same(&started(&seen(reached, "")), Passed, "runs");
        }
        for (reached, outcome, message) in [
            (Reached::Healthy, Passed, "healthy after 2.1 s"),
            (Reached::Unhealthy, Failed, "unhealthy: the health check says `sshd: not ready`"),
            (Reached::Undecided, Failed, "not healthy after 2.1 s: the health check says `sshd: not ready`"),
            (Reached::Serves, Skipped, "the image has no health check; the entrypoint says that it serves"),
            (Reached::Ended(1), Skipped, "it did not start"),
            (no, Skipped, "it did not start"),
        ] {
            same(&health(&seen(reached, "")), outcome, message);
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let log = "gantry: error: no `/usr/local/bin/code`\nhint: AUTHORIZED_KEYS= starts sshd";
        let both = ["/usr/local/bin/code", "AUTHORIZED_KEYS="];
        for (reached, log, outcome, message) in [
            (Reached::Ended(69), log, Passed, "ends with 69 and says why: gantry: error: no `/usr/local/bin/code`"),
            (
                Reached::Ended(69),
                "gantry: no",
                Failed,
                "ends with 69, but does not say `/usr/local/bin/code`, `AUTHORIZED_KEYS=`",
            ),
            (Reached::Ended(1), log, Failed, "ends with 1, expected is 69 and what is missing"),
            (Reached::Undecided, log, Failed, "still runs after 2.1 s, expected is its end with 69"),
        ] {
            same(&refuses(&seen(reached, log), &both, 69), outcome, message);
        }
    }

    #[test]
    fn what_is_waited_for_is_said() {
        let log = "gantry: error: boom";
        for (reached, line, outcome, message) in [
            (Reached::Said, Some("it waits"), Passed, "stays up and says: it waits"),
            (Reached::Undecided, Some("it waits"), Passed, "stays up and says: it waits"),
            (Reached::Undecided, None, Failed, "does not say `it` within 2.1 s"),
            (Reached::Ended(1), Some("it waits"), Failed, "the container ended with exit code 1: gantry: error: boom"),
        ] {
            same(&waits(&seen(reached, log), line, "`it`"), outcome, message);
        }
        same(&tunnel_user(&output(0, "1000\n1000\n", "")), Passed, "VS Code's program runs as `ansible`");
        same(&tunnel_user(&output(0, "0\n1000\n", "")), Failed, "VS Code's program runs as the user 0, 1000, expected is 1000");
        assert_eq!(tunnel_user(&output(0, "\n", "")).outcome, Skipped);
        let log = "gantry: warning: runner: GitHub was not reached: refused; tries again in 2 s\n";
        let waits = output(0, "runner  starting  5 s  waits to try again: GitHub\n", "");
        same(
            &runner_waits(&waits, log),
            Passed,
            "says so and tries again: gantry: warning: runner: GitHub was not reached: refused; tries again in 2 s",
        );
        same(&runner_waits(&waits, ""), Failed, "the log does not say that GitHub was not reached, and is tried again");
        same(
            &runner_waits(&output(1, "", ""), log),
            Failed,
            "asked for a runner, `entrypoint status` says ``, expected is that it waits",
        );
    }

    #[test]
    fn who_gets_in_by_ssh() {
        same(&login(&output(0, "ansible /home/ansible\n", ""), ""), Passed, "`ansible` gets in with its key");
        same(&login(&output(0, "root /root\n", ""), ""), Failed, "the login is `root /root`, expected is `ansible` in its home");
        same(
            &login(&output(255, "", "Warning: added\nPermission denied (publickey).\n"), ""),
            Failed,
            "ssh ends with 255: Permission denied (publickey).",
        );
        same(&password_refused(&output(255, "", "a@b: Permission denied (publickey).")), Passed, "keys only");
        same(
            &password_refused(&output(255, "", "a@b: Permission denied (publickey,password).")),
            Failed,
            "expected is `Permission denied (publickey)`, ssh says `a@b: Permission denied (publickey,password).`",
        );
        same(&password_refused(&output(0, "", "")), Failed, "somebody without a key gets in");
    }

    #[test]
    fn how_it_ends() {
        let grace = Duration::from_secs(10);
        for (code, outcome, message) in [
            (Some(0), Passed, "ends with 0 after 0.3 s"),
            (Some(137), Failed, "does not end within 10 s of SIGTERM, and was killed"),
            (Some(143), Failed, "ends with 143 after 0.3 s, expected is 0"),
            (None, Failed, "does not end at all"),
        ] {
            same(&stopped(code, Duration::from_millis(300), grace, ""), outcome, message);
        }
        same(&leaks("it", &output(0, "", ""), false), Passed, "in no environment, in no command line");
        same(&leaks("it", &output(0, "node x\n", ""), true), Failed, "it is in the environment or command line of `node x`");
        same(&leaks("it", &output(0, "", ""), true), Failed, "it is in the log");
        same(&leaks("it", &output(124, "", "it did not end"), false), Failed, "could not be looked for: it did not end");
        same(&lacks_runner("a\ngantry: no GitHub runner in x"), Passed, "says so and goes on: gantry: no GitHub runner in x");
        same(&lacks_runner("a"), Failed, "asked for a runner, it does not say that it has none");
        same(&zombies(&output(0, "\n", "")), Passed, "none: what is orphaned is waited for");
        same(&zombies(&output(0, "sleep\nsh\n", "")), Failed, "2 processes nobody waited for: `sleep`, `sh`");
    }
}
