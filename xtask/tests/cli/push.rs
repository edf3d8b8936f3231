//! `push`: the same bytes to every destination.

use serde_json::Value;

use crate::support::family::{TinyFamily, config_digest};
use crate::support::registry::{LocalRegistry, run};
use crate::support::xtask::ran;

/// A family whose `azure` is built, from a clean tree.
fn built() -> TinyFamily {
    let family = TinyFamily::new();
    family.build(&["--variant", "azure"]).ends(0);
    family
}

fn to(name: &str, registry: &LocalRegistry) -> String {
    format!("{name}={}", registry.repository())
}

fn tag_states(pushed: &Value) -> Vec<String> {
    let destinations = pushed["images"][0]["destinations"].as_object().expect("destinations");
    let tags = destinations.values().flat_map(|tags| tags.as_array().expect("tags"));
    tags.map(|tag| tag["state"].as_str().expect("a state").to_owned()).collect()
}

#[test]
fn two_registries_get_the_same_digest_and_what_they_hold_runs() {
    let family = TinyFamily::new();
    family.build(&["--variant", "aws"]).ends(0);
    let (one, two) = (LocalRegistry::start(None), LocalRegistry::start(None));
    let (to_one, to_two) = (to("one", &one), to("two", &two));
    let push = ["push", "--format", "json", "--variant", "aws", "--destination", &to_one, "--destination", &to_two];
    let pushed = family.run(&push).ends(0).json();

    let commit = family.git(&["rev-parse", "--short=7", "HEAD"]);
    let [fixed, fixed_alias] = ["aws", "aws-coder"].map(|name| format!("{name}-2026.11.20-{commit}"));
    let tags = ["aws".to_owned(), fixed.clone(), "aws-coder".to_owned(), fixed_alias];
    let mut sorted = tags.to_vec();
    sorted.sort();
    let digest = pushed["images"][0]["digest"].as_str().expect("a digest").parse().ok();
    for registry in [&one, &two] {
        assert_eq!(registry.tags(), sorted);
        for tag in &tags {
            assert_eq!(registry.skopeo(tag, None), digest, "{tag}");
        }
    }
    let config = family.config_digest("aws");
    assert_eq!(pushed["images"][0]["config-digest"], config);

    let published = two.repository().tag(&fixed).to_string();
    run("docker", &["pull", "-q", &published]);
    assert_eq!(
        run("docker", &["run", "--rm", "--network=none", "--entrypoint", "/bin/cat", &published, "/aws"]),
        "aws of 2026-11-20"
    );
    assert_eq!(config_digest(&published), config, "what is pulled is what was built");
    run("docker", &["rmi", &published]);

    let again = family.run(&push).ends(0);
    assert_eq!(
        again.steps_that_are("up-to-date"),
        ["attach", "push one", "push two", "tag immutable", "tag moving"],
        "no blob is sent"
    );
    assert!(again.events_of("transfer").is_empty());
    assert!(!again.steps().contains_key("export"), "nor asked of the engine: every byte is known");
    assert!(tag_states(&again.json()).iter().all(|state| state == "already-there"));
}

#[test]
fn a_dry_run_sends_nothing() {
    let family = built();
    let shown = family.run(&["push", "--variant", "azure", "--dry-run"]).ends(0);
    let repository = family.registry.repository();
    for part in [
        format!("near: {repository}"),
        "as built here".to_owned(),
        "layers to export and compress first".to_owned(),
        format!("{repository}:azure  new, digest known once compressed"),
        format!("{repository}:azure-2026.11.20-"),
    ] {
        assert!(shown.stdout.contains(&part), "{part} in\n{}", shown.stdout);
    }
    assert_eq!(family.registry.tags(), Vec::<String>::new());
}

#[test]
fn what_is_not_built_is_missing_and_the_hint_builds_it() {
    let family = built();
    let failed = family.run(&["push", "--all"]).ends(3);
    failed.says(&["aws, aws-web", "cargo xtask build --variant aws --variant aws-web --profile default"]);
    family.change_entrypoint();
    family.run(&["push", "--variant", "azure"]).ends(3).says(&["not built", "azure"]);
    assert_eq!(family.registry.tags(), Vec::<String>::new());
}

#[test]
fn a_dirty_tree_is_refused_unless_it_may_show() {
    let family = TinyFamily::new();
    family.azure_also("ENV CHANGED=1");
    family.build(&["--variant", "azure"]).ends(0);
    let refused = family.run(&["push", "--variant", "azure"]).ends(8);
    refused.says(&["changes that are not committed", "--allow-dirty"]);
    assert_eq!(family.registry.tags(), Vec::<String>::new());

    family.run(&["push", "--variant", "azure", "--allow-dirty"]).ends(0);
    let input = family.inspect("azure")["Config"]["Labels"]["gantry.input-digest"].as_str().expect("a digest").to_owned();
    let input = input.strip_prefix("sha256:").expect("a SHA-256 digest");
    assert_eq!(family.registry.tags(), ["azure".to_owned(), format!("azure-2026.11.20-dirty-{}", &input[..8])]);
}

#[test]
fn without_git_there_is_no_revision_to_publish() {
    let family = built();
    std::fs::remove_dir_all(family.root().join(".git")).expect("removed");
    family.run(&["push", "--variant", "azure"]).ends(8).says(&["there is no git"]);
    let near = LocalRegistry::start(None);
    family.run(&["push", "--variant", "azure", "--destination", &to("near", &near)]).ends(0);
}

