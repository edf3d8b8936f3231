//! Answers of commands in a container.

use super::{count, first_line};
use crate::engine::CommandOutput;
use crate::smoke::question::About;
use crate::smoke::report::Verdict;
use crate::smoke::updates::{Update, told};

/// What an answer comes to.
pub fn answer(about: &About, output: &CommandOutput) -> Verdict {
    match about {
        About::Tool { program, expected } => tool(program, expected, output),
        About::Trial { expect, exit } => trial(expect.as_deref(), *exit, output),
        About::Users => users(output),
        About::RunnerRights => rights(output),
        About::Runner { version } => runner(version.as_deref(), output),
        About::Updates => updates(output),
    }
}

fn tool(program: &str, expected: &str, output: &CommandOutput) -> Verdict {
    let text = output.text();
    match output.exit_code {
        126 | 127 => Verdict::failed(format!("`{program}` is not there: {}", first_line(&text)))
            .hint("install it in the image's Dockerfile, or take it out of `smoke.tools`"),
        0 if text.contains(expected) => Verdict::passed(first_line(&text)),
        0 => Verdict::failed(format!("`{program} --version` prints `{}`, expected is `{expected}`", first_line(&text)))
            .hint("another version than `smoke.tools` of variants.toml names: change one of the two")
            .detail(text),
        code => Verdict::failed(format!("`{program} --version` ends with {code}: {}", first_line(&text))).detail(text),
    }
}

fn trial(expect: Option<&str>, exit: u32, output: &CommandOutput) -> Verdict {
    let text = output.text();
    if output.exit_code != i64::from(exit) {
        let message = format!("ends with {}, expected is {exit}: {}", output.exit_code, first_line(&text));
        return Verdict::failed(message).detail(text);
    }
    let Some(expect) = expect else { return Verdict::passed(format!("ends with {exit}")) };
    match regex_lite::RegexBuilder::new(expect).multi_line(true).build() {
        Ok(pattern) => match pattern.find(&text) {
            Some(found) => {
                // The whole line that it is found in.
                let from = text.get(..found.start()).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
                Verdict::passed(format!("prints `{}`", first_line(text.get(from..).unwrap_or_default())))
            }
            None => Verdict::failed(format!("prints `{}`, expected is `{expect}`", first_line(&text))).detail(text),
        },
        // The family was read with it, before the pins' versions were filled in.
        Err(error) => Verdict::failed(format!("`{expect}` is not a regular expression: {error}")),
    }
}

fn users(output: &CommandOutput) -> Verdict {
    let mut wrong = Vec::new();
    for (user, expected) in [("ansible", "1000:1000:/home/ansible:/bin/bash"), ("runner", "1001:1001:/home/runner:/bin/bash")] {
        let line = output.stdout.lines().find_map(|line| line.strip_prefix(user)?.strip_prefix(':'));
        let found = line.map(|line| line.split(':').collect::<Vec<_>>());
        match found.as_deref() {
            Some([_, uid, gid, _, home, shell]) => {
                let found = format!("{uid}:{gid}:{home}:{shell}");
                if found != expected {
                    wrong.push(format!("`{user}` is {found}, expected is {expected}"));
                }
            }
            _ => wrong.push(format!("there is no user `{user}`")),
        }
    }
    for line in output.stdout.lines().filter_map(|line| line.strip_prefix("shadow ")) {
        match line.split_once(':') {
            Some((user, "")) => wrong.push(format!("`{user}` has an empty password")),
            Some((user, hash)) if hash.starts_with('$') => wrong.push(format!("`{user}` has a password")),
            // sshd refuses an account that is locked this way, with a key as well.
            Some((user @ ("ansible" | "runner"), "!")) => wrong.push(format!("`{user}` is locked with `!`, expected is `*`")),
            _ => {}
        }
    }
    match wrong.is_empty() {
        true => Verdict::passed("`ansible` is 1000, `runner` is 1001, nobody has a password"),
        false => Verdict::failed(wrong.join("; ")).detail(output.text()),
    }
}

