//! What refers to an image: by the registry's list, and by the tag that stands in for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use serde_json::{Value, json};
use xtask::oci::{Digest, media_type};
use xtask::registry::{Referrer, Registry, RegistryError, fallback_tag};

use crate::doubles::referrers::{Habits, Referrers};
use crate::front::{Front, Say};
use crate::registry::LocalRegistry;
use crate::{MANIFEST, blob, bytes, client, manifest, progress, run};

/// Writes an image; its digest.
async fn image(to: &Registry) -> Digest {
    let (config, layer) = (blob("config"), blob("layer"));
    for blob in [&config, &layer] {
        to.send(blob, &progress()).await.expect("taken");
    }
    let manifest = manifest(&config, &layer);
    to.put_manifest(&manifest, MANIFEST).await.expect("taken")
}

/// Something that refers to `subject`, with its blobs in the registry.
async fn artifact(to: &Registry, subject: Digest, kind: &str, text: &str) -> (Bytes, Referrer) {
    let (config, layer) = (blob("empty"), blob(text));
    for blob in [&config, &layer] {
        to.send(blob, &progress()).await.expect("taken");
    }
    let describe = |of: &xtask::registry::Blob| json!({"mediaType": "application/x", "digest": of.digest, "size": of.size});
    let bytes = Bytes::from(
        json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": kind,
            "config": describe(&config), "layers": [describe(&layer)],
            "subject": {"mediaType": MANIFEST, "digest": subject, "size": 7},
        })
        .to_string(),
    );
    let referrer = Referrer {
        media_type: MANIFEST.to_owned(),
        digest: Digest::of(&bytes),
        size: bytes.len() as u64,
        artifact_type: Some(kind.to_owned()),
        annotations: None,
    };
    (bytes, referrer)
}

async fn attach(to: &Registry, subject: Digest, kind: &str, text: &str) -> Result<Referrer, RegistryError> {
    let (bytes, referrer) = artifact(to, subject, kind, text).await;
    to.attach(&bytes, subject, &referrer).await.map(|()| referrer)
}

async fn listed(at: &Registry, subject: Digest, kind: Option<&str>) -> Vec<Digest> {
    at.referrers(subject, kind).await.expect("listed").into_iter().map(|entry| entry.digest).collect()
}

#[test]
fn a_registry_with_a_list_needs_no_tag() {
    let registry = LocalRegistry::start(None);
    for filters in [true, false] {
        let double = Referrers::before(&registry.address, Habits { filters, ..Habits::default() });
        run(async {
            let to = client(&double.front.address);
            let subject = image(&to).await;
            assert_eq!(listed(&to, subject, None).await, []);
            let mut sboms = Vec::new();
            for number in 0..5 {
                let text = format!("{number} {filters}");
                sboms.push(attach(&to, subject, "application/vnd.cyclonedx+json", &text).await.expect("attached").digest);
                attach(&to, subject, "application/other", &text).await.expect("attached");
            }
            assert_eq!(listed(&to, subject, Some("application/vnd.cyclonedx+json")).await, sboms, "of three pages or five");
            assert_eq!(listed(&to, subject, None).await.len(), 10);
            assert_eq!(registry.all_tags(), Vec::<String>::new());
            // The same once more changes nothing.
            attach(&to, subject, "application/other", &format!("0 {filters}")).await.expect("attached");
            assert_eq!(listed(&to, subject, None).await.len(), 10);
        });
    }
}

