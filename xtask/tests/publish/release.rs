//! A release: what is sent, what is tagged, what is left alone.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::Method;
use xtask::event::Event;
use xtask::failure::{Exit, Failure};
use xtask::oci::{Digest, Reference};
use xtask::publish::{Choice, PublishError, ReleasePlan, TagState, connect};
use xtask::registry::{Sources, digest_of};
use xtask::store::Compression;

use crate::support::front::{self, Front, Say};
use crate::support::{LocalImage, LocalRegistry, Trigger, docker_config, run};
use crate::{CANARY, Machine, delivery, hasty, plan, runtime, states};

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
    let machine = Machine::new();
    let both = |tags: &[&str]| vec![delivery("a", open.repository(), tags), delivery("b", closed.repository(), tags)];
    let plan = plan(vec![
        ("aws", &one, both(&["once aws-1", "moves aws", "moves aws-coder"])),
        ("azure", &other, both(&["once azure-1", "moves azure"])),
    ]);
    let first = Trigger::never();
    let published = runtime(async {
        let registries = connect(&plan, &sources).await.expect("clients");
        machine.publish(&plan, &registries, &first.events()).await.expect("it is published")
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
    let pulled = open.repository().tag("aws").to_string();
    one.remove();
    run("docker", &["pull", "-q", &pulled]);
    let said = run("docker", &["run", "--rm", &pulled]);
    run("docker", &["rmi", &pulled]);
    assert_eq!(said, "one");

    let again = Trigger::never();
    let published_again = runtime(async {
        let registries = connect(&plan, &sources).await.expect("clients");
        machine.publish(&plan, &registries, &again.events()).await.expect("it is published")
    });
    assert!(states(&published_again).iter().all(|(_, state)| *state == TagState::AlreadyThere), "{published_again:?}");
    assert_eq!(published.images[0].digest, published_again.images[0].digest);
    assert_eq!(again.ended("export"), None, "nothing is asked of the engine");
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
    let machine = Machine::new();
    let push = |image: &LocalImage, tags: &[&str]| {
        let plan = plan(vec![("aws", image, vec![delivery("a", registry.repository(), tags)])]);
        let events = Trigger::never().events();
        runtime(async { machine.publish(&plan, &hasty(&plan, &Sources::default()).await, &events).await })
    };
    let first = push(&one, &["moves aws", "once aws-1"]).expect("it is published").images[0].digest;
    let error = push(&other, &["moves aws", "once aws-1"]).expect_err("the tag is taken");
    let PublishError::Refused { refusals } = &error else { panic!("{error}") };
    let told = refusals[0].to_string();
    assert!(told.contains(&format!("aws-1` is immutable and is {first} already; this release is")), "{told}");
    assert!(told.contains(&format!("the ledger says it was set to {first} at 20")), "{told}");
    assert_eq!(error.exit(), Exit::Refused);
    for tag in ["aws", "aws-1"] {
        assert_eq!(registry.skopeo(tag, None), Some(first), "{tag}");
    }
    let published = push(&other, &["moves aws", "once aws-2"]).expect("it is published");
    let expected = [("aws".to_owned(), TagState::Moved { from: first }), ("aws-2".to_owned(), TagState::Set)];
    assert_eq!(states(&published), expected);
}

/// Two machines build the same commit: the times in their layers differ. The one that was first is what is published.
#[test]
fn what_another_machine_has_begun_is_adopted_and_copied() {
    let (a, b) = (LocalRegistry::start(None), LocalRegistry::start(None));
    let (mine, yours) = (LocalImage::build("one"), LocalImage::build_again("one", "another time"));
    assert_eq!(mine.input, yours.input);
    let tags = ["once aws-1", "moves aws"];
    let push = |machine: &Machine, image: &LocalImage, to: &[(&str, &LocalRegistry)], events: &Arc<Trigger>| {
        let to = to.iter().map(|(name, registry)| delivery(name, registry.repository(), &tags)).collect();
        let plan = plan(vec![("aws", image, to)]);
        runtime(async { machine.publish(&plan, &hasty(&plan, &Sources::default()).await, &events.events()).await })
    };
    let first = push(&Machine::new(), &mine, &[("a", &a)], &Trigger::never()).expect("it is published").images[0].digest;
    let events = Trigger::never();
    let second = push(&Machine::new(), &yours, &[("a", &a), ("b", &b)], &events).expect("it is published");
    assert_eq!(second.images[0].choice, Choice::Adopted { tag: a.repository().tag("aws-1").to_string(), digest: first });
    assert_eq!(events.ended("export"), None, "nothing is built, exported or compressed");
    assert_eq!(events.ended("push a").as_deref(), Some("UpToDate: every blob was there"));
    // Without the image in the engine, and with nothing left of the first machine.
    yours.remove();
    let c = LocalRegistry::start(None);
    push(&Machine::new(), &yours, &[("c", &c), ("b", &b)], &Trigger::never()).expect("it is published");
    for (registry, tag) in [(&a, "aws-1"), (&b, "aws-1"), (&b, "aws"), (&c, "aws-1"), (&c, "aws")] {
        assert_eq!(registry.skopeo(tag, None), Some(first), "{tag}");
    }
}

/// A registry may have forgotten what nobody tagged (lifecycle rules do that), or be new: that it holds an image is looked at.
#[test]
fn what_was_under_way_is_copied_to_where_it_is_missing() {
    let mut registries = [LocalRegistry::start(None), LocalRegistry::start(None)];
    // The one that holds it is asked first.
    registries.sort_by_key(|registry| registry.repository());
    let [holds, lacks] = registries;
    let (machine, image) = (Machine::new(), LocalImage::build("one"));
    let push = |tag: &str, to: &[&LocalRegistry]| {
        let to = to.iter().map(|to| delivery(&to.address, to.repository(), &[tag])).collect();
        let plan = plan(vec![("aws", &image, to)]);
        let events = Trigger::never().events();
        runtime(async { machine.publish(&plan, &hasty(&plan, &Sources::default()).await, &events).await })
    };
    let first = push("once aws-1", &[&holds]).expect("it is published").images[0].digest;
    image.remove();
    let published = push("once aws-2", &[&holds, &lacks]).expect("it is published");
    assert_eq!(published.images[0].choice, Choice::Resumed { digest: first });
    for registry in [&holds, &lacks] {
        assert_eq!(registry.skopeo("aws-2", None), Some(first), "{}", registry.address);
    }
}

#[test]
fn what_is_published_of_the_same_input_keeps_its_digest() {
    let registry = LocalRegistry::start(None);
    let (mine, yours) = (LocalImage::build("one"), LocalImage::build_again("one", "another time"));
    let push = |image: &LocalImage, tags: &[&str], force: bool| {
        let plan = plan(vec![("aws", image, vec![delivery("a", registry.repository(), tags)])]);
        let machine = Machine { force, ..Machine::new() };
        let events = Trigger::never().events();
        runtime(async { machine.publish(&plan, &hasty(&plan, &Sources::default()).await, &events).await })
    };
    let first = push(&mine, &["once aws-1", "moves aws"], false).expect("it is published").images[0].digest;
    let second = push(&yours, &["once aws-2", "moves aws"], false).expect("it is published");
    assert_eq!(states(&second), [("aws-2".to_owned(), TagState::Set), ("aws".to_owned(), TagState::AlreadyThere)]);
    assert_eq!(second.images[0].digest, first);
    let third = push(&yours, &["once aws-3", "moves aws"], true).expect("it is published");
    assert_ne!(third.images[0].digest, first);
    assert_eq!(registry.skopeo("aws", None), Some(third.images[0].digest));
    assert_eq!(registry.skopeo("aws-1", None), Some(first));
}

#[test]
fn a_dry_run_is_what_is_carried_out() {
    let registry = LocalRegistry::start(None);
    let one = LocalImage::build("one");
    let other = LocalImage::build_on(&one.name, "other");
    let machine = Machine::new();
    let wanted =
        |image: &LocalImage| plan(vec![("aws", image, vec![delivery("a", registry.repository(), &["once aws-1", "moves aws"])])]);
    let preview = |plan: &ReleasePlan| {
        runtime(async { machine.decide(plan, &hasty(plan, &Sources::default()).await).await.expect("decided").preview() })
    };
    let publish = |plan: &ReleasePlan, events: &Arc<Trigger>| {
        runtime(async { machine.publish(plan, &hasty(plan, &Sources::default()).await, &events.events()).await })
    };
    let shown = preview(&wanted(&one));
    assert_eq!((shown.transfers[0].send, shown.transfers[0].to_compress), (0, 2), "nothing was compressed yet");
    assert_eq!(shown.variants[0].digest, None);
    assert_eq!(registry.tags(), Vec::<String>::new(), "and nothing was sent");

    registry.kill();
    publish(&wanted(&one), &Trigger::never()).expect_err("nobody is there");
    registry.run();
    let first = publish(&wanted(&one), &Trigger::never()).expect("it is published").images[0].digest;
    let moving = plan(vec![("aws", &other, vec![delivery("a", registry.repository(), &["moves aws"])])]);
    let elsewhere = LocalRegistry::start(None);
    let there = plan(vec![("aws", &other, vec![delivery("b", elsewhere.repository(), &["moves x"])])]);
    publish(&there, &Trigger::never()).expect("so that it is compressed");
    let shown = preview(&moving);
    let tag = &shown.variants[0].tags[0];
    assert_eq!((tag.action, tag.from, tag.to), ("move", Some(first), shown.variants[0].digest));
    let transfer = &shown.transfers[0];
    assert_eq!((transfer.send, transfer.there, transfer.to_compress), (2, 2, 0), "{transfer:?}");
    let events = Trigger::never();
    let published = publish(&moving, &events).expect("it is published");
    assert_eq!(Some(published.images[0].digest), tag.to);
    let sent = format!("Done: {} blobs sent ({} bytes), {} were there", transfer.send, transfer.bytes, transfer.there);
    assert_eq!(events.ended("push a"), Some(sent));
}

#[test]
fn a_registry_that_dies_leaves_nothing_tagged_or_says_what_is() {
    let (a, b) = (LocalRegistry::start(None), LocalRegistry::start(None));
    let image = LocalImage::build("one");
    let machine = Machine::new();
    let tags = ["once aws-1", "moves aws"];
    let plan = plan(vec![("aws", &image, vec![delivery("a", a.repository(), &tags), delivery("b", b.repository(), &tags)])]);
    let push = |events: &Arc<Trigger>| {
        runtime(async { machine.publish(&plan, &hasty(&plan, &Sources::default()).await, &events.events()).await })
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

    // Where there was nothing to do, nothing was set, even if the last look fails.
    let looking = dying(|event| matches!(event, Event::StepFinished { step, .. } if step == "tag moving"));
    let error = push(&looking).expect_err("one registry is gone");
    assert_eq!(looking.ended("tag moving").as_deref(), Some("UpToDate: 0 set, 2 were there"));
    assert_eq!(error.exit(), Exit::PublishUntagged, "{error}");
}

/// Docker 20.10 cannot pull zstd layers; containerd, podman and engines from 23 on can. An engine that holds its layers
/// compressed has them published as they are.
#[test]
fn zstd_layers_are_pulled_where_the_engine_can() {
    let registry = LocalRegistry::start(None);
    let image = LocalImage::build("one");
    let machine = Machine { compression: Compression::Zstd { level: 3 }, ..Machine::new() };
    let plan = plan(vec![("aws", &image, vec![delivery("a", registry.repository(), &["moves aws"])])]);
    let events = Trigger::never();
    runtime(async { machine.publish(&plan, &hasty(&plan, &Sources::default()).await, &events.events()).await })
        .expect("published");
    let pulled = registry.repository().tag("aws").to_string();
    let raw = run("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("docker://{pulled}")]);
    let holds_compressed = run("docker", &["info", "--format", "{{json .DriverStatus}}"]).contains("io.containerd.snapshotter");
    let kind = if holds_compressed { "layer.v1.tar+gzip" } else { "layer.v1.tar+zstd" };
    assert!(raw.contains(kind), "{raw}");
    // Whatever the engine can: every layer, unpacked, is the one that its diff ID names.
    let (folder, built) = (tempfile::tempdir().expect("a folder"), image.built().expect("it is in the engine"));
    let layout = format!("oci:{}:x", folder.path().display());
    run("skopeo", &["copy", "-q", "--src-tls-verify=false", &format!("docker://{pulled}"), &layout]);
    let manifest: serde_json::Value = serde_json::from_str(&raw).expect("JSON");
    for (layer, diff_id) in manifest["layers"].as_array().expect("layers").iter().zip(&built.diff_ids) {
        let digest: Digest = layer["digest"].as_str().and_then(|digest| digest.parse().ok()).expect("a digest");
        let blob = fs::read(folder.path().join("blobs/sha256").join(digest.hex())).expect("a blob");
        if !holds_compressed {
            assert_eq!(Digest::of(zstd::decode_all(&blob[..]).expect("zstd")), *diff_id);
        }
    }
    image.remove();
    let version = run("docker", &["version", "--format", "{{.Server.Version}}"]);
    let major: u32 = version.split('.').next().and_then(|major| major.parse().ok()).expect("a version");
    let pull = std::process::Command::new("docker").args(["pull", "-q", &pulled]).output().expect("docker runs");
    assert_eq!(pull.status.success(), major >= 23 || holds_compressed, "{version}: {pull:?}");
    if pull.status.success() {
        assert_eq!(run("docker", &["run", "--rm", &pulled]), "one");
        run("docker", &["rmi", &pulled]);
    }
}

/// A runner of a CI service knows nothing: which blob a layer became, it learns from what is published.
#[test]
fn a_new_machine_learns_layers_from_what_is_published() {
    let registry = LocalRegistry::start(None);
    let one = LocalImage::build("one");
    let other = LocalImage::build_on(&one.name, "other");
    let push = |image: &LocalImage, events: &Arc<Trigger>| {
        let plan = plan(vec![("aws", image, vec![delivery("a", registry.repository(), &["moves aws"])])]);
        let machine = Machine::new();
        runtime(async { machine.publish(&plan, &hasty(&plan, &Sources::default()).await, &events.events()).await })
    };
    push(&one, &Trigger::never()).expect("it is published");
    let events = Trigger::never();
    push(&other, &events).expect("it is published");
    let learned = events.ended("learn").expect("it looked");
    assert!(
        learned.starts_with("Done: 2 layers taken as they are published (") && learned.ends_with(", 1 not known"),
        "{learned}"
    );
    assert!(
        events.ended("push a").expect("pushed").starts_with("Done: 2 blobs sent "),
        "{events:?}",
        events = events.ended("push a")
    );

    // What the registry has damaged teaches nothing. It keeps what it has of that digest, so nothing may be tagged.
    registry.garble(|size| size > 100_000);
    let error = push(&one, &Trigger::never()).expect_err("the registry is damaged");
    assert_eq!(error.exit(), Exit::PublishUntagged);
    assert!(error.to_string().contains("reads back as"), "{error}");
}

/// The tag is set, but the answer is lost; and then the registry lets nobody in any more.
#[test]
fn a_tag_that_may_be_set_is_never_nothing() {
    let real = LocalRegistry::start(None);
    let image = LocalImage::build("one");
    let closed = AtomicBool::new(false);
    let front = Front::before(&real.address, move |asked, behind| {
        if closed.load(Ordering::SeqCst) {
            return Say::Answer(front::error(403, "DENIED", "not any more"));
        }
        let answer = behind.answer(asked);
        if asked.method() == Method::PUT && asked.uri().path().ends_with("/manifests/aws-1") {
            closed.store(true, Ordering::SeqCst);
            return Say::Drop;
        }
        Say::Answer(answer)
    });
    let repository = format!("{}/team/image", front.address).parse().expect("a repository");
    let plan = plan(vec![("aws", &image, vec![delivery("a", repository, &["once aws-1"])])]);
    let events = Trigger::never().events();
    let push = async { Machine::new().publish(&plan, &hasty(&plan, &Sources::default()).await, &events).await };
    let error = runtime(push).expect_err("nobody is let in");
    assert!(real.skopeo("aws-1", None).is_some(), "{error}");
    assert_eq!(error.exit(), Exit::PublishPartly, "{error}");
}

#[test]
fn a_damaged_blob_does_not_leave_the_machine() {
    let (a, b) = (LocalRegistry::start(None), LocalRegistry::start(None));
    let image = LocalImage::build("one");
    let machine = Machine::new();
    let events = Trigger::never();
    let push = |to: &LocalRegistry, tags: &[&str]| {
        let plan = plan(vec![("aws", &image, vec![delivery("a", to.repository(), tags)])]);
        runtime(async { machine.publish(&plan, &hasty(&plan, &Sources::default()).await, &events.events()).await })
    };
    let first = push(&a, &["moves aws"]).expect("it is published").images[0].digest;
    let blobs = fs::read_dir(machine.cache.path().join("blobs/sha256")).expect("the blobs");
    let mut paths: Vec<_> = blobs.map(|blob| blob.expect("a blob").path()).collect();
    paths.sort_by_key(|path| fs::metadata(path).expect("a blob").len());
    let layer = paths.last().expect("a layer");
    let mut bytes = fs::read(layer).expect("the blob");
    bytes[20] ^= 1;
    fs::write(layer, bytes).expect("the blob is damaged");
    let error = push(&b, &["moves aws"]).expect_err("the blob is damaged");
    assert!(matches!(error, PublishError::Store(_)), "{error}");
    assert_eq!(error.exit(), Exit::PublishUntagged);
    // It was thrown away: the next run exports and compresses it again, to the same digest.
    assert_eq!(push(&b, &["moves aws"]).expect("it is published").images[0].digest, first);
}
