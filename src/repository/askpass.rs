//! What git executes to ask for a user name and a password: this program, with the question as its only argument.
//!
//! The token waits in a socket that git and its children inherit: it is in no argument, environment or file, it
//! can be read once, and `/proc/<pid>/fd` does not open sockets. Only the server of the repository's own address
//! gets it, wherever that server may redirect git to.

use crate::failure::{Failure, SYSTEM};
use crate::log::Log;
use crate::settings::hide;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::FromRawFd as _;

/// The variable that holds the socket's number.
pub(super) const SOCKET: &str = "GANTRY_ASKPASS_SOCKET";
/// The variable that holds the beginning of the addresses that the token is for.
pub(super) const FOR: &str = "GANTRY_ASKPASS_FOR";
/// The user name that GitHub takes with any token; others do not look at it.
const USER: &str = "x-access-token";
/// More than any token.
const LONGEST: u64 = 64 * 1024;

/// A question of git's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Prompt {
    what: What,
    /// `https://HOST`, without a user.
    server: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    User,
    Password,
}

impl Prompt {
    /// Reads `Password for 'https://user@host': `; none when it is something else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (what, rest) = text.split_once(" for '")?;
        let what = match what {
            "Username" => What::User,
            "Password" => What::Password,
            _ => return None,
        };
        let (url, _) = rest.rsplit_once('\'')?;
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split('/').next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        Some(Self { what, server: format!("{scheme}://{host}") })
    }

    /// Answers git.
    ///
    /// # Errors
    /// There is no answer for this server, or none any more.
    pub(crate) fn answer(&self, log: &Log) -> Result<u8, Failure> {
        // For a moment the token is in here, as the workspace's user.
        hide()?;
        log.answer(&self.find().map_err(|problem| Failure::new(SYSTEM, problem))?);
        Ok(0)
    }

    fn find(&self) -> Result<String, String> {
        let expected = std::env::var(FOR).unwrap_or_default();
        if self.server != expected {
            return Err(format!("GITHUB_TOKEN is for `{expected}` and is not given to `{}`", self.server));
        }
        if self.what == What::User {
            return Ok(format!("{USER}\n"));
        }
        let number = std::env::var(SOCKET).ok().and_then(|number| number.parse::<i32>().ok()).filter(|number| *number > 2);
        let number = number.ok_or("no token was handed over")?;
        // SAFETY: it was opened for this, and nothing else in this process, which has just begun, owns it.
        let mut socket = unsafe { File::from_raw_fd(number) }.take(LONGEST);
        let mut token = String::new();
        socket.read_to_string(&mut token).map_err(|error| format!("the token cannot be read: {error}"))?;
        if token.is_empty() { Err("the token has been asked for before".to_owned()) } else { Ok(token + "\n") }
    }
}

/// The beginning of `url` up to the host and port: what the token of that address is for.
pub(super) fn server(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").unwrap_or(("https", url));
    format!("{scheme}://{}", rest.split('/').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{Prompt, What, server};
    use proptest::prelude::*;

    #[test]
    fn prompts() {
        let table = [
            ("Username for 'https://github.com': ", Some((What::User, "https://github.com"))),
            ("Password for 'https://x-access-token@github.com': ", Some((What::Password, "https://github.com"))),
            ("Password for 'https://a%40b@host:8443/o/r.git': ", Some((What::Password, "https://host:8443"))),
            ("Password for 'https://github.com@evil.example': ", Some((What::Password, "https://evil.example"))),
            ("Password for 'https://evil.example/@github.com': ", Some((What::Password, "https://evil.example"))),
            ("Enter passphrase for key '/home/u/.ssh/id': ", None),
            ("Password: ", None),
            ("check", None),
        ];
        for (text, expected) in table {
            let expected = expected.map(|(what, server)| Prompt { what, server: server.to_owned() });
            assert_eq!(Prompt::parse(text), expected, "{text}");
        }
        assert_eq!(server("https://host:8443/o/r.git"), "https://host:8443");
    }

    proptest! {
        #[test]
        fn no_question_gets_the_token_of_another_server(
            text in "(Password|Username)? for '(https?://)?([a-z@:/.%]|github\\.com){0,12}'[: ]{0,2}", other: String,
        ) {
            let _ = Prompt::parse(&other);
            if let Some(prompt) = Prompt::parse(&text) {
                // What is asked for is between scheme and path, behind every `@`.
                let (_, host) = prompt.server.split_once("://").expect("a scheme");
                prop_assert!(!host.contains(['/', '@']), "{}: {:?}", text, prompt);
            }
        }
    }
}