#[test]
fn an_immutable_tag_is_never_moved() {
    let family = built();
    family.run(&["push", "--variant", "azure"]).ends(0);
    let before = family.registry.skopeo("azure", None);
    // Other bytes from the same commit: the entrypoint is not in git.
    family.change_entrypoint();
    family.build(&["--variant", "azure"]).ends(0);
    family.run(&["push", "--variant", "azure"]).ends(8).says(&["is immutable", "commit"]);
    assert_eq!(family.registry.skopeo("azure", None), before, "the moving tag stays, too");
}

#[test]
fn one_registry_down_means_that_nothing_is_tagged_anywhere() {
    let family = built();
    let (up, down) = (LocalRegistry::start(None), LocalRegistry::start(None));
    down.kill();
    let push = ["push", "--variant", "azure", "--destination", &to("up", &up), "--destination", &to("down", &down)];
    family.run(&push).ends(6).says(&["nothing was tagged", "`down`"]);
    assert_eq!(up.tags(), Vec::<String>::new());
    down.run();
    family.run(&push).ends(0);
    assert_eq!(up.skopeo("azure", None), down.skopeo("azure", None));
}

#[test]
fn what_is_pushed_is_what_was_built_whatever_the_local_tag_names() {
    let family = built();
    let ours = family.config_digest("azure");
    let other = TinyFamily::new();
    other.build(&["--variant", "azure"]).ends(0);
    run("docker", &["tag", &format!("{}:azure", other.name), &format!("{}:azure", family.name)]);
    let pushed = family.run(&["push", "--variant", "azure", "--format", "json"]).ends(0).json();
    assert_eq!(pushed["images"][0]["config-digest"], ours);
}

#[test]
fn a_destination_that_is_none_is_a_usage_error_before_anything_is_asked() {
    let family = TinyFamily::new();
    for (flag, why) in [("near", "NAME=HOST[:PORT]/REPOSITORY"), ("near=", "near="), ("a=127.0.0.1:1/X", "X")] {
        family.run(&["push", "--variant", "azure", "--destination", flag]).ends(2).says(&[why]);
    }
}

/// A run of an old release that is repeated, or an old commit that is checked out.
#[test]
fn an_older_commit_takes_no_tag_back_unless_it_is_said() {
    let family = built();
    family.run(&["push", "--variant", "azure"]).ends(0);
    let first = family.registry.skopeo("azure", None);
    let commit = family.git(&["rev-parse", "HEAD"]);
    family.azure_also("RUN echo later > /later");
    family.commit();
    family.build(&["--variant", "azure"]).ends(0);
    family.run(&["push", "--variant", "azure"]).ends(0);
    let second = family.registry.skopeo("azure", None);
    assert_ne!(first, second);

    family.git(&["checkout", "-q", &commit]);
    let refused = family.run(&["push", "--variant", "azure"]).ends(8);
    refused.says(&[":azure` is at a later commit", "cargo xtask promote", "--force"]);
    assert_eq!(family.registry.skopeo("azure", None), second);
    family.run(&["push", "--variant", "azure", "--force"]).ends(0);
    assert_eq!(family.registry.skopeo("azure", None), first);
}

#[test]
fn a_child_does_not_go_without_the_parent_that_it_stands_on() {
    let family = TinyFamily::new();
    family.build(&["--variant", "aws,aws-web"]).ends(0);
    family.run(&["push", "--variant", "aws,aws-web"]).ends(0);
    let before = family.registry.skopeo("aws-web", None);
    family.replace("images/aws/Dockerfile", "> /aws", "> /aws && echo later > /later");
    family.commit();
    family.build(&["--variant", "aws,aws-web"]).ends(0);
    let refused = family.run(&["push", "--variant", "aws-web"]).ends(8);
    refused.says(&["`aws-web` is built on another `aws` than", "--variant aws,aws-web", "--parent published"]);
    assert_eq!(family.registry.skopeo("aws-web", None), before);
    family.run(&["push", "--variant", "aws,aws-web"]).ends(0);
    family.run(&["push", "--variant", "aws-web"]).ends(0);
}

/// A lost machine has set the parent's immutable tag and got no further; this one has built the same anew, which has other times.
#[test]
fn a_child_goes_with_a_warning_where_its_parent_can_be_published_no_more() {
    let family = TinyFamily::new();
    family.build(&["--variant", "aws,aws-web"]).ends(0);
    family.run(&["push", "--variant", "aws"]).ends(0);
    let parent = family.registry.skopeo("aws", None);
    family.build(&["--variant", "aws,aws-web", "--no-cache"]).ends(0);
    family.run(&["push", "--variant", "aws-web"]).ends(8).says(&["--variant aws-web --parent published"]);
    family.run(&["push", "--variant", "aws,aws-web"]).ends(0).says(&["warning: `aws-web` is built on another `aws` than"]);
    assert_eq!(family.registry.skopeo("aws", None), parent);
    let verified = ran(family.command(&["verify", "--variant", "aws-web"])).ends(10);
    assert!(verified.stdout.contains("is not built on"), "{}", verified.stdout);
}
