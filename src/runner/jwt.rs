//! How a GitHub App shows who it is: a token that is signed with its private key. `openssl` signs, with the key in
//! a memory file that only this process and that one can open.

use super::Trouble;
use crate::process::{End, Handed, Program};
use crate::settings::{Environment, Secret};
use crate::worker::{self, Runtime};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nix::sys::memfd::{MFdFlags, memfd_create};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;

const OPENSSL: &str = "/usr/bin/openssl";
/// Clocks differ: it is valid since a minute ago.
const BEFORE: u64 = 60;
/// GitHub accepts ten minutes; half of it leaves room for clocks.
const VALID: u64 = 5 * 60;

/// What is signed, at `now` (seconds since 1970).
fn claims(app: &str, now: u64) -> String {
    let header = r#"{"alg":"RS256","typ":"JWT"}"#;
    let payload = serde_json::json!({ "iat": now.saturating_sub(BEFORE), "exp": now + VALID, "iss": app }).to_string();
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(payload))
}

/// The key with real newlines: in a variable, they are often written `\n`.
fn pem(key: &str) -> String {
    let mut text = key.replace("\\n", "\n").replace('\r', "");
    text.push('\n');
    text
}

/// A token of the App `app`, whose private key is `key`.
pub(super) fn sign(
    runtime: &mut Runtime,
    environment: &Environment,
    app: &str,
    key: &Secret,
    now: u64,
    heed_stop: bool,
) -> Result<Secret, Trouble> {
    let later = |why: String| Trouble::Later { why, after: None };
    let hold = || {
        let mut file = File::from(memfd_create(c"gantry-key", MFdFlags::MFD_CLOEXEC)?);
        file.write_all(pem(key.expose()).as_bytes())?;
        std::io::Result::Ok(file)
    };
    let file = hold().map_err(|error| later(format!("to hold the App's key in memory: {error}")))?;
    let place = format!("/dev/fd/{}", file.as_raw_fd());
    let program = Program {
        path: OPENSSL.into(),
        arguments: ["dgst", "-sha256", "-sign", &place].map(Into::into).to_vec(),
        environment: environment.clone(),
        folder: "/".into(),
        no_new_privileges: true,
        dies_with_parent: true,
        ..Program::default()
    };
    let claims = claims(app, now);
    let handed = [Handed { variable: "GANTRY_KEY", descriptor: file.as_fd() }];
    let finished = runtime.run_with(&program, claims.as_bytes(), &handed, Duration::from_secs(10), heed_stop);
    let finished = finished.map_err(|trouble| match trouble {
        worker::Trouble::Stopped => Trouble::Stopped,
        worker::Trouble::TimedOut => later(format!("`{OPENSSL}` did not end")),
        worker::Trouble::NotStarted(error) => later(format!("`{OPENSSL}`: {error}")),
    })?;
    if finished.end != End::Code(0) || finished.output.is_empty() {
        return Err(Trouble::Refused {
            why: "GITHUB_APP_PRIVATE_KEY is no private key that `openssl` can sign with".to_owned(),
            hint: "it begins with `-----BEGIN RSA PRIVATE KEY-----` and has no passphrase, as GitHub hands it out".to_owned(),
        });
    }
    Ok(Secret::new(format!("{claims}.{}", URL_SAFE_NO_PAD.encode(finished.output))))
}

#[cfg(test)]
mod tests {
    use super::{claims, pem};
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;

    #[test]
    fn the_claims_are_those_that_github_wants() {
        let claims = claims("12\"", 1000);
        let parts = claims.split('.').map(|part| URL_SAFE_NO_PAD.decode(part).unwrap());
        let parts: Vec<serde_json::Value> = parts.map(|part| serde_json::from_slice(&part).unwrap()).collect();
        assert_eq!(parts, [json!({"alg": "RS256", "typ": "JWT"}), json!({"exp": 1300, "iat": 940, "iss": "12\""})]);
    }

    #[test]
    fn a_key_on_one_line_is_a_key() {
        assert_eq!(pem("-----BEGIN X-----\\nab\\n-----END X-----\\n"), "-----BEGIN X-----\nab\n-----END X-----\n\n");
        assert_eq!(pem("a\r\nb"), "a\nb\n");
    }
}