#[test]
fn without_a_list_the_tag_is_completed() {
    let registry = LocalRegistry::start(None);
    run(async {
        let to = client(&registry.address);
        let subject = image(&to).await;
        let tag = fallback_tag(subject);
        assert_eq!(listed(&to, subject, None).await, []);
        let (bytes, theirs) = artifact(&to, subject, "application/theirs", "theirs").await;
        to.put_manifest(&bytes, MANIFEST).await.expect("taken");
        // As somebody else writes it, with more than we know of.
        let index = json!({
            "schemaVersion": 2, "mediaType": media_type::INDEX, "annotations": {"by": "them"},
            "manifests": [{"mediaType": MANIFEST, "digest": theirs.digest, "size": theirs.size, "artifactType": "application/theirs", "urls": ["x"]}],
        });
        to.put_tag(&tag, &Bytes::from(index.to_string()), media_type::INDEX, None).await.expect("set");
        let ours = attach(&to, subject, "application/ours", "ours").await.expect("attached").digest;
        let now: Value = serde_json::from_slice(&to.manifest(&tag).await.expect("read").expect("there").bytes).expect("JSON");
        assert_eq!((&now["annotations"]["by"], &now["manifests"][0]["urls"][0]), (&"them".into(), &"x".into()), "{now}");
        assert_eq!(listed(&to, subject, None).await, [theirs.digest, ours]);
        assert_eq!(listed(&to, subject, Some("application/ours")).await, [ours]);
        let before = to.digest(&tag).await.expect("asked");
        attach(&to, subject, "application/ours", "ours").await.expect("attached");
        assert_eq!(to.digest(&tag).await.expect("asked"), before, "nothing is written twice");
        assert_eq!(registry.all_tags(), [tag]);
    });
}

