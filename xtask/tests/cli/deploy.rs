//! `deploy ecs`: moto's ECS for what it does, a double for deployments that take their time or fail.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::ecs::{Ecs, NEW, OLD, deployment, of, state};
use crate::support::family::TinyFamily;
use crate::support::moto::{self, CANARY, Moto};
use crate::support::registry::{LocalRegistry, run};
use crate::support::xtask::{Ran, command, ended, ran, wait_for};

/// The family whose images are deployed: the real one.
const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../variants.toml");
const IMAGE: &str = "ghcr.io/sapphire-health/ansible-epic:aws-coder";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn deploying(places: &tempfile::TempDir, endpoint: &str, args: &[&str]) -> Command {
    let mut command = command(places.path(), places.path());
    command.args(["--manifest", MANIFEST, "deploy", "ecs", "--cluster", "workspaces"]).args(args);
    command.env("AWS_ENDPOINT_URL_ECS", endpoint).env("AWS_REGION", "us-west-2").env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE").env("AWS_SECRET_ACCESS_KEY", CANARY);
    command
}

fn deploy(endpoint: &str, args: &[&str]) -> Ran {
    let places = tempfile::tempdir().expect("a folder");
    let ran = ran(deploying(&places, endpoint, args));
    assert!(!format!("{ran:?}").contains(CANARY), "{ran:?}");
    ran
}

/// A cluster with a service, whose task has these images, in moto.
fn service(moto: &Moto, name: &str, tasks: u64, images: &[&str]) {
    let containers = images.iter().enumerate().map(|(at, image)| {
        json!({ "name": format!("c{at}"), "image": image, "memory": 512, "environment": [{ "name": "TZ", "value": "UTC" }] })
    });
    let definition = json!({ "family": name, "containerDefinitions": containers.collect::<Vec<_>>(), "tags": [{ "key": "team", "value": "x" }] });
    let new = json!({ "cluster": "workspaces", "serviceName": name, "taskDefinition": name, "desiredCount": tasks, "deploymentController": { "type": "ECS" } });
    let cluster = json!({ "clusterName": "workspaces" });
    moto.boto_all("ecs", &[("create_cluster", cluster), ("register_task_definition", definition), ("create_service", new)]);
}

fn described(moto: &Moto, name: &str) -> Value {
    let asked = json!({ "cluster": "workspaces", "services": [name] });
    moto.boto_all("ecs", &[("describe_services", asked)])[0]["services"][0].clone()
}

