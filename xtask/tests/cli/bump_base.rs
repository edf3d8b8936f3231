//! `bump` of what is no pin: base images that are named by digest, and the build date. No engine: the images are some bytes in a
//! real registry.

use std::sync::Arc;

use serde_json::{Value, json};

use super::bump::{BEFORE, Pinned};
use crate::support::registry::LocalRegistry;
use ::xtask::oci::Digest;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// What the tag pointed to when the file was written.
const OLD: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A family on images of a registry, with two platforms.
struct Based {
    pinned: Pinned,
    registry: Arc<LocalRegistry>,
}

impl Based {
    fn new() -> Self {
        let based = Self { pinned: Pinned::with_newer(), registry: LocalRegistry::start(None) };
        based.pinned.write("variants.toml", &based.table(OLD, "2001-01-01"));
        based.pinned.commit();
        based
    }

    /// variants.toml with this base and build date.
    fn table(&self, digest: &str, date: &str) -> String {
        let image = format!("{}:trixie@{digest}", self.registry.repository());
        let short = &digest["sha256:".len()..][..12];
        let profiles = format!(
            "[profiles]\nother = {{ base={{ image = '{image}' }}, vendors = false }}\t# as the default\n\n\
             [profiles.default] # below\nbase   = {{ image = \"{image}\" }} # trixie@sha256:{short}, of Debian\nvendors = false\n"
        );
        let table = BEFORE.replace("[profiles.default]\nbase = { bootstrap = \"trixie\" }\nvendors = false\n", &profiles);
        let table = table.replace("platforms = [\"linux/amd64\"]", "platforms = [\"linux/amd64\", \"linux/arm64\"]");
        let table = table.replace("arch = { amd64 = \"x64\" }", "arch = { amd64 = \"x64\", arm64 = \"arm64\" }");
        let dated = format!("build-date = \"{date}\"             # {date};");
        self.pinned.table(&table.replace("build-date = \"2026-11-20\"             #", &dated))
    }

    /// An image for a platform; its descriptor. Its index need not say which.
    fn image(&self, platform: &str, is_said: bool) -> Value {
        let (os, architecture) = platform.split_once('/').expect("a platform");
        let config = json!({ "os": os, "architecture": architecture, "rootfs": { "type": "layers", "diff_ids": [] } });
        let config = self.registry.put_blob("application/vnd.oci.image.config.v1+json", &config.to_string());
        let manifest = json!({ "schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [] });
        let digest = self.registry.put_manifest(MANIFEST, &manifest, Some("trixie"));
        let mut member = json!({ "mediaType": MANIFEST, "digest": digest, "size": manifest.to_string().len() });
        if is_said {
            member["platform"] = json!({ "os": os, "architecture": architecture });
        }
        member
    }

    fn index(&self, members: &[Value]) -> Digest {
        let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": members });
        self.registry.put_manifest(INDEX, &index, Some("trixie"))
    }
}

#[test]
fn a_base_by_digest_and_the_build_date_move_and_nothing_else_in_the_file_changes() {
    let based = Based::new();
    // What one of them is for is said by itself alone.
    let digest =
        based.index(&[based.image("unknown/unknown", true), based.image("linux/amd64", true), based.image("linux/arm64", false)]);
    let (old, new) = ("trixie@sha256:0123456789ab".to_owned(), format!("trixie@sha256:{}", digest.short(12)));
    let said = based.pinned.bump(&["base"]).ends(0);
    assert!(said.stdout.contains(&format!("{old} → {new}")), "{}", said.stdout);
    let moved = based.table(&digest.to_string(), "2001-01-01");
    assert_eq!(based.pinned.files()[0], moved);

    based.pinned.commit();
    based.pinned.bump(&["base", "--check"]).ends(0);
    based.pinned.bump(&["build-date", "--to", "2001-01-03"]).ends(0);
    assert_eq!(based.pinned.files()[0], based.table(&digest.to_string(), "2001-01-03"));
    based.pinned.commit();
    based.pinned.bump(&["build-date", "--to", "2001-01-02"]).ends(8).tells(&["2001-01-02 is before 2001-01-03"]);
}

#[test]
fn a_base_that_is_not_there_for_every_platform_of_the_family_is_not_taken() {
    let based = Based::new();
    // An index, and an image alone; what else is asked for moves.
    let index = based.index(&[based.image("linux/amd64", true), based.image("unknown/unknown", true)]);
    let before = based.pinned.files();
    let words = format!("is {index} now, which is for `linux/amd64` and not for `linux/arm64`");
    based.pinned.bump(&["base", "runner"]).ends(3).tells(&["`base` was not moved", &words, "nothing was moved to it"]);
    let [table, lock] = based.pinned.files();
    assert_eq!(table, before[0].replace("\"2.337.0\"", "\"2.338.1\"").replace("# 2.337.0, and", "# 2.338.1, and"));
    assert!(!lock.contains(&index.hex()), "{lock}");
    based.pinned.commit();
    let files = based.pinned.files();
    based.image("linux/arm64", true);
    based.pinned.bump(&["base"]).ends(3).tells(&["which is for `linux/arm64` and not for `linux/amd64`"]);
    assert_eq!(based.pinned.files(), files);
}
