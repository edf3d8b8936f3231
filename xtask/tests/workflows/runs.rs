//! What the workflows do.

use std::collections::BTreeSet;
use std::fs;

use serde_json::json;

use super::act::{FAMILY, Fork};
use super::root;
use super::support::github::{Github, REPOSITORY, TOKEN};
use super::support::registry::run;
use super::support::vendors::Vendors;

/// Leaves the fork one variant: what is tried is the way through the jobs.
fn only_aws(fork: &Fork) {
    let table = fork.read("variants.toml");
    let (rest, last) = (table.find("[variants.azure]").expect("azure"), table.find("# Destinations.").expect("destinations"));
    let destinations = last - (last - table[..last].rfind("# ---").expect("a line"));
    fork.replace("variants.toml", &table[rest..destinations], "");
}

/// Where GitHub's API is cannot be said to act: it is written into the workflow, at this step.
fn github_at(fork: &Fork, workflow: &str, step: &str, github: &Github) {
    let address = &github.front.address;
    let to =
        format!("{step}\n        env:\n          GITHUB_API_URL: http://{address}\n          GITHUB_REPOSITORY: {REPOSITORY}");
    fork.replace(&format!(".github/workflows/{workflow}"), &format!("{step}\n        env:"), &to);
}

#[test]
fn a_tag_is_released_to_both_registries_announced_and_promoted() {
    let fork = Fork::new(false);
    only_aws(&fork);
    fork.commit();
    let github = Github::with(&fork.repository());
    github_at(&fork, "release.yml", "- name: Announce", &github);
    let fork = fork.with("--secret", &format!("GITHUB_TOKEN={TOKEN}"));

    let pushed = json!({ "ref": "refs/tags/v1", "ref_name": "v1", "ref_type": "tag" });
    let ran = fork.act("push", &pushed, "release.yml", None).succeeds();
    // What publishes and announces compiles nothing.
    assert_eq!(ran.cargo, ["compile: xtask compile --output target/programs"]);
    let digest = fork.one.skopeo("aws", None).expect("published");
    assert_eq!(fork.two.skopeo("aws", None), Some(digest));
    assert!(ran.log.contains("Success - Main Verify"), "{}", ran.log);
    let attested = fs::read_to_string(fork.artifacts().join("attested")).expect("attested");
    let expected = [&fork.two, &fork.one].map(|registry| format!("{}  {}:aws-2026.11.20-", digest.hex(), registry.repository()));
    assert!(attested.lines().zip(&expected).all(|(line, expected)| line.starts_with(expected)), "{attested}");
    assert_eq!(attested.lines().count(), 2, "{attested}");
    let releases = github.releases();
    assert_eq!((releases.len(), &releases[0]["tag_name"]), (1, &json!("v1")), "{}", ran.log);
    let notes = releases[0]["body"].as_str().expect("notes");
    assert!(notes.contains(&format!("| `aws` | `{digest}` | ")) && notes.contains("Published for the first time."), "{notes}");
    assert!(!ran.log.contains(TOKEN), "{}", ran.log);

    // The same run once more, as after a failure at its end: all of it is published, by whom this attempt knows from the other.
    fs::remove_file(fork.artifacts().join("attested")).expect("removed");
    let fork = fork.with("--env", "GITHUB_RUN_ATTEMPT=2");
    let again = fork.act("push", &pushed, "release.yml", Some("publish")).succeeds();
    assert_eq!(fs::read_to_string(fork.artifacts().join("attested")).expect("attested"), attested, "{}", again.log);
    assert_eq!(fork.last_artifact("published", "notes.md"), notes, "{}", again.log);

    // By hand and by a pattern, to see what there would be to do: nothing, and nothing is attested or announced.
    let inputs = json!({ "variants": "aws*", "build-date": "", "no-cache": "false", "dry-run": "true" });
    let shown = fork.dispatch("release.yml", "announce", &inputs).succeeds();
    assert!(shown.log.contains("nothing to build: all of it is published"), "{}", shown.log);
    assert!(!shown.log.contains("Run Main Verify") && !shown.log.contains("Run Main Attest"), "{}", shown.log);
    assert_eq!(github.releases().len(), 1);

    let inputs = json!({ "variant": "aws", "digest": digest.to_string(), "tag": "aws-stable", "dry-run": "false" });
    let promoted = fork.dispatch("promote.yml", "promote", &inputs).succeeds();
    for registry in [&fork.one, &fork.two] {
        assert_eq!(registry.skopeo("aws-stable", None), Some(digest), "{}", promoted.log);
    }
}

