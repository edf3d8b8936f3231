//! `verify` and `promote`, with the real binary and without an engine.

use serde_json::json;
use xtask::oci::Digest;

use crate::support::family::TinyFamily;
use crate::support::registry::{LocalRegistry, run};
use crate::support::xtask::{Ran, ran};

/// The engine is nowhere.
fn without_engine(family: &TinyFamily, args: &[&str]) -> Ran {
    let mut command = family.command(args);
    command.env("DOCKER_HOST", "tcp://127.0.0.1:9");
    ran(command)
}

fn with<'a>(more: &[&'a str], args: &[&'a str]) -> Vec<&'a str> {
    [args, more].concat()
}

#[test]
fn a_release_is_verified_rolled_back_and_brought_forward() {
    let family = TinyFamily::new();
    let other = LocalRegistry::start(None);
    let elsewhere = format!("[destinations.elsewhere]\nrepository = \"{}\"\n[images.base]", other.repository());
    family.replace("variants.toml", "[images.base]", &elsewhere);
    family.commit();
    let (near, far) = (format!("near={}", family.registry.repository()), format!("far={}", other.repository()));
    let to = ["--destination", near.as_str(), "--destination", far.as_str()];
    let commit = || family.git(&["rev-parse", "--short=7", "HEAD"]);

    family.build(&["--variant", "aws*"]).ends(0);
    family.run(&with(&to, &["push", "--variant", "aws*"])).ends(0);
    let verified =
        without_engine(&family, &with(&to, &["verify", "--variant", "aws*", "--deep", "--format", "json"])).ends(0).json();
    assert_eq!((&verified["schema"], &verified["equal"], &verified["ledger"]), (&1.into(), &true.into(), &true.into()));
    // `aws`, its alias and `aws-web`, moving and immutable, in two destinations.
    assert_eq!(verified["tags"].as_array().map(Vec::len), Some(12));
    let first = (family.registry.skopeo("aws", None), format!("aws-2026.11.20-{}", commit()));

    family.replace("images/aws/Dockerfile", "ARG BUILD_DATE\n", "ARG BUILD_DATE\nENV CHANGED=1\n");
    family.commit();
    family.build(&["--variant", "aws"]).ends(0);
    family.run(&["push", "--variant", "aws", "--destination", &near]).ends(0);
    let second = family.registry.skopeo("aws", None);
    assert_ne!(second, first.0);
    // Pushed to one destination only; `aws-web` was not built on it.
    let torn = without_engine(&family, &with(&to, &["verify", "--format", "json", "--variant", "aws*"])).ends(10);
    let torn: serde_json::Value = serde_json::from_str(&torn.stdout).expect("JSON");
    let kinds: Vec<&str> = torn["differences"].as_array().expect("a list").iter().filter_map(|it| it["kind"].as_str()).collect();
    assert!(kinds.contains(&"digest") && kinds.contains(&"missing"), "{torn:#}");

    // Where the variant does not go, nothing would be moved.
    let from = without_engine(&family, &["promote", &first.1, "--from", &near, "--destination", "elsewhere"]);
    from.ends(2).says(&["`aws` does not go to `elsewhere`", "`aws` goes to `near`"]);

    let shown = without_engine(&family, &with(&to, &["promote", &first.1, "--dry-run"])).ends(0);
    assert!(shown.stdout.contains("then moving tags") && shown.stdout.contains(" → "), "{}", shown.stdout);
    assert_eq!(family.registry.skopeo("aws", None), second);
    without_engine(&family, &with(&to, &["promote", &first.1])).ends(0);
    for registry in [&*family.registry, &*other] {
        assert_eq!([registry.skopeo("aws", None), registry.skopeo("aws-coder", None)], [first.0; 2]);
    }
    without_engine(&family, &with(&to, &["promote", &second.expect("a digest").to_string(), "--tag", &first.1]))
        .ends(8)
        .says(&["is immutable"]);
    without_engine(&family, &with(&to, &["promote", &first.1, "--tag", "aws-web"]))
        .ends(8)
        .says(&["`aws-web` is a tag of the variant `aws-web`, and the image is `aws`"]);
    without_engine(&family, &with(&to, &["verify", "--variant", "aws", "--tag", "aws", "--tag", "aws-coder"])).ends(0);
}

/// The tags that people know are those of an index; what a rollback names by mistake is the image of one platform.
#[test]
fn with_several_platforms_an_index_is_promoted_and_verified() {
    const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    let family = TinyFamily::new();
    let other = LocalRegistry::start(None);
    let (own, foreign) = if cfg!(target_arch = "aarch64") { ("arm64", "amd64") } else { ("amd64", "arm64") };
    let both = format!("platforms = [\"linux/{own}\", \"linux/{foreign}\"]");
    family.replace("variants.toml", &format!("platforms = [\"linux/{own}\"]"), &both);
    family.commit();
    family.build(&["--variant", "azure"]).ends(0);
    family.run(&["push", "--variant", "azure"]).ends(0);
    let tags = family.registry.tags();
    let image = tags.iter().find(|tag| tag.starts_with("azure-") && tag.ends_with(own)).expect("the image's tag");

    let far = format!("far={}", other.repository());
    let to_far = ["--from", "near", "--destination", far.as_str()];
    without_engine(&family, &with(&to_far, &["promote", image])).ends(8).says(&[
        &format!("`{image}` is the image for linux/{own} alone: `azure` is a tag of all platforms (linux/"),
        "point to an index",
    ]);
    without_engine(&family, &with(&to_far, &["promote", image, "--tag", image])).ends(0);
    assert!(!other.tags().contains(&"azure".to_owned()), "{:?}", other.tags());

    // Of an older release, when there was one platform.
    let raw = ["inspect", "--raw", "--tls-verify=false"];
    let raw = run("skopeo", &[&raw[..], &[&format!("docker://{}", family.registry.repository().tag(image))]].concat());
    let member = json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": Digest::of(&raw), "size": raw.len(),
        "platform": { "architecture": own, "os": "linux" },
    });
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [member] });
    let index = family.registry.put_manifest(INDEX, &index, Some("azure-2026.11.01-1234567"));
    let promote = with(&to_far, &["promote", "azure-2026.11.01-1234567"]);
    let shown = without_engine(&family, &with(&["--dry-run"], &promote)).ends(0);
    assert!(shown.stdout.contains(&format!("azure (all platforms)  {index}")), "{}", shown.stdout);
    let done = without_engine(&family, &with(&["--format", "json"], &promote)).ends(0).json();
    assert_eq!((&done["indexes"][0]["digest"], &done["indexes"][0]["tags"][0]["state"]), (&json!(index), &json!("set")));
    let verify = ["verify", "--variant", "azure", "--tag", "azure", "--destination", far.as_str()];
    let verified = without_engine(&family, &verify).ends(10);
    let lacks = format!(":azure` has no image for linux/{foreign}");
    assert!(verified.stdout.contains("1 difference:") && verified.stdout.contains(&lacks), "{}", verified.stdout);
}