#[test]
fn a_service_is_deployed_anew_in_moto_and_with_an_image_as_a_new_revision() {
    let moto = Moto::start_with(&[("MOTO_ECS_SERVICE_RUNNING", "1")]);
    service(&moto, "ansible", 1, &[IMAGE, "nginx"]);
    let before = described(&moto, "ansible");
    let planned = deploy(&moto.endpoint, &["--service", "ansible", "--dry-run"]).ends(0);
    for words in ["would deploy anew in the cluster `workspaces` in us-west-2", "ansible: ansible:1 (1 of 1 running)", IMAGE] {
        assert!(planned.stdout.contains(words), "{}", planned.stdout);
    }
    assert_eq!(described(&moto, "ansible")["deployments"], before["deployments"]);

    let done = deploy(&moto.endpoint, &["--service", "ansible", "--format", "json"]).ends(0);
    let told = done.json();
    assert_eq!((&told["schema"], &told["steady"], &told["region"]), (&json!(1), &json!(true), &json!("us-west-2")));
    let now = described(&moto, "ansible");
    assert_eq!(told["services"][0]["deployment"], now["deployments"][0]["id"]);
    assert_ne!(now["deployments"][0]["id"], before["deployments"][0]["id"]);
    assert_eq!(done.events_of("step-finished")[0]["outcome"], "done");

    let published = TinyFamily::new();
    let base = published.base();
    let inspect = ["inspect", "--tls-verify=false", "--format", "{{.Digest}}", &format!("docker://{base}")];
    let new = format!("{base}@{}", run("skopeo", &inspect));
    let shown = deploy(&moto.endpoint, &["--service", "ansible", "--image", &new, "--dry-run"]).ends(0);
    assert!(shown.stdout.contains(&format!("{IMAGE} → {new}, in a new revision")), "{}", shown.stdout);
    deploy(&moto.endpoint, &["--service", "ansible", "--image", &new, "--no-wait"]).ends(0);
    let asked = json!({ "taskDefinition": described(&moto, "ansible")["taskDefinition"], "include": ["TAGS"] });
    let revision = &moto.boto_all("ecs", &[("describe_task_definition", asked)])[0];
    let definition = &revision["taskDefinition"];
    let images: Vec<&Value> =
        definition["containerDefinitions"].as_array().expect("a list").iter().map(|it| &it["image"]).collect();
    assert_eq!((definition["revision"].clone(), images), (json!(2), vec![&json!(new), &json!("nginx")]));
    assert_eq!(definition["containerDefinitions"][0]["environment"][0]["name"], "TZ");
    assert_eq!(revision["tags"], json!([{ "key": "team", "value": "x" }]));

    // Services of one task definition share its next revision.
    let definition = json!({ "family": "shared", "containerDefinitions": [{ "name": "c", "image": IMAGE, "memory": 512 }] });
    let two = ["a", "b"].map(|name| {
        let service = json!({ "cluster": "workspaces", "serviceName": name, "taskDefinition": "shared", "desiredCount": 1 });
        ("create_service", service)
    });
    let calls: Vec<_> = std::iter::once(("register_task_definition", definition)).chain(two).collect();
    moto.boto_all("ecs", &calls);
    deploy(&moto.endpoint, &["--service", "a", "--service", "b", "--image", &new, "--no-wait"]).ends(0);
    for name in ["a", "b"] {
        let definition = described(&moto, name)["taskDefinition"].to_string();
        assert!(definition.ends_with("task-definition/shared:2\""), "{name}: {definition}");
    }

    // Where a digest stands, a new deployment gets the same bytes again.
    service(&moto, "pinned", 1, &[&format!("{IMAGE}@{DIGEST}")]);
    deploy(&moto.endpoint, &["--service", "pinned", "--dry-run"]).ends(0).says(&["by its digest", "cargo xtask pin"]);
    service(&moto, "other", 1, &["nginx"]);
    deploy(&moto.endpoint, &["--service", "other", "--dry-run"]).ends(0).says(&["no image of this family", "`nginx`"]);
    deploy(&moto.endpoint, &["--service", "other", "--image", &new]).ends(3).says(&["`--image` replaces none"]);
}

#[test]
fn an_image_that_is_not_there_is_not_deployed() {
    let (moto, registry) = (Moto::start(), LocalRegistry::start(None));
    service(&moto, "ansible", 0, &[IMAGE]);
    let before = described(&moto, "ansible");
    let nope = registry.repository().tag("nope").to_string();
    let gone = format!("{}@{DIGEST}", registry.repository());
    for image in [&nope, &gone] {
        let refused = deploy(&moto.endpoint, &["--service", "ansible", "--service", "other", "--image", image]).ends(3);
        // With everything else that is wrong.
        refused.says(&[
            &format!("no image `{image}`: its registry has none of this name"),
            "no service `other`",
            "cargo xtask verify",
        ]);
    }
    assert_eq!(described(&moto, "ansible"), before);
    // Who asks no registry needs no credential for one.
    let places = tempfile::tempdir().expect("a folder");
    for (more, told) in [(&["--dry-run"][..], false), (&["--dry-run", "--image", nope.as_str()], true)] {
        let mut command = deploying(&places, &moto.endpoint, &["--service", "ansible"]);
        let done = ran({
            command.args(more).env("DOCKER_AUTH_CONFIG", "torn");
            command
        });
        assert_eq!(done.ends(0).stderr.contains("cannot be told from here"), told);
    }
    // Where the registry cannot be asked from here, tasks may still be able to pull from it.
    registry.kill();
    deploy(&moto.endpoint, &["--service", "ansible", "--image", &nope, "--no-wait"])
        .ends(0)
        .says(&[&format!("whether `{nope}` is there cannot be told from here")]);
    assert_ne!(described(&moto, "ansible")["taskDefinition"], before["taskDefinition"]);
}

