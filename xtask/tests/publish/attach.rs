//! Attachments of a release: SBOMs that consumers find, in every destination, before any tag is set.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};
use xtask::event::Event;
use xtask::failure::Exit;
use xtask::host::places::Places;
use xtask::host::setup::python;
use xtask::oci::{Digest, media_type};
use xtask::publish::verify::{Asked, Kind, Looking, compare, look};
use xtask::publish::{Because, Delivery, Describe, Described, Image, PublishError, Published, Refusal, Registries, Truth};
use xtask::registry::fallback_tag;

use crate::support::front::{Front, Say, error};
use crate::support::referrers::{Habits, Referrers};
use crate::support::{LocalImage, LocalRegistry, Trigger, run};
use crate::{Machine, delivery, hasty_to, plan, runtime};

/// Says what an image is, and counts how often it was asked.
#[derive(Default)]
struct Counting {
    asked: AtomicU32,
    fails: bool,
    /// It says something else.
    lies: bool,
    /// It has read every image, and knows when others lie.
    knows: bool,
}

impl Describe for Counting {
    fn sbom<'a>(&'a self, image: &'a Image, _: &'a Delivery) -> Described<'a> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let document = self.document(image);
        let said = if self.fails { Err("a layer cannot be read".to_owned()) } else { Ok(Bytes::from(document)) };
        Box::pin(std::future::ready(said))
    }

    fn knows(&self, image: &Image) -> Option<Truth> {
        let truth = Self::default().document(image);
        self.knows.then(|| -> Truth { Box::new(move |document| (document != truth.as_bytes()).then(|| "it lies".to_owned())) })
    }
}

impl Counting {
    fn document(&self, image: &Image) -> String {
        let of = if self.lies { "another".to_owned() } else { image.config_digest.to_string() };
        json!({"bomFormat": "CycloneDX", "of": of}).to_string()
    }
}

fn machine() -> (Machine, Arc<Counting>) {
    let counting = Arc::new(Counting::default());
    let describe: Arc<dyn Describe> = counting.clone();
    (Machine { describe: Some(describe), ..Machine::new() }, counting)
}

/// Publishes one image to these addresses under `aws-1` and `aws`.
fn push(machine: &Machine, image: &LocalImage, to: &[(&str, &str)], events: &Arc<Trigger>) -> Result<Published, PublishError> {
    let at = |address: &str| format!("{address}/team/image").parse().expect("a repository");
    let to = to.iter().map(|(name, address)| delivery(name, at(address), &["once aws-1", "moves aws"])).collect();
    let plan = plan(vec![("aws", image, to)]);
    let repositories = plan.variants().iter().flat_map(|release| &release.destinations).map(|to| to.repository.clone());
    let registries: Registries = hasty_to(repositories);
    runtime(async { machine.publish(&plan, &registries, &events.events()).await })
}

/// As any client does it that knows nothing of us: the SBOMs of what a tag points to, by skopeo and the tag's name alone.
fn sboms(registry: &LocalRegistry, tag: &str) -> Vec<(String, Value)> {
    let image = registry.skopeo(tag, None).expect("the tag is there");
    let raw = |reference: String| {
        let text = run("skopeo", &["inspect", "--raw", "--tls-verify=false", &format!("docker://{reference}")]);
        serde_json::from_str::<Value>(&text).expect("JSON")
    };
    let index = raw(registry.repository().tag(fallback_tag(image)).to_string());
    let ours =
        index["manifests"].as_array().expect("entries").iter().filter(|entry| entry["artifactType"] == media_type::CYCLONEDX);
    ours.map(|entry| {
        let digest = entry["digest"].as_str().expect("a digest");
        let manifest = raw(format!("{}@{digest}", registry.repository()));
        assert_eq!(manifest["subject"]["digest"], image.to_string());
        let blob: Digest = manifest["layers"][0]["digest"].as_str().expect("a digest").parse().expect("a digest");
        let text = std::fs::read(registry.blob(blob)).expect("the document");
        assert_eq!(Digest::of(&text), blob);
        (digest.to_owned(), serde_json::from_slice(&text).expect("JSON"))
    })
    .collect()
}

