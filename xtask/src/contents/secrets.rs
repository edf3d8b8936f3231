//! Secrets in what files hold. What cannot be told from an example by its form is told by where it lies: the tests and the
//! documentation of packages are full of keys that open nothing.

use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, MatchKind};

/// How much of a file's end is looked at again together with what follows it: no secret is longer before it is told.
pub(super) const OVERLAP: usize = 1024;

/// Whether what follows a sign looks as it must.
type Fits = fn(&[u8]) -> bool;

/// What a secret begins with, how what follows must look, and what it is called.
const SIGNS: [(&str, Fits, &str); 15] = [
    ("PRIVATE KEY-----", is_armoured, "private key"),
    ("PRIVATE KEY BLOCK-----", is_armoured, "private key"),
    ("PuTTY-User-Key-File-", is_putty, "private key"),
    ("AKIA", is_access_key, "AWS access key"),
    ("ASIA", is_access_key, "AWS access key"),
    ("ghp_", |rest| is_token(rest, 36), "GitHub token"),
    ("gho_", |rest| is_token(rest, 36), "GitHub token"),
    ("ghu_", |rest| is_token(rest, 36), "GitHub token"),
    ("ghs_", |rest| is_token(rest, 36), "GitHub token"),
    ("ghr_", |rest| is_token(rest, 36), "GitHub token"),
    ("github_pat_", |rest| is_token(rest, 50), "GitHub token"),
    ("glpat-", |rest| is_token(rest, 20), "GitLab token"),
    ("npm_", |rest| is_token(rest, 36), "npm token"),
    ("pypi-AgEIcHlwaS5vcmc", |rest| is_token(rest, 50), "PyPI token"),
    ("AccountKey=", is_storage_key, "Azure storage key"),
];

/// A sign that begins within another one does not stand alone, so that those found one after the other are all; only so the
/// search is by vectors, several times as fast.
static SEARCH: LazyLock<Option<AhoCorasick>> =
    LazyLock::new(|| AhoCorasick::builder().match_kind(MatchKind::LeftmostFirst).build(SIGNS.map(|(sign, ..)| sign)).ok());

/// What secrets are in a piece of a file.
pub(crate) fn in_text(piece: &[u8]) -> Vec<&'static str> {
    let Some(search) = SEARCH.as_ref() else { return Vec::new() };
    let mut found: Vec<&'static str> = search
        .find_iter(piece)
        .filter_map(|sign| {
            let (_, fits, what) = SIGNS.get(sign.pattern().as_usize())?;
            // `xghp_…` is a part of something else.
            let alone = sign.start().checked_sub(1).and_then(|at| piece.get(at)).is_none_or(|byte| !is_word(*byte));
            (alone && fits(piece.get(sign.end()..)?)).then_some(*what)
        })
        .collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// What secrets are in a file that is there to hold them.
pub(super) fn in_file(path: &str, bytes: &[u8]) -> Option<&'static str> {
    let text = String::from_utf8_lossy(bytes);
    let has = |word: &str| text.contains(word);
    let is = |name: &str| path == name || path.strip_suffix(name).is_some_and(|above| above.ends_with('/'));
    // What is taken from a variable at run time is none.
    let given = |key: &str| {
        let values =
            text.lines().filter_map(|line| line.split_once(key)).map(|(_, value)| value.trim_matches([' ', '=', ':', '"', ',']));
        values.into_iter().any(|value| !value.is_empty() && !value.starts_with('$'))
    };
    match () {
        () if path == "etc/shadow" || path == "etc/shadow-" => has(":$").then_some("password hash"),
        () if is(".netrc") => given("password").then_some("password in .netrc"),
        () if is(".git-credentials") => has("@").then_some("git credential"),
        () if is(".docker/config.json") => (given("\"auth\"") || given("\"identitytoken\"")).then_some("registry credential"),
        () if is(".npmrc") => (given("_authToken") || given("_password")).then_some("npm token"),
        () if is(".pypirc") => given("password").then_some("PyPI token"),
        () if is(".aws/credentials") => given("aws_secret_access_key").then_some("AWS secret key"),
        () if is(".azure/msal_token_cache.json") || is(".azure/accessTokens.json") => has("secret").then_some("Azure token"),
        () if is(".kube/config") => (given("client-key-data") || given("token")).then_some("Kubernetes credential"),
        () if is(".config/gh/hosts.yml") => given("oauth_token").then_some("GitHub token"),
        () => None,
    }
}

