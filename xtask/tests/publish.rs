//! Publishing, against real registries and a real engine. Needs `docker`, `docker-registry`, `htpasswd` and `skopeo`.

#[path = "publish/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use support::{LocalImage, LocalRegistry, Trigger, docker_config, run, save};
use xtask::event::{Event, Events};
use xtask::failure::{Exit, Failure};
use xtask::oci::{Digest, Platform, Reference, Repository};
use xtask::publish::{
    Circumstances, Delivery, Origin, PublishError, Published, Registries, ReleasePlan, Tag, TagKind, TagState, Tree,
    VariantRelease, connect, execute,
};
use xtask::registry::{Access, Registry, RegistryError, Sources, digest_of};
use xtask::retry::{Policy, SystemClock};
use xtask::store::{Blobs, Compression, Exported, Finished, obtain, split};

const CANARY: &str = "canary-7Qx9-secret";

fn tls() {
    rustls::crypto::ring::default_provider().install_default().ok();
}

fn runtime<T>(work: impl Future<Output = T>) -> T {
    tls();
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime").block_on(work)
}

fn delivery(name: &str, repository: Repository, tags: &[&str]) -> Delivery {
    let tag = |text: &&str| {
        let (kind, name) = text.split_once(' ').expect("kind and name");
        let kind = if kind == "moves" { TagKind::Moving } else { TagKind::Immutable };
        Tag { name: name.to_owned(), kind, uses_revision: false }
    };
    let tags = tags.iter().map(tag).collect();
    Delivery { destination: name.to_owned(), repository, insecure: false, origin: Origin::CommandLine, tags }
}

fn plan(variants: Vec<(&str, &LocalImage, Vec<Delivery>)>) -> ReleasePlan {
    let release = |(variant, image, destinations): (&str, &LocalImage, _)| VariantRelease {
        variant: variant.parse().expect("a name"),
        platform: Platform::LinuxAmd64,
        image: image.name.clone(),
        config_digest: None,
        annotations: BTreeMap::from([("gantry.input-digest".to_owned(), "0123456789abcdef".to_owned())]),
        labels: BTreeMap::new(),
        destinations,
    };
    let circumstances = Circumstances { tree: Tree::Clean, allow_dirty: false };
    ReleasePlan::new(variants.into_iter().map(release).collect(), circumstances).expect("nothing is forbidden")
}

/// Clients that do not wait for long.
async fn hasty(plan: &ReleasePlan, sources: &Sources) -> Registries {
    let policy =
        Policy { attempts: 3, base: Duration::from_millis(1), cap: Duration::from_millis(1), total: Duration::from_secs(60) };
    let mut registries = Registries::new();
    for delivery in plan.variants().iter().flat_map(|release| &release.destinations) {
        let credential = sources.credential(delivery.repository.registry()).await.expect("a credential");
        let clock = Arc::new(SystemClock::default());
        let registry = Registry::with(&delivery.repository, false, Access::Push, credential, policy, clock);
        registries.insert(delivery.repository.clone(), registry.expect("a client"));
    }
    registries
}

async fn images(images: &[&LocalImage], blobs: &Arc<Blobs>, events: &Events) -> Vec<Exported> {
    let wanted: Vec<_> = images.iter().map(|image| image.want()).collect();
    let export = async |names: &[String]| save(names).await;
    obtain(&wanted, Compression::default(), blobs, events, unheard(), export).await.expect("the images are exported")
}

/// Layers may finish without anybody listening.
fn unheard() -> Finished {
    tokio::sync::mpsc::unbounded_channel().0
}

fn states(published: &Published) -> Vec<(String, TagState)> {
    let tags = published.images.iter().flat_map(|image| image.destinations.values().flatten());
    tags.map(|tag| (tag.reference.rsplit_once(':').map(|(_, tag)| tag.to_owned()).unwrap_or_default(), tag.state)).collect()
}

