//! Tokens and passwords: fetched from whom the registry names, used as long as they live, renewed when they do not.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderValue, Method, Response, header};
use serde_json::json;

use crate::front::{Asked, Front, Say, Seen, answer, error, page};
use crate::{TestClock, basic, blob, client_as, progress, run};
use xtask::registry::{Asking, Credential, Fixed, Identified, Identity, RegistryError};
use xtask::secret::Secret;

fn challenge(value: &str) -> Say {
    let mut answer = error(401, "UNAUTHORIZED", "authentication required");
    answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_str(value).expect("a value"));
    Say::Answer(answer)
}

fn authorization(asked: &Asked) -> &str {
    asked.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

fn is(front: &Front, path: &str) -> Vec<Seen> {
    front.seen().into_iter().filter(|seen| seen.path == path).collect()
}

/// A registry with its own token server: the token is `token-N`, and only the last `N` counts. `token` may answer
/// something else for its nth question.
fn registry(token: impl Fn(usize) -> Option<Say> + Send + Sync + 'static, life: u64) -> (Front, Arc<AtomicUsize>) {
    let given = Arc::new(AtomicUsize::new(0));
    let (last, asked_for) = (Arc::clone(&given), AtomicUsize::new(0));
    let front = Front::alone(move |asked| {
        let host = asked.headers()[header::HOST].to_str().expect("a host");
        if asked.uri().path() == "/token" {
            if let Some(say) = token(asked_for.fetch_add(1, Ordering::Relaxed)) {
                return say;
            }
            let number = last.fetch_add(1, Ordering::Relaxed) + 1;
            let token = json!({"token": format!("token-{number}"), "expires_in": life});
            return Say::Answer(answer(200, "application/json", token.to_string()));
        }
        match authorization(asked) == format!("Bearer token-{}", last.load(Ordering::Relaxed)) {
            true => Say::Answer(error(404, "MANIFEST_UNKNOWN", "")),
            false => challenge(&format!("Bearer realm=\"http://{host}/token\",service=\"the service\"")),
        }
    });
    (front, given)
}

#[test]
fn a_token_is_asked_for_once_and_used_until_shortly_before_its_end() {
    let (front, _) = registry(|_| None, 300);
    let clock = Arc::new(TestClock::default());
    let client = client_as(&front.address, Fixed(Some(basic("me", "pass"))), &clock);
    for (passed, tokens) in [(0, 1), (100, 1), (185, 1), (10, 2), (289, 2), (2, 3)] {
        clock.pass(Duration::from_secs(passed));
        assert_eq!(run(client.digest("aws")).expect("an answer"), None);
        assert_eq!(is(&front, "/token").len(), tokens, "after {passed} s more");
    }
    let asked = is(&front, "/token").remove(0);
    assert_eq!(asked.query, "scope=repository%3Ateam%2Fimage%3Apull%2Cpush&service=the+service&account=me");
    assert_eq!(asked.header("authorization"), Some("Basic bWU6cGFzcw=="));
    assert_eq!(is(&front, "/v2/").len(), 1, "how to ask is asked once");
}

#[test]
fn a_token_that_is_refused_is_renewed_at_once_by_one_of_all_who_wait() {
    let (front, given) = registry(|_| None, 3600);
    let clock = Arc::new(TestClock::default());
    let client = client_as(&front.address, Fixed(Some(basic("me", "pass"))), &clock);
    run(async {
        client.digest("aws").await.expect("an answer");
        // The registry forgets it.
        given.store(10, Ordering::Relaxed);
        let many = (0..8).map(|_| client.digest("aws"));
        for answer in futures_util::future::join_all(many).await {
            assert_eq!(answer.expect("an answer"), None);
        }
    });
    assert_eq!(is(&front, "/token").len(), 2);
    assert!(clock.pauses().is_empty(), "that is no failure");
}

#[test]
fn a_token_may_end_in_every_attempt_to_send_a_blob() {
    let (last, commits) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let front = Front::alone(move |asked| {
        let host = asked.headers()[header::HOST].to_str().expect("a host");
        if asked.uri().path() == "/token" {
            let token = json!({"token": format!("token-{}", last.fetch_add(1, Ordering::Relaxed) + 1)});
            return Say::Answer(answer(200, "application/json", token.to_string()));
        }
        let known = authorization(asked) == format!("Bearer token-{}", last.load(Ordering::Relaxed));
        let refused = || challenge(&format!("Bearer realm=\"http://{host}/token\",service=\"the service\""));
        match (asked.method().as_str(), known) {
            (_, false) => refused(),
            ("PUT", _) => match commits.fetch_add(1, Ordering::Relaxed) {
                0 | 2 => refused(),
                1 => Say::Drop,
                _ => Say::Answer(answer(201, "text/plain", "")),
            },
            ("POST", _) => {
                let mut begun = answer(202, "text/plain", "");
                begun.headers_mut().insert(header::LOCATION, HeaderValue::from_static("/v2/team/image/blobs/uploads/1"));
                Say::Answer(begun)
            }
            _ => Say::Answer(error(404, "BLOB_UNKNOWN", "")),
        }
    });
    let client = client_as(&front.address, Fixed(Some(basic("me", "pass"))), &Arc::new(TestClock::default()));
    run(client.send(&blob("long"), &progress())).expect("it is sent");
    assert_eq!(is(&front, "/token").len(), 3);
}

#[test]
fn the_token_servers_bad_moments_are_recovered_like_the_registrys() {
    let later = || {
        let mut answer = answer(429, "text/plain", "");
        answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("9"));
        Say::Answer(answer)
    };
    type Bad = fn() -> Say;
    let kinds: [(&str, Bad); 9] = [
        ("drop", || Say::Drop),
        ("500", || Say::Answer(answer(500, "text/plain", ""))),
        ("502", || Say::Answer(page(502))),
        ("a page", || Say::Answer(page(200))),
        ("half an answer", || Say::Answer(answer(200, "application/json", "{\"token\":\"to"))),
        ("no token", || Say::Answer(answer(200, "application/json", "{}"))),
        ("cut", || Say::Cut(answer(200, "application/json", "{\"token\":\"token-1\"}"), 9)),
        ("408", || Say::Answer(answer(408, "text/plain", ""))),
        ("401 once", || Say::Answer(error(401, "UNAUTHORIZED", "not now"))),
    ];
    for (name, bad) in kinds {
        let (front, _) = registry(move |nth| (nth == 0).then(bad), 300);
        let client = client_as(&front.address, Fixed(Some(basic("me", "pass"))), &Arc::default());
        assert_eq!(run(client.digest("aws")).unwrap_or_else(|error| panic!("{name}: {error}")), None);
        assert_eq!(is(&front, "/token").len(), 2, "{name}");
    }
    let (front, _) = registry(move |nth| (nth == 0).then(later), 300);
    let clock = Arc::new(TestClock::default());
    run(client_as(&front.address, Fixed(None), &clock).digest("aws")).expect("an answer");
    assert!(clock.pauses()[0] >= Duration::from_secs(9), "{:?}", clock.pauses());

    for (status, asked) in [(401, 2), (403, 1), (400, 1)] {
        let refused = move |_| Some(Say::Answer(error(status, "DENIED", "your canary is wrong")));
        let (front, _) = registry(refused, 300);
        let client = client_as(&front.address, Fixed(Some(basic("me", "pass"))), &Arc::default());
        let failed = run(client.digest("aws")).expect_err("it is refused");
        assert!(matches!(&failed, RegistryError::Denied { why, .. } if why.contains("its token server")), "{failed}");
        assert_eq!(is(&front, "/token").len(), asked, "{status}");
    }
}

