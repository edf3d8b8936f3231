//! What a web server answers.

use super::first_line;
use crate::engine::CommandOutput;
use crate::smoke::report::Verdict;

/// An answer of a web server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Where it sends one.
    pub location: Option<String>,
    /// The cookie that it sets, as it is sent back.
    pub cookie: Option<String>,
    /// The page.
    pub body: String,
}

impl Answer {
    /// Reads what came over the wire; nothing where that is no answer.
    pub fn read(text: &str) -> Option<Self> {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let mut lines = head.lines();
        let status = lines.next()?.strip_prefix("HTTP/1.")?.split_whitespace().nth(1)?.parse().ok()?;
        let mut answer = Self { status, body: body.to_owned(), ..Self::default() };
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            match name.to_ascii_lowercase().as_str() {
                "location" => answer.location = Some(value.trim().to_owned()),
                "set-cookie" => answer.cookie = value.trim().split(';').next().map(str::to_owned),
                _ => {}
            }
        }
        Some(answer)
    }

    fn asks(&self) -> bool {
        matches!(self.status, 401 | 403) || self.status == 200 && self.body.contains("type=\"password\"")
    }
}

/// The page as somebody without the password sees it at last, and as somebody with it does.
pub fn page(without: &Result<Answer, String>, with: &Result<Answer, String>, from: &str) -> Verdict {
    let without = match without {
        Ok(answer) if answer.asks() => answer,
        Ok(answer) if answer.status == 200 => {
            return Verdict::failed("the page opens without the password")
                .hint("whoever reaches the port has a shell: VSCODE_WEB_AUTH must not be `none` by default");
        }
        Ok(answer) => return Verdict::failed(format!("the page is answered with {}, expected is the login", answer.status)),
        Err(why) => return Verdict::failed(format!("the page does not answer: {why}")),
    };
    match with {
        Ok(answer) if answer.status == 200 && answer.body.contains("workbench") => {
            let door = if without.status == 200 { "the login page".to_owned() } else { without.status.to_string() };
            Verdict::passed(format!("{door} without the password, VS Code with it{from}"))
        }
        Ok(answer) => {
            let message = format!("with the password the page is answered with {}, expected is VS Code", answer.status);
            Verdict::failed(message).detail(answer.body.chars().take(2000).collect::<String>())
        }
        Err(why) => Verdict::failed(format!("with the password the page does not answer: {why}")),
    }
}

/// A page that answers inside alone: what came of asking on loopback, and on the container's address.
pub fn loopback(inside: &CommandOutput, outside: &CommandOutput) -> Verdict {
    let status = inside.stdout.trim();
    if !inside.success() || !matches!(status, "200" | "302") {
        Verdict::failed(format!("on loopback the page is answered with `{status}`: {}", first_line(&inside.stderr)))
    } else if outside.success() {
        Verdict::failed("the page answers beyond loopback, where it asks for no password")
    } else {
        Verdict::passed("answers on loopback, and nowhere else")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smoke::Outcome::{self, Failed, Passed};

    fn output(exit_code: i64, stdout: &str, stderr: &str) -> CommandOutput {
        CommandOutput { exit_code, stdout: stdout.to_owned(), stderr: stderr.to_owned() }
    }

    fn same(verdict: &Verdict, outcome: Outcome, message: &str) {
        assert_eq!((verdict.outcome, verdict.message.as_str()), (outcome, message));
    }

    #[test]
    fn what_the_page_shows() {
        let answer = |status, body: &str| Ok(Answer { status, body: body.to_owned(), ..Answer::default() });
        let (login, code) = (answer(200, "<input type=\"password\">"), answer(200, "<script src=workbench.js>"));
        let silent = || Err("connection refused".to_owned());
        for (without, with, outcome, message) in [
            (login.clone(), code.clone(), Passed, "the login page without the password, VS Code with it"),
            (answer(403, "Forbidden"), code.clone(), Passed, "403 without the password, VS Code with it"),
            (code.clone(), code.clone(), Failed, "the page opens without the password"),
            (answer(500, ""), code, Failed, "the page is answered with 500, expected is the login"),
            (silent(), silent(), Failed, "the page does not answer: connection refused"),
            (
                login.clone(),
                answer(200, "Incorrect"),
                Failed,
                "with the password the page is answered with 200, expected is VS Code",
            ),
            (login, silent(), Failed, "with the password the page does not answer: connection refused"),
        ] {
            same(&page(&without, &with, ""), outcome, message);
        }
        same(&loopback(&output(0, "302", ""), &output(7, "000", "")), Passed, "answers on loopback, and nowhere else");
        same(
            &loopback(&output(0, "302", ""), &output(0, "200", "")),
            Failed,
            "the page answers beyond loopback, where it asks for no password",
        );
        let found = Answer::read("HTTP/1.1 302 Found\r\nLocation: ./login\r\nSet-Cookie: key=1; Path=/\r\n\r\nbody");
        let expected =
            Answer { status: 302, location: Some("./login".into()), cookie: Some("key=1".into()), body: "body".into() };
        assert_eq!((found, Answer::read("SSH-2.0-OpenSSH")), (Some(expected), None));
    }
}