#[test]
fn every_destination_has_the_same_sbom_before_any_tag() {
    let (a, b) = (LocalRegistry::start(None), LocalRegistry::start(None));
    let (image, events) = (LocalImage::build("one"), Trigger::never());
    let (machine, counting) = machine();
    let both = [("a", a.address.as_str()), ("b", b.address.as_str())];
    let published = push(&machine, &image, &both, &events).expect("published");
    let [told] = &published.images[0].attachments[..] else { panic!("{published:?}") };
    assert_eq!((told.because, told.destinations.len()), (Because::Made, 2));
    for registry in [&a, &b] {
        let found = sboms(registry, "aws");
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].0.as_str(), &found[0].1["of"]), (told.digest.to_string().as_str(), &json!(image.config_digest())));
    }
    let steps: Vec<String> = events
        .seen()
        .into_iter()
        .filter_map(|event| match event {
            Event::StepStarted { step, .. } => Some(format!("{step} starts")),
            Event::StepFinished { step, .. } => Some(format!("{step} ends")),
            _ => None,
        })
        .collect();
    let place = |wanted: &str| steps.iter().position(|step| step == wanted).unwrap_or_else(|| panic!("{wanted} in {steps:?}"));
    assert!(place("push b ends") < place("attach starts") && place("attach ends") < place("tag immutable starts"));
    let line = |registry: &LocalRegistry| (registry.repository().digest(published.images[0].digest).to_string(), told.digest);
    assert!([&a, &b].iter().all(|registry| machine.ledger().view().attachments.contains_key(&line(registry))));

    // Once more: nothing is made, and nothing written. On another machine, neither.
    let elsewhere = Machine { describe: machine.describe.clone(), ..Machine::new() };
    for machine in [&machine, &elsewhere] {
        let (fronts, events) = (
            [&a, &b].map(|registry| Front::before(&registry.address, |asked, behind| Say::Answer(behind.answer(asked)))),
            Trigger::never(),
        );
        let to = [("a", fronts[0].address.as_str()), ("b", fronts[1].address.as_str())];
        let again = push(machine, &image, &to, &events).expect("published");
        assert_eq!(again.images[0].attachments[0].digest, told.digest);
        assert_eq!(events.ended("attach").as_deref(), Some("UpToDate: 0 attached, 2 were there"));
        assert_eq!(counting.asked.load(Ordering::Relaxed), 1);
        let writes: Vec<String> = fronts.iter().flat_map(Front::lines).filter(|line| line.starts_with('P')).collect();
        assert_eq!(writes, Vec::<String>::new());
    }

    // A destination that is new gets a copy, and what one has lost is brought back.
    let c = LocalRegistry::start(None);
    std::fs::remove_dir_all(b.tag_folder(&fallback_tag(published.images[0].digest))).expect("lost");
    let more = push(&elsewhere, &image, &[("b", &b.address), ("c", &c.address), ("a", &a.address)], &Trigger::never())
        .expect("published");
    assert_eq!(more.images[0].attachments[0].because, Because::Published);
    assert_eq!(sboms(&c, "aws"), sboms(&a, "aws"));
    assert_eq!(sboms(&b, "aws"), sboms(&a, "aws"));
    assert_eq!(counting.asked.load(Ordering::Relaxed), 1);
}