#[test]
fn an_identity_token_is_exchanged_by_a_post() {
    let (front, _) = registry(|_| None, 300);
    let known = Identified::new(Credential::Refresh(Secret::new("refresh me&")), "a test");
    run(client_as(&front.address, Fixed(Some(known)), &Arc::default()).digest("aws")).expect("an answer");
    let asked = is(&front, "/token").remove(0);
    assert_eq!((asked.method, asked.query.as_str()), (Method::POST, ""));
    let body = String::from_utf8(asked.body.to_vec()).expect("a form");
    assert_eq!(
        body,
        "scope=repository%3Ateam%2Fimage%3Apull%2Cpush&service=the+service&grant_type=refresh_token&client_id=gantry&refresh_token=refresh+me%26"
    );
}

/// Passwords that count up, as those of ECR every twelve hours.
struct Passwords {
    given: AtomicU64,
    /// Seconds that each of them lives.
    life: Option<u64>,
    clock: Arc<TestClock>,
}

impl Identity for Passwords {
    fn credential(&self, fresh: bool) -> Asking<'_> {
        Box::pin(async move {
            if fresh || self.given.load(Ordering::Relaxed) == 0 {
                self.given.fetch_add(1, Ordering::Relaxed);
            }
            let password = format!("password-{}", self.given.load(Ordering::Relaxed));
            use xtask::retry::Clock as _;
            let ends = self.life.map(|life| self.clock.date() + Duration::from_secs(life));
            Ok(Some(Identified { ends, ..basic("AWS", &password) }))
        })
    }
}