/// Whether a file may be one of [`in_file`].
pub(super) fn may_hold(path: &str) -> bool {
    const NAMES: [&str; 11] = [
        "shadow",
        "shadow-",
        ".netrc",
        ".git-credentials",
        "config.json",
        ".npmrc",
        ".pypirc",
        "credentials",
        "hosts.yml",
        "config",
        "msal_token_cache.json",
    ];
    let last = path.rsplit('/').next().unwrap_or_default();
    NAMES.contains(&last) || last == "accessTokens.json"
}

/// Whether a file belongs to the tests or the documentation of an installed package.
pub(super) fn is_example(path: &str) -> bool {
    const PACKAGES: [&str; 5] = ["site-packages/", "dist-packages/", "node_modules/", "ansible_collections/", "usr/lib/python3"];
    const FOLDERS: [&str; 12] = [
        "test",
        "tests",
        "testing",
        "__tests__",
        "test-data",
        "testdata",
        "fixtures",
        "doc",
        "docs",
        "examples",
        "example",
        "samples",
    ];
    if path.starts_with("usr/share/doc/") || path.starts_with("usr/share/man/") {
        return true;
    }
    let Some(inside) = PACKAGES.iter().filter_map(|package| path.find(package).map(|at| at + package.len())).min() else {
        return false;
    };
    path.get(inside..).is_some_and(|inside| inside.split('/').any(|part| FOLDERS.contains(&part)))
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// So many letters at least that are not all the same few: `ghp_xxxxxxxx…` is an example.
fn is_token(rest: &[u8], least: usize) -> bool {
    let token = rest.iter().take_while(|byte| is_word(**byte) || **byte == b'-');
    let token: Vec<u8> = token.copied().take(256).collect();
    let letters = token.iter().take_while(|byte| **byte != b'-' && **byte != b'_').count();
    let distinct: std::collections::BTreeSet<u8> = token.iter().copied().collect();
    token.len() >= least && (letters >= 20 || least > 36) && distinct.len() >= 10 && token.iter().any(u8::is_ascii_digit)
}

/// Sixteen of base 32. Amazon's documentation ends its keys in `EXAMPLE`.
fn is_access_key(rest: &[u8]) -> bool {
    let key: Vec<u8> = rest.iter().copied().take_while(u8::is_ascii_alphanumeric).take(17).collect();
    let fits = key.len() == 16 && key.iter().all(|byte| matches!(byte, b'A'..=b'Z' | b'2'..=b'7'));
    let distinct: std::collections::BTreeSet<u8> = key.iter().copied().collect();
    fits && distinct.len() >= 6 && !key.ends_with(b"EXAMPLE")
}

/// 64 bytes in base 64; not the one of the storage emulator, which everybody knows.
fn is_storage_key(rest: &[u8]) -> bool {
    let key = rest.iter().take_while(|byte| is_base64(**byte)).count();
    key == 86
        && rest.get(86..88) == Some(b"==")
        && !rest.starts_with(b"Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq")
}

fn is_base64(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/'
}

/// What follows a header is key material: a line of base 64, perhaps after lines of `Name: value`, perhaps in a string with
/// its line ends written `\\n`. A program that looks for headers has something else there.
fn is_armoured(rest: &[u8]) -> bool {
    let window = rest.get(..rest.len().min(OVERLAP - 64)).unwrap_or_default();
    let mut lines = window.split(|byte| matches!(byte, b'\n' | b'\r' | b'\\'));
    let ends = |line: &[u8]| line.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'"' | b'\'' | b'+' | b','));
    if !lines.next().is_some_and(ends) {
        return false;
    }
    // Of a written line end the letter stays with what follows.
    let is_between =
        |line: &&[u8]| ends(line) || matches!(line.trim_ascii(), b"n" | b"r") || line.windows(2).any(|pair| pair == b": ");
    lines.find(|line| !is_between(line)).is_some_and(is_body)
}

/// `2: ssh-rsa`
fn is_putty(rest: &[u8]) -> bool {
    matches!(rest, [b'1'..=b'9', b':', b' ', kind, ..] if kind.is_ascii_lowercase())
}

fn is_body(line: &[u8]) -> bool {
    let start = line.iter().position(|byte| is_base64(*byte)).unwrap_or(line.len());
    let body = line.get(start..).unwrap_or_default();
    let length = body.iter().take_while(|byte| is_base64(**byte)).count();
    let distinct: std::collections::BTreeSet<u8> = body.iter().take(length).copied().collect();
    start < 16 && length >= 40 && distinct.len() >= 12
}