#[test]
fn what_is_no_reference_is_a_usage_error() {
    let family = TinyFamily::new();
    for (args, words) in [
        (&["promote", "A/B"][..], &["A/B"][..]),
        (&["promote", "ghcr.io/team/image:aws"], &["is in no destination", "--from"]),
        (&["promote", "aws", "--tag", "x-/"], &["not a tag"]),
        (&["verify", "--tag", "gcp-1"], &["begins with the name of no variant"]),
        (&["verify", "--variant", "gcp"], &["`gcp` is not a variant"]),
    ] {
        without_engine(&family, args).ends(2).says(words);
    }
    without_engine(&family, &["promote", "aws"]).ends(3).says(&["no destination has `aws`"]);
    without_engine(&family, &["verify", "--variant", "azure"]).ends(10).says(&["verify found 1 difference"]);
}

#[test]
fn a_destination_that_a_variant_does_not_go_to() {
    let family = TinyFamily::new();
    family.replace("variants.toml", "[images.base]", "[destinations.far]\nrepository = \"127.0.0.1:9/far\"\n[images.base]");
    for args in [&["--variant", "azure"][..], &["--variant", "a*"], &[], &["--variant", "azure", "--tag", "azure"]] {
        let nothing = without_engine(&family, &with(args, &["verify", "--destination", "far"])).ends(2);
        nothing.says(&["`azure`", " to `far`", "`azure` goes to `near`"]);
    }
    // Beside others that do go there, only what a pattern meets is left out.
    family.replace(
        "variants.toml",
        "parent = \"base\"\ncontext = \"images/azure\"",
        "parent = \"base\"\ncontext = \"images/azure\"\ndestinations = [\"far\"]",
    );
    without_engine(&family, &["verify", "--variant", "azure", "--destination", "near"])
        .ends(2)
        .says(&["`azure` does not go to `near`"]);
    without_engine(&family, &["verify", "--destination", "near"]).ends(10);
}