/// What `oras discover` finds of what refers to a tag at an address: digests.
fn discovered(address: &str, tag: &str) -> Vec<String> {
    let places = Places::from_env(&|name| std::env::var(name).ok()).expect("a home");
    let mut oras = Command::new(python::folder(&places).join("bin/oras"));
    oras.args(["discover", "--plain-http", "--format", "json", "--artifact-type", media_type::CYCLONEDX]);
    let output = oras.arg(format!("{address}/team/image:{tag}")).output().expect("oras (`cargo xtask setup --tests`)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let digests =
        found["manifests"].as_array().expect("a list").iter().map(|one| one["digest"].as_str().expect("a digest").to_owned());
    digests.collect()
}

/// By the list of a registry that keeps one, and by the tag that stands in for it.
#[test]
fn oras_discovers_it() {
    let (plain, behind) = (LocalRegistry::start(None), LocalRegistry::start(None));
    let lists = Referrers::before(&behind.address, Habits::default());
    let (image, (machine, _)) = (LocalImage::build("one"), machine());
    let both = [("plain", plain.address.as_str()), ("lists", lists.front.address.as_str())];
    let published = push(&machine, &image, &both, &Trigger::never()).expect("published");
    let sbom = published.images[0].attachments[0].digest.to_string();
    for (_, address) in both {
        assert_eq!([discovered(address, "aws"), discovered(address, "aws-1")], [[sbom.clone()], [sbom.clone()]], "{address}");
    }
    assert!(lists.front.lines().iter().any(|line| line.contains("/referrers/")));
}

#[test]
fn without_sboms_nothing_is_attached_and_a_later_run_attaches() {
    let (a, image) = (LocalRegistry::start(None), LocalImage::build("one"));
    let to = [("a", a.address.as_str())];
    let (machine, _) = machine();
    let without = Machine::new();
    let published = push(&without, &image, &to, &Trigger::never()).expect("published");
    assert_eq!((published.images[0].attachments.len(), a.all_tags()), (0, a.tags()));
    push(&machine, &image, &to, &Trigger::never()).expect("published");
    assert_eq!(sboms(&a, "aws").len(), 1);
}

#[test]
fn what_cannot_be_attached_stops_the_release_before_any_tag() {
    let image = LocalImage::build("one");
    // The second destination refuses what refers to something; lists nothing; the document cannot be made.
    let refuses = |asked: &crate::support::front::Asked| {
        let body: Value = serde_json::from_slice(asked.body()).unwrap_or_default();
        *asked.method() == Method::PUT && body.get("subject").is_some()
    };
    for case in ["refuses", "lists nothing", "cannot be made"] {
        let (a, b) = (LocalRegistry::start(None), LocalRegistry::start(None));
        let front = Front::before(&b.address, move |asked, behind| match refuses(asked) {
            true => Say::Answer(error(405, "UNSUPPORTED", "no artifacts here")),
            false => Say::Answer(behind.answer(asked)),
        });
        let empty = Referrers::before(&b.address, Habits { lists: false, ..Habits::default() });
        let (mut machine, _) = machine();
        let (second, words) = match case {
            "refuses" => (&front.address, "`b`: "),
            "lists nothing" => (&empty.front.address, "nothing among what refers to"),
            _ => {
                machine.describe = Some(Arc::new(Counting { fails: true, ..Counting::default() }));
                (&b.address, "the SBOM of `aws` cannot be made: a layer cannot be read")
            }
        };
        let error = push(&machine, &image, &[("a", &a.address), ("b", second)], &Trigger::never()).expect_err(case);
        assert_eq!(error.exit(), Exit::PublishUntagged, "{case}: {error}");
        assert!(error.to_string().contains(words), "{case}: {error}");
        assert_eq!([a.tags(), b.tags()], [Vec::<String>::new(), Vec::new()], "{case}");
    }
}

/// Another program has read the index before ours was in it, and writes it after we have read ours back.
#[test]
fn an_entry_that_is_lost_while_tags_are_set_is_written_again() {
    let (a, image) = (LocalRegistry::start(None), LocalImage::build("one"));
    let (machine, _) = machine();
    let folder = Arc::new(Mutex::new(None));
    let (registry, kept) = (Arc::clone(&a), Arc::clone(&folder));
    let at_tags = |event: &Event| matches!(event, Event::StepStarted { step, .. } if step == "tag moving");
    let events = Trigger::new(at_tags, move || {
        let tags = registry.all_tags();
        let tag = tags.iter().find(|tag| tag.starts_with("sha256-")).expect("the index");
        std::fs::remove_dir_all(registry.tag_folder(tag)).expect("lost");
        *kept.lock().expect("the tag") = Some(tag.clone());
    });
    push(&machine, &image, &[("a", &a.address)], &events).expect("published");
    assert!(folder.lock().expect("the tag").is_some());
    assert_eq!(sboms(&a, "aws").len(), 1);
}

#[test]
fn verify_tells_where_an_image_lacks_its_sbom() {
    let (a, b) = (LocalRegistry::start(None), LocalRegistry::start(None));
    let image = LocalImage::build("one");
    let (machine, _) = machine();
    let published = push(&machine, &image, &[("a", &a.address), ("b", &b.address)], &Trigger::never()).expect("published");
    let clients = hasty_to([&a, &b].into_iter().map(|registry| registry.repository()));
    let kinds = |deep: bool| {
        let to = [("a", &a), ("b", &b)].map(|(name, at)| delivery(name, at.repository(), &["moves aws"]));
        let asked = [Asked {
            variant: "aws".parse().expect("a name"),
            parent: None,
            pins: Default::default(),
            platforms: Vec::new(),
            deliveries: to.to_vec(),
            tentative: Default::default(),
            aside: false,
        }];
        let evidence = runtime(look(&asked, &clients, Looking { deep, sboms: true }, machine.describe.as_deref()));
        let report = compare(&"epic".parse().expect("a name"), &asked, &evidence, machine.ledger().view(), deep);
        let of_sboms = report.differences.into_iter().filter(|it| it.kind == Kind::Sbom);
        of_sboms.map(|it| (it.destination, it.message)).collect::<Vec<_>>()
    };
    assert_eq!((kinds(false), kinds(true)), (vec![], vec![]));
    let (_, document) = (published.images[0].attachments[0].digest, image.config_digest());
    let blob = Digest::of(json!({"bomFormat": "CycloneDX", "of": document}).to_string());
    let whole = std::fs::read(b.blob(blob)).expect("the document");
    std::fs::write(b.blob(blob), vec![b'x'; whole.len()]).expect("damaged");
    assert_eq!(kinds(false), vec![]);
    let deep = kinds(true);
    assert!(deep.len() == 1 && deep[0].0.as_deref() == Some("b") && deep[0].1.contains("damaged"), "{deep:?}");
    std::fs::remove_dir_all(b.tag_folder(&fallback_tag(published.images[0].digest))).expect("lost");
    let lost = kinds(false);
    assert!(lost.len() == 1 && lost[0].1.contains("has no SBOM; the ledger says that"), "{lost:?}");
}

/// Two machines publish the same at the same time: the SBOM has the same bytes, so that there is one.
#[test]
fn two_publishers_at_once_attach_one_sbom() {
    let (a, b, image) = (LocalRegistry::start(None), LocalRegistry::start(None), LocalImage::build("one"));
    let publishing = || {
        let (machine, _) = machine();
        push(&machine, &image, &[("a", &a.address), ("b", &b.address)], &Trigger::never())
    };
    let (one, two) = std::thread::scope(|scope| {
        let one = scope.spawn(publishing);
        (publishing(), one.join().expect("it ends"))
    });
    // A registry may answer 500 while another writes the same tag, for longer than these clients wait; one of them gets through,
    // and the other one the next time.
    assert!(one.is_ok() || two.is_ok(), "{one:?} {two:?}");
    publishing().expect("published");
    for registry in [&a, &b] {
        assert_eq!(sboms(registry, "aws").len(), 1);
    }
}

/// In ECR every tag but those that move is set once: the tag that stands in for a list could never be completed.
#[test]
fn where_tags_are_immutable_the_list_is_enough() {
    let (behind, image) = (LocalRegistry::start(None), LocalImage::build("one"));
    let list = Referrers::before(&behind.address, Habits::default());
    let fixed = Front::before(&list.front.address, |asked, behind| {
        let tag = asked.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        match *asked.method() == Method::PUT && tag.starts_with("sha256-") {
            true => Say::Answer(error(400, "TAG_INVALID", "the repository is immutable")),
            false => Say::Answer(behind.answer(asked)),
        }
    });
    let (machine, counting) = machine();
    for _ in 0..2 {
        push(&machine, &image, &[("ecr", &fixed.address)], &Trigger::never()).expect("published");
    }
    assert_eq!((behind.all_tags(), counting.asked.load(Ordering::Relaxed)), (behind.tags(), 1));
}

#[test]
fn what_was_tried_is_published_and_nothing_else() {
    let (a, image) = (LocalRegistry::start(None), LocalImage::build("one"));
    let machine = Machine::new();
    let plan = |tested: Digest| {
        let to = delivery("a", a.repository(), &["once aws-1", "moves aws"]);
        plan(vec![("aws", &image, vec![to])]).tested(&[("aws".parse().expect("a name"), tested)].into())
    };
    let clients = hasty_to([a.repository()].into_iter());
    let publish = |tested| runtime(async { machine.publish(&plan(tested), &clients, &Trigger::never().events()).await });
    let error = publish(Digest::of("another image")).expect_err("another one was tried");
    assert_eq!((error.exit(), a.tags()), (Exit::Refused, Vec::new()), "{error}");
    assert!(error.to_string().contains(&format!("is {} now", image.config_digest())), "{error}");
    publish(image.config_digest()).expect("published");
}

/// An engine that keeps manifests calls an image by one: whether it failed is known once its layers are read.
#[test]
fn what_failed_is_refused_before_any_tag_even_where_that_is_known_late() {
    let (a, image) = (LocalRegistry::start(None), LocalImage::build("one"));
    let clients = hasty_to([a.repository()].into_iter());
    let wanted = plan(vec![("aws", &image, vec![delivery("a", a.repository(), &["once aws-1", "moves aws"])])]);
    let failed = |image: &str, config| {
        let (image, at, checks) = (image.to_owned(), "2026-11-20".to_owned(), vec!["`ssh`".to_owned()]);
        Some(Refusal::Failed { image, config, at, checks })
    };
    let machine = Machine::new();
    let publish = |verdict| runtime(async { machine.publish_if(&wanted, &clients, &Trigger::never().events(), verdict).await });
    let error = publish(Some(&failed)).expect_err("it failed");
    assert_eq!((error.exit(), a.tags()), (Exit::Refused, Vec::new()), "{error}");
    let words = format!("`{}` ({}) failed smoke at 2026-11-20: `ssh`", image.name, image.config_digest());
    assert!(error.to_string().contains(&words), "{error}");
    // What is published already, as well.
    publish(Some(&|_, _| None)).expect("published");
    assert_eq!(publish(Some(&failed)).expect_err("it failed").exit(), Exit::Refused);
}

#[test]
fn an_sbom_that_lies_is_neither_believed_nor_copied() {
    let (a, b, image) = (LocalRegistry::start(None), LocalRegistry::start(None), LocalImage::build("one"));
    let says = |lies: bool, knows: bool| Machine {
        describe: Some(Arc::new(Counting { lies, knows, ..Counting::default() })),
        ..Machine::new()
    };
    let (liar, stranger, reader) = (says(true, false), says(false, false), says(false, true));
    let lie = push(&liar, &image, &[("a", &a.address)], &Trigger::never()).expect("published").images[0].attachments[0].digest;
    // Who has not read the image has to believe it.
    let believed = push(&stranger, &image, &[("a", &a.address)], &Trigger::never()).expect("published");
    assert_eq!(believed.images[0].attachments[0].digest, lie);
    let both = [("a", a.address.as_str()), ("b", b.address.as_str())];
    let warned = |events: &Trigger| {
        let texts =
            events.seen().into_iter().filter_map(|event| if let Event::Warning { text } = event { Some(text) } else { None });
        texts.filter(|text| text.contains(&lie.to_string())).collect::<Vec<_>>()
    };
    for because in [Because::Made, Because::Published] {
        let events = Trigger::never();
        let published = push(&reader, &image, &both, &events).expect("published");
        let told = &published.images[0].attachments[..];
        assert_eq!((told.len(), told[0].because, told[0].digest == lie), (1, because, false));
        let warnings = warned(&events);
        let words = format!("of `aws` in `{}` is not believed and not copied: it lies", a.repository());
        assert!(warnings.len() == 1 && warnings[0].contains(&words), "{warnings:?}");
    }
    // The right one stands beside it, and alone where the other one was never.
    assert_eq!([sboms(&a, "aws").len(), sboms(&b, "aws").len()], [2, 1]);
    assert_eq!(sboms(&b, "aws")[0].1["of"], image.config_digest().to_string());
}
