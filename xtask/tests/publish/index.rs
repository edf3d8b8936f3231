//! A family of two platforms: two machines, one index. The images are both of this machine's platform; only the plan says
//! that one of them is not.

use std::sync::Arc;

use xtask::event::Event;
use xtask::failure::Exit;
use xtask::oci::{Platform, Repository};
use xtask::publish::{
    Circumstances, Delivery, IndexRelease, PublishError, PublishedIndex, ReleasePlan, TagState, Tree, VariantRelease, complete,
    member_tag,
};
use xtask::registry::Sources;

use crate::support::front::{self, Front, Say};
use crate::support::{LocalImage, LocalRegistry, Trigger, run};
use crate::{Machine, delivery, hasty, runtime};

const PLATFORMS: [Platform; 2] = [Platform::LinuxAmd64, Platform::LinuxArm64];

struct Places(Arc<LocalRegistry>, Arc<LocalRegistry>);

impl Places {
    fn push(
        &self,
        machine: &Machine,
        image: &LocalImage,
        platform: Platform,
        events: &Arc<Trigger>,
    ) -> Result<PublishedIndex, PublishError> {
        push([self.0.repository(), self.1.repository()], machine, image, platform, events)
    }
}

/// What `push` does on a machine of this platform.
fn push(
    to: [Repository; 2],
    machine: &Machine,
    image: &LocalImage,
    platform: Platform,
    events: &Arc<Trigger>,
) -> Result<PublishedIndex, PublishError> {
    let deliveries = |tags: &[&str]| -> Vec<Delivery> {
        to.iter().zip(["a", "b"]).map(|(to, name)| delivery(name, to.clone(), tags)).collect()
    };
    let variant = || "aws".parse().expect("a name");
    let release = VariantRelease {
        variant: variant(),
        platform,
        input: image.input,
        built: image.built(),
        config_digest: None,
        ancestors: Vec::new(),
        destinations: deliveries(&[&format!("once {}", member_tag("aws-1", platform))]),
    };
    let plan = ReleasePlan::new(vec![release], Circumstances { tree: Tree::Clean, allow_dirty: false });
    let plan = plan.expect("nothing is forbidden");
    let destinations = deliveries(&["once aws-1", "moves aws"]);
    let index = IndexRelease { variant: variant(), platforms: PLATFORMS.to_vec(), destinations };
    runtime(async {
        let registries = hasty(&plan, &Sources::default()).await;
        let published = machine.publish(&plan, &registries, &events.events()).await?;
        let mut ledger = machine.ledger();
        let completed = complete(&[index], &registries, &mut ledger, &events.events()).await;
        Ok(completed.map_err(|error| error.after(&published))?.remove(0))
    })
}

