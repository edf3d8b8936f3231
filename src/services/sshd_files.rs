//! What sshd reads: its configuration and the user's `authorized_keys`, as text.

use super::authorize::Keys;
use crate::settings::AuthorizedKey;
use std::ffi::OsString;
use std::path::PathBuf;

const BEGIN: &str = "# BEGIN gantry: from AUTHORIZED_KEYS, replaced at every start";
const END: &str = "# END gantry";

/// The content of an `authorized_keys` file: bytes, as the comments in it may be in any encoding.
pub(super) struct AuthorizedKeys<'a>(pub(super) &'a [u8]);

impl AuthorizedKeys<'_> {
    /// The same content with `keys` as the marked block, in place of the one that may be there.
    pub(super) fn with(&self, keys: &[AuthorizedKey]) -> Vec<u8> {
        let (begin, end) = (BEGIN.as_bytes(), END.as_bytes());
        let mut text = Vec::with_capacity(self.0.len());
        let mut line_by_line = |line: &[u8]| {
            text.extend(line);
            text.push(b'\n');
        };
        let whole = self.0.strip_suffix(b"\n").unwrap_or(self.0);
        let lines = || whole.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        // A block that is not ended (somebody edited it) is not taken for the rest of the file.
        let last_end = lines().enumerate().filter(|(_, line)| *line == end).map(|(index, _)| index).last();
        let mut ours = false;
        for (index, line) in lines().enumerate().filter(|_| !self.0.is_empty()) {
            if line == begin && last_end.is_some_and(|last| index < last) {
                ours = true;
            }
            if !ours && line != begin {
                line_by_line(line);
            }
            if line == end {
                ours = false;
            }
        }
        line_by_line(begin);
        keys.iter().for_each(|key| line_by_line(key.line().as_bytes()));
        line_by_line(end);
        text
    }
}

/// What the configuration of sshd depends on.
pub(super) struct Config<'a> {
    pub(super) port: u16,
    pub(super) host_keys: Vec<PathBuf>,
    pub(super) user: &'a str,
    pub(super) keys: &'a Keys,
    /// What sessions find in their environment.
    pub(super) session: &'a [(OsString, OsString)],
}

impl Config<'_> {
    /// The text, and what keeps variables out of it, by their names.
    pub(super) fn render(&self) -> (String, Vec<(String, &'static str)>) {
        let mut lines = vec![format!("Port {}", self.port), "PidFile none".to_owned()];
        lines.extend(self.host_keys.iter().map(|path| format!("HostKey {}", path.display())));
        lines.extend(
            [
                "PermitRootLogin no",
                "PubkeyAuthentication yes",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "UsePAM no",
                "X11Forwarding no",
                "PrintMotd no",
                "AcceptEnv LANG LC_*",
                "Subsystem sftp internal-sftp",
            ]
            .map(str::to_owned),
        );
        lines.push(format!("AllowUsers {}", self.user));
        lines.push(format!("StrictModes {}", if self.keys.strict { "yes" } else { "no" }));
        lines.push(format!("AuthorizedKeysFile {}", self.keys.files));
        let (set, skipped) = settings(self.session);
        if !set.is_empty() {
            // sshd reads only the first `SetEnv`: all on one line.
            lines.push(format!("SetEnv {}", set.join(" ")));
        }
        (lines.join("\n") + "\n", skipped)
    }
}

/// The longest that all variables may be together. sshd hands its configuration to each session's process in a message
/// of at most 256 KiB: with a longer one it starts, and then lets nobody in without a word.
const LONGEST: usize = 224 * 1024;