/// No registry compares and writes in one step: who finds its entry gone writes again.
#[test]
fn an_index_that_somebody_else_writes_at_the_same_time() {
    let registry = LocalRegistry::start(None);
    let (subject, theirs) = run(async {
        let to = client(&registry.address);
        let subject = image(&to).await;
        let (bytes, theirs) = artifact(&to, subject, "application/theirs", "theirs").await;
        to.put_manifest(&bytes, MANIFEST).await.expect("taken");
        (subject, theirs)
    });
    let (tag, writes) = (fallback_tag(subject), Arc::new(AtomicU32::new(0)));
    let entry =
        json!({"mediaType": MANIFEST, "digest": theirs.digest, "size": theirs.size, "artifactType": "application/theirs"});
    let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": [entry]}).to_string();
    let (path, counted) = (format!("/v2/team/image/manifests/{tag}"), Arc::clone(&writes));
    let front = Front::before(&registry.address, move |asked, behind| {
        let answered = behind.answer(asked);
        // Ours is written; then theirs, by one who has read before it was.
        if asked.method() == http::Method::PUT && asked.uri().path() == path && counted.fetch_add(1, Ordering::Relaxed) == 0 {
            let theirs = http::Request::put(&path).header("content-type", media_type::INDEX);
            behind.answer(&theirs.body(Bytes::from(index.clone())).expect("a request"));
        }
        Say::Answer(answered)
    });
    run(async {
        let to = client(&front.address);
        let ours = attach(&to, subject, "application/ours", "ours").await.expect("attached");
        assert_eq!(listed(&to, subject, None).await, [theirs.digest, ours.digest]);
        assert_eq!(writes.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn entries_that_lead_nowhere_do_not_stop_others() {
    let registry = LocalRegistry::start(None);
    run(async {
        let to = client(&registry.address);
        let subject = image(&to).await;
        let gone = attach(&to, subject, "application/x", "gone").await.expect("attached");
        let stays = attach(&to, subject, "application/x", "stays").await.expect("attached");
        // A registry's garbage collection, or somebody's clean-up.
        let delete = format!("http://{}/v2/team/image/manifests/{}", registry.address, gone.digest);
        crate::registry::run("curl", &["-fsS", "-X", "DELETE", &delete]);
        let fresh = client(&registry.address);
        let ours = attach(&fresh, subject, "application/x", "ours").await.expect("attached");
        assert_eq!(listed(&fresh, subject, None).await, [stays.digest, ours.digest]);
    });
}

#[test]
fn what_keeps_no_referrers_at_all_is_told() {
    let registry = LocalRegistry::start(None);
    let subject = run(async { image(&client(&registry.address)).await });
    // GitLab's takes the tag for the digest.
    let (tag, digest) = (fallback_tag(subject), subject.to_string());
    let gitlab = Front::before(&registry.address, move |asked, behind| {
        let (method, path) = (asked.method().clone(), asked.uri().to_string().replace(&tag, &digest));
        let mut other = http::Request::builder().method(&method).uri(path);
        if method == http::Method::PUT && asked.uri().path().ends_with(&tag) {
            other = http::Request::builder().method(method).uri("/v2/team/image/manifests/taken");
        }
        for (name, value) in asked.headers() {
            other = other.header(name, value);
        }
        Say::Answer(behind.answer(&other.body(asked.body().clone()).expect("a request")))
    });
    run(async {
        let to = client(&gitlab.address);
        assert_eq!(listed(&to, subject, None).await, [], "the image is no list of itself");
        let error = attach(&to, subject, "application/x", "gitlab").await.expect_err("nobody would find it");
        assert!(error.to_string().contains("for the image itself"), "{error}");
    });
    // A page for people, whatever is asked, is no list.
    let pages = Front::before(&registry.address, |asked, behind| match asked.uri().path().contains("/referrers/") {
        true => Say::Answer(crate::front::page(200)),
        false => Say::Answer(behind.answer(asked)),
    });
    run(async {
        let to = client(&pages.address);
        let referrer = attach(&to, subject, "application/x", "page").await.expect("attached by the tag");
        assert!(to.shows(subject, &referrer).await.expect("asked"));
    });
    // One that answers with empty lists: the tag is written, and nobody looks at it.
    let empty = Referrers::before(&registry.address, Habits { lists: false, ..Habits::default() });
    run(async {
        let to = client(&empty.front.address);
        let referrer = attach(&to, subject, "application/x", "empty").await.expect("as the specification says");
        assert!(!to.shows(subject, &referrer).await.expect("asked"));
        assert_eq!(bytes(&blob("x")).len(), 20_000);
    });
}

/// As in a repository of ECR's kind, but without a list: what a tag is once it stays.
#[test]
fn an_immutable_tag_in_place_of_the_list_is_told_with_what_to_do() {
    let registry = LocalRegistry::start(None);
    let folder = Arc::clone(&registry);
    let fixed = Front::before(&registry.address, move |asked, behind| {
        let is_list = asked.uri().path().contains("/manifests/sha256-");
        match *asked.method() == http::Method::PUT && is_list && !folder.all_tags().is_empty() {
            true => Say::Answer(crate::front::error(400, "TAG_INVALID", "The image tag already exists and is immutable")),
            false => Say::Answer(behind.answer(asked)),
        }
    });
    run(async {
        let to = client(&fixed.address);
        let subject = image(&to).await;
        attach(&to, subject, "application/x", "one").await.expect("the first one makes the tag");
        let error = attach(&to, subject, "application/x", "two").await.expect_err("it cannot be completed");
        assert!(error.to_string().contains("the list of what refers to the image, cannot be completed"), "{error}");
        assert!(error.hint().is_some_and(|hint| hint.contains("`sha256-`") && hint.contains("--no-sbom")));
    });
}

#[test]
fn a_list_without_end_is_not_read() {
    let registry = LocalRegistry::start(None);
    let entry =
        |number: usize| json!({"mediaType": MANIFEST, "digest": Digest::of(number.to_string()), "size": 7, "artifactType": "x"});
    for (number, whole) in [(1000, true), (1001, false)] {
        let index =
            json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": (0..number).map(entry).collect::<Vec<_>>()});
        let long = Front::before(&registry.address, move |asked, behind| match asked.uri().path().contains("/referrers/") {
            true => Say::Answer(crate::front::answer(200, media_type::INDEX, index.to_string())),
            false => Say::Answer(behind.answer(asked)),
        });
        run(async {
            let found = client(&long.address).referrers(Digest::of("an image"), Some("x")).await;
            match found {
                Ok(found) => assert!(whole && found.len() == number),
                Err(error) => assert!(!whole && error.to_string().contains("more than 1000 manifests"), "{error}"),
            }
        });
    }
}
