//! `promote`: tags are moved to what is published, without an engine.

use std::fs;
use std::sync::Arc;

use xtask::failure::Exit;
use xtask::oci::{Digest, Platform, Repository, media_type};
use xtask::publish::{
    Artifact, Attaching, AttachmentState, Circumstances, GivenIndex, Identified, IndexRelease, Located, Means, PublishError,
    Published, PublishedIndex, Registries, Release, ReleasePlan, TagState, Tree, VariantRelease, execute,
};
use xtask::registry::{Blob, BlobSource};
use xtask::store::Compression;

use crate::made::{Made, MadeIndex};
use crate::support::{LocalRegistry, Trigger};
use crate::{Machine, delivery, hasty_to, runtime, states};

struct World {
    registries: [Arc<LocalRegistry>; 2],
    clients: Registries,
    machine: Machine,
}

impl World {
    fn new() -> Self {
        let registries = [LocalRegistry::start(None), LocalRegistry::start(None)];
        let clients = hasty_to(registries.iter().map(|registry| registry.repository()));
        Self { registries, clients, machine: Machine::new() }
    }

    fn among(&self) -> Vec<(String, Repository)> {
        let named = ["a", "b"].iter().zip(&self.registries);
        named.map(|(name, registry)| ((*name).to_owned(), registry.repository())).collect()
    }

    async fn decide(&self, reference: &str, tags: &[&str]) -> Result<Release, PublishError> {
        Ok(self.decide_both(reference, tags).await?.0)
    }

    /// The images, and the index if it is one.
    async fn decide_both(&self, reference: &str, tags: &[&str]) -> Result<(Release, Option<GivenIndex>), PublishError> {
        let located = Located::find(reference, &self.among(), &self.clients).await?;
        let Identified { variant, images } = located.identify(&"epic".parse().expect("a name"))?;
        let to = |tags: &[&str]| -> Vec<_> {
            self.among().into_iter().map(|(name, repository)| delivery(&name, repository, tags)).collect()
        };
        let release = |(platform, input): &(Platform, Digest)| VariantRelease {
            variant: variant.clone(),
            platform: *platform,
            input: *input,
            built: None,
            config_digest: None,
            ancestors: Vec::new(),
            destinations: if located.index.is_some() { to(&[]) } else { to(tags) },
        };
        let circumstances = Circumstances { tree: Tree::Clean, allow_dirty: false };
        let plan = ReleasePlan::new(images.iter().map(release).collect(), circumstances).expect("a plan");
        let index = match located.index.clone() {
            Some(manifest) => {
                let platforms = images.iter().map(|(platform, _)| *platform).collect();
                let index = IndexRelease { variant: variant.clone(), platforms, destinations: to(tags) };
                Some(GivenIndex::decide(index, manifest, &self.clients, &self.machine.ledger()).await?)
            }
            None => None,
        };
        Ok((Release::given(plan, located, &self.clients, self.machine.ledger().view(), None).await?, index))
    }

    async fn promote(&self, reference: &str, tags: &[&str]) -> Result<Published, PublishError> {
        Ok(self.promote_both(reference, tags).await?.0)
    }

    async fn promote_both(&self, reference: &str, tags: &[&str]) -> Result<(Published, Vec<PublishedIndex>), PublishError> {
        let (release, index) = self.decide_both(reference, tags).await?;
        let (blobs, mut ledger, events) = (self.machine.blobs(), self.machine.ledger(), Trigger::never().events());
        let means = Means {
            registries: &self.clients,
            blobs: &blobs,
            compression: Compression::default(),
            events: &events,
            attaching: Attaching::Copies,
            verdict: None,
        };
        let export = async |_: &[String]| Err::<tokio::io::Empty, _>(std::io::Error::other("nothing is exported"));
        let published = execute(&release, &means, &mut ledger, export).await?;
        let indexes = match index {
            Some(index) => index.carry_out(&self.clients, &mut ledger, &events).await?,
            None => Vec::new(),
        };
        Ok((published, indexes))
    }

    fn digests(&self, tag: &str) -> [Option<Digest>; 2] {
        [0, 1].map(|at| self.registries[at].skopeo(tag, None))
    }
}

