//! The policies, as a table.

use super::*;

fn release(variant: &str, labels: &[(&str, &str)], repository: &str, origin: Origin, tags: &[&str]) -> VariantRelease {
    let tag = |text: &&str| {
        let (kind, name) = text.split_once(' ').expect("kind and name");
        let kind = if kind == "moves" { TagKind::Moving } else { TagKind::Immutable };
        Tag { name: name.to_owned(), kind, uses_revision: name.ends_with("-rev") }
    };
    VariantRelease {
        variant: variant.parse().expect("a name"),
        platform: Platform::LinuxAmd64,
        input: Digest::of("input"),
        built: Some(Built {
            image: format!("family:{variant}"),
            want: Want { name: "stage".to_owned(), id: Digest::of("id") },
            manifest: None,
            diff_ids: Vec::new(),
            labels: labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        }),
        config_digest: None,
        ancestors: Vec::new(),
        destinations: vec![Delivery {
            destination: "there".to_owned(),
            repository: repository.parse().expect("a repository"),
            insecure: false,
            origin,
            tags: tags.iter().map(tag).collect(),
        }],
    }
}

const CLEAN: Circumstances = Circumstances { tree: Tree::Clean, allow_dirty: false };

fn refusals(variants: Vec<VariantRelease>, circumstances: Circumstances) -> Vec<String> {
    ReleasePlan::new(variants, circumstances).err().unwrap_or_default().iter().map(ToString::to_string).collect()
}

#[test]
fn what_is_in_an_image_may_keep_it_from_leaving_the_machine() {
    let omitted = ("gantry.omitted", "github-runner,vscode-cli");
    let host = ("gantry.ca-bundle", "host");
    for (labels, repository, told) in [
        (&[][..], "ghcr.io/a/b", &[][..]),
        (&[omitted], "127.0.0.1:5000/a", &[]),
        (&[omitted], "ghcr.io/a/b", &["`aws` lacks `github-runner`, `vscode-cli`, so it does not go to `there`"]),
        (&[("gantry.omitted", " ")], "ghcr.io/a/b", &[]),
        (&[host], "localhost:5000/a", &[]),
        (&[host], "ghcr.io/a/b", &["`aws` was built with this host's CA bundle, so it does not go to `there`"]),
        (&[("gantry.ca-bundle", "family")], "ghcr.io/a/b", &[]),
        (
            &[omitted, host],
            "10.0.0.1:5000/a",
            &[
                "`aws` lacks `github-runner`, `vscode-cli`, so it does not go to `there`",
                "`aws` was built with this host's CA bundle, so it does not go to `there`",
            ],
        ),
    ] {
        let release = release("aws", labels, repository, Origin::File, &["moves aws"]);
        assert_eq!(refusals(vec![release], CLEAN), told, "{labels:?} {repository}");
    }
}

#[test]
fn a_revision_is_published_from_a_clean_tree_only() {
    let dirty = ["`ghcr.io/a/b:aws-rev` names a revision, and the tree has changes that are not committed"];
    let there = "ghcr.io/a/b";
    for (tree, allow_dirty, origin, repository, told) in [
        (Tree::Clean, false, Origin::File, there, &[][..]),
        (Tree::Dirty, false, Origin::File, there, &dirty),
        (Tree::Dirty, true, Origin::File, there, &[]),
        (Tree::Dirty, false, Origin::CommandLine, there, &dirty),
        (Tree::Dirty, false, Origin::CommandLine, "127.0.0.1:5000/a/b", &[]),
        (Tree::NoGit, false, Origin::File, there, &["`ghcr.io/a/b:aws-rev` names a revision, and there is no git"]),
    ] {
        let release = release("aws", &[], repository, origin, &["moves aws", "once aws-rev"]);
        assert_eq!(refusals(vec![release], Circumstances { tree, allow_dirty }), told, "{tree:?} {allow_dirty} {origin:?}");
    }
}

#[test]
fn a_tag_belongs_to_one_image_and_is_of_one_kind() {
    let one = |variant, tags: &[&str]| release(variant, &[], "ghcr.io/a/b", Origin::File, tags);
    assert_eq!(
        refusals(vec![one("aws", &["moves x"]), one("azure", &["moves x"])], CLEAN),
        ["`ghcr.io/a/b:x` is wanted by `aws (linux/amd64)` and by `azure (linux/amd64)`"]
    );
    assert_eq!(
        refusals(vec![one("aws", &["moves x", "once x"])], CLEAN),
        ["`ghcr.io/a/b:x` is both an immutable tag and one that moves"]
    );
    assert_eq!(refusals(vec![one("aws", &["moves x"]), one("azure", &["moves y"])], CLEAN), [""; 0]);
}
