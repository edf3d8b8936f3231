//! `sbom`: the document of an image, wherever it is; what was read once is not read again.

use std::fs;
use std::path::PathBuf;

use serde_json::json;
use xtask::registry::fallback_tag;

use crate::support::family::TinyFamily;
use crate::support::registry::{LocalRegistry, run};
use crate::support::xtask::{Ran, ran};

const STATUS: &str = "Package: libx\nStatus: install ok installed\nArchitecture: amd64\nInstalled-Size: 10\nVersion: 1:1.9-1\n\n";

/// A family whose images have a package of Debian's in `azure`.
fn family() -> TinyFamily {
    let family = TinyFamily::new();
    family.write("images/azure/status", STATUS);
    family.azure_also("COPY status /var/lib/dpkg/status");
    family.commit();
    family
}

fn sbom(family: &TinyFamily, args: &[&str]) -> Ran {
    ran(family.command(&[&["sbom", "--format", "json"], args].concat()))
}

/// On a machine that knows nothing yet and has no engine.
fn elsewhere(family: &TinyFamily, image: &str) -> Ran {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = family.command(&["sbom", "--format", "json", image]);
    command.env("DOCKER_HOST", "unix:///nonexistent").env("GANTRY_CACHE_DIR", folder.path().join("cache"));
    ran(command)
}

/// The folder of a cache that is named in the family's own.
fn cached(family: &TinyFamily, name: &str) -> PathBuf {
    let find = run("find", &[&family.places().display().to_string(), "-type", "d", "-name", name]);
    PathBuf::from(find.lines().next().expect("a folder"))
}

fn files(folder: PathBuf) -> Vec<PathBuf> {
    fs::read_dir(folder).expect("a folder").map(|file| file.expect("a file").path()).collect()
}

/// Makes something else of the same size of every blob.
fn garble(folder: PathBuf) {
    for blob in files(folder) {
        let length = fs::read(&blob).expect("a blob").len();
        fs::write(&blob, vec![b'x'; length]).expect("written");
    }
}

#[test]
fn an_image_is_read_once_and_what_is_damaged_is_read_again() {
    let family = family();
    family.build(&["--variant", "azure"]).ends(0);
    let image = format!("{}:azure", family.name);
    let first = sbom(&family, &[&image]).ends(0);
    let document = first.json();
    let component = document["components"].as_array().into_iter().flatten().find(|component| component["name"] == "libx");
    assert_eq!(component.map(|libx| &libx["purl"]), Some(&json!("pkg:deb/debian/libx@1:1.9-1?arch=amd64")));
    let look = format!("look {image}");
    assert!(first.steps().contains_key(&look), "{:?}", first.steps());

    let again = sbom(&family, &[&image]).ends(0);
    assert_eq!(again.stdout, first.stdout);
    assert!(again.steps().is_empty(), "{:?}", again.steps());

    let layers = files(cached(&family, "contents"));
    assert!(!layers.is_empty());
    layers.iter().for_each(|layer| fs::write(layer, "no layer").expect("written"));
    let again = sbom(&family, &[&image]).ends(0);
    assert_eq!(again.stdout, first.stdout);
    assert!(again.steps().contains_key(&look) && !again.steps().contains_key("export"), "{:?}", again.steps());

    // What the layers are read from may be damaged as well: of the same size, and something else.
    layers.iter().for_each(|layer| fs::remove_file(layer).expect("removed"));
    garble(cached(&family, "layers").join("blobs/sha256"));
    assert_eq!(sbom(&family, &[&image]).ends(0).stdout, first.stdout);

    ran(family.command(&["clean", "--cache"])).ends(0);
    assert!(layers.iter().all(|layer| !layer.exists()));
}

#[test]
fn the_document_is_the_same_wherever_the_image_is() {
    let family = family();
    family.build(&["--variant", "a*"]).ends(0);
    let here = sbom(&family, &[&format!("{}:azure", family.name)]).ends(0).stdout;
    family.run(&["push", "--variant", "a*", "--no-sbom"]).ends(0);
    let repository = family.registry.repository();
    let [aws, azure] = ["aws", "azure"].map(|tag| family.registry.skopeo(tag, None).expect("a digest"));
    for name in
        ["near:azure".to_owned(), azure.to_string(), repository.tag("azure").to_string(), repository.digest(azure).to_string()]
    {
        assert_eq!(elsewhere(&family, &name).ends(0).stdout, here, "{name}");
    }

    // What was read of a registry's image and is damaged is downloaded again.
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..2 {
        let mut command = family.command(&["sbom", "--format", "json", "near:azure"]);
        command.env("DOCKER_HOST", "unix:///nonexistent").env("GANTRY_CACHE_DIR", folder.path().join("cache"));
        assert_eq!(ran(command).ends(0).stdout, here);
        let layers = files(folder.path().join("cache/contents"));
        layers.iter().for_each(|layer| fs::write(layer, "no layer").expect("written"));
        garble(folder.path().join("cache/layers/blobs/sha256"));
    }

    // Of an index the member that this machine runs.
    let (ours, other) = if cfg!(target_arch = "x86_64") { ("amd64", "arm64") } else { ("arm64", "amd64") };
    let member = |digest, architecture| {
        let bytes = run(
            "curl",
            &["-sf", "-H", "Accept: application/vnd.oci.image.manifest.v1+json", &family.registry.manifest_url(digest)],
        );
        json!({
            "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": bytes.len(),
            "platform": { "os": "linux", "architecture": architecture },
        })
    };
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [member(&aws.to_string(), other), member(&azure.to_string(), ours)],
    });
    family.registry.put_manifest("application/vnd.oci.image.index.v1+json", &index, Some("all"));
    assert_eq!(elsewhere(&family, "near:all").ends(0).stdout, here);
}

