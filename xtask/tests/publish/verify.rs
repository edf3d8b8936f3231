//! `verify`: what is not as it should be in real registries.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;

use xtask::oci::{Digest, Platform};
use xtask::publish::verify::{Asked, Kind, Looking, Report, compare, look};
use xtask::publish::{Delivery, Ledger, Registries, State, TagKind, TagLine};

use crate::made::{Made, MadeIndex};
use crate::support::LocalRegistry;
use crate::{delivery, hasty_to, runtime};

/// Two registries that hold the same: `aws`, and `aws-web` on it.
struct World {
    registries: [Arc<LocalRegistry>; 2],
    clients: Registries,
    aws: Made,
    web: Made,
}

impl World {
    async fn new() -> Self {
        let registries = [LocalRegistry::start(None), LocalRegistry::start(None)];
        let clients = hasty_to(registries.iter().map(|registry| registry.repository()));
        let aws = Made::new("aws", &["base", "aws", "entrypoint"]);
        let web = Made::new("aws-web", &["base", "aws", "web", "entrypoint"]);
        for client in clients.values() {
            aws.put(client, &["aws", "aws-1"]).await;
            web.put(client, &["aws-web", "aws-web-1"]).await;
        }
        Self { registries, clients, aws, web }
    }

    fn asked(&self) -> Vec<Asked> {
        let [a, b] = &self.registries;
        let places =
            |tags: &[&str]| -> Vec<Delivery> { vec![delivery("a", a.repository(), tags), delivery("b", b.repository(), tags)] };
        let asked = |variant: &str, parent: Option<&str>, tags: &[&str]| Asked {
            variant: variant.parse().expect("a name"),
            parent: parent.map(|parent| parent.parse().expect("a name")),
            pins: BTreeSet::new(),
            platforms: vec![Platform::LinuxAmd64],
            deliveries: places(tags),
            tentative: BTreeSet::new(),
            aside: false,
        };
        vec![
            asked("aws", None, &["moves aws", "once aws-1"]),
            asked("aws-web", Some("aws"), &["moves aws-web", "once aws-web-1"]),
        ]
    }

    async fn verify(&self, ledger: &Ledger, deep: bool) -> Report {
        let (asked, looking) = (self.asked(), Looking { deep, sboms: false });
        let evidence = look(&asked, &self.clients, looking, None).await;
        compare(&"epic".parse().expect("a name"), &asked, &evidence, ledger.view(), deep)
    }

    async fn kinds(&self, ledger: &Ledger, deep: bool) -> Vec<(Kind, Option<String>)> {
        let report = self.verify(ledger, deep).await;
        report.differences.into_iter().map(|it| (it.kind, it.destination)).collect()
    }
}

#[test]
fn everything_that_is_wrong_is_found_in_one_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut ledger = Ledger::open(folder.path(), "epic-1").expect("a ledger");
    runtime(async {
        let world = World::new().await;
        let [a, b] = &world.registries;
        for deep in [false, true] {
            let report = world.verify(&ledger, deep).await;
            assert!(report.equal && report.tags.len() == 8, "{report}");
        }

        // A byte of a layer: it is there, and as long as before.
        let path = b.blob(world.web.layer(2));
        let whole = fs::read(&path).expect("the blob");
        let mut damaged = whole.clone();
        damaged[12] ^= 1;
        fs::write(&path, &damaged).expect("written");
        assert_eq!(world.kinds(&ledger, false).await, [], "which a look does not tell");
        assert_eq!(world.kinds(&ledger, true).await, [(Kind::Blob, Some("b".to_owned()))]);
        fs::write(&path, &whole[1..]).expect("written");
        assert_eq!(world.kinds(&ledger, false).await, [(Kind::Blob, Some("b".to_owned()))], "it is shorter");

        // The whole blob, which `aws` has in common with nobody; and a tag; and one that was moved; and the ledger.
        fs::remove_file(&path).expect("removed");
        let client = &world.clients[&a.repository()];
        Made::new("aws", &["base", "another aws", "entrypoint"]).put(client, &["aws"]).await;
        fs::remove_dir_all(b.tag_folder("aws-web-1")).expect("removed");
        let line = TagLine {
            variant: "aws".parse().expect("a name"),
            platform: Some(Platform::LinuxAmd64),
            destination: "b".to_owned(),
            reference: b.repository().tag("aws-1").to_string(),
            kind: TagKind::Immutable,
            digest: Digest::of("something else"),
            state: State::Pushed,
        };
        ledger.tag(line).expect("written");
        let at = |kind, destination: &str| (kind, Some(destination.to_owned()));
        let expected =
            [(Kind::Digest, None), at(Kind::Ledger, "b"), at(Kind::Missing, "b"), at(Kind::Blob, "b"), at(Kind::Parent, "a")];
        assert_eq!(world.kinds(&ledger, false).await, expected);

        a.kill();
        let found = world.kinds(&ledger, false).await;
        assert!(found.contains(&at(Kind::Unreachable, "a")) && found.contains(&at(Kind::Blob, "b")), "{found:?}");
        assert_ne!(world.aws.digest, world.web.digest);
    });
}

/// Of an index every platform's image is looked at, not only its manifest.
#[test]
fn what_is_wrong_with_a_platform_of_an_index() {
    let folder = tempfile::tempdir().expect("a folder");
    let ledger = Ledger::open(folder.path(), "epic-1").expect("a ledger");
    runtime(async {
        let registry = LocalRegistry::start(None);
        let clients = hasty_to([registry.repository()].into_iter());
        let index = MadeIndex::new("aws", &["base", "aws", "entrypoint"]);
        index.put(&clients[&registry.repository()], &["aws"]).await;
        let asked = [Asked {
            variant: "aws".parse().expect("a name"),
            parent: None,
            pins: BTreeSet::new(),
            platforms: vec![Platform::LinuxAmd64, Platform::LinuxArm64],
            deliveries: vec![delivery("a", registry.repository(), &["moves aws"])],
            tentative: BTreeSet::new(),
            aside: false,
        }];
        let kinds = async |deep| {
            let evidence = look(&asked, &clients, Looking { deep, sboms: true }, None).await;
            let report = compare(&"epic".parse().expect("a name"), &asked, &evidence, ledger.view(), deep);
            assert_eq!(report.tags[0].digest, Some(index.digest));
            report.differences.into_iter().map(|it| it.kind).collect::<Vec<_>>()
        };
        // Nobody has attached anything.
        assert_eq!(kinds(false).await, [Kind::Sbom; 2]);
        let path = registry.blob(index.members[1].layer(1));
        let whole = fs::read(&path).expect("the blob");
        let mut damaged = whole.clone();
        damaged[12] ^= 1;
        fs::write(&path, &damaged).expect("written");
        assert_eq!(kinds(true).await, [Kind::Blob, Kind::Sbom, Kind::Sbom]);
        fs::remove_file(&path).expect("removed");
        assert_eq!(kinds(false).await, [Kind::Blob, Kind::Sbom, Kind::Sbom]);
    });
}