/// The arguments of `SetEnv` for `session`, and what cannot be one of them.
fn settings(session: &[(OsString, OsString)]) -> (Vec<String>, Vec<(String, &'static str)>) {
    let (mut set, mut skipped) = (Vec::new(), Vec::new());
    for (name, value) in session {
        let name = name.to_string_lossy();
        match value.to_str() {
            None => skipped.push((name.into_owned(), "is not UTF-8")),
            Some(value) if value.chars().any(|c| c.is_control() && c != '\t') => {
                skipped.push((name.into_owned(), "has more than one line or a control character"));
            }
            Some(value) => set.push((name.to_string(), quote(&format!("{name}={value}")))),
        }
    }
    // The longest go first, so that as many as possible stay.
    let mut total: usize = set.iter().map(|(_, argument)| argument.len() + 1).sum();
    while total > LONGEST {
        let longest = (0..set.len()).max_by_key(|index| set.get(*index).map_or(0, |(_, argument)| argument.len()));
        let Some(index) = longest else { break };
        let (name, argument) = set.remove(index);
        total -= argument.len() + 1;
        skipped.push((name, "is too long, together with all the others"));
    }
    (set.into_iter().map(|(_, argument)| argument).collect(), skipped)
}

/// As a quoted argument of sshd_config.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::{AuthorizedKeys, BEGIN, Config, END, Keys, LONGEST, settings};
    use crate::settings::AuthorizedKey;
    use proptest::prelude::*;

    fn keys(lines: &[&str]) -> Vec<AuthorizedKey> {
        lines.iter().map(|line| AuthorizedKey::for_test(line)).collect()
    }

    /// The content `before` with the key `new`.
    fn with(before: &str) -> String {
        String::from_utf8(AuthorizedKeys(before.as_bytes()).with(&keys(&["new"]))).expect("text stays text")
    }

    #[test]
    fn only_the_marked_block_is_replaced() {
        let block = |key: &str| format!("{BEGIN}\n{key}\n{END}\n");
        let table = [
            (String::new(), block("new")),
            ("mine\n".to_owned(), format!("mine\n{}", block("new"))),
            ("mine".to_owned(), format!("mine\n{}", block("new"))),
            (format!("a\n{}b\n", block("old")), format!("a\nb\n{}", block("new"))),
            (format!("{}{}", block("old"), block("older")), block("new")),
            (format!("{BEGIN}\nkept\n"), format!("kept\n{}", block("new"))),
            (format!("{END}\nkept\n"), format!("{END}\nkept\n{}", block("new"))),
        ];
        for (before, after) in table {
            let found = with(&before);
            assert_eq!(found, after, "{before:?}");
            assert_eq!(with(&found), found, "a second start changes nothing");
        }
    }

    #[test]
    fn the_environment_is_one_quoted_line() {
        let session =
            [("PATH", "/a b:/c"), ("LC_X", "q\"\\"), ("ECS_X", "a\nPermitRootLogin yes")].map(|(n, v)| (n.into(), v.into()));
        let keys = Keys { files: ".ssh/authorized_keys /run/k".into(), strict: true };
        let config = Config { port: 2222, host_keys: vec!["/k".into()], user: "ansible", keys: &keys, session: &session };
        let (text, skipped) = config.render();
        assert_eq!(skipped, [("ECS_X".to_owned(), "has more than one line or a control character")]);
        assert!(text.contains("\nStrictModes yes\nAuthorizedKeysFile .ssh/authorized_keys /run/k\n"), "{text}");
        assert!(text.contains("\nSetEnv \"PATH=/a b:/c\" \"LC_X=q\\\"\\\\\"\n"), "{text}");
        assert_eq!(text.matches("PermitRootLogin").count(), 1);
        assert!(text.starts_with("Port 2222\n") && text.contains("\nAllowUsers ansible\n"));
    }

    #[test]
    fn what_is_too_much_for_sshd_is_left_out_the_longest_first() {
        let variable = |name: &str, length: usize| (name.into(), "x".repeat(length).into());
        let session = [variable("A", 100_000), variable("B", 10), variable("C", 110_000), variable("D", 60_000)];
        let (set, skipped) = settings(&session);
        assert_eq!(skipped.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), ["C"]);
        assert_eq!(set.len(), 3);
        assert!(set.iter().map(String::len).sum::<usize>() < LONGEST);
    }

    proptest! {
        #[test]
        fn whatever_stands_in_the_file_stays_or_was_ours(
            before in prop::collection::vec(prop_oneof![Just(BEGIN.to_owned()), Just(END.to_owned()), "[^\r\n]{0,6}"], 0..8),
        ) {
            let text: String = before.iter().flat_map(|line| [line, "\n"]).collect();
            let once = with(&text);
            prop_assert_eq!(with(&once), once.clone());
            let block = format!("{BEGIN}\nnew\n{END}\n");
            prop_assert!(once.ends_with(&block));
            // What no mark stands before is nobody's but the user's.
            let free = before.iter().take_while(|line| *line != BEGIN);
            let kept: Vec<_> = once.lines().take(free.clone().count()).collect();
            prop_assert!(free.zip(kept).all(|(line, kept)| line == kept));
        }

        #[test]
        fn no_variable_becomes_another_line_or_argument(name in "[A-Z_]{1,6}", value: String) {
            let session = [(name.clone().into(), value.clone().into())];
            let keys = Keys { files: "k".into(), strict: true };
            let config = Config { port: 22, host_keys: Vec::new(), user: "u", keys: &keys, session: &session };
            let (text, skipped) = config.render();
            let lines: Vec<_> = text.split('\n').filter(|line| line.starts_with("SetEnv ")).collect();
            prop_assert_eq!(lines.len() + skipped.len(), 1);
            prop_assert_eq!(text.split('\n').count(), 15 + lines.len());
            if let [line] = lines[..] {
                let inner = line.strip_prefix("SetEnv \"").and_then(|rest| rest.strip_suffix('"')).expect("one argument");
                let mut rest = inner.chars();
                let mut read = String::new();
                while let Some(c) = rest.next() {
                    prop_assert_ne!(c, '"');
                    read.push(if c == '\\' { rest.next().expect("something behind it") } else { c });
                }
                prop_assert_eq!(read, format!("{name}={value}"));
            }
        }
    }
}