#[test]
fn back_and_forth_and_to_where_it_is_missing() {
    runtime(async {
        let world = World::new();
        let (old, new) = (Made::new("aws", &["base", "old", "entry"]), Made::new("aws", &["base", "new", "entry"]));
        let [a, b] = world.registries.each_ref().map(|registry| &world.clients[&registry.repository()]);
        // The old one is in one of them only.
        old.put(a, &["aws-1"]).await;
        new.put(a, &["aws-2", "aws"]).await;
        new.put(b, &["aws-2", "aws"]).await;

        let shown = world.decide("aws-1", &["moves aws"]).await.expect("decided").preview();
        let tag = &shown.variants[0].tags[0];
        assert_eq!((tag.action, tag.from, tag.to), ("move", Some(new.digest), Some(old.digest)));
        assert_eq!(shown.transfers.iter().map(|transfer| transfer.send).sum::<u64>(), 2, "a layer and a configuration");
        assert_eq!(world.digests("aws"), [Some(new.digest); 2], "a preview moves nothing");

        let back = world.promote("aws-1", &["moves aws"]).await.expect("promoted");
        assert!(states(&back).iter().all(|(_, state)| *state == TagState::Moved { from: new.digest }), "{back:?}");
        assert_eq!(world.digests("aws"), [Some(old.digest); 2]);
        world.promote(&new.digest.to_string(), &["moves aws"]).await.expect("promoted by digest");
        assert_eq!(world.digests("aws"), [Some(new.digest); 2]);
        let remembered = world.machine.ledger();
        let line = &remembered.view().tags[&world.registries[1].repository().tag("aws").to_string()].line;
        assert_eq!(line.digest, new.digest);

        // An immutable tag is set where it is missing, and never moved.
        let error = world.promote("aws-2", &["moves aws", "once aws-1"]).await.expect_err("it is taken");
        assert_eq!(error.exit(), Exit::Refused, "{error}");
        assert!(error.to_string().contains("aws-1` is immutable"), "{error}");
        assert_eq!(world.digests("aws-1"), [Some(old.digest), None]);
        world.promote("aws-1", &["once aws-1"]).await.expect("promoted");
        assert_eq!(world.digests("aws-1"), [Some(old.digest); 2]);
    });
}

#[test]
fn what_a_destination_has_lost_is_brought_back() {
    runtime(async {
        let world = World::new();
        let image = Made::new("aws", &["base", "aws", "entry"]);
        for client in world.clients.values() {
            image.put(client, &["aws"]).await;
        }
        let path = world.registries[1].blob(image.layer(1));
        fs::remove_file(&path).expect("removed");
        let promoted = world.promote("aws", &["moves aws"]).await.expect("promoted");
        assert!(states(&promoted).iter().all(|(_, state)| *state == TagState::AlreadyThere), "{promoted:?}");
        assert!(path.exists());
    });
}

#[test]
fn what_cannot_be_promoted() {
    runtime(async {
        let world = World::new();
        let [a, b] = world.registries.each_ref().map(|registry| &world.clients[&registry.repository()]);
        let (one, other) = (Made::new("aws", &["one"]), Made::new("aws", &["other"]));
        one.put(a, &["aws", "split"]).await;
        other.put(b, &["aws", "split"]).await;
        Made::labelled(&["x"], &[]).put(a, &["foreign"]).await;
        Made::labelled(&["x"], &[("gantry.family", "tiny"), ("gantry.variant", "aws")]).put(a, &["tiny"]).await;
        for (reference, exit, part) in [
            ("nothing", Exit::Missing, "no destination has `nothing`"),
            ("split", Exit::Refused, "`split` is not one image"),
            ("foreign", Exit::Refused, "it has no label `gantry.family`"),
            ("tiny", Exit::Refused, "it is an image of the family `tiny`"),
        ] {
            let error = world.promote(reference, &["moves aws"]).await.expect_err(reference);
            assert_eq!(error.exit(), exit, "{error}");
            assert!(error.to_string().contains(part), "{error}");
        }
        // With one registry down nothing moves in the other.
        world.registries[1].kill();
        let error = world.promote(&other.digest.to_string(), &["moves aws"]).await.expect_err("it is down");
        assert_eq!(error.exit(), Exit::PublishUntagged, "{error}");
        assert_eq!(world.registries[0].skopeo("aws", None), Some(one.digest));
    });
}