#[test]
fn programs_that_were_exchanged_on_the_way_are_not_run() {
    let fork = Fork::new(false);
    // An upload that hands on something else, under a digest that fits.
    let upload = root().join("xtask/tests/workflows/actions/upload-artifact");
    let other = fork.repository().join("../exchanged");
    let _ = fs::remove_dir_all(&other);
    fs::create_dir_all(&other).expect("a folder");
    let text = fs::read_to_string(upload.join("action.yml")).expect("the double");
    let exchanged = text.replacen("archive=$(mktemp)\n", "archive=$(mktemp)\n        echo more >> \"$root/xtask\"\n", 1);
    assert_ne!(text, exchanged);
    fs::write(other.join("action.yml"), exchanged).expect("written");
    let inputs = json!({ "variant": "aws", "digest": "aws", "tag": "", "dry-run": "true" });
    let ran = fork.with_double("upload-artifact", &other).dispatch("promote.yml", "promote", &inputs);
    assert!(!ran.success && ran.log.contains("xtask: FAILED"), "{}", ran.log);
    assert!(!ran.log.contains("Run Main Promote"), "{}", ran.log);
}

#[test]
fn continuous_integration_builds_what_changed() {
    let fork = Fork::new(false);
    let base = fork.git(&["rev-parse", "HEAD"]);
    let event = json!({ "pull_request": { "base": { "sha": base }, "number": 1 }, "number": 1 });
    let unchanged = fork.act("pull_request", &event, "ci.yml", Some("build")).succeeds();
    assert_eq!(unchanged.log.matches("no variant differs").count(), 2, "{}", unchanged.log);

    // Another image of one variant alone: of all others it has the layers, not the label.
    fork.replace("variants.toml", "Ansible with the AWS CLI", "Ansible, changed, with the AWS CLI");
    fork.commit();
    let changed = fork.act("pull_request", &event, "ci.yml", Some("build")).succeeds();
    assert!(!changed.log.contains("no variant differs"), "{}", changed.log);
    let labels = "{{index .Config.Labels \"org.opencontainers.image.revision\"}} {{index .Config.Labels \"org.opencontainers.image.description\"}}";
    let built = run("docker", &["image", "inspect", "--format", labels, &format!("{FAMILY}:aws-offline")]);
    let commit = fork.git(&["rev-parse", "HEAD"]);
    assert_eq!(built, format!("{commit} Ansible, changed, with the AWS CLI and collections"), "{}", changed.log);
    let tags = run("docker", &["images", "--format", "{{.Tag}}", FAMILY]);
    assert_eq!(BTreeSet::from_iter(tags.lines()), BTreeSet::from(["aws-offline", "aws-coder-offline"]), "{}", changed.log);
}

/// Moves the runner by hand: what is newer comes from a double of GitHub, and the pull request goes to another one.
#[test]
fn a_newer_runner_is_proposed() {
    let (fork, vendors) = (Fork::new(false), Vendors::start());
    vendors.publish_runner("2.338.0");
    // A family of one variant, which knows where the vendors are, and leaves out what the double's programs would be.
    only_aws(&fork);
    fork.replace("variants.toml", "without = [", "without = [\"github-runner\", \"vscode-cli\", ");
    fork.replace("variants.toml", "# Destinations.", &format!("# Destinations.\n{}", vendors.mirrors_toml()));
    fork.commit();
    let github = Github::with(&fork.repository());
    github_at(&fork, "bump.yml", "- name: Propose", &github);
    let app = [("--var", "BUMP_APP_CLIENT_ID=Iv1".to_owned()), ("--secret", "BUMP_APP_PRIVATE_KEY=a key".to_owned())];
    let app = app.into_iter().chain([("--env", format!("ACT_APP_TOKEN={TOKEN}"))]);
    let fork = app.fold(fork, |fork, (flag, setting)| fork.with(flag, &setting));

    let ran = fork.dispatch("bump.yml", "propose", &json!({ "names": "github-runner" })).succeeds();
    println!("{}", ran.log);
    let pulls = github.pulls();
    assert_eq!(pulls.len(), 1, "{}", ran.log);
    assert!(pulls[0]["body"].as_str().is_some_and(|body| body.contains("2.337.0") && body.contains("2.338.0")), "{pulls:?}");
    assert_eq!(github.git(&["diff", "--name-status", "main", "gantry/bump"]), "M\tvariants.lock\nM\tvariants.toml");
    assert!(github.git(&["show", "gantry/bump:variants.toml"]).contains("version = \"2.338.0\""));
    assert!(!ran.cargo.iter().any(|call| call.starts_with("bump:") || call.starts_with("propose:")), "{:?}", ran.cargo);
}
