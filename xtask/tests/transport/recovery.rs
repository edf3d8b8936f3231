//! Everything that can be recovered is recovered: one fault of every kind at every request of an image's way into a
//! real registry.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{HeaderValue, Method, Response, header};

use crate::front::{Asked, Behind, Front, Say, answer, error, page};
use crate::registry::LocalRegistry;
use crate::{MANIFEST, blob, bytes, client, manifest, progress, run};
use xtask::registry::RegistryError;

type Fault = fn(&Asked, &Behind) -> Say;

fn status(status: u16) -> Say {
    Say::Answer(answer(status, "text/plain", "no"))
}

/// What may happen to any request.
const FAULTS: [(&str, Fault); 16] = [
    ("dropped before", |_, _| Say::Drop),
    ("answer lost", |asked, behind| {
        behind.answer(asked);
        Say::Drop
    }),
    ("answer cut", |asked, behind| cut(behind.answer(asked))),
    ("lost and cut", |asked, _| match *asked.method() == Method::HEAD {
        true => Say::Drop,
        // What a blob really is tells its digest alone, at the end: that is the caller's.
        false if asked.uri().path().contains("/blobs/sha256:") => Say::Drop,
        false => Say::Cut(answer(200, "application/json", "{\"schemaVersion\": 2}"), 3),
    }),
    ("401 once", |_, _| Say::Answer(error(401, "UNAUTHORIZED", "authentication required"))),
    ("408", |_, _| status(408)),
    ("425", |_, _| status(425)),
    ("429", |_, _| Say::Answer(error(429, "TOOMANYREQUESTS", "slow down"))),
    ("429 for a while", |_, _| later(answer(429, "text/plain", ""), "30")),
    ("500", |_, _| Say::Answer(error(500, "UNKNOWN", "oops"))),
    ("502 as a page", |_, _| Say::Answer(page(502))),
    ("503 until a date", |_, _| later(page(503), "Thu, 01 Jan 1970 00:01:00 GMT")),
    ("504 after success", |asked, behind| {
        behind.answer(asked);
        Say::Answer(page(504))
    }),
    ("200 as a page", |_, _| Say::Answer(page(200))),
    ("carried out, then a page with 200", |asked, behind| {
        behind.answer(asked);
        Say::Answer(page(200))
    }),
    ("another manifest", |asked, behind| match asked.uri().path().contains("/manifests/sha256:") {
        true if asked.method() == Method::GET => Say::Answer(answer(200, MANIFEST, "{\"schemaVersion\": 2}")),
        _ => Say::Answer(behind.answer(asked)),
    }),
];

