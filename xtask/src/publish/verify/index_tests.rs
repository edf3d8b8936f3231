//! A family of several platforms, whose tags point to indexes.

use super::*;

impl World {
    /// The family is for two platforms: all tags of `aws-web` and `aws` point to an index there, with these layers of `aws-web` for
    /// the second one. Its digest.
    fn indexed(&mut self, at: &str, layers: &[&str], more: &[(&str, &str)]) -> Digest {
        let mut last = Digest::of(at);
        for (variant, layers) in [("aws", &["base arm", "aws arm", "entrypoint arm"][..]), ("aws-web", layers)] {
            let arm64 = [&[(plan::PLATFORM, "linux/arm64")][..], if variant == "aws" { &[] } else { more }].concat();
            let first = ["base", "aws", "web", "entrypoint"].iter().filter(|layer| **layer != "web" || variant != "aws");
            let first = first.copied().collect::<Vec<_>>();
            let members = [image(variant, &first, &[(plan::PLATFORM, "linux/amd64")]), image(variant, layers, &arm64)];
            let mut index = SeenImage::default();
            for member in members {
                let digest = member.image.as_ref().expect("an image").manifest.digest;
                index.members.insert(digest);
                self.evidence.images.insert((repository(at), digest), member);
            }
            last = Digest::of(format!("the index of {variant}"));
            self.evidence.images.insert((repository(at), last), index);
            let of_variant = |tag: &&mut SeenTag| tag.variant.as_str() == variant && tag.destination == at;
            self.evidence.tags.iter_mut().filter(of_variant).for_each(|tag| tag.found = Ok(Some(last)));
        }
        self.asked.iter_mut().for_each(|asked| asked.platforms = vec![Platform::LinuxAmd64, Platform::LinuxArm64]);
        last
    }
}

#[test]
fn what_differs_in_an_index() {
    type Case = (&'static str, &'static [&'static str], &'static [(&'static str, &'static str)], fn(&mut World, Digest));
    const WEB: [&str; 4] = ["base arm", "aws arm", "web arm", "entrypoint arm"];
    type Expected<'a> = &'a [(Kind, &'a str)];
    let cases: &[(Case, Expected<'_>)] = &[
        (("nothing", &WEB, &[], |_, _| {}), &[]),
        (
            ("a label of one platform's image", &WEB, &[(VERSION, "")], |_, _| {}),
            &[(Kind::Label, "lacks the label `org.opencontainers.image.version`")],
        ),
        (("what is not to be published", &WEB, &[(plan::OMITTED, "vscode-cli")], |_, _| {}), &[(Kind::Policy, "vscode-cli")]),
        (
            ("a child of another parent", &["base arm", "aws", "web arm", "entrypoint arm"], &[], |_, _| {}),
            &[(Kind::Parent, "it has 1 of its 2 layers")],
        ),
        (
            ("another entrypoint for the same platform", &["base arm", "aws arm", "web arm", "entrypoint"], &[], |_, _| {}),
            &[(Kind::Entrypoint, "another than that of `aws`")],
        ),
        (
            ("a blob of one platform's image", &WEB, &[], |world, index| {
                let member = *world.evidence.images[&(repository("a"), index)].members.iter().next().expect("a member");
                let member = world.evidence.images.get_mut(&(repository("a"), member)).expect("the image");
                member.faults.push(Fault::NoBlob { digest: Digest::of("layer") });
            }),
            &[(Kind::Blob, "the blob sha256:")],
        ),
        (
            ("a platform that is not there", &WEB, &[], |world, index| {
                let index = world.evidence.images.get_mut(&(repository("a"), index)).expect("the index");
                index.members.pop_last();
            }),
            &[(Kind::Manifest, "`a.example.org/team/epic:aws-web` has no image for linux/a")],
        ),
        (
            ("one platform's image instead", &WEB, &[], |world, index| {
                let member = *world.evidence.images[&(repository("a"), index)].members.iter().next().expect("a member");
                world.tag("a", "aws-web").found = Ok(Some(member));
            }),
            &[(Kind::Manifest, "alone, and is to be an index of linux/amd64, linux/arm64")],
        ),
    ];
    for ((case, layers, more, change), expected) in cases {
        let mut world = World::new();
        world.asked.iter_mut().for_each(|asked| asked.deliveries.retain(|to| to.destination == "a"));
        world.evidence.tags.retain(|tag| tag.destination == "a");
        let index = world.indexed("a", layers, more);
        change(&mut world, index);
        let report = world.report();
        let found: Vec<_> = report.differences.iter().map(|it| (it.kind, it.message.as_str())).collect();
        let same = found.len() == expected.len()
            && found.iter().zip(*expected).all(|(found, (kind, part))| found.0 == *kind && found.1.contains(part));
        assert!(same, "{case}: {found:#?}");
    }
}
