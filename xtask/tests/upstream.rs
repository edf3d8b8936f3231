//! Pins, resolved by a double of the vendors' hosts on loopback.

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use support::vendors::{EXTENSION_VERSION, RUNNER_VERSION, Request, Trouble, VSCODE_COMMIT, Vendors};
use xtask::artifact::{Patience, client};
use xtask::event::{Events, Silent};
use xtask::family::{LockedArtifact, Name, Pin, Template, Upstream};
use xtask::oci::{Digest, Platform};
use xtask::secret::Secret;
use xtask::upstream::{Access, UpstreamError, resolve};

const HASTY: Patience = Patience { attempts: 2, first_wait: Duration::from_millis(1), longest_wait: Duration::from_secs(1) };

fn pin(version: &str, upstream: Upstream) -> Pin {
    let arch = BTreeMap::from([("amd64".to_owned(), "x64".to_owned())]);
    Pin { version: version.to_owned(), hold: None, upstream, build_arg: None, place: None, arch, max_age_days: None }
}

fn runner(version: &str) -> Pin {
    let asset = Template::new("actions-runner-linux-{arch}-{version}.tar.gz", &["arch", "version"]).unwrap();
    pin(version, Upstream::GithubRelease { repository: "actions/runner".to_owned(), asset })
}

fn vscode(commit: &str, build: &str) -> Pin {
    pin(commit, Upstream::Vscode { build: Template::new(build, &["arch"]).unwrap() })
}

fn extension(version: &str) -> Pin {
    pin(version, Upstream::OpenVsx { extension: "redhat.ansible".to_owned() })
}

async fn resolved(vendors: &Vendors, pin: &Pin) -> Result<LockedArtifact, UpstreamError> {
    resolved_for(vendors, pin, Platform::LinuxAmd64).await
}

async fn resolved_for(vendors: &Vendors, pin: &Pin, platform: Platform) -> Result<LockedArtifact, UpstreamError> {
    rustls::crypto::ring::default_provider().install_default().ok();
    let (client, mirrors, token) = (client().unwrap(), vendors.mirrors(), Some(Secret::new("hunter2")));
    let events: Events = Arc::new(Silent);
    let access = Access {
        client: &client,
        mirrors: &mirrors,
        vendors: false,
        github_token: token.as_ref(),
        patience: HASTY,
        events: &events,
    };
    resolve(access, &"thing".parse::<Name>().unwrap(), pin, platform).await
}

/// Where the double keeps the runner's release.
fn release() -> String {
    format!("/api.github.com/repos/actions/runner/releases/tags/v{RUNNER_VERSION}")
}

#[tokio::test]
async fn every_pin_is_what_its_upstream_publishes() {
    let vendors = Vendors::start();
    let github = "https://github.com/actions/runner/releases/download/v2.337.0/actions-runner-linux";
    let downloads = format!("https://vscode.download.prss.microsoft.com/dbazure/download/stable/{VSCODE_COMMIT}");
    let vsx = format!("https://open-vsx.org/api/redhat/ansible/{EXTENSION_VERSION}/file/redhat.ansible-{EXTENSION_VERSION}.vsix");
    for (pin, platform, url) in [
        (runner(RUNNER_VERSION), Platform::LinuxAmd64, format!("{github}-x64-2.337.0.tar.gz")),
        (runner(RUNNER_VERSION), Platform::LinuxArm64, format!("{github}-arm64-2.337.0.tar.gz")),
        (
            vscode(VSCODE_COMMIT, "cli-alpine-{arch}"),
            Platform::LinuxAmd64,
            format!("{downloads}/vscode_cli_alpine_x64_cli.tar.gz"),
        ),
        (
            vscode(VSCODE_COMMIT, "server-linux-{arch}-web"),
            Platform::LinuxArm64,
            format!("{downloads}/vscode-server-linux-arm64-web.tar.gz"),
        ),
        (extension(EXTENSION_VERSION), Platform::LinuxAmd64, vsx),
    ] {
        let artifact = resolved_for(&vendors, &pin, platform).await.unwrap();
        let sha256 = Digest::of(vendors.file(&url));
        // GitHub alone tells the day of a release where it is asked for the digest.
        let released = url.starts_with("https://github.com/").then(|| "2026-08-26".parse().unwrap());
        assert_eq!(artifact, LockedArtifact { version: pin.version.clone(), url, sha256, released, newest_on: None });
    }
    let told = |request: &Request| request.headers.contains_key("authorization");
    assert!(!vendors.requests().iter().any(told), "a mirror never gets the token");
}

