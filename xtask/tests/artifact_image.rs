//! Artifact images, loaded by a real engine: `docker` must be there.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use support::archives;
use tokio::io::AsyncWriteExt as _;
use xtask::artifact::image::{Archive, ImageSpec, LayerSource, archive};
use xtask::family::{Place, Unpack};
use xtask::oci::{Digest, Platform};

fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Loads the image by `docker load` from its standard input, as it is streamed.
async fn load(archive: Archive) {
    let mut reader = archive.into_reader();
    let mut child =
        tokio::process::Command::new("docker").arg("load").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    tokio::io::copy(&mut reader, &mut stdin).await.unwrap();
    stdin.shutdown().await.unwrap();
    drop(stdin);
    assert!(child.wait().await.unwrap().success());
}

/// Removes an image when the test ends, however it ends.
struct Loaded(String);

impl Drop for Loaded {
    fn drop(&mut self) {
        let _ = Command::new("docker").args(["image", "rm", "--force", &self.0]).output();
    }
}

fn spec(tag: &str) -> ImageSpec {
    ImageSpec {
        tag: tag.to_owned(),
        platform: Platform::LinuxAmd64,
        created: "2026-11-20T00:00:00Z".to_owned(),
        epoch: 1_795_132_800,
        labels: BTreeMap::from([("org.example.kind".to_owned(), "artifact".to_owned())]),
        env: Vec::new(),
        cmd: vec!["/bin/none".to_owned()],
    }
}

async fn made(source: &LayerSource, tag: &str, spool: &Path) -> Archive {
    archive(source.clone(), spec(tag), spool).await.unwrap()
}

#[tokio::test]
async fn an_engine_loads_it_and_sees_the_same_layer() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("server.tar.gz");
    fs::write(&file, archives::vscode_server("c0ffee", "1.0.0", "vscode-server-linux-x64-web")).unwrap();
    let place = Place { path: "/opt/vscode-server".to_owned(), unpack: Unpack::TarGz, strip: 1, owner: (1000, 1000) };
    let source = LayerSource::Artifact { file, place };
    let tag = format!("gantry.invalid/test/artifact:{}", std::process::id());
    let _image = Loaded(tag.clone());

    let image = made(&source, &tag, folder.path()).await;
    let (diff_id, config_digest) = (image.diff_id, image.config_digest);
    load(image).await;
    assert_eq!(docker(&["image", "inspect", "--format", "{{json .RootFS.Layers}}", &tag]), format!("[\"{diff_id}\"]"));
    assert_eq!(docker(&["image", "inspect", "--format", "{{.Created}} {{.Architecture}}", &tag]), "2026-11-20T00:00:00Z amd64");
    assert_eq!(docker(&["image", "inspect", "--format", "{{index .Config.Labels \"org.example.kind\"}}", &tag]), "artifact");

    let again = made(&source, &tag, folder.path()).await;
    assert_eq!((again.diff_id, again.config_digest), (diff_id, config_digest));

    let container = docker(&["create", &tag]);
    let copied = folder.path().join("copied");
    let from = format!("{container}:/opt/vscode-server/bin/code-server");
    docker(&["cp", &from, copied.to_str().unwrap()]);
    docker(&["rm", &container]);
    assert_eq!(fs::read_to_string(copied).unwrap(), "#!/bin/sh\necho 1.0.0\n");
}

#[tokio::test]
async fn two_runs_give_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("runner.tar.gz");
    fs::write(&file, archives::runner("2.0.0", "x64")).unwrap();
    let place = Place { path: "/opt/actions-runner".to_owned(), unpack: Unpack::TarGz, strip: 0, owner: (1001, 1001) };
    let source = LayerSource::Artifact { file, place };
    let mut digests = Vec::new();
    for _ in 0..2 {
        let mut bytes = Vec::new();
        let mut reader = made(&source, "gantry.invalid/test/runner:1", folder.path()).await.into_reader();
        tokio::io::copy(&mut reader, &mut bytes).await.unwrap();
        digests.push(Digest::of(bytes));
    }
    assert_eq!(digests[0], digests[1]);
}