#[test]
fn the_last_platform_makes_the_index() {
    let places = Places(LocalRegistry::start(None), LocalRegistry::start(None));
    let (amd64, arm64) = (LocalImage::build("one"), LocalImage::build("other"));
    let (first, second) = (Machine::new(), Machine::new());
    let events = Trigger::never();
    let index = places.push(&first, &amd64, Platform::LinuxAmd64, &events).expect("its own platform is published");
    assert_eq!((index.digest, &index.missing[..]), (None, &[Platform::LinuxArm64][..]));
    assert_eq!(places.0.tags(), ["aws-1-amd64"]);
    let told = |event: &Event| matches!(event, Event::Note { text } if text.contains("when linux/arm64 is published, too"));
    assert!(events.seen().iter().any(told));

    let index = places.push(&second, &arm64, Platform::LinuxArm64, &Trigger::never()).expect("all is published");
    assert!(index.tags.iter().all(|tag| tag.state == TagState::Set), "{index:?}");
    for registry in [&places.0, &places.1] {
        assert_eq!(registry.tags(), ["aws", "aws-1", "aws-1-amd64", "aws-1-arm64"]);
        for tag in ["aws", "aws-1"] {
            let raw = run(
                "skopeo",
                &["inspect", "--raw", "--tls-verify=false", &format!("docker://{}", registry.repository().tag(tag))],
            );
            assert_eq!(Some(xtask::oci::Digest::of(&raw)), index.digest, "{tag}");
            let raw: serde_json::Value = serde_json::from_str(&raw).expect("JSON");
            let members = raw["manifests"].as_array().expect("manifests").iter();
            let members: Vec<_> =
                members.map(|member| (member["platform"]["architecture"].as_str(), member["digest"].as_str())).collect();
            let digest = |tag| registry.skopeo(tag, None).map(|digest| digest.to_string());
            let (amd64, arm64) = (digest("aws-1-amd64"), digest("aws-1-arm64"));
            assert_eq!(members, [(Some("amd64"), amd64.as_deref()), (Some("arm64"), arm64.as_deref())]);
        }
    }
    // The first machine once more: everything is there.
    let again = places.push(&first, &amd64, Platform::LinuxAmd64, &Trigger::never()).expect("all is published");
    assert_eq!(again.digest, index.digest);
    assert!(again.tags.iter().all(|tag| tag.state == TagState::AlreadyThere), "{again:?}");
}

#[test]
fn an_index_under_an_immutable_tag_stays() {
    let places = Places(LocalRegistry::start(None), LocalRegistry::start(None));
    let (amd64, arm64) = (LocalImage::build("one"), LocalImage::build("other"));
    let machine = Machine::new();
    places.push(&machine, &amd64, Platform::LinuxAmd64, &Trigger::never()).expect("published");
    // Somebody has taken the name.
    let taken = format!("docker://{}", places.1.repository().tag("aws-1"));
    let ours = format!("docker://{}", places.1.repository().tag("aws-1-amd64"));
    run("skopeo", &["copy", "-q", "--src-tls-verify=false", "--dest-tls-verify=false", &ours, &taken]);
    let error = places.push(&machine, &arm64, Platform::LinuxArm64, &Trigger::never()).expect_err("it is taken");
    let PublishError::Refused { refusals } = &error else { panic!("{error}") };
    assert!(refusals[0].to_string().contains("aws-1` is immutable and is "), "{error}");
    assert_eq!(places.0.tags(), ["aws-1-amd64", "aws-1-arm64"], "nothing else was set");
}

#[test]
fn an_index_that_cannot_be_made_does_not_hide_that_tags_were_set() {
    let (a, b) = (LocalRegistry::start(None), LocalRegistry::start(None));
    let image = LocalImage::build("one");
    let machine = Machine::new();
    // The other platform's tag is asked for when the index is to be made, and not before.
    let front = Front::before(&b.address, |asked, behind| match asked.uri().path().ends_with("/manifests/aws-1-amd64") {
        true => Say::Answer(front::error(403, "DENIED", "not this one")),
        false => Say::Answer(behind.answer(asked)),
    });
    let behind_it = format!("{}/team/image", front.address).parse().expect("a repository");
    push([a.repository(), b.repository()], &machine, &image, Platform::LinuxAmd64, &Trigger::never()).expect("published");
    let to = || [a.repository(), Repository::clone(&behind_it)];
    let error = push(to(), &machine, &image, Platform::LinuxArm64, &Trigger::never()).expect_err("it cannot be asked");
    assert_eq!(error.exit(), Exit::PublishPartly, "{error}");
    let PublishError::Partly { tags, .. } = &error else { panic!("{error}") };
    assert!(tags.iter().all(|tag| tag.contains(":aws-1-arm64@sha256:")) && tags.len() == 2, "{tags:?}");
    // Once more: now nothing is set.
    let error = push(to(), &machine, &image, Platform::LinuxArm64, &Trigger::never()).expect_err("it cannot be asked");
    assert_eq!(error.exit(), Exit::PublishUntagged, "{error}");
}