#[test]
fn what_is_not_there_is_told_at_once() {
    let moto = Moto::start();
    service(&moto, "ansible", 0, &[IMAGE]);
    let missing = deploy(&moto.endpoint, &["--service", "ansible", "--service", "one", "--service", "two"]).ends(3);
    missing.says(&[
        "no service `one` in the cluster `workspaces`",
        "no service `two`",
        "aws ecs list-services --cluster workspaces",
    ]);
    let twice = ["--service", "ansible", "--service", "ansible", "--format", "json"];
    let done = deploy(&moto.endpoint, &twice).ends(0);
    assert_eq!(done.json()["services"].as_array().map(Vec::len), Some(1));
    done.says(&["is to run no task"]);

    let places = tempfile::tempdir().expect("a folder");
    let mut elsewhere = deploying(&places, &moto.endpoint, &["--service", "ansible", "--region", "eu-west-1"]);
    elsewhere.env_remove("AWS_REGION");
    ran(elsewhere).ends(3).says(&["no cluster `workspaces` in eu-west-1", "aws ecs list-clusters"]);
    let mut nowhere = deploying(&places, &moto.endpoint, &["--service", "ansible"]);
    nowhere.env_remove("AWS_REGION");
    ran(nowhere).ends(3).says(&["which region", "--region us-west-2"]);
    let mut nobody = deploying(&places, &moto.endpoint, &["--service", "ansible"]);
    nobody.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    ran(nobody).ends(3).says(&["no AWS credential was found", "AWS_PROFILE"]);
    let plain = "http://ecs.example";
    deploy(plain, &["--service", "ansible"])
        .ends(3)
        .says(&["cannot be used: `ecs.example` is asked for a credential over plain http"]);
}

#[test]
fn a_deployment_is_followed_to_its_end() {
    let old = |running| deployment(OLD, "ACTIVE", "COMPLETED", running, "");
    let new = |state, running| deployment(NEW, "PRIMARY", state, running, "");
    let news = ["(service ansible) has started 1 tasks: (task 4f1c).", "(service ansible) is old news."];
    let last = ["(service ansible) has reached a steady state.", news[0], news[1]];
    let ecs = Ecs::going_through(vec![
        // ECS is consistent after a while only: the service as it was before.
        state(&[deployment(OLD, "PRIMARY", "COMPLETED", 1, "")], &news[1..]),
        state(&[new("IN_PROGRESS", 0), old(1)], &news[1..]),
        state(&[new("IN_PROGRESS", 1), old(1)], &news),
        state(&[new("COMPLETED", 1)], &last),
    ]);
    ecs.trouble("DescribeServices", 400, "ThrottlingException");
    let done = deploy(&format!("http://{}", ecs.front.address), &["--service", "ansible", "--format", "json"]).ends(0);
    let told: Vec<String> = done.events_of("step-progress").iter().map(|event| event["current"].to_string()).collect();
    assert_eq!(
        told,
        [
            "\"0 of 1 running, 1 pending, 1 old running (in progress)\"",
            "\"1 of 1 running, 0 pending, 1 old running (in progress)\""
        ]
    );
    let notes: Vec<Value> = done.events_of("note").iter().map(|event| event["text"].clone()).collect();
    assert_eq!(notes, [news[0], last[0]]);
    botocore_signs_the_same(&ecs);
}

