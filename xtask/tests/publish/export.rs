//! From the engine's export to blobs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use xtask::event::Events;
use xtask::oci::Digest;
use xtask::store::{Blobs, Compression, Exported, obtain, split};

use crate::runtime;
use crate::support::{LocalImage, Trigger, run, save};

fn unheard() -> xtask::store::Finished {
    tokio::sync::mpsc::unbounded_channel().0
}

async fn images(images: &[&LocalImage], blobs: &Arc<Blobs>, events: &Events) -> Vec<Exported> {
    let wanted: Vec<_> = images.iter().filter_map(|image| Some(image.built()?.want)).collect();
    let export = async |names: &[String]| save(names).await;
    obtain(&wanted, Compression::default(), blobs, events, unheard(), export).await.expect("the images are exported")
}

#[test]
fn the_same_export_gives_the_same_blobs_in_every_store() {
    let image = LocalImage::build("one");
    let export = || {
        let cache = tempfile::tempdir().expect("a folder");
        let blobs = Arc::new(Blobs::open(cache.path()).expect("a store"));
        assert_eq!(fs::metadata(cache.path()).expect("the folder").permissions().mode() & 0o777, 0o700);
        let exported = runtime(images(&[&image], &blobs, &Trigger::never().events())).remove(0);
        assert_eq!(fs::read_dir(cache.path().join("spool")).expect("the spool").count(), 0, "nothing is left behind");
        // Whatever the engine calls it: its configuration on a graph driver, its manifest in containerd's store.
        assert_eq!(blobs.known(&image.name, image.id(), &Compression::default()).as_ref(), Some(&exported));
        (exported.config_digest, exported.layers.into_iter().map(|layer| (layer.diff_id, layer.digest)).collect::<Vec<_>>())
    };
    let (config, layers) = export();
    assert_eq!((config, layers.clone()), export());
    let inspected = run("docker", &["image", "inspect", "--format", "{{json .RootFS.Layers}}", &image.name]);
    let diff_ids: Vec<Digest> = serde_json::from_str(&inspected).expect("diff IDs");
    assert_eq!(layers.iter().map(|(diff_id, _)| *diff_id).collect::<Vec<_>>(), diff_ids);
}

/// What engines from 25 on write: an OCI layout with `manifest.json` beside it, layers compressed already.
#[test]
fn an_oci_layout_is_taken_as_it_is() {
    let image = LocalImage::build("one");
    let folder = tempfile::tempdir().expect("a folder");
    let (archive, layout) = (folder.path().join("saved.tar"), folder.path().join("layout"));
    run("docker", &["save", "-o", &archive.display().to_string(), &image.name]);
    run("skopeo", &["copy", "-q", &format!("docker-archive:{}", archive.display()), &format!("oci:{}:x", layout.display())]);
    let read =
        |path: &std::path::Path| -> serde_json::Value { serde_json::from_slice(&fs::read(path).expect("a file")).expect("JSON") };
    let blob = |digest: &serde_json::Value| format!("blobs/{}", digest.as_str().expect("a digest").replace(':', "/"));
    let manifest_digest = read(&layout.join("index.json"))["manifests"][0]["digest"].clone();
    let manifest = read(&layout.join(blob(&manifest_digest)));
    let layers: Vec<_> = manifest["layers"].as_array().expect("layers").iter().map(|layer| blob(&layer["digest"])).collect();
    let saved = serde_json::json!([{"Config": blob(&manifest["config"]["digest"]), "RepoTags": [image.name], "Layers": layers}]);
    fs::write(layout.join("manifest.json"), saved.to_string()).expect("manifest.json");
    let tar = folder.path().join("layout.tar");
    run("tar", &["-C", &layout.display().to_string(), "-cf", &tar.display().to_string(), "."]);

    let cache = tempfile::tempdir().expect("a folder");
    let blobs = Arc::new(Blobs::open(cache.path()).expect("a store"));
    let exported = runtime(async {
        let file = tokio::fs::File::open(&tar).await.expect("the archive");
        let (names, compression) = (std::slice::from_ref(&image.name), Compression::default());
        let images = split(file, names, compression, &blobs, &Trigger::never().events(), &unheard()).await;
        images.expect("it is split").remove(0)
    });
    let taken: Vec<_> = exported.layers.iter().map(|layer| format!("blobs/sha256/{}", layer.digest.hex())).collect();
    assert_eq!(taken, layers, "compressed layers stay the bytes that they were");
    // The engine calls the image by its manifest there; either way nothing is exported a second time.
    for id in [manifest_digest.as_str().expect("a digest").parse().expect("a digest"), exported.config_digest] {
        assert_eq!(blobs.known(&image.name, id, &Compression::default()).as_ref(), Some(&exported), "{id}");
    }
}

#[test]
fn an_export_that_breaks_off_says_so_and_leaves_nothing() {
    let image = LocalImage::build("one");
    let folder = tempfile::tempdir().expect("a folder");
    let archive = folder.path().join("saved.tar");
    run("docker", &["save", "-o", &archive.display().to_string(), &image.name]);
    let whole = fs::read(&archive).expect("the archive");
    let blobs = Arc::new(Blobs::open(&folder.path().join("cache")).expect("a store"));
    for (bytes, told) in [
        (&whole[..whole.len() / 2 + 700], "the engine's export broke off"),
        (&whole[..0], "the engine's export is not what was expected: it has no `manifest.json`"),
        (&b"{\"message\":\"no such image\"}"[..], "the engine's export broke off"),
    ] {
        let (names, events) = (std::slice::from_ref(&image.name), Trigger::never().events());
        let error = runtime(split(bytes, names, Compression::default(), &blobs, &events, &unheard()));
        assert_eq!(error.expect_err("it is not whole").to_string(), told);
    }
    let (names, events) = (["gantry-publish-test:other".to_owned()], Trigger::never().events());
    let error = runtime(split(&whole[..], &names, Compression::default(), &blobs, &events, &unheard()));
    assert_eq!(error.expect_err("no such image").to_string(), "the engine's export lacks the image `gantry-publish-test:other`");
}
