//! Amazon ECR: its API is moto's, its registry a `docker-registry` that knows moto's token.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::family::TinyFamily;
use crate::support::front::{Front, Say, answer};
use crate::support::moto::{self, ACCOUNT, CANARY, Moto, PASSWORD};
use crate::support::registry::run;
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
fn what_was_done_is_told_when_aws_refuses_half_way() {
    let (family, moto) = (TinyFamily::new(), Moto::start());
    let registry = moto::stand_in(&family);
    for (denied, told) in [
        ("CreateRepository", ""),
        ("PutImageScanningConfiguration", " (`HERE` is created; the same command does the rest)"),
        ("PutLifecyclePolicy", " (`HERE` is scanned on push, told which tags may move; the same command does the rest)"),
    ] {
        let front = Front::before(moto.endpoint.trim_start_matches("http://"), move |asked, behind| {
            let target = asked.headers().get("x-amz-target").and_then(|value| value.to_str().ok());
            match target.is_some_and(|target| target.ends_with(denied)) {
                true => {
                    let body = json!({ "__type": "AccessDeniedException", "message": "not you" });
                    Say::Answer(answer(400, "application/x-amz-json-1.1", body.to_string()))
                }
                false => Say::Answer(behind.answer(asked)),
            }
        });
        let mut command = family.command(&["ecr", "init", "--yes"]);
        command.envs(moto.environment()).env("AWS_ENDPOINT_URL", format!("http://{}", front.address));
        let told = told.replace("HERE", &registry.repository().to_string());
        ran(command).ends(3).says(&[&format!("AccessDeniedException: not you{told}\n")]);
    }
    let rest = init(&family, &moto, &["--yes", "--format", "json"]).ends(0).json();
    assert_eq!(changes(&rest), ["lifecycle"]);
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

/// A server on loopback that answers a path's request with this JSON (or text), and everything else with 404.
fn serving(answers: Vec<(&'static str, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut head = [0; 8192];
            let length = stream.read(&mut head).unwrap_or_default();
            let head = String::from_utf8_lossy(&head[..length]);
            let path = head.split_whitespace().nth(1).unwrap_or_default();
            let found = answers.iter().find(|(known, _)| path.split('?').next() == Some(*known));
            let (status, body) = found.map_or(("404 Not Found", ""), |(_, body)| ("200 OK", body.as_str()));
            let headers = format!("Content-Length: {}\r\nx-aws-ec2-metadata-token-ttl-seconds: 600\r\n", body.len());
            let _ = stream.write_all(format!("HTTP/1.1 {status}\r\n{headers}Connection: close\r\n\r\n{body}").as_bytes());
        }
    });
    endpoint
}

/// The SDK's whole chain works over our own HTTP client: what engineers have at their desks, what GitHub's jobs have, and
/// what tasks and machines in AWS have. (The portal of single sign-on and the metadata services are doubles, written from
/// AWS's documentation.)
#[test]
fn every_way_to_log_in_to_aws() {
    let (family, moto) = (TinyFamily::new(), Moto::start());
    let _registry = moto::stand_in(&family);
    init(&family, &moto, &["--yes"]).ends(0);
    let home = family.places().join("home");
    let write = |path: &str, text: &str| {
        let path = home.join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        std::fs::write(path, text).expect("written");
    };
    let keys = |key: &str, secret: &str, token: &str| {
        json!({ key: "AKIAIOSFODNN7EXAMPLE", secret: CANARY, token: CANARY, "Expiration": "2099-01-01T00:00:00Z", "Version": 1,
                "Code": "Success", "Type": "AWS-HMAC", "LastUpdated": "2026-01-01T00:00:00Z", "expiration": 4_070_908_800_000_u64 })
    };
    let role = keys("AccessKeyId", "SecretAccessKey", "Token").to_string();
    let signed_on = json!({ "roleCredentials": keys("accessKeyId", "secretAccessKey", "sessionToken") }).to_string();
    let double = serving(vec![
        ("/role", role.clone()),
        ("/federation/credentials", signed_on),
        ("/latest/api/token", "token".to_owned()),
        ("/latest/meta-data/iam/security-credentials/", "runner".to_owned()),
        ("/latest/meta-data/iam/security-credentials/runner", role),
    ]);
    write("process.json", &keys("AccessKeyId", "SecretAccessKey", "SessionToken").to_string());
    write("identity", CANARY);
    // The name of the file is the SHA-1 of the session's name.
    let session = run("sh", &["-c", "printf desk | sha1sum | cut -d' ' -f1"]);
    let signed_on = json!({ "accessToken": CANARY, "expiresAt": "2099-01-01T00:00:00Z", "region": "us-west-2" });
    write(&format!(".aws/sso/cache/{session}.json"), &signed_on.to_string());
    let in_home = |name: &str| home.join(name).display().to_string();
    let config = format!(
        "[profile process]\ncredential_process = cat {}\n\
         [profile sso]\nsso_session = desk\nsso_account_id = {ACCOUNT}\nsso_role_name = push\n\
         [sso-session desk]\nsso_region = us-west-2\nsso_start_url = https://team.awsapps.com/start\n\
         [profile role]\nrole_arn = arn:aws:iam::123456789012:role/push\nsource_profile = keys\n\
         [profile keys]\naws_access_key_id = AKIAIOSFODNN7EXAMPLE\naws_secret_access_key = {CANARY}\n",
        in_home("process.json")
    );
    write(".aws/config", &config);

    // Of the account whose password the registry knows.
    let (token, role) = (in_home("identity"), "arn:aws:iam::123456789012:role/push");
    let container = format!("{double}/role");
    for (way, environment, source) in [
        ("a program of a profile", vec![("AWS_PROFILE", "process")], "AWS (profile `process`)"),
        ("single sign-on", vec![("AWS_PROFILE", "sso"), ("AWS_ENDPOINT_URL_SSO", &double)], "AWS (profile `sso`)"),
        ("a role of a profile", vec![("AWS_PROFILE", "role")], "AWS (profile `role`)"),
        (
            "a web identity, as in GitHub Actions",
            vec![("AWS_WEB_IDENTITY_TOKEN_FILE", &token), ("AWS_ROLE_ARN", role), ("AWS_ROLE_SESSION_NAME", "test")],
            "AWS (`AWS_WEB_IDENTITY_TOKEN_FILE`)",
        ),
        ("a task in ECS", vec![("AWS_CONTAINER_CREDENTIALS_FULL_URI", &container)], "AWS (the container's role)"),
        (
            "a machine in EC2",
            vec![("AWS_EC2_METADATA_SERVICE_ENDPOINT", &double)],
            "AWS (the default profile, or this machine's role)",
        ),
    ] {
        let mut command = family.command(&["doctor", "--format", "json", "--destination=ecr"]);
        command.env("AWS_ENDPOINT_URL", &moto.endpoint).envs(environment);
        let ran = ran(command);
        let told = ran.json();
        assert_eq!(
            (&told["destinations"][0]["push"], &told["destinations"][0]["source"]),
            (&json!(true), &json!(source)),
            "{way}: {told}"
        );
        assert!(!ran.stdout.contains(CANARY) && !ran.stderr.contains(CANARY), "{way}: {}", ran.stderr);
    }
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

    // What AWS answers holds passwords.
    let mut command = family.command(&["ecr", "init", "--dry-run"]);
    command.envs(moto.environment()).env("AWS_ENDPOINT_URL", "http://ecr.example");
    ran(command).ends(3).says(&["`ecr.example` is asked for a credential over plain http, which is refused"]);
}
