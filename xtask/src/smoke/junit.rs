//! A report as JUnit's XML, which CI systems show as tests. (The format of Jenkins' JUnit plugin.)

use std::fmt::Write as _;

use super::report::{Outcome, Report};

impl Report {
    /// As JUnit's XML: a suite for each image, a case for each check.
    pub fn junit(&self) -> String {
        let sum = |outcome| self.images.iter().map(|image| image.count(outcome)).sum::<usize>();
        let all: usize = self.images.iter().map(|image| image.checks.len()).sum();
        let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _ = writeln!(
            xml,
            "<testsuites name=\"smoke\" tests=\"{all}\" failures=\"{}\" skipped=\"{}\" time=\"{:.3}\">",
            sum(Outcome::Failed),
            sum(Outcome::Skipped),
            self.seconds
        );
        for image in &self.images {
            let _ = writeln!(
                xml,
                "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\" time=\"{:.3}\">",
                escaped(image.variant.as_str()),
                image.checks.len(),
                image.count(Outcome::Failed),
                image.count(Outcome::Skipped),
                image.seconds
            );
            for check in &image.checks {
                let (name, message) = (escaped(&check.name), escaped(&check.message));
                let _ =
                    write!(xml, "    <testcase classname=\"{}\" name=\"{name}\" time=\"{:.3}\"", image.variant, check.seconds);
                let more: Vec<&str> = check.hint.iter().chain(&check.detail).map(String::as_str).collect();
                let more = escaped(&more.join("\n"));
                let _ = match check.outcome {
                    Outcome::Failed => writeln!(xml, "><failure message=\"{message}\">{more}</failure></testcase>"),
                    Outcome::Skipped => writeln!(xml, "><skipped message=\"{message}\"/></testcase>"),
                    Outcome::Warned => writeln!(xml, "><system-out>warning: {message}\n{more}</system-out></testcase>"),
                    Outcome::Passed => writeln!(xml, "><system-out>{message}</system-out></testcase>"),
                };
            }
            xml.push_str("  </testsuite>\n");
        }
        xml + "</testsuites>\n"
    }
}

/// Text for an attribute or an element. Characters that XML 1.0 does not know become a sign for them.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\n' | '\t' => escaped.push(c),
            '\r' => {}
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::oci::Digest;
    use crate::smoke::{Tried, Verdict};

    #[test]
    fn checks_are_cases_and_nothing_breaks_the_xml() {
        let checks = vec![
            Verdict::passed("a & b").of("one", Duration::from_millis(1500)),
            Verdict::failed("is `<x>`, \"y\"").detail("\u{1b}[31mred\r\n").of("two", Duration::ZERO),
            Verdict::skipped("why").of("three", Duration::ZERO),
        ];
        let image = Tried {
            variant: "aws".parse().expect("a name"),
            image: "epic:aws".to_owned(),
            config_digest: Digest::of(""),
            outcome: Outcome::Failed,
            remembered: None,
            checks,
            seconds: 2.0,
        };
        let xml = Report { schema: 1, images: vec![image], seconds: 2.5 }.junit();
        let expected = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
            <testsuites name=\"smoke\" tests=\"3\" failures=\"1\" skipped=\"1\" time=\"2.500\">\n  \
            <testsuite name=\"aws\" tests=\"3\" failures=\"1\" skipped=\"1\" time=\"2.000\">\n    \
            <testcase classname=\"aws\" name=\"one\" time=\"1.500\"><system-out>a &amp; b</system-out></testcase>\n    \
            <testcase classname=\"aws\" name=\"two\" time=\"0.000\">\
            <failure message=\"is `&lt;x&gt;`, &quot;y&quot;\">\u{fffd}[31mred\n</failure></testcase>\n    \
            <testcase classname=\"aws\" name=\"three\" time=\"0.000\"><skipped message=\"why\"/></testcase>\n  \
            </testsuite>\n</testsuites>\n";
        assert_eq!(xml, expected);
    }
}
