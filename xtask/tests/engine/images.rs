//! Images: what the engine has, and how they get in and out.

use std::collections::BTreeMap;
use std::io::{Cursor, Read};

use tokio::io::AsyncReadExt;
use xtask::engine::EngineError;
use xtask::oci::Digest;

use crate::bench::{Bench, CREATED, archive, tar, with_engine};

#[test]
fn the_engine_tells_what_it_is() {
    with_engine(async |bench: &Bench| {
        let info = bench.engine.info();
        let (major, minor) = info.api_version.split_once('.').expect("an API version");
        assert!((major.parse::<u32>().unwrap(), minor.parse::<u32>().unwrap()) >= (1, 41), "{info:?}");
        assert_eq!(info.os, "linux");
        assert!(!info.version.is_empty() && !info.arch.is_empty());
    });
}

#[test]
fn an_image_is_loaded_listed_inspected_tagged_and_untagged() {
    with_engine(async |bench: &Bench| {
        let tag = bench.busybox("images").await;
        let image = bench.engine.inspect(&tag).await.unwrap().expect("it was loaded");
        assert_eq!((image.created.as_str(), image.diff_ids.len()), (CREATED, 1));
        assert_eq!(image.env, ["PATH=/bin"]);
        assert_eq!(image.image.labels.get("test.of").map(String::as_str), Some("gantry"));

        let other = bench.tag("other");
        bench.engine.tag(&tag, &other).await.expect("it is tagged");
        let listed = bench.engine.images().await.unwrap();
        let listed = listed.into_iter().find(|image| image.tags.contains(&tag)).expect("it is listed");
        assert!(listed.tags.contains(&other), "{listed:?}");
        assert_eq!(listed.labels, image.image.labels);

        bench.engine.untag(&tag).await.expect("the tag is removed");
        assert_eq!(bench.engine.inspect(&tag).await.unwrap(), None);
        assert!(bench.engine.inspect(&other).await.unwrap().is_some());
        bench.engine.untag(&tag).await.expect("a tag that is not there is fine");
        let error = bench.engine.tag(&tag, &other).await.unwrap_err();
        assert!(matches!(&error, EngineError::MissingImage { reference, .. } if *reference == tag), "{error:?}");
    });
}

/// The diff IDs, in order, of each image of a `docker save` archive, read from the layers themselves.
fn layers(archive: &[u8]) -> BTreeMap<String, Vec<Digest>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut links = BTreeMap::new();
    let mut reader = tar::Archive::new(archive);
    for entry in reader.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        if let Some(target) = entry.link_name().unwrap() {
            // 20.10 writes a layer once and links to it: `../<id>/layer.tar`.
            links.insert(path, target.to_str().unwrap().trim_start_matches("../").to_owned());
            continue;
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        // containerd's store keeps layers as it got them; what BuildKit makes is compressed.
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let compressed = std::mem::take(&mut bytes);
            flate2::read::MultiGzDecoder::new(compressed.as_slice()).read_to_end(&mut bytes).unwrap();
        }
        files.insert(path, bytes);
    }
    let manifest: serde_json::Value = serde_json::from_slice(&files["manifest.json"]).unwrap();
    let bytes = |path: &String| &files[links.get(path).unwrap_or(path)];
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let image = |image: &serde_json::Value| {
        let layers = image["Layers"].as_array().unwrap().iter();
        (text(&image["RepoTags"][0]), layers.map(|layer| Digest::of(bytes(&text(layer)))).collect())
    };
    manifest.as_array().unwrap().iter().map(image).collect()
}

#[test]
fn an_export_holds_the_layers_of_all_its_images() {
    with_engine(async |bench: &Bench| {
        let base = bench.busybox("export").await;
        let child = bench.tag("child");
        let dockerfile = format!("FROM {base}\nRUN echo {} >/x\n", bench.unique("x"));
        bench.build(&dockerfile, |request| request.tags = vec![child.clone()]).await.1.expect("it is built");

        let mut bytes = Vec::new();
        let mut export = bench.engine.export(&[base.clone(), child.clone()]).await.expect("it is exported");
        export.read_to_end(&mut bytes).await.expect("it is read");
        let exported = layers(&bytes);
        for tag in [base, child] {
            let image = bench.engine.inspect(&tag).await.unwrap().unwrap();
            assert_eq!(exported.get(&tag), Some(&image.diff_ids));
        }
    });
}

#[test]
fn an_image_that_is_not_there_is_not_exported() {
    with_engine(async |bench: &Bench| {
        let gone = bench.tag("gone");
        let error = bench.engine.export(std::slice::from_ref(&gone)).await.err().expect("there is nothing to export");
        assert!(matches!(&error, EngineError::MissingImage { reference, .. } if *reference == gone), "{error:?}");
    });
}

#[test]
fn what_is_no_archive_is_not_loaded() {
    with_engine(async |bench: &Bench| {
        for bytes in [b"no archive at all".repeat(100), tar(&[], &[], 0)] {
            let error = bench.engine.load(Cursor::new(bytes)).await.unwrap_err();
            assert!(matches!(error, EngineError::Refused { .. }), "{error:?}");
        }
        let whole = archive(&bench.tag("torn"), &vec![7; 4 << 20]);
        let broken = AsyncReadExt::take(Cursor::new(whole), 1 << 20).chain(Torn);
        let error = bench.engine.load(broken).await.unwrap_err();
        assert!(matches!(&error, EngineError::Protocol { why, .. } if why.contains("the disk is gone")), "{error:?}");
    });
}

/// A source that breaks.
struct Torn;

impl tokio::io::AsyncRead for Torn {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        _: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::task::Poll::Ready(Err(std::io::Error::other("the disk is gone")))
    }
}

#[test]
fn layers_that_this_user_may_read_are_read_from_the_engines_own_files() {
    with_engine(async |bench: &Bench| {
        let tag = bench.busybox("held").await;
        let image = bench.engine.inspect(&tag).await.unwrap().expect("it was loaded");
        let id = image.image.id.parse().expect("an id");
        let unknown = Digest::of("no image");
        assert!(bench.engine.held(&[id, unknown]).is_none(), "all or none");
        let Some(held) = bench.engine.held(&[id]) else {
            // Another store, or an engine elsewhere, or somebody who may not read.
            let driver = bench.engine.info().overlay2.as_deref();
            let readable = driver.is_some_and(|root| std::fs::read_dir(root.join("image/overlay2/imagedb")).is_ok());
            assert!(!readable, "{driver:?}");
            return;
        };
        assert_eq!(Digest::of(&held[0].config), id);
        let read = |layer: &xtask::engine::HeldLayer| {
            let mut tar = Vec::new();
            layer.open().expect("it opens").read_to_end(&mut tar).expect("it is read");
            Digest::of(tar)
        };
        assert_eq!(held[0].layers.iter().map(read).collect::<Vec<_>>(), image.diff_ids);
    });
}