/// What may happen to a `PUT` alone.
const COMMIT_FAULTS: [(&str, Fault); 3] = [
    ("404 after the commit", |asked, behind| {
        behind.answer(asked);
        Say::Answer(error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"))
    }),
    ("404 and lost", |_, _| Say::Answer(error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry"))),
    ("400 after the commit", |asked, behind| {
        behind.answer(asked);
        Say::Answer(error(400, "TAG_INVALID", "The image tag already exists and the repository is immutable"))
    }),
];

fn cut(answer: Response<Bytes>) -> Say {
    match answer.body().len() / 2 {
        0 => Say::Drop,
        half => Say::Cut(answer, half),
    }
}

fn later(mut answer: Response<Bytes>, when: &'static str) -> Say {
    answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static(when));
    Say::Answer(answer)
}

/// All that a publisher asks for, for one image under `tag`; what is sent is a little different for every tag.
async fn publish(address: &str, tag: &str) -> Result<(), String> {
    let words = |error: RegistryError| error.to_string();
    let registry = client(address);
    let (config, layer) = (blob(&format!("config {tag}")), blob(&format!("layer {tag}")));
    for blob in [&config, &layer] {
        if !registry.has_blob(blob.digest).await.map_err(words)? {
            registry.send(blob, &progress()).await.map_err(words)?;
        }
        assert_eq!(registry.blob_size(blob.digest).await.map_err(words)?, Some(blob.size));
    }
    let bytes = manifest(&config, &layer);
    let digest = registry.put_manifest(&bytes, MANIFEST).await.map_err(words)?;
    let before = registry.digest(tag).await.map_err(words)?;
    assert_eq!(before, None);
    registry.put_tag(tag, &bytes, MANIFEST, before).await.map_err(words)?;
    assert_eq!(registry.digest(tag).await.map_err(words)?, Some(digest));
    let found = registry.manifest(tag).await.map_err(words)?.expect("it is there");
    assert_eq!((found.bytes, found.digest, found.media_type.as_str()), (bytes, digest, MANIFEST));
    assert!(registry.tags().await.map_err(words)?.contains(&tag.to_owned()));
    let mut read = Vec::new();
    let mut reader = registry.read_blob(layer.digest).await.map_err(words)?.expect("it is there");
    tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut read).await.map_err(|error| error.to_string())?;
    assert_eq!(read, crate::bytes(&layer));
    Ok(())
}

#[test]
fn one_fault_of_any_kind_at_any_request_is_recovered() {
    let real = LocalRegistry::start(None);
    // How many requests there are when nothing goes wrong.
    let quiet = Front::before(&real.address, |asked, behind| Say::Answer(behind.answer(asked)));
    run(publish(&quiet.address, "quiet")).expect("it is published");
    let asked = quiet.seen();
    let mut unrecovered = Vec::new();
    for (number, (name, fault)) in FAULTS.iter().chain(&COMMIT_FAULTS).enumerate() {
        for (index, request) in asked.iter().enumerate() {
            if number >= FAULTS.len() && request.method != Method::PUT {
                continue;
            }
            let (count, fault) = (Arc::new(AtomicUsize::new(0)), *fault);
            let front = Front::before(&real.address, move |asked, behind| match count.fetch_add(1, Ordering::Relaxed) == index {
                true => fault(asked, behind),
                false => Say::Answer(behind.answer(asked)),
            });
            let tag = format!("t{number}-{index}");
            if let Err(error) = run(publish(&front.address, &tag)) {
                unrecovered.push(format!("{name} at {} {}: {error}", request.method, request.path));
            }
        }
    }
    assert!(unrecovered.is_empty(), "{} of {}: {unrecovered:#?}", unrecovered.len(), asked.len() * FAULTS.len());
}

#[test]
fn what_was_committed_is_not_sent_again() {
    let real = LocalRegistry::start(None);
    let count = AtomicUsize::new(0);
    let front = Front::before(&real.address, move |asked, behind| {
        let answer = behind.answer(asked);
        match asked.method() == Method::PUT && count.fetch_add(1, Ordering::Relaxed) == 0 {
            true => Say::Answer(error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")),
            false => Say::Answer(answer),
        }
    });
    let blob = blob("once");
    run(client(&front.address).send(&blob, &progress())).expect("it is there");
    let puts = front.seen().into_iter().filter(|seen| seen.method == Method::PUT);
    assert_eq!(puts.map(|seen| seen.body).collect::<Vec<_>>(), [bytes(&blob)]);
}

#[test]
fn a_blob_is_sent_whole_with_its_length_and_every_attempt_has_a_session_of_its_own() {
    let real = LocalRegistry::start(None);
    let count = AtomicUsize::new(0);
    let front = Front::before(&real.address, move |asked, behind| {
        match asked.method() == Method::PUT && count.fetch_add(1, Ordering::Relaxed) < 2 {
            true => Say::Drop,
            false => Say::Answer(behind.answer(asked)),
        }
    });
    let (folder, blob) = (tempfile::tempdir().expect("a folder"), blob("sessions"));
    let path = folder.path().join("blob");
    std::fs::write(&path, bytes(&blob)).expect("a file");
    let from_disk = xtask::registry::Blob { source: xtask::registry::BlobSource::File(path.clone()), ..blob.clone() };
    run(client(&front.address).send(&from_disk, &progress())).expect("it is sent");
    let seen = front.seen();
    let puts: Vec<_> = seen.iter().filter(|seen| seen.method == Method::PUT).collect();
    assert_eq!(puts.len(), 3);
    for put in &puts {
        assert_eq!(put.header("content-length"), Some(blob.size.to_string().as_str()));
        assert_eq!(put.header("transfer-encoding"), None);
        assert_eq!(put.body, bytes(&blob));
    }
    let mut sessions: Vec<_> = puts.iter().map(|put| &put.path).collect();
    sessions.dedup();
    assert_eq!(sessions.len(), 3, "never the same session again");
    assert!(!seen.iter().any(|seen| seen.method == Method::PATCH), "no upload in pieces");

    // What cannot be read here is no fault of the registry, and is not tried again.
    front.forget();
    let short = xtask::registry::Blob { size: blob.size + 1, digest: xtask::oci::Digest::of(b"short"), ..from_disk.clone() };
    let failed = run(client(&front.address).send(&short, &progress())).expect_err("it is too short");
    assert!(matches!(&failed, RegistryError::Read { source, .. } if source.to_string().contains("instead of")), "{failed:?}");
    std::fs::remove_file(&path).expect("removed");
    let gone = run(client(&front.address).send(&from_disk, &progress()));
    assert!(matches!(gone, Err(RegistryError::Read { .. })), "{gone:?}");
}

/// A registry shows what was written only after a while.
#[test]
fn what_was_just_written_may_show_late() {
    let real = LocalRegistry::start(None);
    let count = AtomicUsize::new(0);
    let front = Front::before(&real.address, move |asked, behind| {
        let reads = asked.uri().path().contains("/manifests/") && asked.method() != Method::PUT;
        match reads && count.fetch_add(1, Ordering::Relaxed) % 3 != 2 {
            true => Say::Answer(error(404, "MANIFEST_UNKNOWN", "manifest unknown")),
            false => Say::Answer(behind.answer(asked)),
        }
    });
    run(async {
        let registry = client(&front.address);
        let (config, layer) = (blob("late config"), blob("late layer"));
        for blob in [&config, &layer] {
            registry.send(blob, &progress()).await.expect("sent");
        }
        let bytes = manifest(&config, &layer);
        let digest = registry.put_manifest(&bytes, MANIFEST).await.expect("it is read back");
        registry.put_tag("late", &bytes, MANIFEST, None).await.expect("it is set");
        assert_eq!(registry.digest("late").await.expect("an answer"), Some(digest));
    });
}

#[test]
fn a_tag_that_somebody_else_set_meanwhile_stays() {
    let real = LocalRegistry::start(None);
    let registry = client(&real.address);
    let (config, ours, theirs) = (blob("config"), blob("ours"), blob("theirs"));
    let (ours_manifest, theirs_manifest) = (manifest(&config, &ours), manifest(&config, &theirs));
    run(async {
        for blob in [&config, &ours, &theirs] {
            registry.send(blob, &progress()).await.expect("sent");
        }
        for bytes in [&ours_manifest, &theirs_manifest] {
            registry.put_manifest(bytes, MANIFEST).await.expect("there");
        }
    });
    // Our write fails, and before it is tried again somebody else's succeeds.
    let (other, there) = (client(&real.address), theirs_manifest.clone());
    let count = AtomicUsize::new(0);
    let front = Front::before(&real.address, move |asked, behind| {
        if asked.method() == Method::PUT && count.fetch_add(1, Ordering::Relaxed) == 0 {
            run(other.put_tag("moving", &there, MANIFEST, None)).expect("theirs is set");
            return Say::Drop;
        }
        Say::Answer(behind.answer(asked))
    });
    let error = run(client(&front.address).put_tag("moving", &ours_manifest, MANIFEST, None)).expect_err("it was overtaken");
    let theirs = xtask::oci::Digest::of(&theirs_manifest);
    assert!(matches!(error, RegistryError::Overtaken { found, .. } if found == theirs), "{error}");
    assert_eq!(run(client(&real.address).digest("moving")).expect("an answer"), Some(theirs));
}