#[tokio::test]
async fn what_upstreams_do_not_have() {
    let vendors = Vendors::start();
    for (pin, missing) in [
        (runner("1.0.0"), "`actions/runner` has no release `v1.0.0`"),
        (vscode("0000", "cli-alpine-{arch}"), "knows no build `cli-alpine-x64` of commit `0000`"),
        (vscode(VSCODE_COMMIT, "cli-beos-{arch}"), "knows no build `cli-beos-x64`"),
        (extension("0.0.1"), "Open VSX has no version `0.0.1` of `redhat.ansible`"),
    ] {
        let error = resolved(&vendors, &pin).await.unwrap_err();
        assert!(matches!(error, UpstreamError::NotFound { status: 404, .. }), "{error:?}");
        assert!(error.to_string().contains(missing), "{error}");
    }
    let asset = Template::new("runner-for-{arch}.zip", &["arch"]).unwrap();
    let pin = pin(RUNNER_VERSION, Upstream::GithubRelease { repository: "actions/runner".to_owned(), asset });
    let error = resolved(&vendors, &pin).await.unwrap_err();
    assert!(error.to_string().contains("has no file `runner-for-x64.zip`"), "{error}");
}

#[tokio::test]
async fn a_release_without_a_digest_lists_it_in_its_notes_or_is_refused() {
    let vendors = Vendors::start();
    let original = String::from_utf8(vendors.file(&format!("https:/{}", release()))).unwrap();
    let mut json: serde_json::Value = serde_json::from_str(&original).unwrap();
    let stated = resolved(&vendors, &runner(RUNNER_VERSION)).await.unwrap();

    for asset in json["assets"].as_array_mut().unwrap() {
        asset["digest"] = serde_json::Value::Null;
    }
    vendors.put(&release(), json.to_string());
    assert_eq!(resolved(&vendors, &runner(RUNNER_VERSION)).await.unwrap(), stated);

    json["body"] = serde_json::Value::Null;
    vendors.put(&release(), json.to_string());
    let error = resolved(&vendors, &runner(RUNNER_VERSION)).await.unwrap_err();
    assert!(matches!(&error, UpstreamError::NoDigest { file, .. } if file.contains("linux-x64")), "{error:?}");

    vendors.put(&release(), original.replace(&format!("sha256:{}", stated.sha256.hex()), &Digest::of("other").to_string()));
    let error = resolved(&vendors, &runner(RUNNER_VERSION)).await.unwrap_err();
    assert!(error.to_string().contains("and its notes"), "two digests are none: {error}");
}

