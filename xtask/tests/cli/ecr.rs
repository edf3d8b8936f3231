//! Amazon ECR: its API is moto's, its registry a `docker-registry` that knows moto's token.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::family::TinyFamily;
use crate::support::moto::{self, ACCOUNT, CANARY, Moto, PASSWORD};
use crate::support::xtask::{Ran, ran};

/// The command with the identity, and nothing of it in what is said.
fn with(moto: &Moto, mut command: Command) -> Ran {
    let ran = ran({
        command.envs(moto.environment());
        command
    });
    for secret in [CANARY, PASSWORD] {
        assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{secret} in\n{}\n{}", ran.stdout, ran.stderr);
    }
    ran
}

fn init(family: &TinyFamily, moto: &Moto, args: &[&str]) -> Ran {
    with(moto, family.command(&[&["ecr", "init"], args].concat()))
}

fn changes(shown: &Value) -> Vec<&str> {
    let changes = shown["repositories"][0]["changes"].as_array().expect("changes").iter();
    changes.map(|change| change["what"].as_str().expect("a name")).collect()
}

#[test]
fn a_repository_is_created_aligned_and_then_left_as_it_is() {
    let (family, moto) = (TinyFamily::new(), Moto::start());
    let _registry = moto::stand_in(&family);
    let named = json!({ "registryId": ACCOUNT, "repositoryNames": ["team/image"] });

    let shown = init(&family, &moto, &["--dry-run", "--format", "json"]).ends(0).json();
    assert_eq!(changes(&shown), ["create", "scan-on-push", "mutability", "lifecycle"]);
    assert_eq!((&shown["applied"], &shown["repositories"][0]["exists"]), (&json!(false), &json!(false)));
    init(&family, &moto, &[]).ends(3).says(&["nobody to ask", "--yes", "cannot be changed later"]);
    assert_eq!(moto.boto("describe_repositories", &json!({ "registryId": ACCOUNT }))["repositories"], json!([]));

    let made = init(&family, &moto, &["--yes"]).ends(0);
    assert!(made.stdout.contains("immutable but for `aws`, `aws-coder`, `aws-web`, `azure`"), "{}", made.stdout);
    let found = &moto.boto("describe_repositories", &named)["repositories"][0];
    assert_eq!(found["imageTagMutability"], "IMMUTABLE_WITH_EXCLUSION");
    let filter = |tag: &str| json!({ "filterType": "WILDCARD", "filter": tag });
    assert_eq!(found["imageTagMutabilityExclusionFilters"], json!(["aws", "aws-coder", "aws-web", "azure"].map(filter)));
    assert_eq!(found["imageScanningConfiguration"]["scanOnPush"], true);
    assert_eq!(found["encryptionConfiguration"]["encryptionType"], "AES256");
    let repository = json!({ "registryId": ACCOUNT, "repositoryName": "team/image" });
    let policy = moto.boto("get_lifecycle_policy", &repository)["lifecyclePolicyText"].clone();
    let policy: Value = serde_json::from_str(policy.as_str().expect("a text")).expect("JSON");
    let rules = policy["rules"].as_array().expect("rules");
    assert!(rules.iter().all(|rule| rule["selection"]["tagStatus"] == "untagged"), "{policy}");

    let again = init(&family, &moto, &["--yes"]).ends(0);
    assert!(again.stdout.contains("as it should be"), "{}", again.stdout);

    let mutable = json!({ "registryId": ACCOUNT, "repositoryName": "team/image", "imageTagMutability": "MUTABLE" });
    moto.boto("put_image_tag_mutability", &mutable);
    moto.boto("delete_lifecycle_policy", &repository);
    let shown = init(&family, &moto, &["--dry-run", "--destination", "ecr"]).ends(0);
    assert!(shown.stdout.contains("mutable → immutable but for"), "{}", shown.stdout);
    let aligned = init(&family, &moto, &["--yes", "--format", "json"]).ends(0).json();
    assert_eq!((changes(&aligned), &aligned["applied"]), (vec!["mutability", "lifecycle"], &json!(true)));
    assert_eq!(changes(&init(&family, &moto, &["--dry-run", "--format", "json"]).ends(0).json()), Vec::<&str>::new());

    family.replace("variants.toml", "region = \"us-west-2\"", "region = \"us-west-2\", encryption = \"kms\"");
    init(&family, &moto, &["--yes"]).ends(8).says(&[
        "encrypted by `AES256`",
        "does not change the encryption",
        "nothing was changed",
    ]);
}

#[test]
fn what_is_not_in_ecr_needs_no_preparation() {
    let (family, moto) = (TinyFamily::new(), Moto::start());
    init(&family, &moto, &["--yes"]).ends(2).says(&["no destination of variants.toml is in Amazon ECR"]);
    init(&family, &moto, &["--destination", "near"]).ends(2).says(&["`near`", "is not in Amazon ECR"]);
    init(&family, &moto, &["--destination", "far"]).ends(2).says(&["variants.toml has `near`"]);
}

#[test]
fn push_wants_the_repository_first_and_logs_in_with_the_token_of_aws() {
    let (family, moto) = (TinyFamily::new(), Moto::start());
    let registry = moto::stand_in(&family);
    family.build(&["--variant", "azure"]).ends(0);
    let push = || with(&moto, family.planning(&["push", "--variant", "azure", "--format", "json"]));

    push().ends(3).says(&["does not exist", "cargo xtask ecr init --destination ecr"]);
    assert_eq!(family.registry.tags(), Vec::<String>::new(), "nothing goes anywhere");

    init(&family, &moto, &["--yes"]).ends(0);
    let pushed = push().ends(0).json();
    let digest = pushed["images"][0]["digest"].as_str().expect("a digest").parse().ok();
    assert_eq!(registry.skopeo("azure", Some(("AWS", PASSWORD))), digest);
    assert_eq!(family.registry.skopeo("azure", None), digest);

    let fixed = json!({ "registryId": ACCOUNT, "repositoryName": "team/image", "imageTagMutability": "IMMUTABLE" });
    moto.boto("put_image_tag_mutability", &fixed);
    let again = push().ends(0);
    let warnings = again.events_of("warning");
    assert!(warnings.iter().any(|warning| warning["text"].as_str().is_some_and(|text| text.contains("`azure`"))), "{warnings:?}");
}

#[test]
fn without_a_credential_of_aws_nothing_is_sent() {
    let (family, moto) = (TinyFamily::new(), Moto::start());
    moto::stand_in(&family);
    let mut command = family.command(&["ecr", "init", "--dry-run"]);
    command.env("AWS_ENDPOINT_URL", &moto.endpoint).env("AWS_EC2_METADATA_DISABLED", "true");
    ran(command).ends(3).says(&["no AWS credential was found for account 271851283454 in us-west-2", "AWS_PROFILE"]);

    // A profile's own program that fails: its words are nobody's to see.
    let config = family.places().join("home/.aws");
    std::fs::create_dir_all(&config).expect("a folder");
    let profile = format!("[profile desk]\ncredential_process = sh -c 'echo {CANARY} >&2; exit 1'\n");
    std::fs::write(config.join("config"), profile).expect("written");
    let mut command = family.command(&["ecr", "init", "--dry-run"]);
    command.env("AWS_ENDPOINT_URL", &moto.endpoint).env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_PROFILE", "desk");
    let failed = ran(command).ends(3).says(&["cannot be had", "aws sts get-caller-identity"]);
    assert!(!failed.stderr.contains(CANARY), "{}", failed.stderr);
}
