//! Registries with habits of their own: what is published through their doubles is what the registry behind has.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::Method;

use crate::doubles::ecr::Ecr;
use crate::doubles::ghcr::Ghcr;
use crate::registry::LocalRegistry;
use crate::{MANIFEST, basic, blob, client, client_as, manifest, progress, run};
use xtask::oci::Digest;
use xtask::registry::{Asking, Blob, Fixed, Identity, Registry, RegistryError};

const TOKEN: &str = "ghp_canary";

/// Some blobs, and a manifest of two of them under `tag`.
async fn publish(registry: &Registry, blobs: &[Blob], tag: &str) -> Result<Bytes, RegistryError> {
    for blob in blobs {
        if !registry.has_blob(blob.digest).await? {
            registry.send(blob, &progress()).await?;
        }
    }
    let bytes = manifest(&blobs[0], &blobs[1]);
    registry.put_manifest(&bytes, MANIFEST).await?;
    let before = registry.digest(tag).await?;
    registry.put_tag(tag, &bytes, MANIFEST, before).await?;
    Ok(bytes)
}

async fn is_whole(address: &str, blobs: &[Blob], tag: &str, bytes: &Bytes) {
    let real = client(address);
    for blob in blobs {
        assert_eq!(real.blob_size(blob.digest).await.expect("an answer"), Some(blob.size));
    }
    assert_eq!(real.digest(tag).await.expect("an answer"), Some(Digest::of(bytes)));
}

#[test]
fn ghcr_may_deny_commits_lose_them_and_forget_tokens() {
    let real = LocalRegistry::start(None);
    let ghcr = Ghcr::before(&real.address, TOKEN);
    let blobs: Vec<_> = (0..10).map(|number| blob(&format!("ghcr {number}"))).collect();
    let bytes = run(async {
        let registry = client_as(&ghcr.front.address, Fixed(Some(basic("x-access-token", TOKEN))), &Arc::default());
        registry.probe_push().await.expect("it may push");
        publish(&registry, &blobs, "aws").await.expect("it is published")
    });
    run(is_whole(&real.address, &blobs, "aws", &bytes));
    assert_eq!(ghcr.habits(), ["commit denied", "commit lost", "page", "token ended"]);
    // What was committed is not sent again: only what was lost.
    let puts = ghcr.front.seen().into_iter().filter(|seen| seen.method == Method::PUT && seen.path.contains("/blobs/"));
    assert!(puts.count() < 2 * blobs.len(), "{:?}", ghcr.front.lines());

    let wrong = client_as(&ghcr.front.address, Fixed(Some(basic("x-access-token", "wrong"))), &Arc::default());
    let refused = run(wrong.probe_push()).expect_err("it may not");
    assert!(matches!(&refused, RegistryError::Denied { why, .. } if why.contains("permission_denied")), "{refused}");
}

/// A password of which the second one counts from some moment on.
struct Rotating(AtomicU64);

impl Identity for Rotating {
    fn credential(&self, fresh: bool) -> Asking<'_> {
        let number = self.0.fetch_add(u64::from(fresh), Ordering::Relaxed) + u64::from(fresh);
        Box::pin(async move { Ok(Some(basic("AWS", &format!("password-{number}")))) })
    }
}

#[test]
fn ecr_refuses_immutable_tags_limits_the_rate_and_lets_passwords_end() {
    let real = LocalRegistry::start(None);
    let ecr = Ecr::before(&real.address, "password-0", |tag| tag == "aws");
    let blobs: Vec<_> = (0..6).map(|number| blob(&format!("ecr {number}"))).collect();
    let registry = client_as(&ecr.front.address, Rotating(AtomicU64::new(0)), &Arc::default());

    ecr.set_exists(false);
    let missing = run(registry.send(&blobs[0], &progress())).expect_err("no such repository");
    assert!(matches!(&missing, RegistryError::NoRepository { .. }), "{missing}");
    assert!(!run(registry.probe_pull()).expect("an answer"));
    ecr.set_exists(true);

    let bytes = run(async {
        registry.probe_push().await.expect("it may push");
        registry.send(&blobs[0], &progress()).await.expect("sent");
        ecr.set_password("password-1");
        for tag in ["aws", "aws-1"] {
            publish(&registry, &blobs, tag).await.expect("it is published");
        }
        manifest(&blobs[0], &blobs[1])
    });
    run(is_whole(&real.address, &blobs, "aws-1", &bytes));

    // The same again: refused by the registry, and done all the same.
    run(registry.put_tag("aws-1", &bytes, MANIFEST, None)).expect("it is there");
    // Another one: an error that names both. A moving tag moves.
    let other = manifest(&blobs[2], &blobs[3]);
    let taken = run(async {
        registry.put_manifest(&other, MANIFEST).await.expect("there");
        registry.put_tag("aws", &other, MANIFEST, Some(Digest::of(&bytes))).await.expect("it moves");
        registry.put_tag("aws-1", &other, MANIFEST, Some(Digest::of(&bytes))).await.expect_err("it is taken")
    });
    let (found, wanted) = (Digest::of(&bytes), Digest::of(&other));
    assert!(matches!(taken, RegistryError::Immutable { found: f, wanted: w, .. } if f == found && w == wanted), "{taken}");
    run(is_whole(&real.address, &blobs, "aws-1", &bytes));
    assert_eq!(ecr.habits(), ["immutable", "rate"], "and nothing was sent in chunks");
}