#[tokio::test]
async fn builds_and_extensions_without_a_digest_are_refused() {
    let vendors = Vendors::start();
    let body = format!(r#"{{"url": "https://x.org/y", "version": "{VSCODE_COMMIT}", "sha256hash": null}}"#);
    vendors.trouble("/api/versions/", Trouble::Body(body), 1);
    let error = resolved(&vendors, &vscode(VSCODE_COMMIT, "cli-alpine-{arch}")).await.unwrap_err();
    assert!(matches!(error, UpstreamError::NoDigest { .. }), "{error:?}");

    let body = format!(r#"{{"version": "{EXTENSION_VERSION}", "files": {{"download": "https://x.org/y"}}}}"#);
    vendors.trouble("/redhat/ansible/", Trouble::Body(body), 1);
    let error = resolved(&vendors, &extension(EXTENSION_VERSION)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::NoDigest { .. }), "{error:?}");
}

#[tokio::test]
async fn a_build_that_the_service_tells_nothing_of_is_downloaded_by_its_commit() {
    let vendors = Vendors::start();
    let code = vscode(VSCODE_COMMIT, "cli-alpine-{arch}");
    let url = format!("https://update.code.visualstudio.com/commit:{VSCODE_COMMIT}/cli-alpine-x64/stable");
    for status in [204, 404] {
        vendors.trouble("/api/versions/", Trouble::Status(status, vec![]), 1);
        // What is cut is no file.
        vendors.trouble("/commit:", Trouble::Cut { after: 20 }, 1);
        let artifact = resolved(&vendors, &code).await.unwrap();
        assert_eq!((artifact.sha256, &artifact.url), (Digest::of(vendors.file(&url)), &url));
    }
    let nothing = Trouble::Status(404, vec![]);
    for (trouble, why) in [
        (nothing.clone(), "the update service knows no build `cli-alpine-x64` of commit"),
        (Trouble::Html, "what came is no archive"),
        (Trouble::Body(String::new()), "what came is no archive"),
        (Trouble::Status(403, vec![]), "was refused: HTTP status 403"),
    ] {
        vendors.trouble("/api/versions/", nothing.clone(), 1);
        vendors.trouble("/commit:", trouble, 1);
        let error = resolved(&vendors, &code).await.unwrap_err();
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
}

#[tokio::test]
async fn odd_answers_are_told_as_such() {
    let vendors = Vendors::start();
    let code = vscode(VSCODE_COMMIT, "cli-alpine-{arch}");
    let vsx = extension(EXTENSION_VERSION);
    let body = |text: &str| Trouble::Body(text.to_owned());
    let hash = Digest::of("").hex();
    let wrong_url = format!(r#"{{"url": "file:///etc/passwd", "version": "{VSCODE_COMMIT}", "sha256hash": "{hash}"}}"#);
    let wrong_hash = format!(r#"{{"url": "https://x.org", "version": "{VSCODE_COMMIT}", "sha256hash": "12"}}"#);
    for (part, trouble, pin, why) in [
        ("/releases/", Trouble::Html, &runner(RUNNER_VERSION), "a web page came"),
        ("/releases/", body("[]"), &runner(RUNNER_VERSION), "invalid"),
        ("/releases/", body("{}"), &runner(RUNNER_VERSION), "missing field `assets`"),
        ("/releases/", body("{\"assets\": ["), &runner(RUNNER_VERSION), "EOF"),
        ("/api/versions/", Trouble::Html, &code, "a web page came"),
        ("/api/versions/", body(r#"{"url": "https://x.org/y"}"#), &code, "missing field `version`"),
        ("/api/versions/", body(r#"{"url": "https://x.org/y", "version": "1", "sha256hash": ""}"#), &code, "for commit `1`"),
        ("/api/versions/", body(&wrong_url), &code, "not an address to download from"),
        ("/api/versions/", body(&wrong_hash), &code, "`12` is not a SHA-256 digest"),
        ("/redhat/", body(r#"{"version": "1", "files": {}}"#), &vsx, "for version `1`"),
        ("/redhat/", body(&format!(r#"{{"version": "{EXTENSION_VERSION}", "files": {{}}}}"#)), &vsx, "no `files.download`"),
        (".sha256", Trouble::Html, &vsx, "not a SHA-256 digest"),
    ] {
        vendors.trouble(part, trouble, 1);
        let error = resolved(&vendors, pin).await.unwrap_err();
        assert!(matches!(error, UpstreamError::Odd { .. }) && error.to_string().contains(why), "{why}: {error}");
    }
}

#[tokio::test]
async fn a_rate_limit_says_when_it_ends() {
    let vendors = Vendors::start();
    vendors.trouble("/releases/", Trouble::rate_limit(), 1);
    let error = resolved(&vendors, &runner(RUNNER_VERSION)).await.unwrap_err();
    let UpstreamError::RateLimited { reset: Some(reset), .. } = &error else { panic!("{error:?}") };
    assert_eq!(reset, "2033-05-18T03:33:20Z");
    assert!(error.to_string().ends_with("answers no more requests until 2033-05-18T03:33:20Z"), "{error}");
    assert_eq!(vendors.requests().len(), 1, "asking again makes it worse");

    vendors.trouble("/releases/", Trouble::Status(403, vec![]), 1);
    let error = resolved(&vendors, &runner(RUNNER_VERSION)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Refused { status: 403, .. }), "{error:?}");
}

#[tokio::test]
async fn a_limit_on_too_much_at_once_is_waited_for_or_told() {
    let vendors = Vendors::start();
    let after = |wait: &str| vec![("retry-after", wait.to_owned())];
    // Longer than anybody waits here; where it says nothing, it is a minute.
    for (trouble, tells_when) in [
        (Trouble::secondary_limit(403, Some("60")), true),
        (Trouble::secondary_limit(403, None), false),
        (Trouble::secondary_limit(429, Some("60")), true),
        (Trouble::secondary_limit(429, None), false),
        (Trouble::Status(429, after("60")), true),
    ] {
        let asked = vendors.requests().len();
        vendors.trouble("/releases/", trouble.clone(), 1);
        let error = resolved(&vendors, &runner(RUNNER_VERSION)).await.unwrap_err();
        let UpstreamError::RateLimited { reset, token_helps: false, .. } = &error else { panic!("{trouble:?}: {error:?}") };
        assert_eq!(reset.is_some(), tells_when, "{trouble:?}: {error}");
        // Not that of the hour, which has requests left.
        assert!(!error.to_string().contains("2033"), "{trouble:?}: {error}");
        assert_eq!(error.hint().contains("again then"), tells_when, "{}", error.hint());
        assert_eq!(vendors.requests().len(), asked + 1, "{trouble:?}: asking again makes it worse");
    }
    // Somebody who asks for a moment gets it; one who goes on so is told as what it is.
    for status in [403, 429] {
        vendors.trouble("/releases/", Trouble::secondary_limit(status, Some("1")), 1);
        resolved(&vendors, &runner(RUNNER_VERSION)).await.unwrap();
    }
    vendors.trouble("/redhat/", Trouble::Status(429, vec![]), 1);
    resolved(&vendors, &extension(EXTENSION_VERSION)).await.unwrap();
    vendors.trouble("/redhat/", Trouble::Status(429, vec![]), 2);
    let error = resolved(&vendors, &extension(EXTENSION_VERSION)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::RateLimited { reset: None, token_helps: false, .. }), "{error:?}");
    assert_eq!(error.hint(), "wait some minutes, then run the same command again");
}

#[tokio::test]
async fn what_cannot_be_reached_is_tried_again_and_told_apart() {
    let vendors = Vendors::start();
    vendors.trouble("/releases/", Trouble::Cut { after: 10 }, 1);
    resolved(&vendors, &runner(RUNNER_VERSION)).await.unwrap();
    vendors.trouble("/releases/", Trouble::Status(502, vec![]), 1);
    resolved(&vendors, &runner(RUNNER_VERSION)).await.unwrap();
    vendors.trouble("/releases/", Trouble::Status(502, vec![]), 2);
    let error = resolved(&vendors, &runner(RUNNER_VERSION)).await.unwrap_err();
    assert!(matches!(error, UpstreamError::Refused { status: 502, .. }), "{error:?}");

    let client = client().unwrap();
    let events: Events = Arc::new(Silent);
    // A port that was free a moment ago: nobody listens there.
    let unused = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let dead = BTreeMap::from([("https://api.github.com".to_owned(), format!("http://{unused}"))]);
    for (mirrors, unreachable) in [(dead, true), (BTreeMap::new(), false)] {
        let access =
            Access { client: &client, mirrors: &mirrors, vendors: false, github_token: None, patience: HASTY, events: &events };
        let name = "thing".parse::<Name>().unwrap();
        let error = resolve(access, &name, &runner(RUNNER_VERSION), Platform::LinuxAmd64).await.unwrap_err();
        assert_eq!(matches!(error, UpstreamError::Unreachable { attempts: 2, .. }), unreachable, "{error:?}");
        assert_eq!(matches!(error, UpstreamError::Nowhere { .. }), !unreachable, "{error:?}");
    }
}

#[tokio::test]
async fn what_a_package_manager_installs_is_no_artifact() {
    let vendors = Vendors::start();
    let package = "code-server".to_owned();
    for upstream in [Upstream::Npm { package: package.clone() }, Upstream::Pypi { package }] {
        let error = resolved(&vendors, &pin("1", upstream)).await.unwrap_err();
        assert!(matches!(error, UpstreamError::NotAnArtifact { .. }), "{error:?}");
    }
    assert!(vendors.requests().is_empty());
}