fn rights(output: &CommandOutput) -> Verdict {
    const STRONG: [&str; 7] = ["root", "sudo", "docker", "adm", "wheel", "disk", "ansible"];
    let groups = output.stdout.lines().find_map(|line| line.strip_prefix("groups ")).unwrap_or_default();
    let strong: Vec<&str> = groups.split_whitespace().filter(|group| STRONG.contains(group)).collect();
    let mut wrong = Vec::new();
    if output.stdout.contains("sudo works") {
        wrong.push("`runner` becomes root by sudo".to_owned());
    }
    if !strong.is_empty() {
        wrong.push(format!("`runner` is in the group {}", strong.join(", ")));
    }
    if wrong.is_empty() && !output.stdout.contains("no sudo") {
        return Verdict::failed(format!("could not be asked: {}", first_line(&output.text()))).detail(output.text());
    }
    match wrong.is_empty() {
        true => Verdict::passed("`runner` has no sudo, and no group that gives it rights"),
        false => Verdict::failed(wrong.join("; ")).hint("a job is not the person: take its rights away in the Dockerfile"),
    }
}

fn runner(version: Option<&str>, output: &CommandOutput) -> Verdict {
    let found = output.stdout.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    match (version, found) {
        (None, "absent") => Verdict::skipped("this image has no runner, as its labels say"),
        (None, _) => Verdict::failed("there is a runner, and the labels of the image name none")
            .hint("a runner is a component: name `github-runner` in `components` of the variant"),
        (Some(version), "absent") => Verdict::failed(format!("there is no runner, and the label says {version}")),
        (Some(version), found) if found == version && output.success() => {
            Verdict::passed(format!("{version}, as the label says"))
        }
        (Some(version), _) if output.success() => {
            Verdict::failed(format!("the runner is `{found}`, and the label says {version}"))
        }
        (Some(_), _) => {
            Verdict::failed(format!("the runner does not tell its version: {}", first_line(&output.text()))).detail(output.text())
        }
    }
}

