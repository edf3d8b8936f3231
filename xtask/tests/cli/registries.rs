//! `push` to registries as they are out there: with TLS, an own CA and tokens; with GHCR's and ECR's habits.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::support::ecr::Ecr;
use crate::support::family::TinyFamily;
use crate::support::ghcr::Ghcr;
use crate::support::registry::LocalRegistry;
use crate::support::secure::{REGISTRY, SecureRegistry};
use crate::support::xtask::ran;

const CANARY: &str = "canary-4Tq7";

fn login(host: &str, user: &str, password: &str) -> String {
    format!(r#""{host}":{{"auth":"{}"}}"#, STANDARD.encode(format!("{user}:{password}")))
}

#[test]
fn a_registry_with_tokens_and_an_own_ca_is_published_to_and_vv_tells_no_secret() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    let secure = SecureRegistry::start("me", CANARY, 60);
    let auths = format!(r#"{{"auths":{{{}}}}}"#, login(REGISTRY, "me", CANARY));
    let destination = format!("company={REGISTRY}/team/image");
    let push = |ca: bool, more: &[&str]| {
        let mut command = family.planning(&["push", "--variant", "azure", "--destination", &destination]);
        command.args(more).env("HTTPS_PROXY", &secure.proxy).env("https_proxy", &secure.proxy);
        command.env("DOCKER_AUTH_CONFIG", &auths);
        if ca {
            command.env("SSL_CERT_FILE", secure.ca());
        }
        ran(command)
    };
    // Whom nobody vouches for gets nothing, at once.
    push(false, &[]).ends(6).says(&["nothing was tagged", "certificate"]);
    assert!(secure.tokens.seen().is_empty());

    let pushed = push(true, &["-vv"]).ends(0).says(&[
        "GET registry.example/v2/ 401",
        "GET auth.example/token 200",
        "PUT registry.example/v2/team/image/blobs/uploads/… 201",
        "PUT registry.example/v2/team/image/manifests/azure 201",
        "> content-length: ",
        "< docker-content-digest: sha256:",
    ]);
    assert!(secure.holds("repositories/team/image/_manifests/tags/azure/current/link"));
    // The password, a token (a JSON web token begins so), an upload's state.
    for secret in [CANARY, "eyJ", "_state", "Bearer", "Basic "] {
        assert!(!pushed.stderr.contains(secret) && !pushed.stdout.contains(secret), "{secret} in\n{}", pushed.stderr);
    }
    let again = push(true, &["--format", "json", "-v"]).ends(0);
    let told = again.events_of("request");
    assert!(told.iter().all(|event| event["headers"].as_array().is_some_and(Vec::is_empty)) && !told.is_empty());

    // A wrong password is told by where it came from.
    let mut wrong = family.planning(&["push", "--variant", "azure", "--destination", &destination]);
    wrong.env("HTTPS_PROXY", &secure.proxy).env("https_proxy", &secure.proxy).env("SSL_CERT_FILE", secure.ca());
    wrong.env("DOCKER_AUTH_CONFIG", format!(r#"{{"auths":{{{}}}}}"#, login(REGISTRY, "me", "other-canary")));
    let refused = ran(wrong).ends(6).says(&["its token server: 401", "`DOCKER_AUTH_CONFIG` was used"]);
    assert!(!refused.stderr.contains("other-canary"));
}

#[test]
fn ghcr_and_ecr_hold_the_same_digest_whatever_their_habits() {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    let (behind_ghcr, behind_ecr) = (LocalRegistry::start(None), LocalRegistry::start(None));
    let ghcr = Ghcr::before(&behind_ghcr.address, CANARY);
    let ecr = Ecr::before(&behind_ecr.address, CANARY, |tag| tag == "azure");
    let auths = [login(&ghcr.front.address, "x-access-token", CANARY), login(&ecr.front.address, "AWS", CANARY)].join(",");
    let (to_ghcr, to_ecr) = (format!("ghcr={}/team/image", ghcr.front.address), format!("ecr={}/team/image", ecr.front.address));
    let push = || {
        let arguments = ["push", "--format", "json", "--variant", "azure", "--destination", &to_ghcr, "--destination", &to_ecr];
        let mut command = family.planning(&arguments);
        command.env("DOCKER_AUTH_CONFIG", format!(r#"{{"auths":{{{auths}}}}}"#));
        ran(command).ends(0)
    };
    let pushed = push().json();
    let digest = pushed["images"][0]["digest"].as_str().expect("a digest").parse().ok();
    let tags = behind_ghcr.tags();
    assert_eq!(behind_ecr.tags(), tags);
    for tag in &tags {
        assert_eq!(behind_ghcr.skopeo(tag, None), digest, "{tag}");
        assert_eq!(behind_ecr.skopeo(tag, None), digest, "{tag}");
    }
    let again = push();
    assert!(!format!("{again:?}").contains(CANARY));
}