/// Attaches a document to what a tag points to, and says that this program did.
fn forge(registry: &LocalRegistry, tag: &str, document: &str) -> String {
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    let (subject, sbom) = (registry.skopeo(tag, None).expect("a digest"), "application/vnd.cyclonedx+json");
    let artifact = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": sbom, "annotations": { "gantry.attachment": "sbom" },
        "config": registry.put_blob("application/vnd.oci.empty.v1+json", "{}"), "layers": [registry.put_blob(sbom, document)],
        "subject": { "mediaType": MANIFEST, "digest": subject, "size": 7 },
    });
    let digest = registry.put_manifest(MANIFEST, &artifact, None).to_string();
    let entry = json!({ "mediaType": MANIFEST, "digest": digest, "size": artifact.to_string().len(), "artifactType": sbom });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [entry] });
    registry.put_manifest(INDEX, &index, Some(&fallback_tag(subject)));
    digest
}

#[test]
fn a_published_document_that_lies_is_told_and_a_true_one_attached() {
    let family = family();
    family.build(&["--variant", "azure"]).ends(0);
    let push = |more: &[&str]| family.run(&[&["push", "--variant", "azure", "--format", "json"], more].concat()).ends(0);
    push(&["--no-sbom"]);
    let document = sbom(&family, &["near:azure"]).ends(0).stdout;
    let forged = forge(&family.registry, "azure", &document.replace("1:1.9-1", "1:2.0-1"));
    let words = "it lists what is not in the image: `pkg:deb/debian/libx@1:2.0-1`, and leaves out what is: \
                 `pkg:deb/debian/libx@1:1.9-1`";
    let verify = |more: &[&str]| ran(family.command(&[&["verify", "--variant", "azure", "--format", "json"], more].concat()));
    verify(&[]).ends(0);
    assert!(verify(&["--deep"]).ends(10).stdout.contains(words));
    let shown = push(&["--dry-run"]).json();
    assert_eq!((&shown["untrue"][0]["digest"], &shown["untrue"][0]["why"]), (&json!(forged), &json!(words)));
    assert_eq!(shown["attachments"][0]["because"], "made");
    let pushed = push(&[]).says(&[&forged, "is not believed and not copied", words]).json();
    assert_eq!(pushed["images"][0]["attachments"][0]["because"], "made");
    assert_ne!(pushed["images"][0]["attachments"][0]["digest"], json!(forged));
}

#[test]
fn what_is_not_one_image_is_none() {
    let family = family();
    family.build(&["--variant", "a*"]).ends(0);
    let other = LocalRegistry::start(None);
    let [near, far] = [&family.registry, &other].map(|registry| registry.repository());
    let (to_near, to_far) = (format!("near={near}"), format!("far={far}"));
    for (image, repository) in [("aws", near.tag("same")), ("azure", far.tag("same"))] {
        let repository = repository.to_string();
        run("docker", &["tag", &format!("{}:{image}", family.name), &repository]);
        run("docker", &["push", "-q", &repository]);
        run("docker", &["rmi", &repository]);
    }
    let both = ["--destination", &to_near, "--destination", &to_far];
    let words = ["`same` is not the same image in every destination", "near:same is sha256:", "far:same is sha256:"];
    sbom(&family, &[&["same"][..], &both].concat()).ends(2).says(&words);
    sbom(&family, &[&["far:same"][..], &both].concat()).ends(0);

    let nowhere = sbom(&family, &[&["none"][..], &both].concat()).ends(3);
    nowhere.says(&["there is no image `none`", "the engine", "the destination `near`", "the destination `far`"]);
    let azur = format!("{}:azur", family.name);
    sbom(&family, &[&azur]).ends(3).says(&[&format!("did you mean `{}:azure`?", family.name)]);
}