/// Every request is signed as Amazon's own library signs it.
fn botocore_signs_the_same(ecs: &Ecs) {
    const SCRIPT: &str = "
import json, sys
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
signatures = []
for seen in json.loads(sys.argv[1]):
    headers = {name: value for name, value in seen['headers'].items() if name in seen['signed'] and name != 'host'}
    request = AWSRequest('POST', seen['url'], data=seen['body'], headers=headers)
    request.context['timestamp'] = headers['x-amz-date']
    auth = SigV4Auth(Credentials('AKIAIOSFODNN7EXAMPLE', sys.argv[2]), 'ecs', 'us-west-2')
    signatures.append(auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request))
print(json.dumps(signatures))
";
    let (mut asked, mut signatures) = (Vec::new(), Vec::new());
    for seen in ecs.front.seen() {
        let authorization = seen.header("authorization").expect("a signature").to_owned();
        let part = |name: &str| {
            authorization.split(name).nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default().trim().to_owned()
        };
        let signed: Vec<String> = part("SignedHeaders=").split(';').map(str::to_owned).collect();
        assert!(signed.contains(&"x-amz-target".to_owned()) && signed.contains(&"host".to_owned()), "{signed:?}");
        let headers: serde_json::Map<String, Value> =
            seen.headers.iter().map(|(name, value)| (name.to_string(), value.to_str().expect("text").into())).collect();
        let url = format!("http://{}/", ecs.front.address);
        asked.push(json!({ "url": url, "headers": headers, "signed": signed, "body": String::from_utf8_lossy(&seen.body) }));
        signatures.push(part("Signature="));
    }
    let theirs: Vec<String> = moto::python(&[], &["-c", SCRIPT, &json!(asked).to_string(), CANARY]);
    assert_eq!(signatures, theirs);
}

#[test]
fn a_deployment_that_comes_to_nothing_has_a_code_of_its_own() {
    const BREAKER: &str = "ECS deployment circuit breaker: tasks failed to start.";
    const BACK: &str = "ECS deployment circuit breaker: rolling back to deploymentId ecs-svc/1000000000000000001.";
    let pull = "(service ansible) was unable to place a task: CannotPullContainerError.";
    for (deployments, words) in [
        (
            vec![deployment(NEW, "PRIMARY", "FAILED", 0, BREAKER)],
            &["the deployment of `ansible` failed: ECS deployment circuit breaker", "nothing is rolled back"][..],
        ),
        (
            vec![deployment("ecs-svc/3", "PRIMARY", "IN_PROGRESS", 0, BACK), deployment(NEW, "ACTIVE", "FAILED", 0, BREAKER)],
            &["failed, and ECS rolls it back", "what ran before keeps running"],
        ),
        (vec![deployment("ecs-svc/3", "PRIMARY", "IN_PROGRESS", 0, "")], &["replaced by another one, ecs-svc/3"]),
    ] {
        let ecs = Ecs::going_through(vec![state(&deployments, &[pull])]);
        let failed = deploy(&format!("http://{}", ecs.front.address), &["--service", "ansible"]).ends(9);
        failed.says(words).says(&[pull]);
    }
    let ecs = Ecs::going_through(vec![state(&[deployment(NEW, "PRIMARY", "IN_PROGRESS", 0, "")], &[pull])]);
    let endpoint = format!("http://{}", ecs.front.address);
    let late = deploy(&endpoint, &["--service", "ansible", "--timeout", "1"]).ends(9);
    late.says(&["not steady within 1 s, and it goes on: `ansible`: 0 of 1 running, 1 pending (in progress)", "--timeout", pull]);
    ecs.trouble("UpdateService", 400, "AccessDeniedException");
    deploy(&endpoint, &["--service", "ansible"])
        .ends(3)
        .says(&["refuses `ecs:UpdateService`: AccessDeniedException: no UpdateService now", "policy has to allow"]);
}