fn updates(output: &CommandOutput) -> Verdict {
    let pending = match told(output) {
        Ok(pending) if pending.is_empty() => return Verdict::passed("none"),
        Ok(pending) => pending,
        Err(why) => return Verdict::skipped(format!("the package repositories cannot be asked: {}", first_line(&why))),
    };
    let security = pending.iter().filter(|update| !update.other).count();
    let lines = pending.iter().map(|Update { other, name, before, after }| {
        format!("{}{name} {} → {after}", if *other { "" } else { "security: " }, before.as_deref().unwrap_or("none"))
    });
    let lines = lines.collect::<Vec<_>>().join("\n");
    Verdict::warned(format!("{}, {security} of them for security", count(pending.len(), "update")))
        .hint("cargo xtask build --build-date YYYY-MM-DD    with a new date installs packages anew")
        .detail(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::Outcome::{self, Failed, Passed, Skipped, Warned};

    fn output(exit_code: i64, stdout: &str) -> CommandOutput {
        CommandOutput { exit_code, stdout: stdout.to_owned(), stderr: String::new() }
    }

    fn check(cases: Vec<(About, CommandOutput, Outcome, &str)>) {
        for (about, output, outcome, message) in cases {
            let verdict = answer(&about, &output);
            assert_eq!((verdict.outcome, verdict.message.as_str()), (outcome, message), "{about:?} {output:?}");
        }
    }

    #[test]
    fn tools_and_own_checks() {
        let tool = || About::Tool { program: "aws".to_owned(), expected: "aws-cli/2.".to_owned() };
        let trial = |expect: Option<&str>, exit| About::Trial { expect: expect.map(str::to_owned), exit };
        check(vec![
            (tool(), output(0, "\naws-cli/2.23 x\n"), Passed, "aws-cli/2.23 x"),
            (tool(), output(0, "aws-cli/1.9\n"), Failed, "`aws --version` prints `aws-cli/1.9`, expected is `aws-cli/2.`"),
            (tool(), output(127, "bash: aws: command not found"), Failed, "`aws` is not there: bash: aws: command not found"),
            (tool(), output(1, "Traceback"), Failed, "`aws --version` ends with 1: Traceback"),
            (trial(None, 0), output(0, ""), Passed, "ends with 0"),
            (trial(None, 3), output(0, "x"), Failed, "ends with 0, expected is 3: x"),
            (trial(Some("^b.$"), 0), output(0, "a\nbc\n"), Passed, "prints `bc`"),
            (trial(Some("^b$"), 0), output(0, "a\nbc\n"), Failed, "prints `a`, expected is `^b$`"),
        ]);
    }

    #[test]
    fn the_users() {
        let good = "root:x:0:0:root:/root:/bin/bash\nansible:x:1000:1000::/home/ansible:/bin/bash\n\
                    runner:x:1001:1001::/home/runner:/bin/bash\nshadow root:*\nshadow ansible:*\nshadow runner:*\n";
        let bad = |from: &str, to: &str| output(0, &good.replace(from, to));
        check(vec![
            (About::Users, output(0, good), Passed, "`ansible` is 1000, `runner` is 1001, nobody has a password"),
            (
                About::Users,
                bad("1001:1001", "0:0"),
                Failed,
                "`runner` is 0:0:/home/runner:/bin/bash, expected is 1001:1001:/home/runner:/bin/bash",
            ),
            (About::Users, bad("ansible:x", "other:x"), Failed, "there is no user `ansible`"),
            (About::Users, bad("shadow root:*", "shadow root:"), Failed, "`root` has an empty password"),
            (About::Users, bad("shadow root:*", "shadow root:$y$j"), Failed, "`root` has a password"),
            (About::Users, bad("shadow ansible:*", "shadow ansible:!"), Failed, "`ansible` is locked with `!`, expected is `*`"),
        ]);
    }

    #[test]
    fn the_runner() {
        let rights = |text: &str| (About::RunnerRights, output(0, text));
        for (text, outcome, message) in [
            ("groups runner\nno sudo\n", Passed, "`runner` has no sudo, and no group that gives it rights"),
            ("groups runner\nsudo works\n", Failed, "`runner` becomes root by sudo"),
            ("groups runner docker\nno sudo\n", Failed, "`runner` is in the group docker"),
            ("groups runner sudo adm\nsudo works\n", Failed, "`runner` becomes root by sudo; `runner` is in the group sudo, adm"),
            ("groups\n", Failed, "could not be asked: groups"),
        ] {
            let (about, output) = rights(text);
            check(vec![(about, output, outcome, message)]);
        }
        let about = |version: Option<&str>| About::Runner { version: version.map(str::to_owned) };
        check(vec![
            (about(None), output(0, "absent\n"), Skipped, "this image has no runner, as its labels say"),
            (about(None), output(0, "2.337.0\n"), Failed, "there is a runner, and the labels of the image name none"),
            (about(Some("2.337.0")), output(0, "2.337.0\n"), Passed, "2.337.0, as the label says"),
            (about(Some("2.337.0")), output(0, "2.336.0\n"), Failed, "the runner is `2.336.0`, and the label says 2.337.0"),
            (about(Some("2.337.0")), output(0, "absent\n"), Failed, "there is no runner, and the label says 2.337.0"),
            (about(Some("2.337.0")), output(1, "libicu\n"), Failed, "the runner does not tell its version: libicu"),
        ]);
    }

    #[test]
    fn updates_are_told_those_for_security_first() {
        let two = "Inst zlib1g [1.2] (1.3 Debian:13.1/stable [amd64])\n\
                   Inst openssl [3.5.1-1] (3.5.1-1+deb13u1 Debian-Security:13/stable-security [amd64])\nConf zlib1g (1.3)\n";
        check(vec![
            (About::Updates, output(0, ""), Passed, "none"),
            (About::Updates, output(0, two), Warned, "2 updates, 1 of them for security"),
            (
                About::Updates,
                output(100, "W: x\nE: Failed to fetch y"),
                Skipped,
                "the package repositories cannot be asked: E: Failed to fetch y",
            ),
        ]);
        let told = answer(&About::Updates, &output(0, two)).detail.unwrap_or_default();
        assert_eq!(told, "security: openssl 3.5.1-1 → 3.5.1-1+deb13u1\nzlib1g 1.2 → 1.3");
    }
}
