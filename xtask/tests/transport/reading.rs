//! Blobs and lists are read whole, whatever breaks; and what redirects lead to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Response, header};
use tokio::io::AsyncReadExt as _;

use crate::front::{Asked, Front, Say, answer, error};
use crate::{TestClock, basic, blob, bytes, client, client_as, progress, run};
use xtask::registry::{Blob, Fixed, Registry, RegistryError};

async fn read(registry: &Registry, blob: &Blob) -> Result<Bytes, std::io::Error> {
    let mut reader = registry.read_blob(blob.digest).await.expect("an answer").expect("it is there");
    let mut read = Vec::new();
    reader.read_to_end(&mut read).await?;
    Ok(read.into())
}

fn with(mut answer: Response<Bytes>, name: header::HeaderName, value: &str) -> Response<Bytes> {
    answer.headers_mut().insert(name, HeaderValue::from_str(value).expect("a value"));
    answer
}

/// The part that was asked for, as servers that know ranges answer.
fn part(asked: &Asked, whole: &Bytes) -> Response<Bytes> {
    let from =
        asked.headers().get(header::RANGE).and_then(|range| range.to_str().ok()?.strip_prefix("bytes=")?.strip_suffix('-'));
    match from.map(|from| from.parse::<usize>().expect("a number")) {
        Some(from) => {
            let range = format!("bytes {from}-{}/{}", whole.len() - 1, whole.len());
            with(answer(206, "application/octet-stream", whole.slice(from..)), header::CONTENT_RANGE, &range)
        }
        None => answer(200, "application/octet-stream", whole.clone()),
    }
}

#[test]
fn a_download_that_breaks_is_resumed_where_it_was() {
    let blob = blob("a download");
    for ranges in [true, false] {
        let (whole, count) = (bytes(&blob), AtomicUsize::new(0));
        let front = Front::alone(move |asked| {
            if !asked.uri().path().contains("/blobs/") {
                return Say::Answer(answer(200, "application/json", "{}"));
            }
            let answer = if ranges { part(asked, &whole) } else { part(&Asked::default(), &whole) };
            match count.fetch_add(1, Ordering::Relaxed) {
                // Not even a byte, twice; then a little more every time.
                0 | 1 => Say::Drop,
                nth @ 2..5 => Say::Cut(answer, 30_000 * nth),
                _ => Say::Answer(answer),
            }
        });
        let read = run(read(&client(&front.address), &blob)).expect("it is read");
        assert_eq!(read, bytes(&blob), "ranges: {ranges}");
        let asked: Vec<_> = front.seen().iter().map(|seen| seen.header("range").unwrap_or("all").to_owned()).collect();
        // For what the registry can, for what was asked, and three times until the first bytes came.
        assert_eq!(asked[..4], ["all"; 4], "{asked:?}");
        assert!(asked.len() > 5 && asked[4..].iter().all(|range| range.starts_with("bytes=")), "{asked:?}");
    }
}

#[test]
fn a_download_that_always_breaks_ends_with_the_registrys_name() {
    let blob = blob("a bad line");
    let whole = bytes(&blob);
    let front = Front::alone(move |asked| match asked.uri().path().contains("/blobs/") {
        true => Say::Cut(part(asked, &whole), 10),
        false => Say::Answer(answer(200, "application/json", "{}")),
    });
    let clock = Arc::new(TestClock::default());
    let failed = run(read(&client_as(&front.address, Fixed(None), &clock), &blob)).expect_err("it breaks off");
    assert!(failed.to_string().contains(&front.address) && clock.pauses().len() == 6, "{failed} {:?}", clock.pauses());
    let missing = Front::alone(|_| Say::Answer(error(404, "BLOB_UNKNOWN", "")));
    assert!(run(client(&missing.address).read_blob(blob.digest)).expect("an answer").is_none());
}