#[test]
fn of_several_services_each_is_told() {
    const WHY: &str = "ECS deployment circuit breaker: tasks failed to start.";
    let going = || state(&[deployment(NEW, "PRIMARY", "IN_PROGRESS", 0, "")], &[]);
    let failed = || state(&[deployment(NEW, "PRIMARY", "FAILED", 0, WHY)], &["(service ansible) stopped."]);
    let steady = || state(&[deployment(NEW, "PRIMARY", "COMPLETED", 1, "")], &[]);
    let both = |ansible: Value, runner: Value| json!([ansible, of("runner", runner)]);
    for (states, exit, words) in [
        // Each is waited for until it is steady itself.
        (vec![both(going(), steady()), both(steady(), steady())], 0, &[][..]),
        (
            vec![both(failed(), going())],
            9,
            &[&format!("the deployment of `ansible` failed: {WHY}"), "(the deployment of `runner` goes on)"],
        ),
        (vec![both(steady(), failed())], 9, &["the deployment of `runner` failed"]),
        (vec![both(failed(), failed())], 9, &["the deployment of `ansible` failed", "; the deployment of `runner` failed"]),
        (vec![json!([steady()])], 9, &["the service `runner` is gone"]),
    ] {
        let ecs = Ecs::going_through(states);
        let endpoint = format!("http://{}", ecs.front.address);
        let done = deploy(&endpoint, &["--service", "ansible", "--service", "runner"]).ends(exit).says(words);
        if exit == 0 {
            assert!(done.stdout.contains("ansible: steady") && done.stdout.contains("runner: steady"), "{}", done.stdout);
        }
    }
}

#[test]
fn a_service_that_is_named_twice_is_deployed_once() {
    const ARN: &str = "arn:aws:ecs:us-west-2:271851283454:service/workspaces/ansible";
    let ecs = Ecs::going_through(vec![state(&[deployment(NEW, "PRIMARY", "COMPLETED", 1, "")], &[])]);
    let endpoint = format!("http://{}", ecs.front.address);
    let done = deploy(&endpoint, &["--service", "ansible", "--service", ARN, "--format", "json"]).ends(0);
    assert_eq!(done.json()["services"].as_array().map(Vec::len), Some(1), "{}", done.stdout);
    let asked = ecs.front.seen();
    let updates = asked.iter().filter(|seen| seen.header("x-amz-target").is_some_and(|target| target.ends_with("UpdateService")));
    assert_eq!(updates.count(), 1);
}

#[test]
fn what_was_registered_is_told_when_nothing_is_deployed() {
    let two = ["--service", "ansible", "--service", "runner", "--image", "127.0.0.1:9/team/image:aws"];
    for (before, action, told) in [
        (0, "RegisterTaskDefinition", ""),
        (0, "UpdateService", " (`ansible:8` is registered)"),
        (1, "UpdateService", " (`ansible:8` is registered; the deployment of `ansible` has begun)"),
    ] {
        let ecs = Ecs::going_through(vec![state(&[deployment(NEW, "PRIMARY", "IN_PROGRESS", 0, "")], &[])]);
        ecs.trouble_after(before, action, 400, "AccessDeniedException");
        let places = tempfile::tempdir().expect("a folder");
        let mut command = deploying(&places, &format!("http://{}", ecs.front.address), &two);
        // The registry is not asked.
        command.env("DOCKER_AUTH_CONFIG", "torn");
        ran(command).ends(3).says(&[&format!("refuses `ecs:{action}`: AccessDeniedException: no {action} now{told}\n")]);
    }
}

#[test]
fn ctrl_c_leaves_the_deployment_going() {
    let ecs = Ecs::going_through(vec![state(&[deployment(NEW, "PRIMARY", "IN_PROGRESS", 0, "")], &[])]);
    let places = tempfile::tempdir().expect("a folder");
    let mut command = deploying(&places, &format!("http://{}", ecs.front.address), &["--service", "ansible", "--format", "json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
    let mut rest = wait_for(&mut child, |event| event["event"] == "step-progress");
    kill_process(Pid::from_child(&child), Signal::INT).expect("it runs");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut rest, &mut text).expect("text");
    ended(child).ends(130);
    assert!(
        text.contains("the deployment of `ansible` goes on without us") && text.contains("aws ecs wait services-stable"),
        "{text}"
    );
}
