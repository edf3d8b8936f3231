//! A report for people: a line for each check, failures explained.

use std::fmt;

use super::report::{Check, Outcome, Report, Tried};

/// How many lines of a failure's detail are shown; JSON has all of them.
const LINES: usize = 15;

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Passed => "ok",
            Self::Skipped => "skipped",
            Self::Warned => "warning",
            Self::Failed => "FAILED",
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for image in &self.images {
            self::image(f, image)?;
        }
        let failed: Vec<&str> = self.failed().map(|image| image.variant.as_str()).collect();
        let passed = self.images.len() - failed.len();
        match failed.is_empty() {
            true => writeln!(f, "{passed} of {passed} passed in {:.1} s", self.seconds),
            false => {
                writeln!(f, "{passed} of {} passed in {:.1} s; failed: {}", self.images.len(), self.seconds, failed.join(", "))
            }
        }
    }
}

fn image(f: &mut fmt::Formatter<'_>, image: &Tried) -> fmt::Result {
    writeln!(f, "{}  {}  {}", image.variant, image.image, image.config_digest.short(12))?;
    if let Some(when) = &image.remembered {
        writeln!(f, "  tried before, at {when}, by the same checks: --again tries it again")?;
    }
    let width = image.checks.iter().map(|check| check.name.chars().count()).max().unwrap_or_default();
    for check in &image.checks {
        line(f, check, width)?;
    }
    let counts =
        [Outcome::Passed, Outcome::Failed, Outcome::Warned, Outcome::Skipped].map(|outcome| (image.count(outcome), outcome));
    let counts: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, outcome)| format!("{count} {outcome}")).collect();
    writeln!(f, "  {} in {:.1} s\n", counts.join(", "), image.seconds)
}

fn line(f: &mut fmt::Formatter<'_>, check: &Check, width: usize) -> fmt::Result {
    writeln!(f, "  {:<7}  {:<width$}  {}", check.outcome, check.name, harmless(&check.message))?;
    if !matches!(check.outcome, Outcome::Failed | Outcome::Warned) {
        return Ok(());
    }
    if let Some(detail) = &check.detail {
        let lines: Vec<&str> = detail.trim_end().lines().collect();
        // The end of a log says what happened; the begin of a list what matters most.
        let hidden = lines.len().saturating_sub(LINES);
        let shown = match check.outcome {
            Outcome::Failed => lines.get(hidden..),
            _ => lines.get(..lines.len() - hidden),
        };
        for line in shown.unwrap_or_default() {
            writeln!(f, "           | {}", harmless(line))?;
        }
        if hidden > 0 {
            writeln!(f, "           | ({hidden} more lines: --format json)")?;
        }
    }
    for hint in check.hint.iter().flat_map(|hint| hint.lines()) {
        writeln!(f, "           hint: {hint}")?;
    }
    Ok(())
}

/// What a container printed, without what would speak to the terminal.
fn harmless(text: &str) -> String {
    text.replace(|letter: char| letter.is_control() && !matches!(letter, '\t' | '\n'), "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::oci::Digest;
    use crate::smoke::Verdict;

    #[test]
    fn a_report_for_people() {
        let checks = vec![
            Verdict::passed("aws-cli/2.23").of("tool aws", Duration::ZERO),
            Verdict::skipped("not known").of("size", Duration::ZERO),
            Verdict::failed("ends with 1").hint("do this").detail("one\n\u{1b}[2Jtwo\n").of("ssh: stops", Duration::ZERO),
            Verdict::warned("2 updates")
                .detail((0..20).map(|line| format!("{line}\n")).collect::<String>())
                .of("updates", Duration::ZERO),
        ];
        let tried = |variant: &str, outcome, checks| Tried {
            variant: variant.parse().expect("a name"),
            image: format!("epic:{variant}"),
            config_digest: Digest::of(""),
            outcome,
            remembered: (outcome == Outcome::Passed).then(|| "2026-11-21T00:00:00Z".to_owned()),
            checks,
            seconds: 12.04,
        };
        let images = vec![tried("aws", Outcome::Failed, checks), tried("azure", Outcome::Passed, Vec::new())];
        let text = Report { schema: 1, images, seconds: 13.0 }.to_string();
        let numbers: String = (0..15).map(|line| format!("           | {line}\n")).collect();
        let expected = format!(
            "aws  epic:aws  e3b0c44298fc\n  ok       tool aws    aws-cli/2.23\n  skipped  size        not known\n  \
             FAILED   ssh: stops  ends with 1\n           | one\n           | \u{fffd}[2Jtwo\n           hint: do this\n  \
             warning  updates     2 updates\n{numbers}           | (5 more lines: --format json)\n  \
             1 ok, 1 FAILED, 1 warning, 1 skipped in 12.0 s\n\nazure  epic:azure  e3b0c44298fc\n  \
             tried before, at 2026-11-21T00:00:00Z, by the same checks: --again tries it again\n   in 12.0 s\n\n\
             1 of 2 passed in 13.0 s; failed: aws\n"
        );
        assert_eq!(text, expected);
    }
}