/// A registry that wants `AWS:password-N` and tells by [`Mutex`] which `N`.
fn wants(number: Arc<Mutex<u64>>) -> Front {
    Front::alone(move |asked| {
        use base64::Engine as _;
        let number = *number.lock().expect("a number");
        let wanted = base64::engine::general_purpose::STANDARD.encode(format!("AWS:password-{number}"));
        match authorization(asked) == format!("Basic {wanted}") {
            true => Say::Answer(error(404, "MANIFEST_UNKNOWN", "")),
            false => challenge("Basic realm=\"https://ecr.example/\",service=\"ecr.amazonaws.com\""),
        }
    })
}

#[test]
fn a_password_that_ends_in_the_middle_is_asked_for_again() {
    let (number, clock) = (Arc::new(Mutex::new(1)), Arc::new(TestClock::default()));
    let front = wants(Arc::clone(&number));
    let identity = Passwords { given: AtomicU64::new(0), life: None, clock: Arc::clone(&clock) };
    let client = client_as(&front.address, identity, &clock);
    run(client.digest("aws")).expect("an answer");
    *number.lock().expect("a number") = 2;
    run(client.digest("aws")).expect("an answer");
    assert!(clock.pauses().is_empty(), "that is no failure");
    // A registry that wants one that nobody has is asked twice, not for ever.
    *number.lock().expect("a number") = 9;
    front.forget();
    let failed = run(client.digest("aws")).expect_err("it is refused");
    assert!(matches!(failed, RegistryError::Denied { .. }), "{failed}");
    assert_eq!(front.seen().len(), 2);
}

#[test]
fn a_password_whose_end_is_known_is_renewed_before_it() {
    let (number, clock) = (Arc::new(Mutex::new(1)), Arc::new(TestClock::default()));
    let front = wants(Arc::clone(&number));
    let identity = Passwords { given: AtomicU64::new(0), life: Some(3600), clock: Arc::clone(&clock) };
    let client = client_as(&front.address, identity, &clock);
    run(client.digest("aws")).expect("an answer");
    clock.pass(Duration::from_secs(3600 - 30));
    front.forget();
    // It is looked at anew; this identity still has the same.
    run(client.digest("aws")).expect("an answer");
    assert_eq!(front.seen().iter().filter(|seen| seen.path.contains("/manifests/")).count(), 2, "HEAD and GET, no 401");
}

#[test]
fn a_credential_goes_to_nobody_else() {
    let canary = "canary-9Zr2";
    let elsewhere = Arc::new(Front::alone(|_| Say::Answer(answer(200, "application/json", r#"{"token":"x"}"#))));
    let realm = |realm: String| Front::alone(move |_| challenge(&format!("Bearer realm=\"{realm}\"")));
    // For its registry's host alone: not to a token server on another one.
    let confined = Identified { confined: true, ..basic("me", canary) };
    let port = elsewhere.address.rsplit(':').next().expect("a port").to_owned();
    let front = realm(format!("http://localhost:{port}/token"));
    let failed = run(client_as(&front.address, Fixed(Some(confined)), &Arc::default()).digest("aws")).expect_err("not there");
    assert!(matches!(&failed, RegistryError::Denied { why, .. } if why.contains("`localhost`")), "{failed}");
    // Unencrypted to another machine.
    for other in ["http://token.example/", "ftp://127.0.0.1/", "not a URL"] {
        let front = realm(other.to_owned());
        let failed = run(client_as(&front.address, Fixed(Some(basic("me", canary))), &Arc::default()).digest("aws"));
        let failed = failed.expect_err("not there");
        assert!(matches!(failed, RegistryError::Protocol { .. }) && !format!("{failed:?}").contains(canary), "{failed}");
    }
    // A token server's redirect is not followed.
    let there = elsewhere.address.clone();
    let (front, _) = registry(
        move |_| {
            let mut moved: Response<_> = answer(307, "text/plain", "");
            let location = HeaderValue::from_str(&format!("http://{there}/token")).expect("a value");
            moved.headers_mut().insert(header::LOCATION, location);
            Some(Say::Answer(moved))
        },
        300,
    );
    run(client_as(&front.address, Fixed(Some(basic("me", canary))), &Arc::default()).digest("aws")).expect_err("not there");
    assert_eq!(elsewhere.seen().len(), 0);
}

#[test]
fn a_registry_that_is_open_is_told_nothing() {
    let front = Front::alone(|_| Say::Answer(error(404, "MANIFEST_UNKNOWN", "")));
    run(client_as(&front.address, Fixed(Some(basic("me", "pass"))), &Arc::default()).digest("aws")).expect("an answer");
    assert!(front.seen().iter().all(|seen| seen.header("authorization").is_none()));
}