/// Registries hand blobs out from their storage: the credential stays at home, and so does every secret of the link.
#[test]
fn a_credential_does_not_follow_to_another_host() {
    let blob = blob("stored elsewhere");
    let whole = bytes(&blob);
    let storage = Arc::new(Front::alone(move |asked| match asked.uri().path() {
        "/refused" => Say::Answer(error(403, "AccessDenied", "")),
        _ => Say::Answer(part(asked, &whole)),
    }));
    let there = storage.address.clone();
    let home = Front::alone(move |asked| match (asked.method().as_str(), asked.uri().path()) {
        (_, "/v2/") => Say::Answer(with(answer(401, "text/plain", ""), header::WWW_AUTHENTICATE, "Basic realm=\"x\"")),
        ("POST", _) => {
            Say::Answer(with(answer(202, "text/plain", ""), header::LOCATION, &format!("http://{there}/upload?signed=canary")))
        }
        ("GET", path) if path.ends_with("0000") => {
            Say::Answer(with(answer(307, "text/plain", ""), header::LOCATION, &format!("http://{there}/refused?signed=canary")))
        }
        ("GET" | "HEAD", _) => {
            Say::Answer(with(answer(307, "text/plain", ""), header::LOCATION, &format!("http://{there}/blob?signed=canary")))
        }
        _ => Say::Answer(error(404, "UNSUPPORTED", "")),
    });
    let registry = client_as(&home.address, Fixed(Some(basic("me", "secret"))), &Arc::default());
    run(async {
        assert_eq!(registry.blob_size(blob.digest).await.expect("an answer"), Some(blob.size));
        assert_eq!(read(&registry, &blob).await.expect("it is read"), bytes(&blob));
        registry.send(&blob, &progress()).await.expect("the upload goes there and is looked for by way of home");
        let nothing = format!("sha256:{}", "0".repeat(64)).parse().expect("a digest");
        let refused = registry.read_blob(nothing).await.err().expect("the storage refuses");
        assert!(
            matches!(refused, RegistryError::Denied { .. }) && !format!("{refused} {refused:?}").contains("canary"),
            "{refused:?}"
        );
    });
    assert!(home.seen().iter().skip(1).all(|seen| seen.header("authorization").is_some()));
    assert!(storage.seen().len() >= 4 && storage.seen().iter().all(|seen| seen.header("authorization").is_none()));
}

/// "A registry SHOULD say how long a blob is": one that does not has it all the same.
#[test]
fn a_blob_may_be_there_without_a_length() {
    for (told, holds) in [(None, true), (Some("5"), true), (Some("4"), false)] {
        let front = Front::alone(move |asked| match (asked.method().as_str(), told) {
            ("HEAD", None) => Say::Answer(with(answer(200, "text/plain", ""), header::TRANSFER_ENCODING, "chunked")),
            ("HEAD", Some(length)) => Say::Answer(with(answer(200, "text/plain", ""), header::CONTENT_LENGTH, length)),
            _ => Say::Answer(answer(200, "application/json", "{}")),
        });
        let (registry, digest) = (client(&front.address), blob("x").digest);
        assert_eq!(run(registry.holds_blob(digest, 5)).expect("an answer"), holds, "{told:?}");
        assert_eq!(run(registry.blob_size(digest)).is_ok(), told.is_some(), "{told:?}");
    }
}

#[test]
fn redirects_end() {
    let front = Front::alone(|asked| {
        let again = asked.uri().path().to_owned();
        Say::Answer(with(answer(302, "text/plain", ""), header::LOCATION, &again))
    });
    let failed = run(client(&front.address).digest("aws")).expect_err("it leads nowhere");
    assert!(matches!(failed, RegistryError::Protocol { .. }), "{failed}");
}

#[test]
fn tags_come_page_by_page() {
    let front = Front::alone(|asked| match (asked.uri().path(), asked.uri().query().unwrap_or_default()) {
        ("/v2/team/image/tags/list", "n=1000") => {
            let page = answer(200, "application/json", r#"{"name":"team/image","tags":["b","c"]}"#);
            Say::Answer(with(page, header::LINK, "</v2/team/image/tags/list?n=1000&last=c>; rel=\"next\""))
        }
        ("/v2/team/image/tags/list", "n=1000&last=c") => Say::Answer(answer(200, "application/json", r#"{"tags":["a"]}"#)),
        _ => Say::Answer(answer(200, "application/json", "{}")),
    });
    assert_eq!(run(client(&front.address).tags()).expect("tags"), ["a", "b", "c"]);
    for nothing in [r#"{"tags":null}"#, "{}"] {
        let front = Front::alone(move |_| Say::Answer(answer(200, "application/json", nothing)));
        assert_eq!(run(client(&front.address).tags()).expect("tags"), Vec::<String>::new());
    }
}
