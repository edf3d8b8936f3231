//! What sshd reads: its configuration and the user's `authorized_keys`, as text.

use crate::settings::AuthorizedKey;
use std::ffi::OsString;
use std::path::PathBuf;

const BEGIN: &str = "# BEGIN gantry: from AUTHORIZED_KEYS, replaced at every start";
const END: &str = "# END gantry";

/// The content of an `authorized_keys` file.
pub(super) struct AuthorizedKeys<'a>(pub(super) &'a str);

impl AuthorizedKeys<'_> {
    /// The same content with `keys` as the marked block, in place of the one that may be there.
    pub(super) fn with(&self, keys: &[AuthorizedKey]) -> String {
        let mut text = String::new();
        let mut line_by_line = |line: &str| {
            text.push_str(line);
            text.push('\n');
        };
        let mut ours = false;
        let lines: Vec<_> = self.0.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            // A block that is not ended (somebody edited it) is not taken for the rest of the file.
            if *line == BEGIN && lines[index..].contains(&END) {
                ours = true;
            }
            if !ours && *line != BEGIN {
                line_by_line(line);
            }
            if *line == END {
                ours = false;
            }
        }
        line_by_line(BEGIN);
        keys.iter().for_each(|key| line_by_line(key.line()));
        line_by_line(END);
        text
    }
}

/// What the configuration of sshd depends on.
pub(super) struct Config<'a> {
    pub(super) port: u16,
    pub(super) host_keys: Vec<PathBuf>,
    pub(super) user: &'a str,
    /// What sessions find in their environment.
    pub(super) session: &'a [(OsString, OsString)],
}

impl Config<'_> {
    /// The text, and the names of variables that cannot be written in it.
    pub(super) fn render(&self) -> (String, Vec<String>) {
        let mut lines = vec![format!("Port {}", self.port), "PidFile none".to_owned()];
        lines.extend(self.host_keys.iter().map(|path| format!("HostKey {}", path.display())));
        lines.extend(
            [
                "PermitRootLogin no",
                "PubkeyAuthentication yes",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                "UsePAM no",
                "StrictModes yes",
                "AuthorizedKeysFile .ssh/authorized_keys",
                "X11Forwarding no",
                "PrintMotd no",
                "AcceptEnv LANG LC_*",
                "Subsystem sftp internal-sftp",
            ]
            .map(str::to_owned),
        );
        lines.push(format!("AllowUsers {}", self.user));
        let (mut set, mut skipped) = (Vec::new(), Vec::new());
        for (name, value) in self.session {
            let name = name.to_string_lossy();
            match value.to_str().filter(|value| !value.chars().any(char::is_control)) {
                Some(value) => set.push(quote(&format!("{name}={value}"))),
                None => skipped.push(name.into_owned()),
            }
        }
        if !set.is_empty() {
            // sshd reads only the first `SetEnv`: all on one line.
            lines.push(format!("SetEnv {}", set.join(" ")));
        }
        (lines.join("\n") + "\n", skipped)
    }
}

/// As a quoted argument of sshd_config.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::{AuthorizedKeys, BEGIN, Config, END};
    use crate::settings::AuthorizedKey;

    fn keys(lines: &[&str]) -> Vec<AuthorizedKey> {
        lines.iter().map(|line| AuthorizedKey::for_test(line)).collect()
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
            let found = AuthorizedKeys(&before).with(&keys(&["new"]));
            assert_eq!(found, after, "{before:?}");
            assert_eq!(AuthorizedKeys(&found).with(&keys(&["new"])), found, "a second start changes nothing");
        }
    }

    #[test]
    fn the_environment_is_one_quoted_line() {
        let session =
            [("PATH", "/a b:/c"), ("LC_X", "q\"\\"), ("ECS_X", "a\nPermitRootLogin yes")].map(|(n, v)| (n.into(), v.into()));
        let config = Config { port: 2222, host_keys: vec!["/k".into()], user: "ansible", session: &session };
        let (text, skipped) = config.render();
        assert_eq!(skipped, ["ECS_X"]);
        assert!(text.contains("\nSetEnv \"PATH=/a b:/c\" \"LC_X=q\\\"\\\\\"\n"), "{text}");
        assert_eq!(text.matches("PermitRootLogin").count(), 1);
        assert!(text.starts_with("Port 2222\n") && text.contains("\nAllowUsers ansible\n"));
    }
}