/// With several platforms a release is an index: its images are brought along before any tag points to it.
#[test]
fn an_index_is_promoted_with_its_images() {
    runtime(async {
        let world = World::new();
        let (old, new) = (MadeIndex::new("aws", &["base", "old", "entry"]), MadeIndex::new("aws", &["base", "new", "entry"]));
        let [a, b] = world.registries.each_ref().map(|registry| &world.clients[&registry.repository()]);
        old.put(a, &["aws-1"]).await;
        new.put(a, &["aws-2", "aws"]).await;
        new.put(b, &["aws-2", "aws"]).await;
        // What one of its images has lost is brought back, too.
        fs::remove_file(world.registries[1].blob(new.members[1].layer(1))).expect("removed");
        let at = async |tag: &str| [a.digest(tag).await.expect("asked"), b.digest(tag).await.expect("asked")];

        let (images, index) = world.decide_both("aws-1", &["once aws-1", "moves aws"]).await.expect("decided");
        let index = index.expect("an index").preview();
        assert_eq!(index.platforms, [Platform::LinuxAmd64, Platform::LinuxArm64]);
        let actions: Vec<_> = index.tags.iter().map(|tag| (tag.action, tag.from)).collect();
        assert_eq!(actions, [("keep", Some(old.digest)), ("move", Some(new.digest)), ("set", None), ("move", Some(new.digest))]);
        assert!(images.preview().variants.iter().all(|image| image.tags.is_empty()));
        assert_eq!(at("aws").await, [Some(new.digest); 2], "a preview moves nothing");

        let (back, indexes) = world.promote_both("aws-1", &["once aws-1", "moves aws"]).await.expect("promoted");
        assert_eq!((back.images.len(), indexes[0].digest), (2, Some(old.digest)));
        assert_eq!([at("aws").await, at("aws-1").await], [[Some(old.digest); 2]; 2]);
        for member in &old.members {
            assert!(b.digest(&member.digest.to_string()).await.expect("asked").is_some());
            assert!(world.registries[1].blob(member.layer(1)).exists());
        }
        world.promote_both(&new.digest.to_string(), &["moves aws"]).await.expect("promoted by digest");
        assert_eq!(at("aws").await, [Some(new.digest); 2]);
        assert!(world.registries[1].blob(new.members[1].layer(1)).exists());

        let error = world.promote_both("aws-2", &["once aws-1", "moves aws"]).await.expect_err("it is taken");
        assert_eq!(error.exit(), Exit::Refused, "{error}");
        // An image that is nowhere any more: nothing is moved.
        for registry in &world.registries {
            let gone = format!("../../revisions/sha256/{}", old.members[0].digest.hex());
            fs::remove_dir_all(registry.tag_folder("aws").join(gone)).expect("removed");
        }
        let error = world.promote_both("aws-1", &["moves aws"]).await.expect_err("an image of it is gone");
        assert_eq!(error.exit(), Exit::Missing, "{error}");
        assert_eq!(at("aws").await, [Some(new.digest); 2]);
    });
}

/// A rollback, or a copy to a registry that is new, takes along whatever refers to the image, by whomever.
#[test]
fn what_is_attached_goes_along() {
    runtime(async {
        let world = World::new();
        let image = Made::new("aws", &["base", "old", "entry"]);
        let [a, b] = world.registries.each_ref().map(|registry| &world.clients[&registry.repository()]);
        image.put(a, &["aws-1"]).await;
        let blob = |text: &'static str| Blob {
            digest: Digest::of(text),
            size: text.len() as u64,
            source: BlobSource::Memory(text.into()),
        };
        let (config, layer) = (blob("{}"), blob("a signature of somebody else"));
        for blob in [&config, &layer] {
            a.send(blob, &Arc::default()).await.expect("taken");
        }
        let entry = |blob: &Blob| serde_json::json!({"mediaType": "application/x", "digest": blob.digest, "size": blob.size});
        let signature = serde_json::json!({
            "schemaVersion": 2, "mediaType": media_type::MANIFEST, "artifactType": "application/signature",
            "config": entry(&config), "layers": [entry(&layer)], "annotations": {"by": "them"},
            "subject": {"mediaType": media_type::MANIFEST, "digest": image.digest, "size": 7},
        });
        let signature = Artifact::read(signature.to_string().into(), image.digest).expect("an artifact");
        a.attach(&signature.manifest, image.digest, &signature.referrer).await.expect("attached");

        let shown = world.decide("aws-1", &["moves aws"]).await.expect("decided").preview();
        assert_eq!(shown.attachments[0].destinations, [("a".to_owned(), "keep"), ("b".to_owned(), "attach")].into());
        let promoted = world.promote("aws-1", &["moves aws"]).await.expect("promoted");
        assert_eq!(promoted.images[0].attachments[0].artifact_type, "application/signature");
        let listed = b.referrers(image.digest, None).await.expect("listed");
        assert_eq!(listed, [signature.referrer]);
        assert!(b.holds_blob(layer.digest, layer.size).await.expect("asked"));
        let again = world.promote("aws-1", &["moves aws"]).await.expect("promoted");
        assert!(again.images[0].attachments[0].destinations.values().all(|state| *state == AttachmentState::AlreadyThere));
    });
}
