//! What is not tried again, and when trying ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use http::{HeaderValue, Method, header};

use crate::front::{Front, Say, answer, error};
use crate::registry::LocalRegistry;
use crate::{MANIFEST, TestClock, blob, client, client_as, manifest, progress, run};
use xtask::registry::{Access, Fixed, Patience, Registry, RegistryError};
use xtask::retry::{Clock, Policy};

#[test]
fn what_stays_is_asked_once() {
    let real = LocalRegistry::start(None);
    let blob = blob("refused");
    for (status, code, at, kind) in [
        (404, "NAME_UNKNOWN", Method::POST, "NoRepository"),
        (404, "UNSUPPORTED", Method::POST, "NoRepository"),
        (400, "DIGEST_INVALID", Method::PUT, "Status"),
        (403, "DENIED", Method::POST, "Denied"),
        (403, "DENIED", Method::PUT, "Denied"),
        (413, "SIZE_INVALID", Method::PUT, "Status"),
        (416, "BLOB_UPLOAD_INVALID", Method::PUT, "Status"),
    ] {
        let method = at.clone();
        let front = Front::before(&real.address, move |asked, behind| match *asked.method() == method {
            true => Say::Answer(error(status, code, "never")),
            false => Say::Answer(behind.answer(asked)),
        });
        let failed = run(client(&front.address).send(&blob, &progress())).expect_err("it is refused");
        assert!(format!("{failed:?}").starts_with(kind), "{status} {code} {at}: {failed:?}");
        assert_eq!(front.seen().iter().filter(|seen| seen.method == at).count(), 1, "{status} {code} {at}");
    }
}

#[test]
fn a_401_is_answered_by_one_more_attempt() {
    let front = Front::alone(|_| Say::Answer(error(401, "UNAUTHORIZED", "go away")));
    let failed = run(client_as(&front.address, Fixed(Some(crate::basic("me", "canary"))), &Arc::default()).manifest("aws"));
    let failed = failed.expect_err("it is refused");
    let told = format!("{failed} {failed:?}");
    assert!(matches!(failed, RegistryError::Denied { .. }) && !told.contains("canary"), "{told}");
    assert!(told.contains("401: UNAUTHORIZED go away; the credential of a test was used"), "{told}");
    assert_eq!(front.lines().iter().filter(|line| line.contains("/manifests/")).count(), 2);
}

#[test]
fn attempts_and_time_end() {
    let front = Front::alone(|_| Say::Answer(answer(503, "text/plain", "")));
    let clock = Arc::new(TestClock::default());
    let failed = run(client_as(&front.address, Fixed(None), &clock).digest("aws")).expect_err("never");
    assert!(matches!(failed, RegistryError::Status { status: 503, attempts: 7, .. }), "{failed:?}");
    // Full jitter: half of the ceiling with this clock's dice.
    assert_eq!(clock.pauses(), [250, 500, 1000, 2000, 4000, 8000].map(Duration::from_millis));

    // What asks for more than there is gets nothing.
    let front = Front::alone(|_| later("3600"));
    let clock = Arc::new(TestClock::default());
    run(client_as(&front.address, Fixed(None), &clock).digest("aws")).expect_err("never");
    assert!(clock.pauses().is_empty());
}

fn later(when: &'static str) -> Say {
    let mut answer = answer(429, "text/plain", "");
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(when));
    Say::Answer(answer)
}

#[test]
fn retry_after_is_honoured_as_seconds_and_as_a_date() {
    for (when, seconds) in [("7", 7), ("Thu, 01 Jan 1970 00:00:40 GMT", 40)] {
        let count = AtomicUsize::new(0);
        let front = Front::alone(move |_| match count.fetch_add(1, Ordering::Relaxed) {
            0 => Say::Answer(answer(200, "application/json", "{}")),
            1 => later(when),
            _ => Say::Answer(error(404, "MANIFEST_UNKNOWN", "")),
        });
        let clock = Arc::new(TestClock::default());
        assert_eq!(run(client_as(&front.address, Fixed(None), &clock).digest("aws")).expect("an answer"), None);
        let [pause] = clock.pauses()[..] else { panic!("{:?}", clock.pauses()) };
        assert!((seconds * 1000..seconds * 1000 + 500).contains(&(pause.as_millis() as u64)), "{when}: {pause:?}");
    }
}

#[test]
fn what_does_not_move_is_given_up() {
    let real = LocalRegistry::start(None);
    for method in [Method::HEAD, Method::POST, Method::PUT] {
        let (count, hanging) = (AtomicUsize::new(0), method.clone());
        let front = Front::before(&real.address, move |asked, behind| {
            match *asked.method() == hanging && count.fetch_add(1, Ordering::Relaxed) == 0 {
                true => Say::Hang,
                false => Say::Answer(behind.answer(asked)),
            }
        });
        let clock: Arc<dyn Clock> = Arc::new(TestClock::default());
        let made = Registry::with(&crate::repository(&front.address), false, Access::Push, None, Policy::default(), clock);
        let patience = Patience { answer: Duration::from_secs(2), blob: Duration::from_secs(2) };
        let registry = made.expect("a client").patient(patience);
        let blob = blob(&format!("slow {method}"));
        run(async {
            assert!(!registry.has_blob(blob.digest).await.expect("an answer"));
            registry.send(&blob, &progress()).await.expect("it is sent");
            assert!(registry.has_blob(blob.digest).await.expect("an answer"));
        });
    }
}

#[test]
fn what_somebody_may_is_tried_and_leaves_nothing() {
    let real = LocalRegistry::start(None);
    let front = Front::before(&real.address, |asked, behind| Say::Answer(behind.answer(asked)));
    run(async {
        let registry = client(&front.address);
        assert!(!registry.probe_pull().await.expect("an answer"), "no such repository yet");
        registry.probe_push().await.expect("everybody may");
        let methods: Vec<_> = front.seen().into_iter().map(|seen| seen.method).collect();
        assert_eq!(methods, [Method::GET, Method::GET, Method::POST, Method::DELETE]);
        assert_eq!(registry.tags().await.expect("an answer"), Vec::<String>::new());

        let (config, layer) = (blob("probe config"), blob("probe layer"));
        for blob in [&config, &layer] {
            registry.send(blob, &progress()).await.expect("sent");
        }
        registry.put_tag("it", &manifest(&config, &layer), MANIFEST, None).await.expect("set");
        assert!(registry.probe_pull().await.expect("an answer"));
    });
    let refusing = Front::alone(|asked| match asked.method() == Method::POST {
        true => Say::Answer(error(403, "DENIED", "you may only read")),
        false => Say::Answer(answer(200, "application/json", "{}")),
    });
    let failed = run(client(&refusing.address).probe_push()).expect_err("it is refused");
    assert!(matches!(&failed, RegistryError::Denied { why, .. } if why.contains("you may only read")), "{failed}");
}
