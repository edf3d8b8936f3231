//! `AUTHORIZED_KEYS`, key by key. A bad line is named, never repeated: people paste private keys and tokens.

/// A line of an `authorized_keys` file whose key is well formed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct AuthorizedKey(String);

impl AuthorizedKey {
    /// The line, without its newline.
    pub(crate) fn line(&self) -> &str {
        &self.0
    }

    /// A line that was not checked.
    #[cfg(test)]
    pub(crate) fn for_test(line: &str) -> Self {
        Self(line.to_owned())
    }
}

/// Key types that OpenSSH accepts by default.
const TYPES: &[&str] = &[
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Reads keys that are separated by newlines or by a literal `\n`; empty lines and comments are left out.
/// The errors continue a sentence that begins with the variable's name.
pub(super) fn parse(text: &str) -> Result<Vec<AuthorizedKey>, Vec<String>> {
    let text = text.replace("\\r", "").replace("\\n", "\n");
    let (mut keys, mut problems) = (Vec::new(), Vec::new());
    for (line, number) in text.lines().zip(1..) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        match check(line) {
            Ok(()) => keys.push(AuthorizedKey(line.to_owned())),
            Err(problem) => problems.push(format!("line {number} ({} characters) {problem}", line.chars().count())),
        }
        if line.starts_with("-----BEGIN") {
            // Every further line of the private key would be reported as well.
            break;
        }
    }
    if keys.is_empty() && problems.is_empty() {
        problems.push("is set but holds no key".to_owned());
    }
    if problems.is_empty() { Ok(keys) } else { Err(problems) }
}

fn check(line: &str) -> Result<(), String> {
    if line.starts_with("-----BEGIN") || line.contains("PRIVATE KEY") {
        return Err(
            "belongs to a private key: the public one (`….pub`) belongs here, and that private key is now to be replaced".into(),
        );
    }
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return Err("holds a control character".into());
    }
    // Everything before the type is options.
    let mut words = Words(line);
    let first = words.next().unwrap_or_default();
    let kind = if is_type(first) { first } else { words.next().unwrap_or_default() };
    if kind == "ssh-dss" || first == "ssh-dss" {
        return Err("is a DSA key, which OpenSSH no longer accepts".into());
    }
    if !is_type(kind) {
        return Err("is no public key: a line begins with its type, such as `ssh-ed25519` or `ssh-rsa`".into());
    }
    let Some(blob) = words.next().and_then(decode) else {
        return Err(format!("is a `{kind}` key whose base64 part is broken"));
    };
    if !well_formed(kind, &blob) {
        return Err(format!("is a `{kind}` key that is cut short or of another type than it says"));
    }
    Ok(())
}

fn is_type(word: &str) -> bool {
    TYPES.contains(&word)
}

/// The words of a line; blanks within double quotes (as in options) belong to the word.
struct Words<'a>(&'a str);

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        let text = self.0.trim_start();
        let (mut quoted, mut escaped) = (false, false);
        let end = text.find(|c: char| {
            let ends = !quoted && c.is_whitespace();
            if c == '"' && !escaped {
                quoted = !quoted;
            }
            escaped = c == '\\' && !escaped;
            ends
        });
        let (word, rest) = text.split_at(end.unwrap_or(text.len()));
        self.0 = rest;
        (!word.is_empty()).then_some(word)
    }
}

/// Decodes base64 (RFC 4648, padded).
fn decode(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if !text.len().is_multiple_of(4) || text.len() - digits.len() > 2 {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut buffer, mut bits) = (0u32, 0);
    for c in digits.bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        buffer = (buffer << 6 | u32::from(value)) & 0x00ff_ffff;
        bits += 6;
        if bits >= 8 {
            bits -= 8;
            bytes.push((buffer >> bits & 0xff) as u8);
        }
    }
    Some(bytes)
}

/// Whether `blob` is a chain of length-prefixed fields (RFC 4253) that begins with the type.
fn well_formed(kind: &str, blob: &[u8]) -> bool {
    let (mut rest, mut fields) = (blob, 0);
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let Some((field, tail)) = tail.split_at_checked(length) else { return false };
        if fields == 0 && field != kind.as_bytes() {
            return false;
        }
        fields += 1;
        rest = tail;
    }
    rest.is_empty() && fields >= 2
}

#[cfg(test)]
mod tests {
    use super::parse;

    const ED25519: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2BbNQeGbZ8hlO1eLBGNyN8pCyZ5eQyGY5N3m5bGxkC me@here";

    #[test]
    fn newlines_and_literal_ones_separate_keys() {
        for text in [
            format!("{ED25519}\n{ED25519}"),
            format!("{ED25519}\\n{ED25519}\\n"),
            format!("\r\n# mine\n{ED25519}\r\n  {ED25519}  \n"),
            format!("from=\"10.0.0.0/8\",command=\"echo \\\"a b\\\"\" {ED25519}\n{ED25519}"),
        ] {
            let keys = parse(&text).unwrap_or_else(|problems| panic!("{text}: {problems:?}"));
            assert_eq!(keys.len(), 2, "{text}");
        }
    }

    #[test]
    fn a_bad_line_is_named_but_never_repeated() {
        let cut = &ED25519[..60];
        let table = [
            (format!("{ED25519}\nghp_0123456789"), "line 2 (14 characters) is no public key"),
            (cut.to_owned(), "line 1 (60 characters) is a `ssh-ed25519` key that is cut short"),
            ("ssh-rsa AAA$".to_owned(), "is a `ssh-rsa` key whose base64 part is broken"),
            ("ssh-rsa".to_owned(), "is a `ssh-rsa` key whose base64 part is broken"),
            (ED25519.replace("ssh-ed25519", "ssh-rsa"), "of another type than it says"),
            ("ssh-dss AAAA".to_owned(), "is a DSA key"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk\n".to_owned(), "belongs to a private key"),
            (" \n# only a comment".to_owned(), "holds no key"),
        ];
        for (text, expected) in table {
            let problems = parse(&text).expect_err(&text);
            assert_eq!(problems.len(), 1, "{problems:?}");
            assert!(problems[0].contains(expected), "{problems:?}");
            for hidden in ["ghp_", "AAAA", "b3Bl"] {
                assert!(!problems[0].contains(hidden), "{problems:?}");
            }
        }
    }

    #[test]
    fn every_bad_line_is_reported() {
        assert_eq!(parse("one\n\ntwo").expect_err("no keys").len(), 2);
    }
}
