//! What holds for settings whatever the variables hold: nothing panics, and no secret is shown.

use super::model::RunnerTarget;
use super::repository::Address;
use super::table::VARIABLES;
use super::url::Url;
use super::{Settings, Sources, keys};
use proptest::prelude::*;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;

/// What is looked for wherever something is said.
const CANARY: &str = "cAnArY0123456789";

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// What a variable may hold: anything, and what is nearly right.
fn value() -> impl Strategy<Value = String> {
    let pieces = [
        "https://",
        "http://",
        "github.com",
        "localhost",
        "127.0.0.1",
        "[::1]",
        ":",
        "8080",
        "/",
        "o",
        "r",
        "/tree/",
        "/-/tree/",
        "%2F",
        "%",
        "@",
        "?",
        "#",
        "..",
        ".git",
        "enterprises",
        "-",
        "~/",
        "$HOME",
        "tcp://",
        "on",
        "0",
        "1",
        "json",
        "none",
        ",",
        " ",
        "\n",
        "\0",
        "ssh-ed25519 ",
        "AAAAC3NzaC1lZDI1NTE5AAAAIJ2BbNQeGbZ8hlO1eLBGNyN8pCyZ5eQyGY5N3m5bGxkC",
        "-----BEGIN ",
        "é",
        "\u{202e}",
    ];
    let pieced = prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..8).prop_map(|pieces| pieces.concat());
    prop_oneof![3 => pieced, 1 => any::<String>(), 1 => "[0-9]{0,6}"]
}

/// A secret as people hand it over, rightly and wrongly.
fn planted() -> impl Strategy<Value = String> {
    let shapes = [
        CANARY.to_owned(),
        format!(" {CANARY}\n"),
        format!("{{\"KEY\":\"{CANARY}\"}}"),
        format!("Bearer {CANARY}"),
        format!("\"{CANARY}\""),
        format!("export X={CANARY}"),
        format!("{CANARY} {CANARY}"),
        format!("é{CANARY}"),
        format!("-----BEGIN RSA PRIVATE KEY-----\\n{CANARY}\\n-----END RSA PRIVATE KEY-----"),
        format!("-----BEGIN RSA PRIVATE KEY-----\n{CANARY}"),
    ];
    prop::sample::select(shapes.to_vec())
}

/// An address with a password in it.
fn with_password() -> impl Strategy<Value = String> {
    let schemes = prop::sample::select(vec!["https://", "http://", "ssh://", "x://", "", "'https://"]);
    let ends = prop::sample::select(vec![
        "",
        "/o/r",
        "@github.com/o/r",
        "@github.com/o/r/tree/x",
        "@127.0.0.1:8080/o",
        "@",
        "@a b",
        "@h:x/",
        "@:/",
    ]);
    (schemes, ends).prop_map(|(scheme, end)| format!("{scheme}me:{CANARY}{end}"))
}

/// A line of `AUTHORIZED_KEYS` with something in it that is none of anybody's business.
fn key_line() -> impl Strategy<Value = String> {
    let pieces = [
        "ssh-ed25519 ",
        "ssh-rsa ",
        "ssh-dss ",
        "command=\"",
        "\" ",
        "AAAA",
        "-----BEGIN ",
        "PRIVATE KEY",
        "\n",
        "\\n",
        " ",
        "#",
        "=",
    ];
    let some = || prop::collection::vec(prop::sample::select(pieces.to_vec()), 0..5).prop_map(|pieces| pieces.concat());
    (some(), some()).prop_map(|(before, after)| format!("{before}{CANARY}{after}"))
}

fn is_address(name: &str) -> bool {
    name.ends_with("_URL")
}

/// Some of all variables, each with a value of its kind.
fn variables() -> impl Strategy<Value = Vec<(OsString, OsString)>> {
    let one = prop::sample::select(VARIABLES).prop_flat_map(|variable| {
        let value = match variable.secret {
            true => planted().boxed(),
            false if is_address(variable.name) => {
                prop_oneof![value(), with_password(), Just("https://github.com/o/r".to_owned())].boxed()
            }
            false => value().boxed(),
        };
        value.prop_map(move |value| (OsString::from(variable.name), OsString::from(value)))
    });
    prop::collection::vec(one, 0..24)
}

proptest! {
    #![proptest_config(config(400))]

    #[test]
    fn settings_never_panic_and_never_show_a_secret(variables in variables(), root: bool) {
        let sources = Sources::split(variables, root);
        let said = match (Settings::read(&sources), Settings::read_strictly(&sources)) {
            (Ok(settings), Ok(_)) => format!("{settings:?}"),
            (Ok(settings), Err(failure)) => format!("{settings:?} {failure:?}"),
            (Err(failure), _) => format!("{failure:?}"),
        };
        // Workers are told as little.
        let worker = Sources::split(sources.environment().to_vec(), root);
        let said = format!("{said} {:?} {sources:?}", Settings::again(&worker));
        // What lies in the sources of an address is shown by nobody.
        let said = said.replace(&format!("{:?}", sources.environment()), "");
        prop_assert!(!said.contains(CANARY), "{said}");
    }

    #[test]
    fn bytes_that_are_no_text_are_a_problem_and_no_panic(name in prop::sample::select(VARIABLES), bytes: Vec<u8>) {
        let _ = Settings::read(&Sources::split([(name.name.into(), OsString::from_vec(bytes))], true));
    }

    #[test]
    fn bad_keys_are_not_repeated(line in key_line()) {
        if let Err(problems) = keys::parse(&line) {
            prop_assert!(!problems.concat().contains(CANARY), "{problems:?}");
        }
    }

    #[test]
    fn keys_never_panic(text in value(), other: String) {
        let _ = (keys::parse(&text), keys::parse(&other));
    }

    #[test]
    fn addresses_never_panic_and_read_the_same_again(text in prop_oneof![value(), with_password(), any::<String>()]) {
        let Ok(url) = Url::parse(&text) else { return Ok(()) };
        let again = Url::parse(&url.to_string());
        prop_assert_eq!(again, Ok(Url { credentials: false, query: false, ..url.clone() }));
        prop_assert!(!url.host.is_empty() && !url.to_string().contains(['@', '?', '#']) || url.path.contains('@'), "{}", url);
        if let Ok(target) = RunnerTarget::of(url, None) {
            let again = Url::parse(&target.url).and_then(|url| RunnerTarget::of(url, None));
            prop_assert_eq!(again, Ok(target));
        }
        if let Ok(address) = Address::parse(&text) {
            prop_assert!(!address.url.contains(CANARY), "{:?}", address);
        }
    }
}