#[test]
fn one_digest_everywhere_and_a_second_push_sends_nothing() {
    let login = ("gantry", CANARY);
    let (open, closed) = (LocalRegistry::start(None), LocalRegistry::start(Some(login)));
    let one = LocalImage::build("one");
    let other = LocalImage::build_on(&one.name, "other");
    let (_folder, config) = docker_config("{}");
    let auth = format!(r#"{{"auths":{{"{}":{{"username":"gantry","password":"{CANARY}"}}}}}}"#, closed.address);
    fs::write(config.join("config.json"), auth).expect("the configuration");
    let sources = Sources::gather(|name| (name == "DOCKER_CONFIG").then(|| config.display().to_string())).expect("sources");
    let cache = tempfile::tempdir().expect("a folder");
    let blobs = Arc::new(Blobs::open(cache.path()).expect("a store"));
    let both = |tags: &[&str]| vec![delivery("a", open.repository(), tags), delivery("b", closed.repository(), tags)];
    let plan = plan(vec![
        ("aws", &one, both(&["once aws-1", "moves aws", "moves aws-coder"])),
        ("azure", &other, both(&["once azure-1", "moves azure"])),
    ]);
    let first = Trigger::never();
    let published = runtime(async {
        let images = images(&[&one, &other], &blobs, &first.events()).await;
        let registries = connect(&plan, &sources).await.expect("clients");
        execute(&plan, &images, &registries, &blobs, &first.events()).await.expect("it is published")
    });
    assert!(states(&published).iter().all(|(_, state)| *state == TagState::Set), "{published:?}");
    for (image, tags) in published.images.iter().zip([&["aws-1", "aws", "aws-coder"][..], &["azure-1", "azure"]]) {
        for tag in tags {
            assert_eq!(open.skopeo(tag, None), Some(image.digest), "{tag}");
            assert_eq!(closed.skopeo(tag, Some(login)), Some(image.digest), "{tag}");
        }
    }
    // A layer and a program that both images have, the program that one of them puts over it, two configurations.
    let sent = first.ended("push a").expect("the step ended");
    assert!(sent.starts_with("Done: 5 blobs sent ") && sent.ends_with(", 0 were there"), "{sent}");

    // What is in the registry is the image: the engine pulls and runs it.
    let wanted = [one.want(), other.want()];
    let pulled = open.repository().tag("aws").to_string();
    run("docker", &["rmi", "-f", &one.name]);
    run("docker", &["pull", "-q", &pulled]);
    let said = run("docker", &["run", "--rm", &pulled]);
    run("docker", &["rmi", &pulled]);
    assert_eq!(said, "one");

    let again = Trigger::never();
    let published_again = runtime(async {
        let none = async |_: &[String]| -> Result<&[u8], std::io::Error> { panic!("nothing has to be exported") };
        let reopened = Arc::new(Blobs::open(cache.path()).expect("a store"));
        let (events, compression) = (again.events(), Compression::default());
        let images = obtain(&wanted, compression, &reopened, &events, unheard(), none).await.expect("all is known");
        let registries = connect(&plan, &sources).await.expect("clients");
        execute(&plan, &images, &registries, &reopened, &again.events()).await.expect("it is published")
    });
    assert!(states(&published_again).iter().all(|(_, state)| *state == TagState::AlreadyThere), "{published_again:?}");
    assert_eq!(published.images[0].digest, published_again.images[0].digest);
    for step in ["push a", "push b"] {
        assert_eq!(again.ended(step).as_deref(), Some("UpToDate: every blob was there"), "{step}");
    }
    assert!(!format!("{:?}{:?}", first.seen(), again.seen()).contains(CANARY));

    // The lock's question: what is behind this tag?
    let reference: Reference = closed.repository().tag("aws");
    let missing = closed.repository().tag("nothing");
    let (found, missing) =
        runtime(async { (digest_of(&reference, false, &sources).await, digest_of(&missing, false, &sources).await) });
    assert_eq!(found.expect("an answer"), Some(published.images[0].digest));
    assert_eq!(missing.expect("an answer"), None);
}

#[test]
fn an_immutable_tag_is_never_moved() {
    let registry = LocalRegistry::start(None);
    let (one, other) = (LocalImage::build("one"), LocalImage::build("other"));
    let cache = tempfile::tempdir().expect("a folder");
    let blobs = Arc::new(Blobs::open(cache.path()).expect("a store"));
    let events = Trigger::never();
    let push = |image: &LocalImage| {
        let plan = plan(vec![("aws", image, vec![delivery("a", registry.repository(), &["moves aws", "once aws-1"])])]);
        runtime(async {
            let images = images(&[image], &blobs, &events.events()).await;
            let registries = hasty(&plan, &Sources::default()).await;
            execute(&plan, &images, &registries, &blobs, &events.events()).await
        })
    };
    let first = push(&one).expect("it is published").images[0].digest;
    let error = push(&other).expect_err("the tag is taken");
    let PublishError::Refused { refusals } = &error else { panic!("{error}") };
    assert!(refusals[0].to_string().contains(&format!("aws-1` is immutable and is {first} already")), "{error}");
    assert_eq!(error.exit(), Exit::Refused);
    for tag in ["aws", "aws-1"] {
        assert_eq!(registry.skopeo(tag, None), Some(first), "{tag}");
    }
    let moved = plan(vec![("aws", &other, vec![delivery("a", registry.repository(), &["moves aws", "once aws-2"])])]);
    let published = runtime(async {
        let images = images(&[&other], &blobs, &events.events()).await;
        let registries = hasty(&moved, &Sources::default()).await;
        execute(&moved, &images, &registries, &blobs, &events.events()).await.expect("it is published")
    });
    let expected = [("aws".to_owned(), TagState::Moved { from: first }), ("aws-2".to_owned(), TagState::Set)];
    assert_eq!(states(&published), expected);
}

#[test]
fn a_registry_that_dies_leaves_nothing_tagged_or_says_what_is() {
    let (a, b) = (LocalRegistry::start(None), LocalRegistry::start(None));
    let image = LocalImage::build("one");
    let cache = tempfile::tempdir().expect("a folder");
    let blobs = Arc::new(Blobs::open(cache.path()).expect("a store"));
    let tags = ["once aws-1", "moves aws"];
    let plan = plan(vec![("aws", &image, vec![delivery("a", a.repository(), &tags), delivery("b", b.repository(), &tags)])]);
    let push = |events: &Arc<Trigger>| {
        runtime(async {
            let images = images(&[&image], &blobs, &events.events()).await;
            let registries = hasty(&plan, &Sources::default()).await;
            execute(&plan, &images, &registries, &blobs, &events.events()).await
        })
    };
    let dying = |when: fn(&Event) -> bool| {
        let registry = Arc::clone(&b);
        Trigger::new(when, move || registry.kill())
    };

    // In the middle of an upload.
    let uploading = dying(|event| matches!(event, Event::Transfer { id, .. } if id.starts_with("push b")));
    let error = push(&uploading).expect_err("one registry is gone");
    assert_eq!(error.exit(), Exit::PublishUntagged, "{error}");
    assert!(
        matches!(&error, PublishError::Untagged { failures } if failures.len() == 1 && failures[0].destination == "b"),
        "{error}"
    );
    assert_eq!(a.skopeo("aws-1", None), None, "nothing is tagged anywhere");

    // Between the immutable tags and the moving ones; what went to the other registry is not sent again.
    b.run();
    let tagging = dying(|event| matches!(event, Event::StepStarted { step, .. } if step == "tag moving"));
    let error = push(&tagging).expect_err("one registry is gone");
    assert_eq!(error.exit(), Exit::PublishPartly, "{error}");
    assert_eq!(tagging.ended("push a").as_deref(), Some("UpToDate: every blob was there"));
    let failure = Failure::from(error);
    let set = failure.detail.unwrap_or_default();
    assert!(set.contains(&format!("{}:aws-1@", b.repository())) && !set.contains(&format!("{}:aws@", b.repository())), "{set}");

    // And then it is finished.
    b.run();
    let published = push(&Trigger::never()).expect("it is published");
    for registry in [&a, &b] {
        for tag in ["aws-1", "aws"] {
            assert_eq!(registry.skopeo(tag, None), Some(published.images[0].digest), "{tag}");
        }
    }
}

#[test]
fn a_damaged_blob_does_not_leave_the_machine() {
    let registry = LocalRegistry::start(None);
    let image = LocalImage::build("one");
    let cache = tempfile::tempdir().expect("a folder");
    let blobs = Arc::new(Blobs::open(cache.path()).expect("a store"));
    let plan = plan(vec![("aws", &image, vec![delivery("a", registry.repository(), &["moves aws"])])]);
    let events = Trigger::never();
    let push = || {
        runtime(async {
            let images = images(&[&image], &blobs, &events.events()).await;
            let layer = images[0].layers[0].clone();
            let registries = hasty(&plan, &Sources::default()).await;
            (layer, execute(&plan, &images, &registries, &blobs, &events.events()).await)
        })
    };
    let exported = runtime(images(&[&image], &blobs, &events.events()));
    let layer = &exported[0].layers[0];
    let mut bytes = fs::read(&layer.path).expect("the blob");
    bytes[20] ^= 1;
    fs::write(&layer.path, bytes).expect("the blob is damaged");
    let (_, damaged) = push();
    let error = damaged.expect_err("the blob is damaged");
    assert!(matches!(error, PublishError::Store(_)), "{error}");
    assert_eq!(error.exit(), Exit::PublishUntagged);
    // It was thrown away: the next run exports and compresses it again, to the same digest.
    let (again, published) = push();
    assert_eq!(again, *layer);
    published.expect("it is published");
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

#[test]
fn a_refused_credential_is_told_by_its_source_and_not_by_itself() {
    let registry = LocalRegistry::start(Some(("gantry", "right")));
    let image = LocalImage::build("one");
    let cache = tempfile::tempdir().expect("a folder");
    let blobs = Arc::new(Blobs::open(cache.path()).expect("a store"));
    let plan = plan(vec![("aws", &image, vec![delivery("b", registry.repository(), &["moves aws"])])]);
    let events = Trigger::never();
    let push = |sources: &Sources| {
        runtime(async {
            let images = images(&[&image], &blobs, &events.events()).await;
            let registries = hasty(&plan, sources).await;
            execute(&plan, &images, &registries, &blobs, &events.events()).await
        })
    };
    let env = format!(r#"{{"auths":{{"{}":{{"username":"gantry","password":"{CANARY}"}}}}}}"#, registry.address);
    let wrong = Sources::gather(|name| (name == "DOCKER_AUTH_CONFIG").then(|| env.clone())).expect("sources");
    let none = Sources::default();
    for (sources, told) in
        [(&wrong, "the credential of `DOCKER_AUTH_CONFIG` was used"), (&none, "no credential was found for it")]
    {
        let error = push(sources).expect_err("the credential is wrong");
        assert_eq!(error.exit(), Exit::PublishUntagged);
        assert!(error.to_string().contains(told), "{error}");
        let debugged = format!("{error:?}");
        let everything = format!("{debugged} {:?} {:?}", Failure::from(error), events.seen());
        assert!(!everything.contains(CANARY), "{everything}");
    }

    // A helper has the right one.
    let (folder, config) = docker_config(r#"{"credsStore":"gantry-test"}"#);
    let helper = folder.path().join("docker-credential-gantry-test");
    let asked = folder.path().join("asked");
    let script = format!(
        "#!/bin/sh\necho \"$*\" > {0}\ncat >> {0}\necho '{{\"ServerURL\":\"x\",\"Username\":\"gantry\",\"Secret\":\"right\"}}'\n",
        asked.display()
    );
    fs::write(&helper, script).expect("the helper");
    fs::set_permissions(&helper, fs::Permissions::from_mode(0o755)).expect("the helper");
    let path = format!("{}:/usr/bin:/bin", folder.path().display());
    let gathered = || {
        Sources::gather(|name| match name {
            "DOCKER_CONFIG" => Some(config.display().to_string()),
            "PATH" => Some(path.clone()),
            _ => None,
        })
        .expect("sources")
    };
    push(&gathered()).expect("it is published");
    assert_eq!(fs::read_to_string(&asked).expect("the question"), format!("get\n{}\n", registry.address));

    // A helper that fails is an error, and what it says is not passed on.
    fs::write(&helper, format!("#!/bin/sh\necho {CANARY}\nexit 3\n")).expect("the helper");
    let error = runtime(gathered().credential(&registry.address)).expect_err("the helper fails");
    let text = format!("{error} {error:?}");
    assert!(text.contains("docker-credential-gantry-test` failed for") && !text.contains(CANARY), "{text}");
    // One that knows nothing leads to no credential.
    fs::write(&helper, "#!/bin/sh\necho credentials not found in native keychain\nexit 1\n").expect("the helper");
    assert_eq!(runtime(gathered().credential(&registry.address)).expect("an answer"), None);
}

#[test]
fn a_registry_that_is_not_there_is_one_clear_error() {
    let registry = LocalRegistry::start(None);
    registry.kill();
    let reference = registry.repository().tag("aws");
    let error = runtime(async {
        let policy = Policy { attempts: 2, base: Duration::ZERO, cap: Duration::ZERO, total: Duration::from_secs(9) };
        let clock = Arc::new(SystemClock::default());
        let client = Registry::with(&reference.repository, false, Access::Pull, None, policy, clock).expect("a client");
        client.digest("aws").await.expect_err("nobody is there")
    });
    assert!(matches!(error, RegistryError::Unreachable { attempts: 2, .. }), "{error}");
    assert!(error.to_string().contains("Connection refused"), "{error}");
}
